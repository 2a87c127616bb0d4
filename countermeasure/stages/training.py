"""Train the two mixtures of a countermeasure."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from countermeasure import cli, compute, files, records, versions
from countermeasure.errors import InputError
from countermeasure.gmm import checkpoints, logistic
from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, Pair, differences, model_files, read_pair, write_pair
from countermeasure.gmm.moments import means
from countermeasure.gmm.trainer import PassLog, Trainer
from countermeasure.lists import provenance
from countermeasure.lists.table import Table
from countermeasure.options import MOST_COMPONENTS, ROWS_PER_COMPONENT, LogisticOptions, TrainingOptions
from countermeasure.stages import card, inputs
from countermeasure.stages.compatibility import check_columns, check_suits, check_trainable, warn_of_doubts
from countermeasure.trials.lines import BONAFIDE, LABELS

PathLike = str | os.PathLike[str]
Options = TrainingOptions | LogisticOptions


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
) -> Pair:
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
        Train again: replace finished models of other settings, too, and no matter what a checkpoint says.

    Returns
    -------
    Pair
        The models that are in the folder now.

    Raises
    ------
    InputError
        When the list cannot be trained on, when the models to continue from do not suit it, or when
        models or an unfinished training of other settings are in the folder, see `differing`.
    """
    asked = _Asked([inputs.given_list(data_path)], None, "features", _folder(model_path), restart)
    return _train(asked, options, load_model_path, n_jobs, dask, in_memory, log)


def train_fusion(
    data_dir: PathLike,
    model_path: PathLike,
    options: Options,
    whole_files: bool = False,
    load_model_path: PathLike | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    in_memory: bool = False,
    log: PathLike | None = None,
    restart: bool = False,
) -> Pair:
    """Train on all score lists of a folder, stacked as columns; else as `train`.

    They are lists of frames, or with `whole_files` of one row a file. With `LogisticOptions`, the models
    are those of a logistic regression on the columns' means over each file, in which there is nothing to
    continue and no history of passes.
    """
    columns = inputs.given_columns(data_dir, whole_files)
    kind = "file scores" if whole_files else "frame scores"
    paths, names = [column.path for column in columns], [column.name for column in columns]
    asked = _Asked(paths, names, kind, _folder(model_path), restart)
    if isinstance(options, TrainingOptions):
        return _train(asked, options, load_model_path, n_jobs, dask, in_memory, log)
    if load_model_path is not None or log is not None:
        option = "--log" if load_model_path is None else "--load_model_path"
        raise InputError(f"{option} belongs to --method gmm; a logistic regression has no passes, leave it out")
    return _regress(asked, options)


def differing(
    model_path: PathLike, options: Options, data_path: PathLike | None = None, scored_by: Sequence[PathLike] = ()
) -> str:
    """Say how the models of a folder, or an unfinished training there, differ from what a training would make.

    Parameters
    ----------
    model_path : folder
    options : TrainingOptions or LogisticOptions
        A number of components that is None is not compared.
    data_path : path or None
        The feature list of a base model; one that is not there yet is not compared.
    scored_by : sequence of folder
        For a fusion, of the models whose scores it is to be trained on; those without models are passed over.

    Returns
    -------
    str
        As in "finished models of other settings are here (had 512 components, 64 are asked for)"; empty where a
        training would replace nothing.
    """
    wanted: dict[str, Any] = {"options": {name: value for name, value in asdict(options).items() if value is not None}}
    if data_path is not None and Path(data_path).is_file():
        described = provenance.describe(data_path)
        wanted |= {"data_sha256": [described.sha256], "inputs": [provenance.source(described.record)]}
    return _differing(Path(model_path), wanted) or _outdated(Path(model_path), scored_by)


class _Asked(NamedTuple):
    """What is to be trained: lists, their columns' names in a fusion, what they hold, where models go."""

    lists: list[Path]
    columns: list[str] | None
    kind: str
    folder: Path
    restart: bool


