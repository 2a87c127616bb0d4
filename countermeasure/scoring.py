"""Score recordings with trained mixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from countermeasure import files, fusion
from countermeasure.cli import log, progress
from countermeasure.compute import Threads
from countermeasure.errors import InputError
from countermeasure.frames import Part, Table
from countermeasure.mixture import Kernel
from countermeasure.models import Model, model_files, read_pair
from countermeasure.pickles import ListWriter
from countermeasure.protocol import BONAFIDE, LABELS, Trial, read_protocol
from countermeasure.score_files import write_scores


class Scores(NamedTuple):
    """Log-likelihoods of one item's frames, arrays [n_frames], in nats."""

    item: int
    bonafide: np.ndarray
    spoof: np.ndarray


def score_items(table: Table, pair: tuple[Model, Model], n_jobs: int | None = None) -> Iterator[Scores]:
    """Yield the frame log-likelihoods of every item that has frames, in order."""
    kernels = [Kernel.of_raw(model.parameters) for model in pair]

    def scores(part: Part) -> list[Scores]:
        frames = table.read(part)
        ends = np.cumsum([segment.stop - segment.start for segment in part])[:-1]
        bonafide, spoof = (np.split(kernel.log_likelihoods(frames), ends) for kernel in kernels)
        return [Scores(segment.item, *pair) for segment, *pair in zip(part, bonafide, spoof, strict=True)]

    with Threads(n_jobs) as threads:
        waiting: list[Scores] = []  # of one item, which may be torn over several parts
        for part in threads.map(scores, table.parts(np.arange(len(table)))):
            for one in part:
                if waiting and waiting[0].item != one.item:
                    yield _joined(waiting)
                    waiting.clear()
                waiting.append(one)
        if waiting:
            yield _joined(waiting)


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
) -> None:
    """Write the LLR of each trial of a feature list; print the EER.

    LLR = mean over frames of log p(frame | bona fide) minus the same for spoof; higher = more bona
    fide. With `plot`, the pictures of the evaluation go into that folder.
    """
    pair = read_pair(model_path_bon, model_path_sp)
    with Table([files.existing(data_path)]) as table:
        _check_dimensions(table, pair, model_path_bon)
        _score_trials(table, pair, label_path, output_path, plot, n_jobs)


def score_fusion(
    data_dir: str | os.PathLike[str],
    model_path_bon: str | os.PathLike[str],
    model_path_sp: str | os.PathLike[str],
    label_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    plot: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
) -> None:
    """Write the LLR of each trial from all score lists of a folder; else as `score_list`."""
    pair = read_pair(model_path_bon, model_path_sp)
    with _fusion_table(data_dir, pair, model_path_bon) as table:
        _score_trials(table, pair, label_path, output_path, plot, n_jobs)


def write_frame_scores(
    data_split: str,
    data_path: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    model_name: str,
    output_path: str | os.PathLike[str],
    n_jobs: int | None = None,
) -> None:
    """Write the log-likelihood of every frame of a feature list under both models of a folder."""
    pair = read_pair(*model_files(model_path))
    with Table([files.existing(data_path)]) as table:
        _check_dimensions(table, pair, model_path)
        _write_scores(table, pair, Path(output_path) / data_split, f"{model_name}-{{}}-{data_split}.pkl", False, n_jobs)


def write_file_scores(
    data_split: str,
    data_dir: str | os.PathLike[str],
    model_path: str | os.PathLike[str],
    model_name: str,
    output_path: str | os.PathLike[str],
    n_jobs: int | None = None,
) -> None:
    """Write the mean frame log-likelihood of every file of a folder's stacked score lists."""
    pair = read_pair(*model_files(model_path))
    with _fusion_table(data_dir, pair, model_path) as table:
        name = f"{model_name}-{{}}-{data_split}-filelevel.pkl"
        _write_scores(table, pair, Path(output_path) / data_split, name, True, n_jobs)


