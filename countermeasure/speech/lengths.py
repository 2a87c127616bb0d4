"""Checks that a recording is as long as its file says: libsndfile reads one that is cut short without an error."""

from __future__ import annotations

import os
import re
from pathlib import Path

from countermeasure.errors import InputError

# What libsndfile notes of a file that ends early, such as "data : 20002 (should be 9979)": the lengths in WAV, AIFF,
# AU, W64 and RF64.
_LENGTHS = re.compile(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write to a pipe do not know the length and write about the largest one.
_UNKNOWN = 0x7FFFFF00
_OGG_PAGE = 1 << 16  # bytes; the largest has 65,307


def check_length(path: str | os.PathLike[str], log: str) -> None:
    """Raise InputError if a file holds fewer bytes than it says, or is an Ogg file without its last page.

    Parameters
    ----------
    path : path
    log : str
        `soundfile.SoundFile.extra_info` of the open file.
    """
    for promised, held in _LENGTHS.findall(log):
        if int(held) < int(promised) < _UNKNOWN:
            raise InputError(f"{path}: is cut short ({int(held):,} of {int(promised):,} bytes); copy it again")
    with Path(path).open("rb") as file:
        if file.read(4) == b"OggS":
            file.seek(max(0, os.fstat(file.fileno()).st_size - _OGG_PAGE))
            if not _has_last_page(file.read()):
                raise InputError(f"{path}: is cut short (its last page is missing); copy it again, or convert it")


def _has_last_page(tail: bytes) -> bool:
    """Return whether the end of an Ogg file is a whole page that is marked as the last of its stream."""
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27:
        return False
    head = 27 + page[26]  # ends with the lengths of the segments
    return len(page) >= head + sum(page[27:head]) and bool(page[5] & 4)
