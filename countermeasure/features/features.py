"""Features: how each type is computed.

Numbers are those of spafe 0.3.3's functions called with 20 cepstra, no pre-emphasis, a Hamming
window, 70 filters from 0 Hz to half the sampling rate and an FFT of 1024 points (the next power of
two that holds the window, where 1024 does not), followed by their Δ and ΔΔ. Which types there are
is said in `feature_types`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from countermeasure.errors import InputError
from countermeasure.features.feature_types import (
    DTYPES,
    N_CEPSTRA,
    N_FILTERS,
    FeatureType,
    Window,
    describe,
    get,
    is_padded,
    names,
    settings,
    window,
)
from countermeasure.features.filter_banks import constant_q, filter_bank
from countermeasure.features.spectra import FRAMES_PER_BLOCK, Block, blocks, tilt
from countermeasure.speech.silence import Meter, get_silence

__all__ = ["DTYPES", "deltas", "describe", "extract", "extract_pieces", "is_padded", "names", "settings", "window"]

ROOT = -1 / 7  # of msrcc and psrcc

# What stands for an exact 0 before a logarithm or a root; spafe's zero_handling.
_FLOOR = np.finfo(np.float64).eps

# Frames of a long recording that are computed at once. Whole blocks, and so is what is repeated at their
# edges for the sake of Δ and ΔΔ: every block is then the one that it is in the whole recording.
PIECE = 100 * FRAMES_PER_BLOCK
_CONTEXT = FRAMES_PER_BLOCK

Matrix = NDArray[np.float64]


# -- features of a recording --------------------------------------------------------------------------


def extract(
    signal: NDArray[np.floating], rate: int, names: Iterable[str], dtype: DTypeLike = "float32"
) -> dict[str, NDArray[np.floating]]:
    """Compute feature types of one recording; types of one window share its spectra.

    Parameters
    ----------
    signal : array [n_samples]
        In [-1, 1); at least one sample.
    rate : int
        Sampling rate in Hz.
    names : iterable of str
    dtype : {'float32', 'float64'}
        Of the result, and of the spectra of those types that lose nothing by float32.

    Returns
    -------
    dict of str to array
        ``[n_frames, 60]`` (20 cepstra, 20 Δ, 20 ΔΔ); for ``silence`` ``[1, 2]``. What is computed
        of a type does not depend on the other types of the call.

    Raises
    ------
    InputError
        When there is no such type, when the rate is too low for it, and when the signal is so large that
        its features are not finite.
    """
    result: dict[str, NDArray[np.floating]] = {}
    by_window: dict[Window | None, list[FeatureType]] = {}
    for name in names:
        result[name] = np.empty(0)  # the caller's order
        entry = get(name)
        by_window.setdefault(entry.window, []).append(entry)
    for shared_window, entries in by_window.items():
        if shared_window is None:
            found = {entry.name: get_silence(signal, rate)[None].astype(dtype) for entry in entries}
        else:
            found = _frame_level(signal, rate, shared_window, entries, np.dtype(dtype))
        result.update(found)
    for name, feature in result.items():
        if not np.isfinite(feature).all():
            raise InputError(f"its {name} features are not finite: its samples are too large; expected -1 to 1")
    return result


def extract_pieces(
    pieces: Iterable[NDArray[np.floating]], rate: int, names: Sequence[str], dtype: DTypeLike = "float32"
) -> Iterator[dict[str, NDArray[np.floating]]]:
    """Compute feature types of one window of a recording that comes in pieces, some frames at a time.

    Concatenated, they are what `extract` gives for the whole recording. A long recording takes no more memory
    than a short one, unless a type is among them that must see the whole: ``pncc``.

    Parameters
    ----------
    pieces : iterable of array [n]
        In [-1, 1); at least one sample in all.
    rate, names, dtype
        As for `extract`.

    Yields
    ------
    dict of str to array
        ``[n_frames, 60]`` each, with as many frames for each type; ``silence`` is in the last one, ``[1, 2]``.
    """
    framed = [name for name in names if window(name)]
    if len(framed) == len(names):
        yield from _extract_framed(pieces, rate, framed, dtype)
        return
    meter = Meter()

    def watched() -> Iterator[NDArray[np.floating]]:
        for piece in pieces:
            meter.add(piece)
            yield piece

    last: dict[str, NDArray[np.floating]] = {}
    if framed:
        for found in _extract_framed(watched(), rate, framed, dtype):
            if last:
                yield last
            last = found
    else:
        for _ in watched():
            pass
    silence = meter.result()[None].astype(dtype)
    yield {**last, **{name: silence for name in names if name not in framed}}


def _extract_framed(
    pieces: Iterable[NDArray[np.floating]], rate: int, names: Sequence[str], dtype: DTypeLike
) -> Iterator[dict[str, NDArray[np.floating]]]:
    if any(get(name).over_time for name in names):
        yield extract(np.concatenate(list(pieces)), rate, names, dtype)
        return
    (shared_window,) = {shared for name in names if (shared := window(name))}
    _check_rate(rate, shared_window)
    length, hop = shared_window.samples(rate)
    held: list[NDArray[np.floating]] = []
    lead = 0  # frames that are there for the sake of those after them
    for piece in pieces:
        held.append(piece)
        n_frames = lead + PIECE + _CONTEXT
        n_samples = (n_frames - 1) * hop + length
        if sum(map(len, held)) < n_samples:
            continue
        signal = np.concatenate(held)
        while len(signal) >= n_samples:
            found = extract(signal[:n_samples], rate, names, dtype)
            yield {name: feature[lead : lead + PIECE] for name, feature in found.items()}
            signal = signal[(lead + PIECE - _CONTEXT) * hop :]
            lead = _CONTEXT
            n_samples = (lead + PIECE + _CONTEXT - 1) * hop + length
        held = [signal]
    found = extract(np.concatenate(held), rate, names, dtype)
    yield {name: feature[lead:] for name, feature in found.items()}


def _frame_level(
    signal: NDArray[np.floating], rate: int, shared_window: Window, entries: Sequence[FeatureType], dtype: np.dtype
) -> dict[str, NDArray[np.floating]]:
    _check_rate(rate, shared_window)
    rows: dict[str, list[Matrix]] = {entry.name: [] for entry in entries}
    with np.errstate(over="ignore", invalid="ignore"):  # `extract` looks at what comes out
        for block in blocks(signal, rate, shared_window, dtype):
            for entry in entries:
                if entry.cepstra:
                    rows[entry.name].append(_function(entry.cepstra)(block))
        result = {}
        for entry in entries:
            static = np.concatenate(rows[entry.name])
            result[entry.name] = _with_deltas(_function(entry.over_time)(static) if entry.over_time else static, dtype)
    return result


def _function(name: str) -> Callable[[Any], Matrix]:
    return globals()[name]  # as the registry has it


def _check_rate(rate: int, shared_window: Window) -> None:
    if shared_window.samples(rate)[1] < 1:
        raise InputError(f"its sampling rate of {rate} Hz is too low for frames of {shared_window.length} s")


def deltas(x: Matrix) -> Matrix:
    """Return the regression over ±2 frames, ``[n_frames, k]``, edge frames repeated.

    Δ[t] = (x[t+1] − x[t−1] + 2 (x[t+2] − x[t−2])) / 10
    """
    x = np.concatenate([x[:1], x[:1], x, x[-1:], x[-1:]])
    return (x[3:-1] - x[1:-3] + 2 * (x[4:] - x[:-4])) / 10


def _with_deltas(static: Matrix, dtype: np.dtype) -> NDArray[np.floating]:
    first = deltas(static)
    feature = np.empty((len(static), 3 * N_CEPSTRA), dtype)
    np.concatenate([static, first, deltas(first)], axis=1, out=feature, casting="same_kind")
    return feature


# -- matrices, made once a process -------------------------------------------------------------------


class _FilterBank:
    """Filters as a matrix, in groups that pass over the frequencies at which all their filters are 0.

    Parameters
    ----------
    weights : array [n_fft / 2 + 1, 70]
    dtype : dtype
        Of the spectra that will be filtered.
    """

    def __init__(self, weights: Matrix, dtype: np.dtype):
        self._parts = []
        n_groups = 4 if np.mean(weights == 0) > 0.5 else 1
        for group in np.array_split(weights, n_groups, axis=1):
            used = np.flatnonzero(group.any(axis=1))
            frequencies = slice(used[0], used[-1] + 1)
            self._parts.append((frequencies, np.ascontiguousarray(group[frequencies], dtype)))

    def __call__(self, spectra: NDArray[np.floating]) -> Matrix:
        """Filter spectra ``[n_frames, n_fft / 2 + 1]``; gives ``[n_frames, 70]``.

        What follows is float64: it is small, and the differences of cepstra (Δ) need it.
        """
        filtered = [spectra[:, frequencies] @ group for frequencies, group in self._parts]
        return np.concatenate(filtered, axis=1, dtype=np.float64)


@lru_cache(maxsize=32)
def _filter_bank(kind: str, n_fft: int, rate: int, dtype: np.dtype, tilted: bool = False) -> _FilterBank:
    """Return the filter bank of a kind, divided by `n_fft`, and by the tilt of spectra that have one."""
    weights = filter_bank(kind, N_FILTERS, n_fft, rate) / n_fft
    if tilted:
        weights /= tilt(n_fft)[:, None]
    return _FilterBank(weights, dtype)


@lru_cache(maxsize=32)
def _dct(n: int) -> Matrix:
    """Return the first 20 columns of the orthonormal DCT-II over `n` points, ``[n, 20]``."""
    k = np.arange(N_CEPSTRA)
    basis = np.cos(np.pi / n * np.outer(np.arange(n) + 0.5, k)) * np.sqrt(2 / n)
    basis[:, 0] = np.sqrt(1 / n)
    return basis


@lru_cache(maxsize=32)
def _constant_q_kernel(shared_window: Window, rate: int) -> Matrix:
    """Return the constant-Q transform as a matrix, ``[length, 2 n_bins]``, real parts first."""
    kernel = constant_q(shared_window.samples(rate)[0], shared_window.n_fft(rate), rate)
    return np.hstack([kernel.real, kernel.imag])


# -- what the types are made of ----------------------------------------------------------------------


def _floored(x: Matrix) -> Matrix:
    return x if x.all() else np.where(x == 0, _FLOOR, x)


def _filtered(
    block: Block, bank: str, dtype: DTypeLike | None = None, filled: bool = False, tilted: bool = False
) -> Matrix:
    """Return the power that each filter lets through, ``[n_frames, 70]``."""
    power = block.power(dtype, filled, tilted)
    return _filter_bank(bank, block.n_fft, block.rate, power.dtype, tilted)(power)


def _log_cepstra(bank: str, tilted: bool = False) -> Callable[[Block], Matrix]:
    return lambda block: np.log(_floored(_filtered(block, bank, tilted=tilted))) @ _dct(N_FILTERS)


_mfcc = _log_cepstra("mel")
_ngcc = _log_cepstra("gammatone")
# Tilted spectra for the types with narrow filters at high frequencies, where speech has little energy.
_imfcc = _log_cepstra("inverse mel", tilted=True)
_lfcc = _log_cepstra("linear", tilted=True)


def _equal_loudness(power: Matrix) -> Matrix:
    """Return Bark powers weighted as the ear does and compressed: the cube root of spafe's E(w)."""
    squared = power * power
    cubed = squared * squared * squared  # a third of the time of **3
    weighted = (squared + 56.8e6) * squared * squared
    return np.cbrt(weighted / ((squared + 6.3e6) * (squared + 0.38e9) * (cubed + 9.58e26)))


