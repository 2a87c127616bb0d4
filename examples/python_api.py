#!/usr/bin/env python3
"""The suite from Python: features, training, scores, metrics and detection.

  python examples/python_api.py LA results

Takes a data set in the layout of ASVspoof 2019 LA whose lists ``preprocess.sh mfcc`` has made in data/.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from countermeasure import Detector, extract, read_list, score, train
from tDCF_python import cllr, eer


def main(data_set: str, results: str) -> None:
    """Show each function once."""
    recording = next(Path(data_set, "ASVspoof2019_LA_eval/flac").glob("*.flac"))
    print("features of a recording:", extract(recording, "mfcc").shape)

    labels = [label for _, label in read_list("data/train/train-mfcc.pkl")]
    print("training list:", labels.count("bonafide"), "bona fide,", labels.count("spoof"), "spoofed")

    model = Path(results, "mfcc")
    pair = train("data/train/train-mfcc.pkl", model, n_components=8)
    print("log-likelihood of bona fide speech:", round(pair.bonafide.lower_bound, 2), "nats a frame")

    protocol = Path(data_set, "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt")
    scores = Path(results, "scores.txt")
    print("score file:", score("data/eval/eval-mfcc.pkl", model, protocol, scores))

    lines = [line.split() for line in scores.read_text().splitlines()]
    values = np.array([float(line[-1]) for line in lines])
    is_bonafide = np.array([line[-2] == "bonafide" for line in lines])
    bonafide, spoof = values[is_bonafide], values[~is_bonafide]
    print("the same from the score file:", eer(bonafide, spoof)[0], "C_llr:", round(cllr(bonafide, spoof), 3))

    print("a recording:", Detector(model)(recording))


if __name__ == "__main__":
    main(*sys.argv[1:])
