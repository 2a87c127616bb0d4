"""The evaluation of a countermeasure as a function: all figures of one set of scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy.typing as npt

from countermeasure.errors import InputError
from tDCF_python import metrics
from tDCF_python.metrics import AsvRates, LinearCost, Point

EER = "eer"
MIN_TDCF_2019 = "min_tdcf_2019"
MIN_TDCF_REVISITED = "min_tdcf_revisited"
MIN_DCF = "min_dcf"


class Evaluation(NamedTuple):
    """The figures of one set of scores; rates are fractions, costs normalised."""

    eer: Point
    min_tdcf_2019: Point | None  # None without a verification system
    min_tdcf_revisited: Point | None
    min_dcf: Point
    actual_dcf: float  # with the scores taken as log-likelihood ratios
    cllr: float  # cost of log-likelihood ratios, in bits


def tdcf_name(legacy: bool) -> str:
    """Return the name of the attribute that holds a formulation's minimum."""
    return MIN_TDCF_2019 if legacy else MIN_TDCF_REVISITED


def cost_functions(asv: AsvRates | None) -> dict[str, LinearCost]:
    """Return the costs that have a minimum in `Evaluation`, by its name there.

    Raises
    ------
    InputError
        When the verification system's rates leave the t-DCF undefined.
    """
    functions = {MIN_DCF: metrics.dcf()}
    if asv is not None:
        functions |= {tdcf_name(legacy): metrics.tdcf(asv, legacy) for legacy in (True, False)}
    return functions


def tdcf_problem(asv: AsvRates) -> str | None:
    """Return why there is no t-DCF with a verification system's rates; None if there is one."""
    try:
        cost_functions(asv)
    except InputError as error:
        return str(error)
    return None


def evaluate(bonafide_scores: npt.ArrayLike, spoof_scores: npt.ArrayLike, asv: AsvRates | None = None) -> Evaluation:
    """Return all figures of a countermeasure's scores.

    Parameters
    ----------
    bonafide_scores : array_like, shape [n_bonafide]
        Higher = more bona fide.
    spoof_scores : array_like, shape [n_spoof]
    asv : AsvRates, optional
        Error rates of the verification system; without them there is no t-DCF.

    Raises
    ------
    InputError
        When a class is empty, a score is not finite, or the verification system's rates leave the t-DCF
        undefined.
    """
    curve = metrics.det_curve(bonafide_scores, spoof_scores)
    minima = {name: metrics.min_cost(curve, cost) for name, cost in cost_functions(asv).items()}
    return Evaluation(
        metrics.eer_point(curve),
        minima.get(MIN_TDCF_2019),
        minima.get(MIN_TDCF_REVISITED),
        minima[MIN_DCF],
        metrics.actual_dcf(bonafide_scores, spoof_scores),
        metrics.cllr(bonafide_scores, spoof_scores),
    )
