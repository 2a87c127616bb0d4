"""Scores of rows, and of the items of a table, under the two models of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure import compute
from countermeasure.errors import InputError
from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Pair
from countermeasure.lists.rows import Rows
from countermeasure.lists.table import Table

# Rows that a worker scores in one task.
_ROWS_PER_TASK = 16384


class Scores(NamedTuple):
    """Log-likelihoods of rows, bona fide and spoof, arrays [n_rows], in nats."""

    bonafide: NDArray[np.float64]
    spoof: NDArray[np.float64]

    @property
    def llr(self) -> float:
        """Mean over the rows of log p(row | bona fide) − log p(row | spoof); higher = more bona fide."""
        return float(self.bonafide.mean() - self.spoof.mean())

    @property
    def are_finite(self) -> bool:
        """Whether all scores are finite; NaN, infinite or huge inputs make them non-finite."""
        return bool(np.isfinite(self.bonafide).all() and np.isfinite(self.spoof).all())


def joined(pieces: Sequence[Scores]) -> Scores:
    """Concatenate the scores of consecutive rows, at least one piece."""
    return pieces[0] if len(pieces) == 1 else Scores(*map(np.concatenate, zip(*pieces, strict=True)))


class Scorer:
    """The mixtures of bona fide and of spoofed speech, ready to score rows; only their parameters are pickled."""

    def __init__(self, bonafide: Parameters, spoof: Parameters):
        self._mixtures = bonafide, spoof

    def __reduce__(self) -> tuple:
        return Scorer, self._mixtures

    @cached_property
    def _kernels(self) -> list[Kernel]:  # made by the worker
        return [Kernel.of_raw(mixture) for mixture in self._mixtures]

    def __call__(self, rows: NDArray[np.floating]) -> Scores:
        """Score rows, array [n_rows, D]."""
        with np.errstate(over="ignore", invalid="ignore"):
            return Scores(*(kernel.log_likelihoods(rows) for kernel in self._kernels))


def score_items(table: Table, pair: Pair, workers: compute.Workers) -> Iterator[Scores]:
    """Yield the scores of all items with frames, in order; raise InputError if scores are not finite."""
    score_part = partial(_score_part, Scorer(pair.bonafide.parameters, pair.spoof.parameters))
    parts = table.parts(np.arange(len(table)), _ROWS_PER_TASK)
    pieces: list[Scores] = []  # of one item, whose rows may be in several parts
    for part, scored in zip(parts, workers.map(score_part, map(table.located, parts)), strict=True):
        _, first, last = part.T
        ends = np.cumsum(last - first)[:-1]
        for (item, _, end), *sides in zip(part.tolist(), *(np.split(side, ends) for side in scored), strict=True):
            pieces.append(Scores(*sides))
            if not pieces[-1].are_finite:
                raise InputError(
                    f"{', '.join(map(str, table.paths))}: {table.name(item)} has no finite score: "
                    "it holds values that are NaN, infinite or far too large; make the list again"
                )
            if end == table.n_rows[item]:
                yield joined(pieces)
                pieces = []


def _score_part(scorer: Scorer, rows: Rows) -> Scores:
    return scorer(rows.read())
