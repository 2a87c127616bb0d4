"""Equal error rate, tandem detection cost and further metrics of anti-spoofing scores.

Written from the formulas of T. Kinnunen et al., "t-DCF: a detection cost function for the tandem
assessment of spoofing countermeasures and automatic speaker verification", Odyssey 2018, and
"Tandem assessment of spoofing countermeasures and automatic speaker verification: fundamentals",
IEEE/ACM TASLP 28, 2020.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tDCF_python.metrics import actual_dcf, asv_rates, cllr, det_curve, eer, min_tdcf

__all__ = ["actual_dcf", "asv_rates", "cllr", "det_curve", "eer", "min_tdcf"]


def __getattr__(name: str) -> Any:
    """Import the metrics when they are asked for."""
    if name in __all__:
        return getattr(importlib.import_module("tDCF_python.metrics"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
