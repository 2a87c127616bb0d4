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

from countermeasure import __version__, compute, files
from countermeasure.cli import log, progress
from countermeasure.errors import InputError
from countermeasure.evaluation import drawing
from countermeasure.evaluation.command import plot_scores
from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, model_files, read_pair
from countermeasure.lists import names, provenance
from countermeasure.lists.pickles import ListWriter
from countermeasure.lists.rows import Rows
from countermeasure.lists.table import Table
from countermeasure.stages import matching
from countermeasure.stages.compatibility import check_columns, check_likelihoods, check_suits, warn_of_doubts
from countermeasure.stages.inputs import given_columns, given_list
from countermeasure.trials.lines import BONAFIDE
from countermeasure.trials.protocol import Protocol, read_protocol
from countermeasure.trials.score_files import ScoreRecord, write_record, write_scores
from tDCF_python import metrics

# Frames of which one worker gives the log-likelihoods back at a time.
_ROWS_PER_TASK = 16384

_Path = str | os.PathLike[str]


class Scores(NamedTuple):
    """Log-likelihoods of one item's frames, arrays [n_frames], in nats."""

    item: int
    bonafide: np.ndarray
    spoof: np.ndarray


def score_items(table: Table, pair: tuple[Model, Model], workers: compute.Workers) -> Iterator[Scores]:
    """Yield the frame log-likelihoods of every item that has frames, in order."""
    scoring = _Scoring(*(model.parameters for model in pair))
    parts = table.parts(np.arange(len(table)), _ROWS_PER_TASK)
    pieces: list[Scores] = []  # of one item, which may be torn over several parts
    for part, scored in zip(parts, workers.map(scoring, map(table.located, parts)), strict=True):
        items, first, last = part.T
        ends = np.cumsum(last - first)[:-1]
        for piece in map(Scores, items.tolist(), *(np.split(scores, ends) for scores in scored)):
            if not (np.isfinite(piece.bonafide).all() and np.isfinite(piece.spoof).all()):
                raise InputError(
                    f"{', '.join(map(str, table.paths))}: {table.name(piece.item)} has no finite score: "
                    "it holds values that are NaN, infinite or far too large; make the list again"
                )
            if pieces and pieces[0].item != piece.item:
                yield _joined(pieces)
                pieces = []
            pieces.append(piece)
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[Scores]) -> Scores:
    items, bonafide, spoof = zip(*pieces, strict=True)
    return pieces[0] if len(pieces) == 1 else Scores(items[0], np.concatenate(bonafide), np.concatenate(spoof))


class _Scoring:
    """The scoring of a task's frames; pickled, it is the two mixtures' parameters."""

    def __init__(self, *mixtures: Parameters):
        self._mixtures = mixtures

    def __reduce__(self) -> tuple:
        return _Scoring, self._mixtures

    @cached_property
    def _kernels(self) -> list[Kernel]:  # not made where a task only passes through
        return [Kernel.of_raw(mixture) for mixture in self._mixtures]

    def __call__(self, rows: Rows) -> list[np.ndarray]:
        frames = rows.read()
        with np.errstate(over="ignore", invalid="ignore"):
            return [kernel.log_likelihoods(frames) for kernel in self._kernels]


def score_list(
    data_path: _Path,
    model_path_bon: _Path,
    model_path_sp: _Path,
    label_path: _Path,
    output_path: _Path,
    plot: _Path | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
) -> None:
    """Write the LLR of each trial of a feature list; print the EER.

    LLR = mean over frames of log p(frame | bona fide) minus the same for spoof; higher = more bona
    fide. With `plot`, the pictures of the evaluation go into that folder. The record beside the score
    file says which models gave it.
    """
    inputs = _Inputs.of_list(data_path, (model_path_bon, model_path_sp))
    _score_protocol(inputs, label_path, output_path, plot, n_jobs, dask, protocol_format, protocol_subset)


def score_fusion(
    data_dir: _Path,
    model_path_bon: _Path,
    model_path_sp: _Path,
    label_path: _Path,
    output_path: _Path,
    whole_files: bool = False,
    plot: _Path | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
) -> None:
    """Write the LLR of each trial from all score lists of a folder; else as `score_list`.

    `whole_files` says whether they are to be lists of file scores, where there are none.
    """
    inputs = _Inputs.of_fusion(data_dir, (model_path_bon, model_path_sp), whole_files)
    _score_protocol(inputs, label_path, output_path, plot, n_jobs, dask, protocol_format, protocol_subset)


def write_frame_scores(
    data_split: str,
    data_path: _Path,
    model_path: _Path,
    model_name: str,
    output_path: _Path,
    n_jobs: int | None = None,
    dask: str | None = None,
) -> None:
    """Write the log-likelihood of every frame of a feature list under both models of a folder."""
    outputs = _score_lists(output_path, data_split, model_name, whole_files=False)
    inputs = _Inputs.of_list(data_path, model_files(model_path))
    inputs.refuse_as(outputs)
    with _opened(inputs, n_jobs, dask) as scorer:
        _write_scores(scorer, outputs, model_name, data_split, whole_files=False)


