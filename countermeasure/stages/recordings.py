"""The recordings of a protocol, and what processes compute of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure import compute, files, records
from countermeasure.cli import progress
from countermeasure.errors import InputError
from countermeasure.features import features
from countermeasure.lists import provenance
from countermeasure.lists.unfinished import Recording
from countermeasure.speech import audio
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import Protocol

# Recordings go to a process in batches, so that sending them costs little; batches for other machines are larger.
_BATCH, _BATCH_ELSEWHERE = 8, 32


class Result(NamedTuple):
    """What a process found out about a recording, and its features by type; none where there is a problem."""

    recording: Recording
    features: dict[str, NDArray[np.floating]]


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
        """Yield the features of some trials, of the types that are wanted of each, in order.

        Raises
        ------
        InputError
            When a type cannot be computed at the sampling rate of a recording.
        """
        size = _BATCH_ELSEWHERE if self.workers.are_elsewhere else _BATCH
        tasks = [(trial.file or trial.utterance, types) for trial, types in zip(trials, wanted, strict=True)]
        batches = (tasks[start : start + size] for start in range(0, len(tasks), size))
        done = self.workers.map(partial(_process_batch, self.data_path, dtype), batches)
        with contextlib.closing(done):
            yield from progress((result for batch in done for result in batch), len(wanted), what, "files")


def _process_batch(data_path: Path, dtype: str, tasks: list[tuple[str, Sequence[str]]]) -> list[Result]:
    # All of a batch are decoded first: decoder and mathematics then find their code and tables in the cache.
    loaded = [_load(data_path, name, bool(types)) for name, types in tasks]
    return [_compute(*each, types, dtype) for each, (_, types) in zip(loaded, tasks, strict=True)]


def _load(data_path: Path, name: str, is_wanted: bool) -> tuple[Path, Recording, np.ndarray]:
    """Return where a recording is, what is known of it, and its samples; none where they are not wanted or bad."""
    path, sha256, none = data_path / name, "", np.empty(0)
    try:
        path = audio.find(data_path, name)
        sha256 = files.sha256(path)
        if not is_wanted:
            return path, Recording(sha256), none
        found = audio.read(path)
    except (InputError, OSError) as error:
        return path, Recording(sha256, problem=records.text(str(error))), none
    return path, Recording(sha256, found.rate, found.n_channels, len(found.signal), found.md5_matches), found.signal


def _compute(path: Path, recording: Recording, signal: np.ndarray, types: Sequence[str], dtype: str) -> Result:
    if recording.problem or not types:
        return Result(recording, {})
    try:
        return Result(recording, features.extract(signal, recording.rate, types, dtype))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
