"""Cepstra of each method, computed from blocks of frames.

The numbers are those of spafe 0.3.3 with 20 cepstra, no pre-emphasis, a Hamming window, 70 filters and an FFT of
1024 points (or the next power of two, for longer windows). spafe's own functions take 10 to 40 times as long, and
four of them fail on digital silence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate

import numpy as np

from countermeasure.errors import InputError
from countermeasure.features.spectra import Band, Block, Matrix, filter_bank
from countermeasure.features.types import CONSTANT_Q, N_CEPSTRA, N_FILTERS

_ROOT = -1 / 7  # exponent of msrcc and psrcc
_FLOOR = np.finfo(np.float64).eps  # replaces 0 before a logarithm or a root, as in spafe's zero_handling


def _floored(x: Matrix) -> Matrix:
    return x if x.all() else np.where(x == 0, _FLOOR, x)


@lru_cache(maxsize=32)
def _dct(n: int) -> Matrix:
    """Return the first 20 columns of the orthonormal DCT-II over `n` points, ``[n, 20]``."""
    k = np.arange(N_CEPSTRA)
    basis = np.cos(np.pi / n * np.outer(np.arange(n) + 0.5, k)) * np.sqrt(2 / n)
    basis[:, 0] = np.sqrt(1 / n)
    return basis


# -- cepstra of filter banks -------------------------------------------------------------------------


def _log_cepstra(bank: str, tilted: bool = False) -> Callable[[Block, Band], Matrix]:
    return lambda block, band: np.log(_floored(block.filtered(bank, band, tilted=tilted))) @ _dct(N_FILTERS)


def _equal_loudness(power: Matrix) -> Matrix:
    """Return the cube root of E(w), Hermansky's sensitivity of the ear, at w = the power of each filter.

    His w is a frequency; spafe passes powers, and so do these features.
    """
    squared = power * power
    sixth = squared * squared * squared  # a third of the time of **6
    weighted = (squared + 56.8e6) * squared * squared
    return np.cbrt(weighted / ((squared + 6.3e6) * (squared + 0.38e9) * (sixth + 9.58e26)))


def _bfcc(block: Block, band: Band) -> Matrix:
    return np.log(_floored(_equal_loudness(block.filtered("bark", band)))) @ _dct(N_FILTERS)


def _gfcc(block: Block, band: Band) -> Matrix:
    return np.cbrt(block.filtered("gammatone", band)) @ _dct(N_FILTERS)


def _msrcc(block: Block, band: Band) -> Matrix:
    return _floored(block.filled.filtered("mel", band)) ** _ROOT @ _dct(N_FILTERS)


def _psrcc(block: Block, band: Band) -> Matrix:
    # The last bit decides whether a phase is near 0° or 360°: NumPy's float64 FFT is the one of spafe.
    spectrum = np.fft.rfft(block.filled.windowed(np.float64))
    phase = np.arctan2(spectrum.imag.astype(block.dtype), spectrum.real.astype(block.dtype))
    phase += (phase < 0) * np.asarray(2 * np.pi, block.dtype)
    through = filter_bank("mel", block.n_fft, block.rate, band, block.dtype)(phase)
    in_degrees = through * (block.n_fft * 180 / np.pi)
    return _floored(in_degrees) ** _ROOT @ _dct(N_FILTERS)


# -- constant-Q cepstra ------------------------------------------------------------------------------


def _cqcc(block: Block, _: Band) -> Matrix:
    kernel = _constant_q(block.window.samples(block.rate)[0], block.n_fft, block.rate)
    transformed = block.windowed(np.float64)[:, : len(kernel)] @ kernel
    n_bins = kernel.shape[1] // 2
    power = transformed[:, :n_bins] ** 2 + transformed[:, n_bins:] ** 2
    return np.log(_floored(power)) @ _dct(n_bins)


@lru_cache(maxsize=8)
def _constant_q(length: int, n_fft: int, rate: int) -> Matrix:
    """Return the constant-Q transform of windowed frames as a matrix, ``[length, 2 n_bins]``, real parts first.

    The kernel of a bin is a windowed exponential of the length that its Q requires. Bins that need more than
    `n_fft` samples or lie above half the sampling rate are left out. Small values of the kernels' spectra are
    set to 0 (J. Brown and M. Puckette, JASA 92(5), 1992).
    """
    per_octave = CONSTANT_Q["bins_per_octave"]
    frequencies = CONSTANT_Q["f0_hz"] * 2 ** (np.arange(CONSTANT_Q["n_octaves"] * per_octave) / per_octave)
    frequencies = frequencies[frequencies <= rate / 2]
    lengths = np.ceil(rate / frequencies / (2 ** (1 / per_octave) - 1)).astype(int)
    fitting = lengths <= n_fft
    n_bins = np.count_nonzero(fitting)
    if n_bins < N_CEPSTRA:
        raise InputError(
            f"its sampling rate of {rate} Hz is too low for cqcc, whose lowest frequency is "
            f"{CONSTANT_Q['f0_hz']} Hz; use 430 Hz or more"
        )
    kernels = np.zeros((n_fft, n_bins), np.complex128)
    for k, (frequency, n) in enumerate(zip(frequencies[fitting], lengths[fitting], strict=True)):
        start = (n_fft - n) // 2
        kernels[start : start + n, k] = np.hamming(n) * np.exp(2j * np.pi * frequency / rate * np.arange(n)) / n
    spectra = np.fft.fft(kernels, axis=0)
    spectra[np.abs(spectra) <= CONSTANT_Q["spectral_threshold"]] = 0
    # By Parseval's theorem, Σ_f X(f) K*(f) / n_fft is a sum over the samples of the frame.
    kernel = np.fft.ifft(spectra, axis=0)[:length].conj()
    return np.hstack([kernel.real, kernel.imag])


# -- power-normalised cepstra ------------------------------------------------------------------------


def _pncc_rows(block: Block, band: Band) -> Matrix:
    return block.filtered("gammatone", band, np.float64)


def _pncc(power: Matrix) -> Matrix:
    """Return power-normalised cepstra of a whole recording from the powers of its filters, ``[n_frames, 70]``."""
    padded = np.pad(power, ((2, 2), (0, 0)))
    medium_time = _floored(np.sum([padded[shift : shift + len(power)] for shift in range(5)], axis=0) / 5)
    smoothed = power * (_noise_suppressed(medium_time) / medium_time @ _pncc_weights())
    # μ[t] = 0.999 μ[t−1] + 0.001 mean(T[t]) from μ[0] = 1e-4
    means = 0.001 * smoothed.mean(axis=1)
    means[0] = 1e-4
    level = np.fromiter(accumulate(means.tolist(), lambda before, mean: 0.999 * before + mean), float, len(means))
    return (smoothed / level[:, None]) ** (1 / 15) @ _dct(N_FILTERS)


def _noise_suppressed(power: Matrix) -> Matrix:
    """Return medium-time powers after asymmetric noise suppression with temporal masking, ``[n_frames, 70]``.

    Source: C. Kim and R. Stern, IEEE/ACM TASLP 2016, section III, with spafe's first frames.
    """
    envelope = _lower_envelope(power)
    excess = np.maximum(power - envelope, 0)
    masked = excess.copy()
    peak = excess[0]
    for t in range(1, len(excess)):
        faded = 0.85 * peak
        hidden = excess[t] < faded
        masked[t, hidden] = 0.2 * peak[hidden]
        peak = np.maximum(faded, excess[t])
    return np.where(power >= 2 * envelope, masked, _lower_envelope(excess))


def _lower_envelope(power: Matrix) -> Matrix:
    """Return a filter of the powers that rises slowly and falls fast, ``[n_frames, 70]``."""
    envelope = np.empty_like(power)
    # spafe's loop wraps around: before the first frame stands the last one, still 0, or 0.9 times the only one.
    before = np.zeros(N_FILTERS) if len(power) > 1 else 0.9 * power[0]
    for t, now in enumerate(power):
        slow = np.where(now >= before, 0.999, 0.5)
        before = envelope[t] = slow * before + (1 - slow) * now
    return envelope


@lru_cache(maxsize=1)
def _pncc_weights() -> Matrix:
    """Return the smoothing over ±4 filters as a matrix, ``[70, 70]``, with the edges of spafe."""
    weights = np.zeros((N_FILTERS, N_FILTERS))
    for filter_index in range(N_FILTERS):
        first, last = max(filter_index - 4, 1), min(filter_index + 4, N_FILTERS)
        weights[first:last, filter_index] = 1 / (last - first + 1)
    return weights


# -- linear prediction -------------------------------------------------------------------------------


def _lpcc(block: Block, _: Band) -> Matrix:
    return _prediction_cepstra(block.frames.astype(np.float64))  # without window function, as in spafe


def _plp(block: Block, band: Band) -> Matrix:
    return _perceptual_prediction(block.filtered("bark", band, np.float64), block.n_fft)


def _rplp(block: Block, band: Band) -> Matrix:
    return _perceptual_prediction(_rasta(block.filtered("bark", band, np.float64)), block.n_fft)


def _rasta(power: Matrix) -> Matrix:
    """Return powers after RASTA filtering along the filters, as in spafe, ``[n_frames, 70]``."""
    return np.exp(np.log(_floored(power)) @ _rasta_filter())


@lru_cache(maxsize=1)
def _rasta_filter() -> Matrix:
    """Return the matrix of y[i] = 0.94 y[i−1] + Σ_k (2 − k)/10 x[i−k], ``[70, 70]``, with y[0] to y[3] = 0."""
    numerator = np.array([2, 1, 0, -1, -2]) / 10
    matrix = np.zeros((N_FILTERS, N_FILTERS))
    for i in range(4, N_FILTERS):
        matrix[:, i] = 0.94 * matrix[:, i - 1]
        matrix[i - 4 : i + 1, i] += numerator[::-1]
    return matrix


def _perceptual_prediction(power: Matrix, n_fft: int) -> Matrix:
    half = np.abs(np.fft.rfft(_equal_loudness(power), n_fft)) / n_fft
    return _prediction_cepstra(np.hstack([half, half[:, -2:0:-1]]))  # the spectrum of a real row is symmetric


def _prediction_cepstra(x: Matrix) -> Matrix:
    """Return the cepstra of linear prediction of order 19 for each row, ``[n_rows, 20]``.

    As in spafe, the prediction error uses the autocorrelation at the *largest* lags, and the recursion from
    prediction to cepstra starts from 1 in every coefficient, which makes it linear. Without energy, all
    predictor coefficients are 0.
    """
    n = x.shape[1]
    near = np.stack([np.einsum("ij,ij->i", x[:, : n - lag], x[:, lag:]) for lag in range(N_CEPSTRA)], axis=1)
    far = np.stack([np.einsum("ij,ij->i", x[:, : j + 1], x[:, n - 1 - j :]) for j in range(N_CEPSTRA + 1)], axis=1)
    near[near[:, 0] == 0, 0] = 1
    lags = np.abs(np.subtract.outer(np.arange(N_CEPSTRA - 1), np.arange(N_CEPSTRA - 1)))
    predictor = np.ones((len(x), N_CEPSTRA))
    predictor[:, 1:] = -np.linalg.solve(near[:, lags], near[:, 1:, None])[:, :, 0]
    error = np.abs(far[:, 0] + np.einsum("ij,ij->i", far[:, 1:], predictor))
    cepstra = predictor @ _prediction_to_cepstra()
    cepstra[:, 0] = np.log(_floored(error))
    return cepstra


@lru_cache(maxsize=1)
def _prediction_to_cepstra() -> Matrix:
    """Return the matrix of c[m] = a[m] + Σ_{0<k<m} k/m a[m−k], ``[20, 20]``."""
    matrix = np.eye(N_CEPSTRA)
    for m in range(1, N_CEPSTRA):
        for k in range(1, m):
            matrix[m - k, m] += k / m
    return matrix


# -- the function of each method ---------------------------------------------------------------------

# Block of frames, band in Hz → cepstra, ``[n_frames, 20]``, or the input of a function of `OVER_TIME`.
KERNELS: dict[str, Callable[[Block, Band], Matrix]] = {
    "mfcc": _log_cepstra("mel"),
    # Tilted spectra for narrow filters at high frequencies, where speech has little energy.
    "imfcc": _log_cepstra("inverse mel", tilted=True),
    "lfcc": _log_cepstra("linear", tilted=True),
    "bfcc": _bfcc,
    "gfcc": _gfcc,
    "ngcc": _log_cepstra("gammatone"),
    "msrcc": _msrcc,
    "psrcc": _psrcc,
    "cqcc": _cqcc,
    "pncc": _pncc_rows,
    "lpcc": _lpcc,
    "plp": _plp,
    "rplp": _rplp,
}
# Methods whose cepstra depend on earlier frames: results of the kernel for a whole recording → its cepstra.
OVER_TIME: dict[str, Callable[[Matrix], Matrix]] = {"pncc": _pncc}
