"""Where recordings are: the files that names, folders and patterns stand for."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain

# What is taken for a recording in a folder. Not every libsndfile reads all of them, and none the last row: that is
# said of each file, rather than passing it over.
SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"),
    *(".sph", ".m4a", ".aac", ".wma", ".amr"),
)
_STDIN = "-"


def is_recording(name: str) -> bool:
    """Tell whether a file of this name in a folder is taken for a recording."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def recordings(names: Iterable[str]) -> Iterator[str]:
    """Yield the recordings that names stand for, as they are found.

    Parameters
    ----------
    names : iterable of str
        Files, folders with all below them, patterns (``*``), and ``-`` for a list of files on standard input. What is
        none of these stands for itself, and so does a folder without recordings: reading it tells what is wrong.
    """
    for name in names:
        if name == _STDIN:
            # Bytes: a name need not be UTF-8. A line at a time: the list may still be growing.
            lines = (line.rstrip(b"\r\n") for line in iter(sys.stdin.buffer.readline, b""))
            yield from chain.from_iterable(_of(os.fsdecode(line)) for line in lines if line)
        else:
            yield from _of(name)


def _of(name: str) -> Iterator[str]:
    if os.path.isdir(name):
        below = _below(name)
        yield next(below, name)
        yield from below
    elif not os.path.lexists(name) and (found := sorted(glob.glob(name, recursive=True))):
        yield from chain.from_iterable(map(_of, found))
    else:
        yield name


def _below(folder: str) -> Iterator[str]:
    """Yield the recordings below a folder in order of their paths."""
    for path, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(path, name) for name in sorted(names) if is_recording(name))
