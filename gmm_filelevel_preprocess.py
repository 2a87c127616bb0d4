#!/usr/bin/env python3
"""Write the file scores of a frame-level fusion, for a file-level fusion.

Two lists, OUTPUT_PATH/SPLIT/NAME-bon-SPLIT-filelevel.pkl and -sp-: the mean log-likelihood of a frame, in nats.

Examples:
    python gmm_filelevel_preprocess.py --data_split train --data_dir experiment/lfcc+mfcc/train \\
        --model_path model/ensemble-lfcc+mfcc --model_name ensemble-lfcc+mfcc --output_path ensemble/ensemble-lfcc+mfcc
    python gmm_filelevel_preprocess.py --data_split eval --data_dir experiment/lfcc+mfcc/eval \\
        --model_path model/ensemble-lfcc+mfcc --model_name ensemble-lfcc+mfcc --output_path ensemble/ensemble-lfcc+mfcc
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    options.add_preprocessing_arguments(parser, is_fusion=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import scoring

    scoring.write_file_scores(**settings)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
