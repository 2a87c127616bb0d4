#!/usr/bin/env python3
"""Calibrate models on the scores of a development set: threshold, and what makes scores probabilities.

Logistic regression on the LLRs, its result in calibration.json beside the models, where gmm_detect.py
finds it; the models' card, README.md, gets the figures. Take a score file of trials that the models
were not trained on. Scores of other models are refused, where the record that the test scripts leave
beside a score file (NAME.txt.json) tells which models gave it.

Examples:
    python gmm_calibrate.py --cm_score output/lfcc-dev.txt --model_path model/lfcc
    python gmm_calibrate.py --cm_score output/lfcc-dev.txt --model_path model/lfcc --prior 0.9 --criterion eer
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--cm_score", required=True, metavar="FILE", help="score file of labelled development trials, from gmm_test.py"
    )
    parser.add_argument("--model_path", required=True, metavar="DIR", help="folder of the models that gave the scores")
    parser.add_argument(
        "--prior",
        type=float,
        default=0.5,
        metavar="P",
        help="share of bona fide speech among the recordings to be judged (default %(default)s)",
    )
    parser.add_argument(
        "--criterion",
        choices=["bayes", "eer"],
        default="bayes",
        help="threshold where both classes are equally probable, or that of the EER (default %(default)s)",
    )
    parser.add_argument("--protocol", metavar="FILE", help="labels for a score file of UTTERANCE SCORE (default: none)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import calibration

    calibration.calibrate(**settings)
    return 0


if __name__ == "__main__":
    cli.run(main)
