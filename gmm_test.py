#!/usr/bin/env python3
"""Score a feature list with a base model; print the EER.

Examples:
    python gmm_test.py --data_path data/eval/eval-mfcc.pkl \\
        --model_path_bon model/mfcc/bon.gmm --model_path_sp model/mfcc/sp.gmm \\
        --label_path LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt \\
        --output_path output/mfcc-eval.txt
    python gmm_test.py --data_path data/dev/dev-lfcc.pkl \\
        --model_path_bon model/lfcc/bon.gmm --model_path_sp model/lfcc/sp.gmm \\
        --label_path LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt \\
        --output_path output/lfcc-dev.txt
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    options.add_testing_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import scoring

    eer = scoring.score_list(**settings)
    if eer:
        print(eer)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
