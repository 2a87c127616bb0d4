"""What stands in a folder for models already: finished models, or the checkpoints of an unfinished training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from countermeasure import cli, files, versions
from countermeasure.errors import InputError
from countermeasure.gmm import checkpoints
from countermeasure.gmm.models import Pair, model_files, read_pair, write_pair
from countermeasure.lists import provenance
from countermeasure.options import LogisticOptions, TrainingOptions
from countermeasure.trials.lines import LABELS

PathLike = str | os.PathLike[str]


def checkpoint_files(folder: Path) -> dict[str, Path]:
    """Return the path of each class's checkpoint."""
    return {label: folder / f"{label}.checkpoint.npz" for label in LABELS}


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a training that is finished, or not to be continued."""
    for path in checkpoint_files(folder).values():
        path.unlink(missing_ok=True)


def differing(
    model_path: PathLike,
    options: TrainingOptions | LogisticOptions,
    data_path: PathLike | None = None,
    scored_by: Sequence[PathLike] = (),
) -> str:
    """Say how what is in a folder differs from what a training would make, before anything is trained.

    Parameters
    ----------
    model_path : folder
    options : TrainingOptions or LogisticOptions
        A number of components that is None is not compared.
    data_path : path or None
        The feature list of a base model; one that is not there yet is not compared. Of one that is, the
        record tells the checksum: training computes it and compares again.
    scored_by : sequence of folder
        For a fusion, of the models whose scores it is to be trained on; those without models are passed over.

    Returns
    -------
    str
        As in "finished models of other settings are here (had 512 components, 64 are asked for)"; empty where a
        training would replace nothing.
    """
    folder = Path(model_path)
    wanted: dict[str, Any] = {"options": {name: value for name, value in asdict(options).items() if value is not None}}
    pair = _pair(folder)
    is_empty = pair is None and not any(path.exists() for path in checkpoint_files(folder).values())
    if not is_empty and data_path is not None and Path(data_path).is_file():
        record = provenance.read(data_path)
        digest = record.list_sha256 if record else files.sha256(data_path)
        wanted |= {"data_sha256": [digest], "inputs": [provenance.source(record)]}
    if said := _difference(folder, wanted):
        return said
    sources = pair.record.get("inputs") or [] if pair else []
    used = {source["model"] for source in sources if source and source.get("model")}
    now = {found.record.get("training_id") for found in map(_pair, map(Path, scored_by)) if found}
    if used and now and not now <= used:
        return "finished models of other settings are here (was trained on scores of other models)"
    return ""


def finished(folder: Path, record: dict[str, Any]) -> Pair | None:
    """Return the models that the training with this record has made already, and say so; None where it has not.

    A list's record may have come after it: the models are told what it says.

    Raises
    ------
    InputError
        When the folder holds something else.
    """
    if different := _difference(folder, record):
        raise InputError(f"{folder}: {different}; choose another --model_path, or --restart to replace them")
    pair = _pair(folder)
    if pair is None or _differences(pair.record, record):
        return None
    known = pair.record.get("inputs") or [None] * len(record["inputs"])
    sources = [now or before for now, before in zip(record["inputs"], known, strict=True)]
    if sources == known:
        cli.log(f"{folder}: trained on these data already, nothing to do (--restart trains again)")
        return pair
    pair = Pair(*(replace(model, record={**model.record, "inputs": sources}) for model in pair))
    write_pair(folder, *pair)
    cli.log(f"{folder}: trained on these data already; the models now know what the lists' records say of them")
    return pair


def _difference(folder: Path, wanted: dict[str, Any]) -> str:
    """Say how models or checkpoints in a folder differ from a training with the record `wanted`; '' where none do.

    Models that are damaged or do not belong together are none.
    """
    pair = _pair(folder)
    how = _differences(pair.record, wanted) if pair else ""
    if pair and not how:
        return ""
    unfinished = list(filter(None, map(checkpoints.read_record, checkpoint_files(folder).values())))
    for found in unfinished:
        if different := _differences(found, wanted):
            return f"an unfinished training of other settings is here ({different})"
    # Beside a checkpoint of this very training stand models that it was told to replace, before it was killed.
    return f"finished models of other settings are here ({how})" if how and not unfinished else ""


def _pair(folder: Path) -> Pair | None:
    """Return the models of a folder; None where they are missing, damaged or mixed, so that nothing is lost."""
    try:
        return read_pair(*model_files(folder))
    except InputError:
        return None


_METHODS = {"gmm": "a mixture", "logistic": "a logistic regression"}


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Say how a training differs from the one asked for, as in "had 512 components, 64 are asked for"; '' where not.

    Parameters
    ----------
    found : dict
        The record of models or of a checkpoint; empty for models that were made elsewhere.
    wanted : dict
        That of the training that is asked for; what it does not hold is not compared.
    """
    if not found:
        return "were made elsewhere"
    told = []
    was, now = found.get("options") or {}, wanted["options"]
    before, after = (_METHODS[options.get("method", "gmm")] for options in (was, now))
    if before != after:
        told.append(f"was {before}, {after} is asked for")
    else:
        for name in (name for name in now if was.get(name) != now[name]):
            many = name == "n_components"
            had = f"{was.get(name)} components" if many else f"{name} {was.get(name)}"
            told.append(f"had {had}, {now[name]} {'are' if many else 'is'} asked for")
    if _changed("data_sha256", found, wanted):
        types = [_feature_types(record) for record in (found, wanted)]
        is_told = all(types) and types[0] != types[1]
        told.append(f"was trained on {types[0]}, not {types[1]}" if is_told else "was trained on other data")
    if _changed("columns", found, wanted):
        told.append(f"had the columns {', '.join(found.get('columns') or ['of no fusion'])}")
    if _changed("start_sha256", found, wanted):
        told.append("was continued from other models" if found.get("start_sha256") else "was not continued from others")
    if others := versions.differences(found.get("versions") or {}, wanted.get("versions") or versions.COMPARED):
        told.append(f"was made by another version of this suite: {', '.join(others)}")
    return "; ".join(told)


def _changed(name: str, found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return name in wanted and found.get(name) != wanted[name]


def _feature_types(record: dict[str, Any]) -> str:
    return "+".join(source["feature"]["type"] for source in record.get("inputs") or [] if source)
