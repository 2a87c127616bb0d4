"""Train the two mixtures of a countermeasure."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from countermeasure import cli, compute, files, records, versions
from countermeasure.errors import InputError
from countermeasure.gmm import logistic
from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, Pair, TrainingRecord, model_files, read_pair, write_pair
from countermeasure.gmm.moments import means
from countermeasure.gmm.trainer import PassLog, Trainer
from countermeasure.lists import provenance
from countermeasure.lists.table import Table
from countermeasure.options import MOST_COMPONENTS, ROWS_PER_COMPONENT, LogisticOptions, TrainingOptions
from countermeasure.stages import card, inputs
from countermeasure.stages.compatibility import check_columns, check_suits, check_trainable, warn_of_doubts
from countermeasure.stages.finished import checkpoint_files, finished, remove_checkpoints
from countermeasure.stages.inputs import Data, PathLike
from countermeasure.trials.lines import BONAFIDE, LABELS

Options = TrainingOptions | LogisticOptions


def train(
    data_path: PathLike | Data,
    model_path: PathLike,
    options: Options,
    load_model_path: PathLike | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    in_memory: bool = False,
    log: PathLike | None = None,
    restart: bool = False,
) -> Pair:
    """Train on a feature list; write ``bon.gmm`` and ``sp.gmm``.

    A run that was killed is continued after its last pass; a finished training is not repeated.
    The models depend only on the data, the options and the models to continue from.

    Parameters
    ----------
    data_path : path of a feature list, or Data
        `Data` come from `train_fusion`.
    model_path : folder for the models
    options : TrainingOptions or LogisticOptions
        A logistic regression fuses the columns' means over each file.
    load_model_path : folder or None
        Continue from the models in this folder; not for a logistic regression.
    n_jobs : int or None
        Number of threads; None: one per core.
    dask : str or None
        Compute with Dask instead, see `compute.workers`; its workers need the list under the same path.
    in_memory : bool
        Hold the frames in memory instead of reading them in every pass; without effect on `dask`.
    log : path or None
        CSV file for the history of the passes.
    restart : bool
        Train again: replace finished models and ignore checkpoints.

    Returns
    -------
    Pair
        The models that are in the folder now.

    Raises
    ------
    InputError
        If the list cannot be trained on, if the models to continue from do not fit it, or if the folder holds
        models or an unfinished training of other settings.
    """
    data = data_path if isinstance(data_path, Data) else inputs.of_list(data_path)
    _check_paths(data, model_path, options, load_model_path, log)
    folder = Path(model_path)
    with Table(data.paths) as table:
        items = _items_by_label(table, data)
        starts: Sequence[Parameters | None] = (None, None)
        if isinstance(options, TrainingOptions):
            if load_model_path is not None:
                options, starts = _continued(options, load_model_path, table, data)
            options = _by_rows(options, {label: int(table.n_rows[items[label]].sum()) for label in LABELS})
        record = _record(table, data, options, load_model_path)
        with files.only_run(folder):
            if restart:
                remove_checkpoints(folder)
            pair = None if restart else finished(folder, record)
            if pair is None:
                if isinstance(options, LogisticOptions):
                    pair = _regression(table, items, data, options, record)
                else:
                    if in_memory and dask is None:
                        table.hold()
                    with compute.workers(n_jobs, dask) as workers:
                        # Both classes are checked before one is trained.
                        trainers = [Trainer(table, items[label], label, options, workers) for label in LABELS]
                        row = "file" if data.kind == "file scores" else "frame"
                        pair = _mixtures(trainers, starts, folder, record, PassLog(log), row)
                write_pair(folder, *pair)
            remove_checkpoints(folder)
            card.write(folder)  # also if a killed run did not get this far
    return pair


def train_fusion(
    data_dir: PathLike, model_path: PathLike, options: Options, whole_files: bool = False, **settings: Any
) -> Pair:
    """Do as `train` for all score lists of a folder, stacked as columns.

    `whole_files`: lists of file scores, with one row per file, instead of frame scores.
    """
    return train(inputs.of_fusion(data_dir, whole_files), model_path, options, **settings)


def _check_paths(
    data: Data, model_path: PathLike, options: Options, load_model_path: PathLike | None, log: PathLike | None
) -> None:
    if not os.fspath(model_path):  # of an unset shell variable
        raise InputError("--model_path is empty; name the folder for the models")
    if isinstance(options, LogisticOptions) and (load_model_path is not None or log is not None):
        option = "--log" if load_model_path is None else "--load_model_path"
        raise InputError(f"{option} belongs to --method gmm; a logistic regression has no passes, leave it out")
    folder = Path(model_path)
    models = [*model_files(folder), *(model_files(load_model_path) if load_model_path is not None else ())]
    lists = [*data.paths, *map(records.found_path, data.paths)]
    files.refuse_overwriting(log, *lists, *models, *checkpoint_files(folder).values(), folder / card.FILE)
    if load_model_path is not None and folder.resolve() == Path(load_model_path).resolve():
        raise InputError(
            f"--load_model_path and --model_path are both {folder}; continue into another folder, so that the models "
            "to continue from are kept"
        )


def _mixtures(
    trainers: Sequence[Trainer],
    starts: Sequence[Parameters | None],
    folder: Path,
    record: TrainingRecord,
    history: PassLog,
    row: str,
) -> Pair:
    paths = checkpoint_files(folder)
    pairs = zip(trainers, starts, strict=True)
    return Pair(*(trainer.train(start, paths[trainer.label], record, history, row) for trainer, start in pairs))


def _regression(
    table: Table, items: dict[str, np.ndarray], data: Data, options: LogisticOptions, record: TrainingRecord
) -> Pair:
    chosen = np.sort(np.concatenate(list(items.values())))
    is_bonafide = np.array([table.labels[i] == BONAFIDE for i in chosen])
    rows = means(table, chosen)
    columns = data.columns or [data.place.name]
    names = [name for name, n in zip(columns, table.widths, strict=True) for _ in range(n)]
    mixtures = logistic.train(rows, is_bonafide, names, options.l2)
    models = []
    for label, parameters, own in zip(LABELS, mixtures, (is_bonafide, ~is_bonafide), strict=True):
        log_likelihood = float(Kernel.of_raw(parameters).log_likelihoods(rows[own]).mean())
        n_frames = int(table.n_rows[items[label]].sum())
        about = replace(record, label=label, n_files=len(items[label]), n_frames=n_frames)
        models.append(Model(parameters, lower_bound=log_likelihood, converged=True, record=about))
    cli.log(f"logistic regression on {len(chosen):,} files, {table.n_columns} columns")
    return Pair(*models)


def _items_by_label(table: Table, data: Data) -> dict[str, np.ndarray]:
    warn_of_doubts(table)
    check_trainable(table, data.kind)
    labels = np.array([label or "" for label in table.labels])
    has_rows = table.n_rows > 0
    if (strange := np.flatnonzero(has_rows & ~np.isin(labels, LABELS))).size:
        raise InputError(
            f"{table.paths[0]}: {table.name(strange[0])} has the label {table.labels[strange[0]]!r}; "
            "training needs 'bonafide' or 'spoof' on each"
        )
    items = {label: np.flatnonzero((labels == label) & has_rows) for label in LABELS}
    for label in LABELS:
        if not len(items[label]):
            raise InputError(f"{table.paths[0]}: no {label} item in it; training needs both classes")
    return items


def _by_rows(options: TrainingOptions, n_rows: dict[str, int]) -> TrainingOptions:
    """Return the options; without a number of components, with as many as the rows of the smaller class allow."""
    if options.n_components is not None:
        return options
    label = min(n_rows, key=n_rows.__getitem__)
    n_components = min(MOST_COMPONENTS, n_rows[label] // ROWS_PER_COMPONENT) or 1
    cli.log(
        f"{n_components} component{'s' * (n_components > 1)} per class: one for every {ROWS_PER_COMPONENT} of the "
        f"{n_rows[label]:,} {label} rows, from 1 to {MOST_COMPONENTS}; --n_components N sets another number"
    )
    return replace(options, n_components=n_components)


def _continued(
    options: TrainingOptions, load_model_path: PathLike, table: Table, data: Data
) -> tuple[TrainingOptions, list[Parameters]]:
    """Return the options with the number of components of the models to continue from, and their parameters."""
    pair = read_pair(*model_files(load_model_path))
    check_columns(pair.bonafide, data)
    check_suits(pair.bonafide, table, load_model_path)
    starts = [model.parameters for model in pair]
    n_components = max(start.n_components for start in starts)
    if n_components != options.n_components:
        cli.log(f"continuing from models of {n_components} components; --n_components is not used")
    return replace(options, n_components=n_components), starts


def _record(table: Table, data: Data, options: Options, load_model_path: PathLike | None) -> TrainingRecord:
    """Return the record of the models without their classes; its training id identifies data and options."""
    starts = model_files(load_model_path) if load_model_path is not None else ()
    settings: dict[str, Any] = {
        "format": versions.FORMAT,
        "columns": data.columns,
        "data_sha256": [described.sha256 for described in table.described],
        "options": asdict(options),
        "start_sha256": [files.sha256(path) for path in starts] or None,
    }
    training_id = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    inputs = [provenance.source(described.record) for described in table.described]
    return TrainingRecord(**settings, training_id=training_id, inputs=inputs, versions=versions.current())
