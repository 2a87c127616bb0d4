"""Resampling: a recording at another sampling rate, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from countermeasure.errors import InputError

# Flat up to 91 % of the lower Nyquist frequency, 3 dB down at 95 %, and 120 dB down from 100 % on.
_QUALITY = "HQ"
_LOWEST_RATE, _HIGHEST_RATE = 1000, 384_000  # Hz


def resampled(pieces: Iterable[NDArray[np.float32]], rate: int, new_rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield a signal that comes in pieces at another sampling rate; how it is cut changes nothing.

    Sample ``n`` of the result lies at the time of sample ``n * rate / new_rate`` of the signal; beyond its ends the
    signal is 0. In all there are ``n_samples * new_rate / rate`` samples, rounded, and at least one.

    Parameters
    ----------
    pieces : iterable of array [n]
    rate, new_rate : int
        Sampling rates in Hz.

    Raises
    ------
    InputError
        When a rate is none that a recording of speech has: a damaged header would ask for any amount of memory.
    """
    for each in (rate, new_rate):
        if not _LOWEST_RATE <= each <= _HIGHEST_RATE:
            raise InputError(
                f"a sampling rate of {each:,} Hz; expected {_LOWEST_RATE:,} to {_HIGHEST_RATE:,} Hz, check the file"
            )
    if rate == new_rate:
        yield from pieces
        return
    stream = soxr.ResampleStream(rate, new_rate, 1, dtype="float32", quality=_QUALITY)
    n = 0
    for piece in pieces:
        if len(found := stream.resample_chunk(piece)):
            n += len(found)
            yield found
    if len(found := stream.resample_chunk(np.empty(0, np.float32), last=True)):
        yield found
    elif not n:
        yield np.zeros(1, np.float32)
