"""Measure what a recording costs beside its audio: memory of the process, and its time.

  python -m benchmarks.many_recordings 1000000
  python -m benchmarks.many_recordings 200000 --types mfcc lfcc

Reads a protocol of N lines and extracts lists of N recordings, twice (the second run finds them
finished), with a stand-in for decoding and computing that gives the same small array each time. One
real recording goes first, so that the libraries are in memory as they are in a run by one process.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile

from benchmarks.features import EIGHT
from countermeasure.lists.unfinished import Recording
from countermeasure.stages import extraction, recordings
from countermeasure.trials.protocol import read_protocol

FEATURE = np.ones((1, 2), np.float32)


def stand_in(data_path: Path, ftypes: list[str], dtype: str, names: list[str]) -> list[recordings.Result]:
    """Return for each recording what the features of a very short recording would be."""
    recording = Recording("00" * 32, rate=16000, n_channels=1, n_samples=800)
    return [recordings.Result(recording, dict.fromkeys(ftypes, FEATURE)) for _ in names]


def peak() -> int:
    """Return the largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1024)


def extract(folder: Path, protocol: Path, types: list[str]) -> None:
    with contextlib.redirect_stderr(io.StringIO()):
        extraction.extract("train", folder, protocol, folder / "lists", types, n_jobs=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", type=int, metavar="N", help="number of recordings")
    parser.add_argument("--types", nargs="+", default=EIGHT, metavar="TYPE", help="(default: eight)")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recording = folder / "one.flac"
        soundfile.write(recording, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
        protocol = folder / "protocol.txt"
        protocol.write_text("S one - A01 spoof\n")
        extract(folder, protocol, arguments.types)
        print(f"one recording: {peak()} MB")
        with protocol.open("w") as f:
            for i in range(arguments.n):
                f.write(f"LA_{i % 100:04d} LA_E_{i:08d} - {'A07 spoof' if i % 10 else '- bonafide'}\n")
        start = time.process_time()
        read_protocol(protocol)
        print(f"protocol of {arguments.n:,} lines: {time.process_time() - start:.1f} s, {peak()} MB")

        with mock.patch.object(recordings, "_process_batch", stand_in):
            for run in ("lists made", "lists found finished"):
                start = time.process_time()
                extract(folder, protocol, arguments.types)
                each = (time.process_time() - start) / arguments.n * 1e6
                print(f"{run}: {each:.0f} µs CPU a recording, {peak()} MB", flush=True)


if __name__ == "__main__":
    main()
