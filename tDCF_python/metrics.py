"""The metrics, as pure functions of scores.

Everywhere a higher score means bona fide (for speaker verification: the claimed speaker), and error rates are
fractions from 0 to 1. All functions of scores raise `InputError` when a class is empty or a score is not finite.

Sources
-------
t-DCF of 2019 ("legacy"): T. Kinnunen et al., Odyssey 2018. Revisited t-DCF: T. Kinnunen et al., IEEE/ACM TASLP 28,
2020. DCF and C_llr as in ASVspoof 5: X. Wang et al., ASVspoof 2024 workshop; C_llr: N. Brümmer and J. du Preez,
Computer Speech & Language 20, 2006.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from countermeasure.errors import InputError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Rate = TypeVar("Rate", float, Floats)


class Costs(NamedTuple):
    """Prior probabilities of spoofs, targets and nontargets, and costs of a miss and of a false alarm.

    The costs are the same for the countermeasure, for the verification system, and for a spoof that passes both.
    """

    p_spoof: float = 0.05
    p_target: float = 0.95 * 0.99
    p_nontarget: float = 0.95 * 0.01
    c_miss: float = 1.0
    c_fa: float = 10.0


COSTS = Costs()


class DetCurve(NamedTuple):
    """Error rates at every point where they can change.

    At point k the k lowest scores are rejected, k = 0 … n; scores above threshold k are accepted. Equal scores are
    rejected one after the other, bona fide first, so points between them have rates that no threshold gives; a minimum
    of costs never lies there, an EER may.
    """

    thresholds: Floats  # [n + 1], the last rejected score; before the first, the lowest − 0.001
    misses: Counts  # [n + 1], bona fide trials that are rejected; rises from 0 to all
    alarms: Counts  # [n + 1], spoofs that are accepted; falls from all to 0

    @property
    def p_miss(self) -> Floats:
        """`misses` as a fraction of all bona fide trials."""
        return self.misses / self.misses[-1]

    @property
    def p_fa(self) -> Floats:
        """`alarms` as a fraction of all spoofs."""
        return self.alarms / self.alarms[0]

    def rates(self, k: int) -> tuple[float, float]:
        """Return P_miss and P_fa at point k."""
        return float(self.misses[k] / self.misses[-1]), float(self.alarms[k] / self.alarms[0])


class Ranking(NamedTuple):
    """All scores in ascending order; at ties bona fide first, so that ties count against the detector."""

    scores: Floats  # [n]
    bonafide: npt.NDArray[np.bool_]  # [n], which of them are bona fide
    order: npt.NDArray[np.intp]  # [n], where each was in the bona fide scores followed by the spoof scores

    def curve(self, counted: npt.NDArray[np.bool_] | None = None) -> DetCurve:
        """Return the DET curve of some trials, with the thresholds of all.

        Parameters
        ----------
        counted : ndarray of bool, shape [n], optional
            Which trials are counted, in the order of `scores`; all by default.
        """
        if counted is None:
            counted = np.ones(len(self.scores), bool)
        thresholds = np.empty(len(self.scores) + 1)
        thresholds[0], thresholds[1:] = self.scores[0] - 0.001, self.scores
        misses, rejected = (np.zeros(len(thresholds), np.int64) for _ in range(2))
        np.cumsum(counted & self.bonafide, out=misses[1:])
        np.cumsum(counted, out=rejected[1:])
        n_spoof = rejected[-1] - misses[-1]
        return DetCurve(thresholds, misses, n_spoof - (rejected - misses))


class Point(NamedTuple):
    """A metric's value and the operating point where it is reached."""

    value: float
    threshold: float
    p_miss: float
    p_fa: float


class LinearCost(NamedTuple):
    """A cost that is linear in the two error rates: constant + miss · P_miss + false_alarm · P_fa, normalised."""

    constant: float
    miss: float
    false_alarm: float

    def __call__(self, p_miss: Rate, p_fa: Rate) -> Rate:
        """Return the cost at a pair of error rates, or at each pair."""
        return self.constant + self.miss * p_miss + self.false_alarm * p_fa


class AsvRates(NamedTuple):
    """A speaker verification system's error rates at its own equal error rate's threshold."""

    eer: float  # targets against nontargets
    threshold: float
    p_miss: float  # fraction of targets below the threshold
    p_fa: float  # fraction of nontargets at or above it
    p_miss_spoof: float  # fraction of spoofs below it, which the system rejects by itself


