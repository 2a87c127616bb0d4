"""Frames of a signal, their spectra, and their spectra after a filter bank.

spafe 0.3.3 defines the numbers. Each frame is transformed once, with a real FFT, for all feature types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from countermeasure.errors import InputError
from countermeasure.features import filter_banks
from countermeasure.features.types import N_FILTERS, ZEROS_BECOME, Window

FRAMES_PER_BLOCK = 96  # their spectra fit into the cache of a core
_TILT = 0.9

Matrix = NDArray[np.float64]
Band = tuple[float, float]


class Block:
    """Consecutive frames of a recording and their spectra, each computed at most once.

    Parameters
    ----------
    samples : array [n]
        At least one window.
    rate : int
        Sampling rate in Hz.
    window : Window
    dtype : dtype
        Precision of the spectra, unless a type needs float64.

    Attributes
    ----------
    frames : array [n_frames, length]
        The whole frames, as views of the samples.
    """

    def __init__(self, samples: NDArray[np.floating], rate: int, window: Window, dtype: DTypeLike):
        self.rate, self.window, self.dtype = rate, window, np.dtype(dtype)
        self.n_fft = window.n_fft(rate)
        self._samples = samples = np.ascontiguousarray(samples)
        length, hop = window.samples(rate)
        shape = (len(samples) - length) // hop + 1, length
        # The same as `as_strided`, in a tenth of the time.
        self.frames: NDArray[np.floating] = np.ndarray(
            shape, samples.dtype, samples, strides=(hop * samples.itemsize, samples.itemsize)
        )
        self._powers: dict[tuple[np.dtype, bool], NDArray[np.floating]] = {}

    @cached_property
    def filled(self) -> Block:
        """The block with `ZEROS_BECOME` instead of samples that are exactly 0."""
        zeros = self._samples == 0
        if not zeros.any():
            return self
        samples = np.where(zeros, self._samples.dtype.type(ZEROS_BECOME), self._samples)
        return Block(samples, self.rate, self.window, self.dtype)

    def windowed(self, dtype: DTypeLike) -> NDArray[np.floating]:
        """Return the frames times the Hamming window, padded with zeros, ``[n_frames, n_fft]``."""
        n_frames, length = self.frames.shape
        windowed = np.zeros((n_frames, self.n_fft), dtype)
        np.multiply(self.frames, _hamming(length, windowed.dtype), out=windowed[:, :length], dtype=dtype)
        return windowed

    def power(self, dtype: DTypeLike | None = None, tilted: bool = False) -> NDArray[np.floating]:
        """Return the power spectra |X|², ``[n_frames, n_fft / 2 + 1]``.

        Parameters
        ----------
        dtype : dtype or None
            Precision; by default the block's.
        tilted : bool
            Return |X|² times `_tilt` instead. Rounding errors of a float32 FFT are relative to the loudest
            frequency, which is a low one in speech; tilted spectra are more precise at high frequencies.
        """
        key = np.dtype(self.dtype if dtype is None else dtype), tilted
        if key not in self._powers:
            power = np.abs(self._transformed(*key))
            self._powers[key] = np.square(power, out=power)
        return self._powers[key]

    def _transformed(self, dtype: np.dtype, tilted: bool) -> NDArray[np.complexfloating]:
        import scipy.fft  # faster than NumPy for float32

        windowed = self.windowed(dtype)
        if tilted:
            # Filtered after the window function, so that the spectrum is just multiplied. The FFT is circular:
            # the sample before the first is the last one, a zero unless the frame fills the FFT.
            end = min(self.frames.shape[1] + 1, self.n_fft)
            before = dtype.type(_TILT) * np.hstack([windowed[:, -1:], windowed[:, : end - 1]])
            windowed[:, :end] -= before
        return scipy.fft.rfft(windowed)

    def filtered(self, bank: str, band: Band, dtype: DTypeLike | None = None, tilted: bool = False) -> Matrix:
        """Return the output of each filter of a bank, ``[n_frames, 70]``; see `power`."""
        power = self.power(dtype, tilted)
        return filter_bank(bank, self.n_fft, self.rate, band, power.dtype, tilted)(power)


def blocks(pieces: Iterable[NDArray[np.floating]], rate: int, window: Window, dtype: DTypeLike) -> Iterator[Block]:
    """Yield the frames of a signal in blocks; a signal shorter than one window is padded with zeros.

    Parameters
    ----------
    pieces : iterable of array [n]
        The signal, divided anywhere.
    rate, window, dtype
        See `Block`.
    """
    length, hop = window.samples(rate)
    n_samples = (FRAMES_PER_BLOCK - 1) * hop + length
    is_first = True
    rest: NDArray[np.floating] = np.empty(0)
    for piece in pieces:
        rest = np.concatenate([rest, piece]) if len(rest) else piece
        while len(rest) >= n_samples:
            yield Block(rest[:n_samples], rate, window, dtype)
            rest, is_first = rest[FRAMES_PER_BLOCK * hop :], False
    if is_first and len(rest) < length:
        rest = np.concatenate([rest, np.zeros(length - len(rest), rest.dtype)])
    if len(rest) >= length:
        yield Block(rest, rate, window, dtype)


class FilterBank:
    """A matrix of filters, split into groups that skip the frequencies at which all their filters are 0.

    Parameters
    ----------
    weights : array [n_fft / 2 + 1, n_filters]
    dtype : dtype
        Type of the spectra.
    """

    def __init__(self, weights: Matrix, dtype: np.dtype):
        self._parts = []
        n_groups = 4 if np.mean(weights == 0) > 0.5 else 1
        for group in np.array_split(weights, n_groups, axis=1):
            used = np.flatnonzero(group.any(axis=1))
            frequencies = slice(used[0], used[-1] + 1)
            self._parts.append((frequencies, np.ascontiguousarray(group[frequencies], dtype)))

    def __call__(self, spectra: NDArray[np.floating]) -> Matrix:
        """Filter spectra ``[n_frames, n_fft / 2 + 1]``; return ``[n_frames, n_filters]``, float64.

        The steps that follow are small, and the differences of cepstra (Δ) need the precision.
        """
        filtered = [spectra[:, frequencies] @ group for frequencies, group in self._parts]
        return np.concatenate(filtered, axis=1, dtype=np.float64)


@lru_cache(maxsize=64)
def filter_bank(kind: str, n_fft: int, rate: int, band: Band, dtype: np.dtype, tilted: bool = False) -> FilterBank:
    """Return a bank of 70 filters, divided by `n_fft`, and by `_tilt` for tilted spectra.

    Raises
    ------
    InputError
        If the band is so narrow that filters lie between the bins of the FFT.
    """
    weights = filter_banks.weights(kind, n_fft, rate, *band) / n_fft
    if not weights.any(axis=0).all():
        raise InputError(f"{band[0]} to {band[1]} Hz is too narrow a band for {N_FILTERS} {kind} filters; widen it")
    if tilted:
        weights /= _tilt(n_fft)[:, None]
    return FilterBank(weights, dtype)


def _tilt(n_fft: int) -> Matrix:
    """Return |1 − 0.9 exp(−iω)|², the power response of y[n] = x[n] − 0.9 x[n−1], ``[n_fft / 2 + 1]``."""
    omega = 2 * np.pi * np.arange(n_fft // 2 + 1) / n_fft
    return 1 + _TILT**2 - 2 * _TILT * np.cos(omega)


@lru_cache(maxsize=16)
def _hamming(length: int, dtype: np.dtype) -> NDArray[np.floating]:
    return np.hamming(length).astype(dtype)
