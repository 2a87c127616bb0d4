#!/usr/bin/env python3
"""Train a file-level fusion on all lists of file scores of a folder.

Examples:
    python gmm_filelevel_train.py --data_dir experiment/filelevel-lfcc+mfcc/train --model_path model/filelevel-lfcc+mfcc
    python gmm_filelevel_train.py --data_dir experiment/my-files/train --model_path model/my-files --method logistic
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    options.add_fusion_training_arguments(parser, n_components=None, columns="file scores and perhaps silence")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import training

    training.train_fusion(options=options.fusion_options(settings), whole_files=True, in_memory=True, **settings)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
