"""The stage that calibrates models on the scores of a development set; see `gmm.calibration`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from countermeasure import cli, files, records
from countermeasure.errors import InputError
from countermeasure.gmm.calibration import FILE, Calibration, fit, logit, models_sha256, write
from countermeasure.gmm.models import model_files, read_pair
from countermeasure.stages import card
from countermeasure.trials.lines import LABELS
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import CmScores, read_cm_scores, read_record
from tDCF_python import intervals, metrics
from tDCF_python.evaluation import EER

_FEW = 30  # trials of a class, with which figures are rough


def calibrate(
    cm_score: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    prior: float = 0.5,
    criterion: Literal["bayes", "eer"] = "bayes",
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
    target = Path(model_path) / FILE
    if files.is_no_file(target):
        raise InputError(f"{target}: is a folder, a pipe or a device; remove it")
    read_pair(*model_files(model_path))
    labels = {trial.utterance: trial for trial in read_protocol(protocol)} if protocol else None
    scores = read_cm_scores(cm_score, labels)
    digest = models_sha256(model_path)
    _check_origin(scores, model_path, digest)
    found = _fitted(scores, prior, criterion, digest)
    with files.only_run(model_path):
        write(model_path, found)
        card.write(model_path)
    _tell(found, scores)
    cli.log(f"{target}: written")


def _fitted(scores: CmScores, prior: float, criterion: Literal["bayes", "eer"], models_digest: str) -> Calibration:
    bonafide, spoof = scores.scores[scores.bonafide], scores.scores[~scores.bonafide]
    for label, of_class in zip(LABELS, (bonafide, spoof), strict=True):
        if not len(of_class):
            raise InputError(f"{scores.path}: no {label} trial in it; calibration needs both classes")
    try:
        slope, offset = fit(scores.scores, scores.bonafide)
    except InputError as error:
        raise InputError(f"{scores.path}: {error}") from None
    eer, eer_threshold = metrics.eer(bonafide, spoof)
    units = intervals.choose_units(scores.speakers, scores.utterances, scores.bonafide)
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


def _tell(found: Calibration, scores: CmScores) -> None:
    """Print a calibration, and say how far it is to be trusted."""
    bonafide, spoof = scores.scores[scores.bonafide], scores.scores[~scores.bonafide]
    numbers = f"{len(bonafide)} bona fide and {len(spoof)} spoofed trials"
    if min(len(bonafide), len(spoof)) < _FEW:
        cli.log(f"{scores.path}: {numbers} tell threshold and EER roughly")
    if bonafide.min() > spoof.max():
        cli.log("the classes do not overlap: how steep the probabilities are rests on the number of trials alone")
    calibrated = metrics.cllr(found.slope * bonafide + found.offset, found.slope * spoof + found.offset)
    print(
        f"threshold {found.threshold:.6f} ({found.criterion}, prior {found.prior:g})\n"
        f"calibrated LLR = {found.slope:.6g} * LLR {'-' if found.offset < 0 else '+'} {abs(found.offset):.6g}\n"
        f"EER {metrics.percent(found.eer, len(bonafide), len(spoof))} ({found.interval}) on {numbers}; "
        f"C_llr {metrics.cllr(bonafide, spoof):.4f}, calibrated {calibrated:.4f}"
    )


def _check_origin(scores: CmScores, model_path: str | os.PathLike[str], digest: str) -> None:
    """Refuse the scores of other models than those of this checksum; warn where the scores do not say."""
    record = read_record(scores.path, scores.sha256)
    if record is None:
        cli.warn(
            f"{scores.path}: has no record beside it, or one of another file, so it cannot be told whether "
            f"these are scores of the models of {model_path}"
        )
    elif record.models_sha256 != digest:
        of = f" (over {', '.join(record.inputs)})" if record.inputs else ""
        raise InputError(
            f"{scores.path}: scores of other models{of} than those of {model_path}; give the folder of those that gave "
            "the scores, or score the development set with these"
        )
    elif record.split == "train":
        cli.warn(
            f"{scores.path}: scores of the training set; the models fit these better than any others, so "
            "threshold and probabilities will be far too sure: take those of a development set"
        )
