"""A feature list on its way to disk.

Features are written once, as items of the list itself, to a file that has not the list's name yet; a
journal beside it has a note on each. In the end that file takes the list's name, if its items are those
of the protocol in the protocol's order. Where a run was interrupted and something changed meanwhile
they may not be: then the list is copied from it. An interrupted run, and one that meets bad recordings,
loses nothing.

A killed run leaves a whole number of items and notes, and at most one torn one, which is cut off: a
note holds the checksum of all items up to its own. Notes are plain bytes; nothing in them is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError
from countermeasure.files import check_place, open_locked, sha256
from countermeasure.lists.pickles import LETTERS, LIST_END, LIST_START, Index, ListWriter, around_array
from countermeasure.trials.protocol import Protocol

_HEAD = struct.Struct("<4sII")  # mark, length of what follows, its checksum
# Place, label, digest, rate, channels, samples, MD5 (1, 0, -1: None), rows, columns, where the data begin, the items'
# checksum. Then the utterance.
_FIELDS = struct.Struct("<Qc32sIHQbIIQ32s")
_MARK = b"CMj3"
_LABELS = {letter.encode(): label for label, letter in LETTERS.items()}


class Entry(NamedTuple):
    """A recording whose feature is there.

    Attributes
    ----------
    place : int
        In the protocol.
    label : str or None
        That its item has.
    digest : bytes
        SHA-256 of the audio file.
    rate : int
        In Hz.
    n_channels, n_samples, md5_matches
        Of the recording, see `audio.Recording`.
    shape : tuple of int
        Of the feature.
    start : int
        Where the feature's data begin in the file of items.
    """

    place: int
    label: str | None
    digest: bytes
    rate: int
    n_channels: int
    n_samples: int
    md5_matches: bool | None
    shape: tuple[int, int]
    start: int


class UnfinishedList(AbstractContextManager):
    """The features of one type, kept on disk as they are computed.

    Recordings are told apart by their place in the protocol; notes bear the utterance too, since a protocol
    may change. In memory there is nothing of them. While it is open, no other run can open it; one
    without items is deleted at the end.

    Parameters
    ----------
    path : path
        Of the list that it shall become.
    settings : JSON value
        What was made with other settings is deleted.
    dtype : {'float32', 'float64'}
    trials : Protocol
    restart : bool
        Whether to start anew in any case.

    Raises
    ------
    InputError
        On entering, when another run has it open.
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: Any, dtype: str, trials: Protocol, restart: bool = False
    ):
        self.path = Path(path)
        self._items_path, self._journal_path = _paths(self.path)
        self._title = json.dumps([settings, dtype], sort_keys=True).encode()
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._trials = trials
        self._restart = restart

    def __enter__(self) -> UnfinishedList:
        check_place(self.path)
        self._journal: IO[bytes] = os.fdopen(open_locked(self._journal_path, self.path), "r+b")
        if not self._restart:
            self._take_back()
        self._items: IO[bytes] = os.fdopen(os.open(self._items_path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        self._begin()
        if not self._restart:
            self._recover()
        for file, size in ((self._items, self._size), (self._journal, self._notes_end)):
            file.seek(size)
            file.truncate()
        if not self._size:
            self._write_items(LIST_START)
            self._write_note(self._title)
        return self

    def _take_back(self) -> None:
        """Copy the items back from the list, if a run was killed just after they had become it."""
        is_begun = os.fstat(self._journal.fileno()).st_size > 0
        if is_begun and self.path.exists() and not self._items_path.exists():
            shutil.copyfile(self.path, self._items_path)

    def _begin(self) -> None:
        self._size = self._notes_end = self._n_items = 0
        self._checksum = hashlib.sha256()
        self._last, self._in_order = -1, True

    def __exit__(self, *exception: Any) -> None:
        if not self._journal.closed and not self._n_items:
            self.remove()
        self._items.close()
        self._journal.close()

    def remove(self) -> None:
        """Delete it: the list is whole, or can never be."""
        self._items.close()
        self._items_path.unlink(missing_ok=True)
        self._journal_path.unlink(missing_ok=True)
        self._journal.close()

    # -- writing

    def add(
        self,
        place: int,
        digest: bytes,
        rate: int,
        n_channels: int,
        n_samples: int,
        feature: NDArray[np.floating],
        md5_matches: bool | None = None,
    ) -> None:
        """Append the feature of the recording at a place; it replaces an earlier one."""
        trial = self._trials[place]
        rows, columns = feature.shape
        self._n_items += 1
        before, after = around_array(self._n_items, feature.shape, self._dtype, trial.label)
        start = self._size + len(before)
        self._write_items(b"".join((before, np.ascontiguousarray(feature, self._dtype).data.cast("B"), after)))
        md5 = -1 if md5_matches is None else int(md5_matches)
        about = digest, rate, n_channels, n_samples, md5, rows, columns, start, self._checksum.digest()
        letter = LETTERS[trial.label].encode()
        self._write_note(_FIELDS.pack(place, letter, *about) + trial.utterance.encode())
        self._in_order = self._in_order and place > self._last
        self._last = place

    def _write_items(self, content: bytes) -> None:
        self._items.write(content)
        self._items.flush()  # to the operating system, where it survives the end of this process
        self._checksum.update(content)
        self._size += len(content)

    def _write_note(self, content: bytes) -> None:
        self._journal.write(_HEAD.pack(_MARK, len(content), zlib.crc32(content)) + content)
        self._journal.flush()
        self._notes_end += _HEAD.size + len(content)

    # -- what is there

    def known(self) -> Iterator[Entry | None]:
        """Yield what is there at this moment of each trial."""
        entries = self._entries()
        entry = next(entries, None)
        for place in range(len(self._trials)):
            if entry and entry.place == place:
                yield entry
                entry = next(entries, None)
            else:
                yield None

    def entries(self, places: Iterable[int]) -> Iterator[Entry]:
        """Yield what is there of trials that have a feature, given in order."""
        entries = self._entries()
        for place in places:
            yield next(entry for entry in entries if entry.place == place)

    def _entries(self) -> Iterator[Entry]:
        """Yield the latest entry of each place that has one, in order."""
        if self._in_order:
            for _, entry, _ in self._notes():
                yield entry
            return
        # By place, in a file: 0 is no entry, the title stands there.
        with TemporaryFile() as starts:
            starts.truncate(8 * len(self._trials))
            for start, entry, utterance in self._notes():
                place = self._place(entry, utterance)
                if place is not None:
                    starts.seek(8 * place)
                    starts.write(array("Q", [start]))
            starts.seek(0)
            for place in range(len(self._trials)):
                (start,) = array("Q", starts.read(8))
                if start:
                    _, entry, _ = next(self._notes(start))
                    yield entry._replace(place=place)

    def _place(self, entry: Entry, utterance: str) -> int | None:
        """Return where a note's trial is in this protocol; None where there is none."""
        trials = self._trials
        if entry.place < len(trials) and trials[entry.place].utterance == utterance:
            return entry.place  # and the protocol need not be searched
        return trials.place(utterance)

    def _notes(self, start: int | None = None) -> Iterator[tuple[int, Entry, str]]:
        """Yield where each note begins, and what it says; the first one or the one at `start` first."""
        start = _HEAD.size + len(self._title) if start is None else start
        end = self._notes_end
        with open(self._journal_path, "rb") as file:
            file.seek(start)
            while start < end:
                _, length, _ = _HEAD.unpack(file.read(_HEAD.size))
                content = file.read(length)
                yield start, _entry(content), _utterance(content)
                start += _HEAD.size + length

    # -- the end

    def finish(self, places: Callable[[], Iterable[int]]) -> tuple[str, Index | None]:
        """Write the list of the features at some places, given in order.

        Returns
        -------
        str
            SHA-256 of the list.
        Index or None
            See `pickles.ListWriter.index`.
        """
        letters = bytes(ord(LETTERS[self._trials[place].label]) for place in places())
        there = ((entry.place, ord(LETTERS[entry.label])) for entry in self._entries())
        if self._in_order and all(a == b for a, b in zip_longest(zip(places(), letters, strict=True), there)):
            self._write_items(LIST_END)
            os.fsync(self._items.fileno())
            self._items.close()
            os.replace(self._items_path, self.path)
            first = next(self._entries())
            starts = [entry.start for entry in self._entries()]
            index = Index(self._dtype.str, list(first.shape[1:]), letters.decode(), starts)
            return self._checksum.hexdigest(), index
        with ListWriter(self.path) as out:
            for entry in self.entries(places()):
                out.append(self._feature(entry), self._trials[entry.place].label)
        return sha256(self.path), out.index

    def _feature(self, entry: Entry) -> NDArray[np.floating]:
        self._items.seek(entry.start)
        content = self._items.read(entry.shape[0] * entry.shape[1] * self._dtype.itemsize)
        return np.frombuffer(content, self._dtype).reshape(entry.shape)

    # -- after a run that was interrupted

    def _recover(self) -> None:
        """Find out how far items and notes are whole."""
        self._journal.seek(0)
        self._items.seek(0)
        if self._read_note() != self._title or self._items.read(len(LIST_START)) != LIST_START:
            return
        self._checksum.update(LIST_START)
        self._size, self._notes_end = len(LIST_START), _HEAD.size + len(self._title)
        while (note := self._read_note()) is not None and self._is_whole(note):
            self._notes_end += _HEAD.size + len(note)

    def _read_note(self) -> bytes | None:
        head = self._journal.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        mark, length, checksum = _HEAD.unpack(head)
        if mark != _MARK or length > os.fstat(self._journal.fileno()).st_size:
            return None
        content = self._journal.read(length)
        return content if len(content) == length and zlib.crc32(content) == checksum else None

    def _is_whole(self, note: bytes) -> bool:
        """Tell whether a note is one, and its item the next of the list; go on behind it then."""
        if len(note) < _FIELDS.size or note[8:9] not in _LABELS:
            return False
        entry = _entry(note)
        n_bytes = entry.shape[0] * entry.shape[1] * self._dtype.itemsize
        if n_bytes > os.fstat(self._items.fileno()).st_size or not entry.rate or not entry.n_channels:
            return False
        try:
            before, after = around_array(self._n_items + 1, entry.shape, self._dtype, entry.label)
        except struct.error:  # rows without columns, of a number that no array has
            return False
        item = self._items.read(len(before) + n_bytes + len(after))
        checksum = self._checksum.copy()
        checksum.update(item)
        if (
            entry.start != self._size + len(before)
            or not (item.startswith(before) and item.endswith(after))
            or checksum.digest() != note[_FIELDS.size - checksum.digest_size : _FIELDS.size]
        ):
            return False
        self._checksum = checksum
        self._size += len(item)
        self._n_items += 1
        self._in_order = self._in_order and entry.place > self._last
        self._in_order = self._in_order and self._place(entry, _utterance(note)) == entry.place
        self._last = entry.place
        return True


def _entry(note: bytes) -> Entry:
    place, label, digest, rate, n_channels, n_samples, md5, rows, columns, start, _ = _FIELDS.unpack_from(note)
    md5_matches = None if md5 < 0 else bool(md5)
    return Entry(place, _LABELS[label], digest, rate, n_channels, n_samples, md5_matches, (rows, columns), start)


def _utterance(note: bytes) -> str:
    return note[_FIELDS.size :].decode(errors="replace")


def _paths(path: Path) -> tuple[Path, Path]:
    """Return where the items and the journal of a list stand."""
    return path.with_name(f".{path.name}.items"), path.with_name(f".{path.name}.journal")


def remove_unfinished(path: str | os.PathLike[str]) -> None:
    """Delete what is left of a list that is finished, unless another run has it open."""
    items, journal = _paths(Path(path))
    if journal.exists():
        with contextlib.suppress(InputError):
            descriptor = open_locked(journal, journal)
            items.unlink(missing_ok=True)
            journal.unlink(missing_ok=True)
            os.close(descriptor)
