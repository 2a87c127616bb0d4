"""Calibration: what a model's LLRs are worth, and the threshold that follows; kept beside the models.

Scores of mixtures are LLRs in name only: their frames are taken for independent, so they are far too sure.
Logistic regression on development scores makes them what they claim to be,

    log P(bona fide | s) / P(spoof | s) = slope · s + offset + log prior / (1 − prior),

where `prior` is the share of bona fide speech (N. Brümmer and J. du Preez, Computer Speech & Language 2006).
Slope and offset are fitted with both classes weighing the same; the prior, of which an LLR knows nothing,
enters threshold and probability only. Targets are Platt's, (n + 1) / (n + 2) and 1 / (n + 2) (J. Platt, 1999):
without them, classes that do not overlap would make the slope infinite. At a skewed prior they would have one
class's few relabelled trials outweigh all of the other's, and bend both.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countermeasure import cli, files
from countermeasure.errors import InputError
from countermeasure.gmm.models import model_files, read_pair
from countermeasure.lists import provenance

FILE = "calibration.json"
FORMAT = 1
CRITERIA = ("bayes", "eer")
_SHA256_DIGITS = 64
# Trials of a class with which figures are rough.
_FEW = 30


@dataclass(frozen=True)
class Calibration:
    """The calibration of a folder's models.

    Attributes
    ----------
    slope : float > 0
    offset : float
        In nats.
    prior : float
        Share of bona fide speech that probabilities and the Bayes threshold take for granted.
    criterion : {'bayes', 'eer'}
        Whether the threshold is where both classes are equally probable, or that of the EER.
    threshold : float
        For LLRs as they come from the models; those above it are taken for bona fide.
    eer, eer_low, eer_high : float
        Of the development scores, with its interval of 95 %.
    eer_over : {'speakers', 'trials'}
        What the interval was drawn over.
    n_bonafide, n_spoof : int
        Trials.
    score_file : str
        Name of the file with the scores, without its folder.
    score_sha256 : str
        Of that file.
    models_sha256 : str
        Of the models, see `models_sha256`.
    format : int
    """

    slope: float
    offset: float
    prior: float
    criterion: str
    threshold: float
    eer: float
    eer_low: float
    eer_high: float
    eer_over: str
    n_bonafide: int
    n_spoof: int
    score_file: str
    score_sha256: str
    models_sha256: str
    format: int = FORMAT

    def probability(self, llr: float) -> float:
        """Return the probability that a recording with this LLR is bona fide."""
        log_odds = self.slope * llr + self.offset + _logit(self.prior)
        return (1 + math.tanh(log_odds / 2)) / 2


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def models_sha256(folder: str | os.PathLike[str]) -> str:
    """Return the SHA-256 over those of a folder's models: a calibration is of these and of no others."""
    return sha256_of_pair(*model_files(folder))