def _train(
    asked: _Asked,
    options: TrainingOptions,
    load_model_path: PathLike | None,
    n_jobs: int | None,
    dask: str | None,
    in_memory: bool,
    log: PathLike | None,
) -> Pair:
    folder = asked.folder
    used = [folder] if load_model_path is None else [folder, load_model_path]
    model_paths = itertools.chain.from_iterable(map(model_files, used))
    lists = (path for data in asked.lists for path in (data, records.found_path(data)))
    files.refuse_overwriting(log, *lists, *model_paths, *_checkpoints(folder).values(), folder / card.FILE)
    if load_model_path is not None and folder.resolve() == Path(load_model_path).resolve():
        raise InputError(
            f"--load_model_path and --model_path are both {folder}; continue into another folder, "
            "so that the models to continue from are still there after an interruption"
        )
    with compute.workers(n_jobs, dask) as workers, Table(asked.lists) as table:
        items = _items_by_label(table, asked.kind)
        options = _by_rows(options, {label: int(table.n_rows[items[label]].sum()) for label in LABELS})
        starts: Sequence[Parameters | None] = (None, None)
        if load_model_path is not None:
            starts = loaded = _load_starts(load_model_path, table, asked.columns)
            options = _with_components_of(loaded, options)
        record = _record(table, asked.columns, options, load_model_path)

        def fit() -> list[Model]:
            if in_memory and not workers.are_elsewhere:
                table.hold()
            # Both are looked through before one is trained.
            trainers = [Trainer(table, items[label], label, options, workers) for label in LABELS]
            passes, row = PassLog(log), "file" if asked.kind == "file scores" else "frame"
            return [
                trainer.train(start, _checkpoints(folder)[trainer.label], record, passes, row)
                for trainer, start in zip(trainers, starts, strict=True)
            ]

        return _finished(asked, record, fit)


def _regress(asked: _Asked, options: LogisticOptions) -> Pair:
    with Table(asked.lists) as table:
        items = _items_by_label(table, asked.kind)
        record = _record(table, asked.columns, options, None)

        def fit() -> list[Model]:
            chosen = np.sort(np.concatenate(list(items.values())))
            is_bonafide = np.array([table.labels[i] == BONAFIDE for i in chosen])
            rows = means(table, chosen)
            names = [name for name, n in zip(asked.columns or [], table.widths, strict=True) for _ in range(n)]
            mixtures = logistic.train(rows, is_bonafide, names, options.l2)
            models = []
            for label, parameters, own in zip(LABELS, mixtures, (is_bonafide, ~is_bonafide), strict=True):
                log_likelihood = float(Kernel.of_raw(parameters).log_likelihoods(rows[own]).mean())
                n_frames = int(table.n_rows[items[label]].sum())
                about = {**record, "label": label, "n_files": len(items[label]), "n_frames": n_frames}
                models.append(Model(parameters, lower_bound=log_likelihood, converged=True, record=about))
            cli.log(f"logistic regression on {len(chosen):,} files, {table.n_columns} columns")
            return models

        return _finished(asked, record, fit)


def _finished(asked: _Asked, record: dict[str, Any], fit: Callable[[], list[Model]]) -> Pair:
    """Return the models of a training: those that are there already, or those that `fit` makes.

    Raises
    ------
    InputError
        When the folder holds something else, and the training is not to start over.
    """
    folder = asked.folder
    with files.only_run(folder):
        if not asked.restart:
            if different := _differing(folder, record):
                raise InputError(f"{folder}: {different}; choose another --model_path, or --restart to replace them")
            if pair := _there_already(folder, record):
                return pair
        else:
            _remove_checkpoints(folder)
        pair = Pair(*fit())
        write_pair(folder, *pair)  # neither takes its name before both are whole
        _remove_checkpoints(folder)
        card.write(folder)
    return pair


# -- what is there already ---------------------------------------------------------------------------


def _differing(folder: Path, wanted: dict[str, Any]) -> str:
    pair = _pair(folder)
    how = differences(pair.record, wanted) if pair else ""
    if pair and not how:
        return ""
    unfinished = [found for path in _checkpoints(folder).values() if (found := checkpoints.read_record(path))]
    for found in unfinished:
        if different := differences(found, wanted):
            return f"an unfinished training of other settings is here ({different})"
    # Beside a checkpoint of this very training stand models that it was told to replace, before it was killed.
    return f"finished models of other settings are here ({how})" if how and not unfinished else ""


