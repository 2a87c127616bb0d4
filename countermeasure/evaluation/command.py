"""Evaluate score files: read and evaluate them, print the report and write the requested files."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from countermeasure import cli, records
from countermeasure.errors import InputError
from countermeasure.evaluation import asv
from countermeasure.evaluation.outputs import Outputs
from countermeasure.evaluation.results import ATTACK, SPEAKER
from countermeasure.evaluation.study import run_study
from countermeasure.evaluation.text import to_text
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import CmScores, read_asv_scores, read_cm_scores
from tDCF_python.defaults import LA_EVAL_FILE, LA_EVAL_NAME

_SPLIT = re.compile(r"(?<=.)[-_.](train|dev|eval)$")


def evaluate_files(args: argparse.Namespace) -> None:
    """Evaluate score files and print the report.

    Parameters
    ----------
    args : Namespace
        The options of ``score_eval.py``.

    Raises
    ------
    InputError
        When a file is missing or unusable, when options contradict each other, or when an output would replace an
        input.
    """
    names = system_names(args.cm_score, args.name)
    for option, paths in (("--threshold_from", args.threshold_from), ("--dev", args.dev)):
        if paths and len(paths) != len(names):
            raise InputError(f"{option}: {len(paths)} files for {len(names)} systems; give one for each")
    outputs = Outputs(args.plot, args.report, args.json, args.csv)
    inputs = [args.cm_score, args.threshold_from, args.dev, args.protocol, args.asv_score and [args.asv_score]]
    outputs.check(path for paths in filter(None, inputs) for path in paths)
    verification = read_asv(args.asv_score)
    by = list(dict.fromkeys(map(str.lower, args.by)))
    others = [column for column in by if column not in (ATTACK, SPEAKER)]
    trials = None
    if args.protocol:
        protocols = [read_protocol(path, args.protocol_format, None, others) for path in args.protocol]
        trials = {trial.utterance: trial for protocol in protocols for trial in protocol}

    def read(paths: Sequence[str] | None, **more: Any) -> dict[str, CmScores]:
        files = zip(names, paths, strict=True) if paths else ()
        found = {name: read_cm_scores(path, trials, args.protocol_format, **more) for name, path in files}
        # One of several protocols may be for other files.
        several = len(args.protocol or ()) > 1
        return {name: scores._replace(unscored=0) if several else scores for name, scores in found.items()}

    systems = read(args.cm_score, protocol_subset=args.protocol_subset, others=others)
    threshold_from, dev = read(args.threshold_from), read(args.dev)
    for name, scores in systems.items():
        if scores.note:
            cli.log(scores.note)
        for option, files in (("--threshold_from", threshold_from), ("--dev", dev)):
            _check_models(option, files.get(name), scores)
    is_asked = bool(args.intervals or args.reference)
    study = run_study(
        systems,
        verification,
        legacy=args.legacy,
        by=by or (_by_attack(systems) if outputs.is_illustrated else ()),
        with_intervals=args.intervals or is_asked or outputs.is_illustrated,
        threshold_from=threshold_from,
        reference=args.reference,
    )
    if dev:
        study = replace(study, dev=run_study(dev, with_intervals=True))
    if not outputs.is_printed:
        print(to_text(study, brief=outputs.is_illustrated and not by and not is_asked), flush=True)
    outputs.write(study)
    if not outputs.is_illustrated and not outputs.is_printed:
        cli.log("Next: --report report.html makes a page with pictures, intervals and the breakdown by attack")


def _check_models(option: str, other: CmScores | None, scores: CmScores) -> None:
    """Raise InputError if the records of two score files name different models."""
    if other and other.record and scores.record and other.record.models_sha256 != scores.record.models_sha256:
        raise InputError(
            f"{option} {other.path}: scores of other models than {scores.path}; give a file for each of --cm_score, in "
            "the same order"
        )


def plot_scores(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Write the pictures of one score file, as ``score_eval.py --plot`` does."""
    systems = {name: read_cm_scores(path) for name in system_names([str(path)])}
    Outputs(plot=str(folder)).write(run_study(systems, by=_by_attack(systems), with_intervals=True))


def _by_attack(systems: Mapping[str, CmScores]) -> list[str]:
    """Return the column to break reports down by: the attack, if every file names attacks."""
    return [ATTACK] if all(any(scores.columns.attacks) for scores in systems.values()) else []


def system_names(paths: Sequence[str], names: Sequence[str] | None = None) -> list[str]:
    """Return the systems' names: those given, or the shortest names of the files that differ.

    These are the file's name without folder, suffix and split (``mfcc`` for ``output/mfcc-eval.txt``), the same with
    the split, or the whole path. Bytes that are not UTF-8 are escaped, since pictures and tables cannot show them.

    Raises
    ------
    InputError
        When there are not as many names as files, or two are the same.
    """
    if names is None:
        stems = [Path(path).stem for path in paths]
        choices = [[_SPLIT.sub("", stem) for stem in stems], stems, list(paths)]
        names = next((choice for choice in choices if len(set(choice)) == len(paths)), choices[-1])
    names = [records.text(name) for name in names]
    if len(names) != len(paths):
        raise InputError(f"--name: {len(names)} names for {len(paths)} score files; give one for each")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"two systems are called {repeated[0]}; tell them apart with --name")
    return names


def read_asv(source: str | None) -> asv.AsvSystem | None:
    """Return the verification system that ``--asv_score`` means.

    Raises
    ------
    InputError
        When the file is missing or unusable.
    """
    if source is None:
        return None
    if source == LA_EVAL_NAME:
        return asv.LA_EVAL
    if os.path.exists(source):
        return asv.from_scores(read_asv_scores(source))
    if Path(source).name != LA_EVAL_FILE:
        fix = f"give {LA_EVAL_NAME}, or a file that tDCF_python/scores/README.md names"
        raise InputError(f"{source}: no such file; {fix}")
    cli.log(f"{source}: no such file; its known error rates are taken ({LA_EVAL_NAME})")
    return asv.LA_EVAL
