"""What a folder for models already holds: finished models, or the checkpoints of an unfinished training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from countermeasure import cli, files, versions
from countermeasure.errors import InputError
from countermeasure.gmm import checkpoints
from countermeasure.gmm.models import Pair, TrainingRecord, model_files, read_pair
from countermeasure.lists import provenance
from countermeasure.options import LogisticOptions, TrainingOptions
from countermeasure.trials.lines import LABELS

PathLike = str | os.PathLike[str]


def checkpoint_files(folder: Path) -> dict[str, Path]:
    """Return the path of each class's checkpoint."""
    return {label: folder / f"{label}.checkpoint.npz" for label in LABELS}


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a training that is finished or will not be continued."""
    for path in checkpoint_files(folder).values():
        path.unlink(missing_ok=True)


def would_replace(
    model_path: PathLike,
    options: TrainingOptions | LogisticOptions,
    data_path: PathLike | None = None,
    scored_by: Sequence[PathLike] = (),
) -> str:
    """Return how the models in a folder differ from those that a training would make.

    Parameters
    ----------
    model_path : folder
    options : TrainingOptions or LogisticOptions
        A number of components of None is not compared.
    data_path : path or None
        The feature list of a base model; not compared if it does not exist yet.
    scored_by : sequence of folder
        For a fusion, the models whose scores it will be trained on; folders without models are skipped.

    Returns
    -------
    str
        Such as "finished models of other settings are here (n_components 512, now 64)"; empty if training would
        replace nothing.
    """
    folder = Path(model_path)
    pair = _pair(folder)
    if pair is None and not any(path.exists() for path in checkpoint_files(folder).values()):
        return ""  # before the list is read, which may be large
    wanted: dict[str, Any] = {"options": {name: value for name, value in asdict(options).items() if value is not None}}
    if data_path is not None and Path(data_path).is_file():
        record = provenance.read(data_path)
        wanted["data_sha256"] = [record.list_sha256 if record else files.sha256(data_path)]
    if conflict := _conflict(folder, pair, wanted):
        return conflict
    used = {source.model for source in pair.record.inputs if source and source.model} if pair else set()
    now = {found.record.training_id for found in map(_pair, map(Path, scored_by)) if found}
    if used and now and not now <= used:
        return "finished models of other settings are here (trained on scores of other models)"
    return ""


def finished(folder: Path, record: TrainingRecord) -> Pair | None:
    """Return the models that the training with this record has already made; None if it has not finished.

    Raises
    ------
    InputError
        If the folder holds models or checkpoints of another training.
    """
    pair = _pair(folder)
    if conflict := _conflict(folder, pair, vars(record)):
        raise InputError(f"{folder}: {conflict}; choose another --model_path, or --restart to replace them")
    if pair is None or _changed_settings(pair.record, vars(record)):
        return None
    cli.log(f"{folder}: trained on these data already, nothing to do (--restart trains again)")
    return pair


def _pair(folder: Path) -> Pair | None:
    """Return the models of a folder; None if they are missing, damaged or do not belong together."""
    try:
        return read_pair(*model_files(folder))
    except InputError:
        return None


def _conflict(folder: Path, pair: Pair | None, wanted: Mapping[str, Any]) -> str:
    """Return how the models or checkpoints in a folder differ from the training with the record `wanted`."""
    changes = _changed_settings(pair.record, wanted) if pair else ""
    if pair and not changes:
        return ""
    unfinished = [each.record for each in map(checkpoints.load, checkpoint_files(folder).values()) if each]
    for found in unfinished:
        if others := _changed_settings(found, wanted):
            return f"an unfinished training of other settings is here ({others})"
    # With checkpoints of this training, --restart was already given: the models were to be replaced.
    return f"finished models of other settings are here ({changes})" if changes and not unfinished else ""


def _changed_settings(found: TrainingRecord, wanted: Mapping[str, Any]) -> str:
    """Return how two trainings differ, such as "n_components 512, now 64".

    Parameters
    ----------
    found : TrainingRecord
        Of models or of a checkpoint.
    wanted : mapping
        Entries of the new training's record; only these are compared.
    """
    if not found.training_id:
        return "made by another program"
    was, now = ({"method": "gmm", **options} for options in (found.options, wanted["options"]))
    names = ["method"] if was["method"] != now["method"] else now
    changes = [f"{name} {was.get(name)}, now {now[name]}" for name in names if was.get(name) != now[name]]
    for name, what in (
        ("data_sha256", "trained on other data"),
        ("columns", f"of the columns {', '.join(found.columns or ['of no fusion'])}"),
        ("start_sha256", "continued from other models" if found.start_sha256 else "not continued from others"),
    ):
        if name in wanted and getattr(found, name) != wanted[name]:
            changes.append(what)
    if others := versions.differences(found.versions, wanted.get("versions", versions.COMPARED)):
        changes.append(f"made by another version of this suite: {', '.join(others)}")
    return "; ".join(changes)
