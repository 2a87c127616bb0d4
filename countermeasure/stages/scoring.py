"""Score recordings with trained mixtures."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from countermeasure import __version__, compute, files, versions
from countermeasure.cli import log, progress, warn
from countermeasure.errors import InputError
from countermeasure.evaluation import drawing
from countermeasure.evaluation.command import plot_scores
from countermeasure.gmm.models import Pair, model_files, read_pair
from countermeasure.gmm.scores import Scores, score_items
from countermeasure.lists import names, provenance
from countermeasure.lists.pickles import ListWriter
from countermeasure.lists.table import Table
from countermeasure.stages import inputs, matching
from countermeasure.stages.compatibility import check_columns, check_likelihoods, check_suits, warn_of_doubts
from countermeasure.stages.inputs import Data, PathLike
from countermeasure.trials.lines import BONAFIDE, LABELS, Trial
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import (
    ModelsRecord,
    ScoreRecord,
    check_replaceable,
    read_record,
    write_record,
    write_scores,
)
from tDCF_python import metrics


class Eer(NamedTuple):
    """Equal error rate from 0 to 1, its threshold, and numbers of trials; ``str()`` gives what the scripts print."""

    rate: float
    threshold: float
    n_bonafide: int
    n_spoof: int

    def __str__(self) -> str:
        rate = metrics.percent(self.rate, self.n_bonafide, self.n_spoof)
        return f"EER {rate} at threshold {self.threshold:.6f}"


def score_list(
    data_path: PathLike | Data,
    model_path_bon: PathLike,
    model_path_sp: PathLike,
    label_path: PathLike,
    output_path: PathLike,
    plot: PathLike | None = None,
    n_jobs: int | None = None,
    dask: str | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
) -> Eer | None:
    """Write the LLR of each trial of a feature list.

    LLR = mean over frames of log p(frame | bona fide) minus the same for spoof; higher = more bona
    fide. The record beside the score file names the models and data that gave it; a score file of the same models
    and data is kept.

    Parameters
    ----------
    data_path : path of a feature list, or Data
        `Data` come from `score_fusion`.
    model_path_bon, model_path_sp : path of a model
    label_path : path of the CM protocol
    output_path : path of the score file
    plot : folder or None
        For the pictures of the evaluation.
    n_jobs, dask
        See `compute.workers`.
    protocol_format, protocol_subset
        See `read_protocol`.

    Returns
    -------
    Eer or None
        None without labels of both classes.

    Raises
    ------
    InputError
        If list, models and protocol do not fit together, or if an output would replace one of them.
    """
    data = data_path if isinstance(data_path, Data) else inputs.of_list(data_path)
    models = model_path_bon, model_path_sp
    _refuse_overwriting(Path(output_path), data, *models, label_path)
    check_replaceable(output_path)
    if plot is not None:
        drawing.check_folder(plot)
    with _opened(data, models, n_jobs, dask) as scoring:
        trained_on = scoring.pair.record.data_sha256
        if any(described.sha256 in trained_on for described in scoring.table.described):
            warn(f"{data.place}: the models were trained on it, so the EER says nothing about other recordings")
        trials = read_protocol(label_path, protocol_format, protocol_subset)
        items = matching.items_of_trials(scoring.table, trials, label_path, bool(protocol_subset))
        files.prepare_place(Path(output_path))
        if trials.note:
            log(trials.note)
        has_rows = (items >= 0) & (scoring.table.n_rows[items] > 0)
        scored = [trials[i] for i in np.flatnonzero(has_rows)]
        llrs = _write_score_file(scoring, Path(output_path), scored, items[has_rows])
    if missing := len(trials) - len(llrs):
        log(f"{missing} trial{'s' * (missing > 1)} of {label_path} not in the list, or without frames: no score")
    if not {trial.label for trial in scored} >= set(LABELS):
        log(f"{label_path}: no EER without labels of both classes")
        return None
    is_bonafide = np.array([trial.label == BONAFIDE for trial in scored])
    written = np.round(llrs, 6)  # as in the file, so that score_eval.py gives the same figure
    rate, threshold = metrics.eer(written[is_bonafide], written[~is_bonafide])
    if plot is not None:
        plot_scores(output_path, plot)
    n_bonafide = int(np.count_nonzero(is_bonafide))
    return Eer(rate, threshold, n_bonafide, len(scored) - n_bonafide)


def score_fusion(
    data_dir: PathLike,
    model_path_bon: PathLike,
    model_path_sp: PathLike,
    label_path: PathLike,
    output_path: PathLike,
    whole_files: bool = False,
    **settings: Any,
) -> Eer | None:
    """Do as `score_list` for all score lists of a folder, stacked as columns.

    `whole_files`: lists of file scores, instead of frame scores.
    """
    data = inputs.of_fusion(data_dir, whole_files)
    return score_list(data, model_path_bon, model_path_sp, label_path, output_path, **settings)


def write_frame_scores(
    data_split: str, data_path: PathLike, model_path: PathLike, model_name: str, output_path: PathLike, **settings: Any
) -> list[Path]:
    """Write the log-likelihood of every frame of a feature list under both models of a folder.

    Lists of the same models and data are kept.

    Returns
    -------
    paths of the two lists, bona fide first
    """
    return _write_score_lists(data_split, inputs.of_list(data_path), model_path, model_name, output_path, **settings)


def write_file_scores(
    data_split: str, data_dir: PathLike, model_path: PathLike, model_name: str, output_path: PathLike, **settings: Any
) -> list[Path]:
    """Write the mean log-likelihood of every file of a folder's stacked score lists; see `write_frame_scores`."""
    data = inputs.of_fusion(data_dir, whole_files=False)
    return _write_score_lists(data_split, data, model_path, model_name, output_path, whole_files=True, **settings)


