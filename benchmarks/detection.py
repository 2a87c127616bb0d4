"""Time gmm_detect.py from start to decision, and on an hour of speech.

  python -m benchmarks.detection model/mfcc recording.flac

It takes turns with gmm_data_processing.py and gmm_test.py for the same recording, and with a script that imports
nothing but soundfile, spafe and scikit-learn. Medians of wall-clock and processor time.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.measure import ROOT, Usage, run
from countermeasure import cli
from countermeasure.gmm.models import model_files
from countermeasure.stages.chain import Chain

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


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("model", type=Path, metavar="DIR", help="folder of a base model")
    parser.add_argument("recording", type=Path, metavar="FILE", help="some seconds at the model's sampling rate")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="(default: 7)")
    parser.add_argument("--seconds", type=int, default=3600, metavar="N", help="of the long recording (default: 3600)")
    arguments = parser.parse_args()

    model = arguments.model.resolve()
    bon, sp = model_files(model)
    (ftype,) = Chain([model]).features
    signal, rate = soundfile.read(arguments.recording, dtype="float32")
    detect = ("gmm_detect.py", "--model_path", model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        jobs: dict[str, list[tuple[object, ...]]] = {}
        for other in (rate, 8000, 44100, 48000, 96000):
            soundfile.write(folder / f"{other}.wav", soxr.resample(signal, rate, other), other)
            jobs[f"gmm_detect.py, {other} Hz"] = [(*detect, folder / f"{other}.wav")]
        protocol = folder / "protocol.txt"
        protocol.write_text(f"S {rate} - A01 spoof\n")
        extraction = ("--data_split", "eval", "--data_path", folder, "--output_path", folder, "--ftype", ftype)
        scoring = ("--data_path", folder / f"eval-{ftype}.pkl", "--model_path_bon", bon, "--model_path_sp", sp)
        jobs["gmm_data_processing.py and gmm_test.py"] = [
            ("gmm_data_processing.py", *extraction, "--label_path", protocol, "--restart"),
            ("gmm_test.py", *scoring, "--label_path", protocol, "--output_path", folder / "scores.txt"),
        ]
        jobs["script with spafe and scikit-learn"] = [
            ("-c", PLAIN, ROOT / "tests", ftype, bon, sp, folder / f"{rate}.wav")
        ]
        results: dict[str, list[list[Usage]]] = {name: [] for name in jobs}
        for _ in range(arguments.repeats + 1):
            for name, commands in jobs.items():
                results[name].append([run(*command) for command in commands])
        print(f"{len(signal) / rate:.1f} s of speech, {ftype}, wall-clock and processor seconds:")
        for name, values in results.items():
            wall, processor = (statistics.median(sum(u[k] for u in each) for each in values[1:]) for k in (0, 1))
            print(f"{name:40} {wall:6.2f} {processor:6.2f}")

        for other in (rate, 44100):
            path = folder / f"long-{other}.wav"
            piece = soxr.resample(signal, rate, other)
            with soundfile.SoundFile(path, "w", other, 1) as out:
                for _ in range(int(np.ceil(arguments.seconds * rate / len(signal)))):
                    out.write(piece)
            usage = run(*detect, path)
            print(
                f"{arguments.seconds} s at {other} Hz: {usage}, {arguments.seconds / usage.processor:.0f} x real time"
            )
    return 0


if __name__ == "__main__":
    cli.run(main)
