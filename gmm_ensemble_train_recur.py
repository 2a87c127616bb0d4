#!/usr/bin/env python3
"""Train a frame-level fusion with many components on all score lists of a folder.

Like gmm_ensemble_train.py, it goes over the lists chunk by chunk and needs the same memory for lists of any length.

Examples:
    python gmm_ensemble_train_recur.py --data_dir experiment/lfcc+mfcc/train --model_path model/ensemble-lfcc+mfcc-512
    python gmm_ensemble_train_recur.py --data_dir experiment/my-fusion/train --model_path model/my-fusion-512 --tol 1e-2
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    options.add_fusion_training_arguments(parser, n_components=512, columns="frame scores")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import training

    training.train_fusion(options=options.fusion_options(settings), **settings)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
