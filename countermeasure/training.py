"""Train the two mixtures of a countermeasure."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import operator
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import cached_property, reduce
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from countermeasure import __version__, card, checkpoints, cli, compute, em, files, fusion, logistic, provenance
from countermeasure.errors import InputError
from countermeasure.frames import PART, Located, Parts, Table, sample, standardisation
from countermeasure.mixture import Kernel, Parameters, Standardisation, Statistics, seeds, update
from countermeasure.models import Model, model_files, read_pair, write_model
from countermeasure.options import LogisticOptions, TrainingOptions
from countermeasure.protocol import BONAFIDE, LABELS
from countermeasure.suitability import check_columns, check_suits

# Fixed, so that models depend neither on the length of the list nor on the number of threads.
N_BLOCKS = 16
# Frames among which the start looks for its means: more cost time and did not help on held-out data.
N_SAMPLE = 20_000
# Rows of a block that one worker works on at a time: fewer where the block is short, for all to have work.
_SMALLEST_PART = 512
_PARTS_PER_BLOCK = 8
# The statistics of a block are the sum of so many groups' of parts, whose own sums a worker on another machine
# makes: groups of so many rows that sending 0.5 MB back costs little beside computing it, and enough of them for
# the machines that so much data deserve. They depend on the data alone, for sums to have the same bytes anywhere,
# and are powers of two, which most numbers of workers divide.
_GROUPS_PER_BLOCK = (4, 256)
_ROWS_PER_GROUP = 65536

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
    _train([Path(data_path)], None, model_path, options, load_model_path, conduct)


def train_fusion(
    data_dir: PathLike,
    model_path: PathLike,
    options: TrainingOptions | LogisticOptions,
    load_model_path: PathLike | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    in_memory: bool = False,
    log: PathLike | None = None,
    restart: bool = False,
) -> None:
    """Train on all score lists of a folder, stacked as columns; else as `train`.

    With `LogisticOptions`, the models are those of a logistic regression on the columns' means over
    each file, in which there is nothing to continue and no history of passes.
    """
    found = fusion.columns(data_dir)
    names = [column.name for column in found]
    if isinstance(options, LogisticOptions):
        if load_model_path is not None or log is not None:
            option = "--log" if load_model_path is None else "--load_model_path"
            raise InputError(f"{option} belongs to --method gmm; a logistic regression has no passes, leave it out")
        _train_logistic(found, model_path, options, restart)
        return
    conduct = _Conduct(n_jobs, dask, in_memory, log, restart)
    _train([column.path for column in found], names, model_path, options, load_model_path, conduct)


def _train_logistic(
    found: Sequence[fusion.Column], model_path: PathLike, options: LogisticOptions, restart: bool
) -> None:
    folder = Path(model_path)
    with Table([column.path for column in found]) as table, files.only_run(folder):
        items = _items_by_label(table)
        record = _record(table, [column.name for column in found], options, None)
        if not restart:
            if _nothing_to_do(folder, record):
                return
            for label in LABELS:
                checkpoints.load(_checkpoint(folder, label), record)  # refuses those of an unfinished mixture
        chosen = np.sort(np.concatenate([items[label] for label in LABELS]))
        rows = _means(table, chosen)
        is_bonafide = np.array([table.labels[i] == BONAFIDE for i in chosen])
        pairs = logistic.pairing(fusion.names_of_dimensions(found))
        llr = logistic.fit(rows @ pairs, is_bonafide, options.l2)
        llr = llr._replace(weights=pairs @ llr.weights)
        variance = rows.var(axis=0)
        mixtures = logistic.as_mixtures(llr, rows.mean(axis=0), np.where(variance > 0, variance, 1.0))
        models = []
        for label, parameters in zip(LABELS, mixtures, strict=True):
            about = {
                **record,
                "label": label,
                "n_files": len(items[label]),
                "n_frames": int(table.n_rows[items[label]].sum()),
            }
            models.append(Model(parameters, converged=True, record=about))
        _finish(folder, models)
        cli.log(f"{folder}: logistic regression on {len(chosen)} files, {pairs.shape[1]} LLRs or single columns")


def _means(table: Table, items: np.ndarray) -> np.ndarray:
    """Return the mean row of each item; array [items, columns], float64."""
    means = np.array([table.item(i).mean(axis=0, dtype=np.float64) for i in items])
    with np.errstate(over="ignore", invalid="ignore"):
        usable = np.isfinite(means.astype(np.float32) ** 2).all(axis=1)
    if not usable.all():
        raise InputError(
            f"{table.paths[0].parent}: {table.name(items[usable.argmin()])} holds a value that is NaN, infinite or too "
            "large to be squared; make the lists again"
        )
    return means


def _train(
    paths: Sequence[Path],
    columns: Sequence[str] | None,
    model_path: PathLike,
    options: TrainingOptions,
    load_model_path: PathLike | None,
    conduct: _Conduct,
) -> None:
    folder = Path(model_path)
    if load_model_path is not None and folder.resolve() == Path(load_model_path).resolve():
        raise InputError(
            f"--load_model_path and --model_path are both {folder}; continue into another folder, "
            "so that the models to continue from are still there after an interruption"
        )
    with compute.workers(conduct.n_jobs, conduct.dask) as workers, Table(paths) as table:
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
            trainings = [_ClassTraining(table, items[label], label, options, workers) for label in LABELS]
            diary = _Diary(conduct.log)
            models = [one.run(starts[one.label], _checkpoint(folder, one.label), record, diary) for one in trainings]
            _finish(folder, models)


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
        "format": 1,
        "columns": list(columns) if columns else None,
        "data_sha256": [described.sha256 for described in table.described],
        "options": asdict(options),
        "start_sha256": [files.sha256(path) for path in starts] or None,
    }
    record["training_id"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    record["inputs"] = [provenance.source(described.record) for described in table.described]
    record["versions"] = {"countermeasure": __version__, "numpy": np.__version__}
    return record


def _nothing_to_do(folder: Path, record: dict[str, Any]) -> bool:
    """Tell whether the models are there already, and say so."""
    if not _is_finished(folder, record):
        return False
    cli.log(f"{folder}: trained on these data already, nothing to do (--restart trains again)")
    card.write(folder)  # which a run that was killed may have left undone
    return True


def _finish(folder: Path, models: Sequence[Model]) -> None:
    """Write the two models and their card; what was kept for a run that is killed is needed no more."""
    for path, model in zip(model_files(folder), models, strict=True):
        write_model(path, model)
    _remove_checkpoints(folder)
    card.write(folder)


def _is_finished(folder: Path, record: dict[str, Any]) -> bool:
    try:
        found = [model.record for model in read_pair(*model_files(folder))]
    except InputError:  # missing, damaged or mixed: trained anew
        return False
    return [(own.get("label"), own.get("training_id")) for own in found] == [
        (label, record["training_id"]) for label in LABELS
    ]


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


class _Diary:
    """The history of a training as CSV, kept whole after every pass; none where no file is named."""

    def __init__(self, path: PathLike | None):
        self._path = path
        self._rows: dict[str, list[tuple]] = {}

    def write(self, label: str, history: Sequence[float], seconds: Sequence[float], n_frames: int) -> None:
        if self._path is None:
            return
        gains = [float("inf"), *np.diff(history)]
        self._rows[label] = [
            (label, i, f"{value:.6f}", f"{gain:.6f}", f"{duration:.3f}", f"{n_frames / duration:.0f}")
            for i, (value, gain, duration) in enumerate(zip(history, gains, seconds, strict=True), 1)
        ]
        with files.replace_when_whole(self._path, text=True, flush=False) as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["class", "pass", "log_likelihood", "gain", "seconds", "frames_per_second"])
            for rows in self._rows.values():
                out.writerows(rows)


class _ClassTraining:
    """The training of one class's mixture on its items of a table."""

    def __init__(self, table: Table, items: np.ndarray, label: str, options: TrainingOptions, workers: compute.Workers):
        self.label = label
        self._table, self._items, self._options, self._workers = table, items, options, workers
        self._n_frames = int(table.n_rows[items].sum())
        self._rng = np.random.default_rng(options.seed)
        self._standard = standardisation(table, items, workers)
        self._regularisation = options.reg_covar / self._standard.scale.astype(np.float64) ** 2
        self._blocks = self._divide()

    def run(self, start: Parameters | None, checkpoint: Path, record: dict[str, Any], diary: _Diary) -> Model:
        """Train from `start`, from seeds where it is None, or from where the checkpoint stands."""
        found = checkpoints.load(checkpoint, record)
        if found:
            state, seconds = found
            if (len(state.blocks), state.parameters.n_dims) != (len(self._blocks), self._table.n_columns):
                raise InputError(f"{checkpoint}: the checkpoint is not of these data; start over with --restart")
            cli.log(f"{self.label}: going on after pass {len(state.history)} of an earlier run")
            diary.write(self.label, state.history, seconds, self._n_frames)
        else:
            state, seconds = em.State(self._standard.forward(start) if start else self._seeds()), []
        began = time.monotonic()

        def observe(state: em.State) -> None:
            nonlocal began
            seconds.append(max(time.monotonic() - began, 1e-9))
            gain = f"gain {state.gain:.4f}, " if len(state.history) > 1 else ""
            cli.log(
                f"{self.label}: pass {len(state.history)}, log-likelihood {state.history[-1]:.4f} a frame, {gain}"
                f"{seconds[-1]:.2f} s, {self._n_frames / seconds[-1]:,.0f} frames/s"
            )
            checkpoints.save(checkpoint, state, seconds, record)
            diary.write(self.label, state.history, seconds, self._n_frames)
            began = time.monotonic()

        options = self._options
        state = em.run(state, len(self._blocks), self._e_step, self._m_step, options.max_iter, options.tol, observe)
        return self._model(state, record)

    def _seeds(self) -> Parameters:
        n_components = _affordable(self._options.n_components, self._n_frames, self.label)
        drawn = sample(self._table, self._items, N_SAMPLE, self._rng)
        return seeds(self._standard.apply(drawn).astype(np.float64), n_components, self._rng)

    def _divide(self) -> list[Parts]:
        """Divide the items into blocks, and each block into parts for the workers."""
        n_blocks = N_BLOCKS if self._options.em == "incremental" else 1
        n_rows = int(np.clip(self._n_frames // (n_blocks * _PARTS_PER_BLOCK), _SMALLEST_PART, PART))
        # Lists are sorted by speaker and attack as often as not; every block shall be like the whole.
        order = self._rng.permutation(self._items)
        blocks = [self._table.parts(np.sort(order[b::n_blocks]), n_rows) for b in range(n_blocks)]
        return [parts for parts in blocks if parts]

    def _e_step(self, block: int, parameters: Parameters) -> Statistics:
        groups = list(self._blocks[block].grouped(n_groups(self._n_frames / len(self._blocks))))
        elsewhere = self._workers.are_elsewhere
        # Here every core shall have work, so a task is a part, and the groups' sums are made as results come.
        tasks = groups if elsewhere else [[part] for group in groups for part in group]
        located = (list(map(self._table.located, task)) for task in tasks)
        found = self._workers.map(_EStep(parameters, self._standard), located)
        total = Statistics.zero(parameters.n_components, parameters.n_dims)
        for group in groups:
            total = total + _sum(islice(found, 1 if elsewhere else len(group)))
        return total

    def _m_step(self, statistics: Statistics, previous: Parameters) -> Parameters:
        return update(statistics, previous, self._options.var_floor, self._regularisation)

    def _model(self, state: em.State, record: dict[str, Any]) -> Model:
        # The passes' likelihoods belong to parameters on the way; the model's own takes one pass more.
        total = Statistics.zero(state.parameters.n_components, state.parameters.n_dims)
        for block in range(len(self._blocks)):
            total = total + self._e_step(block, state.parameters)
        lower_bound = total.log_likelihood / self._n_frames
        if not np.isfinite(lower_bound):
            raise InputError(
                f"{self.label}: training came to no finite likelihood; look at the data, or raise --var_floor"
            )
        ended = "converged" if state.converged else "stopped at the largest number of passes,"
        starved = int((total.occupancy < 1).sum())
        told = f"; components that account for less than one frame: {starved}" if starved else ""
        cli.log(
            f"{self.label}: {ended} after {len(state.history)} passes, log-likelihood {lower_bound:.4f} a frame{told}"
        )
        return Model(
            self._standard.backward(state.parameters),
            len(state.history),
            lower_bound,
            state.converged,
            state.history,
            {**record, "label": self.label, "n_files": len(self._items), "n_frames": self._n_frames},
        )


class _EStep:
    """The E-step over the parts of a task; pickled, it is the mixture's parameters."""

    def __init__(self, parameters: Parameters, standard: Standardisation):
        self._arguments = parameters, standard

    def __reduce__(self) -> tuple:
        return _EStep, self._arguments

    @cached_property
    def _kernel(self) -> Kernel:  # not made where a task only passes through
        return Kernel(*self._arguments)

    def __call__(self, parts: Sequence[Located]) -> Statistics:
        return _sum(self._kernel.accumulate(part.read()) for part in parts)


def _sum(statistics: Iterable[Statistics]) -> Statistics:
    return reduce(operator.add, statistics)


def n_groups(n_rows: float) -> int:
    """Return in how many groups a block of so many rows is divided."""
    fewest, most = _GROUPS_PER_BLOCK
    return int(np.clip(2 ** math.ceil(math.log2(n_rows / _ROWS_PER_GROUP)), fewest, most))


def _affordable(n_components: int, n_frames: int, label: str) -> int:
    most = max(1, n_frames // 2)
    if n_components > most:
        cli.log(f"{label}: {n_frames} rows allow {most} components of the {n_components} asked for (two rows each)")
    return min(n_components, most)
