"""Compare feature extraction with spafe's own functions on real recordings, in one process.

  python -m benchmarks.features ./LA

For each type, the processor time per recording of a whole extraction (decoding, checksums, list and record) is
compared with that of soundfile + spafe's function + Δ and ΔΔ by a loop over the frames + one `pickle.dump`, and
with that of soundfile + one real FFT of the frames. At the end: the largest deviation from spafe, in standard
deviations of each coefficient. LA has the layout of ASVspoof 2019 LA.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
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

from benchmarks.measure import ROOT, medians
from countermeasure import cli
from countermeasure.features import features
from countermeasure.speech import audio
from countermeasure.stages.extraction import extract

sys.path.append(str(ROOT / "tests"))
from reference_features import FUNCTIONS, reference

EIGHT = ["mfcc", "imfcc", "lfcc", "bfcc", "gfcc", "ngcc", "msrcc", "psrcc"]


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


def decoding_and_fft(paths: list[Path]) -> None:
    for path in paths:
        signal, _ = soundfile.read(path, dtype="float32")
        scipy.fft.rfft(np.lib.stride_tricks.sliding_window_view(signal, 480)[::240], 1024)


def largest_deviations(paths: list[Path]) -> dict[str, float]:
    worst = dict.fromkeys(EIGHT, 0.0)
    for path in paths:
        recording = audio.read(path)
        found = features.extract(recording.signal, recording.rate, EIGHT)
        for name in EIGHT:
            expected = reference(name, recording.signal, recording.rate)
            deviation = np.abs(found[name] - expected).max(axis=0) / expected.std(axis=0)
            worst[name] = max(worst[name], float(deviation.max()))
    return worst


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("la", type=Path, metavar="LA", help="data set in the layout of ASVspoof 2019 LA")
    parser.add_argument("--limit", type=int, default=300, metavar="N", help="recordings, evenly spaced (default: 300)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="(default: 5)")
    parser.add_argument("--types", nargs="+", default=list(FUNCTIONS), metavar="TYPE", help="(default: all)")
    arguments = parser.parse_args()

    paths = sorted(arguments.la.glob("ASVspoof2019_LA_*/flac/*.flac"))
    if not paths:
        raise SystemExit(f"{arguments.la}: no recordings in ASVspoof2019_LA_train/flac and the like")
    paths = paths[:: -(-len(paths) // arguments.limit)]
    with tempfile.TemporaryDirectory() as scratch, threadpool_limits(1):
        folder = Path(scratch)
        for path in paths:
            shutil.copy(path, folder)
        protocol = folder / "protocol.txt"
        protocol.write_text("".join(f"S {path.stem} - A01 spoof\n" for path in paths))
        print(f"processor time of {len(paths)} recordings, in ms each")
        print("type    ours  spafe  ratio  decoding + FFT  ratio")
        singles = 0.0
        for name in arguments.types:
            works: dict[str, Callable[[], object]] = {
                "ours": partial(ours, folder, protocol, [name]),
                "spafe": partial(spafes, paths, name),
                "floor": partial(decoding_and_fft, paths),
            }
            times = medians(works, arguments.repeats, time.process_time)
            singles += times["ours"] if name in EIGHT else 0
            own, peer, least = (times[key] / len(paths) * 1e3 for key in works)
            print(f"{name:6} {own:5.2f} {peer:6.2f} {own / peer:6.1%} {least:15.2f} {own / least:6.2f}", flush=True)
        if set(EIGHT) <= set(arguments.types):
            work = {"eight": partial(ours, folder, protocol, EIGHT)}
            together = medians(work, arguments.repeats, time.process_time)["eight"]
            print(f"eight types in one run / eight runs: {together / singles:.1%}")
        print("largest deviations from spafe, in standard deviations:")
        for name, deviation in largest_deviations(paths).items():
            print(f"{name:6} {deviation:.1e}")
    return 0


if __name__ == "__main__":
    cli.run(main)
