"""Typed records in JSON: what stands beside an output, and what a model says about itself.

A record is a dataclass. Its annotations say what its JSON must be, and are checked in one place, when
it is read; code that has a record need not ask again what its values are. ``train-mfcc.pkl.json`` is
the record of ``train-mfcc.pkl``. It has one entry a line, and equal records give equal bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from countermeasure.files import read_regular, replace_when_whole

T = TypeVar("T")

_SCALARS: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_BITS = 63  # of a whole number, besides its sign


def path_of(path: str | os.PathLike[str]) -> Path:
    """Return where the record of a file is written."""
    path = Path(path)
    return path.with_name(f"{path.name}.json")


def found_path(path: str | os.PathLike[str]) -> Path:
    """Return where the record of a file is read: beside it, or, where it is a link, beside the file itself."""
    beside = path_of(path)
    return beside if beside.exists() else path_of(Path(path).resolve())


def text(value: str) -> str:
    """Return text that a record can hold: names of files may be any bytes, and those that are no UTF-8 are escaped."""
    return value.encode(errors="backslashreplace").decode()


def write(path: str | os.PathLike[str], record: Any) -> None:
    """Write a record, a dataclass, to a file of JSON, an entry a line."""
    entries = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    lines = [f" {json.dumps(name)}: {json.dumps(value, default=vars)}" for name, value in entries.items()]
    with replace_when_whole(path, text=True) as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def read(path: str | os.PathLike[str]) -> Any:
    """Return the values in a file of JSON, whose types `checked` is to check.

    Raises
    ------
    OSError, InputError
        When there is no such file, or when it is no file, see `files.open_regular`.
    ValueError
        When the file is no JSON; says why.
    """
    try:
        return json.loads(read_regular(path).decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def checked(kind: type[T], value: Any, name: str = "") -> T:
    """Return a value of JSON as what a type says: dictionaries become the dataclasses that the type names.

    Parameters
    ----------
    kind : type
        A dataclass, or made of ``str int float bool None list[…] dict[str, …] Literal[…]``, of unions of
        them, and of `Any` for any JSON. Whole numbers have 64 bits; numbers are finite.
    value : JSON value
    name : str
        What the value is called in errors.

    Raises
    ------
    ValueError
        When the value is none of that type; names the entry.
    """
    return _checked(kind, value, name)


def _checked(form: Any, value: Any, name: str) -> Any:
    forms = get_args(form) if get_origin(form) in (Union, UnionType) else (form,)
    if value is None and NoneType in forms:
        return None
    forms = tuple(each for each in forms if each is not NoneType)
    if len(forms) > 1:
        forms = tuple(each for each in forms if type(value) is (get_origin(each) or each)) or forms
    form = forms[0]
    outer, inner = get_origin(form) or form, get_args(form)
    if dataclasses.is_dataclass(form):
        return _as_dataclass(form, value, name)
    if outer is Literal:
        if not any(type(value) is type(each) and value == each for each in inner):
            raise ValueError(f"{_called(name)} is none of {', '.join(map(repr, inner))}")
        return value
    if outer in (object, Any):
        inner = (Any,) * (1 + isinstance(value, dict))
        outer = type(value) if type(value) in (list, dict, *_SCALARS) or value is None else object
    if outer is list and type(value) is list:
        return _as_list(inner[0], value, name)
    if outer is dict and type(value) is dict:
        _check_scalars((str,), value, name)
        return {key: _checked(inner[1], entry, f"{name}.{key}" if name else key) for key, entry in value.items()}
    if outer is NoneType:
        return None
    if outer not in _SCALARS:
        kinds = {list: "a list", dict: "a group of named values", object: "a value of JSON"}
        raise ValueError(f"{_called(name)} is not {kinds[outer]}")
    _check_scalars((outer,), (value,), name)
    return value


def _called(name: str) -> str:
    return name if len(name) < 100 and name.isprintable() else ascii(name[:100])


_hints = lru_cache(get_type_hints)


def _as_dataclass(form: Any, value: Any, name: str) -> Any:
    if type(value) is not dict:
        raise ValueError(f"{_called(name) or 'it'} is not a group of named values")
    hints = _hints(form)
    fields = {field.name: field for field in dataclasses.fields(form)}
    if unknown := [key for key in value if key not in fields]:
        raise ValueError(f"{_called(f'{name}.{unknown[0]}' if name else str(unknown[0]))} is unknown")
    found = {}
    for key, field in fields.items():
        called = f"{name}.{key}" if name else key
        if key in value:
            found[key] = _checked(hints[key], value[key], called)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{_called(called)} is missing")
    return form(**found)


def _as_list(form: Any, value: list[Any], name: str) -> list[Any]:
    forms = get_args(form) if get_origin(form) in (Union, UnionType) else (form,)
    if all(each in _SCALARS or each is NoneType for each in forms):  # at once: there may be a million of them
        _check_scalars(forms, value, f"{name}[…]")
        return value
    return [_checked(form, entry, f"{name}[{i}]") for i, entry in enumerate(value)]


def _check_scalars(forms: Iterable[Any], values: Iterable[Any], name: str) -> None:
    """Check that all values are of some of the types in `_SCALARS`, or None where that is among them."""
    allowed = {int, *forms} if float in forms else set(forms)
    if not set(map(type, values)) <= allowed:
        raise ValueError(f"{_called(name)} is not {' or '.join(_SCALARS[form] for form in forms if form in _SCALARS)}")
    numbers = [value for value in values if type(value) is int]
    if numbers and max(map(int.bit_length, numbers)) > _BITS:
        raise ValueError(f"{_called(name)} is too large a number")
    if any(value != value or abs(value) == float("inf") for value in values if type(value) is float):
        raise ValueError(f"{_called(name)} is not finite")
    try:
        "".join(value for value in values if type(value) is str).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{_called(name)} holds text that is no Unicode") from None
