#!/usr/bin/env python3
"""Calibrate models on the scores of a development set: find a threshold, and turn scores into probabilities.

The threshold is that of the EER, or with --prior the LLR at which both classes are equally probable.
Probabilities come from a logistic regression on the LLRs. Both are written to calibration.json beside the models,
for gmm_detect.py, and the figures to the models' card, README.md. test.sh does this for every system.
Use the scores of trials that the models were not trained on; scores of other models are refused.

Examples:
    python gmm_calibrate.py --cm_score output/lfcc-dev.txt --model_path model/lfcc
    python gmm_calibrate.py --cm_score output/lfcc-dev.txt --model_path model/lfcc --prior 0.9
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
        metavar="P",
        help="expected share of bona fide speech among the recordings to judge (default: 0.5)",
    )
    parser.add_argument(
        "--criterion",
        choices=["bayes", "eer"],
        help="bayes: threshold where both classes are equally probable; eer: that of the EER (default: bayes with "
        "--prior, else eer)",
    )
    parser.add_argument("--protocol", metavar="FILE", help="protocol with the labels, for a score file without them")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import calibration

    print(calibration.calibrate(**settings))
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
