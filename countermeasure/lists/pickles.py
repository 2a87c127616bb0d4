"""Pickled lists of arrays, written and read item by item, and pickles that run no code.

A list is written as one ordinary pickle: ``pickle.load`` on any machine with NumPy from 1.22 to
today gives it back. It is read by an interpreter of the pickle opcodes that data needs and nothing
else: it knows a handful of globals by name, builds plain values and `ArrayRef` from them, and never
imports or calls what a file names. Array data stays in the file until somebody asks for it, so
going over a list takes the same memory however long it is.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np

from countermeasure.errors import InputError
from countermeasure.files import open_regular, read_into, replace_when_whole
from countermeasure.trials.protocol import BONAFIDE, SPOOF

# Protocol 3 names globals in plain text and puts items behind each other without frames, so items
# pickled one by one make one valid list; protocol 4 is the newest that the format allows.
PROTOCOL = 3
# `pickle.load` keeps a batch on its stack until it is appended; the usual size.
_BATCH = 1000
# Nothing that a list or a model holds is nested deeper or has more entries at one level.
_MAX_DEPTH = 32
_MAX_STACK = 10_000
_MAX_MEMO = 4_000_000
# Opcodes that a model, or a list between two items, may take: a hundred times what any does.
_MAX_OPCODES = 200_000
# A longer label or attribute is none, and no whole number of a list needs more bits than these.
_LONGEST_SHOWN = 100
_MAX_BITS = 64
# Tuples that occur several times are shapes, dtypes' arguments, and items.
_WIDEST_SHARED = 8
# Building one item never reaches further down the stack than this, so what lies below is finished.
_WORKING = 16


_U1, _U2, _U4, _U8, _I4, _F8 = (struct.Struct(layout) for layout in ("<B", "<H", "<I", "<Q", "<i", ">d"))

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


# ndarray's own way of being pickled: _reconstruct(ndarray, (0,), b"b"), then its state (1, shape, …).
_BEFORE_SHAPE = (
    pickle.GLOBAL
    + b"numpy.core.multiarray\n_reconstruct\n"
    + pickle.GLOBAL
    + b"numpy\nndarray\n"
    + (pickle.BININT1 + b"\0" + pickle.TUPLE1)
    + (pickle.SHORT_BINBYTES + b"\1b" + pickle.TUPLE3 + pickle.REDUCE)
    + (pickle.MARK + pickle.BININT1 + b"\1")
)


# A list of items that follow, its end, and what comes between two batches of them.
LIST_START = pickle.PROTO + bytes([PROTOCOL]) + pickle.EMPTY_LIST + pickle.MARK
LIST_END = pickle.APPENDS + pickle.STOP
_NEXT_BATCH = pickle.APPENDS + pickle.MARK


def around_array(number: int, shape: tuple[int, ...], dtype: np.dtype, label: str | None) -> tuple[bytes, bytes]:
    """Return what stands before and behind an array's data in the item of a list, as `dump` writes it.

    Without the pickler's way there: half of the time of writing a list.

    Parameters
    ----------
    number : int
        Of the item, from 1: some end a batch.
    shape, dtype
        Of the array.
    label : str or None
    """
    sizes = b"".join(map(_integer, shape))
    if len(shape) < 4:
        sizes += (pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)[len(shape)]
    else:
        sizes = pickle.MARK + sizes + pickle.TUPLE
    n_bytes = math.prod(shape) * dtype.itemsize
    length = pickle.SHORT_BINBYTES + _U1.pack(n_bytes) if n_bytes < 256 else pickle.BINBYTES + _U4.pack(n_bytes)
    before = _BEFORE_SHAPE + sizes + _opcodes(dtype) + pickle.NEWFALSE + length
    return before, pickle.TUPLE + pickle.BUILD + _opcodes(label) + pickle.TUPLE2 + _batch_end(number)


def _batch_end(number: int) -> bytes:
    return b"" if number % _BATCH else _NEXT_BATCH


def _integer(value: int) -> bytes:
    if value < 1 << 8:
        return pickle.BININT1 + _U1.pack(value)
    return pickle.BININT2 + _U2.pack(value) if value < 1 << 16 else pickle.BININT + _I4.pack(value)


@lru_cache
def _opcodes(value: Any) -> bytes:
    buffer = io.BytesIO()
    dump(value, buffer)
    return buffer.getvalue()[2:-1]  # without PROTO and STOP


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
        self._labels = bytearray()
        self._starts = array("Q")

    def __enter__(self) -> ListWriter:
        self._file = self._whole.__enter__()
        self._file.write(LIST_START)
        self._size = len(LIST_START)
        return self

    def append(self, value: np.ndarray | None, label: str | None) -> None:
        """Write the next item."""
        self._labels += LETTERS.get(label, "?").encode()
        number = len(self._labels)
        if value is None:
            self._starts.append(0)
            item = _opcodes((value, label)) + _batch_end(number)
        else:
            before, after = around_array(number, value.shape, value.dtype, label)
            self._forms.add((value.dtype.str, value.shape[1:]))
            self._starts.append(self._size + len(before))
            item = b"".join((before, value.tobytes(), after))
        self._file.write(item)
        self._size += len(item)

    @property
    def index(self) -> Index | None:
        """Where the items stand; None for a list whose arrays differ in kind."""
        if len(self._forms) != 1 or b"?" in self._labels:
            return None
        dtype, row_shape = next(iter(self._forms))
        return Index(dtype, list(row_shape), self._labels.decode(), list(self._starts))

    def __exit__(self, *exception: Any) -> bool | None:
        if exception[0] is None:
            self._file.write(LIST_END)
        return self._whole.__exit__(*exception)


# -- reading ---------------------------------------------------------------------------------------


class ArrayRef(NamedTuple):
    """An array that still lies in its file.

    Attributes
    ----------
    dtype : numpy.dtype
    shape : tuple of int
    fortran : bool
        Whether the data lie column by column.
    offset : int
        Where the data begin in the file, in bytes; meaningless when `inline` is there.
    inline : bytes or None
        The data themselves, where the file holds them in another coding (protocol 2).
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    offset: int
    inline: bytes | None

    @property
    def nbytes(self) -> int:
        """Size of the data in bytes."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=object))


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
        for number, value in enumerate(_Machine(self._file, self.path).items(), 1):
            yield self._item(value, number)

    def _item(self, value: Any, number: int) -> Item:
        label = None
        if type(value) is tuple and len(value) == 2:
            value, label = value
        good = value is None or type(value) in (ArrayRef, float, int)
        if not good or not (label is None or type(label) is str):
            raise InputError(f"{self.path}: item {number} is not (array, label); give a feature list or a score list")
        if type(value) is int and value.bit_length() >= _MAX_BITS:
            raise InputError(f"{self.path}: item {number} is a number too large for a score; make the list again")
        if type(value) is ArrayRef and value.dtype.kind not in "fiu":
            raise InputError(f"{self.path}: item {number} is an array of {value.dtype}; expected numbers")
        return Item(value, label)

    def array(self, item: Item) -> np.ndarray:
        """Read an item's array; a bare number becomes a 0-dimensional one."""
        value = item.value
        return _read_array(self._file, value) if isinstance(value, ArrayRef) else np.asarray(value)


