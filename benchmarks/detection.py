"""Time gmm_detect.py from start to decision, a process each, and on an hour of speech.

  python -m benchmarks.detection model/mfcc recording.flac

Against gmm_data_processing.py and gmm_test.py for the one recording, and against a script that imports
nothing but soundfile, spafe and scikit-learn. All are run in turns; medians of wall and processor time.
The model is a base model; its components are what they are.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile
import soxr

from countermeasure.gmm.models import BONAFIDE_FILE, SPOOF_FILE
from countermeasure.speech.resampling import resampled
from countermeasure.stages.chain import Chain

ROOT = Path(__file__).resolve().parents[1]
PLAIN = """
import pickle, sys
import soundfile
sys.path.append(sys.argv[1])
from reference_features import reference
signal, rate = soundfile.read(sys.argv[5])
feature = reference(sys.argv[2], signal, rate)
bon, sp = (pickle.load(open(path, 'rb')) for path in sys.argv[3:5])
print(bon.score(feature) - sp.score(feature))
"""


def timed(commands: list[list[str]]) -> tuple[float, float, int]:
    """Run commands one after another; return wall seconds, processor seconds and the largest memory in kB."""
    start = time.perf_counter()
    processor, memory = 0.0, 0
    for command in commands:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
        processor += usage.ru_utime + usage.ru_stime
        memory = max(memory, usage.ru_maxrss)
    return time.perf_counter() - start, processor, memory


def n_pieces(seconds: int, pieces: list[np.ndarray], rate: int) -> int:
    """Return how many pieces, over and over, last so long."""
    return round(seconds * rate * len(pieces) / sum(map(len, pieces)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="DIR", help="folder of a base model")
    parser.add_argument("recording", type=Path, metavar="FILE", help="of some seconds, at the model's sampling rate")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="(default: 7)")
    parser.add_argument("--seconds", type=int, default=3600, metavar="N", help="of the long recording (default: 3600)")
    arguments = parser.parse_args()

    models = Chain([arguments.model])
    (ftype,) = models.features
    signal, rate = soundfile.read(arguments.recording, dtype="float32")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        detect = [sys.executable, "gmm_detect.py", "--model_path", str(arguments.model.resolve())]
        pair = [str(arguments.model.resolve() / name) for name in (BONAFIDE_FILE, SPOOF_FILE)]
        jobs: dict[str, list[list[str]]] = {}
        for other in (rate, 8000, 44100, 48000, 96000):
            path = folder / f"{other}.wav"
            soundfile.write(path, soxr.resample(signal, rate, other), other)
            jobs[f"gmm_detect.py, {other} Hz"] = [[*detect, str(path)]]
        protocol = folder / "protocol.txt"
        protocol.write_text(f"S {rate} - A01 spoof\n")
        extraction = ["--data_split", "eval", "--data_path", scratch, "--label_path", str(protocol), "--restart"]
        jobs["gmm_data_processing.py and gmm_test.py"] = [
            [sys.executable, "gmm_data_processing.py", *extraction, "--output_path", scratch, "--ftype", ftype],
            [sys.executable, "gmm_test.py", "--data_path", str(folder / f"eval-{ftype}.pkl"),
             "--model_path_bon", pair[0], "--model_path_sp", pair[1], "--label_path", str(protocol),
             "--output_path", str(folder / "scores.txt")],
        ]  # fmt: skip
        reference = [sys.executable, "-c", PLAIN, str(ROOT / "tests"), ftype, *pair, str(folder / f"{rate}.wav")]
        jobs["script with spafe and scikit-learn"] = [reference]
        results: dict[str, list[tuple[float, float, int]]] = {name: [] for name in jobs}
        for _ in range(arguments.repeats + 1):
            for name, commands in jobs.items():
                results[name].append(timed(commands))
        print(f"{len(signal) / rate:.1f} s of speech, {ftype}, wall and processor seconds a process:")
        for name, values in results.items():
            wall, processor = (statistics.median(value[k] for value in values[1:]) for k in (0, 1))
            print(f"{name:40} {wall:6.2f} {processor:6.2f}")

        for other in (rate, 44100):
            path = folder / f"long-{other}.wav"
            # Piece by piece: a process begins with the memory of the one that started it.
            pieces = np.array_split(signal, range(0, len(signal), 1 << 16)[1:])
            with soundfile.SoundFile(path, "w", other, 1) as out:
                for piece in resampled(islice(cycle(pieces), n_pieces(arguments.seconds, pieces, rate)), rate, other):
                    out.write(piece)
            wall, processor, memory = timed([[*detect, str(path)]])
            print(
                f"{arguments.seconds} s at {other} Hz: {wall:.1f} s, {processor:.1f} s of processor time, "
                f"{arguments.seconds / processor:.0f} times real time a core, {memory / 1024:.0f} MB"
            )


if __name__ == "__main__":
    main()
