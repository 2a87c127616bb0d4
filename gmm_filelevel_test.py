#!/usr/bin/env python3
"""Score a folder of file-score lists with a file-level fusion; print the EER.

Examples:
    python gmm_filelevel_test.py --data_dir experiment/filelevel-lfcc+mfcc/eval \\
        --model_path_bon model/filelevel-lfcc+mfcc/bon.gmm --model_path_sp model/filelevel-lfcc+mfcc/sp.gmm \\
        --label_path LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt \\
        --output_path output/filelevel-lfcc+mfcc-eval.txt
    python gmm_filelevel_test.py --data_dir experiment/filelevel-lfcc+mfcc/dev \\
        --model_path_bon model/filelevel-lfcc+mfcc/bon.gmm --model_path_sp model/filelevel-lfcc+mfcc/sp.gmm \\
        --label_path LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt \\
        --output_path output/filelevel-lfcc+mfcc-dev.txt
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    options.add_testing_arguments(parser, is_fusion=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import scoring

    eer = scoring.score_fusion(whole_files=True, **settings)
    if eer:
        print(eer)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
