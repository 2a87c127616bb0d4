"""How far a figure would move with other speakers: confidence intervals and paired comparisons.

Near its threshold, every figure is a weighted sum of misses and false alarms. Trials of one speaker resemble each
other, so the figure's variance is estimated from the contributions of the speakers to this sum (a sandwich estimate
over clusters). If trials name no speakers, each trial is its own unit.

- The EER's weights are the shares of the two score densities at its threshold.
- A minimum is found and evaluated on the same trials, so it is optimistic. The trials of each of `N_FOLDS` folds are
  also evaluated at the threshold that is best on all other folds, which is about as pessimistic. The interval is
  centred on the mean of both values and uses the larger of their variances.
- The interval is that of Clopper and Pearson for a proportion with this variance, that is, for the number of
  independent trials that would give it. The number is reduced by Student's t, since few speakers estimate the variance
  (Korn and Graubard). The interval assumes no normal distribution, stays within [0, 1] and has a width at 0 errors.

`benchmarks/intervals.py` measures how often such intervals cover the truth.

Sources: E. Korn and B. Graubard, Confidence intervals for proportions with small expected number of
positive counts estimated from survey data, Survey Methodology 24, 1998; C. Clopper and E. Pearson,
Biometrika 26, 1934.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from countermeasure.errors import InputError
from tDCF_python import metrics
from tDCF_python.defaults import FEWEST_SPEAKERS
from tDCF_python.evaluation import EER
from tDCF_python.metrics import DetCurve, Floats, LinearCost, Ranking

SPEAKERS = "speakers"
TRIALS = "trials"
LEVEL = 0.95
N_FOLDS = 20

_TAIL = (1 - LEVEL) / 2


class Interval(NamedTuple):
    """A confidence interval of `LEVEL`; both ends are None, with the reason, where there is none."""

    low: float | None = None
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Units:
    """The independent units of an interval: speakers, or single trials.

    Codes are numbered in the order of the units' names: two files with the same trials in another order agree in them,
    which makes comparisons paired.
    """

    over: str  # 'speakers' or 'trials'
    codes: npt.NDArray[np.intp]  # [n_trials], the unit of each trial

    def of(self, trials: npt.NDArray[np.bool_]) -> Units:
        """Return the units of some of the trials, renumbered from 0."""
        return Units(self.over, np.unique(self.codes[trials], return_inverse=True)[1])

    def __len__(self) -> int:
        return int(self.codes.max()) + 1


class Influence(NamedTuple):
    """What the interval of one figure is computed from."""

    value: float  # the figure
    corrected: float  # for a minimum, the mean of it and of its value at thresholds from other folds; else `value`
    floor: float  # of the figure with the best possible scores
    span: float  # from there to the figure with uninformative scores
    own: Floats  # [n_units], what each unit adds to the figure, minus the mean over its trials
    others: Floats  # [n_units], the same at thresholds from other folds
    n_trials: float  # the share of `span` that the costliest single error takes is 1 / n_trials
    fewest: int  # units in the class with fewer of them
    over: str  # as in `Units`

    @property
    def reason(self) -> str:
        """Why there is no interval; empty where there is one."""
        return f"too few {self.over} for an interval" if self.fewest < FEWEST_SPEAKERS else ""


def choose_units(
    speakers: Sequence[str | None],
    utterances: Sequence[str],
    bonafide: npt.NDArray[np.bool_],
    over: str | None = None,
) -> Units:
    """Return speakers as units, or trials if one names no speaker or a class has fewer than `FEWEST_SPEAKERS`.

    Parameters
    ----------
    speakers, utterances : sequence of str, length n_trials
        A speaker is None if the trial names none.
    bonafide : ndarray of bool, shape [n_trials]
    over : {'speakers', 'trials'}, optional
        Overrides this choice.

    Raises
    ------
    InputError
        When speakers are requested and a trial names none.
    """
    _, codes = numbered(speakers)
    named = bool((codes >= 0).all())
    if over == SPEAKERS and not named:
        raise InputError("intervals over speakers need trials that name them; take them over trials instead")
    if over is None:
        fewest = min(len(np.unique(codes[kind])) for kind in (bonafide, ~bonafide))
        over = SPEAKERS if named and fewest >= FEWEST_SPEAKERS else TRIALS
    return Units(over, codes if over == SPEAKERS else numbered(utterances)[1])


def numbered(names: Sequence[str | None]) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Return the distinct names in ascending order, and the place of each name among them, −1 for None."""
    distinct = sorted({name for name in names if name is not None})
    places: dict[str | None, int] = {name: place for place, name in enumerate(distinct)}
    return distinct, np.fromiter(map(places.get, names, repeat(-1)), np.intp, len(names))


