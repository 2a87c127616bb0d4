"""A feature list on its way to disk, in parts that outlive the run.

Features are written as items of the list itself to ``.NAME.items``. After each part of some hundred
recordings, ``.NAME.parts`` has a line of JSON more, which says what the part holds and has its
checksum. In the end the items take the list's name. A run that was killed loses less than a part; one
that was interrupted, nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from countermeasure import records
from countermeasure.errors import InputError
from countermeasure.files import check_place, open_locked, sha256
from countermeasure.lists.pickles import LETTERS, LIST_END, LIST_START, Index, item_bytes

# Recordings of a part.
PART = 500


@dataclass(frozen=True)
class Recording:
    """What is known of a recording that a list has dealt with.

    Attributes
    ----------
    sha256 : str
        Of its file; empty where there is none.
    rate, n_channels, n_samples, md5_matches
        See `audio.Recording`.
    problem : str or None
        Why the list has no feature of it.
    """

    sha256: str = ""
    rate: int = 0
    n_channels: int = 0
    n_samples: int = 0
    md5_matches: bool | None = None
    problem: str | None = None


@dataclass
class _Part:
    """Some recordings in a row; all but the first are of the items, see `pickles.Index`."""

    recordings: list[Recording] = field(default_factory=list)
    n_frames: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    labels: str = ""
    dtype: str = ""
    row_shape: list[int] = field(default_factory=list)
    n_bytes: int = 0
    crc32: int = 0

    def __post_init__(self) -> None:
        n_items = sum(recording.problem is None for recording in self.recordings)
        if not n_items == len(self.n_frames) == len(self.starts) == len(self.labels):
            raise ValueError("numbers of items differ")


class UnfinishedList(AbstractContextManager):
    """A list that grows recording by recording, in the protocol's order.

    While it is open, no other run can open it. One without recordings is deleted at the end.

    Parameters
    ----------
    path : path
        Of the list that it shall become.
    settings : JSON value
        What was made with other settings is not continued.
    restart : bool
        Whether to start anew in any case.

    Attributes
    ----------
    recordings : list of Recording
        Those dealt with so far, to the end of the last part.
    n_frames : list of int
        Number of rows of each item.

    Raises
    ------
    InputError
        On entering, when another run has it open.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Any, restart: bool = False):
        self.path = Path(path)
        self._items_path, self._parts_path = _paths(self.path)
        self._settings, self._restart = json.dumps(settings), restart
        self.recordings: list[Recording] = []
        self.n_frames: list[int] = []
        self._index = Index("", [], "", [])

    def __enter__(self) -> UnfinishedList:
        check_place(self.path)
        self._items: IO[bytes] = os.fdopen(open_locked(self._items_path, self.path), "r+b")
        self._parts: IO[str] | None = None
        self._part = _Part()
        self._found = [] if self._restart else list(self._whole_parts())
        return self

    def _whole_parts(self) -> Iterator[_Part]:
        """Yield the parts that an earlier run has left, up to the first that is torn."""
        try:
            title, *lines = self._parts_path.read_bytes().splitlines()
        except (FileNotFoundError, ValueError):
            return
        if title.decode(errors="replace") != self._settings or self._items.read(len(LIST_START)) != LIST_START:
            return
        for line in lines:
            try:
                part = records.checked(_Part, json.loads(line))
            except (ValueError, RecursionError):
                return
            if not 0 <= part.n_bytes <= os.fstat(self._items.fileno()).st_size:
                return
            content = self._items.read(part.n_bytes)
            if len(content) != part.n_bytes or zlib.crc32(content) != part.crc32:
                return
            yield part

    @property
    def n_found(self) -> int:
        """Number of recordings that an earlier run has dealt with."""
        return sum(len(part.recordings) for part in self._found)

    def resume(self, digests: Sequence[str], with_problems: bool) -> None:
        """Begin, with the parts of an earlier run that are still good.

        Parameters
        ----------
        digests : sequence of str
            SHA-256 of the first `n_found` recordings' files at this moment, empty for one that is not there.
        with_problems : bool
            Whether parts with recordings that could not be used are taken; else these are tried again.
        """
        kept = []
        for part in self._found:
            n = len(self.recordings)
            now = list(digests[n : n + len(part.recordings)])
            if [recording.sha256 for recording in part.recordings] != now:
                break
            if not with_problems and any(recording.problem for recording in part.recordings):
                break
            kept.append(part)
            self._take(part)
        self._end = len(LIST_START) + sum(part.n_bytes for part in kept)
        self._items.seek(0)
        self._items.write(LIST_START)
        self._items.truncate(self._end)
        self._items.seek(self._end)
        self._parts = open(self._parts_path, "w", encoding="utf-8")  # noqa: SIM115  closed by __exit__
        self._parts.write(self._settings + "\n" + "".join(map(_line, kept)))

    def _take(self, part: _Part) -> None:
        self.recordings += part.recordings
        self.n_frames += part.n_frames
        index = self._index
        dtype, row_shape = (part.dtype, part.row_shape) if part.starts else (index.dtype, index.row_shape)
        self._index = Index(dtype, row_shape, index.labels + part.labels, index.starts + part.starts)

    def add(self, recording: Recording, feature: np.ndarray | None, label: str | None) -> None:
        """Append the next recording; `feature` is an array [rows, columns], None where there is a problem."""
        part = self._part
        if feature is not None:
            item, start = item_bytes(len(self.n_frames) + len(part.n_frames) + 1, feature, label)
            self._items.write(item)  # before anything is noted: the disk may be full
            part.n_frames.append(len(feature))
            part.starts.append(self._end + start)
            part.labels += LETTERS[label]
            part.dtype, part.row_shape = feature.dtype.str, list(feature.shape[1:])
            self._end += len(item)
            part.n_bytes += len(item)
            part.crc32 = zlib.crc32(item, part.crc32)
        part.recordings.append(recording)
        if len(part.recordings) == PART:
            self.end_part()

    def end_part(self) -> None:
        """Bring all that was added to where it outlives the run."""
        part, self._part = self._part, _Part()
        if part.recordings and self._parts is not None:
            self._items.flush()  # to the operating system, where it survives the end of this process
            self._parts.write(_line(part))
            self._parts.flush()
            self._take(part)

    def finish(self) -> tuple[str, Index]:
        """Complete the items; return the list's SHA-256, and where its items stand."""
        self.end_part()
        self._items.write(LIST_END)
        self._items.flush()
        os.fsync(self._items.fileno())
        return sha256(self._items_path), self._index

    def publish(self) -> None:
        """Give the list its name; nothing else is left of it."""
        self._parts_path.unlink()  # first: the lock is that of the items under their present name
        os.replace(self._items_path, self.path)

    def __exit__(self, *exception: Any) -> None:
        try:
            if self._items_path.exists():  # not published
                self.end_part()
        finally:
            # Where this run did not begin, whatever an earlier one has left stays as it was.
            is_of_use = self._parts_path.exists() if self._parts is None else bool(self.n_frames)
            if not is_of_use:
                self._items_path.unlink(missing_ok=True)
                self._parts_path.unlink(missing_ok=True)
            with contextlib.ExitStack() as files:
                files.enter_context(contextlib.closing(self._items))
                if self._parts is not None:
                    files.enter_context(contextlib.closing(self._parts))


def remove_unfinished(path: str | os.PathLike[str]) -> None:
    """Delete what is left of a list that is finished, unless another run has it open."""
    items, parts = _paths(Path(path))
    if items.exists() or parts.exists():
        with contextlib.suppress(InputError):
            descriptor = open_locked(items, items)
            parts.unlink(missing_ok=True)
            items.unlink(missing_ok=True)
            os.close(descriptor)


def _line(part: _Part) -> str:
    return json.dumps(vars(part), default=vars) + "\n"


def _paths(path: Path) -> tuple[Path, Path]:
    """Return where the items of a list and the account of their parts stand."""
    return path.with_name(f".{path.name}.items"), path.with_name(f".{path.name}.parts")
