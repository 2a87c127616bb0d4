"""The record beside a list: which trials and which numbers it holds, and made from what.

``train-mfcc.pkl.json`` describes ``train-mfcc.pkl``. It is JSON with one entry a line, and two runs
over the same data with the same options and versions write the same bytes: times, paths and numbers
of processes are not in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import IO, Any, NamedTuple

from countermeasure.cli import log
from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole, sha256
from countermeasure.trials.protocol import Trial

# 2: has an index.
FORMAT = 2


@dataclass(frozen=True)
class Record:
    """What is known about a list.

    Attributes
    ----------
    kind : str
        ``'features'``, ``'frame scores'`` or ``'file scores'``.
    split : {'train', 'dev', 'eval'}
    feature : dict
        Type and settings, see `features.settings`.
    sampling_rate : int
        In Hz.
    dtype : str
    protocol_sha256 : str
        See `protocol_sha256`.
    audio_sha256 : str
        Over the SHA-256 of each trial's audio file, in the protocol's order, see `combined_sha256`.
    list_sha256 : str
        Of the list itself, see `files.sha256`.
    versions : dict of str to str
        See `versions.current`.
    skipped : list of str
        Utterances of the protocol that are not in the list, since their recordings cannot be used.
    padded : list of str
        Utterances shorter than one window, filled up with zeros.
    mixed_down : list of str
        Utterances of several channels, of which the list has the mean.
    utterances : list of str
        In the list's order.
    speakers : list of (str or None)
        One an utterance; None where the protocol names none.
    n_frames : list of int
        One an utterance; 0 for one without an array.
    index : dict
        Where the arrays stand in the list, see `pickles.ListWriter.index`; empty where nobody knows.
    model : dict
        Name and training id of the models that gave scores; empty for features.
    format : int
        Of the record.
    """

    kind: str
    split: str
    feature: dict[str, Any]
    sampling_rate: int
    dtype: str
    protocol_sha256: str
    audio_sha256: str
    list_sha256: str
    versions: dict[str, str]
    skipped: list[str] = field(default_factory=list)
    padded: list[str] = field(default_factory=list)
    mixed_down: list[str] = field(default_factory=list)
    utterances: list[str] = field(default_factory=list)
    speakers: list[str | None] = field(default_factory=list)
    n_frames: list[int] = field(default_factory=list)
    index: dict[str, Any] = field(default_factory=dict)
    model: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


def path_of(list_path: str | os.PathLike[str]) -> Path:
    """Return where the record of a file is written."""
    list_path = Path(list_path)
    return list_path.with_name(f"{list_path.name}.json")


def found_path(list_path: str | os.PathLike[str]) -> Path:
    """Return where the record of a file is read: beside it, or, where it is a link, beside the file itself."""
    path = path_of(list_path)
    return path if path.exists() else path_of(Path(list_path).resolve())


def write(list_path: str | os.PathLike[str], record: Record, **columns: Iterable[object] | dict[str, Any]) -> None:
    """Write the record of a list beside it.

    `columns` are entries that are written one value after another, in the place of those of `record`:
    for a million recordings they would need more memory than all the rest.
    """
    with replace_when_whole(path_of(list_path), text=True) as f:
        for i, entry in enumerate(dataclasses.fields(record)):
            f.write(f"{',' if i else '{'}\n {json.dumps(entry.name)}: ")
            f.writelines(_json_pieces(columns.get(entry.name, getattr(record, entry.name))))
        f.write("\n}\n")


def _json_pieces(value: Any) -> Iterator[str]:
    """Yield the pieces of a value's JSON; what is no value of JSON is a list that comes entry by entry."""
    if isinstance(value, dict):
        for i, (key, entry) in enumerate(value.items()):
            yield f"{', ' if i else '{'}{json.dumps(key)}: "
            yield from _json_pieces(entry)
        yield "}" if value else "{}"
    elif isinstance(value, (str, int, float, list, type(None))):
        yield json.dumps(value)
    else:
        yield "["
        for i, entry in enumerate(value):
            yield f"{', ' if i else ''}{json.dumps(entry)}"
        yield "]"


_LONGEST_PIECE = 1 << 16  # characters of a record that are read at once, where its columns are left out
# Entries with a value for each recording, and what they begin and end with.
_COLUMNS = {"utterances": ("[", "]"), "speakers": ("[", "]"), "n_frames": ("[", "]"), "index": ("{", "}")}


