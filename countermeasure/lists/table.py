"""The rows of pickled lists, read in any order, by any process, and in bounded memory.

A training pass needs all rows of one class, in parts that several workers read. `Table` knows where each array is
in its file, from the list's record or by reading through the list once. Several lists form one table with their
columns side by side.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from countermeasure.errors import InputError
from countermeasure.lists import provenance
from countermeasure.lists.pickles import LETTERS, ListWriter, read_items, read_list
from countermeasure.lists.rows import Column, ListFile, Rows
from countermeasure.lists.unpickling import ArrayRef

# Rows that one worker reads at once.
PART = 4096
# Ranges of rows: array [n, 3] of item, first row, end (exclusive).
Part = np.ndarray
# Types of numbers that are read in place; lists of others are copied first.
_DTYPES = {name: np.dtype(name) for name in ("<f4", "<f8", ">f4", ">f8")}
_LABELS = {letter: label for label, letter in LETTERS.items()}


def grouped(parts: Sequence[Part], n: int) -> list[Sequence[Part]]:
    """Divide parts into at most `n` groups whose sizes differ by at most one."""
    edges = np.linspace(0, len(parts), min(n, len(parts)) + 1).astype(int).tolist()
    return [parts[a:b] for a, b in pairwise(edges)]


# -- lists -----------------------------------------------------------------------------------------


class _List(NamedTuple):
    """A list and, for each item, its first byte and number of rows, arrays [n_items]."""

    file: ListFile
    labels: list[str | None]
    dtype: np.dtype
    n_columns: int
    starts: np.ndarray
    n_rows: np.ndarray

    def located(self, part: Part) -> Column:
        """Return where the rows of a part are."""
        items, first, last = part.T
        offsets = self.starts[items] + first * (self.n_columns * self.dtype.itemsize)
        return Column(self.file, self.dtype, self.n_columns, offsets.tolist(), (last - first).tolist())


def _of_record(file: ListFile, record: provenance.Record) -> _List | None:
    """Locate the items by the record's index; None without an index, or if it points outside the file."""
    index = record.index
    if index is None or index.dtype not in _DTYPES or not set(index.labels) <= _LABELS.keys():
        return None
    dtype, n_columns = _DTYPES[index.dtype], math.prod(index.row_shape)
    starts, n_rows = np.array(index.starts, np.int64), np.array(record.n_frames, np.int64)
    row_bytes = n_columns * dtype.itemsize
    if not len(starts) == len(n_rows) == len(index.labels) > 0 or not 0 < row_bytes <= file.size:
        return None
    ends = starts + n_rows * float(row_bytes)  # floats do not overflow
    if min(starts.min(), n_rows.min()) < 0 or ends.max() > file.size:
        return None
    return _List(file, [_LABELS[letter] for letter in index.labels], dtype, n_columns, starts, n_rows)


def _read_through(path: Path, resources: ExitStack) -> _List:
    """Read through a list to locate its items; a list whose rows cannot be read in place is copied first."""
    labels, starts, n_rows = [], [], []
    dtypes, n_columns, is_plain = set(), 0, True
    for value, label in read_items(path):
        ref = value if isinstance(value, ArrayRef) else None
        shape = ref.shape if ref else (int(value is not None),)
        labels.append(label)
        starts.append((ref and ref.offset) or 0)
        n_rows.append(shape[0])
        if not shape[0]:
            continue
        n = math.prod(shape[1:])
        if not n or n_columns not in (0, n):
            before = f", those before it {n_columns}" if n_columns else ""
            raise InputError(f"{path}: item {len(labels)} has {n} dimensions{before}; make the list again")
        n_columns = n
        is_plain = is_plain and ref is not None and ref.offset is not None and not ref.fortran
        dtypes.add(ref.dtype if ref else np.dtype(np.float64))
    if not labels:
        raise InputError(f"{path}: the list is empty; make it again")
    if not is_plain or len(dtypes) > 1 or dtypes - set(_DTYPES.values()):
        is_single = all(dtype.newbyteorder("=") == np.float32 for dtype in dtypes)
        return _read_through(_copied(path, "<f4" if is_single else "<f8", resources), resources)
    file = resources.enter_context(ListFile(path))
    dtype = dtypes.pop() if dtypes else np.dtype(np.float32)
    return _List(file, labels, dtype, n_columns, np.array(starts, np.int64), np.array(n_rows, np.int64))


def _copied(path: Path, dtype: str, resources: ExitStack) -> Path:
    """Make a temporary copy of a list with one dtype, for rows that cannot be read in place.

    These are rows of several dtypes, integers, bare numbers, arrays in Fortran order, and those of pickle protocol 2.
    """
    folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="countermeasure-")))
    with ListWriter(folder / path.name) as out:
        for value, label in read_list(path):
            out.append(None if value is None else np.atleast_1d(value).astype(dtype), label)
    return folder / path.name


# -- tables ----------------------------------------------------------------------------------------