def write_file_scores(
    data_split: str,
    data_dir: _Path,
    model_path: _Path,
    model_name: str,
    output_path: _Path,
    n_jobs: int | None = None,
    dask: str | None = None,
) -> None:
    """Write the mean frame log-likelihood of every file of a folder's stacked score lists."""
    outputs = _score_lists(output_path, data_split, model_name, whole_files=True)
    inputs = _Inputs.of_fusion(data_dir, model_files(model_path), whole_files=False)
    inputs.refuse_as(outputs)
    with _opened(inputs, n_jobs, dask) as scorer:
        _write_scores(scorer, outputs, model_name, data_split, whole_files=True)


# -- what is read, and what may be written -----------------------------------------------------------


class _Inputs(NamedTuple):
    """The lists that are scored, and the files of the models, bona fide first.

    `columns` are the lists' names in a fusion, `data` its folder.
    """

    lists: list[Path]
    columns: list[str] | None
    data: _Path
    models: tuple[_Path, _Path]

    @classmethod
    def of_list(cls, path: _Path, models: tuple[_Path, _Path]) -> _Inputs:
        path = given_list(path)
        return cls([path], None, path, models)

    @classmethod
    def of_fusion(cls, folder: _Path, models: tuple[_Path, _Path], whole_files: bool) -> _Inputs:
        found = given_columns(folder, whole_files)
        return cls([column.path for column in found], [column.name for column in found], folder, models)

    def refuse_as(self, outputs: Sequence[Path], *more: _Path) -> None:
        """Refuse outputs, or records of theirs, that are read in this run; `more` is read, too."""
        read = *self.lists, *map(provenance.path_of, self.lists), *self.models, *more
        for path in outputs:
            files.refuse_overwriting(path, *read)
            files.refuse_overwriting(provenance.path_of(path), *read)


def _check_outputs(inputs: _Inputs, label_path: _Path, output_path: _Path, plot: _Path | None) -> None:
    """Refuse, before any work, what could not be written after it."""
    inputs.refuse_as([Path(output_path)], label_path)
    if plot is not None:
        drawing.check_folder(plot)


def _score_lists(output_path: _Path, split: str, model_name: str, whole_files: bool) -> list[Path]:
    """Return the paths of the lists of scores under the two models."""
    names.check_model_name(model_name)
    return [Path(output_path) / split / names.score_list(model_name, side, split, whole_files) for side in names.SIDES]


class _Scorer(NamedTuple):
    """Lists that are open, and models that suit them."""

    table: Table
    pair: tuple[Model, Model]
    models_sha256: str
    workers: compute.Workers

    def scores(self) -> Iterator[Scores]:
        """Yield the scores of all items that have frames, and show how many are done.

        Raises
        ------
        InputError
            In the end, when the data are nothing that the models could have been trained on.
        """
        offsets = []
        for one in progress(score_items(self.table, self.pair, self.workers), len(self.table), "scoring", "files"):
            means = (one.bonafide.mean(), one.spoof.mean())
            offsets.append(max(mean - model.lower_bound for mean, model in zip(means, self.pair, strict=True)))
            yield one
        check_likelihoods(self.pair, np.array(offsets), self.table)

    def record(self) -> provenance.Record | None:
        """Return the table's record; that of several lists speaks of no single feature."""
        record = self.table.record
        if record is None or len(self.table.paths) == 1:
            return record
        columns = [names.column(path.name) for path in self.table.paths]
        return replace(record, feature={"type": "fusion", "columns": columns})


@contextlib.contextmanager
def _opened(inputs: _Inputs, n_jobs: int | None, dask: str | None) -> Iterator[_Scorer]:
    bonafide, spoof = inputs.models
    if os.path.exists(bonafide) and os.path.exists(spoof) and os.path.samefile(bonafide, spoof):
        raise InputError(f"{bonafide} and {spoof} are the same file; give the bona fide model and the spoof model")
    pair = read_pair(bonafide, spoof)
    models_sha256 = provenance.combined_sha256(model.sha256 for model in pair)
    if inputs.columns is not None:
        check_columns(pair[0], inputs.columns, inputs.data)
    with compute.workers(n_jobs, dask) as workers, Table(inputs.lists) as table:
        warn_of_doubts(table)
        check_suits(pair[0], table, bonafide)
        yield _Scorer(table, pair, models_sha256, workers)


# -- lists of scores ---------------------------------------------------------------------------------


