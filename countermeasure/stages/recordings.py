"""The recordings of a protocol, and what processes compute of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure import compute, records
from countermeasure.cli import progress
from countermeasure.errors import InputError
from countermeasure.features import features
from countermeasure.lists import provenance
from countermeasure.lists.unfinished import Recording
from countermeasure.speech import audio
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import Protocol

# Recordings go to a process in batches, so that sending them costs little beside the work.
_BATCH_RECORDINGS = 8
_BATCH_BYTES = 2_000_000
# So many times larger where they go to other machines.
_FURTHER = 4


class _Task(NamedTuple):
    """A recording, and the types whose features are to be computed; `problem` says why there is no file."""

    utterance: str
    names: Sequence[str]
    path: Path | None = None
    problem: str | None = None


class Result(NamedTuple):
    """What a process found out about a recording: its features by type, and why a type has none."""

    recording: Recording
    found: dict[str, NDArray[np.floating]] = {}  # noqa: RUF012  never changed
    problems: dict[str, str] = {}  # noqa: RUF012

    def of_type(self, name: str) -> Recording:
        """Return what is known of the recording for the list of a type."""
        return replace(self.recording, problem=self.problems[name]) if name in self.problems else self.recording


class Source:
    """The recordings of a protocol."""

    def __init__(self, data_path: Path, trials: Protocol, workers: compute.Workers):
        self.data_path, self.trials, self.workers = data_path, trials, workers
        self._digests: list[str] = []

    @cached_property
    def protocol_sha256(self) -> str:
        """See `provenance.protocol_sha256`."""
        return provenance.protocol_sha256(self.trials)

    def digests(self, n: int) -> list[str]:
        """Return the SHA-256 of the first `n` trials' files, empty for one that is not there."""
        if len(self._digests) < n:
            found = self.results(self.trials[:n], [[]] * n, "checking")
            self._digests = [result.recording.sha256 for result in found]
        return self._digests[:n]

    def results(
        self, trials: Sequence[Trial], wanted: Sequence[Sequence[str]], what: str, dtype: str = "float32"
    ) -> Iterator[Result]:
        """Yield the features of some trials, of the types that are wanted of each, in order."""
        tasks = (self._task(trial, types) for trial, types in zip(trials, wanted, strict=True))
        most = _BATCH_RECORDINGS * (_FURTHER if self.workers.are_elsewhere else 1)
        done = self.workers.map(partial(_process_batch, dtype), _batches(tasks, most))
        with contextlib.closing(done):
            yield from progress((result for batch in done for result in batch), len(wanted), what, "files")

    def _task(self, trial: Trial, types: Sequence[str]) -> _Task:
        try:
            return _Task(trial.utterance, types, audio.find(self.data_path, trial.file or trial.utterance))
        except InputError as error:
            return _Task(trial.utterance, types, problem=str(error))


def _batches(tasks: Iterable[_Task], most: int) -> Iterator[list[_Task]]:
    batch: list[_Task] = []
    n_bytes = 0
    for task in tasks:
        batch.append(task)
        n_bytes += os.path.getsize(task.path) if task.path else 0
        if len(batch) == most or n_bytes > _BATCH_BYTES:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def _process_batch(dtype: str, tasks: list[_Task]) -> list[Result]:
    # Decoder and mathematics each find their code and tables in the cache when they work in turns of a batch.
    return [_compute(*loaded, dtype) for loaded in [_load(task) for task in tasks]]


def _load(task: _Task) -> tuple[_Task, str, audio.Recording | None, str | None]:
    """Return a task, its file's digest, the recording where features are wanted of it, and what is wrong with it."""
    if task.path is None:
        return task, "", None, task.problem
    digest = ""
    try:
        with open(task.path, "rb", buffering=0) as file:
            content = file.readall()
        digest = hashlib.sha256(content).hexdigest()
        return task, digest, audio.read(task.path, content) if task.names else None, None
    except InputError as error:
        return task, digest, None, str(error)
    except OSError as error:
        return task, digest, None, f"{task.path}: {error.strerror or error}"


def _compute(task: _Task, digest: str, loaded: audio.Recording | None, problem: str | None, dtype: str) -> Result:
    if loaded is None:
        return Result(Recording(digest, problem=problem and _line(problem)))
    recording = Recording(digest, loaded.rate, loaded.n_channels, len(loaded.signal), loaded.md5_matches)
    try:
        return Result(recording, features.extract(loaded.signal, loaded.rate, task.names, dtype))
    except InputError as error:
        if len(task.names) == 1:
            return Result(recording, problems={task.names[0]: _line(f"{task.utterance}: {error}")})
    # One type at a time: what one cannot be computed of, another can.
    alone = [_compute(task._replace(names=[name]), digest, loaded, None, dtype) for name in task.names]
    found = {name: feature for one in alone for name, feature in one.found.items()}
    return Result(recording, found, {name: problem for one in alone for name, problem in one.problems.items()})


def _line(text: str) -> str:
    """Return text as a line that a record can hold."""
    return records.text(text.replace("\n", " "))
