"""Pickled lists of arrays, written and read item by item, and pickles that run no code.

A list is written as one ordinary pickle: ``pickle.load`` on any machine with NumPy from 1.22 to
today gives it back. It is read by an interpreter that runs no code, see `unpickling`. Array data stays
in the file until somebody asks for it, so going over a list takes the same memory for any length.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from countermeasure.errors import InputError
from countermeasure.files import open_regular, replace_when_whole
from countermeasure.lists.unpickling import ArrayRef, Estimator, Unpickler
from countermeasure.trials.lines import BONAFIDE, SPOOF

# Protocol 3 names globals in plain text and puts items behind each other without frames, so items
# pickled one by one make one valid list; protocol 4 is the newest that the format allows.
PROTOCOL = 3
# `pickle.load` keeps a batch on its stack until it is appended; the usual size.
_BATCH = 1000
_LONGEST_LABEL = 100
_MAX_BITS = 64  # of a score that is a whole number
_DEEPEST = 32  # levels of a model's attributes

# -- writing ---------------------------------------------------------------------------------------


class _PortablePickler(pickle._Pickler):
    """A pickler whose bytes depend on values alone and load under NumPy 1 and 2.

    Without a memo nothing refers back to an earlier object, so bytes do not depend on which equal
    objects happen to be the same one.
    """

    def __init__(self, file: IO[bytes]):
        super().__init__(file, PROTOCOL)
        self.fast = True

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = getattr(obj, "__module__", None) or ""
        if module.startswith("numpy._core"):  # NumPy 2's own name, unknown to NumPy 1
            old_name = module.replace("numpy._core", "numpy.core", 1)
            self.write(  # type: ignore[attr-defined]
                pickle.GLOBAL + f"{old_name}\n{name or obj.__qualname__}\n".encode()
            )
        else:
            super().save_global(obj, name)  # type: ignore[misc]


def dump(value: Any, file: IO[bytes]) -> None:
    """Pickle `value` so that equal values give equal bytes and any NumPy from 1.22 on loads them."""
    _PortablePickler(file).dump(value)


# A list of items that follow, its end, and what comes between two batches of them.
LIST_START = pickle.PROTO + bytes([PROTOCOL]) + pickle.EMPTY_LIST + pickle.MARK
LIST_END = pickle.APPENDS + pickle.STOP
_NEXT_BATCH = pickle.APPENDS + pickle.MARK


def item_bytes(number: int, value: np.ndarray | None, label: str | None) -> tuple[bytes, int]:
    """Return the bytes of a list's item, which are those that `dump` would write, and where the data begin in them.

    Parameters
    ----------
    number : int
        Of the item, from 1: some end a batch.
    value : array or None
    label : str or None
    """
    if value is not None:
        value = np.asarray(value, order="C")
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, PROTOCOL)  # in C: the one in Python takes longer than to score a short recording
    pickler.fast = True
    pickler.dump((value, label))
    batch_end = b"" if number % _BATCH else _NEXT_BATCH
    item = buffer.getvalue()[2:-1]  # without PROTO and STOP
    if value is None:
        return item + batch_end, 0
    # Behind the data: TUPLE and BUILD, the label, TUPLE2.
    start = len(item) - value.nbytes - 3 - (1 if label is None else 5 + len(label.encode()))
    before = item[:start].replace(b"numpy._core.", b"numpy.core.")
    return b"".join((before, item[start:], batch_end)), len(before)


@dataclass(frozen=True)
class Index:
    """Where the arrays of a list stand in its file, so that the list can be read without going over it.

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


# The letter of a label in an index.
LETTERS: dict[str | None, str] = {BONAFIDE: "b", SPOOF: "s", None: "-"}