def read_list(path: str | os.PathLike[str]) -> Iterator[tuple[np.ndarray | None, str | None]]:
    """Yield the ``(array, label)`` of a pickled list one by one; see `ListReader`."""
    with ListReader(path) as items:
        for item in items:
            yield (None if item.value is None else items.array(item)), item.label


class Estimator(NamedTuple):
    """A pickled scikit-learn estimator: its class's full name and its attributes, arrays loaded."""

    name: str
    state: dict[str, Any]


def read_estimator(path: str | os.PathLike[str]) -> Estimator:
    """Read the attributes of a pickled `GaussianMixture` without scikit-learn.

    Raises
    ------
    InputError
        As `ListReader`; and when the pickle is no `GaussianMixture`.
    """
    path = Path(path)
    with _open(path) as file:
        value = _Machine(file, path).value()
        if type(value) is not _Object or type(value.state) is not dict:
            raise InputError(f"{path}: holds no Gaussian mixture model; give a bon.gmm or sp.gmm")
        return Estimator(value.name, _load_arrays(file, value.state, {}))


def _open(path: Path) -> IO[bytes]:
    try:
        # A small buffer: most of a list is data that is skipped.
        return open_regular(path, buffering=4096)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None


def _read_array(file: IO[bytes], ref: ArrayRef) -> np.ndarray:
    data: bytes | bytearray = bytearray(ref.nbytes) if ref.inline is None else ref.inline
    if ref.inline is None and read_into(file.fileno(), memoryview(data), ref.offset) < ref.nbytes:
        raise InputError(f"{file.name}: was cut short while it was read; copy or make the file again")
    return np.frombuffer(data, ref.dtype).reshape(ref.shape, order="F" if ref.fortran else "C")


