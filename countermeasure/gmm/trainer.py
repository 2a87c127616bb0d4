"""Train the mixture of one class: from seeds, from a given mixture, or from a checkpoint.

A training computes mean and deviation of the data (`moments`), takes a start (`mixture.seeds`) and runs passes of EM
(`em.passes`). Workers perform the E-step part by part (`kernel.Kernel`). A checkpoint is written after each pass.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from countermeasure import cli, compute, files
from countermeasure.errors import InputError
from countermeasure.gmm import checkpoints, em
from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters, Standardisation, Statistics, floored, seeds, total, update
from countermeasure.gmm.models import Model, TrainingRecord
from countermeasure.gmm.moments import sample, standardisation
from countermeasure.lists.rows import Rows
from countermeasure.lists.table import PART, Part, Table, grouped
from countermeasure.options import TrainingOptions

# Fixed, so that models do not depend on the number of threads.
N_BLOCKS = 16
# Frames among which the start chooses its means: more took longer and did not help on held-out data.
N_SAMPLE = 20_000
# A short block is divided into smaller parts, of at least this many rows, so that all workers have some.
_PARTS_PER_BLOCK = 8
_SMALLEST_PART = 512
# Statistics are added up within groups of parts, then over groups. A worker on another machine sends one sum per group,
# so a group has about this many rows: computing its statistics takes much longer than sending their 0.5 MB. The
# number of groups depends on the data alone, so that sums have the same bytes anywhere.
_ROWS_PER_GROUP = 65536
_GROUPS_PER_BLOCK = (4, 256)


class PassLog:
    """A CSV file of the passes of both classes, rewritten after each pass; no file if `path` is None."""

    def __init__(self, path: str | os.PathLike[str] | None):
        self._path = path
        self._rows: dict[str, list[tuple]] = {}

    def write(self, label: str, history: Sequence[float], seconds: Sequence[float], n_frames: int) -> None:
        """Write a class's passes so far: log-likelihoods in nats per frame, and seconds."""
        if self._path is None:
            return
        gains = ["", *(f"{gain:.6f}" for gain in np.diff(history))]
        self._rows[label] = [
            (label, i, f"{value:.6f}", gain, f"{duration:.3f}", f"{n_frames / duration:.0f}")
            for i, (value, gain, duration) in enumerate(zip(history, gains, seconds, strict=True), 1)
        ]
        with files.replace_when_whole(self._path, text=True, flush=False) as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["class", "pass", "log_likelihood", "gain", "seconds", "frames_per_second"])
            for rows in self._rows.values():
                out.writerows(rows)


