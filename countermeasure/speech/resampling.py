"""Resampling: a recording at another sampling rate, piece by piece.

A polyphase FIR filter, as `scipy.signal.resample_poly` has it, but longer than that function's own: what
is near the upper end of the band tells fakes, too. The filter is a sinc with its cut-off at 95 % of the lower
of the two Nyquist frequencies in a Kaiser window; the passband reaches to 90 % of it, and from 100 % on
everything is 100 dB down. Here the filter is a matrix product over overlapping pieces of the signal, which
needs neither scipy.signal's import nor the whole recording in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError

_ZERO_CROSSINGS = 64
_ROLL_OFF = 0.95
_ATTENUATION = 100  # dB
_BETA = 0.1102 * (_ATTENUATION - 8.7)  # J. Kaiser's formula
# Output samples that one matrix gives: enough for the products to be fast, few enough for them to be small.
_OUTPUTS = 128
# Input samples that are worked on at once.
_PIECE = 1 << 18
_LOWEST_RATE, _HIGHEST_RATE = 1000, 384_000  # Hz
_LARGEST_DENOMINATOR = 1000


def fir(up: int, down: int) -> NDArray[np.float64]:
    """Return the filter at the common multiple of both rates, symmetric, of odd length; its gain is `up`."""
    longest = max(up, down)
    half = math.ceil(_ZERO_CROSSINGS * longest / _ROLL_OFF)
    at = np.arange(-half, half + 1) * (_ROLL_OFF / longest)
    taps = np.sinc(at) * np.kaiser(2 * half + 1, _BETA)
    return taps * (up / taps.sum())


def ratio(rate: int, new_rate: int) -> tuple[int, int]:
    """Return new rate over old rate as a fraction, exact unless both are large and have little in common.

    A filter of its own for each of thousands of places between two samples would change nothing that can be
    heard: the rate of 11,127 Hz is taken for one less than 0.0001 % off, and the worst case is 0.05 %, less than a
    hundredth of a semitone.
    """
    nearest = Fraction(new_rate, rate).limit_denominator(_LARGEST_DENOMINATOR)
    return nearest.numerator, nearest.denominator


def resample(signal: NDArray[np.floating], rate: int, new_rate: int) -> NDArray[np.float32]:
    """Return a signal at another sampling rate, ``[ceil(n_samples * new_rate / rate)]``, float32."""
    return np.concatenate(list(resampled([signal], rate, new_rate)))


def resampled(pieces: Iterable[NDArray[np.floating]], rate: int, new_rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield a signal that comes in pieces at another sampling rate; how it is cut changes nothing but rounding.

    Sample ``n`` of the result lies at the time of sample ``n * rate / new_rate`` of the signal; beyond
    its ends the signal is 0.

    Parameters
    ----------
    pieces : iterable of array [n]
    rate, new_rate : int
        Sampling rates in Hz.

    Raises
    ------
    InputError
        When a rate is one that no recording of speech has: a damaged header would ask for any amount of memory.
    """
    for each in (rate, new_rate):
        if not _LOWEST_RATE <= each <= _HIGHEST_RATE:
            raise InputError(
                f"a sampling rate of {each:,} Hz; expected {_LOWEST_RATE:,} to {_HIGHEST_RATE:,} Hz, look at the file"
            )
    if rate == new_rate:
        yield from (piece.astype(np.float32, copy=False) for piece in pieces)
        return
    up, down = ratio(rate, new_rate)
    reach, period, groups = _matrices(up, down)
    n_in = n_out = 0
    held = np.zeros(reach, np.float32)  # what is before the beginning
    step = period * down // up
    for piece in pieces:
        n_in += len(piece)
        for start in range(0, len(piece), _PIECE):
            held = np.concatenate([held, piece[start : start + _PIECE].astype(np.float32)])
            n_periods = (len(held) - 2 * reach) // step
            if n_periods > 0:
                yield _filtered(held, n_periods, step, period, groups)
                n_out += n_periods * period
                held = held[n_periods * step :]
    missing = -(-n_in * up // down) - n_out
    n_periods = -(-missing // period)
    held = np.concatenate([held, np.zeros(max(n_periods * step + 2 * reach - len(held), 0), np.float32)])
    yield _filtered(held, n_periods, step, period, groups)[:missing]


_Group = tuple[int, NDArray[np.float32]]


def _filtered(
    held: NDArray[np.float32], n_periods: int, step: int, period: int, groups: list[_Group]
) -> NDArray[np.float32]:
    out = np.empty((n_periods, period), np.float32)
    done = 0
    stride = held.strides[0]
    for first, matrix in groups:
        rows = np.lib.stride_tricks.as_strided(
            held[first:], (n_periods, len(matrix)), (step * stride, stride), writeable=False
        )
        np.matmul(rows, matrix, out=out[:, done : done + matrix.shape[1]])
        done += matrix.shape[1]
    return out.ravel()


@lru_cache(maxsize=4)
def _matrices(up: int, down: int) -> tuple[int, int, list[_Group]]:
    """Return how far the filter reaches, after how many outputs it comes round, and what they are made by.

    The matrices give the outputs of one such period, some at a time, each from the input samples that
    begin at a place from `reach` samples before the period.
    """
    taps = fir(up, down)
    half = len(taps) // 2
    reach = half // up + 1
    period = up * max(1, _OUTPUTS // up)
    groups = []
    for start in range(0, period, _OUTPUTS):
        outputs = np.arange(start, min(start + _OUTPUTS, period))
        first = outputs[0] * down // up  # counted from `reach` before the period's first input
        n_inputs = (outputs[-1] * down + half) // up + reach + 1 - first
        inputs = first - reach + np.arange(n_inputs)
        # Output m lies at m·down on the common grid, input k at k·up.
        place = outputs * down - inputs[:, None] * up + half
        inside = (place >= 0) & (place < len(taps))
        groups.append((int(first), np.where(inside, taps[np.clip(place, 0, len(taps) - 1)], 0).astype(np.float32)))
    return reach, period, groups
