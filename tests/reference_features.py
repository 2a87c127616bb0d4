"""Feature values from spafe's own functions, and Δ by a loop over the frames, as the formula stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from spafe.features.bfcc import bfcc
from spafe.features.cqcc import cqcc
from spafe.features.gfcc import gfcc
from spafe.features.lfcc import lfcc
from spafe.features.lpc import lpcc
from spafe.features.mfcc import imfcc, mfcc
from spafe.features.msrcc import msrcc
from spafe.features.ngcc import ngcc
from spafe.features.pncc import pncc
from spafe.features.psrcc import psrcc
from spafe.features.rplp import plp, rplp
from spafe.utils.preprocessing import SlidingWindow

_CEPSTRAL: dict[str, Any] = {"num_ceps": 20, "nfilts": 70}
_PREDICTIVE: dict[str, Any] = {"order": 20, "nfilts": 70}
# Adding a feature type: its function and its own arguments here.
FUNCTIONS: dict[str, tuple[Callable[..., np.ndarray], dict[str, Any]]] = {
    "mfcc": (mfcc, _CEPSTRAL),
    "imfcc": (imfcc, _CEPSTRAL),
    "lfcc": (lfcc, _CEPSTRAL),
    "bfcc": (bfcc, _CEPSTRAL),
    "gfcc": (gfcc, _CEPSTRAL),
    "ngcc": (ngcc, _CEPSTRAL),
    "msrcc": (msrcc, _CEPSTRAL),
    "psrcc": (psrcc, _CEPSTRAL),
    "pncc": (pncc, _CEPSTRAL),
    "cqcc": (cqcc, {"num_ceps": 20}),
    "plp": (plp, _PREDICTIVE),
    "rplp": (rplp, _PREDICTIVE),
    "lpcc": (lpcc, {"order": 20}),
}


def reference(name: str, signal: np.ndarray, rate: int, **others: Any) -> np.ndarray:
    """Return a type's features as spafe has them, ``[n_frames, 60]``; `others` are further arguments of spafe's."""
    base, _, short = name.partition("-")
    window = SlidingWindow(0.025, 0.01, "hamming") if short else SlidingWindow(0.03, 0.015, "hamming")
    function, arguments = FUNCTIONS[base]
    signal = signal.astype(np.float64)
    if base in ("msrcc", "psrcc"):
        signal[signal == 0] = 1e-5
    if base != "lpcc":
        n_fft = 1024 if window.win_len * rate <= 1024 else 2048
        arguments = {**arguments, "nfft": n_fft, "low_freq": 0, "high_freq": rate / 2, **others}
    static = function(signal, fs=rate, pre_emph=False, window=window, **arguments)
    first = row_deltas(static)
    return np.hstack([static, first, row_deltas(first)])


def row_deltas(x: np.ndarray) -> np.ndarray:
    """Return Δ[t] = (x[t+1] − x[t−1] + 2 (x[t+2] − x[t−2])) / 10 with the edge frames repeated."""
    padded = np.pad(x, ((2, 2), (0, 0)), mode="edge")
    result = np.empty_like(x)
    for t in range(len(x)):
        result[t] = (padded[t + 3] - padded[t + 1] + 2 * (padded[t + 4] - padded[t])) / 10
    return result