def _write_score_lists(
    data_split: str,
    data: Data,
    model_path: PathLike,
    model_name: str,
    output_path: PathLike,
    whole_files: bool = False,
    n_jobs: int | None = None,
    dask: str | None = None,
) -> list[Path]:
    names.check_model_name(model_name)
    folder, models = Path(output_path) / data_split, model_files(model_path)
    paths = [folder / names.score_list(model_name, side, data_split, whole_files) for side in names.SIDES]
    for path in paths:
        _refuse_overwriting(path, data, *models)
    with _opened(data, models, n_jobs, dask) as scoring:
        table = scoring.table
        record = _record_of_scores(scoring, data_split, model_name, whole_files)
        if record and all(_is_there(path, record) for path in paths):
            log(f"{paths[0]} and {paths[1].name}: already scored with these models, nothing to do")
            return paths
        with ListWriter(paths[0]) as bonafide, ListWriter(paths[1]) as spoof:
            outputs = bonafide, spoof
            for label, scores in zip(table.labels, scoring.scores(), strict=True):
                for out, side in zip(outputs, scores or (None, None), strict=True):
                    if side is not None:
                        side = side.mean().reshape(1, 1) if whole_files else side.astype(np.float32)
                    out.append(side, label)
    n_scored = int(np.count_nonzero(table.n_rows))
    what = f"{n_scored:,} recordings" + f", {table.n_rows.sum():,} frames" * (not whole_files)
    n_left_out = len(table) - n_scored
    left_out = f", {n_left_out:,} without frames and without scores" if n_left_out else ""
    for path, out in zip(paths, outputs, strict=True):
        if record is None:
            provenance.path_of(path).unlink(missing_ok=True)  # the record of an older list
        else:
            provenance.write(path, replace(record, list_sha256=files.sha256(path), index=out.index()))
        log(f"{path}: {what}{left_out}")
    return paths


class _Scoring(NamedTuple):
    """Open lists, and models that fit them."""

    data: Data
    table: Table
    pair: Pair
    workers: compute.Workers

    def scores(self) -> Iterator[Scores | None]:
        """Yield the scores of each item, None for an item without rows; show the progress.

        Raises
        ------
        InputError
            At the end, if the models cannot have been trained on such data.
        """
        scored = score_items(self.table, self.pair, self.workers)
        offsets = []
        for n_rows in progress(self.table.n_rows, len(self.table), "scoring", "files"):
            scores = next(scored) if n_rows else None
            if scores:
                means = (side.mean() for side in scores)
                offsets.append(max(mean - model.lower_bound for mean, model in zip(means, self.pair, strict=True)))
            yield scores
        check_likelihoods(self.pair, np.array(offsets), self.table)

    def record(self) -> provenance.Record | None:
        """Return the table's record; for several lists, its feature is ``fusion``."""
        record = self.table.record
        if record is None or len(self.data.paths) == 1:
            return record
        return replace(record, feature={"type": "fusion", "columns": self.data.columns})

    def data_sha256(self, *more: str) -> str:
        """Return the SHA-256 over those of the lists and further ones."""
        return provenance.combined_sha256([*(described.sha256 for described in self.table.described), *more])


