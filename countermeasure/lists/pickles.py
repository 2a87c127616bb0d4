"""Pickled lists of arrays, written and read item by item.

A list is written as one ordinary pickle: ``pickle.load`` on any machine with NumPy from 1.22 to today gives it
back. It is read without running code, see `unpickling`, and in the same memory for any length.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import NoneType
from typing import IO, Any, NamedTuple

import numpy as np

from countermeasure.errors import InputError
from countermeasure.files import open_regular, replace_when_whole
from countermeasure.lists.unpickling import ArrayRef, Estimator, Unpickler
from countermeasure.trials.lines import BONAFIDE, SPOOF

# Without frames, items pickled one by one make one valid list.
PROTOCOL = 3
# `pickle.load` keeps a batch on its stack until it is appended; the usual size.
_BATCH = 1000

# -- writing ---------------------------------------------------------------------------------------


def dump(value: Any, file: IO[bytes]) -> None:
    """Pickle `value` so that equal values give equal bytes and any NumPy from 1.22 on loads them."""
    file.write(_pickled(value))


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, PROTOCOL)
    pickler.fast = True  # no references to earlier objects: bytes do not depend on which equal ones are the same
    pickler.dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")  # NumPy 2's name, unknown to NumPy 1


# A list of items that follow, its end, and what comes between two batches of them.
LIST_START = pickle.PROTO + bytes([PROTOCOL]) + pickle.EMPTY_LIST + pickle.MARK
LIST_END = pickle.APPENDS + pickle.STOP
_NEXT_BATCH = pickle.APPENDS + pickle.MARK

# The letter of a label in an index; any other label is '?', and the list is gone over to learn it.
LETTERS: dict[str | None, str] = {BONAFIDE: "b", SPOOF: "s", None: "-"}


@dataclass(frozen=True)
class Index:
    """Where the arrays of a list are in its file, so that the list can be read without going over it.

    Attributes
    ----------
    dtype : str
        Of all arrays, ``'<f4'`` for instance.
    row_shape : list of int
        Shape of one row of all arrays: ``[60]`` for features, ``[]`` for one score a frame.
    labels : str
        A letter an item, see `LETTERS`.
    starts : list of int
        First byte of each array's data; 0 for an item without an array.
    """

    dtype: str
    row_shape: list[int]
    labels: str
    starts: list[int]


class ItemWriter:
    """Append the items of a list to an open file, behind `LIST_START`.

    Attributes
    ----------
    size : int
        Bytes of the list so far.
    dtype, row_shape, labels, starts
        See `Index`; all arrays have one dtype and one shape of rows.
    """

    def __init__(self, file: IO[bytes]):
        self._file, self.size = file, len(LIST_START)
        self.dtype, self.row_shape = "", list[int]()
        self.labels, self.starts = list[str](), list[int]()

    def append(self, value: np.ndarray | None, label: str | None) -> None:
        """Write the next item."""
        if value is not None:
            value = np.asarray(value, order="C")
        item = _pickled((value, label))[2:-1]  # without PROTO and STOP
        # Behind the data: TUPLE and BUILD, the label, TUPLE2.
        behind = 3 + (1 if label is None else 5 + len(label.encode()))
        batch_end = b"" if (len(self.labels) + 1) % _BATCH else _NEXT_BATCH
        self._file.write(item + batch_end)  # before anything is noted: the disk may be full
        self.starts.append(0 if value is None else self.size + len(item) - behind - value.nbytes)
        self.labels.append(LETTERS.get(label, "?"))
        if value is not None:
            self.dtype, self.row_shape = value.dtype.str, list(value.shape[1:])
        self.size += len(item) + len(batch_end)

    @property
    def index(self) -> Index:
        """Where the items are."""
        return self.index_from(0)

    def index_from(self, first: int) -> Index:
        """Return where the items are, from item `first` on."""
        return Index(self.dtype, self.row_shape, "".join(self.labels[first:]), self.starts[first:])

    def resume(self, index: Index, size: int) -> None:
        """Take over items that are in the file already, up to byte `size` of the list."""
        self.dtype, self.row_shape = index.dtype, index.row_shape
        self.labels += index.labels
        self.starts += index.starts
        self.size = size


class ListWriter(ItemWriter, AbstractContextManager):
    """Write a list of ``(value, label)`` as one pickle, item by item.

    >>> with ListWriter("train-mfcc.pkl") as out:
    ...     out.append(feature, "bonafide")

    The file appears under its name when the block ends without an error.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._whole = replace_when_whole(path)

    def __enter__(self) -> ListWriter:
        super().__init__(self._whole.__enter__())
        self._file.write(LIST_START)
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        if exception[0] is None:
            self._file.write(LIST_END)
        return self._whole.__exit__(*exception)


# -- reading ---------------------------------------------------------------------------------------


class Item(NamedTuple):
    """One entry of a list; `value` is None for an entry that was left out."""

    value: ArrayRef | float | None
    label: str | None


def read_items(path: str | os.PathLike[str]) -> Iterator[Item]:
    """Yield the items of a pickled list without reading the data of their arrays.

    Items may be ``(array, label)``, ``(number, label)``, bare arrays (`label` is then None) or None, in any pickle
    protocol from 2 on and from any NumPy.

    Raises
    ------
    InputError
        When there is no such file, when it is cut short or no such list, and when it names anything but NumPy arrays.
    """
    with _open(path) as file:
        for number, value in enumerate(Unpickler(file).items(), 1):
            label = None
            if type(value) is tuple and len(value) == 2:
                value, label = value
            if type(label) not in (str, NoneType) or type(value) not in (ArrayRef, float, NoneType):
                raise InputError(f"{path}: item {number} is not (array, label); give a feature list or a score list")
            if type(value) is ArrayRef and (not value.shape or value.dtype.kind not in "fiu"):
                raise InputError(f"{path}: item {number} is no array of numbers; make the list again")
            yield Item(value, label)


def read_list(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray | None, str | None]]:
    """Yield the ``(array, label)`` of a pickled list one by one; a number is an array without axes.

    Errors as of `read_items`.
    """
    for value, label in read_items(path):
        yield value.read() if isinstance(value, ArrayRef) else value if value is None else np.asarray(value), label


def read_estimator(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the attributes of a pickled `GaussianMixture`, without scikit-learn.

    Raises
    ------
    InputError
        As `read_items`; and when the pickle is no `GaussianMixture`.
    """
    with _open(path) as file:
        found = Unpickler(file).value()
        if type(found) is not Estimator or found.state is None:
            raise InputError(f"{path}: holds no Gaussian mixture model; give a bon.gmm or sp.gmm")
        arrays = {name: value for name, value in found.state.items() if type(value) is ArrayRef and value.shape}
        return found.state | {name: value.read() for name, value in arrays.items()}


def _open(path: str | os.PathLike[str]) -> IO[bytes]:
    try:
        return open_regular(path, buffering=4096)  # a small buffer: most of a list is data that is skipped
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