def _bfcc(block: Block) -> Matrix:
    return np.log(_floored(_equal_loudness(_filtered(block, "bark")))) @ _dct(N_FILTERS)


def _gfcc(block: Block) -> Matrix:
    return np.cbrt(_filtered(block, "gammatone")) @ _dct(N_FILTERS)


def _msrcc(block: Block) -> Matrix:
    return _floored(_filtered(block, "mel", filled=True)) ** ROOT @ _dct(N_FILTERS)


def _psrcc(block: Block) -> Matrix:
    # A phase near 0° or 360° falls to either side by the last bit: the spectrum must be spafe's own.
    spectrum = block.spectrum(filled=True)
    phase = np.arctan2(spectrum.imag.astype(block.dtype), spectrum.real.astype(block.dtype))
    phase += (phase < 0) * np.asarray(2 * np.pi, block.dtype)
    through = _filter_bank("mel", block.n_fft, block.rate, block.dtype)(phase)
    in_degrees = through * (block.n_fft * 180 / np.pi)
    return _floored(in_degrees) ** ROOT @ _dct(N_FILTERS)


def _cqcc(block: Block) -> Matrix:
    kernel = _constant_q_kernel(block.window, block.rate)
    transformed = block.windowed(np.float64)[:, : len(kernel)] @ kernel
    n_bins = transformed.shape[1] // 2
    power = transformed[:, :n_bins] ** 2 + transformed[:, n_bins:] ** 2
    # spafe resamples the frames to as many as there are, which changes nothing.
    return np.log(_floored(power)) @ _dct(n_bins)


