"""Pickled lists of arrays, written and read item by item.

A list is one ordinary pickle, which ``pickle.load`` reads with any NumPy since 1.22. This module reads it without
running code, see `unpickling`, and leaves the data of the arrays in the file until they are read.
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
from countermeasure.files import open_regular, replace_when_whole, sha256_of
from countermeasure.lists.unpickling import ArrayRef, Estimator, Unpickler
from countermeasure.trials.lines import BONAFIDE, SPOOF

# The last protocol without frames: separately pickled items can be joined to one list.
PROTOCOL = 3
# Items that `pickle.load` appends at once, as in other pickles.
_BATCH = 1000

# -- writing ---------------------------------------------------------------------------------------


def dump(value: Any, file: IO[bytes]) -> None:
    """Pickle `value` so that equal values give equal bytes and any NumPy since 1.22 loads them."""
    file.write(_pickled(value))


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, PROTOCOL)
    pickler.fast = True  # without references, so that bytes do not depend on the identity of objects
    pickler.dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")  # NumPy 2's name, unknown to NumPy 1


# What stands before the items of a list, after them, and between two batches.
LIST_START = pickle.PROTO + bytes([PROTOCOL]) + pickle.EMPTY_LIST + pickle.MARK
LIST_END = pickle.APPENDS + pickle.STOP
_NEXT_BATCH = pickle.APPENDS + pickle.MARK

# The letter of a label in an index; other labels are '?', and readers then have to read the whole list.
LETTERS: dict[str | None, str] = {BONAFIDE: "b", SPOOF: "s", None: "-"}


@dataclass(frozen=True)
class Index:
    """Where the arrays of a list are in its file, so that readers need not unpickle it.

    Attributes
    ----------
    dtype : str
        Of all arrays, such as ``'<f4'``.
    row_shape : list of int
        Shape of one row of all arrays: ``[60]`` for features, ``[]`` for one score per frame.
    labels : str
        One letter per item, see `LETTERS`.
    starts : list of int
        First byte of each array's data; 0 for an item without an array.
    """

    dtype: str
    row_shape: list[int]
    labels: str
    starts: list[int]


class ItemWriter:
    """Append the items of a list to an open file, after `LIST_START`.

    All arrays have the same dtype and shape of rows.

    Attributes
    ----------
    size : int
        Bytes of the list so far.
    dtype, row_shape, labels, starts
        See `Index`.
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
        # Bytes after the data: TUPLE and BUILD, the label, TUPLE2.
        behind = 3 + (1 if label is None else 5 + len(label.encode()))
        batch_end = b"" if (len(self.labels) + 1) % _BATCH else _NEXT_BATCH
        self._file.write(item + batch_end)  # first, since the disk may be full
        self.starts.append(0 if value is None else self.size + len(item) - behind - value.nbytes)
        self.labels.append(LETTERS.get(label, "?"))
        if value is not None:
            self.dtype, self.row_shape = value.dtype.str, list(value.shape[1:])
        self.size += len(item) + len(batch_end)

    def index(self, first: int = 0) -> Index:
        """Return the index of the items from number `first` on."""
        return Index(self.dtype, self.row_shape, "".join(self.labels[first:]), self.starts[first:])

    def resume(self, index: Index, size: int) -> None:
        """Continue after items that are already in the file, up to byte `size` of the list."""
        self.dtype, self.row_shape = index.dtype, index.row_shape
        self.labels += index.labels
        self.starts += index.starts
        self.size = size


class ListWriter(ItemWriter, AbstractContextManager):
    """Write a list of ``(value, label)`` as one pickle, item by item.

    >>> with ListWriter("train-mfcc.pkl") as out:
    ...     out.append(feature, "bonafide")

    The file appears when the block ends without an error.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._whole = replace_when_whole(path)

    def __enter__(self) -> ListWriter:
        super().__init__(self._whole.__enter__())
        self._file.write(LIST_START)
        return self

    def __exit__(self, kind: Any, *exception: Any) -> bool | None:
        if kind is None:
            self._file.write(LIST_END)
        return self._whole.__exit__(kind, *exception)


# -- reading ---------------------------------------------------------------------------------------


class Item(NamedTuple):
    """One entry of a list; `value` is None for a recording that was left out."""

    value: ArrayRef | float | None
    label: str | None


def read_items(path: str | os.PathLike[str]) -> Iterator[Item]:
    """Yield the items of a pickled list without reading the data of their arrays.

    Items may be ``(array, label)``, ``(number, label)``, bare arrays (`label` is then None) or None, pickled with any
    protocol since 2 and any NumPy.

    Raises
    ------
    InputError
        If the file is missing, damaged or not such a list, or if its pickle would run code.
    """
    with _open(path) as file:
        for number, value in enumerate(Unpickler(file).items(), 1):
            label = None
            if type(value) is tuple and len(value) == 2:
                value, label = value
            if type(label) not in (str, NoneType) or type(value) not in (ArrayRef, float, NoneType):
                raise InputError(f"{path}: item {number} is not (array, label); give a feature list or a score list")
            if type(value) is ArrayRef and (not value.shape or value.dtype.kind not in "fiu"):
                raise InputError(f"{path}: item {number} is not an array of numbers; make the list again")
            yield Item(value, label)


def read_list(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray | None, str | None]]:
    """Yield the ``(array, label)`` of a pickled list; a number becomes an array without axes.

    Raises InputError as `read_items` does.
    """
    for value, label in read_items(path):
        yield value.read() if isinstance(value, ArrayRef) else value if value is None else np.asarray(value), label


def read_estimator(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Return the SHA-256 and the attributes of a pickled `GaussianMixture`, without scikit-learn.

    Raises
    ------
    InputError
        As `read_items`, and if the pickle is not a `GaussianMixture`.
    """
    with _open(path) as file:
        digest = sha256_of(file)
        value = Unpickler(file).value()
        if type(value) is not Estimator or value.state is None:
            raise InputError(f"{path}: holds no Gaussian mixture model; give a bon.gmm or sp.gmm")
        arrays = {name: each.read() for name, each in value.state.items() if type(each) is ArrayRef and each.shape}
        return digest, value.state | arrays


def _open(path: str | os.PathLike[str]) -> IO[bytes]:
    try:
        return open_regular(path, buffering=4096)  # a small buffer: most of a list is data that is skipped
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
