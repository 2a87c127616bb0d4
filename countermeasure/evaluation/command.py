"""Evaluate score files: read them, evaluate, write what is asked for and print the rest."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from countermeasure import cli, records
from countermeasure.errors import InputError
from countermeasure.evaluation import asv, outputs, tables
from countermeasure.evaluation.results import ATTACK, SPEAKER, Study
from countermeasure.evaluation.study import run_study
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import read_asv_scores, read_cm_scores
from tDCF_python.defaults import LA_EVAL_FILE, LA_EVAL_NAME

PathLike = str | os.PathLike[str]
_SPLIT = re.compile(r"(?<=.)[-_.](train|dev|eval)$")


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
    reference: str | None = None,
    threshold_from: Sequence[str] | None = None,
    dev: Sequence[str] | None = None,
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
    for option, others in (("--threshold_from", threshold_from), ("--dev", dev)):
        if others and len(others) != len(names):
            raise InputError(f"{option}: {len(others)} files for {len(names)} systems; give one for each")
    read = [*cm_score, *sources, *(dev or [])]
    outputs.check([*read, *(protocol or []), *filter(None, [asv_score])], plot, report, json, csv)
    for path in read:
        _refuse_missing(
            path, "gmm_test.py writes score files", f"give score files, {Path(path) / '*.txt'} for instance"
        )
    illustrated = bool(plot or report)
    brief = illustrated and not by and not bootstrap
    study = read_study(
        dict(zip(names, cm_score, strict=True)),
        asv_score,
        legacy=legacy,
        protocol=protocol,
        protocol_format=protocol_format,
        protocol_subset=protocol_subset,
        by=by or (None if illustrated else ()),
        with_intervals=illustrated if bootstrap is None else bootstrap,
        intervals_over=bootstrap_over,
        reference=reference,
        threshold_from=dict(zip(names, sources, strict=False)),
    )
    if dev:
        files = dict(zip(names, dev, strict=True))
        study = replace(study, dev=read_study(files, protocol=protocol, protocol_format=protocol_format))
    if "-" not in (json, csv):
        print(tables.text(study, brief), flush=True)
    outputs.write(study, plot, report, json, csv)
    if not illustrated and "-" not in (json, csv):
        cli.log("Next: --report report.html makes a page with pictures, intervals and the breakdown by attack")


def read_study(
    files: Mapping[str, PathLike],
    asv_score: str | None = None,
    *,
    legacy: bool = True,
    protocol: Sequence[str] | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
    by: Sequence[str] | None = (),
    with_intervals: bool = True,
    intervals_over: str | None = None,
    reference: str | None = None,
    threshold_from: Mapping[str, PathLike] | None = None,
) -> Study:
    """Read score files, each once, and evaluate them.

    Parameters
    ----------
    files : mapping from a system's name to its score file
    asv_score : str, optional
        Score file of the speaker verification system, or ``asvspoof2019-la-eval``; without it there is no t-DCF.
    protocol, protocol_format, protocol_subset
        As ``score_eval.py`` takes them.
    by : sequence of str or None
        One column of the trials, or two; None: by attack, where every file names attacks.
    legacy, with_intervals, intervals_over, reference
        See `study.run_study`.
    threshold_from : mapping from a system's name to the score file whose thresholds are applied, optional

    Raises
    ------
    InputError
        When a file is not there or cannot be used: one without labels, for instance.
    """
    system = read_asv(asv_score)
    by = None if by is None else list(dict.fromkeys(map(str.lower, by)))
    others = [column for column in by or () if column not in (ATTACK, SPEAKER)]
    trials = read_protocols(protocol, protocol_format, others)
    systems = {
        name: read_cm_scores(path, trials, protocol_format, protocol_subset, others) for name, path in files.items()
    }
    for note in filter(None, (scores.note for scores in systems.values())):
        cli.log(note)
    if by is None:
        by = [ATTACK] if all((scores.attacks != b"").any() for scores in systems.values()) else []
    return run_study(
        systems,
        system,
        legacy=legacy,
        by=by,
        with_intervals=with_intervals,
        intervals_over=intervals_over,
        threshold_from={
            name: read_cm_scores(path, trials, protocol_format) for name, path in (threshold_from or {}).items()
        },
        reference=reference,
        watch=lambda items: cli.progress(items, len(items), "evaluating", "systems"),
    )


def plot_scores(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Write the pictures of one score file, as ``score_eval.py --plot`` does."""
    outputs.write(read_study({system_names([str(path)])[0]: path}, by=None), plot=str(folder))


def system_names(paths: Sequence[str], names: Sequence[str] | None = None) -> list[str]:
    """Return the systems' names: those given, or the shortest of the files' that differ.

    These are the file's name without folder, ending and the split at its end (``mfcc`` for ``output/mfcc-eval.txt``),
    the same with the split, or the whole path.

    Bytes of a name that are no UTF-8 are written out, for pictures and tables cannot show them.

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
    """Return the verification system that ``--asv_score`` means."""
    if source is None or source == LA_EVAL_NAME:
        return asv.LA_EVAL if source else None
    if Path(source).name == LA_EVAL_FILE and not os.path.lexists(source):
        cli.log(f"{source}: no such file; its known error rates are taken ({LA_EVAL_NAME})")
        return asv.LA_EVAL
    fix = f"give {LA_EVAL_NAME}, or a file that tDCF_python/scores/README.md names"
    _refuse_missing(source, fix, fix)
    return asv.from_scores(read_asv_scores(source))


def read_protocols(
    paths: Sequence[str] | None, protocol_format: str | None = None, others: Sequence[str] = ()
) -> dict[str, Trial] | None:
    """Return the trials of several protocols by utterance, with the further columns of these names."""
    if paths is None:
        return None
    return {trial.utterance: trial for path in paths for trial in read_protocol(path, protocol_format, None, others)}


def _refuse_missing(path: str, fix_missing: str, fix_folder: str) -> None:
    """Refuse a path where there is no file; the message ends in the hint for nothing or for a folder there."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; {fix_missing}") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; {fix_folder}")
