"""The evaluation's command line, shared by ``score_eval.py`` and ``python -m tDCF_python``."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from countermeasure import cli, options
from countermeasure.errors import InputError
from tDCF_python.defaults import FEWEST_REPLICATES, FEWEST_SPEAKERS, LA_EVAL_FILE, LA_EVAL_NAME, N_REPLICATES

if TYPE_CHECKING:
    from countermeasure.evaluation.asv import AsvSystem
    from countermeasure.trials.protocol import Trial


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the evaluation's options."""
    parser = cli.parser(description)
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
        help="names of the systems, in the order of --cm_score (default: the files')",
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
        choices=["attack", "speaker"],
        default=[],
        help="break the figures down, pooled last (default: not; by attack in a report or with --plot)",
    )
    parser.add_argument(
        "--bootstrap",
        nargs="?",
        type=_count,
        const=N_REPLICATES,
        metavar="N",
        help="intervals of 95 %% from N resampled sets, and each further system compared with the first "
        f"(default: none; in a report or with --plot, and without a number: {N_REPLICATES})",
    )
    parser.add_argument(
        "--bootstrap_over",
        choices=["speakers", "trials"],
        help=f"what is drawn (default: speakers, or trials where fewer than {FEWEST_SPEAKERS} speakers are named)",
    )
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the bootstrap (default: 0)")
    parser.add_argument(
        "--threshold_from",
        nargs="+",
        metavar="FILE",
        help="score files of other trials, development ones for instance, one for each of --cm_score: their "
        "thresholds (of the EER and of min DCF) are applied here (default: none)",
    )
    parser.add_argument("--plot", metavar="DIR", help="write pictures into this folder, as PNG and SVG (default: none)")
    parser.add_argument("--report", metavar="FILE", help="write a report as one HTML file (default: none)")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON; -: print it instead of the text")
    parser.add_argument("--csv", metavar="FILE", help="write a line for each system and group; -: print it likewise")
    return parser


def main(argv: Sequence[str] | None = None, description: str | None = __doc__) -> int:
    """Evaluate the score files that the arguments name and print the report."""
    parser = build_parser(description)
    args = parser.parse_args(argv)
    if args.json == args.csv == "-":
        parser.error("--json - and --csv - would print one into the other; give one of them a file")
    names = system_names(args.cm_score, args.name)
    if args.threshold_from and len(args.threshold_from) != len(names):
        raise InputError(
            f"--threshold_from: {len(args.threshold_from)} files for {len(names)} systems; give one for each"
        )
    illustrated = bool(args.plot or args.report)
    brief = illustrated and not args.by and not args.bootstrap
    if args.bootstrap is None:
        args.bootstrap = N_REPLICATES if illustrated else 0

    from countermeasure.evaluation import outputs, report
    from countermeasure.evaluation.study import ATTACK, run_study
    from countermeasure.trials.score_files import read_cm_scores

    written = args.plot, args.report, args.json, args.csv
    read = [*args.cm_score, *(args.protocol or []), *(args.threshold_from or []), *filter(None, [args.asv_score])]
    outputs.check(read, *written)
    for path in [*args.cm_score, *(args.threshold_from or [])]:
        refuse_missing(path, "gmm_test.py writes score files", f"give score files, {Path(path) / '*.txt'} for instance")
    if args.asv_score and Path(args.asv_score).name == LA_EVAL_FILE and not os.path.lexists(args.asv_score):
        cli.log(f"{args.asv_score}: no such file; its known error rates are taken ({LA_EVAL_NAME})")
        args.asv_score = LA_EVAL_NAME
    if args.asv_score not in (None, LA_EVAL_NAME):
        mend = f"give {LA_EVAL_NAME}, or a file that tDCF_python/scores/README.md names"
        refuse_missing(args.asv_score, mend, mend)
    protocols = read_protocols(args.protocol, args.protocol_format)
    reading = protocols, args.protocol_format, args.protocol_subset
    systems = {name: read_cm_scores(path, *reading) for name, path in zip(names, args.cm_score, strict=True)}
    for scores in systems.values():
        if scores.note:
            cli.log(scores.note)
    if illustrated and not args.by and all((scores.attacks != b"").any() for scores in systems.values()):
        args.by = [ATTACK]
    others = [read_cm_scores(path, protocols, args.protocol_format) for path in args.threshold_from or []]
    study = run_study(
        systems,
        read_asv(args.asv_score),
        legacy=args.legacy,
        by=args.by,
        bootstrap=args.bootstrap,
        bootstrap_over=args.bootstrap_over,
        seed=args.seed,
        threshold_from=dict(zip(names, others, strict=False)),
        watch=lambda items: cli.progress(items, len(items), "evaluating", "systems"),
    )
    outputs.write(study, *written)
    if "-" not in (args.json, args.csv):
        print(report.text(study, brief))
    return 0


def refuse_missing(path: str, mend_missing: str, mend_folder: str) -> None:
    """Refuse a path where there is no file.

    Raises
    ------
    InputError
        When there is nothing, or a folder; it ends in the hint given for that.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; {mend_missing}") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; {mend_folder}")


def system_names(paths: Sequence[str], names: Sequence[str] | None) -> list[str]:
    """Return the systems' names: those given, or the files' without folder and ending where these differ.

    Bytes of a name that are no UTF-8 are written out, for pictures and tables cannot show them.

    Raises
    ------
    InputError
        When there are not as many names as files, or two are the same.
    """
    if names is None:
        names = [Path(path).stem for path in paths]
        if len(set(names)) < len(names):
            names = list(paths)
    names = [name.encode(errors="backslashreplace").decode() for name in names]
    if len(names) != len(paths):
        raise InputError(f"--name: {len(names)} names for {len(paths)} score files; give one for each")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"two systems are called {repeated[0]}; tell them apart with --name")
    return names


def read_asv(source: str | None) -> AsvSystem | None:
    """Return the verification system that ``--asv_score`` means."""
    from countermeasure.evaluation import asv
    from countermeasure.trials.score_files import read_asv_scores

    if source is None:
        return None
    return asv.LA_EVAL if source == LA_EVAL_NAME else asv.from_scores(read_asv_scores(source))


def read_protocols(paths: Sequence[str] | None, protocol_format: str | None = None) -> dict[str, Trial] | None:
    """Return the trials of several protocols by utterance."""
    from countermeasure.trials.protocol import read_protocol

    if paths is None:
        return None
    return {trial.utterance: trial for path in paths for trial in read_protocol(path, protocol_format)}


def _count(word: str) -> int:
    if not word.isdecimal() or 0 < int(word) < FEWEST_REPLICATES:
        raise argparse.ArgumentTypeError(f"{word!r} is neither 0 nor a number from {FEWEST_REPLICATES} on")
    return int(word)


def _seed(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no integer from 0 on")
    return int(word)


def _truth(word: str) -> bool:
    try:
        return {"true": True, "false": False}[word.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{word!r} is neither True nor False") from None