def _outdated(folder: Path, scored_by: Sequence[PathLike]) -> str:
    """Say so when a fusion was trained on scores of other models than those of some folders."""
    pair = _pair(folder)
    sources = pair.record.get("inputs") or [] if pair else []
    used = {source["model"] for source in sources if source and source.get("model")}
    now = {found.record.get("training_id") for found in map(_pair, map(Path, scored_by)) if found}
    if used and now and not now <= used:
        return "finished models of other settings are here (was trained on scores of other models)"
    return ""


def _pair(folder: Path) -> Pair | None:
    """Return the models of a folder; None where they are missing, damaged or mixed, so that nothing is lost."""
    try:
        return read_pair(*model_files(folder))
    except InputError:
        return None


def _there_already(folder: Path, record: dict[str, Any]) -> Pair | None:
    """Return the models of this very training, and say so; they are told what the lists' records say by now."""
    pair = _pair(folder)
    if pair is None or differences(pair.record, record):
        return None
    known = pair.record.get("inputs") or [None] * len(record["inputs"])
    sources = [now or before for now, before in zip(record["inputs"], known, strict=True)]
    if sources != known:
        pair = Pair(*(replace(model, record={**model.record, "inputs": sources}) for model in pair))
        write_pair(folder, *pair)
        cli.log(f"{folder}: trained on these data already; the models now know what the lists' records say of them")
    else:
        cli.log(f"{folder}: trained on these data already, nothing to do (--restart trains again)")
    _remove_checkpoints(folder)
    card.write(folder)  # which a run that was killed may have left undone
    return pair


def _folder(model_path: PathLike) -> Path:
    if not os.fspath(model_path):
        raise InputError("--model_path is empty; name the folder for the models")
    return Path(model_path)


def _checkpoints(folder: Path) -> dict[str, Path]:
    return {label: folder / f"{label}.checkpoint.npz" for label in LABELS}


def _remove_checkpoints(folder: Path) -> None:
    for path in _checkpoints(folder).values():
        path.unlink(missing_ok=True)


# -- data and settings -------------------------------------------------------------------------------


def _items_by_label(table: Table, kind: str) -> dict[str, np.ndarray]:
    warn_of_doubts(table)
    check_trainable(table, kind)
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


def _by_rows(options: TrainingOptions, n_rows: dict[str, int]) -> TrainingOptions:
    """Return the options with as many components as the smaller class has rows for, where none are asked for."""
    if options.n_components is not None:
        return options
    label = min(n_rows, key=n_rows.__getitem__)
    n_components = min(MOST_COMPONENTS, max(1, n_rows[label] // ROWS_PER_COMPONENT))
    cli.log(
        f"{n_components} component{'s' * (n_components > 1)} a class: {MOST_COMPONENTS} at most, and of the "
        f"{n_rows[label]:,} {label} rows {ROWS_PER_COMPONENT} for each (--n_components N for another number)"
    )
    return replace(options, n_components=n_components)


def _with_components_of(starts: Sequence[Parameters], options: TrainingOptions) -> TrainingOptions:
    """Return the options as they take effect: the models to continue from have their components."""
    n_components = max(start.n_components for start in starts)
    if n_components != options.n_components:
        cli.log(f"the models to continue from have {n_components} components; --n_components takes no effect")
    return replace(options, n_components=n_components)


def _record(
    table: Table, columns: list[str] | None, options: Options, load_model_path: PathLike | None
) -> dict[str, Any]:
    """Return what the models will say about themselves; the training id stands for data and options."""
    starts = model_files(load_model_path) if load_model_path is not None else ()
    record: dict[str, Any] = {
        "format": versions.FORMAT,
        "columns": columns,
        "data_sha256": [described.sha256 for described in table.described],
        "options": asdict(options),
        "start_sha256": [files.sha256(path) for path in starts] or None,
    }
    record["training_id"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    record["inputs"] = [provenance.source(described.record) for described in table.described]
    record["versions"] = versions.current()
    return record


def _load_starts(load_model_path: PathLike, table: Table, columns: list[str] | None) -> list[Parameters]:
    pair = read_pair(*model_files(load_model_path))
    if columns is not None:
        check_columns(pair.bonafide, columns, table.paths[0].parent)
    check_suits(pair.bonafide, table, load_model_path)
    return [model.parameters for model in pair]
