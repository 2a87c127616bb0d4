"""Calibrate models on the scores of a development set; see `gmm.calibration`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from countermeasure import cli, files, records
from countermeasure.errors import InputError
from countermeasure.evaluation.results import units_of
from countermeasure.gmm.calibration import FILE, Calibration, fit, logit, write
from countermeasure.gmm.models import model_files, read_pair
from countermeasure.stages import card
from countermeasure.trials.lines import LABELS
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import CmScores, ScoreRecord, read_cm_scores
from tDCF_python import intervals, metrics
from tDCF_python.evaluation import EER

_FEW = 30  # trials of a class; with fewer, figures are rough


class Calibrated(NamedTuple):
    """The result of a calibration; ``str()`` gives what ``gmm_calibrate.py`` prints.

    Attributes
    ----------
    calibration : Calibration
    cllr, calibrated_cllr : float
        Cost of the LLRs before and after calibration, in bits.
    """

    calibration: Calibration
    cllr: float
    calibrated_cllr: float

    def __str__(self) -> str:
        calibration = self.calibration
        eer = metrics.percent(calibration.eer, calibration.n_bonafide, calibration.n_spoof)
        return (
            f"threshold {calibration.threshold:.6f} ({calibration.origin})\n"
            f"calibrated LLR = {calibration.calibrated_llr}\n"
            f"EER {eer} ({calibration.interval}) on "
            f"{calibration.n_bonafide:,} bona fide and {calibration.n_spoof:,} spoofed trials; "
            f"C_llr {self.cllr:.4f}, calibrated {self.calibrated_cllr:.4f}"
        )


def calibrate(
    cm_score: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    prior: float | None = None,
    criterion: Literal["bayes", "eer"] | None = None,
    protocol: str | os.PathLike[str] | None = None,
) -> Calibrated:
    """Calibrate a folder's models on a score file; write the calibration beside them and update their card.

    Parameters
    ----------
    cm_score : path
        Score file of labelled trials that the models were not trained on.
    model_path : folder of the models that gave the scores
    prior : float or None
        Expected share of bona fide speech among the recordings to judge; None: 0.5.
    criterion : {'bayes', 'eer'} or None
        Where the threshold lies, see `Calibration`; None: 'bayes' if a prior is given, else 'eer'.
    protocol : path or None
        Protocol with the labels, for a score file without them.

    Raises
    ------
    InputError
        If the scores are blind, of one class, not finite, or not higher for bona fide speech; if the folder has no
        models, or the record beside the scores names other models.
    """
    criterion = criterion or ("eer" if prior is None else "bayes")
    prior = 0.5 if prior is None else prior
    if not 0 < prior < 1:
        raise InputError(f"--prior {prior}: must be a probability between 0 and 1, both excluded")
    pair = read_pair(*model_files(model_path))
    labels = {trial.utterance: trial for trial in read_protocol(protocol)} if protocol else None
    scores = read_cm_scores(cm_score, labels)
    record = scores.record
    _check_origin(record, scores.path, model_path, pair.sha256)
    calibration = _fitted(scores, prior, criterion, pair.sha256)
    if record and pair.record.columns is None:  # a fusion is judged by its base models
        calibration = replace(calibration, log_likelihoods=record.log_likelihoods)
    with files.only_run(model_path):
        write(model_path, calibration)
        card.write(model_path)
    bonafide, spoof = scores.classes
    if min(len(bonafide), len(spoof)) < _FEW:
        numbers = f"{len(bonafide)} bona fide and {len(spoof)} spoofed trials"
        cli.log(f"{scores.path}: {numbers} are few; threshold and EER are rough")
    if bonafide.min() > spoof.max():
        cli.log("the classes do not overlap: the steepness of the probabilities only reflects the number of trials")
    cli.log(f"{Path(model_path) / FILE}: written")
    slope, offset = calibration.slope, calibration.offset
    calibrated = metrics.cllr(slope * bonafide + offset, slope * spoof + offset)
    return Calibrated(calibration, metrics.cllr(bonafide, spoof), calibrated)


def _fitted(scores: CmScores, prior: float, criterion: Literal["bayes", "eer"], models_digest: str) -> Calibration:
    bonafide, spoof = scores.classes
    for label, of_class in zip(LABELS, (bonafide, spoof), strict=True):
        if not len(of_class):
            raise InputError(f"{scores.path}: no {label} trial in it; calibration needs both classes")
    try:
        slope, offset = fit(scores.scores, scores.bonafide)
    except InputError as error:
        raise InputError(f"{scores.path}: {error}") from None
    eer, eer_threshold = metrics.eer(bonafide, spoof)
    units = units_of(scores)
    interval = intervals.interval(intervals.influences(scores.scores, scores.bonafide, units, {})[EER])
    return Calibration(
        slope=slope,
        offset=offset,
        prior=prior,
        criterion=criterion,
        threshold=eer_threshold if criterion == "eer" else -(offset + logit(prior)) / slope,
        eer=eer,
        eer_low=interval.low,
        eer_high=interval.high,
        eer_over=units.over,
        n_bonafide=len(bonafide),
        n_spoof=len(spoof),
        score_file=records.text(Path(scores.path).name),
        score_sha256=scores.sha256,
        models_sha256=models_digest,
    )


def _check_origin(
    record: ScoreRecord | None, path: str, model_path: str | os.PathLike[str], models_digest: str
) -> None:
    """Refuse scores of other models than those with this checksum; warn if the scores have no record."""
    if record is None:
        cli.warn(f"{path}: no record beside it says which models gave these scores; make sure that {model_path} did")
    elif record.models_sha256 != models_digest:
        raise InputError(
            f"{path}: scores of other models than those of {model_path}; give the folder of the models that gave "
            "the scores, or score the development set with these"
        )
    elif record.split == "train":
        cli.warn(
            f"{path}: scores of the training set, which the models fit better than other data: threshold and "
            "probabilities will be wrong; use the scores of a development set"
        )
