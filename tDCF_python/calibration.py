"""How well scores are calibrated, as pure functions of scores: a log-likelihood ratio should mean what it says.

Conventions and errors are those of `tDCF_python.metrics`.

Sources
-------
PAV and minimum C_llr: N. Brümmer and J. du Preez, Computer Speech & Language 20, 2006. Bayes error over the prior:
D. Ramos and J. Gonzalez-Rodriguez, Forensic Science International 230, 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tDCF_python.metrics import Counts, Floats, checked


@dataclass(frozen=True)
class Calibration:
    """The best map of scores to log-likelihood ratios that never falls.

    Attributes
    ----------
    scores : ndarray, shape [n]
        Each score that occurs, once, in ascending order.
    llrs : ndarray, shape [n]
        Its log-likelihood ratio; -inf below all bona fide trials, inf above all spoofs.
    n_bonafide, n_spoof : ndarray of int, shape [n]
        Trials of each class that have it.
    """

    scores: Floats
    llrs: Floats
    n_bonafide: Counts
    n_spoof: Counts

    @property
    def cllr(self) -> float:
        """C_llr of the mapped scores, in bits: the least that any such map reaches on these trials."""
        has_bonafide, has_spoof = self.n_bonafide > 0, self.n_spoof > 0
        cost_bonafide = np.average(np.logaddexp(0, -self.llrs[has_bonafide]), weights=self.n_bonafide[has_bonafide])
        cost_spoof = np.average(np.logaddexp(0, self.llrs[has_spoof]), weights=self.n_spoof[has_spoof])
        return float(cost_bonafide + cost_spoof) / (2 * math.log(2))


def pav(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> Calibration:
    """Calibrate scores on themselves, by isotonic regression: pool adjacent violators.

    Neighbouring scores are pooled until the share of bona fide trials rises from pool to pool. The
    log-odds of this share, less those of the whole set, are the log-likelihood ratio. Equal scores stay
    together.
    """
    bonafide, spoof = checked(bonafide_scores, "bona fide"), checked(spoof_scores, "spoof")
    scores, places = np.unique(np.concatenate([bonafide, spoof]), return_inverse=True)
    counts = [np.bincount(of_class, minlength=len(scores)) for of_class in np.split(places, [len(bonafide)])]
    pools: list[tuple[int, int, int]] = []  # bona fide trials, spoofs, scores
    for n_bonafide, n_spoof in zip(*(of_class.tolist() for of_class in counts), strict=True):
        pool = (n_bonafide, n_spoof, 1)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:  # ratios compared in whole numbers
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    pooled_bonafide, pooled_spoof, n_scores = np.array(pools).T
    with np.errstate(divide="ignore"):
        llrs = np.log(pooled_bonafide / len(bonafide)) - np.log(pooled_spoof / len(spoof))
    return Calibration(scores, np.repeat(llrs, n_scores), *counts)


def min_cllr(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> float:
    """Return C_llr after the best calibration, in bits: what is left of it is lack of discrimination."""
    return pav(bonafide_scores, spoof_scores).cllr


def bayes_errors(
    prior_log_odds: npt.ArrayLike, bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Return the normalised Bayes error rate at each prior: of the scores as they are, and the least.

    Where the prior probability of bona fide speech is π and its log-odds are η = log(π / (1 − π)),
    scores taken as log-likelihood ratios are accepted above −η, and err in π·P_miss + (1 − π)·P_fa. It is
    divided by min(π, 1 − π), the error of the better constant answer. The least one is that over all thresholds.
    At η = −`metrics.bayes_threshold()` they are `metrics.actual_dcf` and the minimum DCF.

    Parameters
    ----------
    prior_log_odds : array_like, shape [n_priors]
        Natural logarithms.

    Returns
    -------
    actual, least : ndarray, shape [n_priors]
    """
    bonafide, spoof = (
        np.sort(checked(of, what)) for of, what in ((bonafide_scores, "bona fide"), (spoof_scores, "spoof"))
    )
    odds = np.asarray(prior_log_odds, np.float64)

    def rates(thresholds: Floats) -> tuple[Floats, Floats]:
        p_miss, rejected = (
            np.searchsorted(of_class, thresholds, side="right") / len(of_class) for of_class in (bonafide, spoof)
        )
        return p_miss, 1 - rejected

    def errors(p_miss: Floats, p_fa: Floats) -> Floats:
        # By the larger of both weights: neither overflows.
        return np.exp(np.maximum(odds, 0)) * p_miss + np.exp(np.maximum(-odds, 0)) * p_fa

    actual = errors(*rates(-odds))
    best = pav(bonafide, spoof)
    # The least error is between two pools, or that of accepting or rejecting everything, which is 1.
    edges = best.scores[:-1][best.llrs[1:] > best.llrs[:-1]]
    least = np.ones_like(odds)
    for p_miss, p_fa in zip(*rates(edges), strict=True):
        least = np.minimum(least, errors(p_miss, p_fa))
    return actual, least
