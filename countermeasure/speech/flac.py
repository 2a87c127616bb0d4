"""FLAC by miniaudio: faster than by libsndfile, and it reads files that newer versions of libsndfile refuse.

Half of ASVspoof 2021 hold samples beyond the range of 16 bits: a peak of +32768, which their encoder took. libFLAC 1.4,
which is in libsndfile since 1.2.1, refuses such a sample; older versions and miniaudio let it wrap around to -32768.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEADER_SIZE = 42  # bytes of the mark and the first metadata block
_PIECE = 1 << 16  # samples that are decoded at once


class Header(NamedTuple):
    """What the first metadata block says, which every FLAC file begins with.

    Attributes
    ----------
    rate : int
        Sampling rate in Hz.
    n_channels : int
    n_bits : int
        Of a sample.
    n_samples : int
        In each channel.
    md5 : bytes
        Of all samples; zeros where the encoder has not said.
    """

    rate: int
    n_channels: int
    n_bits: int
    n_samples: int
    md5: bytes


def read_header(path: str | os.PathLike[str]) -> Header | None:
    """Return what a file says of itself; None where it is no FLAC, or does not tell its length."""
    with open(path, "rb") as file:
        content = file.read(_HEADER_SIZE)
    if content[:4] != b"fLaC" or len(content) < _HEADER_SIZE:
        return None
    fields = int.from_bytes(content[18:26], "big")  # 20, 3, 5 and 36 bits
    found = Header(
        rate=fields >> 44,
        n_channels=(fields >> 41 & 7) + 1,
        n_bits=(fields >> 36 & 31) + 1,
        n_samples=fields & (1 << 36) - 1,
        md5=content[26:],
    )
    return found if found.rate and found.n_samples else None


@lru_cache(maxsize=1)
def miniaudio() -> Any:
    """Return the module; None where it is not installed."""
    try:
        import miniaudio
    except ImportError:
        return None
    return miniaudio


def pieces(path: str | os.PathLike[str], header: Header) -> Iterator[NDArray[np.float32]]:
    """Decode a file piece by piece, arrays [n, n_channels]; ends early where it is damaged."""
    decoder = miniaudio()
    with open(path, "rb") as file:
        try:
            decoded = decoder.stream_any(
                _Source(file),
                source_format=decoder.FileFormat.FLAC,
                output_format=decoder.SampleFormat.FLOAT32,
                nchannels=header.n_channels,
                sample_rate=header.rate,
                frames_to_read=_PIECE,
            )
            for samples in decoded:
                yield np.frombuffer(samples, np.float32).reshape(-1, header.n_channels)
        except decoder.MiniaudioError:
            return


class _Source:
    """An open file as miniaudio's callbacks want it; its own way to open one takes names in UTF-8 only."""

    def __init__(self, file: BinaryIO):
        self.ffi_handle = self.error_in_readcallback = None
        self.read = file.read
        self._file = file

    def seek(self, offset: int, origin: Any) -> bool:
        self._file.seek(offset, (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END)[origin.value])
        return True


def md5_matches(path: str | os.PathLike[str], header: Header) -> bool:
    """Tell whether a file's samples have the MD5 that it states; True where there is none to compare with."""
    if not any(header.md5) or header.n_bits > 24:  # float32 holds up to 24 bits exactly
        return True
    md5 = hashlib.md5(usedforsecurity=False)
    n_bytes = (header.n_bits + 7) // 8
    for samples in pieces(path, header):
        integers = (samples * np.float32(1 << header.n_bits - 1)).astype("<i4")
        md5.update(integers.view(np.uint8).reshape(-1, 4)[:, :n_bytes].tobytes())
    return md5.digest() == header.md5
