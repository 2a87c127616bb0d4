"""The organisers' evaluation of one score file under its name; ``score_eval.py`` reads more forms and tells more."""

from __future__ import annotations

import os

import numpy as np

from countermeasure.errors import InputError
from tDCF_python.eval_metrics import compute_eer, compute_tDCF, obtain_asv_error_rates
from tDCF_python.metrics import COSTS, Floats

_PRIORS = {"Pspoof": COSTS.p_spoof, "Ptar": COSTS.p_target, "Pnon": COSTS.p_nontarget}
LEGACY_COST_MODEL = {
    **_PRIORS,
    "Cmiss_asv": COSTS.c_miss,
    "Cfa_asv": COSTS.c_fa,
    "Cmiss_cm": COSTS.c_miss,
    "Cfa_cm": COSTS.c_fa,
}
COST_MODEL = {**_PRIORS, "Cmiss": COSTS.c_miss, "Cfa": COSTS.c_fa, "Cfa_spoof": COSTS.c_fa}


def evaluate_tDCF_asvspoof19(  # noqa: N802
    cm_score_file: str | os.PathLike[str], asv_score_file: str | os.PathLike[str], legacy: bool = True
) -> tuple[float, float]:
    """Print and return a countermeasure's EER and min t-DCF.

    Parameters
    ----------
    cm_score_file : path
        Lines that end in the key (``bonafide`` or ``spoof``) and the score: ``LA_E_2834763 A11 spoof -3.123456``.
    asv_score_file : path
        Likewise, with the keys ``target``, ``nontarget`` and ``spoof``: ``A07 spoof -2.51``.
    legacy : bool
        Whether the t-DCF of 2019 is meant, not the revisited one.

    Returns
    -------
    eer_cm, min_tDCF : float
        The EER is a fraction.

    Raises
    ------
    InputError
        When a line has no such form, or a key does not occur; with the rates of the metrics' own errors.
    """
    bonafide, spoof = _scores(cm_score_file, "bonafide", "spoof")
    targets, nontargets, spoofs_asv = _scores(asv_score_file, "target", "nontarget", "spoof")
    eer_asv, asv_threshold = compute_eer(targets, nontargets)
    p_fa, p_miss, p_miss_spoof, p_fa_spoof = obtain_asv_error_rates(targets, nontargets, spoofs_asv, asv_threshold)
    eer_cm, eer_threshold = compute_eer(bonafide, spoof)
    model, p_spoof = (LEGACY_COST_MODEL, p_miss_spoof) if legacy else (COST_MODEL, p_fa_spoof)
    tdcf, thresholds = compute_tDCF(bonafide, spoof, p_fa, p_miss, p_spoof, model)
    at = int(np.argmin(tdcf))
    for what, value in (
        ("ASV EER", f"{100 * eer_asv:.6f} % at threshold {asv_threshold:.6f}"),
        ("ASV P_fa", f"{100 * p_fa:.6f} %"),
        ("ASV P_miss", f"{100 * p_miss:.6f} %"),
        ("ASV P_miss,spoof", f"{100 * (p_miss_spoof or 0):.6f} %"),
        ("CM EER", f"{100 * eer_cm:.5f} % at threshold {eer_threshold:.6f}"),
        (f"min t-DCF ({'2019' if legacy else 'revisited'})", f"{tdcf[at]:.6f} at threshold {thresholds[at]:.6f}"),
    ):
        print(f"{what:<21} {value}")
    return eer_cm, float(tdcf[at])


def _scores(path: str | os.PathLike[str], *keys: str) -> list[Floats]:
    """Return the scores of each key's lines."""
    found: dict[str, list[str]] = {key: [] for key in keys}
    with open(path, encoding="utf-8") as lines:
        rows = [(number, fields) for number, line in enumerate(lines, 1) if (fields := line.split())]
    for number, fields in rows:
        if len(fields) < 2 or fields[-2] not in found:
            line = " ".join(fields)[:80]
            raise InputError(
                f"{path}:{number}: {line!r}; a line ends in KEY SCORE here, score_eval.py knows other forms"
            )
        found[fields[-2]].append(fields[-1])
    for key, words in found.items():
        if not words:
            raise InputError(f"{path}: no {key} trial in it; error rates need all of {', '.join(keys)}")
    try:
        return [np.array(words, np.float64) for words in found.values()]
    except ValueError as error:
        raise InputError(f"{path}: a score is no number ({error}); lines end in KEY SCORE") from None
