"""Calibration of a model's LLRs and the resulting threshold, stored beside the models.

A mixture treats frames as independent, so its LLRs are far too large. Logistic regression on development scores
corrects them to

    log P(bona fide | s) / P(spoof | s) = slope · s + offset + log prior / (1 − prior),

where `prior` is the share of bona fide speech (N. Brümmer and J. du Preez, Computer Speech & Language 2006).
Both classes weigh the same in the fit of slope and offset; the prior enters threshold and probability only.
The targets are (n + 1) / (n + 2) and 1 / (n + 2) (J. Platt, 1999), which keep the slope finite for classes that do
not overlap. n is each class's own number of trials. Platt's single n, or the prior, would let a few relabelled trials
of one class outweigh the other.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from countermeasure import files, records
from countermeasure.errors import InputError
from countermeasure.gmm.logistic import deviations
from countermeasure.gmm.models import model_files
from countermeasure.lists import provenance
from tDCF_python import metrics

FILE = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """The calibration of a folder's models.

    Attributes
    ----------
    slope, offset : float
        Of the calibrated LLR; slope > 0, offset in nats.
    prior : float
        Share of bona fide speech assumed by probabilities and by the Bayes threshold.
    criterion : {'bayes', 'eer'}
        Whether the threshold makes both classes equally probable or is that of the EER.
    threshold : float
        For LLRs of the models before calibration; a recording is accepted as bona fide when its LLR is greater.
    eer : float
        Of the development scores.
    eer_low, eer_high : float or None
        Its 95 % interval; None if there are too few speakers.
    eer_over : {'speakers', 'trials'}
        Units of the interval.
    n_bonafide, n_spoof : int
        Numbers of trials.
    score_file, score_sha256 : str
        Name of the score file without its folder, and its SHA-256.
    models_sha256 : str
        See `models_sha256`.
    log_likelihoods : list of float or None
        For base models: 5 % quantile and median, over the development trials, of the larger of a trial's two mean
        log-likelihoods per frame, in nats. None if the score file's record does not have them.
    """

    slope: float
    offset: float
    prior: float
    criterion: Literal["bayes", "eer"]
    threshold: float
    eer: float
    eer_low: float | None
    eer_high: float | None
    eer_over: str
    n_bonafide: int
    n_spoof: int
    score_file: str
    score_sha256: str
    models_sha256: str
    log_likelihoods: list[float] | None = None
    format: Literal[1] = 1

    @property
    def interval(self) -> str:
        """The EER's interval in words, in percent."""
        if self.eer_low is None or self.eer_high is None:
            return f"too few {self.eer_over} for an interval"
        digits = metrics.decimals(self.n_bonafide, self.n_spoof)
        return f"{100 * self.eer_low:.{digits}f} to {100 * self.eer_high:.{digits}f} %, 95 % over {self.eer_over}"

    @property
    def origin(self) -> str:
        """The meaning of the threshold in words."""
        if self.criterion == "eer":
            return "the EER's"
        return f"both classes equally probable where {100 * self.prior:g} % of the recordings are bona fide"

    @property
    def calibrated_llr(self) -> str:
        """The formula of the calibrated LLR."""
        return f"{self.slope:.6g} * LLR {'-' if self.offset < 0 else '+'} {abs(self.offset):.6g}"

    @property
    def lowest_usual(self) -> float | None:
        """The mean log-likelihood per frame below which a recording is unlike those of the development set.

        It is twice as far below the median as the 5 % quantile: 3.3 standard deviations of a normal distribution.
        """
        if self.log_likelihoods is None:
            return None
        low, median = self.log_likelihoods
        return median - 2 * (median - low)

    def probability(self, llr: float) -> float:
        """Return the probability that a recording with this LLR is bona fide."""
        log_odds = self.slope * llr + self.offset + logit(self.prior)
        return (1 + math.tanh(log_odds / 2)) / 2


def logit(p: float) -> float:
    """Return the log odds of a probability."""
    return math.log(p / (1 - p))


def models_sha256(folder: str | os.PathLike[str]) -> str:
    """Return the SHA-256 over those of a folder's models, which identifies the models of a calibration."""
    return provenance.combined_sha256(map(files.sha256, model_files(folder)))


def read(folder: str | os.PathLike[str]) -> Calibration | None:
    """Read the calibration of a folder's models; None if there is none.

    Raises
    ------
    InputError
        If it is damaged or was made for other models.
    """
    path = Path(folder) / FILE
    try:
        found = records.checked(Calibration, records.read(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path}: is not a calibration ({error}); delete it or run gmm_calibrate.py again") from None
    if found.models_sha256 != models_sha256(folder):
        raise InputError(f"{path}: was made for other models than those of the folder; run gmm_calibrate.py again")
    return found


def write(folder: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write the calibration of a folder's models."""
    records.write(Path(folder) / FILE, calibration)


def fit(llrs: NDArray[np.float64], is_bonafide: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the slope and offset of calibrated LLRs.

    Both classes have the same total weight.

    Parameters
    ----------
    llrs : array [n_trials]
        Finite.
    is_bonafide : array of bool [n_trials]
        With both values.

    Raises
    ------
    InputError
        If bona fide trials do not score higher than spoofed ones.
    """
    from sklearn.linear_model import LogisticRegression

    n, n_bonafide = len(llrs), np.count_nonzero(is_bonafide)
    n_spoof = n - n_bonafide
    target = np.where(is_bonafide, (n_bonafide + 1) / (n_bonafide + 2), 1 / (n_spoof + 2))
    weight = np.where(is_bonafide, n / (2 * n_bonafide), n / (2 * n_spoof))
    mean, scale = llrs.mean(), deviations(llrs)
    z = (llrs - mean) / scale
    # scikit-learn has no targets between 0 and 1, so each trial is used once for each class. The large C leaves
    # practically no penalty.
    model = LogisticRegression(C=1e8, tol=1e-8, max_iter=1000)
    model.fit(
        np.concatenate([z, z])[:, None],
        np.repeat([True, False], n),
        np.concatenate([weight * target, weight * (1 - target)]),
    )
    slope = float(model.coef_[0, 0] / scale)
    if not slope > 0:
        raise InputError(
            "bona fide trials do not score higher than spoofed ones on average, so there is nothing to calibrate; "
            "are these the scores of a trained model on its development set?"
        )
    return slope, float(model.intercept_[0]) - slope * float(mean)
