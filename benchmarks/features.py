"""Compare feature extraction with spafe's own functions, on real recordings, in one process.

  python -m benchmarks.features ./LA

For each type the CPU time a recording of a whole extraction (decoding, checksums, list and its record
included) is set against decoding + spafe's function + Δ and ΔΔ by a loop over the frames + one
`pickle.dump`, measured in turns. Ends with the largest deviation from spafe over all recordings, in
standard deviations of each coefficient. LA has the data set's layout; its train, dev and eval parts
are all used (`--limit` takes evenly spaced ones of each).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import pickle
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import scipy.fft
import soundfile
from threadpoolctl import threadpool_limits

from countermeasure.features import features
from countermeasure.speech import audio
from countermeasure.stages.extraction import extract

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from reference_features import reference

EIGHT = ["mfcc", "imfcc", "lfcc", "bfcc", "gfcc", "ngcc", "msrcc", "psrcc"]
FURTHER = ["cqcc", "pncc", "lpcc", "plp", "rplp"]


def recordings(la: Path, limit: int | None) -> list[Path]:
    found = []
    for split in ("train", "dev", "eval"):
        part = sorted((la / f"ASVspoof2019_LA_{split}" / "flac").glob("*.flac"))
        found += part[:: max(1, -(-len(part) * 3 // limit))] if limit else part
    if not found:
        raise SystemExit(f"{la}: no recordings in ASVspoof2019_LA_train/flac and its like")
    return found


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def ours(folder: Path, protocol: Path, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as output, contextlib.redirect_stderr(io.StringIO()):
        extract("train", folder, protocol, output, names, n_jobs=1)


def spafes(paths: list[Path], name: str) -> None:
    items = []
    for path in paths:
        signal, rate = soundfile.read(path)
        items.append((reference(name, signal, rate).astype(np.float32), "spoof"))
    with tempfile.TemporaryFile() as file:
        pickle.dump(items, file, protocol=4)


def floor(paths: list[Path]) -> None:
    for path in paths:
        signal, _ = soundfile.read(path, dtype="float32")
        scipy.fft.rfft(np.lib.stride_tricks.sliding_window_view(signal, 480)[::240], 1024)


def medians(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return each work's median CPU time; all are done in turns, so that a slow spell hits them alike."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {key: [] for key in works}
    for _ in range(repeats):
        for key, work in works.items():
            times[key].append(cpu_seconds(work))
    return {key: statistics.median(values) for key, values in times.items()}


def deviations(paths: list[Path], names: list[str]) -> dict[str, float]:
    worst = dict.fromkeys(names, 0.0)
    for path in paths:
        recording = audio.read(path)
        found = features.extract(recording.signal, recording.rate, names)
        for name in names:
            expected = reference(name, recording.signal, recording.rate)
            deviation = np.abs(found[name] - expected).max(axis=0) / expected.std(axis=0)
            worst[name] = max(worst[name], float(deviation.max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("la", type=Path, metavar="LA", help="data set in the layout of ASVspoof 2019 LA")
    parser.add_argument("--limit", type=int, default=300, metavar="N", help="recordings to time (default: 300)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument("--types", nargs="+", default=EIGHT + FURTHER, metavar="TYPE", help="(default: all)")
    parser.add_argument(
        "--also", type=Path, nargs="*", default=[], metavar="FILE", help="further recordings to compare"
    )
    arguments = parser.parse_args()

    timed = recordings(arguments.la, arguments.limit)
    with tempfile.TemporaryDirectory() as scratch:
        for path in timed:
            shutil.copy(path, scratch)
        protocol = Path(scratch, "protocol.txt")
        protocol.write_text("".join(f"S {path.stem} - A01 spoof\n" for path in timed))
        folder = Path(scratch)

        run = partial(partial, ours, folder, protocol)

        print(f"CPU time of {len(timed)} recordings, in ms each")
        print("type    ours  spafe  ratio  decoding + one real FFT  ratio")
        singles = 0.0
        for name in arguments.types:
            works: dict[str, Callable[[], object]] = {
                "ours": run([name]),
                "spafe": partial(spafes, timed, name),
                "floor": partial(floor, timed),
            }
            times = medians(works, arguments.repeats)
            singles += times["ours"] if name in EIGHT else 0
            own, peer, least = (times[key] / len(timed) * 1e3 for key in works)
            print(f"{name:6} {own:5.2f} {peer:6.2f} {own / peer:6.1%} {least:24.2f} {own / least:6.2f}")
        if set(EIGHT) <= set(arguments.types):
            together = medians({"eight": run(EIGHT)}, arguments.repeats)["eight"]
            print(f"eight types in one run / eight runs: {together / singles:.1%}")
    print(f"largest resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    everything = recordings(arguments.la, None) + arguments.also
    print(f"largest deviation from spafe over {len(everything)} recordings, in standard deviations:")
    for name, deviation in deviations(everything, EIGHT).items():
        print(f"{name:6} {deviation:.1e}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