@contextlib.contextmanager
def _opened(data: Data, models: tuple[PathLike, PathLike], n_jobs: int | None, dask: str | None) -> Iterator[_Scoring]:
    bonafide, spoof = models
    pair = read_pair(bonafide, spoof)
    if pair.bonafide.sha256 == pair.spoof.sha256:
        raise InputError(f"{bonafide} and {spoof} are the same; give the bona fide model and the spoof model")
    check_columns(pair.bonafide, data)
    with compute.workers(n_jobs, dask) as workers, Table(data.paths) as table:
        warn_of_doubts(table)
        check_suits(pair.bonafide, table, bonafide)
        yield _Scoring(data, table, pair, workers)


def _refuse_overwriting(output: Path, data: Data, *more: PathLike) -> None:
    """Refuse to overwrite, by an output or its record, what this run reads."""
    read = *data.paths, *map(provenance.path_of, data.paths), *more
    files.refuse_overwriting(output, *read)
    files.refuse_overwriting(provenance.path_of(output), *read)


# -- lists of scores ---------------------------------------------------------------------------------


def _record_of_scores(scoring: _Scoring, split: str, model_name: str, whole_files: bool) -> provenance.Record | None:
    """Return the record of the score lists without checksum and index; None if the data have no record."""
    table, record = scoring.table, scoring.record()
    if record is None:
        return None
    if record.split != split:
        raise InputError(
            f"{table.paths[0]}: a list of {record.split}, but --data_split says {split}; give the right one"
        )
    return replace(
        record,
        kind="file scores" if whole_files else "frame scores",
        dtype="float64" if whole_files else "float32",
        list_sha256="",
        n_frames=(np.minimum(table.n_rows, 1) if whole_files else table.n_rows).tolist(),
        index=None,
        model={
            "name": model_name,
            "training_id": scoring.pair.record.training_id,
            "models_sha256": scoring.pair.sha256,
            "data_sha256": scoring.data_sha256(),
        },
        versions={**record.versions, "countermeasure": __version__, "numpy": np.__version__},
    )


def _is_there(path: Path, expected: provenance.Record) -> bool:
    """Return whether a list is there and has the expected record."""
    try:
        found = provenance.read(path)
        if found is None or versions.differences(found.versions, expected.versions):
            return False
        like_it = replace(found, list_sha256="", index=None, versions=expected.versions) == expected
        return like_it and provenance.matches(path, found)
    except (InputError, OSError):  # damaged or missing
        return False


# -- score files -------------------------------------------------------------------------------------


def _write_score_file(scoring: _Scoring, path: Path, trials: Sequence[Trial], items: np.ndarray) -> np.ndarray:
    """Write the LLRs of trials, which are these items of the table, and a record; return the LLRs.

    A file that these models already made from these data is kept.
    """
    of_items = hashlib.sha256(items.astype("<i8").tobytes()).hexdigest()
    data_sha256 = scoring.data_sha256(provenance.protocol_sha256(trials), of_items)
    is_file = not files.is_no_file(path)
    found = read_record(path, files.sha256(path)) if is_file and path.exists() else None
    if found and (found.models_sha256, found.data_sha256) == (scoring.pair.sha256, data_sha256):
        log(f"{path}: already scored with these models, nothing to do")
        with open(path, encoding="utf-8") as file:
            return np.array([float(line.rpartition(" ")[2]) for line in file])
    means = np.full((len(scoring.table), 2), np.nan)
    for item, scores in enumerate(scoring.scores()):
        if scores:
            means[item] = [side.mean() for side in scores]
    means = means[items]
    llrs = means[:, 0] - means[:, 1]
    digest = write_scores(path, (trial.line for trial in trials), llrs)
    if is_file:
        record = scoring.record()
        columns = record.feature.get("columns", [record.feature["type"]]) if record else []
        usual = np.quantile(means.max(axis=1), [0.05, 0.5]).tolist() if len(means) else None
        split, about = record.split if record else None, _about(scoring.pair)
        write_record(
            path, ScoreRecord(digest, scoring.pair.sha256, split, columns, about, usual, data_sha256=data_sha256)
        )
    log(f"{len(llrs):,} trials scored into {path}; higher = more bona fide")
    return llrs


def _about(pair: Pair) -> ModelsRecord | None:
    """Return what a score file's record says about its models; None if their record is incomplete."""
    record = pair.record
    # A regression has one row per file. In a fusion, only silence is a list of features.
    counts = [model.record.n_files if record.is_logistic else model.record.n_frames for model in pair]
    rows = [n for n in counts if n is not None]
    kinds = {source.kind for source in record.inputs if source}
    kind: Any = "features" if record.columns is None else next(iter(kinds - {"features"}), None)
    if len(rows) < len(pair) or kind is None:
        return None
    n_components = [model.parameters.n_components for model in pair]
    return ModelsRecord("logistic" if record.is_logistic else "gmm", kind, n_components, rows)
