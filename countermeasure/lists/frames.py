"""The rows of pickled lists, read in any order, by any process, and in bounded memory.

A training pass needs all rows of one class, in parts that several workers fetch. `Table` knows where
each array stands in its list, from the list's record or by going over it once. A part of it, `Rows`,
is a few byte ranges, which a worker on another machine reads for itself. Several lists become one
table by laying their arrays side by side.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from sys import intern
from typing import NamedTuple, overload

import numpy as np

from countermeasure import files
from countermeasure.errors import InputError
from countermeasure.lists import provenance
from countermeasure.lists.pickles import LETTERS, ArrayRef, ListReader, ListWriter, read_list

# Rows that are read and worked on at once, by one worker.
PART = 4096
# An index that names more is none.
_MOST_COLUMNS = 2**20
_DTYPES = {"<f4", "<f8", ">f4", ">f8"}
# What is compared of a file, besides its size, to tell whether it is the same on another machine.
_SPOT_CHECKS, _SPOT_CHECK_BYTES = 32, 4096


class Segment(NamedTuple):
    """Some consecutive rows of one item of the lists."""

    item: int
    start: int
    stop: int


Part = list[Segment]


class Parts(Sequence[Part]):
    """Some items' rows in parts of at most `most` rows; in memory there are three numbers a segment."""

    def __init__(self, items: Sequence[int], n_rows: Sequence[int], most: int):
        self._items, self._starts, self._stops = array("q"), array("q"), array("q")
        self._firsts = array("q", [0])  # segment of each part, and the number of all segments
        filled = most
        for item, n in zip(items, n_rows, strict=True):
            for start in range(0, n, most):
                stop = min(start + most, n)
                if filled + stop - start > most:
                    self._firsts.append(len(self._items))
                    filled = 0
                self._items.append(item)
                self._starts.append(start)
                self._stops.append(stop)
                self._firsts[-1] = len(self._items)
                filled += stop - start

    def __len__(self) -> int:
        return len(self._firsts) - 1

    @overload
    def __getitem__(self, i: int) -> Part: ...

    @overload
    def __getitem__(self, i: slice) -> list[Part]: ...

    def __getitem__(self, i: int | slice) -> Part | list[Part]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        i = range(len(self))[i]  # counted from the front, or an IndexError
        segments = slice(self._firsts[i], self._firsts[i + 1])
        return list(map(Segment, self._items[segments], self._starts[segments], self._stops[segments]))

    def grouped(self, n: int) -> Iterator[list[Part]]:
        """Yield the parts in at most `n` groups of equally many, give or take one."""
        edges = np.linspace(0, len(self), min(n, len(self)) + 1).astype(int).tolist()
        return (self[a:b] for a, b in pairwise(edges))


# -- what is read, and where -----------------------------------------------------------------------


