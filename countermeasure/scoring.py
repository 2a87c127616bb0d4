"""Score recordings with trained mixtures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from countermeasure import __version__, compute, files, fusion, provenance
from countermeasure.cli import log, progress
from countermeasure.errors import InputError
from countermeasure.frames import Located, Table
from countermeasure.mixture import Kernel, Parameters
from countermeasure.models import Model, model_files, read_pair
from countermeasure.pickles import ListWriter
from countermeasure.protocol import BONAFIDE, LABELS, Trial, read_protocol
from countermeasure.score_files import write_scores
from countermeasure.suitability import check_columns, check_suits

# Frames of which one worker gives the log-likelihoods back at a time.
_ROWS_PER_TASK = 16384


class Scores(NamedTuple):
    """Log-likelihoods of one item's frames, arrays [n_frames], in nats."""

    item: int
    bonafide: np.ndarray
    spoof: np.ndarray


def score_items(table: Table, pair: tuple[Model, Model], workers: compute.Workers) -> Iterator[Scores]:
    """Yield the frame log-likelihoods of every item that has frames, in order."""
    scoring = _Scoring(*(model.parameters for model in pair))
    parts = table.parts(np.arange(len(table)), _ROWS_PER_TASK)
    waiting: list[Scores] = []  # of one item, which may be torn over several parts
    for part, scored in zip(parts, workers.map(scoring, map(table.located, parts)), strict=True):
        ends = np.cumsum([segment.stop - segment.start for segment in part])[:-1]
        for segment, *both in zip(part, *(np.split(scores, ends) for scores in scored), strict=True):
            one = Scores(segment.item, *both)
            if not (np.isfinite(one.bonafide).all() and np.isfinite(one.spoof).all()):
                raise InputError(
                    f"{', '.join(map(str, table.paths))}: {table.name(one.item)} has no finite score: "
                    "it holds values that are NaN, infinite or far too large; make the list again"
                )
            if waiting and waiting[0].item != one.item:
                yield _joined(waiting)
                waiting.clear()
            waiting.append(one)
    if waiting:
        yield _joined(waiting)


class _Scoring:
    """The scoring of a task's frames; pickled, it is the two mixtures' parameters."""

    def __init__(self, *mixtures: Parameters):
        self._mixtures = mixtures

    def __reduce__(self) -> tuple:
        return _Scoring, self._mixtures

    @cached_property
    def _kernels(self) -> list[Kernel]:  # not made where a task only passes through
        return [Kernel.of_raw(mixture) for mixture in self._mixtures]

    def __call__(self, rows: Located) -> list[np.ndarray]:
        frames = rows.read()
        with np.errstate(over="ignore", invalid="ignore"):
            return [kernel.log_likelihoods(frames) for kernel in self._kernels]


def _joined(pieces: list[Scores]) -> Scores:
    if len(pieces) == 1:
        return pieces[0]
    return Scores(
        pieces[0].item, np.concatenate([p.bonafide for p in pieces]), np.concatenate([p.spoof for p in pieces])
    )


def score_list(
    data_path: str | os.PathLike[str],
    model_path_bon: str | os.PathLike[str],
    model_path_sp: str | os.PathLike[str],
    label_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    plot: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
) -> None:
    """Write the LLR of each trial of a feature list; print the EER.

    LLR = mean over frames of log p(frame | bona fide) minus the same for spoof; higher = more bona
    fide. With `plot`, the pictures of the evaluation go into that folder.
    """
    pair = read_pair(model_path_bon, model_path_sp)
    with compute.workers(n_jobs, dask) as workers, Table([data_path]) as table:
        check_suits(pair[0], table, model_path_bon)
        trials = read_protocol(label_path, protocol_format, protocol_subset)
        _score_trials(table, pair, trials, label_path, output_path, plot, workers)


