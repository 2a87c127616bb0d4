"""A feature list that is written in parts, so that a killed run can continue.

``.NAME.items`` holds the items of the list so far. ``.NAME.parts`` holds the settings and one line of JSON per part of
500 recordings. A killed run loses less than a part, an interrupted one nothing. At the end, the file of items is
renamed to the list.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from countermeasure import records
from countermeasure.files import open_locked, prepare_place, sha256
from countermeasure.lists.pickles import LIST_END, LIST_START, Index, ItemWriter

# Recordings per part.
PART = 500


@dataclass(frozen=True)
class RecordingInfo:
    """What extraction found out about a recording, see `audio.Recording`.

    `sha256` is empty if the file is missing; `problem` says why there is no feature.
    """

    sha256: str = ""
    rate: int = 0
    n_channels: int = 0
    n_samples: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class _Part:
    """Consecutive recordings and the index of their items, which end before byte `end`."""

    recordings: list[RecordingInfo]
    n_frames: list[int]
    index: Index
    end: int


class UnfinishedList(AbstractContextManager):
    """A list that grows recording by recording, in the protocol's order.

    Only one run can open it at a time. If it has no items when it is closed, its files are removed.

    Parameters
    ----------
    path : path
        Of the finished list.
    settings : JSON value
        Parts that were made with other settings are discarded.
    restart : bool
        Discard all parts.

    Attributes
    ----------
    recordings : list of RecordingInfo
        Those processed so far.
    n_frames : list of int
        Number of rows of each item.

    Raises
    ------
    InputError
        On entering, if another run has it open.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Any, restart: bool = False):
        self.path = Path(path)
        self._items_path = self.path.with_name(f".{self.path.name}.items")
        self._parts_path = self.path.with_name(f".{self.path.name}.parts")
        self._settings, self._restart = json.dumps(settings), restart
        self.recordings: list[RecordingInfo] = []
        self.n_frames: list[int] = []

    def __enter__(self) -> UnfinishedList:
        prepare_place(self.path)
        self._file: IO[bytes] = os.fdopen(open_locked(self._items_path, self.path), "r+b")
        self._parts: IO[str] | None = None
        self._found = [] if self._restart else list(self._whole_parts())
        return self

    def _whole_parts(self) -> Iterator[_Part]:
        """Yield the parts of an earlier run up to the first incomplete one."""
        size = os.fstat(self._file.fileno()).st_size
        with contextlib.suppress(FileNotFoundError, ValueError, RecursionError):
            settings, *lines = self._parts_path.read_bytes().splitlines()
            for line in lines if settings == self._settings.encode() else ():
                part = records.checked(_Part, json.loads(line))
                if not 0 <= part.end <= size:
                    return
                yield part

    @property
    def n_found(self) -> int:
        """Number of recordings that an earlier run has processed."""
        return sum(len(part.recordings) for part in self._found)

    def resume(self, digests: Sequence[str], with_problems: bool) -> None:
        """Begin with the parts of an earlier run that are still valid.

        Parameters
        ----------
        digests : sequence of str
            Current SHA-256 of the first `n_found` recordings' files, empty for a missing one.
        with_problems : bool
            Whether to keep parts with recordings that could not be used; otherwise these are tried again.
        """
        self._items, kept = ItemWriter(self._file), []
        for part in self._found:
            now = list(digests[len(self.recordings) :][: len(part.recordings)])
            is_same = [one.sha256 for one in part.recordings] == now
            if not is_same or (not with_problems and any(one.problem for one in part.recordings)):
                break
            self.recordings += part.recordings
            self.n_frames += part.n_frames
            self._items.resume(part.index, part.end)
            kept.append(_line(part))
        self._file.seek(0)
        self._file.write(LIST_START)
        self._file.truncate(self._items.size)
        self._file.seek(self._items.size)
        self._parts = open(self._parts_path, "w", encoding="utf-8")  # noqa: SIM115  closed by __exit__
        self._parts.write("".join([self._settings + "\n", *kept]))
        self._noted = len(self.recordings), len(self.n_frames)  # how many of both belong to complete parts

    def add(self, recording: RecordingInfo, feature: np.ndarray | None, label: str | None) -> None:
        """Append the next recording; `feature` is an array [rows, columns], or None if there is a problem."""
        if feature is not None:
            self._items.append(feature, label)
            self.n_frames.append(len(feature))
        self.recordings.append(recording)
        if len(self.recordings) - self._noted[0] == PART:
            self.end_part()

    def end_part(self) -> None:
        """Bring all recordings that were added to the disk."""
        if self._parts is None or len(self.recordings) == self._noted[0]:
            return
        n, i = self._noted
        self._file.flush()
        os.fsync(self._file.fileno())  # before the line about them is written
        part = _Part(self.recordings[n:], self.n_frames[i:], self._items.index(i), self._items.size)
        self._parts.write(_line(part))
        self._parts.flush()
        self._noted = len(self.recordings), len(self.n_frames)

    def finish(self) -> tuple[str, Index]:
        """Complete the list; return its SHA-256 and the index of its items."""
        self.end_part()
        self._file.write(LIST_END)
        self._file.flush()
        os.fsync(self._file.fileno())
        return sha256(self._items_path), self._items.index()

    def publish(self) -> None:
        """Give the list its name and remove the other file."""
        self._parts_path.unlink()  # first, since renaming the items gives up the lock
        os.replace(self._items_path, self.path)

    def __exit__(self, *exception: Any) -> None:
        with self._file, self._parts or contextlib.nullcontext():
            try:
                if self._items_path.exists():  # not published
                    self.end_part()
            finally:
                # If this run has not begun, the parts of an earlier one stay.
                is_of_use = self._parts_path.exists() if self._parts is None else self._noted[1] > 0
                if not is_of_use:
                    self._items_path.unlink(missing_ok=True)
                    self._parts_path.unlink(missing_ok=True)


def _line(part: _Part) -> str:
    return json.dumps(vars(part), default=vars) + "\n"