class ListFile(AbstractContextManager):
    """A list's file, of which byte ranges are read. Pickled, it becomes the same file elsewhere."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115  closed by __exit__
        self.size = os.fstat(self._file.fileno()).st_size

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __reduce__(self) -> tuple:
        return _FileElsewhere, self._elsewhere

    @cached_property
    def _elsewhere(self) -> tuple[str, str]:
        return str(self.path.resolve()), self.identity

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the file's size and of bytes from all over it: what is made anew differs in them."""
        digest = hashlib.sha256(b"%d" % self.size)
        for i in range(_SPOT_CHECKS):
            digest.update(os.pread(self._file.fileno(), _SPOT_CHECK_BYTES, i * self.size // _SPOT_CHECKS))
        return digest.hexdigest()

    def read_into(self, array: np.ndarray, offset: int) -> None:
        """Fill a contiguous array with bytes of the file; several threads may do so at once."""
        if not array.size:
            return
        target = array.reshape(-1).view(np.uint8)  # `array.data` cannot be cast for every dtype
        if files.read_into(self._file.fileno(), target.data, offset) != target.size:
            raise InputError(f"{self.path}: was cut short while it was read; make it again")


class _FileElsewhere(NamedTuple):
    """A `ListFile` that another process has sent here."""

    path: str
    identity: str

    def read_into(self, array: np.ndarray, offset: int) -> None:
        _opened(self).read_into(array, offset)


@lru_cache(maxsize=32)
def _opened(there: _FileElsewhere) -> ListFile:
    """Open a list as a worker does, once a process."""
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


class _Form(NamedTuple):
    """What several arrays of a list have in common; a row is what one index into the array gives."""

    dtype: np.dtype
    row_shape: tuple[int, ...]
    fortran: bool

    @property
    def n_columns(self) -> int:
        return math.prod(self.row_shape)

    @property
    def is_straight(self) -> bool:
        """Whether rows lie in the file one after another, as NumPy would have them."""
        return not self.fortran and self.dtype.isnative


class _Piece(NamedTuple):
    """Rows `start` to `stop` of an array of `n_rows` rows, whose data begin at byte `at` of its file.

    Where `form` is None, `at` is the one value there is.
    """

    form: _Form | None
    at: int | float
    n_rows: int
    start: int
    stop: int

    def read(self, file: ListFile | _FileElsewhere) -> np.ndarray:
        """Return the rows; array [stop - start, columns]."""
        if self.form is None:
            return np.array([[self.at]])
        dtype, row_shape, fortran = self.form
        n_columns, offset = self.form.n_columns, int(self.at)
        if fortran:
            whole = np.empty(self.n_rows * n_columns, dtype)
            file.read_into(whole, offset)
            rows = whole.reshape((self.n_rows, *row_shape), order="F").reshape(self.n_rows, n_columns)
            return rows[self.start : self.stop]
        rows = np.empty((self.stop - self.start, n_columns), dtype)
        file.read_into(rows, offset + self.start * n_columns * dtype.itemsize)
        return rows


class Rows(NamedTuple):
    """The rows of a part, still in their files; small, and picklable for a worker elsewhere."""

    columns: list[tuple[ListFile | _FileElsewhere, list[_Piece]]]

    def read(self) -> np.ndarray:
        """Return the rows; array [n, columns]."""
        arrays = [_read_pieces(file, pieces) for file, pieces in self.columns]
        return arrays[0] if len(arrays) == 1 else np.hstack(arrays)


def _read_pieces(file: ListFile | _FileElsewhere, pieces: list[_Piece]) -> np.ndarray:
    form = pieces[0].form
    if form is None or not form.is_straight or any(piece.form != form for piece in pieces):
        arrays = [piece.read(file) for piece in pieces]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    row_bytes = form.n_columns * form.dtype.itemsize
    rows = np.empty((sum(piece.stop - piece.start for piece in pieces), form.n_columns), form.dtype)
    filled = 0
    for piece in pieces:
        n = piece.stop - piece.start
        file.read_into(rows[filled : filled + n], int(piece.at) + piece.start * row_bytes)
        filled += n
    return rows


class HeldRows(NamedTuple):
    """The rows of a part that are in memory."""

    arrays: list[np.ndarray]

    def read(self) -> np.ndarray:
        """Return the rows; array [n, columns]."""
        return self.arrays[0] if len(self.arrays) == 1 else np.concatenate(self.arrays)


Located = Rows | HeldRows


# -- lists -----------------------------------------------------------------------------------------

# In place of a form: an item that was left out, and one that is a bare number.
_ABSENT, _NUMBER = -1, -2


@dataclass(frozen=True)
class _List:
    """A list: its file, and where its items stand there, in 28 bytes each.

    Attributes
    ----------
    file : ListFile
    labels : list of str or None
    forms : list of _Form
    form : array [n_items], int32
        Which of `forms`.
    starts : array [n_items], int64
        First byte of the data.
    n_rows : array [n_items], int64
    numbers : dict of int to float
        Items that are bare numbers.
    """

    file: ListFile
    labels: list[str | None]
    forms: list[_Form]
    form: np.ndarray
    starts: np.ndarray
    n_rows: np.ndarray
    numbers: dict[int, float]

    @property
    def n_columns(self) -> np.ndarray:
        """Columns of each item; array [n_items]."""
        return np.array([*(form.n_columns for form in self.forms), 1, 0])[self.form]

    def piece(self, segment: Segment) -> _Piece:
        """Return where some rows of an item are."""
        i, start, stop = segment
        form = int(self.form[i])
        if form == _NUMBER:
            return _Piece(None, self.numbers[i], 1, start, stop)
        return _Piece(self.forms[form], int(self.starts[i]), int(self.n_rows[i]), start, stop)


def _open(path: Path, record: provenance.Record | None, resources: ExitStack) -> _List:
    if record is not None and (found := _of_record(path, record)) is not None:
        resources.enter_context(found.file)
        return found
    return _gone_over(path, resources)


def _of_record(path: Path, record: provenance.Record) -> _List | None:
    """Return a list by its record's index; None where that has none, or one that cannot be.

    The index is no more to be trusted than the list: whatever it says, nothing outside is read.
    """
    if record.index is None:
        return None
    dtype, row_shape = record.index.dtype, record.index.row_shape
    starts, n_rows = np.array(record.index.starts, np.int64), np.array(record.n_frames, np.int64)
    shape_is_good = len(row_shape) < 4 and all(0 <= n <= _MOST_COLUMNS for n in row_shape)
    if dtype not in _DTYPES or not shape_is_good or not set(record.index.labels) <= _LABELS.keys():
        return None
    labels = [_LABELS[letter] for letter in record.index.labels]
    form = _Form(np.dtype(dtype), tuple(row_shape), False)
    if not starts.shape == n_rows.shape == (len(labels),) or not len(labels) or form.n_columns > _MOST_COLUMNS:
        return None
    file = ListFile(path)
    row_bytes = form.n_columns * form.dtype.itemsize
    # Divided and not multiplied: products of what stands there may not fit into 64 bits.
    fits = (starts >= 0) & (starts <= file.size) & (n_rows >= 0) & (n_rows <= (file.size - starts) // max(row_bytes, 1))
    if not fits.all():
        file.close()
        return None
    absent = starts == 0
    return _List(
        file,
        labels,
        [form],
        np.where(absent, _ABSENT, 0).astype(np.int32),
        starts,
        np.where(absent, 0, n_rows),
        {},
    )


_LABELS = {letter: label for label, letter in LETTERS.items()}


def _gone_over(path: Path, resources: ExitStack) -> _List:
    """Go over a list to learn where its items stand."""
    forms: dict[_Form, int] = {}
    labels: list[str | None] = []
    form, starts, n_rows = array("i"), array("q"), array("q")
    numbers: dict[int, float] = {}
    with ListReader(path) as items:
        for value, label in items:
            if isinstance(value, ArrayRef):
                if value.offset is None:
                    # Protocol 2 codes arrays as text, which cannot be read in parts.
                    return _gone_over(_rewritten(path, resources), resources)
                form.append(forms.setdefault(_Form(value.dtype, value.shape[1:], value.fortran), len(forms)))
                starts.append(value.offset)
                n_rows.append(value.shape[0])
            else:
                if value is not None:
                    numbers[len(labels)] = value
                form.append(_ABSENT if value is None else _NUMBER)
                starts.append(0)
                n_rows.append(0 if value is None else 1)
            labels.append(label and intern(label))
    if not labels:
        raise InputError(f"{path}: the list is empty; make it again")
    arrays = np.array(form, np.int32), np.array(starts, np.int64), np.array(n_rows, np.int64)
    return _List(resources.enter_context(ListFile(path)), labels, list(forms), *arrays, numbers)


def _rewritten(path: Path, resources: ExitStack) -> Path:
    folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="countermeasure-")))
    with ListWriter(folder / path.name) as out:
        for value, label in read_list(path):
            out.append(value, label)
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
            for i, (digest, record) in enumerate(self.described):
                self._lists.append(_open(self.paths[i], record, resources))
                if record is not None:  # large, and of no use from here on
                    self.described[i] = provenance.Described(digest, replace(record, index=None))
            self._join()
            self._held: list[np.ndarray] | None = None
            self._resources = resources.pop_all()

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def hold(self) -> None:
        """Hold all arrays in memory from now on, rather than reading them again and again."""
        nothing = np.empty((0, self.n_columns))
        self._held = [self.item(i) if n else nothing for i, n in enumerate(self.n_rows)]

    @property
    def record(self) -> provenance.Record | None:
        """The first record there is; all lists are of the same trials."""
        return next((described.record for described in self.described if described.record), None)

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
        is_there = np.all([each.form != _ABSENT for each in self._lists], axis=0)
        uneven = np.flatnonzero(is_there & (rows != rows[0]).any(axis=0))
        if uneven.size:
            self._refuse_whole_files(rows[:, is_there])
            counts = _listed(self.paths, rows[:, uneven[0]].tolist())
            raise InputError(f"{self.name(uneven[0])} has rows: {counts}; {_MISALIGNED}")
        self.n_rows = np.where(is_there, rows[0], 0)
        columns = np.sum([each.n_columns for each in self._lists], axis=0)[is_there]
        self.n_columns = int(columns[0]) if columns.size else 0
        unlike = np.flatnonzero((columns == 0) | (columns != self.n_columns))
        if unlike.size:
            n = columns[unlike[0]]
            what = f"has {n} dimensions, those before it {self.n_columns}" if n else "has no dimensions"
            i = np.flatnonzero(is_there)[unlike[0]]
            raise InputError(f"{_names(self.paths)}: {self.name(i)} {what}; make the list again")

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
        return self.rows(Segment(i, 0, int(self.n_rows[i])))

    def rows(self, segment: Segment) -> np.ndarray:
        """Return some rows of an item; array [rows, columns]."""
        return self.located([segment]).read()

    def located(self, part: Part) -> Located:
        """Return where the rows of a part are, for a worker to read them."""
        if self._held is not None:
            return HeldRows([self._held[i][start:stop] for i, start, stop in part])
        return Rows([(each.file, [each.piece(segment) for segment in part]) for each in self._lists])

    def parts(self, items: Sequence[int] | np.ndarray, n_rows: int = PART) -> Parts:
        """Divide the rows of some items into parts of at most `n_rows` rows, in order.

        The division depends on the items' numbers of rows alone. Only an item longer than a whole
        part is torn apart.
        """
        items = np.asarray(items, np.int64)
        return Parts(items.tolist(), self.n_rows[items].tolist(), n_rows)


_MISALIGNED = (
    "the lists are not of the same recordings in the same order, or of types with different windows; "
    "make them from one protocol, with one window"
)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)


def _listed(paths: Sequence[Path], values: Sequence[object]) -> str:
    return ", ".join(f"{value} in {path}" for path, value in zip(paths, values, strict=True))