def _pncc_filtered(block: Block) -> Matrix:
    return _filtered(block, "gammatone", np.float64)


def _pncc(power: Matrix) -> Matrix:
    """Return power-normalised cepstra of a whole recording from its filters' powers, ``[n_frames, 70]``."""
    medium_time = _floored(_moving_sum(power, 2) / 5)
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
    """Return what follows the powers slowly upwards and fast downwards, ``[n_frames, 70]``."""
    envelope = np.empty_like(power)
    # spafe goes over the first frame as over the others, and what is before it is the last frame's place, still 0,
    # or, where there is one frame only, 0.9 of this.
    before = np.zeros_like(power[0]) if len(power) > 1 else 0.9 * power[0]
    for t, now in enumerate(power):
        slow = np.where(now >= before, 0.999, 0.5)
        before = envelope[t] = slow * before + (1 - slow) * now
    return envelope


def _moving_sum(x: Matrix, reach: int) -> Matrix:
    """Return the sums over ±`reach` rows; there is nothing beyond the edges."""
    padded = np.pad(x, ((reach, reach), (0, 0)))
    return np.sum([padded[shift : shift + len(x)] for shift in range(2 * reach + 1)], axis=0)


@lru_cache(maxsize=1)
def _pncc_weights(reach: int = 4) -> Matrix:
    """Return the smoothing over neighbouring filters as a matrix, ``[70, 70]``, with spafe's edges."""
    weights = np.zeros((N_FILTERS, N_FILTERS))
    for filter_index in range(N_FILTERS):
        first, last = max(filter_index - reach, 1), min(filter_index + reach, N_FILTERS)
        weights[first:last, filter_index] = 1 / (last - first + 1)
    return weights


