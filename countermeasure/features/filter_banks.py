"""Filter banks as matrices, with the numbers of spafe 0.3.3.

They are not imported from `spafe.fbanks` because that takes about a second, longer than scoring a recording, and
because spafe's triangles are only correct for the whole band (see `weights`). The tests compare them with spafe.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from countermeasure.features.types import N_FILTERS

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

# Auditory filters (M. Slaney, An efficient implementation of the Patterson-Holdsworth auditory filter bank, 1993).
_EAR_Q = 9.26449
_NARROWEST = 24.7  # Hz


def weights(kind: str, n_fft: int, rate: int, low: float, high: float) -> Matrix:
    """Return the filters of a band, ``[n_fft / 2 + 1, 70]``.

    Parameters
    ----------
    kind : {'mel', 'inverse mel', 'linear', 'bark', 'gammatone'}
    n_fft : int
        Even.
    rate : int
        Sampling rate in Hz.
    low, high : float
        Band edges in Hz, at most half the sampling rate.

    Notes
    -----
    From 0 Hz to half the sampling rate, these are spafe's filters. In a narrower band, spafe's triangles are
    misplaced: it labels the bins of the whole spectrum with the frequencies of the band
    (``linspace(low_freq, high_freq, nfft // 2 + 1)``), so that its linear filters are the same for every band.
    Here each filter is at its frequencies in Hz.
    """
    return _KINDS[kind](n_fft, rate, low, high)


def _triangles(edges: Vector, frequency: Vector) -> Matrix:
    """Return triangles that rise from one edge in Hz to the next and fall to the one after it."""
    frequency = frequency[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    return np.maximum(np.minimum((frequency - lower) / (centre - lower), (upper - frequency) / (upper - centre)), 0)


def _bins(n_fft: int, rate: int) -> Vector:
    return np.linspace(0, rate / 2, n_fft // 2 + 1)


def _linear(n_fft: int, rate: int, low: float, high: float) -> Matrix:
    return _triangles(np.linspace(low, high, N_FILTERS + 2), _bins(n_fft, rate))


def _mel_edges(low: float, high: float) -> Vector:
    lowest, highest = 2595 * np.log10(1 + np.array([low, high]) / 700)
    mel = lowest + (highest - lowest) / (N_FILTERS + 1) * np.arange(N_FILTERS + 2)
    return 700 * (10 ** (mel / 2595) - 1)


def _mel(n_fft: int, rate: int, low: float, high: float) -> Matrix:
    return _triangles(_mel_edges(low, high), _bins(n_fft, rate))


def _inverse_mel(n_fft: int, rate: int, low: float, high: float) -> Matrix:
    """Return mel filters mirrored about the middle of the band: f becomes low + high - f."""
    mirrored = _bins(n_fft, rate)[::-1] + (low + high - rate / 2)
    return _triangles(_mel_edges(low, high), mirrored)


def _bark(n_fft: int, rate: int, low: float, high: float) -> Matrix:
    """Return Hermansky's critical bands: flat over one Bark, 25 dB per Bark below it, 10 dB above."""
    lowest, highest = 6 * np.arcsinh(np.array([low, high]) / 600)
    centres = np.linspace(lowest, highest, N_FILTERS)
    bins = np.arange(n_fft // 2 + 1)
    distance = (6 * np.arcsinh(bins * rate / (n_fft + 1) / 600))[:, None] - centres
    weights = np.minimum(10 ** np.minimum(2.5 * (distance + 0.5), 0), 10 ** np.minimum(0.5 - distance, 0))
    weights[(distance < -1.3) | (distance > 2.5)] = 0
    # As in spafe, from the bin of the first centre up to that of the last one.
    first, end = ((n_fft + 1) * (600 * np.sinh(centres[[0, -1]] / 6) / rate)).astype(int)
    weights[:first] = 0
    weights[end:] = 0
    return weights


def _gammatone(n_fft: int, rate: int, low: float, high: float) -> Matrix:
    """Return the magnitude responses of gammatone filters of order 4, each with a peak of 1."""
    offset = _EAR_Q * _NARROWEST
    step = np.log(low + offset) - np.log(high + offset)
    centres = ((high + offset) * np.exp(np.arange(1, N_FILTERS + 1) / N_FILTERS * step) - offset)[::-1]
    bandwidth = 1.019 * 2 * np.pi * ((centres / _EAR_Q) ** 4 + _NARROWEST**4) ** (1 / 4)
    angle = 2 * np.pi * centres / rate
    decay = np.exp(-bandwidth / rate)
    pole = np.exp(1j * angle) * decay
    around = np.exp(2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft)[:, None]
    response = np.abs((around - pole) * (around - pole.conj())) ** -4.0
    large, small = np.sqrt(3 + 2**1.5), np.sqrt(3 - 2**1.5)
    for root in (large, -large, small, -small):
        response *= np.abs(around - (np.cos(angle) + root * np.sin(angle)) * decay)
    return response / response.max(axis=0)


_KINDS: dict[str, Callable[[int, int, float, float], Matrix]] = {
    "mel": _mel,
    "inverse mel": _inverse_mel,
    "linear": _linear,
    "bark": _bark,
    "gammatone": _gammatone,
}
