"""Scores of rows under the two models of a training, the one place that evaluates a pair."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters


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
        """Whether all are numbers, as they are not for rows with values that are NaN, infinite or far too large."""
        return bool(np.isfinite(self.bonafide).all() and np.isfinite(self.spoof).all())


def joined(pieces: Sequence[Scores]) -> Scores:
    """Return the scores of consecutive rows that come in pieces, at least one."""
    return pieces[0] if len(pieces) == 1 else Scores(*map(np.concatenate, zip(*pieces, strict=True)))


class Scorer:
    """The mixtures of bona fide and of spoofed speech, ready to score rows; pickled, it is their parameters."""

    def __init__(self, bonafide: Parameters, spoof: Parameters):
        self._mixtures = bonafide, spoof

    def __reduce__(self) -> tuple:
        return Scorer, self._mixtures

    @cached_property
    def _kernels(self) -> list[Kernel]:  # made by the worker, not by whoever sends it the task
        return [Kernel.of_raw(mixture) for mixture in self._mixtures]

    def __call__(self, rows: NDArray[np.floating]) -> Scores:
        """Score rows, array [n_rows, D]."""
        with np.errstate(over="ignore", invalid="ignore"):
            return Scores(*(kernel.log_likelihoods(rows) for kernel in self._kernels))
