"""What an unfinished run has done already.

A journal stands beside the list that it is for, one entry a recording, in the order in which they
were finished. A run that was killed leaves a whole number of entries and at most one torn one, which
is cut off. Entries are plain bytes with a checksum; nothing in them is run.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    offset : int
        Where in the journal the feature's bytes begin.
    """

    digest: bytes
    rate: int
    n_channels: int
    n_samples: int
    shape: tuple[int, int]
    offset: int


class Journal(AbstractContextManager):
    """Features of one type, kept on disk as they are computed.

    Parameters
    ----------
    path : path
    settings : JSON value
        A journal that was made with other settings is started anew.
    dtype : {'float32', 'float64'}

    Attributes
    ----------
    entries : dict of str to Entry
        By utterance.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Any, dtype: str):
        self.path = Path(path)
        self.entries: dict[str, Entry] = {}
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._title = json.dumps([settings, dtype], sort_keys=True).encode()

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = open(self.path, "a+b")
        self._size = os.fstat(self._file.fileno()).st_size
        end = self._recover()
        self._file.truncate(end)
        self._size = end
        if not end:
            self._write(self._title)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()

    def remove(self) -> None:
        """Delete the journal; its list is whole."""
        self._file.close()
        self.path.unlink()

    def add(
        self, utterance: str, digest: bytes, rate: int, n_channels: int, n_samples: int, feature: NDArray[np.floating]
    ) -> None:
        """Append a recording's feature."""
        name = utterance.encode()
        rows, columns = feature.shape
        fields = _FIELDS.pack(len(name), digest, rate, n_channels, n_samples, rows, columns) + name
        start = self._write(fields, np.ascontiguousarray(feature, self._dtype).tobytes())
        self._file.flush()  # to the operating system, where it survives the end of this process
        self.entries[utterance] = Entry(digest, rate, n_channels, n_samples, (rows, columns), start + len(fields))

    def feature(self, utterance: str) -> NDArray[np.floating]:
        """Read a recording's feature back."""
        entry = self.entries[utterance]
        n_bytes = entry.shape[0] * entry.shape[1] * self._dtype.itemsize
        return np.frombuffer(os.pread(self._file.fileno(), n_bytes, entry.offset), self._dtype).reshape(entry.shape)

    def _write(self, *parts: bytes) -> int:
        """Append a piece and return where its content begins."""
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        head = _HEAD.pack(_MARK, sum(map(len, parts)), checksum)
        for part in (head, *parts):
            self._file.write(part)
        start = self._size + len(head)
        self._size = start + sum(map(len, parts))
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
        name_length, digest, rate, n_channels, n_samples, rows, columns = _FIELDS.unpack_from(content)
        head = _FIELDS.size + name_length
        if len(content) != head + rows * columns * self._dtype.itemsize or not rate or not n_channels:
            return False
        name = content[_FIELDS.size : head].decode(errors="replace")
        self.entries[name] = Entry(digest, rate, n_channels, n_samples, (rows, columns), start + head)
        return True