def _load_arrays(file: IO[bytes], value: Any, loaded: dict[ArrayRef, np.ndarray], depth: int = 0) -> Any:
    """Return `value` with its arrays in it; one that occurs several times is loaded once."""
    if depth > _MAX_DEPTH:
        raise InputError(f"{file.name}: the pickle is nested too deep for a model; copy or make the file again")
    if type(value) is ArrayRef:
        if value not in loaded:
            loaded[value] = _read_array(file, value).copy()
        return loaded[value]
    if type(value) is _Payload:
        return value.bytes(file)
    if type(value) is dict:
        return {key: _load_arrays(file, entry, loaded, depth + 1) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_load_arrays(file, entry, loaded, depth + 1) for entry in value)
    return value


# -- the machine -----------------------------------------------------------------------------------


class _Global(NamedTuple):
    """A global that a pickle names; never looked up."""

    name: str


class _Payload(NamedTuple):
    """Bytes that still lie in the file, or, with `inline`, that were coded there as text."""

    offset: int
    length: int
    inline: bytes | None = None

    def bytes(self, file: IO[bytes]) -> bytes:
        return os.pread(file.fileno(), self.length, self.offset) if self.inline is None else self.inline


class _Object:
    """An estimator; its attributes are set by BUILD."""

    def __init__(self, name: str):
        self.name = name
        self.state: Any = None


class _DType:
    """A dtype; BUILD gives it its byte order, also where the memo has it already."""

    def __init__(self, value: np.dtype):
        self.value = value


class _RawArray:
    """What ``_reconstruct`` returns: an array before BUILD gives it shape and data."""


_MARK = object()
_RAW_ARRAY = _RawArray()

_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_SCALAR = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar"}
_FROM_BUFFER = {"numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"}
_DTYPE = {"numpy dtype"}
_NDARRAY = {"numpy ndarray"}
_ENCODE = {"_codecs encode"}  # how protocol 2 holds bytes
_BYTES = {"__builtin__ bytes", "builtins bytes", "__builtin__ bytearray", "builtins bytearray"}
_MIXTURES = {
    "sklearn.mixture._gaussian_mixture GaussianMixture",
    "sklearn.mixture.gaussian_mixture GaussianMixture",  # scikit-learn before 0.22
}
_KNOWN_GLOBALS = _RECONSTRUCT | _SCALAR | _FROM_BUFFER | _DTYPE | _NDARRAY | _ENCODE | _BYTES | _MIXTURES


