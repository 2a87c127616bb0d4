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
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from countermeasure.errors import InputError
from countermeasure.features.feature_types import (
    CONSTANT_Q,
    DTYPES,
    N_CEPSTRA,
    N_FILTERS,
    FeatureType,
    Window,
    get,
    is_name,
    is_padded,
    names,
    settings,
    window,
)
from countermeasure.features.filter_banks import constant_q, filter_bank
from countermeasure.features.spectra import FRAMES_PER_BLOCK, Block, blocks, tilt
from countermeasure.speech.silence import Meter

__all__ = [
    "DTYPES",
    "deltas",
    "extract",
    "extract_pieces",
    "is_name",
    "is_padded",
    "names",
    "settings",
    "window",
]

ROOT = -1 / 7  # of msrcc and psrcc

# What stands for an exact 0 before a logarithm or a root; spafe's zero_handling.
_FLOOR = np.finfo(np.float64).eps

# Frames of a long recording that are computed at once: whole blocks, each of them the one that it is in the
# whole recording.
PIECE = 100 * FRAMES_PER_BLOCK
_REACH = 4  # frames to either side on which ΔΔ depends

Matrix = NDArray[np.float64]
Band = tuple[float, float]
_Key = tuple[str, float, float]
_Array = TypeVar("_Array", bound=NDArray[Any])


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
    by_window: dict[Window | None, list[str]] = {}
    for name in names:
        result[name] = np.empty(0)  # the caller's order
        by_window.setdefault(window(name), []).append(name)
    for together in by_window.values():
        pieces = list(extract_pieces([signal], rate, together, dtype))
        for name in together:
            result[name] = _joined([piece[name] for piece in pieces])
    return result


def extract_pieces(
    pieces: Iterable[NDArray[np.floating]], rate: int, names: Sequence[str], dtype: DTypeLike = "float32"
) -> Iterator[dict[str, NDArray[np.floating]]]:
    """Compute feature types of one window of a recording that comes in pieces, some frames at a time.

    Concatenated, they are what `extract` gives for the whole recording. A long recording takes no more memory
    than a short one, unless a type is among them that must see the whole: ``pncc`` and types with ``-cmvn``.
    Of such, 20 to 70 numbers a frame are kept, and all frames come at once.

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
    entries = [entry for entry in map(get, names) if entry.window]
    if len(entries) == len(names):
        yield from _extract_framed(pieces, rate, entries, np.dtype(dtype))
        return
    meter = Meter()

    def watched() -> Iterator[NDArray[np.floating]]:
        for piece in pieces:
            meter.add(piece)
            yield piece

    last: dict[str, NDArray[np.floating]] = {}
    if entries:
        for found in _extract_framed(watched(), rate, entries, np.dtype(dtype)):
            if last:
                yield last
            last = found
    else:
        for _ in watched():
            pass
    silence = meter.result()[None].astype(dtype)
    yield {**last, **{name: silence for name in names if not window(name)}}


def _extract_framed(
    pieces: Iterable[NDArray[np.floating]], rate: int, entries: Sequence[FeatureType], dtype: np.dtype
) -> Iterator[dict[str, NDArray[np.floating]]]:
    rows = _rows(pieces, rate, entries, dtype)
    if any(entry.cmvn or entry.method in _OVER_TIME for entry in entries):
        parts = list(rows)
        rows = iter([{key: _joined([part[key] for part in parts]) for key in parts[0]}])
    context: dict[str, Matrix] = {}
    for found, is_last in _and_whether_last(rows):
        features = {}
        for entry in entries:
            cepstra = _cepstra(found[_key(entry, rate)], entry)
            # What Δ and ΔΔ of a frame need: so many frames before it and behind it.
            lead = _REACH if entry.name in context else 0
            cepstra = np.concatenate([context[entry.name], cepstra]) if lead else cepstra
            end = len(cepstra) if is_last else len(cepstra) - _REACH
            context[entry.name] = cepstra[-2 * _REACH :]
            feature = _with_deltas(cepstra, dtype)[lead:end]
            if not np.isfinite(feature).all():
                raise InputError(
                    f"its {entry.name} features are not finite: its samples are too large; expected -1 to 1"
                )
            features[entry.name] = feature
        yield features


def _and_whether_last(rows: Iterator[dict[_Key, Matrix]]) -> Iterator[tuple[dict[_Key, Matrix], bool]]:
    before = next(rows)
    for now in rows:
        yield before, False
        before = now
    yield before, True


def _key(entry: FeatureType, rate: int) -> _Key:
    """Return what determines the rows of a type's method; types that share it differ in what follows."""
    return entry.method, *entry.limits(rate)


