"""From recordings to feature lists."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from countermeasure import compute, versions
from countermeasure.cli import log
from countermeasure.errors import InputError
from countermeasure.features import types
from countermeasure.files import refuse_overwriting, replace_when_whole
from countermeasure.lists import names, provenance
from countermeasure.lists.unfinished import RecordingInfo, UnfinishedList
from countermeasure.stages.recordings import Source
from countermeasure.trials.lines import Trial
from countermeasure.trials.protocol import read_protocol

# Starting a process takes about as long as computing this many features.
_FEATURES_PER_PROCESS = 500
_REASONS_AT_MOST = 20
_NAMED_AT_MOST = 5  # in a message; the record beside the list names all


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

    Each recording is decoded once for all types. A list that was already made from the same audio, protocol and
    settings is kept. A run that was interrupted is continued.

    Parameters
    ----------
    data_split : {'train', 'dev', 'eval'}
    data_path : path
        Folder with ``UTTERANCE.flac`` or ``.wav``, or the files that a CSV names.
    label_path : path
        CM protocol; all labels of a blind protocol are None.
    output_path : path
        Folder for the lists.
    ftype : sequence of str
        Feature types, see `types.METHODS`.
    n_jobs : int > 0 or None
        Number of processes; None: one per core. The lists do not depend on it.
    dask : str or None
        Compute with Dask instead, see `compute.workers`; its workers need the recordings under the same path.
    dtype : {'float32', 'float64'}
    skip_bad : bool
        Leave out recordings that cannot be used and write their names to ``SPLIT-TYPE.skipped.txt``, instead of
        writing no list.
    restart : bool
        Compute everything again.
    protocol_format, protocol_subset
        See `protocol.read_protocol`.

    Returns
    -------
    list of Path
        The lists, one per type.

    Raises
    ------
    InputError
        If an argument is wrong, if recordings cannot be used (without `skip_bad`), or if their sampling rates differ.
    """
    for name in ftype:
        types.get(name)  # raises for an unknown type
    if not Path(data_path).is_dir():
        raise InputError(f"{data_path}: no such folder; give the one with the recordings (.flac or .wav)")
    lists = [_List(Path(output_path), data_split, name, dtype) for name in dict.fromkeys(ftype)]
    for each in lists:
        for path in (each.path, provenance.path_of(each.path), each.skipped_path):
            refuse_overwriting(path, label_path)
    trials = read_protocol(label_path, protocol_format, protocol_subset)
    if trials.note:
        log(trials.note)
    if trials.is_blind:
        log(f"{label_path}: no line has a label: a blind set, good for scoring and not for training")
    n_jobs = n_jobs or min(compute.n_cores(), len(trials) * len(lists) // _FEATURES_PER_PROCESS) or 1
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(compute.workers(n_jobs, dask, processes=True))
        # Messages name the folder as it was typed, but other machines need its absolute path.
        folder = Path(data_path).absolute() if workers.are_elsewhere else Path(data_path)
        source = Source(folder, trials, workers)
        wanted = lists if restart else [each for each in lists if not each.is_finished(source, skip_bad)]
        unfinished = {
            each: stack.enter_context(UnfinishedList(each.path, each.identity(source), restart)) for each in wanted
        }
        if unfinished:
            digests = source.digests(max(one.n_earlier for one in unfinished.values()))
            for one in unfinished.values():
                one.resume(digests, with_problems=skip_bad)
                if one.recordings:
                    log(f"{one.path}: going on after {len(one.recordings):,} recordings of an earlier run")
            _fill(unfinished, source)
            _report(source, next(iter(unfinished.values())).recordings, skip_bad)
            for each, one in unfinished.items():
                each.finish(source, one)
    return [each.path for each in lists]


class _List:
    """The files of one feature list."""

    def __init__(self, folder: Path, split: str, name: str, dtype: str):
        self.split, self.name, self.dtype = split, name, dtype
        self.path = folder / names.feature_list(split, name)
        self.skipped_path = folder / f"{split}-{name}.skipped.txt"

    def identity(self, source: Source) -> list[object]:
        """Return the settings under which an unfinished list can be continued."""
        return [self.name, self.dtype, versions.COMPARED, source.protocol_sha256]

    def is_finished(self, source: Source, skip_bad: bool) -> bool:
        """Return whether the list was already made from the same recordings with the same settings; log if so."""
        try:
            record = provenance.read(self.path)
        except InputError:  # a damaged record
            return False
        if (
            record is None
            or (record.split, record.dtype) != (self.split, self.dtype)
            or versions.differences(record.versions, versions.COMPARED)
            or record.feature != types.settings(self.name, record.sampling_rate)
            or record.protocol_sha256 != source.protocol_sha256
            or (record.skipped and not skip_bad)
            or not self.path.is_file()
            or not provenance.matches(self.path, record)
            or record.audio_sha256 != provenance.combined_sha256(source.digests(len(source.trials)))
        ):
            return False
        log(f"{self.path}: is there, made from the same recordings with the same settings")
        return True

    def finish(self, source: Source, unfinished: UnfinishedList) -> None:
        """Write the list, its record, and the names of the recordings that were left out."""
        recordings = list(zip(source.trials, unfinished.recordings, strict=True))
        skipped = [(trial, one) for trial, one in recordings if one.problem]
        kept = [(trial, one) for trial, one in recordings if not one.problem]
        rate = kept[0][1].rate
        padded = [trial for trial, one in kept if types.is_padded(self.name, one.n_samples, rate)]
        list_sha256, index = unfinished.finish()
        record = provenance.Record(
            kind="features",
            split=self.split,
            feature=types.settings(self.name, rate),
            sampling_rate=rate,
            dtype=self.dtype,
            protocol_sha256=source.protocol_sha256,
            audio_sha256=provenance.combined_sha256(one.sha256 for _, one in recordings),
            list_sha256=list_sha256,
            versions=versions.current(),
            skipped=[trial.utterance for trial, _ in skipped],
            padded=[trial.utterance for trial in padded],
            mixed_down=[trial.utterance for trial, one in kept if one.n_channels > 1],
            utterances=[trial.utterance for trial, _ in kept],
            speakers=[trial.speaker for trial, _ in kept],
            n_frames=unfinished.n_frames,
            index=index,
        )
        self.skipped_path.unlink(missing_ok=True)
        if skipped:
            with replace_when_whole(self.skipped_path, text=True) as f:
                f.writelines(f"{trial.utterance} {one.problem}\n" for trial, one in skipped)
        provenance.write(self.path, record)  # the last step that can fail before the list takes its name
        unfinished.publish()
        if padded:
            log(f"{self.path}: shorter than one window, filled up with zeros: {_named(padded)}")
        held = "one row per file" if types.window(self.name) is None else f"{sum(record.n_frames):,} frames"
        log(f"{self.path}: {len(kept):,} recordings, {held}")


def _fill(lists: dict[_List, UnfinishedList], source: Source) -> None:
    """Compute all types from the first recording that a list lacks, and give each list what it lacks."""
    known = max((one.recordings for one in lists.values()), key=len)
    usable = ((trial, one.rate) for trial, one in zip(source.trials, known, strict=False) if not one.problem)
    before = next(usable, None)
    first = min(len(one.recordings) for one in lists.values())
    ftypes, dtype = [each.name for each in lists], next(iter(lists)).dtype
    results = source.results(source.trials[first:], ftypes, "extracting", dtype)
    for place, (trial, (recording, found)) in enumerate(zip(source.trials[first:], results, strict=True), first):
        if not recording.problem:
            before = before or (trial, recording.rate)
            if recording.rate != before[1]:
                raise InputError(
                    f"{trial.utterance} is sampled at {recording.rate} Hz, but {before[0].utterance} at {before[1]} "
                    "Hz; a list has one sampling rate: resample the recordings or split the protocol; what was "
                    "computed is kept for the next run"
                )
        for each, one in lists.items():
            if place >= len(one.recordings):
                one.add(recording, found.get(each.name), trial.label)
    for one in lists.values():
        one.end_section()


def _report(source: Source, recordings: Sequence[RecordingInfo], skip_bad: bool) -> None:
    """Log what is unusual about the recordings.

    Raises
    ------
    InputError
        If some cannot be used without `skip_bad`, or if none can be used.
    """
    pairs = list(zip(source.trials, recordings, strict=True))
    if mixed_down := [trial for trial, one in pairs if one.n_channels > 1]:
        log(f"several channels, of which the mean is taken: {_named(mixed_down)}")
    problems = [one.problem for one in recordings if one.problem]
    if not problems:
        return
    share = f"{len(problems):,} of {len(recordings):,} recordings cannot be used"
    if len(problems) == len(recordings):
        is_elsewhere = not any(one.sha256 for one in recordings)
        question = f" is {source.data_path} their folder?" if is_elsewhere else ""
        raise InputError(f"{share};{question} first: {problems[0]}")
    for problem in problems[:_REASONS_AT_MOST]:
        log(problem)
    if len(problems) > _REASONS_AT_MOST:
        log(f"… and {len(problems) - _REASONS_AT_MOST:,} more")
    if not skip_bad:
        raise InputError(
            f"{share}: {_named([trial for trial, one in pairs if one.problem])}; fix them, or leave them out with "
            "--skip_bad; what was computed is kept for the next run"
        )
    log(f"{share} and are left out")


def _named(trials: Sequence[Trial]) -> str:
    """Return the number of trials, and the files or utterances of the first ones as the protocol names them."""
    shown = ", ".join(trial.file or trial.utterance for trial in trials[:_NAMED_AT_MOST])
    more = len(trials) - _NAMED_AT_MOST
    return f"{len(trials):,} ({shown}{f' and {more:,} more' if more > 0 else ''})"
