#!/usr/bin/env python3
"""Evaluate countermeasure scores: EER, min t-DCF and more.

Examples:
    python score_eval.py --cm_score output/mfcc-eval.txt --asv_score asvspoof2019-la-eval
    python score_eval.py --cm_score output/mfcc-eval.txt output/lfcc-eval.txt \\
        --asv_score LA/ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt --legacy False
    python score_eval.py --cm_score output/mfcc-eval.txt --by attack --report output/report.html
"""

import argparse
from collections.abc import Sequence

from countermeasure import cli, options
from tDCF_python.defaults import FEWEST_SPEAKERS, LA_EVAL_NAME


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--cm_score",
        nargs="+",
        required=True,
        metavar="FILE",
        help="score files of the countermeasures, higher score = bona fide: a protocol line and the score, "
        "'UTTERANCE ATTACK LABEL SCORE', or 'UTTERANCE SCORE' with --protocol; several files give one table",
    )
    parser.add_argument(
        "--asv_score",
        metavar="FILE",
        help=f"score file of the speaker verification system, of three or six fields, or the word {LA_EVAL_NAME} "
        "for its error rates on the evaluation set of ASVspoof 2019 LA (default: none, and no t-DCF)",
    )
    parser.add_argument(
        "--legacy",
        nargs="?",
        type=_truth,
        const=True,
        default=True,
        metavar="True|False",
        help="True: the t-DCF of 2019; False: the revisited one (default: True); a table of systems shows both",
    )
    parser.add_argument(
        "--name",
        nargs="+",
        metavar="NAME",
        help="names of the systems, in the order of --cm_score (default: the files', mfcc for mfcc-eval.txt)",
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="the system that all others are compared with (default: the one with the lowest EER)",
    )
    parser.add_argument(
        "--protocol",
        nargs="+",
        metavar="FILE",
        help="protocols with the labels of score files that have none (default: none)",
    )
    options.add_protocol_arguments(parser)
    parser.add_argument(
        "--by",
        nargs="+",
        metavar="COLUMN",
        default=[],
        help="break the figures down by attack, speaker, codec or any other column of the score files' lines or of "
        "--protocol; two columns give a table of one by the other (default: not; by attack in a report or with --plot)",
    )
    parser.add_argument(
        "--intervals",
        nargs="?",
        const=True,
        default=False,
        choices=["speakers", "trials"],
        help="intervals of 95 %%, and all systems compared with one, see --reference (default: only in a report or "
        f"with --plot); over speakers, at least {FEWEST_SPEAKERS} of either class, or over trials (default: speakers, "
        "or trials where not every trial names its speaker or there are fewer)",
    )
    parser.add_argument(
        "--threshold_from",
        nargs="+",
        metavar="FILE",
        help="score files of other trials, development ones for instance, one for each of --cm_score: their "
        "thresholds (of the EER and of min DCF) are applied here (default: none)",
    )
    parser.add_argument(
        "--dev",
        nargs="+",
        metavar="FILE",
        help="score files of a development set, one for each of --cm_score: the table shows their EER, too, and a "
        "sentence says of each fusion whether it beats its best member there (default: none)",
    )
    parser.add_argument("--plot", metavar="DIR", help="write pictures into this folder, as PNG and SVG (default: none)")
    parser.add_argument("--report", metavar="FILE", help="write a report as one HTML file (default: none)")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON; -: print it instead of the text")
    parser.add_argument("--csv", metavar="FILE", help="write a line for each system and group; -: print it instead")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.json == args.csv == "-":
        parser.error("--json - and --csv - would print one into the other; give one of them a file")
    from countermeasure.evaluation.command import evaluate_files

    evaluate_files(args)
    return 0


def _truth(word: str) -> bool:
    try:
        return {"true": True, "false": False}[word.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{word!r} is neither True nor False") from None


command = cli.command(main)

if __name__ == "__main__":
    command()