def _lpcc(block: Block) -> Matrix:
    return _prediction_cepstra(block.plain())  # spafe leaves the window function out


def _plp(block: Block) -> Matrix:
    return _perceptual_prediction(_filtered(block, "bark", np.float64), block.n_fft)


def _rplp(block: Block) -> Matrix:
    return _perceptual_prediction(_rasta(_filtered(block, "bark", np.float64)), block.n_fft)


def _rasta(power: Matrix) -> Matrix:
    """Return RASTA-filtered powers, ``[n_frames, 70]``, along the filters as spafe does."""
    return np.exp(np.log(_floored(power)) @ _rasta_filter())


@lru_cache(maxsize=1)
def _rasta_filter() -> Matrix:
    """Return RASTA filtering as a matrix, ``[70, 70]``: y[i] = 0.94 y[i−1] + Σ_k (2 − k)/10 x[i−k].

    The first four outputs are set to 0, and so they are for those that follow.
    """
    numerator = np.array([2, 1, 0, -1, -2]) / 10
    matrix = np.zeros((N_FILTERS, N_FILTERS))
    for i in range(4, N_FILTERS):
        matrix[:, i] = 0.94 * matrix[:, i - 1]
        matrix[i - 4 : i + 1, i] += numerator[::-1]
    return matrix


def _perceptual_prediction(power: Matrix, n_fft: int) -> Matrix:
    half = np.abs(np.fft.rfft(_equal_loudness(power), n_fft)) / n_fft
    return _prediction_cepstra(np.hstack([half, half[:, -2:0:-1]]))  # |ifft| of a real row is even


def _prediction_cepstra(x: Matrix) -> Matrix:
    """Return the cepstra of linear prediction of order 19 for each row, ``[n_rows, 20]``.

    As spafe computes them: the prediction error is taken with the autocorrelation at the *largest*
    lags, and the recursion from prediction to cepstra starts from 1 in every coefficient, which
    makes it linear. A row without energy predicts nothing.
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
