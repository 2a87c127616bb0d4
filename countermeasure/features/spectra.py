"""Short-time analysis: from a signal to the spectra of its frames.

spafe 0.3.3 defines the numbers; here every frame is transformed once, with a real FFT, for all the
feature types that need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import DTypeLike, NDArray

from countermeasure.features.feature_types import ZEROS_BECOME, Window

_TILT = 0.9
# Spectra of so many frames stay in a core's cache, and those of a long recording need no more memory.
FRAMES_PER_BLOCK = 96


class Frames:
    """A recording cut into overlapping frames, as views of its samples.

    The last samples that fill no whole frame are left out; a signal shorter than one window is
    filled up with zeros to one frame.
    """

    def __init__(self, signal: NDArray[np.floating], length: int, hop: int):
        if len(signal) < length:
            signal = np.concatenate([signal, np.zeros(length - len(signal), signal.dtype)])
        self._signal, self.length, self._hop = signal, length, hop
        self.plain = self._cut(signal)

    @cached_property
    def filled(self) -> NDArray[np.floating]:
        """The frames with `ZEROS_BECOME` in the place of samples that are exactly 0.

        Without such samples these are the plain frames themselves.
        """
        zeros = self._signal == 0
        if not zeros.any():
            return self.plain
        return self._cut(np.where(zeros, self._signal.dtype.type(ZEROS_BECOME), self._signal))

    def _cut(self, signal: NDArray[np.floating]) -> NDArray[np.floating]:
        n_frames = (len(signal) - self.length) // self._hop + 1
        step = signal.strides[0]
        return np.lib.stride_tricks.as_strided(
            signal, (n_frames, self.length), (self._hop * step, step), writeable=False
        )


class Block:
    """Some consecutive frames of a recording, and their spectra, each computed at most once.

    Parameters
    ----------
    frames : Frames
        Of the whole recording.
    part : slice
        Which of them.
    rate : int
        Sampling rate in Hz.
    window : Window
    dtype : dtype
        Precision of the types that do not insist on float64.

    Attributes
    ----------
    rate, window, n_fft, dtype
    """

    def __init__(self, frames: Frames, part: slice, rate: int, window: Window, dtype: DTypeLike):
        self.rate, self.window, self.dtype = rate, window, np.dtype(dtype)
        self.n_fft = window.n_fft(rate)
        self._frames, self._part = frames, part
        self._powers: dict[tuple[np.dtype, bool, bool], NDArray[np.floating]] = {}

    def plain(self) -> NDArray[np.float64]:
        """Return the frames without window function, ``[n_frames, length]``."""
        return self._frames.plain[self._part].astype(np.float64)

    def windowed(self, dtype: DTypeLike, filled: bool = False) -> NDArray[np.floating]:
        """Return the frames times the Hamming window and followed by zeros, ``[n_frames, n_fft]``."""
        frames = (self._frames.filled if filled else self._frames.plain)[self._part]
        length = frames.shape[1]
        windowed = np.zeros((len(frames), self.n_fft), dtype)
        np.multiply(frames, _hamming(length, windowed.dtype), out=windowed[:, :length], dtype=dtype)
        return windowed

    def spectrum(self, filled: bool = False) -> NDArray[np.complex128]:
        """Return the complex spectra from 0 Hz to half the sampling rate, ``[n_frames, n_fft / 2 + 1]``."""
        return np.fft.rfft(self.windowed(np.float64, filled))

    def power(self, dtype: DTypeLike | None = None, filled: bool = False, tilted: bool = False) -> NDArray[np.floating]:
        """Return the power spectra |X|², ``[n_frames, n_fft / 2 + 1]``.

        Parameters
        ----------
        dtype : dtype or None
            None: the block's.
        filled : bool
            Whether to replace zeros, see `Frames.filled`.
        tilted : bool
            Whether to give |X|² times `tilt` instead. Rounding in a float32 FFT is relative to the loudest
            frequency; speech is loudest at low ones, so that tilted spectra are more exact at high ones.
        """
        filled = filled and self._frames.filled is not self._frames.plain
        key = np.dtype(self.dtype if dtype is None else dtype), filled, tilted
        if key not in self._powers:
            power = np.abs(self._transformed(*key))
            self._powers[key] = np.square(power, out=power)
        return self._powers[key]

    def _transformed(self, dtype: np.dtype, filled: bool, tilted: bool) -> NDArray[np.complexfloating]:
        import scipy.fft  # transforms several rows of float32 at once; NumPy does not

        windowed = self.windowed(dtype, filled)
        if tilted:
            # Behind the window function, where it multiplies the spectrum and nothing else. The FFT sees
            # a circle: the sample before the first is the last, a zero unless the frame fills the FFT.
            end = min(self._frames.length + 1, self.n_fft)
            before = dtype.type(_TILT) * np.hstack([windowed[:, -1:], windowed[:, : end - 1]])
            windowed[:, :end] -= before
        return scipy.fft.rfft(windowed)


def tilt(n_fft: int) -> NDArray[np.float64]:
    """Return |1 − 0.9 exp(−iω)|², the power response of y[n] = x[n] − 0.9 x[n−1], ``[n_fft / 2 + 1]``."""
    omega = 2 * np.pi * np.arange(n_fft // 2 + 1) / n_fft
    return 1 + _TILT**2 - 2 * _TILT * np.cos(omega)


def blocks(signal: NDArray[np.floating], rate: int, window: Window, dtype: DTypeLike) -> Iterator[Block]:
    """Cut a signal into frames and yield them in blocks.

    Parameters
    ----------
    signal : array [n_samples]
    rate : int
        Sampling rate in Hz.
    window : Window
    dtype : dtype
        See `Block`.
    """
    frames = Frames(signal, *window.samples(rate))
    for start in range(0, len(frames.plain), FRAMES_PER_BLOCK):
        yield Block(frames, slice(start, start + FRAMES_PER_BLOCK), rate, window, dtype)


@lru_cache(maxsize=16)
def _hamming(length: int, dtype: np.dtype) -> NDArray[np.floating]:
    return np.hamming(length).astype(dtype)