class _Machine:
    """Interpret one pickle's opcodes; what it does not know, it refuses."""

    def __init__(self, file: IO[bytes], path: Path):
        self._file, self._path = file, path
        self._size = os.fstat(file.fileno()).st_size
        self._at = 0
        file.seek(0)
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}
        self._raw_index: int | None = None  # under which the memo will hold the array that is being built
        self._memoized = 0  # MEMOIZE counts what this memo leaves out, too
        self._opcodes = 0  # since the last item

    # Results

    def value(self) -> Any:
        """Run to the end and return the pickled value."""
        for _ in self._run():
            pass
        if len(self._stack) != 1 or self._below:
            self._refuse("ends in the middle")
        return self._stack[0]

    def items(self) -> Iterator[Any]:
        """Run to the end and yield the items of the pickled list as they are finished."""
        outer: list[Any] | None = None
        for op in self._run():
            if outer is None:
                if op == b"]":
                    outer = self._stack[0]
                elif op not in _HEADER:
                    self._refuse("holds no list")
            elif outer:  # filled by APPEND or APPENDS
                yield from outer
                outer.clear()
                self._opcodes = 0
            elif len(self._below) == 1 and len(self._stack) > 4 * _WORKING and _ends_in(self._below[0], outer):
                yield from self._stack[:-_WORKING]
                del self._stack[:-_WORKING]
                self._opcodes = 0
        if outer is None or self._below or len(self._stack) != 1 or self._stack[0] is not outer:
            self._refuse("ends in the middle")

    def _run(self) -> Iterator[bytes]:
        """Execute opcodes up to STOP; yield each after it was done."""
        read, operations = self._file.read, _OPERATIONS
        while True:
            op = read(1)
            self._at += 1
            if op == b".":
                return
            operation = operations.get(op)
            if operation is None:
                self._refuse("is cut short" if not op else f"has an opcode that no list or model needs ({op!r})")
            try:
                operation(self)
            except (IndexError, TypeError, ValueError, KeyError, OverflowError, struct.error) as error:
                self._refuse(f"is damaged ({op!r}: {error or type(error).__name__})")
            self._opcodes += 1
            if len(self._stack) > _MAX_STACK or len(self._below) > _MAX_DEPTH or self._opcodes > _MAX_OPCODES:
                self._refuse("is nested too deep or too wide for a list or a model")
            yield op

    def _refuse(self, what: str) -> NoReturn:
        where = f"at byte {self._at - 1}"
        raise InputError(f"{self._path}: the pickle {what}, {where}; copy or make the file again") from None

    # Bytes of the file

    def _read(self, n: int) -> bytes:
        if n > self._size - self._at:
            self._refuse("is cut short")
        self._at += n
        return self._file.read(n)

    def _number(self, layout: struct.Struct) -> Any:
        return layout.unpack(self._read(layout.size))[0]

    def _line(self) -> str:
        line = self._file.readline(256)
        self._at += len(line)
        if not line.endswith(b"\n"):
            raise ValueError("name without an end")
        return line[:-1].decode()

    # Opcodes: values

    def _skip(self, n: int) -> None:
        self._read(n)

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _push_number(self, layout: struct.Struct) -> None:
        self._stack.append(self._number(layout))

    def _push_text(self, layout: struct.Struct) -> None:
        self._stack.append(self._read(self._number(layout)).decode())

    def _push_long(self) -> None:
        self._stack.append(int.from_bytes(self._read(self._number(_U1)), "little", signed=True))

    def _push_bytes(self, layout: struct.Struct) -> None:
        n = self._number(layout)
        if n > self._size - self._at:
            self._refuse("is cut short")
        self._stack.append(_Payload(self._at, n))
        self._at += n
        self._file.seek(self._at)

    # Opcodes: containers

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._below.pop()
        return values

    def _tuple(self, n: int) -> None:
        if len(self._stack) < n:
            raise IndexError("too few values")
        self._stack[-n:] = [tuple(self._stack[-n:])]

    def _marked_tuple(self) -> None:
        values = self._pop_mark()
        self._stack.append(tuple(values))

    def _list(self) -> list[Any]:
        target = self._stack[-1]
        if type(target) is not list:
            raise TypeError("appends to what is no list")
        return target

    def _append(self) -> None:
        value = self._stack.pop()
        self._list().append(value)

    def _appends(self) -> None:
        values = self._pop_mark()
        self._list().extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise TypeError("sets items of what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (str, int):
                raise TypeError("key is no text")
            target[key] = value

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _set_marked_items(self) -> None:
        self._set_items(self._pop_mark())

    # Opcodes: memo

    def _put(self, index: int) -> None:
        if len(self._memo) > _MAX_MEMO:
            self._refuse("remembers too much")
        value = self._stack[-1]
        if value is _RAW_ARRAY:
            self._raw_index = index  # BUILD, which comes next, knows what is to be remembered
            self._memo.pop(index, None)
        elif _worth_remembering(value):
            self._memo[index] = value
        else:
            self._memo.pop(index, None)

    def _put_number(self, layout: struct.Struct) -> None:
        self._put(self._number(layout))

    def _memoize(self) -> None:
        self._put(self._memoized)
        self._memoized += 1

    def _get(self, layout: struct.Struct) -> None:
        index = self._number(layout)
        if index not in self._memo:
            raise ValueError("refers to an item that was left behind; save the list without shared objects")
        self._stack.append(self._memo[index])

    # Opcodes: globals and what is made with them

    def _global(self) -> None:
        self._push_global(self._line(), self._line())

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_global(module, name)

    def _push_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise TypeError("global without a name")
        full = f"{module} {name}"
        if full not in _KNOWN_GLOBALS:
            shown = f"{module}.{name}"[:_LONGEST_SHOWN]
            raise InputError(
                f"{self._path}: the pickle asks for {shown if shown.isprintable() else ascii(shown)}, "
                "which no list or model needs; "
                "nothing was run; do not open it with pickle.load"
            )
        self._stack.append(_Global(full))

    def _reduce(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if type(function) is not _Global or type(arguments) is not tuple:
            raise TypeError("calls what is no function")
        self._stack.append(self._call(function.name, arguments))

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name in _RECONSTRUCT:
            return _RAW_ARRAY
        if name in _DTYPE:
            return _DType(_dtype(arguments[0]))
        if name in _SCALAR:
            dtype, data = arguments
            if type(data) is not _Payload:
                raise TypeError("number without data")
            dtype = _checked(dtype, (1,), data.length)
            if dtype.kind == "U":  # which NumPy would take for text, whatever it is
                return data.bytes(self._file).decode(f"utf-32-{'be' if dtype.byteorder == '>' else 'le'}").rstrip("\0")
            return np.frombuffer(data.bytes(self._file), dtype, 1)[0].item()
        if name in _FROM_BUFFER:
            data, dtype, shape, order = arguments
            return _array_ref(dtype, shape, order == "F", data)
        if name in _ENCODE:
            if type(arguments[0]) is not str:
                raise TypeError("encodes what is no text")
            data = arguments[0].encode("latin-1")
            return _Payload(0, len(data), data)
        if name in _BYTES and not arguments:
            return _Payload(0, 0, b"")
        if name in _BYTES and len(arguments) == 1 and type(arguments[0]) is _Payload:
            return arguments[0]
        raise TypeError(f"{name.replace(' ', '.')} called in an unknown way")

    def _new_object(self) -> None:
        arguments, cls = self._stack.pop(), self._stack.pop()
        if type(cls) is not _Global or cls.name not in _MIXTURES or arguments != ():
            raise TypeError("makes an object that no list or model needs")
        self._stack.append(_Object(cls.name.replace(" ", ".")))

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if target is _RAW_ARRAY:
            _, shape, dtype, fortran, data = state
            ref = self._stack[-1] = _array_ref(dtype, shape, bool(fortran), data)
            if self._raw_index is not None and _worth_remembering(ref):
                self._memo[self._raw_index] = ref
            self._raw_index = None
        elif type(target) is _DType:
            order = state[1] if type(state) is tuple else None
            if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
                raise ValueError("array of an unknown type")
            target.value = target.value.newbyteorder(order)
        elif type(target) is _Object and target.state is None:
            target.state = state
        else:
            raise TypeError("sets the state of what has none")


def _ends_in(stack: list[Any], value: Any) -> bool:
    return bool(stack) and stack[-1] is value


def _worth_remembering(value: Any) -> bool:
    """Whether a later item may refer to `value`.

    What is one item's own is not kept, nor what can hold itself, nor tuples in tuples in tuples:
    shared parts of shared parts would double in size with every opcode.
    """
    if type(value) is not tuple:
        return _is_shareable(value)
    entries = [entry if type(entry) is tuple else (entry,) for entry in value[: _WIDEST_SHARED + 1]]
    return all(len(parts) <= _WIDEST_SHARED for parts in [entries, *entries]) and all(
        _is_shareable(part) and type(part) is not _Payload for parts in entries for part in parts
    )


def _is_shareable(value: Any) -> bool:
    if type(value) is str:
        return len(value) < 256
    if type(value) is _Payload:
        return value.length < 256
    if type(value) is ArrayRef:
        return value.inline is None
    return value is None or type(value) in (bool, int, float, _Global, _DType)


def _dtype(name: Any) -> np.dtype:
    # Sizes only, no 'O' (objects) and no fields: such arrays are numbers or text.
    if type(name) is not str or name[:1] not in "fiubU" or not name[1:].isdigit() or int(name[1:]) > 4096:
        raise ValueError(f"array of an unknown type{f' {name[:_LONGEST_SHOWN]!r}' if type(name) is str else ''}")
    return np.dtype(name)


def _checked(dtype: Any, shape: Any, length: int) -> np.dtype:
    """Return `dtype` if an array of it with this shape has `length` bytes."""
    if type(dtype) is not _DType or type(shape) is not tuple or not 1 <= len(shape) <= 4:
        raise ValueError("array of an unknown form")
    n = dtype.value.itemsize
    for size in shape:
        # An empty array has no data to show how large it is.
        if type(size) is not int or not 0 <= size < (2**40 if length else 2**16):
            raise ValueError("array of an unknown form")
        n *= size
    if n != length:
        raise ValueError(f"array of {n} bytes comes with {length}")
    return dtype.value


def _array_ref(dtype: Any, shape: Any, fortran: bool, data: Any) -> ArrayRef:
    if type(data) is not _Payload:
        raise TypeError("array without data")
    if shape == ():
        shape = (1,)
    dtype = _checked(dtype, shape, data.length)
    return ArrayRef(dtype, shape, fortran and len(shape) > 1, data.offset, data.inline)


_Operation = Callable[[_Machine], None]


def _with(method: Callable[..., None], *arguments: Any) -> _Operation:
    return lambda machine: method(machine, *arguments)


_HEADER = {pickle.PROTO, pickle.FRAME}
_M = _Machine
_OPERATIONS: dict[bytes, _Operation] = {
    pickle.PROTO: _with(_M._skip, 1),
    pickle.FRAME: _with(_M._skip, 8),  # what a frame holds stands in the file as if there were none
    pickle.MARK: _M._mark,
    pickle.POP: lambda machine: machine._stack.pop() and None,
    pickle.NONE: lambda machine: machine._push(None),
    pickle.NEWTRUE: lambda machine: machine._push(True),
    pickle.NEWFALSE: lambda machine: machine._push(False),
    pickle.BININT: _with(_M._push_number, _I4),
    pickle.BININT1: _with(_M._push_number, _U1),
    pickle.BININT2: _with(_M._push_number, _U2),
    pickle.LONG1: _M._push_long,
    pickle.BINFLOAT: _with(_M._push_number, _F8),
    pickle.SHORT_BINUNICODE: _with(_M._push_text, _U1),
    pickle.BINUNICODE: _with(_M._push_text, _U4),
    pickle.BINUNICODE8: _with(_M._push_text, _U8),
    pickle.SHORT_BINBYTES: _with(_M._push_bytes, _U1),
    pickle.BINBYTES: _with(_M._push_bytes, _U4),
    pickle.BINBYTES8: _with(_M._push_bytes, _U8),
    pickle.BYTEARRAY8: _with(_M._push_bytes, _U8),
    pickle.EMPTY_LIST: lambda machine: machine._push([]),
    pickle.APPEND: _M._append,
    pickle.APPENDS: _M._appends,
    pickle.EMPTY_TUPLE: lambda machine: machine._push(()),
    pickle.TUPLE1: _with(_M._tuple, 1),
    pickle.TUPLE2: _with(_M._tuple, 2),
    pickle.TUPLE3: _with(_M._tuple, 3),
    pickle.TUPLE: _M._marked_tuple,
    pickle.EMPTY_DICT: lambda machine: machine._push({}),
    pickle.SETITEM: _M._set_item,
    pickle.SETITEMS: _M._set_marked_items,
    pickle.BINPUT: _with(_M._put_number, _U1),
    pickle.LONG_BINPUT: _with(_M._put_number, _U4),
    pickle.MEMOIZE: _M._memoize,
    pickle.BINGET: _with(_M._get, _U1),
    pickle.LONG_BINGET: _with(_M._get, _U4),
    pickle.GLOBAL: _M._global,
    pickle.STACK_GLOBAL: _M._stack_global,
    pickle.REDUCE: _M._reduce,
    pickle.NEWOBJ: _M._new_object,
    pickle.BUILD: _M._build,
}
