"""Checkpoints: where the training of one class stands, kept beside the models until they are written."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format

from countermeasure import versions
from countermeasure.errors import InputError
from countermeasure.files import read_regular, replace_when_whole
from countermeasure.gmm import em
from countermeasure.gmm.mixture import Parameters, Statistics


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


def load(path: str | os.PathLike[str], record: dict[str, Any]) -> tuple[em.State, list[float]] | None:
    """Read a checkpoint of just this training; None where there is no checkpoint.

    Raises
    ------
    InputError
        When the checkpoint is damaged, or is one of another training; names the difference.
    """
    if not os.path.exists(path):
        return None
    content = read_regular(path)
    damaged = InputError(f"{path}: the checkpoint is damaged; start over with --restart")
    try:
        a = _arrays(content)
        found = json.loads(str(a["record"]))
        blocks = zip(a["sums"], a["block_log_likelihoods"], a["block_frames"], strict=True)
        state = em.State(
            Parameters(a["weights"], a["means"], a["variances"]),
            tuple(Statistics(sums, float(value), int(n)) for sums, value, n in blocks),
            tuple(a["history"].tolist()),
        )
        seconds = a["seconds"].tolist()
        different = differences(found, record)
    except Exception:  # whatever NumPy and zipfile say to bytes that they did not write
        raise damaged from None
    if different:
        raise InputError(
            f"{path}: an unfinished training with other settings is here ({different}); "
            "finish it with the same ones, or start over with --restart"
        )
    if not _is_sound(state, seconds):
        raise damaged
    return state, seconds


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # Stored as they are, so that none takes more memory than the file has bytes.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed")
        contents = {entry.filename.removesuffix(".npy"): archive.read(entry) for entry in archive.infolist()}
    return {name: _array(content) for name, content in contents.items()}


def _array(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    read_header = {(1, 0): format.read_array_header_1_0, (2, 0): format.read_array_header_2_0}
    shape, _, dtype = read_header[format.read_magic(file)](file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError("not as long as it says")
    file.seek(0)
    return format.read_array(file, allow_pickle=False)


def _is_sound(state: em.State, seconds: list[float]) -> bool:
    """Tell whether training can go on from what was read."""
    p = state.parameters
    n_components, n_dims = p.means.shape if p.means.ndim == 2 else (0, 0)
    arrays = (p.weights, p.means, p.variances, *(block.sums for block in state.blocks), np.array(state.history))
    return (
        n_components > 0
        and p.weights.shape == (n_components,)
        and p.variances.shape == (n_components, n_dims)
        and all(block.sums.shape == (2 * n_dims + 1, n_components) for block in state.blocks)
        and isinstance(seconds, list)
        and 0 < len(state.history) == len(seconds)
        and all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays)
        and bool((p.variances > 0).all() and (p.weights >= 0).all())
        and all(type(value) is float and 0 < value < math.inf for value in seconds)
    )


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Say in a few words how one training's record differs from another's; nothing where it does not.

    Where it does not, the models are the same. What the lists' own records say has no part in that.
    """
    told = []
    if found.get("data_sha256") != wanted.get("data_sha256"):
        before, now = _feature_types(found), _feature_types(wanted)
        told.append(f"features {before}, now {now}" if before != now else "the data")
    for name, what in (("columns", "the columns"), ("start_sha256", "the models to continue from")):
        if found.get(name) != wanted.get(name):
            told.append(what)
    was, options = found.get("options") or {}, wanted.get("options") or {}
    told += [f"{name} {was.get(name)}, now {options[name]}" for name in options if was.get(name) != options[name]]
    told += versions.differences(found.get("versions") or {}, wanted.get("versions") or {})
    return ", ".join(told)


def _feature_types(record: dict[str, Any]) -> str:
    return "+".join(source["feature"]["type"] for source in record.get("inputs") or [] if source) or "unknown"