def _fusion_table(
    data_dir: str | os.PathLike[str], pair: tuple[Model, Model], model_path: str | os.PathLike[str]
) -> Table:
    found = fusion.columns(data_dir)
    if pair[0].columns is not None:
        fusion.check_columns(found, pair[0].columns, data_dir)
    table = Table([column.path for column in found])
    _check_dimensions(table, pair, model_path)
    return table


def _check_dimensions(table: Table, pair: tuple[Model, Model], model_path: str | os.PathLike[str]) -> None:
    n_dims = pair[0].parameters.n_dims
    if table.n_columns != n_dims:
        data = table.paths[0] if len(table.paths) == 1 else table.paths[0].parent
        raise InputError(
            f"{model_path}: models over {n_dims} dimensions, but {data} has {table.n_columns}; "
            "give the models that were trained on these features"
        )


def _write_scores(
    table: Table, pair: tuple[Model, Model], folder: Path, name: str, whole_files: bool, n_jobs: int | None
) -> None:
    with ListWriter(folder / name.format("bon")) as bonafide, ListWriter(folder / name.format("sp")) as spoof:
        scored = -1
        for one in progress(score_items(table, pair, n_jobs), len(table), "scoring", "files"):
            for out, scores in ((bonafide, one.bonafide), (spoof, one.spoof)):
                for i in range(scored + 1, one.item):
                    out.append(None, table.labels[i])  # keeps the order of the list
                value = scores.mean().reshape(1, 1) if whole_files else scores.astype(np.float32)
                out.append(value, table.labels[one.item])
            scored = one.item
        for i in range(scored + 1, len(table)):
            bonafide.append(None, table.labels[i])
            spoof.append(None, table.labels[i])


def _score_trials(
    table: Table,
    pair: tuple[Model, Model],
    label_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    plot: str | os.PathLike[str] | None,
    n_jobs: int | None,
) -> None:
    trials = read_protocol(label_path)
    _check_alignment(table, trials, label_path)
    scored: list[Trial] = []
    llrs: list[float] = []
    for one in progress(score_items(table, pair, n_jobs), len(table), "scoring", "files"):
        scored.append(trials[one.item])
        llrs.append(float(one.bonafide.mean() - one.spoof.mean()))
    write_scores(output_path, [trial.line for trial in scored], llrs)
    log(f"{len(scored)} trials scored into {output_path}; higher = more bona fide")
    missing = len(trials) - len(scored)
    if missing:
        log(f"{missing} trial{'s' * (missing > 1)} of {label_path} without frames in the list: no score")
    _evaluate(scored, llrs, output_path, plot)


def _check_alignment(table: Table, trials: Sequence[Trial], label_path: str | os.PathLike[str]) -> None:
    if len(trials) != len(table):
        raise InputError(
            f"{table.paths[0]}: {len(table)} items, but {label_path} has {len(trials)} trials; "
            "give the protocol that the list was made from"
        )
    for i, (label, trial) in enumerate(zip(table.labels, trials, strict=True), 1):
        if label is not None and trial.label is not None and label != trial.label:
            raise InputError(
                f"{table.paths[0]}: item {i} is {label}, but the trial of {label_path} in its place is "
                f"{trial.line!r}; give the protocol that the list was made from"
            )


def _evaluate(
    trials: Sequence[Trial],
    llrs: Sequence[float],
    output_path: str | os.PathLike[str],
    plot: str | os.PathLike[str] | None,
) -> None:
    from tDCF_python import command, metrics

    if {trial.label for trial in trials} != set(LABELS):
        log("no EER: it needs bona fide and spoof trials")
        return
    # As they stand in the file, for score_eval.py to come to the same figure.
    written = np.round(llrs, 6)
    is_bonafide = np.array([trial.label == BONAFIDE for trial in trials])
    rate, threshold = metrics.eer(written[is_bonafide], written[~is_bonafide])
    print(f"EER {100 * rate:.5f} % at threshold {threshold:.6f}")
    if plot is not None:
        command.plot_scores(output_path, plot)
