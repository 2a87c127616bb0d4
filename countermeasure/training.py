"""Train the two mixtures of a countermeasure."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from countermeasure import em, files, fusion
from countermeasure.cli import log
from countermeasure.compute import Threads
from countermeasure.errors import InputError
from countermeasure.frames import PART, Table, sample, standardisation
from countermeasure.mixture import Parameters, Statistics, accumulate, coefficients, seeds, update, workspace
from countermeasure.models import Model, model_files, read_pair, write_model
from countermeasure.options import TrainingOptions
from countermeasure.protocol import BONAFIDE, LABELS, SPOOF

# Fixed, so that models depend neither on the length of the list nor on the number of threads.
N_BLOCKS = 16
# Frames among which the start looks for its means: more cost time and did not help on held-out data.
N_SAMPLE = 20_000
# Rows of a block that one thread works on at a time: fewer where the block is short, for all to have work.
_SMALLEST_PART = 512
_PARTS_PER_BLOCK = 8


def train(
    data_path: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    options: TrainingOptions,
    load_model_path: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    in_memory: bool = False,
) -> None:
    """Train on a feature list; write ``bon.gmm`` and ``sp.gmm``.

    Parameters
    ----------
    data_path : path of a feature list
    model_path : folder for the models
    options : TrainingOptions
    load_model_path : folder or None
        Continue from the models there.
    n_jobs : int or None
        Threads; the models do not depend on it.
    in_memory : bool
        Hold the frames in memory instead of reading them in every pass; same models.
    """
    path = files.existing(data_path)
    with Table([path], in_memory) as table:
        _train(table, None, model_path, options, load_model_path, n_jobs)


def train_fusion(
    data_dir: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    options: TrainingOptions,
    load_model_path: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    in_memory: bool = False,
) -> None:
    """Train on all score lists of a folder, stacked as columns; else as `train`."""
    found = fusion.columns(data_dir)
    with Table([column.path for column in found], in_memory) as table:
        _train(table, [column.name for column in found], model_path, options, load_model_path, n_jobs)


def _train(
    table: Table,
    columns: Sequence[str] | None,
    model_path: str | os.PathLike[str],
    options: TrainingOptions,
    load_model_path: str | os.PathLike[str] | None,
    n_jobs: int | None,
) -> None:
    items = _items_by_label(table)
    starts = _load_starts(load_model_path, table, columns) if load_model_path else dict.fromkeys(LABELS)
    record: dict[str, Any] = {
        "format": 1,
        "columns": list(columns) if columns else None,
        "data_sha256": [files.sha256(path) for path in table.paths],
        "options": asdict(options),
        "start_sha256": [files.sha256(path) for path in model_files(load_model_path)] if load_model_path else None,
    }
    record["training_id"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    # Both trained before one is written: the two of a folder always belong together.
    models = {}
    with Threads(n_jobs) as threads:
        for label in LABELS:
            models[label] = _train_class(table, items[label], label, starts[label], options, threads, record)
    for path, label in zip(model_files(model_path), (BONAFIDE, SPOOF), strict=True):
        write_model(path, models[label])


def _items_by_label(table: Table) -> dict[str, np.ndarray]:
    for i, (label, n) in enumerate(zip(table.labels, table.n_rows, strict=True), 1):
        if n and label not in LABELS:
            raise InputError(
                f"{table.paths[0]}: item {i} has the label {label!r}; training needs 'bonafide' or 'spoof' on each"
            )
    labels = np.array([label or "" for label in table.labels])
    items = {label: np.flatnonzero((labels == label) & (table.n_rows > 0)) for label in LABELS}
    for label in LABELS:
        if not len(items[label]):
            raise InputError(f"{table.paths[0]}: no {label} item in it; training needs both classes")
    return items


def _load_starts(
    load_model_path: str | os.PathLike[str], table: Table, columns: Sequence[str] | None
) -> dict[str, Parameters]:
    pair = read_pair(*model_files(load_model_path))
    for model in pair:
        if model.parameters.n_dims != table.n_columns:
            raise InputError(
                f"{load_model_path}: models over {model.parameters.n_dims} dimensions, but the data have "
                f"{table.n_columns}; continue from models of the same features"
            )
        if columns is not None and model.columns is not None and list(columns) != model.columns:
            raise InputError(
                f"{load_model_path}: models over {', '.join(model.columns)}, but the data are {', '.join(columns)}"
            )
    return {label: model.parameters for label, model in zip((BONAFIDE, SPOOF), pair, strict=True)}


def _train_class(
    table: Table,
    items: np.ndarray,
    label: str,
    start: Parameters | None,
    options: TrainingOptions,
    threads: Threads,
    record: dict[str, Any],
) -> Model:
    n_frames = int(table.n_rows[items].sum())
    rng = np.random.default_rng(options.seed)
    standard = standardisation(table, items, threads)
    if start is None:
        n_components = _affordable(options.n_components, n_frames, label)
        drawn = standard.apply(sample(table, items, N_SAMPLE, rng))
        start = seeds(drawn, n_components, rng)
    else:
        start = standard.forward(start)

    n_blocks = N_BLOCKS if options.em == "incremental" else 1
    n_rows = int(np.clip(n_frames // (n_blocks * _PARTS_PER_BLOCK), _SMALLEST_PART, PART))
    # Lists are sorted by speaker and attack as often as not; every block shall be like the whole.
    order = rng.permutation(items)
    blocks = [table.parts(np.sort(order[b::n_blocks]), n_rows) for b in range(n_blocks)]
    blocks = [parts for parts in blocks if parts]

    def e_step(block: int, parameters: Parameters) -> Statistics:
        matrix = coefficients(parameters)

        def statistics(part) -> Statistics:
            frames = standard.apply(table.read(part))
            return accumulate(frames, matrix, workspace(*start.means.shape))

        total = Statistics.zero(*start.means.shape)
        for one in threads.map(statistics, blocks[block]):
            total = total + one
        return total

    regularisation = options.reg_covar / standard.scale.astype(np.float64) ** 2

    def m_step(statistics: Statistics, previous: Parameters) -> Parameters:
        return update(statistics, previous, options.var_floor, regularisation)

    clock = time.monotonic()

    def observe(state: em.State) -> None:
        nonlocal clock
        now = time.monotonic()
        log(
            f"{label}: pass {len(state.history)}, "
            f"log-likelihood {state.history[-1] - standard.log_volume:.4f} a frame, gain {state.gain:.4f}, "
            f"{now - clock:.1f} s, {n_frames / (now - clock):,.0f} frames/s"
        )
        clock = now

    state = em.run(em.State(start), len(blocks), e_step, m_step, options.max_iter, options.tol, observe)
    final = sum((e_step(b, state.parameters) for b in range(len(blocks))), Statistics.zero(*start.means.shape))
    lower_bound = final.log_likelihood / n_frames - standard.log_volume
    _report(label, state, lower_bound, final)
    return Model(
        standard.backward(state.parameters),
        len(state.history),
        lower_bound,
        state.converged,
        tuple(value - standard.log_volume for value in state.history),
        {**record, "label": label, "n_files": len(items), "n_frames": n_frames},
    )


def _affordable(n_components: int, n_frames: int, label: str) -> int:
    most = max(1, n_frames // 2)
    if n_components > most:
        log(f"{label}: {n_frames} rows allow {most} components of the {n_components} asked for (two rows each)")
    return min(n_components, most)


def _report(label: str, state: em.State, lower_bound: float, final: Statistics) -> None:
    ended = "converged" if state.converged else "stopped at the largest number of passes"
    starved = int((final.occupancy < 1).sum())
    told = f"; {starved} components account for less than one frame" if starved else ""
    log(f"{label}: {ended} after {len(state.history)} passes, log-likelihood {lower_bound:.4f} a frame{told}")
