"""Checkpoints: the state of one class's training after a pass, kept beside the models until they are written."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import IO, NamedTuple

import numpy as np

from countermeasure import records
from countermeasure.errors import InputError
from countermeasure.files import open_regular, replace_when_whole
from countermeasure.gmm import em
from countermeasure.gmm.mixture import Parameters, Statistics
from countermeasure.gmm.models import TrainingRecord


class Checkpoint(NamedTuple):
    """What a checkpoint holds, see `save`."""

    record: TrainingRecord
    state: em.State
    seconds: list[float]


def save(path: str | os.PathLike[str], state: em.State, seconds: list[float], record: TrainingRecord) -> None:
    """Write a checkpoint.

    Parameters
    ----------
    path : path of an .npz file
    state : em.State
    seconds : list of float
        Duration of each pass.
    record : TrainingRecord
        That of the model, without its class.
    """
    # Not flushed to the disk: it is written after every pass, and has to survive a killed process only.
    with replace_when_whole(path, flush=False) as file:
        np.savez(
            file,
            weights=state.parameters.weights,
            means=state.parameters.means,
            variances=state.parameters.variances,
            sums=np.array([block.sums for block in state.blocks]),
            block_log_likelihoods=np.array([block.log_likelihood for block in state.blocks]),
            block_frames=np.array([block.n_frames for block in state.blocks]),
            history=np.array(state.history),
            seconds=np.array(seconds),
            record=np.array(json.dumps(asdict(record))),
        )


def load(path: str | os.PathLike[str]) -> Checkpoint | None:
    """Read a checkpoint; None if there is none.

    Raises
    ------
    InputError
        If the checkpoint is damaged.
    """
    if not os.path.exists(path):
        return None
    with open_regular(path) as file:
        try:
            return _parsed(file)
        except Exception:  # NumPy, zipfile and json raise many different errors for damaged files
            raise InputError(f"{path}: the checkpoint is damaged; start over with --restart") from None


def _parsed(file: IO[bytes]) -> Checkpoint:
    with np.load(file, allow_pickle=False) as arrays:  # zipfile compares checksums
        record = records.checked(TrainingRecord, json.loads(str(arrays["record"])))
        parameters = Parameters(arrays["weights"], arrays["means"], arrays["variances"])
        sums, log_likelihoods, n_frames = arrays["sums"], arrays["block_log_likelihoods"], arrays["block_frames"]
        history, seconds = arrays["history"].tolist(), arrays["seconds"].tolist()
    shape = n_components, n_dims = parameters.means.shape
    if parameters.variances.shape != shape or sums.shape[1:] != (2 * n_dims + 1, n_components):
        raise ValueError("arrays of different mixtures")
    blocks = map(Statistics, sums, log_likelihoods.tolist(), n_frames.tolist())
    return Checkpoint(record, em.State(parameters, tuple(blocks), tuple(history)), seconds)
