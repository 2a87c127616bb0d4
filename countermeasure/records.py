"""Typed records in JSON, written beside outputs and into models.

A record is a dataclass. When it is read, its values are checked against the annotations. ``train-mfcc.pkl.json`` is
the record of ``train-mfcc.pkl``. It has one entry per line; equal records give equal bytes.
"""

from __future__ import annotations

import dataclasses
import json
import os
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from countermeasure.files import read_regular, replace_when_whole

T = TypeVar("T")

_KINDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a group of named values",
}


def path_of(path: str | os.PathLike[str]) -> Path:
    """Return where the record of a file is written."""
    path = Path(path)
    return path.with_name(f"{path.name}.json")


def found_path(path: str | os.PathLike[str]) -> Path:
    """Return where the record of a file is read: beside it or, if it is a link without one, beside its target."""
    beside = path_of(path)
    return beside if beside.exists() else path_of(Path(path).resolve())


def text(value: str) -> str:
    """Escape what is not Unicode, as names of files may contain any bytes."""
    return value.encode(errors="backslashreplace").decode()


def write(path: str | os.PathLike[str], record: Any) -> None:
    """Write a record, a dataclass, as JSON with one entry per line."""
    entries = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    lines = [f" {json.dumps(name)}: {json.dumps(value, default=vars)}" for name, value in entries.items()]
    with replace_when_whole(path, text=True) as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def read(path: str | os.PathLike[str]) -> Any:
    """Return the values in a JSON file, to be checked by `checked`.

    Raises
    ------
    OSError, InputError
        If the file cannot be read, see `files.open_regular`.
    ValueError
        If the file is not JSON.
    """
    try:
        return json.loads(read_regular(path).decode())
    except RecursionError:
        raise ValueError("nested too deep") from None


def checked(kind: type[T], value: Any) -> T:
    """Check a JSON value against a type; dictionaries become the dataclasses that the type names.

    Parameters
    ----------
    kind : type
        A dataclass with fields of ``str int float bool list[…] dict[str, …] Literal[…]``, dataclasses, unions of them
        with None, and `Any` for any JSON. Numbers must be finite, integers have 64 bits, and text be Unicode.
    value : JSON value

    Raises
    ------
    ValueError
        If the value has another type; the message names the entry.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()  # raises UnicodeEncodeError, a ValueError
        return _typed(kind, json.loads(text, parse_int=_whole_number), "")
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _whole_number(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= 2**63:
        raise ValueError(f"{digits[:20]} is too large a number")
    return int(digits)


def _typed(form: Any, value: Any, name: str) -> Any:
    outer, inner = get_origin(form) or form, get_args(form)
    if outer in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        forms = [each for each in inner if each is not NoneType]
        fitting = (each for each in forms if type(value) is (get_origin(each) or each))
        return _typed(next(fitting, forms[0]), value, name)
    if dataclasses.is_dataclass(form):
        return _as_dataclass(form, value, name)
    if outer is Literal:
        if value not in inner:
            raise ValueError(f"{name} is none of {', '.join(map(repr, inner))}")
    elif outer is not Any and type(value) is not outer and not (outer is float and type(value) is int):
        raise ValueError(f"{name} is not {_KINDS[outer]}")
    if outer is list and not set(map(type, value)) <= set(get_args(inner[0]) or inner):  # of dataclasses, or wrong
        return [_typed(inner[0], entry, f"{name}[{i}]") for i, entry in enumerate(value)]
    if outer is dict:
        return {key: _typed(inner[1], entry, f"{name}.{key[:100]!r}") for key, entry in value.items()}
    return value


_hints = lru_cache(get_type_hints)


def _as_dataclass(form: Any, value: Any, name: str) -> Any:
    if type(value) is not dict:
        raise ValueError(f"{name or 'it'} is not a group of named values")
    fields = {field.name: field for field in dataclasses.fields(form)}
    if unknown := [key for key in value if key not in fields]:
        raise ValueError(f"{name or 'it'} has the unknown entry {unknown[0][:100]!r}")
    found = {}
    for key, field in fields.items():
        called = f"{name}.{key}" if name else key
        if key in value:
            found[key] = _typed(_hints(form)[key], value[key], called)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{called} is missing")
    return form(**found)
