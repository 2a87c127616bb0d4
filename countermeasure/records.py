"""Typed records in JSON: what stands beside an output, and what a model says about itself.

A record is a dataclass. Its annotations say what its JSON must be and are checked when it is read, in one place.
``train-mfcc.pkl.json`` is the record of ``train-mfcc.pkl``. It has one entry a line; equal records give equal bytes.
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
    """Return the values in a file of JSON, which `checked` is to check.

    Raises
    ------
    OSError, InputError
        When there is no such file, or when it is no file, see `files.open_regular`.
    ValueError
        When the file is no JSON; says why.
    """
    try:
        return json.loads(read_regular(path).decode())
    except RecursionError:
        raise ValueError("nested too deep") from None


def checked(kind: type[T], value: Any) -> T:
    """Return a value of JSON as what a type says: dictionaries become the dataclasses that the type names.

    Parameters
    ----------
    kind : type
        A dataclass, or made of ``str int float bool list[…] dict[str, …] Literal[…]``, of unions of them and None,
        and of `Any` for any JSON. Numbers are finite, whole ones have 64 bits, text is Unicode.
    value : JSON value

    Raises
    ------
    ValueError
        When the value is none of that type; names the entry.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()  # raises for what is no Unicode
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
