"""Fusion by logistic regression, stored as a pair of Gaussians.

A fusion that is linear in its columns, LLR(x) = w·x + b, is a pair of normal distributions of one
diagonal covariance v:

    log N(x | μ₁, v) − log N(x | μ₂, v) = Σ_d (μ₁ − μ₂)_d / v_d · (x − (μ₁ + μ₂) / 2)_d.

So the regression is stored as two mixtures of one component each and scored like any other. Because it is linear, the
LLR of a file's mean frame is the mean of its frames' LLRs: a regression fitted to mean frames serves frames, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from countermeasure.errors import InputError
from countermeasure.gmm.mixture import Parameters
from countermeasure.lists.names import SIDES, score_column


class Linear(NamedTuple):
    """A linear LLR: ``x @ weights + offset``, in nats; weights are an array [D]."""

    weights: np.ndarray
    offset: float


def train(rows: np.ndarray, is_bonafide: np.ndarray, names: Sequence[str], l2: float) -> tuple[Parameters, Parameters]:
    """Fit a fusion of a table's columns.

    Parameters
    ----------
    rows : array [n, D]
        One per file.
    is_bonafide : array of bool, [n]
    names : sequence of str, length D
        Of the columns, see `pairing`.
    l2 : float > 0
        See `fit`.

    Returns
    -------
    bonafide, spoof : Parameters
        Of one component each; their log ratio is the LLR.

    Raises
    ------
    InputError
        If no column distinguishes the classes.
    """
    pairs = pairing(names)
    llr = fit(rows @ pairs, is_bonafide, l2)
    variance = rows.var(axis=0)
    variance[np.isinf(deviations(rows))] = 1.0
    return as_mixtures(Linear(pairs @ llr.weights, llr.offset), rows.mean(axis=0), variance)


def pairing(names: Sequence[str]) -> np.ndarray:
    """Return the matrix that turns pairs of log-likelihoods into LLRs.

    The columns ``lfcc-bon`` and ``lfcc-sp`` become one, their difference, because each alone depends mostly on what
    was said and on the channel. A column without counterpart is kept.

    Parameters
    ----------
    names : sequence of str, length D
        Of the columns; several columns of one list have the same name, and are kept.

    Returns
    -------
    array [D, E], of 1, −1 and 0; E ≤ D
    """
    place = {name: d for d, name in enumerate(names) if list(names).count(name) == 1}
    combined = []
    for d, name in enumerate(names):
        column = score_column(name)
        other = place.get(column.other) if column else None
        if column and other is not None and name in place:
            if column.side == SIDES[1]:
                continue  # is in the difference already
            combined.append(np.eye(len(names))[d] - np.eye(len(names))[other])
        else:
            combined.append(np.eye(len(names))[d])
    return np.column_stack(combined)


def fit(rows: np.ndarray, is_bonafide: np.ndarray, l2: float) -> Linear:
    """Fit a logistic regression with equal total weights of both classes, so that its logit is an LLR.

    It minimises the mean cross entropy in nats, plus ``l2 / 2`` times the squared length of the weights of
    standardised columns.

    Parameters
    ----------
    rows : array [n, E]
    is_bonafide : array of bool, [n]
    l2 : float > 0
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = rows.mean(axis=0), deviations(rows)
    # Newton's method suits few columns: the default solver's LLRs were off by up to 6e-6, and it may stop with a
    # warning, as solvers with conjugate gradients may.
    regression = LogisticRegression(
        C=1 / (l2 * len(rows)), class_weight="balanced", solver="newton-cholesky", tol=1e-10, max_iter=10_000
    )
    regression.fit((rows - mean) / scale, is_bonafide)
    weights = regression.coef_[0] / scale
    return Linear(weights, float(regression.intercept_[0] - weights @ mean))


def deviations(rows: np.ndarray) -> np.ndarray:
    """Return each column's standard deviation; of a constant one, infinity, which gives it the weight 0."""
    deviation = rows.std(axis=0)
    # Rounding gives equal values a deviation above 0.
    return np.where(deviation > 1e-9 * np.abs(rows.mean(axis=0)), deviation, np.inf)


def as_mixtures(llr: Linear, mean: np.ndarray, variance: np.ndarray) -> tuple[Parameters, Parameters]:
    """Return the two Gaussians, of bona fide and of spoofed speech, whose log ratio is the LLR.

    Parameters
    ----------
    llr : Linear
    mean, variance : array [D]
        Of the data. Both Gaussians get this variance. Their midpoint is the point with an LLR of 0 that is closest
        to the mean, in standard deviations.

    Raises
    ------
    InputError
        If all weights are 0, since the Gaussians would be equal.
    """
    slope = llr.weights @ (variance * llr.weights)
    if not slope > 0:
        raise InputError("no column tells bona fide from spoofed speech at all; look at the lists")
    middle = mean - (llr.offset + llr.weights @ mean) / slope * variance * llr.weights
    half = variance * llr.weights / 2
    bonafide, spoof = (Parameters(np.ones(1), (middle + d)[None], variance[None]) for d in (half, -half))
    return bonafide, spoof