def influences(
    scores: Floats, bonafide: npt.NDArray[np.bool_], units: Units, costs: Mapping[str, LinearCost]
) -> dict[str, Influence]:
    """Return the influences on the EER and on the minima of costs, from which intervals are computed.

    Parameters
    ----------
    scores : ndarray, shape [n_trials]
    bonafide : ndarray of bool, shape [n_trials]
    units : Units
    costs : mapping from name to LinearCost

    Returns
    -------
    dict from name (``'eer'`` and those of `costs`) to Influence

    Raises
    ------
    InputError
        When a class is empty or a score is not finite.
    """
    ranked = metrics.ranking(scores[bonafide], scores[~bonafide])
    trials = _Trials(ranked, np.concatenate([units.codes[bonafide], units.codes[~bonafide]])[ranked.order], units)
    curve = ranked.curve()
    at = metrics.even_point(curve)
    eer = sum(curve.rates(at)) / 2
    weight = _miss_weight(curve, eer)
    found = {EER: trials.influence(LinearCost(0.0, weight, 1 - weight), 1.0, eer, at, at)}
    folds = trials.folds()
    best = {name: np.empty(N_FOLDS, np.intp) for name in costs}
    for fold in range(N_FOLDS if costs else 0):
        others = ranked.curve(folds != fold)
        if not (others.misses[-1] and others.alarms[0]):  # few trials: all of a class are in this fold
            others = curve
        for name, cost in costs.items():
            best[name][fold] = metrics.cheapest_point(others, cost)
    for name, cost in costs.items():
        at = metrics.cheapest_point(curve, cost)
        value = cost(*curve.rates(at))
        found[name] = trials.influence(cost, min(cost.miss, cost.false_alarm), value, at, best[name][folds])
    return found


def interval(influence: Influence) -> Interval:
    """Return a figure's interval, or one without ends and the reason."""
    from scipy.special import betaincinv, stdtrit  # a plain report does without SciPy

    if influence.reason:
        return Interval(reason=influence.reason)
    variance = max(_variance(influence.own), _variance(influence.others)) / influence.span**2
    share = min(max((influence.corrected - influence.floor) / influence.span, 0.0), 1.0)
    n = share * (1 - share) / variance if variance > 0 and 0 < share < 1 else influence.n_trials
    n *= (stdtrit(math.inf, _TAIL) / stdtrit(influence.fewest - 1, _TAIL)) ** 2
    wrong = share * n
    low = betaincinv(wrong, n - wrong + 1, _TAIL) if share > 0 else 0.0
    high = betaincinv(wrong + 1, n - wrong, 1 - _TAIL) if share < 1 else 1.0
    return Interval(
        min(influence.value, influence.floor + influence.span * float(low)),
        max(influence.value, influence.floor + influence.span * float(high)),
    )


