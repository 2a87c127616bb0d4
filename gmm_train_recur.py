#!/usr/bin/env python3
"""Train the two mixtures of a base model, going over the feature list chunk by chunk.

Needs the same memory for a list of any length; the models are those of all its frames.

Examples:
    python gmm_train_recur.py --data_path data/train/train-mfcc.pkl --model_path model/mfcc
    python gmm_train_recur.py --data_path data/train/train-lfcc.pkl --model_path model/lfcc --n_components 64
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    options.add_base_training_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import training

    training.train(options=options.TrainingOptions.of(settings), **settings)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
