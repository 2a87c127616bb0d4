"""Checkpoints: where the training of one class stands, kept beside the models until they are written."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from countermeasure import em
from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole
from countermeasure.mixture import Parameters, Statistics


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
            converged=np.array(state.converged),
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
    path = Path(path)
    if not path.exists():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            a = {name: arrays[name] for name in arrays.files}
        found = json.loads(str(a["record"]))
        blocks = zip(a["sums"], a["block_log_likelihoods"], a["block_frames"], strict=True)
        state = em.State(
            Parameters(a["weights"], a["means"], a["variances"]),
            tuple(Statistics(sums, float(value), int(n)) for sums, value, n in blocks),
            tuple(a["history"].tolist()),
            bool(a["converged"]),
        )
        seconds = a["seconds"].tolist()
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
        raise InputError(f"{path}: the checkpoint is damaged; start over with --restart") from None
    different = _differences(found, record)
    if different:
        raise InputError(
            f"{path}: an unfinished training with other settings is here ({different}); "
            "finish it with the same ones, or start over with --restart"
        )
    return state, seconds


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    found, wanted = ({**record, **record["options"]} for record in (found, wanted))
    names = {"data_sha256": "the data", "columns": "the columns", "start_sha256": "the models to continue from"}
    told = []
    for key in wanted:
        if key in ("options", "training_id") or found.get(key) == wanted[key]:
            continue
        told.append(names.get(key) or f"{key} {found.get(key)}, now {wanted[key]}")
    return ", ".join(told)
