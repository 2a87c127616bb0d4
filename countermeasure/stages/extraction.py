"""From recordings to feature lists."""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countermeasure import compute, versions
from countermeasure.cli import Progress, log
from countermeasure.errors import InputError
from countermeasure.features import features
from countermeasure.files import refuse_overwriting, replace_when_whole, scratch_file
from countermeasure.lists import names, provenance
from countermeasure.lists.unfinished import Entry, UnfinishedList, remove_unfinished
from countermeasure.options import SPLITS
from countermeasure.speech import audio
from countermeasure.trials.protocol import Protocol, Trial, read_protocol

# Recordings go to a process in batches, so that sending them costs little beside the work.
_BATCH_RECORDINGS = 8
_BATCH_BYTES = 2_000_000
# So many times larger where they go to other machines.
_FURTHER = 4
# Starting a process takes about as long as computing so many features.
_FEATURES_PER_PROCESS = 500
_REASONS_AT_MOST = 20
_NAMED_AT_MOST = 5  # in a line; the record beside a list names all


class _Task(NamedTuple):
    """A recording, and the digest of its file when each type's feature of it was computed.

    `path` is None and `problem` says why when there is no such file.
    """

    utterance: str
    known: dict[str, bytes | None]
    path: Path | None = None
    problem: str | None = None


class _Result(NamedTuple):
    """What a process found out about a recording.

    `found` holds the features that were not known; `problem` says why there are none.
    """

    utterance: str
    digest: bytes | None
    rate: int = 0
    n_channels: int = 0
    n_samples: int = 0
    md5_matches: bool | None = None
    found: dict[str, NDArray[np.floating]] = {}  # noqa: RUF012  never changed
    problem: str | None = None


def extract(
    data_split: str,
    data_path: str | os.PathLike[str],
    label_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    ftype: Sequence[str],
    n_jobs: int | None = None,
    dask: str | None = None,
    dtype: str = "float32",
    skip_bad: bool = False,
    restart: bool = False,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
) -> list[Path]:
    """Write the feature list ``OUTPUT_PATH/SPLIT-TYPE.pkl`` of each type, and its record beside it.

    Each recording is decoded once for all types. A list that is there, made from the same audio,
    protocol and settings, is left as it is; a run that was interrupted is continued.

    Parameters
    ----------
    data_split : {'train', 'dev', 'eval'}
    data_path : path
        Folder with ``UTTERANCE.flac`` or ``.wav``, or the files that a CSV names.
    label_path : path
        CM protocol; in a blind one all labels are None.
    output_path : path
        Folder for the lists; made when missing.
    ftype : sequence of str
        Feature types, see `features.names`.
    n_jobs : int > 0 or None
        Number of processes; None: one a core. The lists do not depend on it.
    dask : str or None
        Where to compute instead, see `compute.workers`; the recordings are there under the same path.
    dtype : {'float32', 'float64'}
    skip_bad : bool
        Whether to leave recordings that cannot be used out of the lists, and to write their names to
        ``SPLIT-TYPE.skipped.txt``, instead of writing no list.
    restart : bool
        Whether to compute everything again, whatever is there.
    protocol_format, protocol_subset
        See `protocol.read_protocol`.

    Returns
    -------
    list of Path
        The lists, one a type.

    Raises
    ------
    InputError
        When an argument is wrong, when recordings cannot be used (unless `skip_bad`), and when they
        differ in sampling rate.
    """
    _check_arguments(data_split, data_path, ftype, dtype)
    lists = [_List(Path(output_path), data_split, name, dtype, skip_bad) for name in dict.fromkeys(ftype)]
    for path in (path for each in lists for path in (each.path, provenance.path_of(each.path), each.skipped_path)):
        refuse_overwriting(path, label_path)
    trials = read_protocol(label_path, protocol_format, protocol_subset)
    if trials.note:
        log(trials.note)
    if trials.form.label is None:
        log(f"{label_path}: no line has a label: a blind set, good for scoring and not for training")
    n_jobs = n_jobs or _worthwhile_jobs(len(trials) * len(lists))
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(compute.workers(n_jobs, dask, processes=True))
        # As it was typed, for messages, unless other machines are to find it.
        folder = Path(data_path).absolute() if workers.are_elsewhere else Path(data_path)
        source = _Source(folder, trials, workers)
        unfinished = lists if restart else _without_finished(lists, source)
        if unfinished:
            for each in unfinished:
                stack.enter_context(each.opened(trials, restart))
            _fill(unfinished, source, skip_bad)
    return [each.path for each in lists]


