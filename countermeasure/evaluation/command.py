"""Evaluate score files: read them, evaluate, write what is asked for and print the rest."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from countermeasure import cli, records
from countermeasure.errors import InputError
from countermeasure.evaluation import asv, outputs, tables
from countermeasure.evaluation.results import ATTACK
from countermeasure.evaluation.study import run_study
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import read_asv_scores, read_cm_scores
from tDCF_python.defaults import LA_EVAL_FILE, LA_EVAL_NAME


def evaluate_files(
    cm_score: Sequence[str],
    asv_score: str | None = None,
    *,
    legacy: bool = True,
    name: Sequence[str] | None = None,
    protocol: Sequence[str] | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
    by: Sequence[str] = (),
    bootstrap: bool | None = None,
    bootstrap_over: str | None = None,
    threshold_from: Sequence[str] | None = None,
    plot: str | None = None,
    report: str | None = None,
    json: str | None = None,
    csv: str | None = None,
) -> None:
    """Evaluate score files and print the report; the parameters are the options of ``score_eval.py``.

    Raises
    ------
    InputError
        When a file is not there or cannot be used, when options contradict each other, or when an
        output would replace what is read.
    """
    names = system_names(cm_score, name)
    sources = threshold_from or []
    if sources and len(sources) != len(names):
        raise InputError(f"--threshold_from: {len(sources)} files for {len(names)} systems; give one for each")
    outputs.check([*cm_score, *(protocol or []), *sources, *filter(None, [asv_score])], plot, report, json, csv)
    for path in [*cm_score, *sources]:
        _refuse_missing(
            path, "gmm_test.py writes score files", f"give score files, {Path(path) / '*.txt'} for instance"
        )
    system = read_asv(asv_score)
    trials = read_protocols(protocol, protocol_format)
    systems = {
        name: read_cm_scores(path, trials, protocol_format, protocol_subset)
        for name, path in zip(names, cm_score, strict=True)
    }
    for note in filter(None, (scores.note for scores in systems.values())):
        cli.log(note)
    others = [read_cm_scores(path, trials, protocol_format) for path in sources]
    illustrated = bool(plot or report)
    brief = illustrated and not by and not bootstrap
    if illustrated and not by and all((scores.attacks != b"").any() for scores in systems.values()):
        by = [ATTACK]
    study = run_study(
        systems,
        system,
        legacy=legacy,
        by=by,
        with_intervals=illustrated if bootstrap is None else bootstrap,
        intervals_over=bootstrap_over,
        threshold_from=dict(zip(names, others, strict=False)),
        watch=lambda items: cli.progress(items, len(items), "evaluating", "systems"),
    )
    outputs.write(study, plot, report, json, csv)
    if "-" not in (json, csv):
        print(tables.text(study, brief))


def plot_scores(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Write the pictures of one score file, as ``score_eval.py --plot`` does."""
    scores = read_cm_scores(path)
    by = [ATTACK] if (scores.attacks != b"").any() else []
    outputs.write(run_study({Path(path).stem: scores}, by=by, with_intervals=True), plot=str(folder))


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
    names = [records.text(name) for name in names]
    if len(names) != len(paths):
        raise InputError(f"--name: {len(names)} names for {len(paths)} score files; give one for each")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"two systems are called {repeated[0]}; tell them apart with --name")
    return names


def read_asv(source: str | None) -> asv.AsvSystem | None:
    """Return the verification system that ``--asv_score`` means."""
    if source is None or source == LA_EVAL_NAME:
        return asv.LA_EVAL if source else None
    if Path(source).name == LA_EVAL_FILE and not os.path.lexists(source):
        cli.log(f"{source}: no such file; its known error rates are taken ({LA_EVAL_NAME})")
        return asv.LA_EVAL
    fix = f"give {LA_EVAL_NAME}, or a file that tDCF_python/scores/README.md names"
    _refuse_missing(source, fix, fix)
    return asv.from_scores(read_asv_scores(source))


def read_protocols(paths: Sequence[str] | None, protocol_format: str | None = None) -> dict[str, Trial] | None:
    """Return the trials of several protocols by utterance."""
    if paths is None:
        return None
    return {trial.utterance: trial for path in paths for trial in read_protocol(path, protocol_format)}


def _refuse_missing(path: str, fix_missing: str, fix_folder: str) -> None:
    """Refuse a path where there is no file; the message ends in the hint for nothing or for a folder there."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; {fix_missing}") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; {fix_folder}")
