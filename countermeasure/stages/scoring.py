"""Score recordings with trained mixtures."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from countermeasure import __version__, compute, files, versions
from countermeasure.cli import log, progress
from countermeasure.errors import InputError
from countermeasure.evaluation import drawing
from countermeasure.evaluation.command import plot_scores
from countermeasure.gmm.models import Pair, model_files, read_pair
from countermeasure.gmm.scores import Scored, score_items
from countermeasure.lists import names, provenance
from countermeasure.lists.pickles import ListWriter
from countermeasure.lists.table import Table
from countermeasure.stages import matching
from countermeasure.stages.compatibility import check_columns, check_likelihoods, check_suits, warn_of_doubts
from countermeasure.stages.inputs import given_columns, given_list
from countermeasure.trials.lines import BONAFIDE
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import ModelsRecord, ScoreRecord, read_record, write_record, write_scores
from tDCF_python import metrics

_Path = str | os.PathLike[str]


class Eer(NamedTuple):
    """Equal error rate, from 0 to 1, its threshold, and the numbers of trials; as text, what the scripts print."""

    rate: float
    threshold: float
    n_bonafide: int
    n_spoof: int

    def __str__(self) -> str:
        rate = metrics.percent(self.rate, self.n_bonafide, self.n_spoof)
        return f"EER {rate} at threshold {self.threshold:.6f}"


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
) -> Eer | None:
    """Write the LLR of each trial of a feature list.

    LLR = mean over frames of log p(frame | bona fide) minus the same for spoof; higher = more bona
    fide. With `plot`, the pictures of the evaluation go into that folder. The record beside the score
    file says which models gave it, on which data; a file that is what these would give is left as it is.

    Returns
    -------
    Eer or None
        None where there are no labels, or those of one class alone.
    """
    inputs = _Inputs.of_list(data_path, (model_path_bon, model_path_sp))
    return _score_protocol(inputs, label_path, output_path, plot, n_jobs, dask, protocol_format, protocol_subset)


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
) -> Eer | None:
    """Write the LLR of each trial from all score lists of a folder; else as `score_list`.

    `whole_files` says whether they are to be lists of file scores, where there are none.
    """
    inputs = _Inputs.of_fusion(data_dir, (model_path_bon, model_path_sp), whole_files)
    return _score_protocol(inputs, label_path, output_path, plot, n_jobs, dask, protocol_format, protocol_subset)


def write_frame_scores(
    data_split: str,
    data_path: _Path,
    model_path: _Path,
    model_name: str,
    output_path: _Path,
    n_jobs: int | None = None,
    dask: str | None = None,
) -> list[Path]:
    """Write the log-likelihood of every frame of a feature list under both models of a folder.

    Lists that these models have made of these data, as their records say, are left as they are.

    Returns
    -------
    paths of the two lists, bona fide first
    """
    outputs = _score_lists(output_path, data_split, model_name, whole_files=False)
    inputs = _Inputs.of_list(data_path, model_files(model_path))
    return _write_scores(inputs, outputs, model_name, data_split, n_jobs, dask, whole_files=False)


def write_file_scores(
    data_split: str,
    data_dir: _Path,
    model_path: _Path,
    model_name: str,
    output_path: _Path,
    n_jobs: int | None = None,
    dask: str | None = None,
) -> list[Path]:
    """Write the mean frame log-likelihood of every file of a folder's stacked score lists; as `write_frame_scores`."""
    outputs = _score_lists(output_path, data_split, model_name, whole_files=True)
    inputs = _Inputs.of_fusion(data_dir, model_files(model_path), whole_files=False)
    return _write_scores(inputs, outputs, model_name, data_split, n_jobs, dask, whole_files=True)


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


def _score_lists(output_path: _Path, split: str, model_name: str, whole_files: bool) -> list[Path]:
    """Return the paths of the lists of scores under the two models."""
    names.check_model_name(model_name)
    return [Path(output_path) / split / names.score_list(model_name, side, split, whole_files) for side in names.SIDES]


