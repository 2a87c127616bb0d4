"""Short-time analysis: from a signal to the spectra of its frames, and what filters let through of them.

spafe 0.3.3 defines the numbers; here every frame is transformed once, with a real FFT, for all the
feature types that need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from countermeasure.errors import InputError
from countermeasure.features import filter_banks
from countermeasure.features.types import N_FILTERS, ZEROS_BECOME, Window

# Spectra of so many frames stay in a core's cache, and those of a long recording need no more memory.
FRAMES_PER_BLOCK = 96
_TILT = 0.9

Matrix = NDArray[np.float64]
Band = tuple[float, float]


class Block:
    """Some consecutive frames of a recording, and their spectra, each computed at most once.

    Parameters
    ----------
    samples : array [n]
        At least as many as a window has.
    rate : int
        Sampling rate in Hz.
    window : Window
    dtype : dtype
        Precision of the types that do not insist on float64.

    Attributes
    ----------
    frames : array [n_frames, length]
        Views of the samples; the last samples that fill no whole frame are left out.
    """

    def __init__(self, samples: NDArray[np.floating], rate: int, window: Window, dtype: DTypeLike):
        self.rate, self.window, self.dtype = rate, window, np.dtype(dtype)
        self.n_fft = window.n_fft(rate)
        self._samples = samples = np.ascontiguousarray(samples)
        length, hop = window.samples(rate)
        shape = (len(samples) - length) // hop + 1, length
        # What `as_strided` gives, in a tenth of its time.
        self.frames: NDArray[np.floating] = np.ndarray(
            shape, samples.dtype, samples, strides=(hop * samples.itemsize, samples.itemsize)
        )
        self._powers: dict[tuple[np.dtype, bool], NDArray[np.floating]] = {}

    @cached_property
    def filled(self) -> Block:
        """The block with `ZEROS_BECOME` in the place of samples that are exactly 0; itself without such."""
        zeros = self._samples == 0
        if not zeros.any():
            return self
        samples = np.where(zeros, self._samples.dtype.type(ZEROS_BECOME), self._samples)
        return Block(samples, self.rate, self.window, self.dtype)

    def windowed(self, dtype: DTypeLike) -> NDArray[np.floating]:
        """Return the frames times the Hamming window and followed by zeros, ``[n_frames, n_fft]``."""
        n_frames, length = self.frames.shape
        windowed = np.zeros((n_frames, self.n_fft), dtype)
        np.multiply(self.frames, _hamming(length, windowed.dtype), out=windowed[:, :length], dtype=dtype)
        return windowed

    def power(self, dtype: DTypeLike | None = None, tilted: bool = False) -> NDArray[np.floating]:
        """Return the power spectra |X|², ``[n_frames, n_fft / 2 + 1]``.

        Parameters
        ----------
        dtype : dtype or None
            None: the block's.
        tilted : bool
            Whether to give |X|² times `_tilt` instead. Rounding in a float32 FFT is relative to the loudest
            frequency; speech is loudest at low ones, so that tilted spectra are more exact at high ones.
        """
        key = np.dtype(self.dtype if dtype is None else dtype), tilted
        if key not in self._powers:
            power = np.abs(self._transformed(*key))
            self._powers[key] = np.square(power, out=power)
        return self._powers[key]

    def _transformed(self, dtype: np.dtype, tilted: bool) -> NDArray[np.complexfloating]:
        import scipy.fft  # transforms several rows of float32 at once; NumPy does not

        windowed = self.windowed(dtype)
        if tilted:
            # Behind the window function, where it multiplies the spectrum and nothing else. The FFT sees
            # a circle: the sample before the first is the last, a zero unless the frame fills the FFT.
            end = min(self.frames.shape[1] + 1, self.n_fft)
            before = dtype.type(_TILT) * np.hstack([windowed[:, -1:], windowed[:, : end - 1]])
            windowed[:, :end] -= before
        return scipy.fft.rfft(windowed)

    def filtered(self, bank: str, band: Band, dtype: DTypeLike | None = None, tilted: bool = False) -> Matrix:
        """Return the power that each filter of a bank lets through, ``[n_frames, 70]``; see `power`."""
        power = self.power(dtype, tilted)
        return filter_bank(bank, self.n_fft, self.rate, band, power.dtype, tilted)(power)


def blocks(signal: NDArray[np.floating], rate: int, window: Window, dtype: DTypeLike) -> Iterator[Block]:
    """Cut a signal into frames and yield them in blocks; a signal shorter than one window is filled up with zeros.

    Parameters
    ----------
    signal : array [n_samples]
    rate, window, dtype
        See `Block`.
    """
    length, hop = window.samples(rate)
    if len(signal) < length:
        signal = np.concatenate([signal, np.zeros(length - len(signal), signal.dtype)])
    for start in range(0, len(signal) - length + 1, FRAMES_PER_BLOCK * hop):
        yield Block(signal[start : start + (FRAMES_PER_BLOCK - 1) * hop + length], rate, window, dtype)


class FilterBank:
    """Filters as a matrix, in groups that pass over the frequencies at which all their filters are 0.

    Parameters
    ----------
    weights : array [n_fft / 2 + 1, n_filters]
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
        """Filter spectra ``[n_frames, n_fft / 2 + 1]``; gives ``[n_frames, n_filters]``.

        What follows is float64: it is small, and the differences of cepstra (Δ) need it.
        """
        filtered = [spectra[:, frequencies] @ group for frequencies, group in self._parts]
        return np.concatenate(filtered, axis=1, dtype=np.float64)


@lru_cache(maxsize=64)
def filter_bank(kind: str, n_fft: int, rate: int, band: Band, dtype: np.dtype, tilted: bool = False) -> FilterBank:
    """Return a bank of 70 filters, divided by `n_fft`, and by the tilt of spectra that have one.

    Raises
    ------
    InputError
        When the band is so narrow that some filters lie between the bins of the FFT.
    """
    weights = filter_banks.weights(kind, N_FILTERS, n_fft, rate, *band) / n_fft
    if band != (0, rate / 2) and not weights.any(axis=0).all():
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
