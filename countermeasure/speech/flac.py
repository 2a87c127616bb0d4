"""FLAC decoded by miniaudio, which is faster than libsndfile and reads files that newer versions of it refuse.

Half of the files of ASVspoof 2021 hold samples of +32768, beyond the range of 16 bits. libsndfile refuses them from
version 1.2.1 on; older versions and miniaudio let such a sample wrap around to -32768.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEADER_SIZE = 42  # bytes of the format's mark and the first metadata block
_PIECE = 1 << 16  # samples decoded at a time


class Header(NamedTuple):
    """The first metadata block of a FLAC file.

    Attributes
    ----------
    rate : int
        Sampling rate in Hz.
    n_channels : int
    n_bits : int
        Bits per sample.
    n_samples : int
        Samples per channel.
    md5 : bytes
        MD5 of all samples; zeros if unknown.
    """

    rate: int
    n_channels: int
    n_bits: int
    n_samples: int
    md5: bytes


def read_header(path: str | os.PathLike[str]) -> Header | None:
    """Return a file's header, or None if it is not FLAC or its length is unknown."""
    with open(path, "rb") as file:
        content = file.read(_HEADER_SIZE)
    if content[:4] != b"fLaC" or len(content) < _HEADER_SIZE:
        return None
    fields = int.from_bytes(content[18:26], "big")  # 20, 3, 5 and 36 bits
    rate, n_samples = fields >> 44, fields & (1 << 36) - 1
    if not rate or not n_samples:
        return None
    return Header(rate, (fields >> 41 & 7) + 1, (fields >> 36 & 31) + 1, n_samples, content[26:])


@lru_cache(maxsize=1)
def miniaudio() -> Any:
    """Return the module, or None if it is not installed."""
    try:
        import miniaudio
    except ImportError:
        return None
    return miniaudio


def pieces(path: str | os.PathLike[str], header: Header) -> Iterator[NDArray[np.float32]]:
    """Decode a file and yield arrays [n, n_channels]; stop at damage."""
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
    """An open file for miniaudio, which itself only opens files whose names are UTF-8."""

    def __init__(self, file: BinaryIO):
        self.ffi_handle = self.error_in_readcallback = None
        self.read = file.read
        self._file = file

    def seek(self, offset: int, origin: Any) -> bool:
        self._file.seek(offset, (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END)[origin.value])
        return True


def md5_matches(path: str | os.PathLike[str], header: Header) -> bool:
    """Return whether a file's samples have the MD5 in its header; True if there is none."""
    if not any(header.md5) or header.n_bits > 24:  # float32 is exact up to 24 bits
        return True
    md5 = hashlib.md5(usedforsecurity=False)
    n_bytes = (header.n_bits + 7) // 8
    for samples in pieces(path, header):
        integers = (samples * np.float32(1 << header.n_bits - 1)).astype("<i4")
        md5.update(integers.view(np.uint8).reshape(-1, 4)[:, :n_bytes].tobytes())
    return md5.digest() == header.md5