class _Scoring(NamedTuple):
    """Lists that are open, and models that suit them."""

    table: Table
    pair: Pair
    workers: compute.Workers

    def scores(self) -> Iterator[Scored]:
        """Yield the scores of all items that have frames, and show how many are done.

        Raises
        ------
        InputError
            In the end, when the data are nothing that the models could have been trained on.
        """
        offsets = []
        for one in progress(score_items(self.table, self.pair, self.workers), len(self.table), "scoring", "files"):
            means = (side.mean() for side in one.scores)
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

    def data_sha256(self, *more: str) -> str:
        """Return the SHA-256 over those of the lists, and over further ones."""
        return provenance.combined_sha256([*(described.sha256 for described in self.table.described), *more])


@contextlib.contextmanager
def _opened(inputs: _Inputs, n_jobs: int | None, dask: str | None) -> Iterator[_Scoring]:
    bonafide, spoof = inputs.models
    if os.path.exists(bonafide) and os.path.exists(spoof) and os.path.samefile(bonafide, spoof):
        raise InputError(f"{bonafide} and {spoof} are the same file; give the bona fide model and the spoof model")
    pair = read_pair(bonafide, spoof)
    if inputs.columns is not None:
        check_columns(pair.bonafide, inputs.columns, inputs.data)
    with compute.workers(n_jobs, dask) as workers, Table(inputs.lists) as table:
        warn_of_doubts(table)
        check_suits(pair.bonafide, table, bonafide)
        yield _Scoring(table, pair, workers)


# -- lists of scores ---------------------------------------------------------------------------------


def _write_scores(
    inputs: _Inputs,
    paths: list[Path],
    model_name: str,
    split: str,
    n_jobs: int | None,
    dask: str | None,
    whole_files: bool,
) -> list[Path]:
    """Write the two lists of scores, and their records where the table has one, if they are not there already."""
    inputs.refuse_as(paths)
    with _opened(inputs, n_jobs, dask) as scoring:
        table, record = scoring.table, scoring.record()
        if record and record.split != split:
            raise InputError(
                f"{table.paths[0]}: a list of {record.split}, but --data_split says {split}; give the right one"
            )
        dtype = "float64" if whole_files else "float32"
        of_scores = record and replace(
            record,
            kind="file scores" if whole_files else "frame scores",
            dtype=dtype,
            list_sha256="",
            n_frames=((table.n_rows > 0) if whole_files else table.n_rows).astype(int).tolist(),
            index=None,
            model={
                "name": model_name,
                "training_id": scoring.pair.record.get("training_id", ""),
                "models_sha256": scoring.pair.sha256,
                "data_sha256": scoring.data_sha256(),
            },
            versions={**record.versions, "countermeasure": __version__, "numpy": np.__version__},
        )
        if of_scores and all(_is_there(path, of_scores) for path in paths):
            log(f"{paths[0]} and {paths[1].name}: already scored with these models, nothing to do")
            return paths
        with ListWriter(paths[0]) as bonafide, ListWriter(paths[1]) as spoof:
            outputs = bonafide, spoof
            scored = scoring.scores()
            one = next(scored, None)
            for item, label in enumerate(table.labels):
                if one is None or one.item != item:  # items without frames keep their places
                    for out in outputs:
                        out.append(None, label)
                    continue
                for out, scores in zip(outputs, one.scores, strict=True):
                    out.append(scores.mean().reshape(1, 1) if whole_files else scores.astype(dtype), label)
                one = next(scored, None)
    for path, out in zip(paths, outputs, strict=True):
        if of_scores is None:
            provenance.path_of(path).unlink(missing_ok=True)  # of an older list of this name
        else:
            provenance.write(path, replace(of_scores, list_sha256=files.sha256(path), index=out.index))
    n_left_out = int(np.count_nonzero(table.n_rows == 0))
    left_out = f", {n_left_out:,} without frames and without scores" if n_left_out else ""
    what = f"{len(table) - n_left_out:,} recordings" + f", {table.n_rows.sum():,} frames" * (not whole_files)
    for path in paths:
        log(f"{path}: {what}{left_out}")
    return paths


