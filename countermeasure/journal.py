"""What an unfinished run has done already.

A journal stands beside the list that it is for, one entry a recording, in the order in which they
were finished. A run that was killed leaves a whole number of entries and at most one torn one, which
is cut off. Entries are plain bytes with a checksum; nothing in them is run.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError
from countermeasure.files import open_locked

_HEAD = struct.Struct("<4sII")  # mark, length of what follows, its checksum
_FIELDS = struct.Struct("<H32sIHQII")  # length of the id, digest, rate, channels, samples, rows, columns
_MARK = b"CMj1"


class Entry(NamedTuple):
    """A recording whose feature is in the journal.

    Attributes
    ----------
    digest : bytes
        SHA-256 of the audio file.
    rate : int
        In Hz.
    n_channels, n_samples : int
        Of the recording.
    shape : tuple of int
        Of the feature.
    """

    digest: bytes
    rate: int
    n_channels: int
    n_samples: int
    shape: tuple[int, int]


class Journal(AbstractContextManager):
    """Features of one type, kept on disk as they are computed.

    Recordings are told apart by their place in the protocol; on disk entries bear the utterance, since a
    protocol may change. In memory there is where each entry begins and no more. While it is open, no
    other run can open it; one without entries is deleted at the end. Iterating gives the places that have
    an entry.

    Parameters
    ----------
    path : path
    settings : JSON value
        A journal that was made with other settings is started anew.
    dtype : {'float32', 'float64'}
    n_places : int
        Number of recordings.
    place_of : callable
        Gives an utterance's place, or None: an entry of it is passed over.
    restart : bool
        Whether to start anew in any case.

    Raises
    ------
    InputError
        On entering, when another run has it open.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: Any,
        dtype: str,
        n_places: int,
        place_of: Callable[[str], int | None],
        restart: bool = False,
    ):
        self.path = Path(path)
        self._place_of = place_of
        self._starts = array("Q", bytes(8 * n_places))  # 0: no entry; the title stands there
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._title = json.dumps([settings, dtype], sort_keys=True).encode()
        self._restart = restart

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = os.fdopen(open_locked(self.path, self.path), "r+b")
        self._size = os.fstat(self._file.fileno()).st_size
        end = 0 if self._restart else self._recover()
        self._file.seek(end)
        self._file.truncate()
        self._size = end
        if not end:
            self._write(self._title)
        self._title_end = _HEAD.size + len(self._title)
        return self

    def __exit__(self, *exception: Any) -> None:
        if not self._file.closed and self._size == self._title_end:
            self.remove()
        self._file.close()

    def __contains__(self, place: int) -> bool:
        return self._starts[place] > 0

    def __iter__(self) -> Iterator[int]:
        return (place for place, start in enumerate(self._starts) if start)

    def remove(self) -> None:
        """Delete the journal: its list is whole, or can never be."""
        self.path.unlink(missing_ok=True)
        self._file.close()
        self._starts = array("Q")  # its memory, while the other lists of the run are written

    def add(
        self,
        place: int,
        utterance: str,
        digest: bytes,
        rate: int,
        n_channels: int,
        n_samples: int,
        feature: NDArray[np.floating],
    ) -> None:
        """Append a recording's feature."""
        name = utterance.encode()
        rows, columns = feature.shape
        fields = _FIELDS.pack(len(name), digest, rate, n_channels, n_samples, rows, columns) + name
        self._starts[place] = self._write(fields, np.ascontiguousarray(feature, self._dtype).data.cast("B"))
        self._file.flush()  # to the operating system, where it survives the end of this process

    def digest(self, place: int) -> bytes | None:
        """Return the SHA-256 of the audio file that a recording's feature was made from, if there is one."""
        return self.entry(place).digest if place in self else None

    def entry(self, place: int) -> Entry:
        """Return what is known about a recording."""
        return self._fields(place)[0]

    def read(self, place: int) -> tuple[Entry, NDArray[np.floating]]:
        """Read a recording's entry and feature back."""
        entry, offset = self._fields(place)
        n_bytes = entry.shape[0] * entry.shape[1] * self._dtype.itemsize
        content = os.pread(self._file.fileno(), n_bytes, offset)
        return entry, np.frombuffer(content, self._dtype).reshape(entry.shape)

    def _fields(self, place: int) -> tuple[Entry, int]:
        """Return an entry and where its feature's bytes begin."""
        start = self._starts[place]
        name_length, digest, rate, n_channels, n_samples, rows, columns = _FIELDS.unpack(
            os.pread(self._file.fileno(), _FIELDS.size, start)
        )
        return Entry(digest, rate, n_channels, n_samples, (rows, columns)), start + _FIELDS.size + name_length

    def _write(self, content: bytes, rest: bytes | memoryview = b"") -> int:
        """Append a piece, given in one part or two, and return where its content begins."""
        length = len(content) + len(rest)
        self._file.write(_HEAD.pack(_MARK, length, zlib.crc32(rest, zlib.crc32(content))) + content)
        self._file.write(rest)
        start = self._size + _HEAD.size
        self._size = start + length
        return start

    def _recover(self) -> int:
        """Read the entries that are whole, and return where they end."""
        self._file.seek(0)
        content = self._read_piece()
        if content != self._title:
            return 0
        end = self._file.tell()
        while (content := self._read_piece()) is not None and self._remember(content, end + _HEAD.size):
            end = self._file.tell()
        return end

    def _read_piece(self) -> bytes | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        mark, length, checksum = _HEAD.unpack(head)
        if mark != _MARK or length > self._size:
            return None
        content = self._file.read(length)
        return content if len(content) == length and zlib.crc32(content) == checksum else None

    def _remember(self, content: bytes, start: int) -> bool:
        """Keep an entry in mind; return whether it is one."""
        if len(content) < _FIELDS.size:
            return False
        name_length, _, rate, n_channels, _, rows, columns = _FIELDS.unpack_from(content)
        head = _FIELDS.size + name_length
        if len(content) != head + rows * columns * self._dtype.itemsize or not rate or not n_channels:
            return False
        place = self._place_of(content[_FIELDS.size : head].decode(errors="replace"))
        if place is not None:
            self._starts[place] = start
        return True


def remove_journal(path: str | os.PathLike[str]) -> None:
    """Delete a journal that nobody needs any more, unless another run has it open."""
    path = Path(path)
    if path.exists():
        with contextlib.suppress(InputError):
            descriptor = open_locked(path, path)
            path.unlink(missing_ok=True)
            os.close(descriptor)