def checked(scores: npt.ArrayLike, what: str) -> Floats:
    """Return scores as a float64 vector.

    Parameters
    ----------
    scores : array_like, shape [n]
    what : str
        Name of the class, for the message.

    Raises
    ------
    InputError
        When there is no score, one is not finite, or they are not a vector.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise InputError(f"{what} scores must be a vector; got an array of shape {values.shape}")
    if not values.size:
        raise InputError(f"no {what} score; error rates need both classes")
    if not np.isfinite(values).all():
        raise InputError(f"{np.count_nonzero(~np.isfinite(values))} {what} scores are not finite; give real scores")
    return values


def ranking(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> Ranking:
    """Sort the scores of two classes; for a verification system, targets and nontargets.

    Parameters
    ----------
    bonafide_scores : array_like, shape [n_bonafide]
    spoof_scores : array_like, shape [n_spoof]
    """
    bonafide, spoof = checked(bonafide_scores, "bona fide"), checked(spoof_scores, "spoof")
    scores = np.concatenate([bonafide, spoof])
    order = np.argsort(scores, kind="stable")
    return Ranking(scores[order], order < len(bonafide), order)


def det_curve(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> DetCurve:
    """Return the error rates after rejecting the first 0, 1, 2, … scores in ascending order."""
    return ranking(bonafide_scores, spoof_scores).curve()


def even_point(curve: DetCurve) -> int:
    """Return the number of the first point where the two error rates differ least."""
    # In whole numbers, for rounding must not choose between two equal differences.
    return int(np.argmin(np.abs(curve.misses * curve.alarms[0] - curve.alarms * curve.misses[-1])))


def cheapest_point(curve: DetCurve, cost: LinearCost) -> int:
    """Return the number of the first point where a cost is least."""
    return int(np.argmin(cost(curve.p_miss, curve.p_fa)))


def eer_point(curve: DetCurve) -> Point:
    """Return the first point where the two error rates differ least; its value is their mean."""
    at = even_point(curve)
    p_miss, p_fa = curve.rates(at)
    return Point((p_miss + p_fa) / 2, float(curve.thresholds[at]), p_miss, p_fa)


def eer(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> tuple[float, float]:
    """Return the equal error rate, as a fraction, and its threshold."""
    point = eer_point(det_curve(bonafide_scores, spoof_scores))
    return point.value, point.threshold


def min_cost(curve: DetCurve, cost: LinearCost) -> Point:
    """Return the first point of a curve where a cost is least."""
    at = cheapest_point(curve, cost)
    p_miss, p_fa = curve.rates(at)
    return Point(cost(p_miss, p_fa), float(curve.thresholds[at]), p_miss, p_fa)


def rates_at(threshold: float, bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> tuple[float, float]:
    """Return a countermeasure's (P_miss, P_fa) at a threshold; scores above it are accepted."""
    bonafide, spoof = checked(bonafide_scores, "bona fide"), checked(spoof_scores, "spoof")
    return float(np.mean(bonafide <= threshold)), float(np.mean(spoof > threshold))