class Table(AbstractContextManager):
    """Lists of the same items, laid side by side: item `i` is an array [rows, columns].

    Parameters
    ----------
    paths : sequence of path
        Pickled lists. Their arrays are [rows], [rows, columns] or bare numbers.

    Attributes
    ----------
    described : list of provenance.Described
        Checksum and record of each list.
    doubts : list of str
        Messages about lists whose records are missing or describe other lists.
    record : provenance.Record or None
        The first record found; all lists are of the same trials.
    utterances : list of str or None
        Of each item; None if no list has a record.
    labels : list of str or None
        Of each item.
    n_rows : array of int
        Of each item; 0 if one of the lists has no array for it.
    widths : list of int
        Number of columns of each list.
    n_columns : int
        Of all lists.

    Raises
    ------
    InputError
        If a list is damaged or empty, or the lists differ in length, utterances, labels or numbers of rows.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]):
        self.paths = [Path(path) for path in paths]
        with ExitStack() as resources:
            # Opened first, so that a list that is replaced meanwhile is not read by its successor's record.
            files = [resources.enter_context(ListFile(path)) for path in self.paths]
            self.described = [provenance.describe(file.path, file.sha256()) for file in files]
            self.record = next((described.record for described in self.described if described.record), None)
            self.utterances = self.record.utterances if self.record else None
            self.doubts = [described.doubt for described in self.described if described.doubt]
            self._lists = [
                (described.record and _of_record(file, described.record)) or _read_through(file.path, resources)
                for file, described in zip(files, self.described, strict=True)
            ]
            self._check_items()
            self.labels = self._joined_labels()
            self.n_rows = self._joined_rows()
            self.widths = [each.n_columns for each in self._lists]
            self.n_columns = sum(self.widths)
            self._resources = resources.pop_all()

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def hold(self) -> None:
        """Load the lists; later reads come from memory."""
        for each in self._lists:
            each.file.hold()

    def __len__(self) -> int:
        return len(self.labels)

    def _check_items(self) -> None:
        """Check that the lists have equally many items, of the same utterances."""
        n_items = len(self._lists[0].labels)
        for path, each, described in zip(self.paths, self._lists, self.described, strict=True):
            if len(each.labels) != n_items:
                raise InputError(
                    f"{path}: {len(each.labels)} items, but {self.paths[0]} has {n_items}; "
                    "all lists of a folder must come from the same protocol"
                )
            if described.record is None or self.utterances is None:
                continue
            utterances = described.record.utterances
            if len(utterances) != n_items:
                raise InputError(
                    f"{path}: {n_items} items, but its record names {len(utterances)}; make the list again"
                )
            for i, (one, other) in enumerate(zip(utterances, self.utterances, strict=True)):
                if one != other:
                    raise InputError(f"{path}: item {i + 1} is {one}, not {other}; {_MISALIGNED}")

    def _joined_labels(self) -> list[str | None]:
        """Return the labels that the lists agree on."""
        joined = list(self._lists[0].labels)
        for other in self._lists[1:]:
            for i, (known, label) in enumerate(zip(joined, other.labels, strict=True)):
                if known is None:
                    joined[i] = label
                elif label not in (None, known):
                    labels = [each.labels[i] for each in self._lists]
                    raise InputError(f"item {i + 1} is {_listed(self.paths, labels)}; {_MISALIGNED}")
        return joined

    def _joined_rows(self) -> np.ndarray:
        """Return the numbers of rows that the lists agree on; 0 for items that a list leaves out."""
        rows = np.array([each.n_rows for each in self._lists])
        is_there = (rows > 0).all(axis=0)
        uneven = np.flatnonzero(is_there & (rows != rows[0]).any(axis=0))
        if not uneven.size:
            return np.where(is_there, rows[0], 0)
        whole = [str(path) for path, counts in zip(self.paths, rows, strict=True) if (counts <= 1).all()]
        if whole:
            raise InputError(
                f"{', '.join(whole)}: describes whole recordings, a row each, as silence and file scores do, and takes "
                "part in file-level fusion only; take it out of the folder, or fuse at file level"
            )
        counts = _listed(self.paths, rows[:, uneven[0]].tolist())
        raise InputError(f"{self.name(uneven[0])} has rows: {counts}; {_MISALIGNED}")

    def name(self, i: int) -> str:
        """Return the name of item `i` in messages."""
        return self.utterances[i] if self.utterances else f"item {i + 1}"

    def rows(self, item: int, start: int, stop: int) -> np.ndarray:
        """Return some rows of an item; array [stop - start, columns]."""
        return self.located(np.array([[item, start, stop]])).read()

    def located(self, part: Part) -> Rows:
        """Return the rows of a part as byte ranges, to be read by a worker."""
        return Rows([each.located(part) for each in self._lists])

    def parts(self, items: Sequence[int] | np.ndarray, n_rows: int = PART) -> list[Part]:
        """Divide the rows of some items, in order, into parts of at most `n_rows` rows.

        The result depends only on the items' numbers of rows. Only items longer than `n_rows` are divided.
        """
        items = np.asarray(items, np.int64)
        parts: list[list[tuple[int, int, int]]] = []
        filled = n_rows
        for item, n in zip(items.tolist(), self.n_rows[items].tolist(), strict=True):
            for start in range(0, n, n_rows):
                size = min(n - start, n_rows)
                if filled + size > n_rows:
                    parts.append([])
                    filled = 0
                parts[-1].append((item, start, start + size))
                filled += size
        return [np.array(part, np.int64) for part in parts]


_MISALIGNED = (
    "the lists are not of the same recordings in the same order, or of types with different windows; "
    "make them from one protocol, with one window"
)


def _listed(paths: Sequence[Path], values: Sequence[object]) -> str:
    return ", ".join(f"{value} in {path}" for path, value in zip(paths, values, strict=True))
