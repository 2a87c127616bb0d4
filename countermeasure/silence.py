"""Leading and trailing silence of a recording."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FRAME = 512
HOP = 256
LOUD_POWER = 1e-4
QUIET_POWER = 1e-5
QUIET_CROSSINGS = 0.1


def get_silence(signal: ArrayLike, rate: int) -> NDArray[np.int64]:
    """Measure the silence before and after the voiced part of a recording.

    A frame of 512 samples, one every 256, is *loud* when its mean power exceeds 1e-4, and *quiet*
    when its mean power is at most 1e-5 and its zero-crossing rate at most 0.1. A voiced stretch
    begins at the first of two loud frames in a row and lasts until the first of two quiet frames
    in a row, or to the end.

    Parameters
    ----------
    signal : array [n_samples]
        In [-1, 1).
    rate : int
        Sampling rate in Hz. Changes nothing: frames are counted in samples at any rate.

    Returns
    -------
    array [2]
        Leading and trailing silence in samples. Without any voiced stretch all is leading silence.
    """
    signal = np.asarray(signal, np.float64)
    power, crossings = _frame_measures(signal)
    loud_pairs = _first_of_two(power > LOUD_POWER)
    if not len(loud_pairs):
        return np.array([len(signal), 0])
    quiet_pairs = _first_of_two((power <= QUIET_POWER) & (crossings <= QUIET_CROSSINGS))
    # The last stretch is the one with the last two loud frames; the first quiet pair after these ends it.
    ends = quiet_pairs[quiet_pairs > loud_pairs[-1]]
    trailing = len(signal) - ends[0] * HOP if len(ends) else 0
    return np.array([loud_pairs[0] * HOP, trailing])


def _frame_measures(signal: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean power and zero-crossing rate of every whole frame, each ``[n_frames]``."""
    n_halves = len(signal) // HOP
    if n_halves < FRAME // HOP:
        return np.empty(0), np.empty(0)
    halves = signal[: n_halves * HOP].reshape(n_halves, HOP)
    energy = np.einsum("ij,ij->i", halves, halves)
    negative = halves < 0
    inside = np.count_nonzero(negative[:, 1:] != negative[:, :-1], axis=1)
    between = negative[1:, 0] != negative[:-1, -1]
    return (energy[1:] + energy[:-1]) / FRAME, (inside[1:] + inside[:-1] + between) / FRAME


def _first_of_two(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return where a flag and the one after it are both set."""
    return np.flatnonzero(flags[:-1] & flags[1:])
