"""Leading and trailing silence of a recording."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRAME = 512
HOP = 256
LOUD_POWER = 1e-4
QUIET_POWER = 1e-5
QUIET_CROSSINGS = 0.1


class Meter:
    """Measures the silence before and after the voiced part of a recording that comes in pieces.

    Frames have 512 samples and a hop of 256, whatever the sampling rate. A frame is *loud* if its mean power exceeds
    1e-4, and *quiet* if its mean power is at most 1e-5 and its zero-crossing rate at most 0.1. A voiced stretch begins
    at the first of two loud frames in a row and lasts until the first of two quiet frames in a row, or to the end.
    """

    def __init__(self) -> None:
        self._n = 0
        self._rest = np.empty(0)
        self._power: list[NDArray[np.float64]] = []
        self._crossings: list[NDArray[np.float64]] = []

    def add(self, piece: NDArray[np.floating]) -> None:
        """Add the next samples, array [n], in [-1, 1)."""
        self._n += len(piece)
        signal = np.concatenate([self._rest, piece], dtype=np.float64)
        power, crossings = _frame_measures(signal)
        self._power.append(power)
        self._crossings.append(crossings)
        self._rest = signal[len(power) * HOP :]

    def result(self) -> NDArray[np.int64]:
        """Return the leading and trailing silence in samples, array [2]; without a voiced stretch, all is leading."""
        power, crossings = np.concatenate(self._power), np.concatenate(self._crossings)
        loud_pairs = _first_of_two(power > LOUD_POWER)
        if not len(loud_pairs):
            return np.array([self._n, 0])
        quiet_pairs = _first_of_two((power <= QUIET_POWER) & (crossings <= QUIET_CROSSINGS))
        # The last stretch contains the last two loud frames and ends with the first two quiet ones after them.
        ends = quiet_pairs[quiet_pairs > loud_pairs[-1]]
        trailing = self._n - ends[0] * HOP if len(ends) else 0
        return np.array([loud_pairs[0] * HOP, trailing])


def _frame_measures(signal: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean power and zero-crossing rate of each whole frame, both ``[n_frames]``."""
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
    """Return the indices at which a flag and the next one are set."""
    return np.flatnonzero(flags[:-1] & flags[1:])
