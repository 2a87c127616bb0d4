"""The rows of pickled lists, read in any order and in bounded memory.

A training pass needs all rows of one class, in parts that several threads fetch. `Rows` goes over
the lists once to learn where each array stands, and reads parts of the files from then on. Several
lists become one table by laying their arrays side by side.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple, TypeGuard

import numpy as np

from countermeasure import files, provenance
from countermeasure.compute import Threads
from countermeasure.errors import InputError
from countermeasure.mixture import Standardisation
from countermeasure.pickles import ArrayRef, Item, ListReader, ListWriter, read_list

# Rows that are read and worked on at once, by one thread.
PART = 4096


class Segment(NamedTuple):
    """Some consecutive rows of one item of the lists."""

    item: int
    start: int
    stop: int


Part = list[Segment]


class Table(AbstractContextManager):
    """Lists of the same items, laid side by side: item `i` is an array [rows, columns].

    Parameters
    ----------
    paths : sequence of path
        Pickled lists. Their arrays are [rows], [rows, columns] or bare numbers.
    in_memory : bool
        Whether the arrays are held in memory rather than read from the files again and again.

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

    def __init__(self, paths: Sequence[str | os.PathLike[str]], in_memory: bool = False):
        self.paths = [Path(path) for path in paths]
        self.described = [provenance.describe(files.existing(path)) for path in self.paths]
        self._readers: list[ListReader] = []
        self._columns: list[list[Item]] = []
        with ExitStack() as resources:
            for path in self.paths:
                reader, items = _open(path, resources)
                self._readers.append(reader)
                self._columns.append(items)
            self._join()
            self._held: list[np.ndarray | None] | None = None
            if in_memory:
                self._held = [self.item(i) if n else None for i, n in enumerate(self.n_rows)]
            self._resources = resources.pop_all()

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    @property
    def record(self) -> provenance.Record | None:
        """The first record there is; all lists are of the same trials."""
        return next((described.record for described in self.described if described.record), None)

    def __len__(self) -> int:
        return len(self.labels)

    def _join(self) -> None:
        first = self._columns[0]
        for path, column in zip(self.paths[1:], self._columns[1:], strict=True):
            if len(column) != len(first):
                raise InputError(
                    f"{path}: {len(column)} items, but {self.paths[0]} has {len(first)}; "
                    "all lists of a folder must come from the same protocol"
                )
        self._check_windows()
        self.utterances = self._joined_utterances(len(first))
        self.labels: list[str | None] = []
        self.n_rows = np.zeros(len(first), dtype=np.int64)
        self.n_columns = 0
        for i, items in enumerate(zip(*self._columns, strict=True)):
            labels = {item.label for item in items if item.label is not None}
            if len(labels) > 1:
                raise InputError(
                    f"item {i + 1} is {_listed(self.paths, [item.label for item in items])}; {_MISALIGNED}"
                )
            self.labels.append(labels.pop() if labels else None)
            if any(item.value is None for item in items):
                continue
            shapes = [_shape(item.value) for item in items]
            if len({rows for rows, _ in shapes}) > 1:
                raise InputError(
                    f"{self.name(i)} has {_listed(self.paths, [rows for rows, _ in shapes])} frames; {_MISALIGNED}"
                )
            n_columns = sum(columns for _, columns in shapes)
            if not n_columns:
                raise InputError(f"{_names(self.paths)}: {self.name(i)} has no dimensions; make the list again")
            if self.n_columns and n_columns != self.n_columns:
                raise InputError(
                    f"{_names(self.paths)}: {self.name(i)} has {n_columns} dimensions, "
                    f"those before it {self.n_columns}; make the list again"
                )
            self.n_columns, self.n_rows[i] = n_columns, shapes[0][0]

    def _check_windows(self) -> None:
        known = [(path, d.record.feature) for path, d in zip(self.paths, self.described, strict=True) if d.record]
        windows = [
            (path, feature["type"], feature["window_length_s"], feature["window_hop_s"])
            for path, feature in known
            if "window_length_s" in feature
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
        i, start, stop = segment
        if self._held is not None and (held := self._held[i]) is not None:
            return held[start:stop]
        arrays = [
            _read_rows(reader, column[i], start, stop)
            for reader, column in zip(self._readers, self._columns, strict=True)
        ]
        return arrays[0] if len(arrays) == 1 else np.hstack(arrays)

    def parts(self, items: Sequence[int] | np.ndarray, n_rows: int = PART) -> list[Part]:
        """Divide the rows of some items into parts of at most `n_rows` rows, in order.

        The division depends on the items' numbers of rows alone. Only an item longer than a whole
        part is torn apart.
        """
        parts: list[Part] = []
        filled = n_rows
        for i in items:
            for start in range(0, int(self.n_rows[i]), n_rows):
                stop = min(start + n_rows, int(self.n_rows[i]))
                if filled + stop - start > n_rows:
                    parts.append([])
                    filled = 0
                parts[-1].append(Segment(int(i), start, stop))
                filled += stop - start
        return parts

    def _read_straight(self, part: Part) -> np.ndarray | None:
        """Read a part of a single list into one array; None where the list's arrays do not lie so."""
        reader, column = self._readers[0], self._columns[0]
        first = column[part[0].item].value
        dtype = first.dtype if isinstance(first, ArrayRef) else np.dtype(float)
        array = np.empty((sum(segment.stop - segment.start for segment in part), self.n_columns), dtype)
        filled = 0
        for i, start, stop in part:
            value = column[i].value
            if not _is_straight(value, dtype):
                return None
            reader.read_into(
                array[filled : filled + stop - start], value.offset + start * self.n_columns * dtype.itemsize
            )
            filled += stop - start
        return array

    def read(self, part: Part) -> np.ndarray:
        """Return the rows of a part; array [rows, columns]."""
        if len(self._readers) == 1 and self._held is None and (array := self._read_straight(part)) is not None:
            return array
        arrays = [self.rows(segment) for segment in part]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _is_straight(value: ArrayRef | float | None, dtype: np.dtype) -> TypeGuard[ArrayRef]:
    """Tell whether an array's rows lie in the file one after another, as NumPy would have them."""
    return isinstance(value, ArrayRef) and not value.fortran and value.dtype == dtype and dtype.isnative


def _open(path: Path, resources: ExitStack) -> tuple[ListReader, list[Item]]:
    reader = resources.enter_context(ListReader(path))
    items: list[Item] = []
    for item in reader:
        if isinstance(item.value, ArrayRef) and item.value.inline is not None:
            # Protocol 2 codes arrays as text, which cannot be read in parts.
            return _open(_rewritten(path, resources), resources)
        items.append(item)
    if not items:
        raise InputError(f"{path}: the list is empty; make it again")
    return reader, items


def _rewritten(path: Path, resources: ExitStack) -> Path:
    folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="countermeasure-")))
    with ListWriter(folder / path.name) as out:
        for value, label in read_list(path):
            out.append(value, label)
    return folder / path.name