def compare(reference: Influence, system: Influence) -> tuple[Interval, float]:
    """Compare a figure of two systems by a paired t test over the units of their common trials.

    Parameters
    ----------
    reference, system : Influence
        Of the same figure, trials and units.

    Returns
    -------
    Interval
        Of the difference, `system` minus `reference`.
    p : float
        Two-sided p value of no difference; 1 if there is no interval.
    """
    from scipy.special import stdtr, stdtrit

    if system.reason:
        return Interval(reason=system.reason), 1.0
    difference = system.value - reference.value
    by_unit = (system.own - reference.own + system.others - reference.others) / 2
    error = math.sqrt(_variance(by_unit))
    df = system.fewest - 1
    half = float(-stdtrit(df, _TAIL)) * error
    if error == 0:
        return Interval(difference, difference), float(difference == 0)
    return Interval(difference - half, difference + half), float(2 * stdtr(df, -abs(difference) / error))


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


class _Trials:
    """Ranked trials and their units."""

    def __init__(self, ranked: Ranking, codes: npt.NDArray[np.intp], units: Units) -> None:
        self.bonafide, self.codes, self.over, self.n_units = ranked.bonafide, codes, units.over, len(units)
        self.n_bonafide = int(np.count_nonzero(self.bonafide))
        self.n_spoof = len(codes) - self.n_bonafide
        self.fewest = min(len(np.unique(codes[kind])) for kind in (self.bonafide, ~self.bonafide))

    def folds(self) -> npt.NDArray[np.intp]:
        """Return each trial's fold: that of its speaker, or dealt out to single trials class by class."""
        if self.over == SPEAKERS:
            return self.codes % N_FOLDS
        folds = np.empty(len(self.codes), np.intp)
        for kind in (self.bonafide, ~self.bonafide):
            members = np.flatnonzero(kind)
            folds[members[np.argsort(self.codes[members], kind="stable")]] = np.arange(len(members)) % N_FOLDS
        return folds

    def influence(
        self, cost: LinearCost, span: float, value: float, rejected: int, rejected_by_others: int | npt.NDArray[np.intp]
    ) -> Influence:
        """Return the influence of a figure, given how many trials its threshold and other folds' thresholds reject."""
        _, own = self._contributions(cost, rejected)
        by_others, others = self._contributions(cost, rejected_by_others)
        n_trials = min(self.n_bonafide * span / max(cost.miss, span), self.n_spoof * span / max(cost.false_alarm, span))
        corrected = (value + by_others) / 2
        return Influence(value, corrected, cost.constant, span, own, others, n_trials, self.fewest, self.over)

    def _contributions(self, cost: LinearCost, rejected: int | npt.NDArray[np.intp]) -> tuple[float, Floats]:
        """Return the cost when the `rejected` lowest trials are rejected, and each unit's contribution."""
        is_rejected = np.arange(len(self.codes)) < rejected
        wrong = np.where(self.bonafide, is_rejected, ~is_rejected).astype(np.float64)
        p_miss, p_fa = float(wrong[self.bonafide].mean()), float(wrong[~self.bonafide].mean())
        part: Floats = np.where(
            self.bonafide,
            cost.miss / self.n_bonafide * (wrong - p_miss),
            cost.false_alarm / self.n_spoof * (wrong - p_fa),
        )
        return cost(p_miss, p_fa), np.bincount(self.codes, part, minlength=self.n_units).astype(np.float64)


def _miss_weight(curve: DetCurve, eer: float) -> float:
    """Return P_miss's weight in a change of the EER: the share of the spoof scores' density at its threshold.

    Counted between the points where either rate is half the EER.
    """
    p_miss, p_fa = curve.p_miss, curve.p_fa
    low = int(np.searchsorted(p_miss, eer / 2))
    high = len(p_fa) - 1 - int(np.searchsorted(p_fa[::-1], eer / 2))
    misses, alarms = float(p_miss[high] - p_miss[low]), float(p_fa[low] - p_fa[high])
    return alarms / (misses + alarms) if misses + alarms > 0 else 0.5


def _variance(by_unit: Floats) -> float:
    """Return the variance of a sum of independent contributions of mean 0."""
    n = len(by_unit)
    return n / (n - 1) * float(by_unit @ by_unit)
