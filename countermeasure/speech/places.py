"""The recordings that files, folders and patterns on a command line stand for."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain

# Files of a folder that count as recordings. libsndfile does not read those of the last row; reading them fails with a
# message instead of passing them over.
SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"),
    *(".rf64", ".sph"),
    *(".m4a", ".aac", ".wma", ".amr"),
)
_STDIN = "-"


def is_recording(name: str) -> bool:
    """Return whether a file of a folder counts as a recording."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def recordings(names: Iterable[str]) -> Iterator[str]:
    """Yield the paths of recordings as they are found.

    Parameters
    ----------
    names : iterable of str
        Files, folders with all below them, patterns (``*``), and ``-`` for a list of files on standard input. Anything
        else, and a folder without recordings, is yielded as it is: reading it gives the error message.
    """
    for name in names:
        if name == _STDIN:
            # Bytes, since names may not be UTF-8; line by line, since the list may still be growing.
            lines = (line.rstrip(b"\r\n") for line in iter(sys.stdin.buffer.readline, b""))
            yield from chain.from_iterable(_of(os.fsdecode(line)) for line in lines if line)
        else:
            yield from _of(name)


def _of(name: str) -> Iterator[str]:
    if os.path.isdir(name):
        below = _below(name)
        yield next(below, name)
        yield from below
    elif not os.path.lexists(name) and (paths := sorted(glob.glob(name, recursive=True))):
        yield from chain.from_iterable(map(_of, paths))
    else:
        yield name


def _below(folder: str) -> Iterator[str]:
    """Yield the recordings below a folder in order of their paths."""
    for path, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(path, name) for name in sorted(names) if is_recording(name))
