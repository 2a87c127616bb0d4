"""The organisers' ``evaluate_tDCF_asvspoof19``: EER and min t-DCF of one score file; see also ``score_eval.py``."""

from __future__ import annotations

import os

import numpy as np

from countermeasure.errors import InputError
from tDCF_python import metrics
from tDCF_python.metrics import Floats


def evaluate_tDCF_asvspoof19(  # noqa: N802
    cm_score_file: str | os.PathLike[str], asv_score_file: str | os.PathLike[str], legacy: bool = True
) -> tuple[float, float]:
    """Print and return a countermeasure's EER, as a fraction, and min t-DCF.

    Parameters
    ----------
    cm_score_file : path
        Lines that end in the key (``bonafide`` or ``spoof``) and the score: ``LA_E_2834763 A11 spoof -3.123456``.
    asv_score_file : path
        Likewise, with the keys ``target``, ``nontarget`` and ``spoof``: ``A07 spoof -2.51``.
    legacy : bool
        Whether the t-DCF of 2019 is meant, not the revisited one.

    Raises
    ------
    InputError
        When a line has no such form, when a key does not occur, or as `metrics.tdcf` does.
    """
    curve = metrics.det_curve(*_scores(cm_score_file, "bonafide", "spoof"))
    asv = metrics.asv_rates(*_scores(asv_score_file, "target", "nontarget", "spoof"))
    eer, tdcf = metrics.eer_point(curve), metrics.min_cost(curve, metrics.tdcf(asv, legacy))
    for what, value in (
        ("ASV EER", f"{100 * asv.eer:.6f} % at threshold {asv.threshold:.6f}"),
        ("ASV P_fa", f"{100 * asv.p_fa:.6f} %"),
        ("ASV P_miss", f"{100 * asv.p_miss:.6f} %"),
        ("ASV P_miss,spoof", f"{100 * asv.p_miss_spoof:.6f} %"),
        ("CM EER", f"{100 * eer.value:.5f} % at threshold {eer.threshold:.6f}"),
        (f"min t-DCF ({'2019' if legacy else 'revisited'})", f"{tdcf.value:.6f} at threshold {tdcf.threshold:.6f}"),
    ):
        print(f"{what:<21} {value}")
    return eer.value, tdcf.value


def _scores(path: str | os.PathLike[str], *keys: str) -> list[Floats]:
    """Return the scores of each key's lines."""
    found: dict[str, list[float]] = {key: [] for key in keys}
    with open(path, encoding="utf-8") as lines:
        for number, fields in enumerate(map(str.split, lines), 1):
            try:
                *_, key, score = fields
                found[key].append(float(score))
            except (ValueError, KeyError):
                if fields:
                    raise InputError(
                        f"{path}:{number}: {' '.join(fields)[:80]!r}; a line ends in KEY SCORE here, "
                        "score_eval.py knows other forms"
                    ) from None
    for key, scores in found.items():
        if not scores:
            raise InputError(f"{path}: no {key} trial in it; error rates need all of {', '.join(keys)}")
    return [np.array(scores) for scores in found.values()]