def score_fusion(
    data_dir: str | os.PathLike[str],
    model_path_bon: str | os.PathLike[str],
    model_path_sp: str | os.PathLike[str],
    label_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    plot: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
) -> None:
    """Write the LLR of each trial from all score lists of a folder; else as `score_list`."""
    pair = read_pair(model_path_bon, model_path_sp)
    with compute.workers(n_jobs, dask) as workers, _fusion_table(data_dir, pair, model_path_bon) as table:
        trials = read_protocol(label_path, protocol_format, protocol_subset)
        _score_trials(table, pair, trials, label_path, output_path, plot, workers)


def write_frame_scores(
    data_split: str,
    data_path: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    model_name: str,
    output_path: str | os.PathLike[str],
    n_jobs: int | None = None,
    dask: str | None = None,
) -> None:
    """Write the log-likelihood of every frame of a feature list under both models of a folder."""
    pair = read_pair(*model_files(model_path))
    with compute.workers(n_jobs, dask) as workers, Table([data_path]) as table:
        check_suits(pair[0], table, model_path)
        name = f"{model_name}-{{}}-{data_split}.pkl"
        _write_scores(table, pair, Path(output_path) / data_split / name, model_name, data_split, False, workers)


def write_file_scores(
    data_split: str,
    data_dir: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    model_name: str,
    output_path: str | os.PathLike[str],
    n_jobs: int | None = None,
    dask: str | None = None,
) -> None:
    """Write the mean frame log-likelihood of every file of a folder's stacked score lists."""
    pair = read_pair(*model_files(model_path))
    with compute.workers(n_jobs, dask) as workers, _fusion_table(data_dir, pair, model_path) as table:
        name = f"{model_name}-{{}}-{data_split}-filelevel.pkl"
        _write_scores(table, pair, Path(output_path) / data_split / name, model_name, data_split, True, workers)


@contextlib.contextmanager
def _fusion_table(
    data_dir: str | os.PathLike[str], pair: tuple[Model, Model], model_path: str | os.PathLike[str]
) -> Iterator[Table]:
    found = fusion.columns(data_dir)
    check_columns(pair[0], [column.name for column in found], data_dir)
    with Table([column.path for column in found]) as table:
        check_suits(pair[0], table, model_path)
        yield table


def _write_scores(
    table: Table,
    pair: tuple[Model, Model],
    path: Path,
    model_name: str,
    split: str,
    whole_files: bool,
    workers: compute.Workers,
) -> None:
    """Write the two lists of scores, and their records where the table has one; `path` has a place for bon and sp."""
    record = _record(table)
    if record and record.split != split:
        raise InputError(
            f"{table.paths[0]}: a list of {record.split}, but --data_split says {split}; give the right one"
        )
    paths = [path.with_name(path.name.format(side)) for side in ("bon", "sp")]
    n_frames = [0] * len(table)
    with ListWriter(paths[0]) as bonafide, ListWriter(paths[1]) as spoof:

        def leave_out(items: range) -> None:
            for i in items:  # items without frames keep their places
                bonafide.append(None, table.labels[i])
                spoof.append(None, table.labels[i])

        scored = 0
        for one in progress(score_items(table, pair, workers), len(table), "scoring", "files"):
            leave_out(range(scored, one.item))
            for out, scores in ((bonafide, one.bonafide), (spoof, one.spoof)):
                value = scores.mean().reshape(1, 1) if whole_files else scores.astype(np.float32)
                out.append(value, table.labels[one.item])
            n_frames[one.item] = 1 if whole_files else len(one.bonafide)
            scored = one.item + 1
        leave_out(range(scored, len(table)))
    if record is None:
        for path in paths:
            provenance.path_of(path).unlink(missing_ok=True)  # of an older list of this name
        return
    for path, out, model in zip(paths, (bonafide, spoof), pair, strict=True):
        provenance.write(
            path,
            replace(
                record,
                kind="file scores" if whole_files else "frame scores",
                dtype="float64" if whole_files else "float32",
                list_sha256=files.sha256(path),
                n_frames=n_frames,
                index=out.index,
                model={"name": model_name, "training_id": model.record.get("training_id", "")},
                versions={**record.versions, "countermeasure": __version__, "numpy": np.__version__},
            ),
        )


