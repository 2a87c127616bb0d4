"""Checkpoints: where the training of one class stands, kept beside the models until they are written."""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import Any

import numpy as np

from countermeasure.errors import InputError
from countermeasure.files import read_regular, replace_when_whole
from countermeasure.gmm import em
from countermeasure.gmm.mixture import Parameters, Statistics
from countermeasure.gmm.models import check_record


def save(path: str | os.PathLike[str], state: em.State, seconds: list[float], record: dict[str, Any]) -> None:
    """Write a checkpoint.

    Parameters
    ----------
    path : path of an .npz file
    state : em.State
    seconds : list of float
        How long each pass took.
    record : dict
        What is trained on what, as it will stand in the model; JSON values.
    """
    # Not flushed to the disk: a checkpoint must outlive its process, not the machine, and it comes with every pass.
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
            record=np.array(json.dumps(record)),
        )


def read_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what is trained on what in a checkpoint; None where there is none.

    Raises
    ------
    InputError
        When the checkpoint is damaged.
    """
    found = _read(path)
    return found and found[0]


def load(path: str | os.PathLike[str]) -> tuple[em.State, list[float]] | None:
    """Return the state and the seconds of each pass in a checkpoint; None where there is none.

    Raises
    ------
    InputError
        When the checkpoint is damaged.
    """
    found = _read(path)
    return found and found[1:]


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], em.State, list[float]] | None:
    if not os.path.exists(path):
        return None
    content = read_regular(path)
    try:
        return _parsed(content)
    except Exception:  # whatever NumPy, zipfile and json say to bytes that they did not write
        raise InputError(f"{path}: the checkpoint is damaged; start over with --restart") from None


def _parsed(content: bytes) -> tuple[dict[str, Any], em.State, list[float]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # Uncompressed, as they are written, so that no array takes more memory than the file has bytes.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        found = json.loads(str(arrays["record"]))
        check_record(found)
        parameters = Parameters(arrays["weights"], arrays["means"], arrays["variances"])
        sums, history, seconds = arrays["sums"], arrays["history"], arrays["seconds"]
        log_likelihoods, n_frames = arrays["block_log_likelihoods"], arrays["block_frames"]
    n_components, n_dims = parameters.means.shape
    for array, shape in (
        (parameters.weights, (n_components,)),
        (parameters.means, (n_components, n_dims)),
        (parameters.variances, (n_components, n_dims)),
        (sums, (len(sums), 2 * n_dims + 1, n_components)),
        (log_likelihoods, (len(sums),)),
        (history, seconds.shape),
        (seconds, (len(history),)),
    ):
        if array.dtype != np.float64 or array.shape != shape or not array.size or not np.isfinite(array).all():
            raise ValueError("an array is not as it was written")
    if (parameters.variances <= 0).any() or (parameters.weights < 0).any() or (seconds <= 0).any():
        raise ValueError("a value is negative")
    blocks = tuple(
        Statistics(*values) for values in zip(sums, log_likelihoods.tolist(), n_frames.tolist(), strict=True)
    )
    return found, em.State(parameters, blocks, tuple(history.tolist())), seconds.tolist()