class ListWriter(AbstractContextManager):
    """Write a list of ``(value, label)`` as one pickle, item by item.

    >>> with ListWriter("train-mfcc.pkl") as out:
    ...     out.append(feature, "bonafide")

    The file appears under its name when the block ends without an error.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._whole = replace_when_whole(path)
        self._forms: set[tuple[str, tuple[int, ...]]] = set()
        self._labels: list[str] = []
        self._starts: list[int] = []

    def __enter__(self) -> ListWriter:
        self._file = self._whole.__enter__()
        self._file.write(LIST_START)
        self._size = len(LIST_START)
        return self

    def append(self, value: np.ndarray | None, label: str | None) -> None:
        """Write the next item."""
        self._labels.append(LETTERS.get(label, "?"))
        item, start = item_bytes(len(self._labels), value, label)
        self._starts.append(0 if value is None else self._size + start)
        if value is not None:
            self._forms.add((value.dtype.str, value.shape[1:]))
        self._file.write(item)
        self._size += len(item)

    @property
    def index(self) -> Index | None:
        """Where the items stand; None for a list whose arrays differ in kind."""
        if len(self._forms) != 1 or "?" in self._labels:
            return None
        dtype, row_shape = next(iter(self._forms))
        return Index(dtype, list(row_shape), "".join(self._labels), self._starts)

    def __exit__(self, *exception: Any) -> bool | None:
        if exception[0] is None:
            self._file.write(LIST_END)
        return self._whole.__exit__(*exception)


# -- reading ---------------------------------------------------------------------------------------


class Item(NamedTuple):
    """One entry of a list; `value` is None for an entry that was left out."""

    value: ArrayRef | float | None
    label: str | None


class ListReader(AbstractContextManager):
    """Go over a pickled list without loading it.

    >>> with ListReader("train-mfcc.pkl") as items:
    ...     for item in items:
    ...         frames = items.array(item)

    Items may be ``(array, label)``, bare arrays (`label` is then None) or None, in any pickle
    protocol from 2 on and from any NumPy.

    Raises
    ------
    InputError
        When there is no such file, when it is cut short or no such list, and when it names anything
        but NumPy arrays.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._file = _open(self.path)

    def __exit__(self, *exception: Any) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Item]:
        for number, value in enumerate(Unpickler(self._file).items(), 1):
            label = None
            if type(value) is tuple and len(value) == 2:
                value, label = value
            is_number = type(value) is float or (type(value) is int and value.bit_length() < _MAX_BITS)
            is_label = label is None or (type(label) is str and len(label) <= _LONGEST_LABEL)
            if not is_label or not (value is None or is_number or type(value) is ArrayRef):
                raise InputError(
                    f"{self.path}: item {number} is not (array, label); give a feature list or a score list"
                )
            if type(value) is ArrayRef and (not value.shape or value.dtype.kind not in "fiu"):
                raise InputError(f"{self.path}: item {number} is no array of numbers; make the list again")
            yield Item(value, label)

    def array(self, item: Item) -> np.ndarray:
        """Read an item's array; a bare number becomes a 0-dimensional one."""
        return item.value.read(self._file) if isinstance(item.value, ArrayRef) else np.asarray(item.value)


def read_list(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray | None, str | None]]:
    """Yield the ``(array, label)`` of a pickled list one by one; see `ListReader`."""
    with ListReader(path) as items:
        for item in items:
            yield (None if item.value is None else items.array(item)), item.label


def read_estimator(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the attributes of a pickled `GaussianMixture`, without scikit-learn.

    Raises
    ------
    InputError
        As `ListReader`; and when the pickle is no `GaussianMixture`.
    """
    with _open(Path(path)) as file:
        value = Unpickler(file).value()
        if type(value) is not Estimator or value.state is None:
            raise InputError(f"{path}: holds no Gaussian mixture model; give a bon.gmm or sp.gmm")
        return _with_arrays(file, value.state, {})


def _open(path: Path) -> IO[bytes]:
    try:
        # A small buffer: most of a list is data that is skipped.
        return open_regular(path, buffering=4096)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def _with_arrays(file: IO[bytes], value: Any, loaded: dict[int, np.ndarray], depth: int = 0) -> Any:
    """Return `value` with its arrays in it; one that occurs several times is loaded once."""
    if depth > _DEEPEST:
        raise InputError(f"{file.name}: the pickle is nested too deep for a model; copy or make the file again")
    if type(value) is ArrayRef and value.shape:
        if id(value) not in loaded:
            loaded[id(value)] = value.read(file)
        return loaded[id(value)]
    if type(value) is dict:
        return {key: _with_arrays(file, entry, loaded, depth + 1) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_with_arrays(file, entry, loaded, depth + 1) for entry in value)
    return value