def read(list_path: str | os.PathLike[str], columns: bool = True) -> Record | None:
    """Read the record of a list; None when there is none, or one of a newer format.

    Without `columns`, ``utterances``, ``speakers``, ``n_frames`` and ``index`` are left empty and take no memory.

    Whether it belongs to the list as it stands there now is for `matches` to say.

    Raises
    ------
    InputError
        When the file is no such record.
    """
    path = found_path(list_path)
    try:
        with open(path, encoding="utf-8") as f:
            values = json.loads("".join(f if columns else _without_columns(f)))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number of 5,000 digits
        raise InputError(f"{path}: is damaged ({error}); delete it or make the list again") from None
    if isinstance(values, dict) and isinstance(values.get("format"), int) and values["format"] > FORMAT:
        return None
    return _checked(values, path)


def _without_columns(file: IO[str]) -> Iterator[str]:
    """Yield what `write` has laid out, with nothing in the columns; their lines, however long, take no memory."""
    is_new = True
    while piece := file.readline(_LONGEST_PIECE):
        ends = next((ends for name, ends in _COLUMNS.items() if piece.startswith(f' "{name}": {ends[0]}')), None)
        if is_new and ends:
            opening, closing = ends
            yield piece[: piece.index(opening) + 1]
            end = piece
            while not end.endswith("\n") and (piece := file.readline(_LONGEST_PIECE)):
                end = end[-len(closing) - 1 :] + piece
            if end.endswith(f"{closing},\n"):  # else it is damaged, and no JSON now
                yield f"{closing},\n"
        else:
            yield piece
            is_new = piece.endswith("\n")


def _checked(values: Any, path: Path) -> Record:
    expected = {f.name: f for f in dataclasses.fields(Record)}
    problem = None
    if isinstance(values, dict) and values.get("format") == 1:
        values = {"index": {}, **values}
    if not isinstance(values, dict) or set(values) != set(expected):
        problem = "entries missing or unknown"
    else:
        for name, f in expected.items():
            if not _has_form(values[name], str(f.type)):
                problem = f"{name} has the wrong form"
    if problem is None and not len(values["utterances"]) == len(values["speakers"]) == len(values["n_frames"]):
        problem = "utterances, speakers and n_frames differ in number"
    if problem:
        raise InputError(f"{path}: is no record of a list ({problem}); delete it or make the list again")
    values["speakers"] = [speaker and intern(speaker) for speaker in values["speakers"]]
    return Record(**values)


def _has_form(value: Any, form: str) -> bool:
    """Tell whether a JSON value is what a field's annotation says."""
    outer, _, inner = form.rstrip("]").partition("[")
    kinds: dict[str, Any] = {"int": int, "str": str, "dict": dict, "list": list}
    if not isinstance(value, kinds[outer]) or isinstance(value, bool):
        return False
    allowed = {"int": (int,), "str": (str,), "str | None": (str, type(None))}
    if outer == "list":
        return all(type(entry) in allowed[inner] for entry in value)
    return inner != "str, str" or all(type(entry) is str for entry in value.values())


def matches(list_path: str | os.PathLike[str], record: Record) -> bool:
    """Tell whether a list's bytes are those that its record was made of."""
    return sha256(list_path) == record.list_sha256


class Described(NamedTuple):
    """A list's own SHA-256, and its record where there is one that belongs to it."""

    sha256: str
    record: Record | None


def describe(list_path: str | os.PathLike[str]) -> Described:
    """Return what is known about a list; say so in one line where its record is missing or not its own."""
    digest = sha256(list_path)
    try:
        record = read(list_path)
        doubt = None if record else "has no record beside it"
    except InputError as error:
        record, doubt = None, str(error)
    if record and record.list_sha256 != digest:
        record, doubt = None, f"is not the list that {path_of(list_path).name} describes"
    if doubt:
        log(f"warning: {list_path}: {doubt}; its items are taken by their order alone")
    return Described(digest, record)


def source(record: Record | None) -> dict[str, Any] | None:
    """Return what a model remembers of a list it was trained on.

    Later lists are compared with the first four; the rest is for its card.
    """
    if record is None:
        return None
    return {
        "kind": record.kind,
        "feature": record.feature,
        "sampling_rate": record.sampling_rate,
        "model": record.model.get("training_id"),
        "split": record.split,
        "dtype": record.dtype,
        "protocol_sha256": record.protocol_sha256,
        "n_speakers": len({speaker for speaker in record.speakers if speaker}),
        "n_skipped": len(record.skipped),
    }


def combined_sha256(digests: Iterable[str]) -> str:
    """Return the SHA-256 over other digests, a line each."""
    combined = hashlib.sha256()
    for digest in digests:
        combined.update(f"{digest}\n".encode())
    return combined.hexdigest()


def protocol_sha256(trials: Iterable[Trial]) -> str:
    """Return the SHA-256 of a protocol's trials, a line each.

    For a file without blank lines, CRLF or a byte-order mark that is what ``sha256sum`` says.
    """
    return combined_sha256(trial.line for trial in trials)
