"""The recordings of a protocol, and what the workers compute from them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure import compute, files, records
from countermeasure.cli import progress
from countermeasure.errors import InputError
from countermeasure.features import features
from countermeasure.lists import provenance
from countermeasure.lists.unfinished import RecordingInfo
from countermeasure.speech import audio
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import Protocol

# Recordings are sent to a worker in batches to keep the overhead small; batches for other machines are larger.
_BATCH, _BATCH_ELSEWHERE = 8, 32


class Result(NamedTuple):
    """What a worker returns about a recording, and its features by type; without features if it has a problem."""

    recording: RecordingInfo
    features: dict[str, NDArray[np.floating]]


class Source:
    """The recordings of a protocol."""

    def __init__(self, data_path: Path, trials: Protocol, workers: compute.Workers):
        self.data_path, self.trials, self.workers = data_path, trials, workers
        self.protocol_sha256 = provenance.protocol_sha256(trials)
        self._digests: list[str] = []

    def digests(self, n: int) -> list[str]:
        """Return the SHA-256 of the first `n` trials' files, empty for a missing file."""
        if len(self._digests) < n:
            self._digests = [result.recording.sha256 for result in self.results(self.trials[:n], (), "checking")]
        return self._digests[:n]

    def results(
        self, trials: Sequence[Trial], ftypes: Sequence[str], what: str, dtype: str = "float32"
    ) -> Iterator[Result]:
        """Yield the features of trials in order; without feature types, only the files' checksums.

        Raises
        ------
        InputError
            If a type cannot be computed at the sampling rate of a recording.
        """
        size = _BATCH_ELSEWHERE if self.workers.are_elsewhere else _BATCH
        names = [trial.file or trial.utterance for trial in trials]
        batches = (names[start : start + size] for start in range(0, len(names), size))
        done = self.workers.map(partial(_process_batch, self.data_path, ftypes, dtype), batches)
        with contextlib.closing(done):
            yield from progress((result for batch in done for result in batch), len(names), what, "files")


def _process_batch(data_path: Path, ftypes: Sequence[str], dtype: str, names: list[str]) -> list[Result]:
    # All recordings are decoded first: decoder and mathematics then find their code and tables in the cache.
    loaded = [_load(data_path, name, bool(ftypes)) for name in names]
    results = []
    for name, (recording, signal) in zip(names, loaded, strict=True):
        found = {}
        if signal is not None:
            try:
                found = features.extract(signal, recording.rate, ftypes, dtype)
            except InputError as error:
                raise InputError(f"{data_path / name}: {error}") from None
        results.append(Result(recording, found))
    return results


def _load(data_path: Path, name: str, is_decoded: bool) -> tuple[RecordingInfo, NDArray[np.floating] | None]:
    """Return what is known about a recording, and its samples; None if they are not wanted or unusable."""
    sha256, path = "", data_path / name
    try:
        path = audio.find(data_path, name)
        sha256 = files.sha256(path)
        if not is_decoded:
            return RecordingInfo(sha256), None
        found = audio.read(path)
    except InputError as error:
        return RecordingInfo(sha256, problem=records.text(str(error))), None
    except OSError as error:
        return RecordingInfo(sha256, problem=records.text(f"{path}: {error.strerror or error}")), None
    return RecordingInfo(sha256, found.rate, found.n_channels, len(found.signal)), found.signal
