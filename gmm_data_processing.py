#!/usr/bin/env python3
"""Extract features from the recordings of a protocol into one list per feature type.

  python gmm_data_processing.py --data_split train --ftype mfcc \\
      --data_path ./LA/ASVspoof2019_LA_train/flac \\
      --label_path ./LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt \\
      --output_path ./data/train/

  python gmm_data_processing.py --data_split eval --ftype lfcc mfcc silence \\
      --data_path ./LA/ASVspoof2019_LA_eval/flac \\
      --label_path ./LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt \\
      --output_path ./data/eval/

Writes OUTPUT_PATH/SPLIT-TYPE.pkl, a pickled list of (array [frames, 60], label), and beside it
SPLIT-TYPE.pkl.json, which says what is in the list. Protocols of ASVspoof 2019, 2021 and 5 are recognised by
their lines, CSV files by their header, which names file and label. After an interruption, the same command
continues; finished lists are not made again.
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options
from countermeasure.features import types


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    rows = "\n".join(f"  {method.name:<8} {method.description}" for method in types.METHODS.values())
    parser.epilog = f"feature types:\n{rows}\n{types.VARIANTS}"
    parser.add_argument("--data_split", required=True, choices=options.SPLITS, help="name of the split")
    parser.add_argument(
        "--data_path",
        required=True,
        metavar="DIR",
        help="folder with UTTERANCE.flac or .wav, or the files that a CSV names",
    )
    parser.add_argument("--label_path", required=True, metavar="FILE", help="CM protocol of the split")
    options.add_protocol_arguments(parser)
    parser.add_argument("--output_path", required=True, metavar="DIR", help="folder for the lists; made when missing")
    parser.add_argument("--ftype", required=True, nargs="+", metavar="TYPE", help="feature types, see below")
    options.add_workers(parser, "processes")
    parser.add_argument(
        "--dtype", default="float32", choices=types.DTYPES, help="type of the arrays (default: %(default)s)"
    )
    parser.add_argument(
        "--skip_bad",
        action="store_true",
        help="leave out recordings that cannot be used and write their names to SPLIT-TYPE.skipped.txt "
        "(default: name them and write no list)",
    )
    parser.add_argument(
        "--restart", action="store_true", help="compute everything again (default: keep what is up to date)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import extraction

    extraction.extract(**settings)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