def _rows(
    pieces: Iterable[NDArray[np.floating]], rate: int, entries: Sequence[FeatureType], dtype: np.dtype
) -> Iterator[dict[_Key, Matrix]]:
    """Yield the rows that the types' methods give, `PIECE` frames at a time."""
    (shared_window,) = {entry.window for entry in entries if entry.window}
    length, hop = shared_window.samples(rate)
    if hop < 1:
        raise InputError(f"its sampling rate of {rate} Hz is too low for frames of {shared_window.length} s")
    keys = list(dict.fromkeys(_key(entry, rate) for entry in entries))
    n_samples = (PIECE - 1) * hop + length
    held: list[NDArray[np.floating]] = []
    is_first = True
    for piece in pieces:
        held.append(piece)
        if sum(map(len, held)) < n_samples:
            continue
        signal = np.concatenate(held)
        while len(signal) >= n_samples:
            yield _rows_of(signal[:n_samples], rate, shared_window, keys, dtype)
            is_first = False
            signal = signal[PIECE * hop :]
        held = [signal]
    signal = held[0] if len(held) == 1 else np.concatenate(held)
    if is_first or len(signal) >= length:
        yield _rows_of(signal, rate, shared_window, keys, dtype)


def _rows_of(
    signal: NDArray[np.floating], rate: int, shared_window: Window, keys: Sequence[_Key], dtype: np.dtype
) -> dict[_Key, Matrix]:
    rows: dict[_Key, list[Matrix]] = {key: [] for key in keys}
    with np.errstate(over="ignore", invalid="ignore"):  # what comes out is looked at
        for block in blocks(signal, rate, shared_window, dtype):
            for key in keys:
                method, low, high = key
                rows[key].append(_OF_BLOCK[method](block, (low, high)))
    return {key: _joined(parts) for key, parts in rows.items()}


def _cepstra(rows: Matrix, entry: FeatureType) -> Matrix:
    with np.errstate(over="ignore", invalid="ignore"):
        cepstra = _OVER_TIME[entry.method](rows) if entry.method in _OVER_TIME else rows
        return _normalised(cepstra) if entry.cmvn else cepstra


def _normalised(cepstra: Matrix) -> Matrix:
    """Shift and scale each coefficient to mean 0 and variance 1 over the frames; a constant one becomes 0."""
    deviations = cepstra.std(axis=0)
    is_constant = deviations <= 1e-9 * np.abs(cepstra).max()  # equal but for rounding
    return (cepstra - cepstra.mean(axis=0)) * np.where(is_constant, 0, 1 / np.where(is_constant, 1, deviations))


def _joined(parts: Sequence[_Array]) -> _Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)  # type: ignore[return-value]


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


@lru_cache(maxsize=64)
def _filter_bank(kind: str, n_fft: int, rate: int, band: Band, dtype: np.dtype, tilted: bool = False) -> _FilterBank:
    """Return the filter bank of a kind, divided by `n_fft`, and by the tilt of spectra that have one."""
    weights = filter_bank(kind, N_FILTERS, n_fft, rate, *band) / n_fft
    if band != (0, rate / 2) and not weights.any(axis=0).all():
        raise InputError(f"{band[0]} to {band[1]} Hz is too narrow a band for {N_FILTERS} {kind} filters; widen it")
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
    block: Block, bank: str, band: Band, dtype: DTypeLike | None = None, filled: bool = False, tilted: bool = False
) -> Matrix:
    """Return the power that each filter lets through, ``[n_frames, 70]``."""
    power = block.power(dtype, filled, tilted)
    return _filter_bank(bank, block.n_fft, block.rate, band, power.dtype, tilted)(power)