def standardisation(table: Table, items: np.ndarray, threads: Threads) -> Standardisation:
    """Return mean and standard deviation of each dimension over the rows of some items.

    A dimension that never changes gets the scale 1.

    Raises
    ------
    InputError
        When a value is NaN or infinite; names the item.
    """

    def moments(part: Part) -> tuple[int, np.ndarray, np.ndarray]:
        rows = table.read(part)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = rows.mean(axis=0, dtype=np.float64)
            squares = ((rows - mean) ** 2).sum(axis=0)
            is_usable = np.isfinite((squares + mean**2).astype(np.float32)).all()
        if not is_usable:
            _refuse_not_finite(table, part)
        return len(rows), mean, squares

    n, mean, squares = 0, np.zeros(table.n_columns), np.zeros(table.n_columns)
    for part_n, part_mean, part_squares in threads.map(moments, table.parts(items)):
        # T. F. Chan et al., Updating formulae for computing sample variances, 1979.
        difference = part_mean - mean
        squares += part_squares + difference**2 * (n * part_n / (n + part_n))
        mean = mean + difference * (part_n / (n + part_n))
        n += part_n
    deviation = np.sqrt(squares / n)
    constant = deviation <= 1e-6 * np.abs(mean) + np.finfo(np.float32).tiny  # what float32 rounding makes of it
    return Standardisation(mean, np.where(constant, 1.0, deviation))


def _refuse_not_finite(table: Table, part: Part) -> None:
    for segment in part:
        with np.errstate(over="ignore", invalid="ignore"):
            usable = np.isfinite(table.rows(segment).astype(np.float32) ** 2).all()
        if not usable:
            raise InputError(
                f"{_names(table.paths)}: {table.name(segment.item)} holds a value that is NaN, infinite or too large "
                "to be squared; make the list again"
            )


def sample(table: Table, items: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` rows drawn from some items without repetition, or all where there are fewer.

    Array [n, columns], in the order of the list.
    """
    ends = np.cumsum(table.n_rows[items])
    total = int(ends[-1])
    chosen = np.sort(rng.choice(total, n, replace=False)) if n < total else np.arange(total)
    rows = np.empty((len(chosen), table.n_columns))
    owner = np.searchsorted(ends, chosen, side="right")
    for k in np.unique(owner):
        mine = owner == k
        item = items[k]
        rows[mine] = table.item(item)[chosen[mine] - (ends[k] - table.n_rows[item])]
    return rows


def _shape(value: ArrayRef | float | None) -> tuple[int, int]:
    if not isinstance(value, ArrayRef):
        return 1, 1
    return (value.shape[0], 1) if len(value.shape) == 1 else (value.shape[0], int(np.prod(value.shape[1:])))


def _read_rows(reader: ListReader, item: Item, start: int, stop: int) -> np.ndarray:
    value = item.value
    return reader.array(item).reshape(_shape(value))[start:stop]


_MISALIGNED = (
    "the lists are not of the same recordings in the same order, or of types with different windows; "
    "make them from one protocol, with one window"
)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)


def _listed(paths: Sequence[Path], values: Sequence[object]) -> str:
    return ", ".join(f"{value} in {path}" for path, value in zip(paths, values, strict=True))
