"""The record beside a list: its trials, settings and sources.

``train-mfcc.pkl.json`` describes ``train-mfcc.pkl``. It contains no times, paths or numbers of processes: two runs
with the same data, options and versions write the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from countermeasure import records
from countermeasure.errors import InputError
from countermeasure.files import sha256
from countermeasure.lists.pickles import Index
from countermeasure.records import found_path, path_of
from countermeasure.trials.lines import Trial

# 2: has an index.
FORMAT = 2

Kind = Literal["features", "frame scores", "file scores"]


@dataclass(frozen=True)
class Record:
    """The record of a list.

    Attributes
    ----------
    kind : {'features', 'frame scores', 'file scores'}
    split : {'train', 'dev', 'eval'}
    feature : dict
        Type and settings, see `types.settings`.
    sampling_rate : int
        In Hz.
    dtype : str
        Of the list's arrays, such as ``'float32'``.
    protocol_sha256, list_sha256, versions
        See `protocol_sha256`, `files.sha256`, `versions.current`.
    audio_sha256 : str
        `combined_sha256` of each trial's audio file, in the protocol's order.
    skipped, padded, mixed_down : list of str
        Utterances whose recordings could not be used; were shorter than one window and padded with zeros; had several
        channels, whose mean was used.
    utterances, speakers, n_frames : list
        Of each item; a speaker may be None, and n_frames is 0 without an array.
    index : Index or None
        None in records of older suites.
    model : dict of str to str
        For scores: name and training id of the models, SHA-256 of their files and of the scored lists.
    format : int
        Version of the record's format.
    """

    kind: Kind
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
    index: Index | None = None
    model: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_feature(self.feature)
        if not len(self.utterances) == len(self.speakers) == len(self.n_frames):
            raise ValueError("utterances, speakers and n_frames differ in number")
        if self.sampling_rate <= 0:
            raise ValueError("sampling_rate is not above 0")


@dataclass(frozen=True)
class Source:
    """What a model's record says about a list it was trained on.

    Lists to be scored are compared with the first four entries; the others are shown in the model card.
    """

    kind: Kind
    feature: dict[str, Any]
    sampling_rate: int
    model: str | None = None
    split: str | None = None
    dtype: str | None = None
    protocol_sha256: str | None = None
    n_speakers: int | None = None
    n_skipped: int | None = None

    def __post_init__(self) -> None:
        check_feature(self.feature)


def check_feature(feature: dict[str, Any]) -> None:
    """Raise ValueError if a feature's settings do not name its type."""
    if type(feature.get("type")) is not str:
        raise ValueError("feature.type is not text")


def write(list_path: str | os.PathLike[str], record: Record) -> None:
    """Write the record of a list beside it."""
    records.write(path_of(list_path), record)


def read(list_path: str | os.PathLike[str]) -> Record | None:
    """Read the record beside a list; None if there is none, or one of a newer format.

    It may describe an older file of the same name, see `matches`.

    Raises
    ------
    InputError
        If the file is not a record of a list.
    """
    path = found_path(list_path)
    try:
        values = records.read(path)
        if isinstance(values, dict):
            if type(values.get("format")) is int and values["format"] > FORMAT:
                return None
            values["index"] = values.get("index") or None  # {} in older records
            values.pop("wrong_md5", None)  # of older records
        return records.checked(Record, values)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path}: is not a record of a list ({error}); delete it or make the list again") from None


def matches(list_path: str | os.PathLike[str], record: Record) -> bool:
    """Return whether a record describes the list as it is now."""
    return sha256(list_path) == record.list_sha256


class Described(NamedTuple):
    """A list's SHA-256 and its record, or a message that says why there is none."""

    sha256: str
    record: Record | None
    doubt: str | None = None


def describe(list_path: str | os.PathLike[str], digest: str) -> Described:
    """Return the SHA-256 and the record of a list, given the SHA-256."""
    try:
        record = read(list_path)
        doubt = "has no record beside it"
    except InputError as error:
        record, doubt = None, str(error)
    if record and record.list_sha256 == digest:
        return Described(digest, record)
    if record:
        doubt = f"is not the list that {path_of(list_path).name} describes"
    return Described(digest, None, f"{list_path}: {doubt}; its items are taken by their order alone")


def source(record: Record | None) -> Source | None:
    """Return what models' records say about a list; None for a list without a record."""
    if record is None:
        return None
    return Source(
        kind=record.kind,
        feature=record.feature,
        sampling_rate=record.sampling_rate,
        model=record.model.get("training_id"),
        split=record.split,
        dtype=record.dtype,
        protocol_sha256=record.protocol_sha256,
        n_speakers=len({speaker for speaker in record.speakers if speaker}),
        n_skipped=len(record.skipped),
    )


def combined_sha256(digests: Iterable[str]) -> str:
    """Return the SHA-256 over other digests, one per line."""
    combined = hashlib.sha256()
    for digest in digests:
        combined.update(f"{digest}\n".encode())
    return combined.hexdigest()


def protocol_sha256(trials: Iterable[Trial]) -> str:
    """Return the SHA-256 of a protocol's trials, one per line.

    It equals that of the file unless there are blank lines, CRLF or a byte-order mark.
    """
    return combined_sha256(trial.line for trial in trials)
