"""How far a figure would move with other speakers: bootstrap intervals and paired comparisons.

Scores are sorted once; a resampled set is the same ranking with other weights, so a replicate costs
two cumulative sums. Speakers, not trials, are drawn where there are enough of them: trials of one
speaker resemble each other, and an interval over trials would be too narrow.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from countermeasure.errors import InputError
from tDCF_python import metrics
from tDCF_python.defaults import FEWEST_SPEAKERS
from tDCF_python.evaluation import EER
from tDCF_python.metrics import Counts, Floats, LinearCost

SPEAKERS = "speakers"
TRIALS = "trials"
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A confidence interval of `LEVEL`."""

    low: float
    high: float


@dataclass(frozen=True)
class Resampling:
    """What was drawn, and how often.

    Attributes
    ----------
    over : {'speakers', 'trials'}
    n_units : int
        Speakers or trials there are.
    n_replicates : int
    seed : int
    """

    over: str
    n_units: int
    n_replicates: int
    seed: int


@dataclass(frozen=True)
class Units:
    """What is drawn: speakers, or single trials.

    Attributes
    ----------
    over : {'speakers', 'trials'}
    codes : ndarray of int, shape [n_trials]
        The unit of each trial, numbered in the order of the units' names: two files with the same
        trials in another order draw the same trials from the same seed, which makes comparisons paired.
    """

    over: str
    codes: npt.NDArray[np.intp]

    def of(self, trials: npt.NDArray[np.bool_]) -> Units:
        """Return the units of some of the trials, numbered anew from 0."""
        return Units(self.over, np.unique(self.codes[trials], return_inverse=True)[1])


def choose_units(
    speakers: npt.NDArray[np.bytes_], utterances: npt.NDArray[np.bytes_], over: str | None = None
) -> Units:
    """Return the speakers, or the trials where there are fewer than `FEWEST_SPEAKERS` of them.

    Parameters
    ----------
    speakers : ndarray of bytes, shape [n_trials]
        Empty where a trial names none.
    utterances : ndarray of bytes, shape [n_trials]
    over : {'speakers', 'trials'}, optional
        Decides, whatever the number of speakers.

    Raises
    ------
    InputError
        When speakers are asked for and there are not two, or a trial names none.
    """
    named = bool((speakers != b"").all())
    names, codes = np.unique(speakers, return_inverse=True)
    if over == SPEAKERS and (not named or len(names) < 2):
        raise InputError("a bootstrap over speakers needs trials that name at least two; draw trials instead")
    if over is None:
        over = SPEAKERS if named and len(names) >= FEWEST_SPEAKERS else TRIALS
    return Units(over, codes if over == SPEAKERS else np.unique(utterances, return_inverse=True)[1])


def replicates(
    scores: Floats,
    bonafide: npt.NDArray[np.bool_],
    units: Units,
    costs: Mapping[str, LinearCost],
    n_replicates: int,
    seed: int,
) -> dict[str, Floats]:
    """Return the EER and the minima of costs in resampled sets.

    Parameters
    ----------
    scores : ndarray, shape [n_trials]
    bonafide : ndarray of bool, shape [n_trials]
    units : Units
    costs : mapping from name to LinearCost
    n_replicates : int
    seed : int

    Returns
    -------
    dict from name (``'eer'`` and those of `costs`) to ndarray, shape [n_replicates]

    Raises
    ------
    InputError
        When a class is empty or a score is not finite.
    """
    ranked = metrics.ranking(scores[bonafide], scores[~bonafide])
    unit_of = np.concatenate([units.codes[bonafide], units.codes[~bonafide]])[ranked.order]
    values = {name: np.empty(n_replicates) for name in (EER, *costs)}
    for k, weights in enumerate(_draws(units, bonafide, n_replicates, seed)):
        curve = ranked.curve(weights[unit_of])
        values[EER][k] = metrics.eer_point(curve).value
        for name, value in metrics.min_costs(curve, costs).items():
            values[name][k] = value
    return values


def interval(values: Floats) -> Interval:
    """Return the percentile interval of a figure's replicates."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def p_value(differences: Floats) -> float:
    """Return the two-sided p of no difference, from the replicates of a difference.

    Twice the share of replicates on the rarer side of 0, one counted more than there are.
    """
    rarer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return min(1.0, 2 * (rarer + 1) / (len(differences) + 1))


def least_p(n_replicates: int) -> float:
    """Return the least value that `p_value` can take."""
    return 2 / (n_replicates + 1)


def holm(p_values: list[float]) -> list[float]:
    """Return p values corrected for their number.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = largest
    return corrected


def _draws(units: Units, bonafide: npt.NDArray[np.bool_], n_replicates: int, seed: int) -> Iterator[Counts]:
    """Yield how often each unit is drawn; every draw has trials of both classes."""
    rng = np.random.default_rng(seed)
    n_units = int(units.codes.max()) + 1
    if units.over == TRIALS:
        is_bonafide = np.zeros(n_units, bool)
        is_bonafide[units.codes] = bonafide
        classes = [np.flatnonzero(is_bonafide), np.flatnonzero(~is_bonafide)]
        for _ in range(n_replicates):
            weights = np.zeros(n_units, np.int64)
            for members in classes:  # as many of each class as there are
                weights[members] = np.bincount(rng.integers(len(members), size=len(members)), minlength=len(members))
            yield weights
        return
    has_class = np.stack([np.bincount(units.codes, weights=kind, minlength=n_units) for kind in (bonafide, ~bonafide)])
    done = 0
    while done < n_replicates:
        weights = rng.multinomial(n_units, np.full(n_units, 1 / n_units))
        if (has_class @ weights > 0).all():
            done += 1
            yield weights