def asv_rates(target_scores: npt.ArrayLike, nontarget_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> AsvRates:
    """Return a speaker verification system's error rates at its own EER's threshold, recounted there.

    By the organisers' convention it accepts scores at or above the threshold; a countermeasure accepts scores above.
    """
    targets, nontargets = checked(target_scores, "target"), checked(nontarget_scores, "nontarget")
    spoofs = checked(spoof_scores, "spoof")
    error_rate, threshold = eer(targets, nontargets)
    p_miss, p_fa, p_miss_spoof = (
        float(np.mean(errors)) for errors in (targets < threshold, nontargets >= threshold, spoofs < threshold)
    )
    return AsvRates(error_rate, threshold, p_miss, p_fa, p_miss_spoof)


def tdcf(asv: AsvRates, legacy: bool) -> LinearCost:
    """Return the normalised tandem detection cost as a function of the countermeasure's error rates.

    Legacy (2019): (C1·P_miss + C2·P_fa) / min(C1, C2) with
    C1 = P_tar·(C_miss − C_miss·P_miss,asv) − P_non·C_fa·P_fa,asv and C2 = C_fa·P_spoof·(1 − P_miss,spoof,asv).
    Revisited: (C0 + C1·P_miss + C2·P_fa) / (C0 + min(C1, C2)) with
    C0 = P_tar·C_miss·P_miss,asv + P_non·C_fa·P_fa,asv, C1 = P_tar·C_miss − C0 and C2 = P_spoof·C_fa·P_fa,spoof,asv.

    Raises
    ------
    InputError
        When the verification system errs so much that C1 or C2 is not positive.
    """
    c0 = COSTS.p_target * COSTS.c_miss * asv.p_miss + COSTS.p_nontarget * COSTS.c_fa * asv.p_fa
    c1 = COSTS.p_target * COSTS.c_miss - c0  # the same in both formulations, as all C_miss and all C_fa are equal
    c2 = COSTS.c_fa * COSTS.p_spoof * (1 - asv.p_miss_spoof)
    return tandem_cost(0.0 if legacy else c0, c1, c2)


def tandem_cost(c0: float, c1: float, c2: float) -> LinearCost:
    """Return C0 + C1·P_miss + C2·P_fa, normalised by its value for the better of the two constant answers.

    Raises
    ------
    InputError
        When C1 or C2 is not positive.
    """
    if c1 <= 0 or c2 <= 0:
        raise InputError(
            f"t-DCF is undefined for these ASV error rates: C1 = {c1:.6f} and C2 = {c2:.6f} must be above 0; the "
            f"ASV system {'rejects every spoof by itself' if c1 > 0 else 'errs too much'}; check its scores"
        )
    scale = c0 + min(c1, c2)
    return LinearCost(c0 / scale, c1 / scale, c2 / scale)


def min_tdcf(
    bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike, asv: AsvRates, legacy: bool = True
) -> tuple[float, float]:
    """Return the least normalised t-DCF of a countermeasure, and its threshold.

    Parameters
    ----------
    bonafide_scores, spoof_scores : array [n_trials]
        Higher = more bona fide.
    asv : AsvRates
        Of the verification system, see `asv_rates`.
    legacy : bool
        True: the t-DCF of 2019; False: the revisited one. See `tdcf`.
    """
    point = min_cost(det_curve(bonafide_scores, spoof_scores), tdcf(asv, legacy))
    return point.value, point.threshold


def dcf() -> LinearCost:
    """Return the normalised detection cost of a countermeasure on its own, as in ASVspoof 5.

    (C_miss·(1 − P_spoof)·P_miss + C_fa·P_spoof·P_fa) / min(C_miss·(1 − P_spoof), C_fa·P_spoof).
    """
    return tandem_cost(0.0, COSTS.c_miss * (1 - COSTS.p_spoof), COSTS.c_fa * COSTS.p_spoof)


def bayes_threshold() -> float:
    """Return the optimal threshold for log-likelihood ratios: log(C_fa·P_spoof / (C_miss·(1 − P_spoof)))."""
    return math.log(COSTS.c_fa * COSTS.p_spoof / (COSTS.c_miss * (1 - COSTS.p_spoof)))


def actual_dcf(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> float:
    """Return the normalised detection cost at `bayes_threshold`, with scores taken as LLRs."""
    return dcf()(*rates_at(bayes_threshold(), bonafide_scores, spoof_scores))


def cllr(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> float:
    """Return the cost of log-likelihood ratios, in bits: 0 perfect, 1 no information.

    (mean log2(1 + exp(−s)) over bona fide + mean log2(1 + exp(s)) over spoof) / 2.
    """
    bonafide, spoof = checked(bonafide_scores, "bona fide"), checked(spoof_scores, "spoof")
    return float(np.mean(np.logaddexp(0, -bonafide)) + np.mean(np.logaddexp(0, spoof))) / (2 * math.log(2))


def decimals(*n_trials: int) -> int:
    """Return the decimals of an error rate in percent: 3 from 1000 trials in the smaller class, 1 below 100."""
    return min(max(len(str(min(n_trials))) - 1, 1), 3)


def percent(rate: float, *n_trials: int) -> str:
    """Return an error rate as text, ``9.572 %``, with the `decimals` for these numbers of trials."""
    return f"{100 * rate:.{decimals(*n_trials)}f} %"
