"""A feature list that is written in sections, so that a killed run can continue.

``.NAME.items`` holds the items of the list so far. ``.NAME.sections`` holds the settings and one line of JSON per
section of 500 recordings. A killed run loses less than a section, an interrupted one nothing. At the end, the file of
items is renamed to the list.
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

# Recordings per section.
SECTION = 500


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
class _Section:
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
        Sections that were made with other settings are discarded.
    restart : bool
        Discard all sections.

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
        self._sections_path = self.path.with_name(f".{self.path.name}.sections")
        self._settings, self._restart = json.dumps(settings), restart
        self.recordings: list[RecordingInfo] = []
        self.n_frames: list[int] = []

    def __enter__(self) -> UnfinishedList:
        prepare_place(self.path)
        self._file: IO[bytes] = os.fdopen(open_locked(self._items_path, self.path), "r+b")
        self._sections: IO[str] | None = None
        self._earlier = [] if self._restart else list(self._whole_sections())
        return self

    def _whole_sections(self) -> Iterator[_Section]:
        """Yield the sections of an earlier run up to the first incomplete one."""
        size = os.fstat(self._file.fileno()).st_size
        with contextlib.suppress(FileNotFoundError, ValueError, RecursionError):
            settings, *lines = self._sections_path.read_bytes().splitlines()
            for line in lines if settings == self._settings.encode() else ():
                section = records.checked(_Section, json.loads(line))
                if not 0 <= section.end <= size:
                    return
                yield section

    @property
    def n_earlier(self) -> int:
        """Number of recordings that an earlier run has processed."""
        return sum(len(section.recordings) for section in self._earlier)

    def resume(self, digests: Sequence[str], with_problems: bool) -> None:
        """Begin with the sections of an earlier run that are still valid.

        Parameters
        ----------
        digests : sequence of str
            Current SHA-256 of the first `n_earlier` recordings' files, empty for a missing one.
        with_problems : bool
            Whether to keep sections with recordings that could not be used; otherwise these are tried again.
        """
        self._items, kept = ItemWriter(self._file), []
        for section in self._earlier:
            now = list(digests[len(self.recordings) :][: len(section.recordings)])
            is_same = [one.sha256 for one in section.recordings] == now
            if not is_same or (not with_problems and any(one.problem for one in section.recordings)):
                break
            self.recordings += section.recordings
            self.n_frames += section.n_frames
            self._items.resume(section.index, section.end)
            kept.append(_line(section))
        self._file.seek(0)
        self._file.write(LIST_START)
        self._file.truncate(self._items.size)
        self._file.seek(self._items.size)
        self._sections = open(self._sections_path, "w", encoding="utf-8")  # noqa: SIM115  closed by __exit__
        self._sections.write("".join([self._settings + "\n", *kept]))
        self._noted = len(self.recordings), len(self.n_frames)  # how many of both belong to complete sections

    def add(self, recording: RecordingInfo, feature: np.ndarray | None, label: str | None) -> None:
        """Append the next recording; `feature` is an array [rows, columns], or None if there is a problem."""
        if feature is not None:
            self._items.append(feature, label)
            self.n_frames.append(len(feature))
        self.recordings.append(recording)
        if len(self.recordings) - self._noted[0] == SECTION:
            self.end_section()

    def end_section(self) -> None:
        """Bring all recordings that were added to the disk."""
        if self._sections is None or len(self.recordings) == self._noted[0]:
            return
        n, i = self._noted
        self._file.flush()
        os.fsync(self._file.fileno())  # before the line about them is written
        section = _Section(self.recordings[n:], self.n_frames[i:], self._items.index(i), self._items.size)
        self._sections.write(_line(section))
        self._sections.flush()
        self._noted = len(self.recordings), len(self.n_frames)

    def finish(self) -> tuple[str, Index]:
        """Complete the list; return its SHA-256 and the index of its items."""
        self.end_section()
        self._file.write(LIST_END)
        self._file.flush()
        os.fsync(self._file.fileno())
        return sha256(self._items_path), self._items.index()

    def publish(self) -> None:
        """Give the list its name and remove the other file."""
        self._sections_path.unlink()  # first, since renaming the items gives up the lock
        os.replace(self._items_path, self.path)

    def __exit__(self, *exception: Any) -> None:
        with self._file, self._sections or contextlib.nullcontext():
            try:
                if self._items_path.exists():  # not published
                    self.end_section()
            finally:
                # If this run has not begun, the sections of an earlier one stay.
                is_of_use = self._sections_path.exists() if self._sections is None else self._noted[1] > 0
                if not is_of_use:
                    self._items_path.unlink(missing_ok=True)
                    self._sections_path.unlink(missing_ok=True)


def _line(section: _Section) -> str:
    return json.dumps(vars(section), default=vars) + "\n"
