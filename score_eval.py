#!/usr/bin/env python3
"""Evaluate countermeasure scores: EER, min t-DCF and more.

Examples:
    python score_eval.py --cm_score output/mfcc-eval.txt --asv_score asvspoof2019-la-eval
    python score_eval.py --cm_score output/mfcc-eval.txt output/lfcc-eval.txt \\
        --asv_score tDCF_python/scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt --legacy False
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli
from countermeasure.evaluation import command


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    return command.build_parser(__doc__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    return command.main(argv, __doc__)


if __name__ == "__main__":
    cli.run(main)