def sha256_of_pair(bonafide_path: str | os.PathLike[str], spoof_path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 over those of two models."""
    return provenance.combined_sha256(map(files.sha256, (bonafide_path, spoof_path)))


def read(folder: str | os.PathLike[str]) -> Calibration | None:
    """Read the calibration of a folder's models; None where there is none.

    Raises
    ------
    InputError
        When it is damaged, or was made for other models than those that are there now.
    """
    path = Path(folder) / FILE
    try:
        with open(path, encoding="utf-8") as f:
            values = json.load(f)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it or run gmm_calibrate.py again") from None
    problem = _problem(values)
    if problem:
        raise InputError(f"{path}: is no calibration ({problem}); delete it or run gmm_calibrate.py again")
    found = Calibration(**values)
    if found.models_sha256 != models_sha256(folder):
        raise InputError(f"{path}: was made for other models than those of the folder; run gmm_calibrate.py again")
    return found


_KINDS: dict[str, Any] = {"float": (int, float), "int": (int,), "str": (str,)}
_REAL = {field.name for field in dataclasses.fields(Calibration) if field.type == "float"}


def _problem(values: Any) -> str | None:
    fields = {field.name: str(field.type) for field in dataclasses.fields(Calibration)}
    if not isinstance(values, dict):
        return "not one JSON object"
    if values.get("format") != FORMAT:
        return "of another format"
    if set(values) != set(fields):
        return f"{min(set(values) ^ set(fields))} is missing or unknown"
    for name, kind in fields.items():
        if type(values[name]) not in _KINDS[kind]:
            return f"{name} has the wrong form"
        if name in _REAL and not abs(values[name]) < 1e300:  # NaN, too
            return f"{name} is not finite"
    rates = [values["eer"], values["eer_low"], values["eer_high"]]
    checks = {
        "slope": values["slope"] > 0,
        "prior": 0 < values["prior"] < 1,
        "criterion": values["criterion"] in CRITERIA,
        "eer": all(0 <= rate <= 1 for rate in rates),
        "eer_over": values["eer_over"] in ("speakers", "trials"),
        "n_bonafide": values["n_bonafide"] > 0,
        "n_spoof": values["n_spoof"] > 0,
        "score_sha256": len(values["score_sha256"]) == _SHA256_DIGITS,
        "models_sha256": len(values["models_sha256"]) == _SHA256_DIGITS,
    }
    return next((f"{name} cannot be that" for name, holds in checks.items() if not holds), None)


def write(folder: str | os.PathLike[str], calibration: Calibration) -> None:
    """Write the calibration of a folder's models."""
    with files.replace_when_whole(Path(folder) / FILE, text=True) as f:
        f.write(json.dumps(dataclasses.asdict(calibration), indent=1) + "\n")


def fit(llrs: NDArray[np.float64], is_bonafide: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and offset that make LLRs calibrated ones, whatever the share of bona fide speech.

    Parameters
    ----------
    llrs : array [n_trials]
        Finite.
    is_bonafide : array of bool [n_trials]
        With both classes, which weigh the same however many trials they have.

    Raises
    ------
    InputError
        When the scores do not rise from spoof to bona fide speech.
    """
    from sklearn.linear_model import LogisticRegression

    mean, scale = llrs.mean(), llrs.std()
    slope = 0.0
    if scale > 0:
        target, weight = np.empty(len(llrs)), np.empty(len(llrs))
        for members, extreme in ((is_bonafide, 1), (~is_bonafide, 0)):
            n = np.count_nonzero(members)
            target[members] = (n * extreme + 1) / (n + 2)
            weight[members] = len(llrs) / (2 * n)
        z = (llrs - mean) / scale
        # Each trial once for either class: scikit-learn knows no targets between 0 and 1. C: as good as no penalty.
        model = LogisticRegression(C=1e8, tol=1e-8, max_iter=1000)
        model.fit(
            np.concatenate([z, z])[:, None],
            np.repeat([1, 0], len(z)),
            np.concatenate([weight * target, weight * (1 - target)]),
        )
        slope = float(model.coef_[0, 0]) / scale
    if not slope > 0:
        raise InputError(
            "bona fide trials do not score higher than spoofed ones on average, so there is nothing to calibrate; "
            "are these the scores of a trained model on its development set?"
        )
    return slope, float(model.intercept_[0]) - slope * mean


def calibrate(
    cm_score: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    prior: float = 0.5,
    criterion: str = "bayes",
    protocol: str | os.PathLike[str] | None = None,
) -> None:
    """Fit the calibration of a folder's models on a score file; write it beside them, and renew their card.

    Parameters
    ----------
    cm_score : path
        Score file of labelled trials that the models were not trained on.
    model_path : folder of the models that gave the scores
    prior : float
        Share of bona fide speech among the recordings to be judged.
    criterion : {'bayes', 'eer'}
        Where the threshold lies, see `Calibration`.
    protocol : path or None
        Gives the labels to a score file that has none.

    Raises
    ------
    InputError
        When the scores are blind, of one class, not finite or not higher for bona fide speech; when the
        folder has no models, or not those that gave the scores, as far as the record beside them tells.
    """
    if not 0 < prior < 1:
        raise InputError(f"--prior {prior}: must be a probability between 0 and 1, both excluded")
    from countermeasure.evaluation.command import read_protocols
    from countermeasure.stages import card
    from countermeasure.trials.protocol import LABELS
    from countermeasure.trials.score_files import read_cm_scores
    from tDCF_python import metrics, resampling
    from tDCF_python.defaults import N_REPLICATES

    read_pair(*model_files(model_path))
    found = read_cm_scores(cm_score, read_protocols([str(protocol)] if protocol else None))
    digest = models_sha256(model_path)
    _check_origin(cm_score, found.sha256, model_path, digest)
    bonafide, spoof = found.scores[found.bonafide], found.scores[~found.bonafide]
    for label, scores in zip(LABELS, (bonafide, spoof), strict=True):
        if not len(scores):
            raise InputError(f"{cm_score}: no {label} trial in it; calibration needs both classes")
    try:
        slope, offset = fit(found.scores, found.bonafide)
    except InputError as error:
        raise InputError(f"{cm_score}: {error}") from None
    eer, eer_threshold = metrics.eer(bonafide, spoof)
    units = resampling.choose_units(found.speakers, found.utterances)
    drawn = resampling.replicates(found.scores, found.bonafide, units, {}, N_REPLICATES, seed=0)
    interval = resampling.interval(drawn["eer"])
    calibration = Calibration(
        slope=slope,
        offset=offset,
        prior=prior,
        criterion=criterion,
        threshold=eer_threshold if criterion == "eer" else -(offset + _logit(prior)) / slope,
        eer=eer,
        eer_low=interval.low,
        eer_high=interval.high,
        eer_over=units.over,
        n_bonafide=len(bonafide),
        n_spoof=len(spoof),
        score_file=Path(cm_score).name,
        score_sha256=found.sha256,
        models_sha256=digest,
    )
    with files.only_run(model_path):
        write(model_path, calibration)
        card.write(model_path)
    calibrated = slope * bonafide + offset, slope * spoof + offset
    if min(len(bonafide), len(spoof)) < _FEW:
        cli.log(f"{cm_score}: {len(bonafide)} bona fide and {len(spoof)} spoofed trials tell threshold and EER roughly")
    if bonafide.min() > spoof.max():
        cli.log("the classes do not overlap: how steep the probabilities are rests on the number of trials alone")
    print(
        f"threshold {calibration.threshold:.6f} ({criterion}, prior {prior:g})\n"
        f"calibrated LLR = {slope:.6g} * LLR {'-' if offset < 0 else '+'} {abs(offset):.6g}\n"
        f"EER {100 * eer:.5f} % ({100 * interval.low:.2f} to {100 * interval.high:.2f}) on {len(bonafide)} bona fide "
        f"and {len(spoof)} spoofed trials; C_llr {metrics.cllr(bonafide, spoof):.4f}, "
        f"calibrated {metrics.cllr(*calibrated):.4f}"
    )
    cli.log(f"{Path(model_path) / FILE}: written")


def _check_origin(
    cm_score: str | os.PathLike[str], score_sha256: str, model_path: str | os.PathLike[str], digest: str
) -> None:
    """Refuse the scores of other models; say so where the scores do not tell which they are of.

    Parameters
    ----------
    digest : str
        Of the models of `model_path`, see `models_sha256`.
    """
    from countermeasure.trials.score_files import read_record

    record = read_record(cm_score, score_sha256)
    if record is None:
        cli.log(
            f"warning: {cm_score}: has no record beside it, or one of another file, so it cannot be told whether these "
            f"are scores of the models of {model_path}"
        )
        return
    if record.models_sha256 != digest:
        of = f" (over {', '.join(map(str, record.inputs))})" if record.inputs else ""
        raise InputError(
            f"{cm_score}: scores of other models{of} than those of {model_path}; give the folder of those that gave "
            "the scores, or score the development set with these"
        )
    if record.split == "train":
        cli.log(
            f"warning: {cm_score}: scores of the training set, which the models know by heart; threshold and "
            "probabilities will be far too sure: take those of a development set"
        )