class Trainer:
    """The training of one class's mixture.

    Parameters
    ----------
    table : Table
    items : array of int
        The items of the class in the table.
    label : {'bonafide', 'spoof'}
    options : TrainingOptions
    workers : compute.Workers

    Raises
    ------
    InputError
        If a value is NaN, infinite or too large, or a dimension varies too little or too much.
    """

    def __init__(self, table: Table, items: np.ndarray, label: str, options: TrainingOptions, workers: compute.Workers):
        self.label = label
        self._table, self._items, self._options, self._workers = table, items, options, workers
        self._n_frames = int(table.n_rows[items].sum())
        self._rng = np.random.default_rng(options.seed)
        self._standard = standardisation(table, items, workers)
        variances = self._standard.scale.astype(np.float64) ** 2
        self._regularisation = options.reg_covar / variances
        self._blocks = self._divide()

    def train(
        self, start: Parameters | None, checkpoint: Path, record: TrainingRecord, log: PassLog, row: str
    ) -> Model:
        """Train to the end and return the model.

        Parameters
        ----------
        start : Parameters or None
            A mixture of raw frames to start from; if None, seeds among the frames.
        checkpoint : Path
            Written after each pass; training continues from an existing one.
        record : TrainingRecord
            That of the model, without its class.
        log : PassLog
        row : str
            Name of a row of the table in messages.

        Raises
        ------
        InputError
            If the checkpoint is damaged, or a likelihood is not finite.
        """
        state, seconds = self._first_state(start, checkpoint)
        if seconds:
            log.write(self.label, state.history, seconds, self._n_frames)
        options, n_blocks = self._options, len(self._blocks)
        if n_blocks > 1:
            cli.detail(
                f"{self.label}: the data are divided into {n_blocks} blocks with an update after each, so the "
                "log-likelihood may fall a little from one pass to the next"
            )
        passes = em.passes(state, n_blocks, self._e_step, self._m_step, options.max_iter, options.tol)
        with cli.progress_bar(None, self.label, "passes") as bar:
            began = time.perf_counter()
            for state in passes:
                latest = state.history[-1]
                self._check_finite(latest)
                seconds.append(time.perf_counter() - began)
                gain = f" ({state.gain:+.4f})" if len(state.history) > 1 else ""
                cli.detail(
                    f"{self.label}: pass {len(state.history)}, log-likelihood {latest:.4f} a {row}{gain}, "
                    f"{seconds[-1]:.2f} s, {self._n_frames / seconds[-1]:,.0f} {row}s/s"
                )
                bar.set_postfix_str(f"log-likelihood {latest:.3f} a {row}", refresh=False)
                bar.update()
                checkpoints.save(checkpoint, state, seconds, record)
                log.write(self.label, state.history, seconds, self._n_frames)
                began = time.perf_counter()
        return self._model(state, record, row)

    def _first_state(self, start: Parameters | None, checkpoint: Path) -> tuple[em.State, list[float]]:
        """Return the state to begin with, and the seconds of each pass that an earlier run has done."""
        if found := checkpoints.load(checkpoint):
            cli.log(f"{self.label}: going on after pass {len(found.state.history)} of an earlier run")
            return found.state, found.seconds
        if start is None:
            return em.State(self._seeds()), []
        return em.State(floored(self._standard.forward(start), self._options.var_floor)), []

    def _seeds(self) -> Parameters:
        wanted, n_components = self._options.n_components, self._options.affordable(self._n_frames)
        if wanted is not None and wanted > n_components:
            cli.log(
                f"{self.label}: {self._n_frames} rows allow {n_components} components of the {wanted} asked for "
                "(two rows each)"
            )
        drawn = sample(self._table, self._items, N_SAMPLE, self._rng)
        return seeds(self._standard.apply(drawn).astype(np.float64), n_components, self._rng)

    def _divide(self) -> list[list[Part]]:
        """Divide the items into blocks, and each block into parts for the workers."""
        n_blocks = N_BLOCKS if self._options.em == "incremental" else 1
        n_rows = int(np.clip(self._n_frames // (n_blocks * _PARTS_PER_BLOCK), _SMALLEST_PART, PART))
        # In random order: lists are often sorted by speaker and attack, and each block should resemble all data.
        order = self._rng.permutation(self._items)
        blocks = [self._table.parts(np.sort(order[b::n_blocks]), n_rows) for b in range(n_blocks)]
        return [parts for parts in blocks if parts]

    def _e_step(self, block: int, parameters: Parameters) -> Statistics:
        groups = grouped(self._blocks[block], n_groups(self._n_frames / len(self._blocks)))
        elsewhere = self._workers.are_elsewhere
        # On this machine, each task is one part, so that every core has work.
        tasks = groups if elsewhere else [[part] for group in groups for part in group]
        located = (list(map(self._table.located, task)) for task in tasks)
        of_tasks = self._workers.map(_EStep(parameters, self._standard), located)
        statistics = Statistics.zero(parameters.n_components, parameters.n_dims)
        for group in groups:
            statistics = statistics + total(islice(of_tasks, 1 if elsewhere else len(group)))
        return statistics

    def _m_step(self, statistics: Statistics, previous: Parameters) -> Parameters:
        return update(statistics, previous, self._options.var_floor, self._regularisation)

    def _check_finite(self, log_likelihood: float) -> None:
        if not np.isfinite(log_likelihood):
            raise InputError(
                f"{self.label}: training came to no finite likelihood; look at the data, or change --reg_covar"
            )

    def _model(self, state: em.State, record: TrainingRecord, row: str) -> Model:
        # The likelihood of a pass is that of the parameters before its updates, so the final ones need one more E-step.
        final = total(self._e_step(block, state.parameters) for block in range(len(self._blocks)))
        lower_bound = final.log_likelihood / self._n_frames
        self._check_finite(lower_bound)
        converged = state.has_converged(self._options.tol)
        starved = int((final.occupancy < 1).sum())
        summary = [
            _counted(state.parameters.n_components, "component"),
            _counted(len(state.history), "pass", "es"),
            f"log-likelihood {lower_bound:.2f} a {row}",
            "converged" if converged else "not converged: --max_iter ended it",
        ]
        if starved:
            summary.append(f"{_counted(starved, 'component')} with less than one {row}")
        cli.log(f"{self.label}: {', '.join(summary)}")
        return Model(
            self._standard.backward(state.parameters),
            len(state.history),
            lower_bound,
            converged,
            state.history,
            replace(record, label=self.label, n_files=len(self._items), n_frames=self._n_frames),
        )


class _EStep:
    """The E-step over the parts of a task; only the mixture's parameters are pickled."""

    def __init__(self, parameters: Parameters, standard: Standardisation):
        self._arguments = parameters, standard

    def __reduce__(self) -> tuple:
        return _EStep, self._arguments

    @cached_property
    def _kernel(self) -> Kernel:  # made by the worker
        return Kernel(*self._arguments)

    def __call__(self, parts: Sequence[Rows]) -> Statistics:
        return total(self._kernel.accumulate(part.read()) for part in parts)


def n_groups(n_rows: float) -> int:
    """Return the number of groups for a block of `n_rows` rows."""
    fewest, most = _GROUPS_PER_BLOCK
    return int(np.clip(2 ** math.ceil(math.log2(n_rows / _ROWS_PER_GROUP)), fewest, most))


def _counted(n: int, what: str, ending: str = "s") -> str:
    return f"{n} {what}{ending * (n != 1)}"
