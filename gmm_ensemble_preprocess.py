#!/usr/bin/env python3
"""Write the frame scores of a feature list under a base model, for a frame-level fusion.

Two lists, OUTPUT_PATH/SPLIT/NAME-bon-SPLIT.pkl and -sp-: the log-likelihood of every frame, in nats.

Examples:
    python gmm_ensemble_preprocess.py --data_split train --data_path data/train/train-lfcc.pkl \\
        --model_path model/lfcc --model_name lfcc --output_path ensemble/lfcc
    python gmm_ensemble_preprocess.py --data_split eval --data_path data/eval/eval-lfcc.pkl \\
        --model_path model/lfcc --model_name lfcc --output_path ensemble/lfcc
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    options.add_preprocessing_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import scoring

    scoring.write_frame_scores(**settings)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
