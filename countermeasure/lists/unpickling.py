"""An interpreter of pickles that runs no code.

It is the standard library's own, in pure Python, of whose opcodes those that data needs are left. It
knows a handful of globals by name, puts inert stand-ins in their place, and never imports or calls
what a file names. Array data is skipped, and stays in the file until somebody asks for it.
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

# Nothing that a list or a model holds is nested deeper or has more entries at one level.
_MAX_DEPTH = 32
_MAX_STACK = 10_000
# Objects that a pickle may have remembered: so many, or more in a large file, a byte of which is worth an eighth.
_MAX_MEMO = 4_000_000
_MEMO_PER_BYTE = 1 / 8
# Opcodes of a model, or of a batch of a list's items: some times what any has.
_MAX_OPCODES = 500_000
# Text that is longer is skipped like data: it is an array's, as protocol 2 holds them.
_LONGEST_TEXT = 1024

# -- stand-ins -------------------------------------------------------------------------------------


class _Data(NamedTuple):
    """Bytes in the file; `is_text`: in the text of protocol 2, in which each is a letter."""

    offset: int
    length: int
    is_text: bool = False

    def read(self, file: IO[bytes]) -> bytearray:
        content = bytearray(self.length)
        if read_into(file.fileno(), memoryview(content), self.offset) < self.length:
            raise InputError(f"{file.name}: was cut short while it was read; copy or make the file again")
        return bytearray(content.decode(), "latin-1") if self.is_text else content


class _LongText(NamedTuple):
    """Text that was skipped."""

    data: _Data


class _Global(NamedTuple):
    """A global that the pickle names."""

    name: str


class _DType:
    """A dtype; BUILD gives it its byte order."""

    def __init__(self, name: Any, *_: Any):
        # Sizes only, no 'O' (objects) and no fields: such arrays are numbers or text.
        if type(name) is not str or name[:1] not in "fiubU" or not name[1:].isdigit() or not 0 < int(name[1:]) <= 4096:
            raise ValueError("array of an unknown type")
        self.value = np.dtype(name)

    def build(self, state: Any) -> None:
        _, order, *parts = state[:5]
        if order not in ("<", ">", "|", "=") or parts != [None] * 3:
            raise ValueError("array of an unknown type")
        self.value = self.value.newbyteorder(order)


class ArrayRef:
    """An array that still lies in its file.

    Attributes
    ----------
    dtype : numpy.dtype
    shape : tuple of int
    fortran : bool
        Whether the data lie column by column.
    offset : int or None
        Where the data begin in the file, in bytes; None where they stand there in another coding (protocol 2).
    """

    __slots__ = ("_data", "dtype", "fortran", "offset", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()

    def build(self, state: Any) -> None:
        """Set all attributes, as ``ndarray.__setstate__`` does."""
        _, shape, dtype, fortran, data = state
        if self.shape or type(dtype) is not _DType or type(shape) is not tuple or len(shape) > 4:
            raise ValueError("array of an unknown form")
        if type(data) not in (_Data, bytearray):
            raise ValueError("array without data")
        is_coded = type(data) is bytearray or data.is_text
        length = len(data) if type(data) is bytearray else data.length
        # An empty array has no data to show how large it is.
        if any(type(n) is not int or not 0 <= n < (2**40 if length else 2**16) for n in shape):
            raise ValueError("array of an unknown form")
        self.dtype, self.shape, self.fortran = dtype.value, shape or (1,), bool(fortran) and len(shape) > 1
        self._data, self.offset = data, None if is_coded else data.offset
        if length != self.nbytes and not is_coded:
            raise ValueError(f"array of {self.nbytes} bytes comes with {length}")

    @property
    def nbytes(self) -> int:
        """Size of the data in bytes."""
        return self.dtype.itemsize * math.prod(self.shape)

    def read(self, file: IO[bytes]) -> np.ndarray:
        """Return the array; `file` is the one that holds it."""
        try:
            data = self._data.read(file) if isinstance(self._data, _Data) else self._data
        except UnicodeError:
            data = bytearray()
        if len(data) != self.nbytes:
            raise InputError(f"{file.name}: an array of {self.nbytes} bytes is damaged; copy or make the file again")
        return np.frombuffer(data, self.dtype).reshape(self.shape, order="F" if self.fortran else "C")


class Estimator:
    """A scikit-learn mixture; `state` are its attributes, with arrays as `ArrayRef`."""

    state: Any = None

    def build(self, state: Any) -> None:
        """Set the attributes."""
        if self.state is not None or type(state) is not dict:
            raise ValueError("mixture without attributes")
        self.state = state


_NUMPY = ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
_KNOWN_GLOBALS = {
    **{
        f"numpy.{core}.{name}": name.rpartition(".")[2] for core in ("core", "_core") for name in _NUMPY
    },  # of NumPy 1, 2
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "_codecs.encode": "encode",  # how protocol 2 holds bytes
    **{f"{module}.{name}": "bytes" for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
    "sklearn.mixture._gaussian_mixture.GaussianMixture": "mixture",
    "sklearn.mixture.gaussian_mixture.GaussianMixture": "mixture",  # scikit-learn before 0.22
}

# -- the interpreter -------------------------------------------------------------------------------

_DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error, pickle.UnpicklingError)
_KEPT = (
    *("PROTO", "MARK", "POP", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_DICT"),
    *("BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL"),
)
_STANDARD: Any = pickle._Unpickler


class Unpickler(_STANDARD):
    """Read one pickle of data; `file` is open and at its beginning.

    Raises
    ------
    InputError
        From all methods, when the pickle is cut short, damaged, or asks for anything but data.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        getattr(pickle, name)[0]: _STANDARD.dispatch[getattr(pickle, name)[0]] for name in _KEPT
    }

    def __init__(self, file: IO[bytes]):
        super().__init__(file)
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self.read, self.readline = file.read, lambda: file.readline(256)
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []  # the stacks under each mark
        self.append = self.stack.append
        self._n_memoized = 0

    def value(self) -> Any:
        """Run to the end and return the pickled value."""
        self._run(b"")
        if len(self.stack) != 1 or self.metastack:
            self._refuse("ends in the middle")
        return self.stack[0]

    def items(self) -> Iterator[Any]:
        """Run to the end and yield the items of the pickled list as they are finished."""
        if not self._run(pickle.EMPTY_LIST):
            self._refuse("holds no list")
        outer = self.stack[0]
        while self._run(pickle.APPEND + pickle.APPENDS):
            yield from outer
            outer.clear()
        if len(self.stack) != 1 or self.stack[0] is not outer or self.metastack:
            self._refuse("ends in the middle")

    def _run(self, pauses: bytes) -> bool:
        """Run up to one of some opcodes that leaves a single value, or to the end; False at the end."""
        read, dispatch = self._file.read, self.dispatch
        for _ in range(_MAX_OPCODES):
            op = read(1)
            if op == pickle.STOP:
                return False
            operation = dispatch.get(op[0]) if op else None
            if operation is None:
                self._refuse(f"has an opcode that no list or model needs ({op!r})" if op else "is cut short")
            try:
                operation(self)
            except _DAMAGE as error:
                self._refuse(f"is damaged ({op!r}: {str(error)[:100] or type(error).__name__})")
            if len(self.stack) > _MAX_STACK or len(self.metastack) > _MAX_DEPTH:
                break
            if op in pauses and len(self.stack) == 1 and not self.metastack:
                return True
        return self._refuse("is nested too deep or too wide for a list or a model")

    def _refuse(self, what: str) -> NoReturn:
        where = f"at byte {self._file.tell()}"
        raise InputError(f"{self._file.name}: the pickle {what}, {where}; copy or make the file again") from None

    # Values

    def _number(self, layout: str) -> int:
        return struct.unpack(layout, self._file.read(struct.calcsize(layout)))[0]

    def _skip(self, n: int) -> _Data:
        data = _Data(self._file.tell(), n)
        if n > self._size - data.offset:
            self._refuse("is cut short")
        self._file.seek(n, os.SEEK_CUR)
        return data

    def _push_data(self, length_layout: str) -> None:
        self.append(self._skip(self._number(length_layout)))

    def _push_text(self, length_layout: str) -> None:
        n = self._number(length_layout)
        self.append(_LongText(self._skip(n)) if n > _LONGEST_TEXT else self._file.read(n).decode())

    def _set_items(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or any(type(key) not in (str, int) for key in values[::2]):
            raise TypeError("sets items of what is no dictionary, or by what is no name")
        self.stack[-1].update(zip(values[::2], values[1::2], strict=True))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    # Memo

    def _remember(self, index: int) -> None:
        self.memo.pop(index, None)
        if _is_shareable(self.stack[-1]):
            self.memo[index] = self.stack[-1]
        if len(self.memo) > max(_MAX_MEMO, _MEMO_PER_BYTE * self._size):
            self._refuse("remembers too much")

    def _memoize(self) -> None:
        self._remember(self._n_memoized)
        self._n_memoized += 1

    # Globals and what is made with them

    def find_class(self, module: Any, name: Any) -> Any:
        """Return the stand-in of a global."""
        full = f"{module}.{name}"
        if full in _KNOWN_GLOBALS:
            return _Global(_KNOWN_GLOBALS[full])
        shown = full[:100] if full[:100].isprintable() else ascii(full[:100])
        raise InputError(
            f"{self._file.name}: the pickle asks for {shown}, which no list or model needs; nothing was run; do not "
            "open it with pickle.load"
        )

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not _Global or type(arguments) is not tuple:
            raise TypeError("calls what is no function")
        self.append(self._call(function.name, *arguments))

    def _call(self, name: str, *arguments: Any) -> Any:
        first = arguments[0] if arguments else None
        if name == "_reconstruct":
            return ArrayRef()
        if name == "dtype":
            return _DType(*arguments)
        if name == "_frombuffer":
            data, dtype, shape, order = arguments
            array = ArrayRef()
            array.build((1, shape, dtype, order == "F", data))
            return array
        if name == "scalar":
            return self._scalar(*arguments)
        if name == "encode" and type(first) is _LongText:
            return first.data._replace(is_text=True)
        if name == "encode" and type(first) is str:
            return bytearray(first, "latin-1")
        if name == "bytes" and (not arguments or type(first) in (_Data, bytearray)):
            return first if arguments else bytearray()
        raise TypeError(f"{name} called in an unknown way")

    def _scalar(self, dtype: Any, data: Any) -> Any:
        """Return a number or a text of NumPy's as Python's."""
        content = data.read(self._file) if type(data) is _Data else data
        if type(dtype) is not _DType or type(content) is not bytearray or len(content) != dtype.value.itemsize:
            raise ValueError("number without data")
        if dtype.value.kind == "U":  # which NumPy would take for text, whatever it is
            return content.decode(f"utf-32-{'be' if dtype.value.byteorder == '>' else 'le'}").rstrip("\0")
        return np.frombuffer(content, dtype.value)[0].item()

    def _new_object(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if kind != _Global("mixture") or arguments != ():
            raise TypeError("makes an object that no list or model needs")
        self.append(Estimator())

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) not in (ArrayRef, _DType, Estimator):
            raise TypeError("sets the state of what has none")
        target.build(state)


def _is_shareable(value: Any, depth: int = 2) -> bool:
    """Tell whether the pickle may refer to a value again: not to what can hold itself, and not to what is long."""
    if type(value) is tuple:
        return depth > 0 and len(value) <= 8 and all(_is_shareable(entry, depth - 1) for entry in value)
    if type(value) in (str, bytearray):
        return len(value) < 256
    return value is None or type(value) in (bool, int, float, ArrayRef, _Data, _DType, _Global)


Unpickler.dispatch |= {
    pickle.FRAME[0]: lambda u: u._number("<Q") and None,  # what it holds stands in the file as if there were none
    pickle.SHORT_BINUNICODE[0]: lambda u: u._push_text("<B"),
    pickle.BINUNICODE[0]: lambda u: u._push_text("<I"),
    pickle.SHORT_BINBYTES[0]: lambda u: u._push_data("<B"),
    pickle.BINBYTES[0]: lambda u: u._push_data("<I"),
    pickle.BINBYTES8[0]: lambda u: u._push_data("<Q"),
    pickle.BYTEARRAY8[0]: lambda u: u._push_data("<Q"),
    pickle.SETITEM[0]: Unpickler._set_item,
    pickle.SETITEMS[0]: lambda u: u._set_items(u.pop_mark()),
    pickle.BINPUT[0]: lambda u: u._remember(u._number("<B")),
    pickle.LONG_BINPUT[0]: lambda u: u._remember(u._number("<I")),
    pickle.MEMOIZE[0]: Unpickler._memoize,
    pickle.REDUCE[0]: Unpickler._reduce,
    pickle.NEWOBJ[0]: Unpickler._new_object,
    pickle.BUILD[0]: Unpickler._build,
}