def _worthwhile_jobs(n_features: int) -> int:
    return max(1, min(compute.n_cores(), n_features // _FEATURES_PER_PROCESS))


def _check_arguments(data_split: str, data_path: str | os.PathLike[str], ftype: Sequence[str], dtype: str) -> None:
    if data_split not in SPLITS:
        raise InputError(f"no split {data_split!r}; give one of {' '.join(SPLITS)}")
    if dtype not in features.DTYPES:
        raise InputError(f"no dtype {dtype!r}; give one of {' '.join(features.DTYPES)}")
    if not ftype:
        raise InputError(f"no feature type; give some of {' '.join(features.names())}")
    for name in ftype:
        features.window(name)  # raises for a type that is not there
    if not Path(data_path).is_dir():
        raise InputError(f"{data_path}: no such folder; give the one with the recordings (.flac or .wav)")


# -- recordings, and what processes do with them -----------------------------------------------------


class _Source:
    """The recordings of a protocol."""

    def __init__(self, data_path: Path, trials: Protocol, workers: compute.Workers):
        self.data_path, self.trials, self.workers = data_path, trials, workers

    @cached_property
    def protocol_sha256(self) -> str:
        """See `provenance.protocol_sha256`."""
        return provenance.protocol_sha256(self.trials)

    def digests(self) -> Iterator[str]:
        """Yield the SHA-256 of every trial's file, empty for one that is not there."""
        tasks = (self.task(trial, {}) for trial in self.trials)
        return (_hex(result.digest) for result in self._results(tasks, "checking", "float32"))

    def features(self, known: Iterable[dict[str, bytes | None]], dtype: str) -> Iterator[_Result]:
        """Yield what is not yet known of every trial, in order.

        `known` gives the digests of each trial's file when its features were computed, by type.
        """
        tasks = (self.task(trial, digests) for trial, digests in zip(self.trials, known, strict=True))
        return self._results(tasks, "extracting", dtype)

    def task(self, trial: Trial, known: dict[str, bytes | None]) -> _Task:
        """Return what a process needs to know about a trial."""
        try:
            return _Task(trial.utterance, known, audio.find(self.data_path, trial.file or trial.utterance))
        except InputError as error:
            return _Task(trial.utterance, known, problem=str(error))

    def _results(self, tasks: Iterable[_Task], what: str, dtype: str) -> Iterator[_Result]:
        progress = Progress(len(self.trials), what, "files")
        most = _BATCH_RECORDINGS * (_FURTHER if self.workers.are_elsewhere else 1)
        done = self.workers.map(partial(_process_batch, dtype), _batches(tasks, most))
        with contextlib.closing(progress), contextlib.closing(done):
            for results in done:
                yield from results
                progress.update(len(results))


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


def _process_batch(dtype: str, tasks: list[_Task]) -> list[_Result]:
    # Decoder and mathematics each find their code and tables in the cache when they work in turns of a batch.
    return [_compute(loaded, dtype) for loaded in [_load(task) for task in tasks]]


class _Loaded(NamedTuple):
    """A task, its file's digest, and the recording where features of it are to be computed."""

    task: _Task
    digest: bytes | None = None
    recording: audio.Recording | None = None
    problem: str | None = None


def _load(task: _Task) -> _Loaded:
    if task.path is None:
        return _Loaded(task, problem=task.problem)
    digest = None
    try:
        with open(task.path, "rb", buffering=0) as file:
            content = file.readall()
        digest = hashlib.sha256(content).digest()
        is_known = all(known == digest for known in task.known.values())
        return _Loaded(task, digest, None if is_known else audio.read(task.path, content))
    except InputError as error:
        return _Loaded(task, digest, problem=str(error))
    except OSError as error:
        return _Loaded(task, digest, problem=f"{task.path}: {error.strerror or error}")


def _compute(loaded: _Loaded, dtype: str) -> _Result:
    task, digest, recording, problem = loaded
    if recording is None:
        return _Result(task.utterance, digest, problem=problem)
    missing = [name for name, known in task.known.items() if known != digest]
    try:
        found = features.extract(recording.signal, recording.rate, missing, dtype)
    except InputError as error:
        return _Result(task.utterance, digest, problem=f"{task.utterance}: {error}")
    about = recording.rate, recording.n_channels, len(recording.signal), recording.md5_matches
    return _Result(task.utterance, digest, *about, found)


def _hex(digest: bytes | None) -> str:
    return digest.hex() if digest else ""


# -- lists -------------------------------------------------------------------------------------------


class _List:
    """One feature list, and what stands beside it."""

    def __init__(self, folder: Path, split: str, name: str, dtype: str, skip_bad: bool):
        self.split, self.name, self.dtype, self.skip_bad = split, name, dtype, skip_bad
        self.path = folder / names.feature_list(split, name)
        self.skipped_path = folder / f"{split}-{name}.skipped.txt"

    @contextlib.contextmanager
    def opened(self, trials: Protocol, restart: bool) -> Iterator[None]:
        """Hold the list's name against other runs, and see what an interrupted run has left."""
        with UnfinishedList(self.path, self._identity(), self.dtype, trials, restart) as self.unfinished:
            yield

    def _identity(self) -> list[object]:
        """Return what an earlier list, whole or not, must have in common with this one, but for its inputs."""
        return [self.name, self.dtype, versions.COMPARED]

    def is_current(self, record: provenance.Record, source: _Source) -> bool:
        """Tell whether a finished list is the one to be made, as far as that is seen without its inputs."""
        return (
            [record.feature.get("type"), record.dtype] == [self.name, self.dtype]
            and not versions.differences(record.versions, versions.COMPARED)
            and record.split == self.split
            and record.feature == features.settings(self.name, record.sampling_rate)
            and record.protocol_sha256 == source.protocol_sha256
            and (self.skip_bad or not record.skipped)
            and self.path.is_file()
            and provenance.matches(self.path, record)
        )

    def finish(self, source: _Source, audio_sha256: str, problems: _Problems) -> None:
        """Write the list and what stands beside it."""
        trials = source.trials

        def kept() -> Iterator[int]:  # never gathered: a million places take memory
            return (place for place in range(len(trials)) if place not in problems)

        def entries() -> Iterator[Entry]:
            return self.unfinished.entries(kept())

        rate = next(entries()).rate
        padded, mixed_down, wrong_md5, n_frames = array("I"), array("I"), array("I"), []
        for entry in entries():
            n_frames.append(entry.shape[0])
            if features.is_padded(self.name, entry.n_samples, rate):
                padded.append(entry.place)
            if entry.n_channels > 1:
                mixed_down.append(entry.place)
            if entry.md5_matches is False:
                wrong_md5.append(entry.place)
        list_sha256, index = self.unfinished.finish(kept)
        record = provenance.Record(
            kind="features",
            split=self.split,
            feature=features.settings(self.name, rate),
            sampling_rate=rate,
            dtype=self.dtype,
            protocol_sha256=source.protocol_sha256,
            audio_sha256=audio_sha256,
            list_sha256=list_sha256,
            versions=versions.current(),
            skipped=list(_utterances(trials, problems)),
            padded=list(_utterances(trials, padded)),
            mixed_down=list(_utterances(trials, mixed_down)),
            wrong_md5=list(_utterances(trials, wrong_md5)),
            utterances=list(_utterances(trials, kept())),
            speakers=[trials[place].speaker for place in kept()],
            n_frames=n_frames,
            index=index,
        )
        provenance.write(self.path, record)
        self._write_skipped(trials, problems)
        self.unfinished.remove()
        if padded:
            log(f"{self.path}: shorter than one window, filled up with zeros: {_named(trials, padded)}")
        held = "a row each" if features.window(self.name) is None else f"{sum(n_frames):,} frames"
        log(f"{self.path}: {len(trials) - len(problems):,} recordings, {held}")

    def _write_skipped(self, trials: Protocol, problems: _Problems) -> None:
        if not problems:
            self.skipped_path.unlink(missing_ok=True)
            return
        with replace_when_whole(self.skipped_path, text=True) as f:
            told = zip(_utterances(trials, problems), problems.texts(), strict=True)
            f.writelines(f"{utterance} {problem}\n" for utterance, problem in told)


class _Problems(Collection[int]):
    """The places in the protocol of recordings that cannot be used, in order; why not is on disk if it is much."""

    def __init__(self) -> None:
        self._places = array("Q")
        self._texts = scratch_file(self)

    def add(self, place: int, problem: str) -> None:
        """Add the next one."""
        self._places.append(place)
        self._texts.write(problem.replace("\n", " ").encode(errors="backslashreplace") + b"\n")

    def texts(self) -> Iterator[str]:
        """Yield what is wrong with each."""
        self._texts.seek(0)
        return (line[:-1].decode() for line in self._texts)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __contains__(self, place: object) -> bool:
        if not isinstance(place, int):
            return False
        i = bisect_left(self._places, place)
        return i < len(self._places) and self._places[i] == place


def _without_finished(lists: list[_List], source: _Source) -> list[_List]:
    """Return the lists that are not there yet, or were made from something else."""
    records = {}
    for each in lists:
        with contextlib.suppress(InputError):  # a damaged record says nothing
            record = provenance.read(each.path)
            if record and each.is_current(record, source):
                records[each.path] = record
    if not records:
        return lists
    audio_sha256 = provenance.combined_sha256(source.digests())
    unfinished = []
    for each in lists:
        if each.path in records and records[each.path].audio_sha256 == audio_sha256:
            log(f"{each.path}: is there, made from the same recordings with the same settings")
            remove_unfinished(each.path)  # of a run that was killed between its last steps
        else:
            unfinished.append(each)
    return unfinished


def _fill(lists: list[_List], source: _Source, skip_bad: bool) -> None:
    """Compute what the lists lack, then finish them."""
    problems = _Problems()
    mixed_down, refused, wrong_md5 = array("I"), array("I"), array("I")
    under_way: deque[Entry | None] = deque()  # what was known of each recording before, from the first list

    def known() -> Iterator[dict[str, bytes | None]]:
        for entries in zip(*(each.unfinished.known() for each in lists), strict=True):
            under_way.append(entries[0])
            yield {each.name: entry and entry.digest for each, entry in zip(lists, entries, strict=True)}

    def kept() -> Iterator[str]:
        """Keep what is found out about each recording; yield its file's digest."""
        first: tuple[str, int] | None = None
        for place, result in enumerate(source.features(known(), lists[0].dtype)):
            before = under_way.popleft()
            if result.problem:
                problems.add(place, result.problem)
            else:
                about = result if result.found or before is None else before
                first = first or (result.utterance, about.rate)
                if about.rate != first[1]:
                    raise InputError(
                        f"{result.utterance} is sampled at {about.rate} Hz, but {first[0]} at {first[1]} Hz; "
                        "a list has one sampling rate: resample the recordings or split the protocol; "
                        "what was computed is kept for the next run"
                    )
                _keep(lists, place, result)
                if about.n_channels > 1:
                    mixed_down.append(place)
                if about.md5_matches is not None:
                    refused.append(place)
                if about.md5_matches is False:
                    wrong_md5.append(place)
            yield _hex(result.digest)

    audio_sha256 = provenance.combined_sha256(kept())
    if mixed_down:
        log(f"several channels, of which the mean is taken: {_named(source.trials, mixed_down)}")
    if refused:
        other = f"; {len(wrong_md5):,} have not the MD5 that they state, see the record" if wrong_md5 else ""
        log(f"FLAC files that libsndfile refuses, decoded by miniaudio: {_named(source.trials, refused)}{other}")
    if problems:
        _report(problems, source, skip_bad)
    for each in lists:
        each.finish(source, audio_sha256, problems)


def _keep(lists: list[_List], place: int, result: _Result) -> None:
    """Add what was found out about a recording to the lists."""
    for each in lists:
        if each.name in result.found:
            about = result.digest or b"", result.rate, result.n_channels, result.n_samples
            each.unfinished.add(place, *about, result.found[each.name], result.md5_matches)


def _report(problems: _Problems, source: _Source, skip_bad: bool) -> None:
    share = f"{len(problems):,} of {len(source.trials):,} recordings cannot be used"
    if len(problems) == len(source.trials):
        raise InputError(f"{share}; is {source.data_path} their folder? first: {next(problems.texts())}")
    for number, problem in enumerate(problems.texts()):
        if number == _REASONS_AT_MOST:
            log(f"… and {len(problems) - number:,} more")
            break
        log(problem)
    if not skip_bad:
        raise InputError(
            f"{share}: {_named(source.trials, problems)}; mend them, or leave them out with --skip_bad; "
            "what was computed is kept for the next run"
        )
    log(f"{share} and are left out")


def _utterances(trials: Protocol, places: Iterable[int]) -> Iterator[str]:
    return (trials[place].utterance for place in places)


def _named(trials: Protocol, places: Collection[int]) -> str:
    """Return how many trials these are, and the first ones' files or utterances, as the caller wrote them."""
    shown = ", ".join(trials[place].file or trials[place].utterance for place in islice(places, _NAMED_AT_MOST))
    more = len(places) - _NAMED_AT_MOST
    return f"{len(places):,} ({shown}{f' and {more:,} more' if more > 0 else ''})"