def _write_scores(scorer: _Scorer, paths: Sequence[Path], model_name: str, split: str, whole_files: bool) -> None:
    """Write the two lists of scores, and their records where the table has one."""
    table, record = scorer.table, scorer.record()
    if record and record.split != split:
        raise InputError(
            f"{table.paths[0]}: a list of {record.split}, but --data_split says {split}; give the right one"
        )
    dtype = "float64" if whole_files else "float32"
    n_frames = [0] * len(table)
    with ListWriter(paths[0]) as bonafide, ListWriter(paths[1]) as spoof:
        scored = scorer.scores()
        one = next(scored, None)
        for item, label in enumerate(table.labels):
            if one is None or one.item != item:  # items without frames keep their places
                bonafide.append(None, label)
                spoof.append(None, label)
                continue
            for out, scores in ((bonafide, one.bonafide), (spoof, one.spoof)):
                out.append(scores.mean().reshape(1, 1) if whole_files else scores.astype(dtype), label)
            n_frames[item] = 1 if whole_files else len(one.bonafide)
            one = next(scored, None)
    for path, out, model in zip(paths, (bonafide, spoof), scorer.pair, strict=True):
        if record is None:
            provenance.path_of(path).unlink(missing_ok=True)  # of an older list of this name
            continue
        of_scores = replace(
            record,
            kind="file scores" if whole_files else "frame scores",
            dtype=dtype,
            list_sha256=files.sha256(path),
            n_frames=n_frames,
            index=out.index,
            model={"name": model_name, "training_id": model.record.get("training_id", "")},
            versions={**record.versions, "countermeasure": __version__, "numpy": np.__version__},
        )
        provenance.write(path, of_scores)
    n_left_out = int(np.count_nonzero(table.n_rows == 0))
    left_out = f", {n_left_out:,} without frames and without scores" if n_left_out else ""
    what = f"{len(table) - n_left_out:,} recordings" + f", {table.n_rows.sum():,} frames" * (not whole_files)
    for path in paths:
        log(f"{path}: {what}{left_out}")


# -- score files -------------------------------------------------------------------------------------


def _score_protocol(
    inputs: _Inputs,
    label_path: _Path,
    output_path: _Path,
    plot: _Path | None,
    n_jobs: int | None,
    dask: str | None,
    protocol_format: str | None,
    protocol_subset: Sequence[str] | None,
) -> None:
    _check_outputs(inputs, label_path, output_path, plot)
    with _opened(inputs, n_jobs, dask) as scorer:
        trials = read_protocol(label_path, protocol_format, protocol_subset)
        _score_trials(scorer, trials, label_path, output_path, plot)


def _score_trials(scorer: _Scorer, trials: Protocol, label_path: _Path, output_path: _Path, plot: _Path | None) -> None:
    items = matching.items_of_trials(scorer.table, trials, label_path)
    files.check_place(Path(output_path))
    if trials.note:
        log(trials.note)
    means = np.full((len(scorer.table) + 1, 2), np.nan)  # the last row for trials that are in no list
    for one in scorer.scores():
        means[one.item] = one.bonafide.mean(), one.spoof.mean()
    means = means[items]
    is_scored = ~np.isnan(means[:, 0])
    scored = [trial for trial, has_score in zip(trials, is_scored, strict=True) if has_score]
    llrs = means[is_scored, 0] - means[is_scored, 1]
    digest = write_scores(output_path, (trial.line for trial in scored), llrs)
    _write_score_record(scorer, Path(output_path), digest, means[is_scored].max(axis=1))
    log(f"{len(llrs)} trials scored into {output_path}; higher = more bona fide")
    missing = len(trials) - len(llrs)
    if missing:
        log(f"{missing} trial{'s' * (missing > 1)} of {label_path} not in the list, or without frames: no score")
    is_bonafide = np.array([trial.label == BONAFIDE for trial in scored])
    if all(trial.label is None for trial in scored):
        log(f"{label_path} is blind: without labels there is no EER")
    elif is_bonafide.all() or not is_bonafide.any():
        log("no EER: it needs bona fide and spoof trials")
    else:
        # As the scores stand in the file, for score_eval.py to come to the same figure.
        written = np.round(llrs, 6)
        rate, threshold = metrics.eer(written[is_bonafide], written[~is_bonafide])
        n_bonafide = int(np.count_nonzero(is_bonafide))
        eer = metrics.percent(rate, n_bonafide, len(scored) - n_bonafide)
        print(f"EER {eer} at threshold {threshold:.6f}")
        if plot is not None:
            plot_scores(output_path, plot)


def _write_score_record(scorer: _Scorer, path: Path, score_sha256: str, log_likelihoods: np.ndarray) -> None:
    """Write the record of a score file; that of an older one has another checksum, wherever this run ends."""
    if files.is_no_file(path):
        return
    record = scorer.record()
    feature = record.feature if record else {}
    inputs = feature.get("columns", [feature["type"]] if "type" in feature else [])
    usual = np.quantile(log_likelihoods, [0.05, 0.5]).tolist() if len(log_likelihoods) else None
    split = record.split if record else None
    write_record(path, ScoreRecord(score_sha256, scorer.models_sha256, split, inputs, log_likelihoods=usual))
