"""What a study is written to: pictures, the report page, JSON and CSV."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from countermeasure.errors import InputError
from countermeasure.evaluation.study import ATTACK, Study, run_study
from countermeasure.files import refuse_overwriting, replace_when_whole
from countermeasure.trials.score_files import read_cm_scores
from tDCF_python.defaults import N_REPLICATES

PathLike = str | os.PathLike[str]
_STDOUT = "-"


def plot_scores(path: PathLike, folder: PathLike) -> None:
    """Write the pictures of one score file, as ``score_eval.py --plot`` does."""
    scores = read_cm_scores(path)
    by = [ATTACK] if (scores.attacks != b"").any() else []
    write(run_study({Path(path).stem: scores}, by=by, bootstrap=N_REPLICATES), plot=str(folder))


def check(
    inputs: Iterable[PathLike],
    plot: str | None = None,
    report: str | None = None,
    json: str | None = None,
    csv: str | None = None,
) -> None:
    """Refuse names for what is to be written, before anything is worked out.

    Raises
    ------
    InputError
        When a name is that of an input, of another output or of a folder; for pictures, that of a file.
    """
    inputs = list(inputs)
    files = [path for path in (report, json, csv) if path and path != _STDOUT]
    for path in files:
        refuse_overwriting(path, *inputs)
    for one, other in combinations([*files, *([plot] if plot else [])], 2):
        if os.path.realpath(one) == os.path.realpath(other) and one != os.devnull:
            raise InputError(f"{one}: two outputs of this name; choose another one for one of them")
    if plot and os.path.exists(plot) and not os.path.isdir(plot):
        raise InputError(f"{plot}: is a file; give the name of a folder for the pictures")


def write(
    study: Study, plot: str | None = None, report: str | None = None, json: str | None = None, csv: str | None = None
) -> None:
    """Write what the options of these names ask for."""
    if plot or report:
        from countermeasure.evaluation import page, plots

        pictures = plots.pictures(study)
        if plot:
            plots.save_all(pictures, plot)
        if report:
            _write(report, page.page(study, pictures))
    if json or csv:
        from countermeasure.evaluation import machine

        if json:
            _write(json, machine.to_json(study))
        if csv:
            _write(csv, machine.to_csv(study))


def _write(path: str, text: str) -> None:
    """Write a text, or print it where the path is ``-``."""
    if path == _STDOUT:
        sys.stdout.write(text)
        return
    with replace_when_whole(path, text=True) as f:
        f.write(text)
