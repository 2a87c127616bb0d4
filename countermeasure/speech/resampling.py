"""Conversion of a recording to another sampling rate, in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from countermeasure.errors import InputError

# Flat up to 91 % of the lower Nyquist frequency, -3 dB at 95 %, -120 dB from 100 % on.
_QUALITY = "HQ"
_LOWEST_RATE, _HIGHEST_RATE = 1000, 384_000  # Hz


def resampled(pieces: Iterable[NDArray[np.float32]], rate: int, new_rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield a signal at another sampling rate; the division into pieces does not change the result.

    Sample ``n`` of the result is at the time of sample ``n * rate / new_rate`` of the signal, which is taken as 0
    beyond its ends. The result has ``n_samples * new_rate / rate`` samples, rounded, and at least one.

    Parameters
    ----------
    pieces : iterable of array [n]
    rate, new_rate : int
        Sampling rates in Hz.

    Raises
    ------
    InputError
        If a rate is not between 1 and 384 kHz, as in a damaged header; the filter would need too much memory.
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
        if len(converted := stream.resample_chunk(piece)):
            n += len(converted)
            yield converted
    if len(converted := stream.resample_chunk(np.empty(0, np.float32), last=True)):
        yield converted
    elif not n:
        yield np.zeros(1, np.float32)