def _is_there(path: Path, expected: provenance.Record) -> bool:
    """Tell whether a list has the record that is expected, and the bytes that its record was made of."""
    try:
        found = provenance.read(path)
        if found is None or versions.differences(found.versions, expected.versions):
            return False
        like_it = replace(found, list_sha256="", index=None, versions=expected.versions) == expected
        return like_it and provenance.matches(path, found)
    except (InputError, OSError):  # damaged or missing: made again
        return False


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
) -> Eer | None:
    inputs.refuse_as([Path(output_path)], label_path)
    if plot is not None:
        drawing.check_folder(plot)
    with _opened(inputs, n_jobs, dask) as scoring:
        trials = read_protocol(label_path, protocol_format, protocol_subset)
        items = matching.items_of_trials(scoring.table, trials, label_path)
        files.check_place(Path(output_path))
        if trials.note:
            log(trials.note)
        has_rows = (items >= 0) & (scoring.table.n_rows[items] > 0)
        scored = [trials[i] for i in np.flatnonzero(has_rows)]
        data_sha256 = scoring.data_sha256(provenance.protocol_sha256(scored), _digest(items[has_rows]))
        llrs = _scores_there(output_path, scoring.pair.sha256, data_sha256)
        if llrs is None:
            means = np.full((len(scoring.table), 2), np.nan)
            for one in scoring.scores():
                means[one.item] = [side.mean() for side in one.scores]
            means = means[items[has_rows]]
            llrs = means[:, 0] - means[:, 1]
            digest = write_scores(output_path, (trial.line for trial in scored), llrs)
            _write_score_record(scoring, Path(output_path), digest, data_sha256, means.max(axis=1))
            log(f"{len(llrs):,} trials scored into {output_path}; higher = more bona fide")
        else:
            log(f"{output_path}: already scored with these models, nothing to do")
    if missing := len(trials) - len(llrs):
        log(f"{missing} trial{'s' * (missing > 1)} of {label_path} not in the list, or without frames: no score")
    is_bonafide = np.array([trial.label == BONAFIDE for trial in scored])
    if all(trial.label is None for trial in scored):
        log(f"{label_path} is blind: without labels there is no EER")
        return None
    if is_bonafide.all() or not is_bonafide.any():
        log("no EER: it needs bona fide and spoof trials")
        return None
    # As the scores stand in the file, for score_eval.py to come to the same figure.
    written = np.round(llrs, 6)
    rate, threshold = metrics.eer(written[is_bonafide], written[~is_bonafide])
    if plot is not None:
        plot_scores(output_path, plot)
    n_bonafide = int(np.count_nonzero(is_bonafide))
    return Eer(rate, threshold, n_bonafide, len(scored) - n_bonafide)


def _digest(items: np.ndarray) -> str:
    return hashlib.sha256(items.astype("<i8").tobytes()).hexdigest()


def _scores_there(path: _Path, models_sha256: str, data_sha256: str) -> np.ndarray | None:
    """Return the scores of a score file that these models have made of these data; None for any other file."""
    if files.is_no_file(Path(path)) or not os.path.exists(path):
        return None
    record = read_record(path, files.sha256(path))
    if record is None or (record.models_sha256, record.data_sha256) != (models_sha256, data_sha256):
        return None
    with open(path, encoding="utf-8") as file:
        return np.array([float(line.rpartition(" ")[2]) for line in file])


def _write_score_record(
    scoring: _Scoring, path: Path, score_sha256: str, data_sha256: str, log_likelihoods: np.ndarray
) -> None:
    """Write the record of a score file; that of an older one has another checksum, wherever this run ends."""
    if files.is_no_file(path):
        return
    record = scoring.record()
    feature = record.feature if record else {}
    inputs = feature.get("columns", [feature["type"]] if "type" in feature else [])
    usual = np.quantile(log_likelihoods, [0.05, 0.5]).tolist() if len(log_likelihoods) else None
    split = record.split if record else None
    about = _about(scoring.pair)
    write_record(
        path, ScoreRecord(score_sha256, scoring.pair.sha256, split, inputs, about, usual, data_sha256=data_sha256)
    )


def _about(pair: Pair) -> ModelsRecord | None:
    """Return what a score file's record says of its models; None where they do not tell."""
    method = pair.record.get("options", {}).get("method", "gmm")
    # A regression has a row a file; of a fusion's lists, silence alone are features.
    name = "n_files" if method == "logistic" else "n_frames"
    rows = [model.record[name] for model in pair if name in model.record]
    kinds = {source["kind"] for source in pair.record.get("inputs") or [] if source}
    kind: Any = "features" if pair.bonafide.columns is None else next(iter(kinds - {"features"}), None)
    if len(rows) < len(pair) or kind is None:
        return None
    return ModelsRecord(method, kind, [model.parameters.n_components for model in pair], rows)
