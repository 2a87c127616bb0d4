"""Rows of lists as byte ranges of their files, so that a worker on any machine can read them itself."""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import AbstractContextManager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from countermeasure import files
from countermeasure.errors import InputError

# Places of a file that are compared, besides its size, with the file of this path on another machine.
_SPOT_CHECKS, _SPOT_CHECK_BYTES = 32, 4096


class ListFile(AbstractContextManager):
    """A list's open file. In another process, a pickled one opens the same path."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._file = files.open_regular(self.path, buffering=0)  # closed by `close`
        self._held: np.ndarray | None = None
        self.size = os.fstat(self._file.fileno()).st_size

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __reduce__(self) -> tuple:
        return _FileElsewhere, (str(self.path.resolve()), self.identity)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the file's size and of bytes from places all over it."""
        digest = hashlib.sha256(b"%d" % self.size)
        for i in range(_SPOT_CHECKS):
            digest.update(os.pread(self._file.fileno(), _SPOT_CHECK_BYTES, i * self.size // _SPOT_CHECKS))
        return digest.hexdigest()

    def sha256(self) -> str:
        """Return the SHA-256 of the file."""
        return files.sha256_of(self._file)

    def hold(self) -> None:
        """Load the file; later reads come from memory."""
        content = np.empty(self.size, np.uint8)
        self.read_into(content, 0)
        self._held = content

    def read_into(self, array: np.ndarray, offset: int) -> None:
        """Fill a contiguous array with bytes of the file; safe in several threads."""
        target = array.ravel().view(np.uint8)  # `array.data` cannot be cast for every dtype
        if self._held is not None:
            target[:] = self._held[offset : offset + target.size]
        else:
            files.read_into(self._file, target.data, offset)


class _FileElsewhere(NamedTuple):
    """A `ListFile` from another process. It is opened when it is read, since Dask's scheduler may not see it."""

    path: str
    identity: str

    def read_into(self, array: np.ndarray, offset: int) -> None:
        _opened(self).read_into(array, offset)


@lru_cache(maxsize=32)
def _opened(there: _FileElsewhere) -> ListFile:
    """Open a list once per process and check that it is the same file."""
    try:
        file = ListFile(there.path)
    except OSError as error:
        raise InputError(
            f"{there.path}: {error.strerror} on {platform.node()}; all machines must see the lists under the same path"
        ) from None
    if file.identity != there.identity:
        file.close()
        raise InputError(
            f"{there.path}: on {platform.node()} this is another list; all machines must see the same files"
        )
    return file


class Column(NamedTuple):
    """Byte ranges of one list: first byte and number of rows of each."""

    file: ListFile | _FileElsewhere
    dtype: np.dtype
    n_columns: int
    offsets: list[int]
    n_rows: list[int]

    def read(self) -> np.ndarray:
        """Return the rows; array [n, columns]."""
        rows = np.empty((sum(self.n_rows), self.n_columns), self.dtype)
        filled = 0
        for offset, n in zip(self.offsets, self.n_rows, strict=True):
            self.file.read_into(rows[filled : filled + n], offset)
            filled += n
        return rows if self.dtype.isnative else rows.astype(self.dtype.newbyteorder("="))


class Rows(NamedTuple):
    """The same rows of several lists, to be read by any worker; small when pickled."""

    columns: list[Column]

    def read(self) -> np.ndarray:
        """Return the rows side by side; array [n, columns]."""
        arrays = [column.read() for column in self.columns]
        return arrays[0] if len(arrays) == 1 else np.hstack(arrays)
