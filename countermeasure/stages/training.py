"""Train the two mixtures of a countermeasure."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from countermeasure import cli, compute, files, records, versions
from countermeasure.errors import InputError
from countermeasure.gmm import checkpoints, logistic
from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, differences, model_files, read_pair, write_pair
from countermeasure.gmm.moments import means
from countermeasure.gmm.trainer import PassLog, Trainer
from countermeasure.lists import fusion, provenance
from countermeasure.lists.table import Table
from countermeasure.options import LogisticOptions, TrainingOptions
from countermeasure.stages import card, inputs
from countermeasure.stages.compatibility import check_columns, check_suits, check_trainable, warn_of_doubts
from countermeasure.trials.lines import BONAFIDE, LABELS

PathLike = str | os.PathLike[str]


class _Conduct(NamedTuple):
    """How a training is carried out; its models do not depend on it. See `train`."""

    n_jobs: int | None
    dask: str | None
    in_memory: bool
    log: PathLike | None
    restart: bool


def train(
    data_path: PathLike,
    model_path: PathLike,
    options: TrainingOptions,
    load_model_path: PathLike | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    in_memory: bool = False,
    log: PathLike | None = None,
    restart: bool = False,
) -> None:
    """Train on a feature list; write ``bon.gmm`` and ``sp.gmm``.

    A run that was killed goes on from its last pass; a training that is finished is not done again.
    The models depend on the data, the options and the models to continue from, and on nothing else.

    Parameters
    ----------
    data_path : path of a feature list
    model_path : folder for the models
    options : TrainingOptions
    load_model_path : folder or None
        Continue from the models there.
    n_jobs : int or None
        Threads; None: one a core.
    dask : str or None
        Where to compute instead, see `compute.workers`; the list is there under the same path.
    in_memory : bool
        Hold the frames in memory instead of reading them in every pass; not with `dask`, whose
        workers read them themselves.
    log : path or None
        CSV file for the history.
    restart : bool
        Start over, whatever a checkpoint says and whatever models are there.

    Raises
    ------
    InputError
        When the list cannot be trained on, when the models to continue from do not suit it, or when
        an unfinished training with other settings is in the folder.
    """
    conduct = _Conduct(n_jobs, dask, in_memory, log, restart)
    _train([inputs.given_list(data_path)], None, "features", model_path, options, load_model_path, conduct)


def train_fusion(
    data_dir: PathLike,
    model_path: PathLike,
    options: TrainingOptions | LogisticOptions,
    whole_files: bool = False,
    load_model_path: PathLike | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    in_memory: bool = False,
    log: PathLike | None = None,
    restart: bool = False,
) -> None:
    """Train on all score lists of a folder, stacked as columns; else as `train`.

    They are lists of frames, or with `whole_files` of one row a file. With `LogisticOptions`, the models
    are those of a logistic regression on the columns' means over each file, in which there is nothing to
    continue and no history of passes.
    """
    found = inputs.given_columns(data_dir, whole_files)
    names = [column.name for column in found]
    kind = "file scores" if whole_files else "frame scores"
    if isinstance(options, LogisticOptions):
        if load_model_path is not None or log is not None:
            option = "--log" if load_model_path is None else "--load_model_path"
            raise InputError(f"{option} belongs to --method gmm; a logistic regression has no passes, leave it out")
        _train_logistic(found, kind, model_path, options, restart)
        return
    conduct = _Conduct(n_jobs, dask, in_memory, log, restart)
    _train([column.path for column in found], names, kind, model_path, options, load_model_path, conduct)


def _train_logistic(
    found: Sequence[fusion.Column], kind: str, model_path: PathLike, options: LogisticOptions, restart: bool
) -> None:
    folder = _folder(model_path)
    with Table([column.path for column in found]) as table, files.only_run(folder):
        warn_of_doubts(table)
        check_trainable(table, kind)
        items = _items_by_label(table)
        record = _record(table, [column.name for column in found], options, None)
        if not restart:
            if _nothing_to_do(folder, record):
                return
            for label in LABELS:
                checkpoints.load(_checkpoint(folder, label), record)  # refuses those of an unfinished mixture
        chosen = np.sort(np.concatenate([items[label] for label in LABELS]))
        is_bonafide = np.array([table.labels[i] == BONAFIDE for i in chosen])
        rows = means(table, chosen)
        mixtures = logistic.train(rows, is_bonafide, fusion.names_of_dimensions(found), options.l2)
        models = []
        for label, parameters, own in zip(LABELS, mixtures, (is_bonafide, ~is_bonafide), strict=True):
            log_likelihood = float(Kernel.of_raw(parameters).log_likelihoods(rows[own]).mean())
            about = {
                **record,
                "label": label,
                "n_files": len(items[label]),
                "n_frames": int(table.n_rows[items[label]].sum()),
            }
            models.append(Model(parameters, lower_bound=log_likelihood, converged=True, record=about))
        _finish(folder, models)
        cli.log(f"{folder}: logistic regression on {len(chosen)} files, {table.n_columns} columns")


def _train(
    paths: Sequence[Path],
    columns: Sequence[str] | None,
    kind: str,
    model_path: PathLike,
    options: TrainingOptions,
    load_model_path: PathLike | None,
    conduct: _Conduct,
) -> None:
    folder = _folder(model_path)
    used = [model_path] if load_model_path is None else [model_path, load_model_path]
    model_paths = itertools.chain.from_iterable(map(model_files, used))
    checkpoint_paths = (_checkpoint(folder, label) for label in LABELS)
    lists = (path for data in paths for path in (data, records.found_path(data)))
    files.refuse_overwriting(conduct.log, *lists, *model_paths, *checkpoint_paths, folder / card.FILE)
    if load_model_path is not None and folder.resolve() == Path(load_model_path).resolve():
        raise InputError(
            f"--load_model_path and --model_path are both {folder}; continue into another folder, "
            "so that the models to continue from are still there after an interruption"
        )
    with compute.workers(conduct.n_jobs, conduct.dask) as workers, Table(paths) as table:
        warn_of_doubts(table)
        check_trainable(table, kind)
        items = _items_by_label(table)
        starts: dict[str, Parameters | None] = dict.fromkeys(LABELS)
        if load_model_path is not None:
            loaded = _load_starts(load_model_path, table, columns)
            options = _with_components_of(loaded, options)
            starts.update(loaded)
        record = _record(table, columns, options, load_model_path)
        with files.only_run(folder):
            if not conduct.restart and _nothing_to_do(folder, record):
                _remove_checkpoints(folder)
                return
            if conduct.restart:
                _remove_checkpoints(folder)
            if conduct.in_memory and not workers.are_elsewhere:
                table.hold()
            # Both are looked through before one is trained, and trained before one is written.
            trainings = [Trainer(table, items[label], label, options, workers) for label in LABELS]
            log = PassLog(conduct.log)
            models = [one.train(starts[one.label], _checkpoint(folder, one.label), record, log) for one in trainings]
            _finish(folder, models)


def _folder(model_path: PathLike) -> Path:
    if not os.fspath(model_path):
        raise InputError("--model_path is empty; name the folder for the models")
    return Path(model_path)


def _checkpoint(folder: Path, label: str) -> Path:
    return folder / f"{label}.checkpoint.npz"


def _remove_checkpoints(folder: Path) -> None:
    for label in LABELS:
        _checkpoint(folder, label).unlink(missing_ok=True)


def _with_components_of(starts: dict[str, Parameters], options: TrainingOptions) -> TrainingOptions:
    """Return the options as they take effect: the models to continue from have their components."""
    n_components = max(start.n_components for start in starts.values())
    if n_components != options.n_components:
        cli.log(f"the models to continue from have {n_components} components; --n_components takes no effect")
    return replace(options, n_components=n_components)


def _record(
    table: Table,
    columns: Sequence[str] | None,
    options: TrainingOptions | LogisticOptions,
    load_model_path: PathLike | None,
) -> dict[str, Any]:
    """Return what the models will say about themselves; the training id stands for data and options."""
    starts = model_files(load_model_path) if load_model_path is not None else ()
    record: dict[str, Any] = {
        "format": versions.FORMAT,
        "columns": list(columns) if columns else None,
        "data_sha256": [described.sha256 for described in table.described],
        "options": asdict(options),
        "start_sha256": [files.sha256(path) for path in starts] or None,
    }
    record["training_id"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    record["inputs"] = [provenance.source(described.record) for described in table.described]
    record["versions"] = versions.current()
    return record


def _nothing_to_do(folder: Path, record: dict[str, Any]) -> bool:
    """Tell whether the models are there already; say so, or that others are there, which will be replaced.

    Models whose lists have got their records since then are written again with what these tell.
    """
    try:
        pair = read_pair(*model_files(folder))
    except InputError:  # missing, damaged or mixed: trained anew
        return False
    found = pair[0].record
    if not found or (how := differences(found, record)):
        how = how if found else "made elsewhere"
        cli.log(f"{folder}: has models of another training ({how}), which will be replaced in the end")
        return False
    known = found.get("inputs") or [None] * len(record["inputs"])
    inputs = [now or before for now, before in zip(record["inputs"], known, strict=True)]
    if inputs != known:
        bonafide, spoof = (replace(model, record={**model.record, "inputs": inputs}) for model in pair)
        write_pair(folder, bonafide, spoof)
        cli.log(f"{folder}: trained on these data already; the models now know what the lists' records say of them")
    else:
        cli.log(f"{folder}: trained on these data already, nothing to do (--restart trains again)")
    card.write(folder)  # which a run that was killed may have left undone
    return True


def _finish(folder: Path, models: Sequence[Model]) -> None:
    """Write the two models and their card; what was kept for a run that is killed is needed no more."""
    bonafide, spoof = models
    write_pair(folder, bonafide, spoof)
    _remove_checkpoints(folder)
    card.write(folder)


def _items_by_label(table: Table) -> dict[str, np.ndarray]:
    for i, (label, n) in enumerate(zip(table.labels, table.n_rows, strict=True)):
        if n and label not in LABELS:
            raise InputError(
                f"{table.paths[0]}: {table.name(i)} has the label {label!r}; "
                "training needs 'bonafide' or 'spoof' on each"
            )
    labels = np.array([label or "" for label in table.labels])
    items = {label: np.flatnonzero((labels == label) & (table.n_rows > 0)) for label in LABELS}
    for label in LABELS:
        if not len(items[label]):
            raise InputError(f"{table.paths[0]}: no {label} item in it; training needs both classes")
    return items


def _load_starts(load_model_path: PathLike, table: Table, columns: Sequence[str] | None) -> dict[str, Parameters]:
    pair = read_pair(*model_files(load_model_path))
    for model in pair:
        if columns is not None:
            check_columns(model, columns, table.paths[0].parent)
        check_suits(model, table, load_model_path)
    return {label: model.parameters for label, model in zip(LABELS, pair, strict=True)}
