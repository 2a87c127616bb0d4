"""Whether a file is as long as it says: libsndfile takes one that is cut short for a shorter recording."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

from countermeasure.errors import InputError

_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255
# Programs that write to a pipe cannot know the length and leave about the largest one there.
_UNKNOWN_32 = 0x7FFFFF00


class _Chunks(NamedTuple):
    """How a format lays out its chunks: a name and a length each, then the content.

    Attributes
    ----------
    start : int
        Where the first chunk begins, in bytes.
    head : Struct
        Of name and length.
    n_counted : int
        Bytes of the head that the length includes.
    alignment : int
        Chunks begin at multiples of so many bytes.
    samples : bytes
        Beginning of the name of the chunk that holds the samples.
    """

    start: int
    head: struct.Struct
    n_counted: int
    alignment: int
    samples: bytes


_WAV = _Chunks(12, struct.Struct("<4sI"), 0, 2, b"data")
_FORMATS = {
    b"RIFF": _WAV,
    b"RF64": _WAV,
    b"BW64": _WAV,
    b"RIFX": _Chunks(12, struct.Struct(">4sI"), 0, 2, b"data"),
    b"FORM": _Chunks(12, struct.Struct(">4sI"), 0, 2, b"SSND"),  # AIFF, AIFC
    b"riff": _Chunks(40, struct.Struct("<16sQ"), 24, 8, b"data"),  # W64
    b"caff": _Chunks(8, struct.Struct(">4sq"), 0, 1, b"data"),
}


def check_length(path: str | os.PathLike[str]) -> None:
    """Check that a WAV, RF64, W64, AIFF, AU, CAF or Ogg file is whole; the format is told by its content.

    Raises
    ------
    InputError
        When the file holds fewer bytes of samples than it says, or, Ogg, lacks its last page.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        mark = file.read(4)
        if mark == b"OggS" and not _has_last_page(file, size):
            raise InputError(f"{path}: is cut short (its last page is missing); copy it again, or convert it")
        start, length = _samples_of(file, mark, size)
    if length < _UNKNOWN_32 and start + length > size:
        raise InputError(f"{path}: is cut short ({size - start:,} of {length:,} bytes of samples); copy it again")


def _samples_of(file: BinaryIO, mark: bytes, size: int) -> tuple[int, int]:
    """Return where a file's samples begin and their length in bytes; (0, 0) where it does not say."""
    if mark in (b".snd", b"dns."):  # AU
        head = file.read(8)
        return struct.unpack(">II" if mark == b".snd" else "<II", head) if len(head) == 8 else (0, 0)
    if mark not in _FORMATS:
        return 0, 0
    start, layout, n_counted, alignment, samples = _FORMATS[mark]
    long = None
    file.seek(start)
    while len(found := file.read(layout.size)) == layout.size:
        name, length = layout.unpack(found)
        start, length = file.tell(), length - n_counted
        if name.startswith(samples):
            return start, length if long is None else long
        if name == b"ds64":  # of RF64, where 32 bits are too few
            file.seek(8, os.SEEK_CUR)
            long = int.from_bytes(file.read(8), "little")
        file.seek(min(start + max(-(-length // alignment) * alignment, 0), size))
    return 0, 0


def _has_last_page(file: BinaryIO, size: int) -> bool:
    """Tell whether an Ogg file ends with a whole page that is marked as its stream's last one."""
    file.seek(max(0, size - 2 * _LARGEST_OGG_PAGE))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    n_segments = page[26] if len(page) > 26 else 255
    head = 27 + n_segments
    return len(page) >= head and len(page) >= head + sum(page[27:head]) and bool(page[5] & 4)
