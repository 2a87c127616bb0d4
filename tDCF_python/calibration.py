"""Calibration: how well scores serve as log-likelihood ratios, as pure functions of scores.

Conventions and errors are those of `tDCF_python.metrics`.

Sources
-------
PAV and minimum C_llr: N. Brümmer and J. du Preez, Computer Speech & Language 20, 2006. Bayes error over the prior:
D. Ramos and J. Gonzalez-Rodriguez, Forensic Science International 230, 2013.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tDCF_python.metrics import Counts, Floats, checked


class Calibration(NamedTuple):
    """The non-decreasing map of scores to log-likelihood ratios with the lowest cost."""

    scores: Floats  # [n], the distinct scores in ascending order
    llrs: Floats  # [n], its log-likelihood ratio; -inf below all bona fide trials, inf above all spoofs
    n_bonafide: Counts  # [n], trials with this score
    n_spoof: Counts

    @property
    def cllr(self) -> float:
        """C_llr of the mapped scores, in bits: the lowest that such a map reaches on these trials."""
        has_bonafide, has_spoof = self.n_bonafide > 0, self.n_spoof > 0
        cost_bonafide = np.average(np.logaddexp(0, -self.llrs[has_bonafide]), weights=self.n_bonafide[has_bonafide])
        cost_spoof = np.average(np.logaddexp(0, self.llrs[has_spoof]), weights=self.n_spoof[has_spoof])
        return float(cost_bonafide + cost_spoof) / (2 * math.log(2))

    def bayes_errors(self, prior_log_odds: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Return the normalised Bayes error rate at each prior, actual and minimal.

        Where the prior probability of bona fide speech is π and its log-odds are η = log(π / (1 − π)), values taken
        as log-likelihood ratios are accepted above −η, and err in π·P_miss + (1 − π)·P_fa. It is divided by
        min(π, 1 − π), the error of the better constant answer. The minimum is that of the mapped scores.
        At η = −`metrics.bayes_threshold()` these are `metrics.actual_dcf` and the minimum DCF.

        Parameters
        ----------
        prior_log_odds : array_like, shape [n_priors]
            Natural logarithms.

        Returns
        -------
        actual, least : ndarray, shape [n_priors]
        """
        odds = np.asarray(prior_log_odds, np.float64)
        p_miss, rejected = (np.append(0, n.cumsum()) / n.sum() for n in (self.n_bonafide, self.n_spoof))

        def errors(values: Floats) -> Floats:
            at = np.searchsorted(values, -odds, side="right")
            # Weights divided by the smaller of both: neither overflows.
            return np.exp(np.maximum(odds, 0)) * p_miss[at] + np.exp(np.maximum(-odds, 0)) * (1 - rejected[at])

        return errors(self.scores), errors(self.llrs)


def pav(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike) -> Calibration:
    """Calibrate scores on themselves, by isotonic regression: pool adjacent violators.

    Neighbouring scores are pooled until the share of bona fide trials rises from pool to pool. The log-odds of this
    share, less those of the whole set, are the log-likelihood ratio. Equal scores stay together.
    """
    from sklearn.isotonic import isotonic_regression

    bonafide, spoof = checked(bonafide_scores, "bona fide"), checked(spoof_scores, "spoof")
    scores, places = np.unique(np.concatenate([bonafide, spoof]), return_inverse=True)
    n_bonafide, n_spoof = (
        np.bincount(of_class, minlength=len(scores)) for of_class in np.split(places, [len(bonafide)])
    )
    n = n_bonafide + n_spoof
    share = isotonic_regression(n_bonafide / n, sample_weight=n)
    with np.errstate(divide="ignore"):
        llrs = np.log(share / len(bonafide)) - np.log((1 - share) / len(spoof))
    return Calibration(scores, llrs, n_bonafide, n_spoof)
