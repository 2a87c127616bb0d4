#!/usr/bin/env python3
"""Judge recordings of your own: is this speech bona fide or spoofed?

Prints one line per recording: its log-likelihood ratio (LLR; higher = more bona fide) and, if test.sh or
gmm_calibrate.py has calibrated the models, the decision and the probability of bona fide speech.
Reads any format that libsndfile reads (WAV, FLAC, MP3, OGG, ...), takes the mean of several channels, and
resamples to the models' sampling rate. Warns about unreliable scores: of recordings without the upper part of
the band, such as telephone calls, or unlike those of the calibration.
Exit status 0: all were scored; 2: some were not, each of which is named on stderr.

Examples:
    python gmm_detect.py --model_path model/mfcc recording.wav
    python gmm_detect.py --model_path model/ensemble-lfcc+mfcc --json LA/ASVspoof2019_LA_eval/flac
    python gmm_detect.py --model_path model/mfcc --frames output/recording.png recording.wav
    find LA/ASVspoof2019_LA_dev -name '*.flac' | python gmm_detect.py --model_path model/mfcc -
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "file",
        nargs="*",
        metavar="FILE",
        help="recordings: files, folders (with all below them), patterns; -: a list of files on standard input",
    )
    parser.add_argument(
        "--model_path",
        required=True,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="folder of a base model or a fusion. The models that a fusion is built on are found beside it by their "
        "names, or given here in any order. Paths after the first that hold no models are recordings",
    )
    parser.add_argument(
        "--ftype", metavar="T", help="features of a base model that does not name them (default: as the model says)"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="decide for bona fide above this LLR (default: the calibration's; without one there is no decision)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--json",
        dest="output",
        action="store_const",
        const="json",
        default="text",
        help="one object per line: file, llr, threshold, decision, probability, out_of_domain, warnings; null if "
        "unknown (default: text)",
    )
    output.add_argument(
        "--csv", dest="output", action="store_const", const="csv", help="the same fields as CSV with a heading"
    )
    parser.add_argument(
        "--frames",
        metavar="PNG",
        help="draw the LLR of the frames of one recording above its spectrogram: .png, .svg or .pdf",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    settings = vars(build_parser().parse_args(argv))
    from countermeasure.stages import detection

    detection.detect(**settings)
    return 0


command = cli.command(main)

if __name__ == "__main__":
    command()
