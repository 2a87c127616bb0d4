"""The rows of pickled lists, read in any order, by any process, and in bounded memory.

A training pass needs all rows of one class, in parts that several workers fetch. `Table` knows where
each array stands in its list, from the list's record or by going over it once; several lists become
one table by laying their arrays side by side.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from sys import intern
from typing import NamedTuple

import numpy as np

from countermeasure import files
from countermeasure.errors import InputError
from countermeasure.lists import provenance
from countermeasure.lists.pickles import LETTERS, ListReader, ListWriter, read_list
from countermeasure.lists.rows import Column, ListFile, Rows
from countermeasure.lists.unpickling import ArrayRef

# Rows that are read and worked on at once, by one worker.
PART = 4096
# Some stretches of items: array [n, 3] of item, first row, row behind the last one.
Part = np.ndarray
# An index that names more is none.
_MOST_COLUMNS = 2**20
_DTYPES = {np.dtype(name) for name in ("<f4", "<f8", ">f4", ">f8")}
_LABELS = {letter: label for label, letter in LETTERS.items()}


def grouped(parts: Sequence[Part], n: int) -> list[Sequence[Part]]:
    """Return the parts in at most `n` groups of equally many, give or take one."""
    edges = np.linspace(0, len(parts), min(n, len(parts)) + 1).astype(int).tolist()
    return [parts[a:b] for a, b in pairwise(edges)]


# -- lists -----------------------------------------------------------------------------------------


class _List(NamedTuple):
    """A list, and where its items stand, in some 20 bytes each.

    Attributes
    ----------
    file : ListFile
    labels : list of str or None
    dtype : numpy.dtype
    n_columns : int
    starts : array [n_items], int64
        First byte of the data; 0 for an item that was left out.
    n_rows : array [n_items], int64
    """

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


def _open(path: Path, record: provenance.Record | None, resources: ExitStack) -> _List:
    found = _of_record(path, record) if record is not None else None
    return found._replace(file=resources.enter_context(found.file)) if found else _gone_over(path, resources)


def _of_record(path: Path, record: provenance.Record) -> _List | None:
    """Return a list by its record's index; None where that has none, or one that cannot be right.

    The index is no more to be trusted than the list: nothing outside of it is read.
    """
    index = record.index
    if index is None or index.dtype not in {dtype.str for dtype in _DTYPES} or not set(index.labels) <= _LABELS.keys():
        return None
    if len(index.row_shape) > 3 or not all(0 < n <= _MOST_COLUMNS for n in index.row_shape):
        return None
    dtype, n_columns = np.dtype(index.dtype), int(np.prod(index.row_shape, dtype=np.int64))
    starts, n_rows = np.array(index.starts, np.int64), np.array(record.n_frames, np.int64)
    if not starts.shape == n_rows.shape == (len(index.labels),) or not len(starts) or n_columns > _MOST_COLUMNS:
        return None
    file = ListFile(path)
    # Divided and not multiplied: products of what stands there may not fit into 64 bits.
    most = (file.size - starts) // (n_columns * dtype.itemsize)
    if not ((starts >= 0) & (n_rows >= 0) & (n_rows <= most)).all():
        file.__exit__()
        return None
    labels = [_LABELS[letter] for letter in index.labels]
    return _List(file, labels, dtype, n_columns, starts, np.where(starts == 0, 0, n_rows))


def _gone_over(path: Path, resources: ExitStack) -> _List:
    """Go over a list to learn where its items stand; one whose rows cannot be read in place is copied before."""
    labels: list[str | None] = []
    starts, n_rows = array("q"), array("q")
    dtypes: set[np.dtype] = set()
    n_columns, is_plain = 0, True
    with ListReader(path) as items:
        for value, label in items:
            labels.append(label and intern(label))
            ref = value if isinstance(value, ArrayRef) else None
            if value is None:
                starts.append(0)
                n_rows.append(0)
                continue
            n = int(np.prod(ref.shape[1:], dtype=object)) if ref else 1
            if not 0 < n <= _MOST_COLUMNS or n_columns not in (0, n):
                what = f"{n} dimensions, those before it {n_columns}" if n_columns else f"{n} dimensions"
                raise InputError(f"{path}: item {len(labels)} has {what}; make the list again")
            n_columns = n
            is_plain = is_plain and ref is not None and ref.offset is not None and not ref.fortran
            dtypes.add(ref.dtype if ref else np.dtype(np.float64))
            starts.append(ref.offset or 0 if ref else 0)
            n_rows.append(ref.shape[0] if ref else 1)
    if not labels:
        raise InputError(f"{path}: the list is empty; make it again")
    if not is_plain or len(dtypes) > 1 or not dtypes <= _DTYPES:
        all_single = all(dtype.newbyteorder("=") == np.float32 for dtype in dtypes)
        return _gone_over(_copied(path, "<f4" if all_single else "<f8", resources), resources)
    dtype = dtypes.pop() if dtypes else np.dtype(np.float32)
    where = np.array(starts, np.int64), np.array(n_rows, np.int64)
    return _List(resources.enter_context(ListFile(path)), labels, dtype, n_columns, *where)


def _copied(path: Path, dtype: str, resources: ExitStack) -> Path:
    """Return a copy, for as long as this run takes, of a list whose arrays differ in kind or are stored otherwise.

    So are those of protocol 2, those column by column, whole numbers and bare numbers.
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
        What is known about each list.
    utterances : list of str or None
        Of each item; None where no list has a record that names them.
    labels : list of str or None
        Of each item.
    n_rows : array of int
        Of each item; 0 for an item that a list leaves out.
    n_columns : int

    Raises
    ------
    InputError
        When a list is damaged or empty, or when the lists differ in length, utterances, labels or
        numbers of rows.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]):
        self.paths = [Path(path) for path in paths]
        self.described = [provenance.describe(files.existing(path)) for path in self.paths]
        with ExitStack() as resources:
            self._lists: list[_List] = []
            for i, described in enumerate(self.described):
                self._lists.append(_open(self.paths[i], described.record, resources))
                if described.record is not None:  # the index is large, and of no use from here on
                    self.described[i] = described._replace(record=replace(described.record, index=None))
            self._join()
            self._resources = resources.pop_all()

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def hold(self) -> None:
        """Hold the lists in memory from now on, rather than reading them again and again."""
        for each in self._lists:
            each.file.hold()

    @property
    def record(self) -> provenance.Record | None:
        """The first record there is; all lists are of the same trials."""
        return next((described.record for described in self.described if described.record), None)

    @property
    def doubts(self) -> list[str]:
        """What the caller should be told about lists whose records are missing or not their own."""
        return [described.doubt for described in self.described if described.doubt]

    @property
    def widths(self) -> list[int]:
        """Number of columns of each list."""
        return [each.n_columns for each in self._lists]

    def __len__(self) -> int:
        return len(self.labels)

    def _join(self) -> None:
        first = self._lists[0]
        for path, other in zip(self.paths[1:], self._lists[1:], strict=True):
            if len(other.labels) != len(first.labels):
                raise InputError(
                    f"{path}: {len(other.labels)} items, but {self.paths[0]} has {len(first.labels)}; "
                    "all lists of a folder must come from the same protocol"
                )
        self._check_windows()
        self.utterances = self._joined_utterances(len(first.labels))
        self.labels = self._joined_labels()
        rows = np.array([each.n_rows for each in self._lists])
        is_there = np.all([each.starts > 0 for each in self._lists], axis=0)
        uneven = np.flatnonzero(is_there & (rows != rows[0]).any(axis=0))
        if uneven.size:
            self._refuse_whole_files(rows[:, is_there])
            counts = _listed(self.paths, rows[:, uneven[0]].tolist())
            raise InputError(f"{self.name(uneven[0])} has rows: {counts}; {_MISALIGNED}")
        self.n_rows = np.where(is_there, rows[0], 0)
        self.n_columns = sum(each.n_columns for each in self._lists)

    def _refuse_whole_files(self, rows: np.ndarray) -> None:
        """Name the lists that have a row a recording beside such that have a row a frame; array [lists, items]."""
        whole = [str(path) for path, counts in zip(self.paths, rows, strict=True) if (counts == 1).all()]
        if whole:
            raise InputError(
                f"{', '.join(whole)}: describes whole recordings, a row each, as silence and file scores do, and takes "
                "part in file-level fusion only; take it out of the folder, or fuse at file level"
            )

    def _joined_labels(self) -> list[str | None]:
        """Return the labels that the lists agree on."""
        joined = list(self._lists[0].labels)
        for other in self._lists[1:]:
            if other.labels == joined:
                continue
            for i, (known, label) in enumerate(zip(joined, other.labels, strict=True)):
                if known is None:
                    joined[i] = label
                elif label is not None and label != known:
                    labels = [each.labels[i] for each in self._lists]
                    raise InputError(f"item {i + 1} is {_listed(self.paths, labels)}; {_MISALIGNED}")
        return joined

    def _check_windows(self) -> None:
        known = [(path, d.record.feature) for path, d in zip(self.paths, self.described, strict=True) if d.record]
        windows = [
            (path, feature["type"], feature["window_length_s"], feature["window_hop_s"])
            for path, feature in known
            if {"window_length_s", "window_hop_s"} <= feature.keys()
        ]
        for path, name, *window in windows[1:]:
            first_path, first_name, *first_window = windows[0]
            if window != first_window:
                raise InputError(
                    f"{path}: {name} has another window than the {first_name} of {first_path}, so their frames do not "
                    "belong side by side; fuse types of one window: all with -25 or all without"
                )

    def _joined_utterances(self, n_items: int) -> list[str] | None:
        """Return the utterances that the lists' records agree on."""
        known = [(path, d.record.utterances) for path, d in zip(self.paths, self.described, strict=True) if d.record]
        for path, utterances in known:
            if len(utterances) != n_items:
                raise InputError(
                    f"{path}: {n_items} items, but its record names {len(utterances)}; make the list again"
                )
            if utterances != known[0][1]:
                i = next(i for i, (a, b) in enumerate(zip(known[0][1], utterances, strict=True)) if a != b)
                raise InputError(
                    f"item {i + 1} is {known[0][1][i]} in {known[0][0]}, {utterances[i]} in {path}; {_MISALIGNED}"
                )
        return known[0][1] if known else None

    def name(self, i: int) -> str:
        """Return what item `i` is called in messages."""
        return self.utterances[i] if self.utterances else f"item {i + 1}"

    def item(self, i: int) -> np.ndarray:
        """Return the rows of item `i`; array [rows, columns]."""
        return self.rows(i, 0, int(self.n_rows[i]))

    def rows(self, item: int, start: int, stop: int) -> np.ndarray:
        """Return some rows of an item; array [stop - start, columns]."""
        return self.located(np.array([[item, start, stop]])).read()

    def located(self, part: Part) -> Rows:
        """Return where the rows of a part are, for a worker to read them."""
        return Rows([each.located(part) for each in self._lists])

    def parts(self, items: Sequence[int] | np.ndarray, n_rows: int = PART) -> list[Part]:
        """Divide the rows of some items into parts of at most `n_rows` rows, in order.

        The division depends on the items' numbers of rows alone. Only an item longer than a whole
        part is torn apart.
        """
        items = np.asarray(items, np.int64)
        stretches, firsts = array("q"), []
        filled = n_rows
        for item, n in zip(items.tolist(), self.n_rows[items].tolist(), strict=True):
            for start in range(0, n, n_rows):
                stop = min(start + n_rows, n)
                if filled + stop - start > n_rows:
                    firsts.append(len(stretches) // 3)
                    filled = 0
                stretches.extend((item, start, stop))
                filled += stop - start
        return np.split(np.array(stretches, np.int64).reshape(-1, 3), firsts[1:]) if firsts else []


_MISALIGNED = (
    "the lists are not of the same recordings in the same order, or of types with different windows; "
    "make them from one protocol, with one window"
)


def _listed(paths: Sequence[Path], values: Sequence[object]) -> str:
    return ", ".join(f"{value} in {path}" for path, value in zip(paths, values, strict=True))
