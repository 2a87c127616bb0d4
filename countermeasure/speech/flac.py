"""FLAC decoded by miniaudio, which is faster than libsndfile and reads files that newer versions of it refuse; and MP3.

Half of the files of ASVspoof 2021 hold samples of +32768, beyond the range of 16 bits. libsndfile refuses them from
version 1.2.1 on; older versions and miniaudio let such a sample wrap around to -32768. Of an MP3 file that does not
state its length, libsndfile guesses it from the first frame, and stops there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEADER_SIZE = 42  # bytes of the format's mark and the first metadata block
_LARGEST_MP3_FRAME = 1441  # bytes
_PIECE = 1 << 16  # samples decoded at a time


class Header(NamedTuple):
    """The first metadata block of a FLAC file.

    Attributes
    ----------
    rate : int
        Sampling rate in Hz.
    n_channels : int
    n_samples : int
        Samples per channel; 0 if unknown, as in files that were written to a pipe.
    """

    rate: int
    n_channels: int
    n_samples: int


def read_header(path: str | os.PathLike[str]) -> Header | None:
    """Return a file's header, or None if it is not FLAC."""
    with open(path, "rb") as file:
        content = file.read(_HEADER_SIZE)
    if content[:4] != b"fLaC" or len(content) < _HEADER_SIZE:
        return None
    fields = int.from_bytes(content[18:26], "big")  # 20, 3, 5 and 36 bits
    rate = fields >> 44
    return Header(rate, (fields >> 41 & 7) + 1, fields & (1 << 36) - 1) if rate else None


def mp3_states_length(path: str | os.PathLike[str]) -> bool:
    """Return whether the first frame of an MP3 file holds its number of frames."""
    with open(path, "rb") as file:
        tag = file.read(10)  # ID3, whose size has 7 bits in each of 4 bytes
        n = sum(byte << 7 * (3 - k) for k, byte in enumerate(tag[6:10])) + 10 if tag[:3] == b"ID3" else 0
        file.seek(n)
        frame = file.read(_LARGEST_MP3_FRAME)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


@lru_cache(maxsize=1)
def miniaudio() -> Any:
    """Return the module, or None if it is not installed."""
    try:
        import miniaudio
    except ImportError:
        return None
    return miniaudio


def pieces(
    path: str | os.PathLike[str], kind: Literal["FLAC", "MP3"], rate: int, n_channels: int
) -> Iterator[NDArray[np.float32]]:
    """Decode a file and yield arrays [n, n_channels]; stop at damage."""
    decoder = miniaudio()
    with open(path, "rb") as file:
        try:
            decoded = decoder.stream_any(
                _Source(file),
                source_format=decoder.FileFormat[kind],
                output_format=decoder.SampleFormat.FLOAT32,
                nchannels=n_channels,
                sample_rate=rate,
                frames_to_read=_PIECE,
            )
            for samples in decoded:
                yield np.frombuffer(samples, np.float32).reshape(-1, n_channels)
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