def _record(table: Table) -> provenance.Record | None:
    """Return a table's record; that of several lists speaks of no single feature."""
    record = table.record
    if record is None or len(table.paths) == 1:
        return record
    return replace(
        record, feature={"type": "fusion", "columns": [fusion.column_name(path.name) for path in table.paths]}
    )


def _score_trials(
    table: Table,
    pair: tuple[Model, Model],
    trials: Sequence[Trial],
    label_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    plot: str | os.PathLike[str] | None,
    workers: compute.Workers,
) -> None:
    places = _places(table, trials, label_path)
    llr: dict[int, float] = {}
    for one in progress(score_items(table, pair, workers), len(table), "scoring", "files"):
        llr[places[one.item]] = float(one.bonafide.mean() - one.spoof.mean())
    scored = [trial for i, trial in enumerate(trials) if i in llr]
    llrs = [llr[i] for i in sorted(llr)]
    write_scores(output_path, [trial.line for trial in scored], llrs)
    log(f"{len(scored)} trials scored into {output_path}; higher = more bona fide")
    missing = len(trials) - len(scored)
    if missing:
        log(f"{missing} trial{'s' * (missing > 1)} of {label_path} not in the list, or without frames: no score")
    if all(trial.label is None for trial in scored):
        log(f"{label_path} is blind: without labels there is no EER")
        return
    _evaluate(scored, llrs, output_path, plot)


def _places(table: Table, trials: Sequence[Trial], label_path: str | os.PathLike[str]) -> Sequence[int]:
    """Return the place in the protocol of each item of the table: by utterance, by order where none is known."""
    what = table.paths[0]
    if table.utterances is None:
        if len(trials) != len(table):
            raise InputError(
                f"{what}: {len(table)} items, but {label_path} has {len(trials)} trials; "
                "give the protocol that the list was made from"
            )
        places: Sequence[int] = range(len(trials))
    else:
        by_utterance = {trial.utterance: i for i, trial in enumerate(trials)}
        known = {*table.utterances, *(table.record.skipped if table.record else ())}
        strangers = [utterance for utterance in table.utterances if utterance not in by_utterance]
        absent = [trial.utterance for trial in trials if trial.utterance not in known]
        for names, told in ((strangers, f"not in {label_path}"), (absent, f"in {label_path}, but not in the list")):
            if names:
                raise InputError(
                    f"{what}: {names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {told}; "
                    "give the protocol that the list was made from"
                )
        places = [by_utterance[utterance] for utterance in table.utterances]
    for i, place in enumerate(places):
        label, trial = table.labels[i], trials[place]
        if label is not None and trial.label is not None and label != trial.label:
            raise InputError(
                f"{what}: {table.name(i)} is {label}, but the trial of {label_path} is {trial.line!r}; "
                "give the protocol that the list was made from"
            )
    return places


def _evaluate(
    trials: Sequence[Trial],
    llrs: Sequence[float],
    output_path: str | os.PathLike[str],
    plot: str | os.PathLike[str] | None,
) -> None:
    from tDCF_python import metrics

    if {trial.label for trial in trials} != set(LABELS):
        log("no EER: it needs bona fide and spoof trials")
        return
    # As they stand in the file, for score_eval.py to come to the same figure.
    written = np.round(llrs, 6)
    is_bonafide = np.array([trial.label == BONAFIDE for trial in trials])
    rate, threshold = metrics.eer(written[is_bonafide], written[~is_bonafide])
    print(f"EER {100 * rate:.5f} % at threshold {threshold:.6f}")
    if plot is not None:
        from tDCF_python.outputs import plot_scores

        plot_scores(output_path, plot)
