"""Pickles of data, read without running any code.

The interpreter is that of the standard library in pure Python, reduced to the opcodes that lists and models need.
It never imports what a file names: some known globals have stand-ins here, and all others are refused. The data of
arrays are skipped; they stay in the file until they are read.
"""

from __future__ import annotations

import math
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from typing import IO, Any, ClassVar, NamedTuple, NoReturn

import numpy as np

from countermeasure.errors import InputError
from countermeasure.files import read_into

# Longer text is skipped like bytes, since protocol 2 stores the data of arrays as text.
_LONGEST_TEXT = 1024

# -- stand-ins -------------------------------------------------------------------------------------


class _Data(NamedTuple):
    """Bytes in a file; if `is_text`, each is stored as one character of UTF-8, as protocol 2 does."""

    file: IO[bytes]
    offset: int
    length: int
    is_text: bool

    def read(self) -> bytearray:
        content = bytearray(self.length)
        read_into(self.file, memoryview(content), self.offset)
        return bytearray(content.decode(), "latin-1") if self.is_text else content


class _DType:
    """A dtype of numbers or text; BUILD sets its byte order."""

    def __init__(self, name: Any, *_: Any):
        if type(name) is not str or name[:1] not in "fiubU" or not name[1:].isdigit():
            raise ValueError("array of an unknown type")
        self.value = np.dtype(name)

    def build(self, state: Any) -> None:
        _, order, *parts = state[:5]
        if order not in ("<", ">", "|", "=") or parts != [None] * 3:
            raise ValueError("array of an unknown type")
        self.value = self.value.newbyteorder(order)


class ArrayRef:
    """An array whose data are still in the file.

    Attributes
    ----------
    dtype : numpy.dtype
    shape : tuple of int
        (1,) for an array without axes.
    fortran : bool
        Whether the data are stored column by column.
    offset : int or None
        First byte of the data in the file; None if they are stored as text, or were restored from short text.
    """

    __slots__ = ("_data", "dtype", "fortran", "offset", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()

    def build(self, state: Any) -> None:
        """Set all attributes; counterpart of ``ndarray.__setstate__``."""
        _, shape, dtype, fortran, data = state
        is_shape = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
        # An array with an axis of length 0 needs no data, so its other axes are checked here.
        if not is_shape or math.prod(n or 1 for n in shape) > 2**40:
            raise ValueError("array of an unknown form")
        self.dtype, self.shape, self.fortran = dtype.value, shape or (1,), bool(fortran)
        self._data, self.offset = data, None
        n_bytes = self.dtype.itemsize * math.prod(shape)
        if type(data) is bytes:
            n_held = len(data)
        elif data.is_text:  # takes more bytes in the file
            n_held = n_bytes
        else:
            n_held, self.offset = data.length, data.offset
        if n_held != n_bytes:
            raise ValueError(f"array of {n_bytes} bytes comes with {n_held}")

    def read(self) -> np.ndarray:
        """Read the array; the file must still be open."""
        try:
            content = self._data.read() if type(self._data) is _Data else bytearray(self._data)
            return np.frombuffer(content, self.dtype).reshape(self.shape, order="F" if self.fortran else "C")
        except ValueError:  # text of another length
            name = self._data.file.name
        raise InputError(f"{name}: an array is damaged; copy or make the file again")


class Estimator:
    """A scikit-learn mixture; `state` holds its attributes, with arrays as `ArrayRef`."""

    state: dict[str, Any] | None = None

    def build(self, state: Any) -> None:
        """Set the attributes."""
        if type(state) is not dict:
            raise ValueError("mixture without attributes")
        self.state = state


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> ArrayRef:
    array = ArrayRef()
    array.build((None, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: Any, data: Any) -> Any:
    """Convert a NumPy scalar to Python's number or text."""
    array = _frombuffer(data, dtype, (), "C").read()
    if array.dtype.kind == "U":  # NumPy does not check that it is Unicode
        return array.tobytes().decode("utf-32-le").rstrip("\0")
    return array[0].item()


def _encode(text: Any, *_: Any) -> Any:
    return text if type(text) is _Data else text.encode("latin-1")


_STAND_INS: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": lambda *_: ArrayRef(),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy.ndarray": "ndarray",
    "numpy.dtype": _DType,
    "_codecs.encode": _encode,  # protocol 2: bytes
    "__builtin__.bytes": lambda: b"",  # protocol 2: empty bytes
    "sklearn.mixture._gaussian_mixture.GaussianMixture": Estimator,
    "sklearn.mixture.gaussian_mixture.GaussianMixture": Estimator,  # before scikit-learn 0.22
}

# -- the interpreter -------------------------------------------------------------------------------

_DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error, pickle.UnpicklingError)
_KEPT = (
    *("PROTO", "MARK", "POP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_DICT"),
    *("BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ"),
)
_CONTAINER = object()
_Standard: Any = pickle._Unpickler