def _log_cepstra(bank: str, tilted: bool = False) -> Callable[[Block, Band], Matrix]:
    return lambda block, band: np.log(_floored(_filtered(block, bank, band, tilted=tilted))) @ _dct(N_FILTERS)


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


def _bfcc(block: Block, band: Band) -> Matrix:
    return np.log(_floored(_equal_loudness(_filtered(block, "bark", band)))) @ _dct(N_FILTERS)


def _gfcc(block: Block, band: Band) -> Matrix:
    return np.cbrt(_filtered(block, "gammatone", band)) @ _dct(N_FILTERS)


def _msrcc(block: Block, band: Band) -> Matrix:
    return _floored(_filtered(block, "mel", band, filled=True)) ** ROOT @ _dct(N_FILTERS)


def _psrcc(block: Block, band: Band) -> Matrix:
    # A phase near 0° or 360° falls to either side by the last bit: the spectrum must be spafe's own.
    spectrum = block.spectrum(filled=True)
    phase = np.arctan2(spectrum.imag.astype(block.dtype), spectrum.real.astype(block.dtype))
    phase += (phase < 0) * np.asarray(2 * np.pi, block.dtype)
    through = _filter_bank("mel", block.n_fft, block.rate, band, block.dtype)(phase)
    in_degrees = through * (block.n_fft * 180 / np.pi)
    return _floored(in_degrees) ** ROOT @ _dct(N_FILTERS)


def _cqcc(block: Block, band: Band) -> Matrix:
    kernel = _constant_q_kernel(block.window, block.rate)
    n_bins = kernel.shape[1] // 2
    if n_bins < N_CEPSTRA:
        raise InputError(
            f"its sampling rate of {block.rate} Hz is too low for cqcc, whose lowest frequency is "
            f"{CONSTANT_Q['f0_hz']} Hz; use 430 Hz or more"
        )
    transformed = block.windowed(np.float64)[:, : len(kernel)] @ kernel
    power = transformed[:, :n_bins] ** 2 + transformed[:, n_bins:] ** 2
    # spafe resamples the frames to as many as there are, which changes nothing.
    return np.log(_floored(power)) @ _dct(n_bins)


def _pncc_filtered(block: Block, band: Band) -> Matrix:
    return _filtered(block, "gammatone", band, np.float64)


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


def _lpcc(block: Block, band: Band) -> Matrix:
    return _prediction_cepstra(block.plain())  # spafe leaves the window function out


def _plp(block: Block, band: Band) -> Matrix:
    return _perceptual_prediction(_filtered(block, "bark", band, np.float64), block.n_fft)


def _rplp(block: Block, band: Band) -> Matrix:
    return _perceptual_prediction(_rasta(_filtered(block, "bark", band, np.float64)), block.n_fft)


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


# -- which function is which method's -----------------------------------------------------------------

# From a block of frames to one row a frame: cepstra, [n_frames, 20], or what `_OVER_TIME` makes cepstra of.
_OF_BLOCK: dict[str, Callable[[Block, Band], Matrix]] = {
    "mfcc": _mfcc,
    "imfcc": _imfcc,
    "lfcc": _lfcc,
    "bfcc": _bfcc,
    "gfcc": _gfcc,
    "ngcc": _ngcc,
    "msrcc": _msrcc,
    "psrcc": _psrcc,
    "cqcc": _cqcc,
    "pncc": _pncc_filtered,
    "lpcc": _lpcc,
    "plp": _plp,
    "rplp": _rplp,
}
# From the rows of a whole recording to its cepstra, where a frame depends on those before it.
_OVER_TIME: dict[str, Callable[[Matrix], Matrix]] = {"pncc": _pncc}
