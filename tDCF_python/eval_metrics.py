"""The organisers' function names, over the functions of `tDCF_python.metrics`.

Parameters and returned values are those that the evaluation tool of ASVspoof 2021 documents; the code was written from
the formulas in the papers that `tDCF_python.metrics` names. Scores are higher for bona fide speech (for speaker
verification: for the claimed speaker), rates are fractions. All raise `InputError` when a class is empty or a score is
not finite. The tool decides exact ties of small classes by the rounding of its floats; here the first of several equal
differences is taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from countermeasure.errors import InputError
from tDCF_python import metrics
from tDCF_python.metrics import Floats


def compute_det_curve(target_scores: npt.ArrayLike, nontarget_scores: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return the error rates after rejecting the first 0, 1, 2, … scores in ascending order.

    Parameters
    ----------
    target_scores : array_like, shape [n_target]
        Of bona fide trials, or of targets.
    nontarget_scores : array_like, shape [n_nontarget]
        Of spoofs, or of nontargets. At ties targets are rejected first.

    Returns
    -------
    frr, far : ndarray, shape [n_target + n_nontarget + 1]
        Fractions of rejected targets and of accepted nontargets.
    thresholds : ndarray, shape [n_target + n_nontarget + 1]
        The last rejected score; before the first, the lowest − 0.001.
    """
    curve = metrics.det_curve(target_scores, nontarget_scores)
    return curve.p_miss, curve.p_fa, curve.thresholds


def compute_eer(target_scores: npt.ArrayLike, nontarget_scores: npt.ArrayLike) -> tuple[float, float]:
    """Return the equal error rate, as a fraction, and its threshold; parameters are those of `compute_det_curve`."""
    return metrics.eer(target_scores, nontarget_scores)


def obtain_asv_error_rates(
    tar_asv: npt.ArrayLike, non_asv: npt.ArrayLike, spoof_asv: npt.ArrayLike, asv_threshold: float
) -> tuple[float, float, float | None, float | None]:
    """Return the error rates of a speaker verification system, which accepts scores at or above its threshold.

    Parameters
    ----------
    tar_asv, non_asv, spoof_asv : array_like
        Scores of targets, nontargets and spoofs.
    asv_threshold : float

    Returns
    -------
    Pfa_asv, Pmiss_asv : float
        Fractions of accepted nontargets and of rejected targets.
    Pmiss_spoof_asv, Pfa_spoof_asv : float or None
        Fractions of rejected and of accepted spoofs; None without any spoof. The tool of 2019 returned the
        first three values only, so code written for it takes ``obtain_asv_error_rates(...)[:3]``.
    """
    targets, nontargets = metrics.checked(tar_asv, "target"), metrics.checked(non_asv, "nontarget")
    p_fa, p_miss = float(np.mean(nontargets >= asv_threshold)), float(np.mean(targets < asv_threshold))
    if not np.size(spoof_asv):
        return p_fa, p_miss, None, None
    rejected = float(np.mean(metrics.checked(spoof_asv, "spoof") < asv_threshold))
    return p_fa, p_miss, rejected, 1 - rejected


def compute_tDCF(  # noqa: N802
    bonafide_score_cm: npt.ArrayLike,
    spoof_score_cm: npt.ArrayLike,
    Pfa_asv: float,
    Pmiss_asv: float,
    Pspoof_asv: float | None = None,
    cost_model: Mapping[str, float] | None = None,
    print_cost: bool = False,
    *,
    Pmiss_spoof_asv: float | None = None,
    Pfa_spoof_asv: float | None = None,
) -> tuple[Floats, Floats]:
    """Return the normalised t-DCF at every threshold of a countermeasure.

    Parameters
    ----------
    bonafide_score_cm, spoof_score_cm : array_like
    Pfa_asv, Pmiss_asv : float
        Of the speaker verification system.
    Pspoof_asv : float
        Its rate for spoofs, by place: the rejected fraction for the cost model of 2019, the accepted one
        for the revisited model. By name give one of the last two.
    cost_model : mapping from str to float
        ``Ptar``, ``Pnon``, ``Pspoof``, and the costs, whose keys decide the formulation: ``Cmiss_asv``,
        ``Cfa_asv``, ``Cmiss_cm``, ``Cfa_cm`` are those of 2019, ``Cmiss``, ``Cfa``, ``Cfa_spoof`` the
        revisited ones.
    print_cost : bool
        Print the coefficients.
    Pmiss_spoof_asv, Pfa_spoof_asv : float
        The rejected or the accepted fraction of spoofs, for either formulation.

    Returns
    -------
    tDCF_norm, CM_thresholds : ndarray, shape [n_bonafide + n_spoof + 1]

    Raises
    ------
    InputError
        Also when the cost model lacks a key or the rates leave the t-DCF undefined.
    """
    model = cost_model or {}
    legacy = "Cmiss_cm" in model
    if Pmiss_spoof_asv is not None:
        Pfa_spoof_asv = 1 - Pmiss_spoof_asv
    elif Pspoof_asv is not None:
        Pfa_spoof_asv = 1 - Pspoof_asv if legacy else Pspoof_asv
    if Pfa_spoof_asv is None:
        raise InputError("t-DCF needs the ASV system's rate of rejected or of accepted spoofs; give spoofs' ASV scores")
    try:
        p_tar, p_non, p_spoof = model["Ptar"], model["Pnon"], model["Pspoof"]
        if legacy:
            c0 = 0.0
            c1 = p_tar * (model["Cmiss_cm"] - model["Cmiss_asv"] * Pmiss_asv) - p_non * model["Cfa_asv"] * Pfa_asv
            c2 = model["Cfa_cm"] * p_spoof * Pfa_spoof_asv
        else:
            c0 = p_tar * model["Cmiss"] * Pmiss_asv + p_non * model["Cfa"] * Pfa_asv
            c1 = p_tar * model["Cmiss"] - c0
            c2 = p_spoof * model["Cfa_spoof"] * Pfa_spoof_asv
    except KeyError as error:
        raise InputError(f"the cost model lacks {error}; see the documentation of compute_tDCF for its keys") from None
    cost, curve = metrics.tandem_cost(c0, c1, c2), metrics.det_curve(bonafide_score_cm, spoof_score_cm)
    if print_cost:
        print(f"t-DCF = ({c0:.6f} + {c1:.6f} * P_miss + {c2:.6f} * P_fa) / {c0 + min(c1, c2):.6f}")
    return cost(curve.p_miss, curve.p_fa), curve.thresholds


compute_tDCF_legacy = compute_tDCF  # noqa: N816