class Unpickler(_Standard):
    """Read one pickle of data from an open file.

    Memory and time are proportional to the file's size without the data of arrays. All methods raise InputError if
    the pickle is damaged or asks for anything but data.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        getattr(pickle, name)[0]: _Standard.dispatch[getattr(pickle, name)[0]] for name in _KEPT
    }

    def __init__(self, file: IO[bytes]):
        super().__init__(file)
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self.read, self.readline = file.read, lambda: file.readline(256)
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []  # the stacks under each mark
        self.append = self.stack.append

    def value(self) -> Any:
        """Run to the end and return the pickled value."""
        for _ in self._run():
            pass
        return self.stack[0]

    def items(self) -> Iterator[Any]:
        """Run to the end and yield the items of the pickled list as they are completed."""
        for batch in self._run():
            yield from batch
            batch.clear()
        if type(self.stack[0]) is not list:
            self._refuse("does not hold a list")

    def _run(self) -> Iterator[list[Any]]:
        """Run to the end; yield the outermost list whenever items were appended to it."""
        while (op := self.read(1)) != pickle.STOP:
            operation = self.dispatch.get(op[0]) if op else None
            if operation is None:
                self._refuse(f"has an opcode that lists and models do not need ({op!r})" if op else "is cut short")
            try:
                operation(self)
            except _DAMAGE as error:
                self._refuse(f"is damaged ({op!r}: {str(error)[:100] or type(error).__name__})")
            if op in (pickle.APPEND, pickle.APPENDS) and len(self.stack) == 1 and not self.metastack:
                yield self.stack[0]
        if len(self.stack) != 1 or self.metastack:
            self._refuse("ends in the middle")

    def _refuse(self, what: str) -> NoReturn:
        where = f"at byte {self._file.tell()}"
        raise InputError(f"{self._file.name}: the pickle {what}, {where}; copy or make the file again") from None

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a global."""
        full = f"{module}.{name}".replace("numpy._core.", "numpy.core.")  # NumPy 2's name
        if full in _STAND_INS:
            return _STAND_INS[full]
        raise InputError(
            f"{self._file.name}: the pickle asks for {full[:100]!r}, which lists and models do not need; no code was "
            "run; do not open it with pickle.load"
        )

    def _number(self, layout: str) -> int:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def _skip(self, n: int, is_text: bool = False) -> None:
        data = _Data(self._file, self._file.tell(), n, is_text)
        if n > self._size - data.offset:
            self._refuse("is cut short")
        self._file.seek(n, os.SEEK_CUR)
        self.append(data)

    def _text(self, n: int) -> None:
        if n > _LONGEST_TEXT:
            self._skip(n, is_text=True)
        else:
            self.append(self.read(n).decode())

    def _set_items(self, items: list[Any]) -> None:
        if any(type(key) is not str for key in items[::2]):  # hashing a deep tuple would overflow the C stack
            raise TypeError("a key is not text")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _remember(self, index: int) -> None:
        # Lists and dictionaries could contain themselves or grow exponentially; real files use them only once.
        top = self.stack[-1]
        self.memo[index] = _CONTAINER if type(top) in (list, dict) else top

    def _build(self) -> None:
        state = self.stack.pop()
        self.stack[-1].build(state)  # only the stand-ins have it


Unpickler.dispatch |= {
    pickle.FRAME[0]: lambda u: u._number("<Q") and None,  # frames only group opcodes
    pickle.SHORT_BINUNICODE[0]: lambda u: u._text(u._number("<B")),
    pickle.BINUNICODE[0]: lambda u: u._text(u._number("<I")),
    pickle.SHORT_BINBYTES[0]: lambda u: u._skip(u._number("<B")),
    pickle.BINBYTES[0]: lambda u: u._skip(u._number("<I")),
    pickle.BINBYTES8[0]: lambda u: u._skip(u._number("<Q")),
    pickle.BYTEARRAY8[0]: lambda u: u._skip(u._number("<Q")),
    pickle.SETITEM[0]: Unpickler._set_item,
    pickle.SETITEMS[0]: lambda u: u._set_items(u.pop_mark()),
    pickle.BINPUT[0]: lambda u: u._remember(u._number("<B")),
    pickle.LONG_BINPUT[0]: lambda u: u._remember(u._number("<I")),
    pickle.MEMOIZE[0]: lambda u: u._remember(len(u.memo)),
    pickle.BUILD[0]: Unpickler._build,
}
