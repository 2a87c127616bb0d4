"""Whether data are what a model was trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from countermeasure.cli import warn
from countermeasure.errors import InputError
from countermeasure.gmm.models import Model
from countermeasure.lists import provenance
from countermeasure.lists.table import Table


def check_columns(model: Model, columns: Sequence[str], data_dir: str | os.PathLike[str]) -> None:
    """Check that a folder holds just the columns that a fusion model was trained on.

    Raises
    ------
    InputError
        When a column is missing or too many.
    """
    expected = model.columns
    if expected is None or list(columns) == expected:
        return
    missing = [name for name in expected if name not in columns]
    extra = [name for name in columns if name not in expected]
    told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)} besides"] * bool(extra)
    raise InputError(
        f"{data_dir}: {' and '.join(told)}; the model was trained on {', '.join(expected)}, "
        "and the folder must hold these lists and no other"
    )


_TRAINED_BY = {
    "features": "gmm_train.py",
    "frame scores": "gmm_ensemble_train.py",
    "file scores": "gmm_filelevel_train.py",
}


def warn_of_doubts(table: Table) -> None:
    """Tell of lists whose records are missing or not their own."""
    for doubt in table.doubts:
        warn(doubt)


def check_trainable(table: Table, kind: str) -> None:
    """Check that the lists' records, where they have some, are of what is to be trained on.

    Parameters
    ----------
    table : Table
    kind : {'features', 'frame scores', 'file scores'}
        Features of a base model, or what the columns of a fusion are; `silence` is a column of file
        scores as well. Lists of another split than train are told of.

    Raises
    ------
    InputError
        When a list is of another kind, or when a score list's two halves are of two trainings.
    """
    trained: dict[str, str] = {}
    for path, described in zip(table.paths, table.described, strict=True):
        record = described.record
        if record is None:
            continue
        is_silence = record.feature.get("type") == "silence" and record.kind == "features"
        if (record.kind != kind or is_silence) and not (is_silence and kind == "file scores"):
            if is_silence:
                raise InputError(f"{path}: silence takes part in file-level fusion only, see gmm_filelevel_train.py")
            script = _TRAINED_BY.get(record.kind, "another script")
            raise InputError(f"{path}: holds {record.kind}, not {kind}; {script} trains on these")
        name, training = record.model.get("name"), record.model.get("training_id")
        if name and training and trained.setdefault(name, training) != training:
            raise InputError(f"{path}: of another training of {name} than the list before it; make both again")
        if record.split != "train":
            warn(f"{path}: a list of {record.split}; test the models on other trials")


def check_suits(model: Model, table: Table, model_path: str | os.PathLike[str]) -> None:
    """Check everything that model and data tell about themselves; what they do not tell passes.

    Parameters
    ----------
    model : Model
    table : Table
        The data.
    model_path : path
        What the model is called in messages.

    Raises
    ------
    InputError
        When dimensions, features, sampling rates or the models behind score lists differ.
    """
    if model.parameters.n_dims != table.n_columns:
        data = table.paths[0] if len(table.paths) == 1 else table.paths[0].parent
        raise InputError(
            f"{model_path}: models over {model.parameters.n_dims} dimensions, but {data} has {table.n_columns}; "
            "give the models that were trained on these features"
        )
    inputs = model.record.get("inputs") or [None] * len(table.paths)
    is_told = False
    for path, described, trained in zip(table.paths, table.described, inputs, strict=False):
        found = provenance.source(described.record)
        if found is None or trained is None:
            if found is not trained and not is_told:
                warn(_untold(path, found, trained, model_path))
                is_told = True
            continue
        if found["kind"] != trained.get("kind", found["kind"]):
            raise InputError(
                f"{path}: holds {found['kind']}, but the models of {model_path} were trained on {trained['kind']}; "
                "give the lists of the same kind"
            )
        if found["feature"] != trained["feature"]:
            raise InputError(
                f"{path}: {_feature(found['feature'], trained['feature'])}; "
                "give the models that were trained on these features"
            )
        if found["sampling_rate"] != trained["sampling_rate"]:
            raise InputError(
                f"{path}: from recordings at {found['sampling_rate']} Hz, but the models of {model_path} were trained "
                f"on {trained['sampling_rate']} Hz; resample the recordings"
            )
        if found["model"] != trained["model"]:
            raise InputError(
                f"{path}: scores of other models than those the fusion of {model_path} was trained on, though of the "
                "same name; make the score lists, or the fusion, again"
            )


def _untold(path: Path, found: dict | None, trained: dict | None, model_path: str | os.PathLike[str]) -> str:
    if trained is None and found is not None:
        return (
            f"{model_path} does not say which features it was trained on; scores are right only if they are those of "
            f"{path} ({_called(found)}), normalised or not as these are"
        )
    return (
        f"{path} does not say what it holds; scores are right only if it is what {model_path} was trained on "
        f"({_called(trained or {})})"
    )


def _called(source: dict) -> str:
    kind = str(source.get("kind"))
    return f"{source['feature'].get('type')} {kind}" if kind == "features" else kind


# Nats a frame. Features of another scale are thousands off, those of another type by tens to hundreds.
_ABSURD = 1000


def check_likelihoods(pair: Sequence[Model], offsets: np.ndarray, table: Table) -> None:
    """Check that scored data can be of the kind that the models were trained on, where their records do not tell.

    Where they do, it has been checked: then models of a few files may be this far off on other files.

    Parameters
    ----------
    pair : the two models
    offsets : array [n_items]
        By how much each item's mean log-likelihood a frame, under the model that it suits better, is
        above that of the model's training, in nats.
    table : Table
        The data.

    Raises
    ------
    InputError
        When half of the items are absurdly far below; says why that may be.
    """
    inputs = pair[0].record.get("inputs") or [None]
    is_known = all(inputs) and all(described.record for described in table.described)
    # A logistic regression's two Gaussians are a way of writing its weights, and no model of the data.
    is_logistic = pair[0].record.get("options", {}).get("method") == "logistic"
    if is_known or is_logistic or not offsets.size:
        return
    middle = float(np.median(offsets))
    if middle < -_ABSURD:
        raise InputError(
            f"{', '.join(map(str, table.paths))}: a typical log-likelihood is {-middle:,.0f} nats a frame below that "
            "of the models' own training data: these are no features of that kind. Features of another library, or "
            "normalised ones (-cmvn) for models of plain ones, come out so; make the list as the models' was made"
        )


def _feature(found: dict, trained: dict) -> str:
    if found.get("type") != trained.get("type"):
        return f"{found.get('type')} features, but the models were trained on {trained.get('type')}"
    name = next(name for name in {**trained, **found} if found.get(name, ...) != trained.get(name, ...))
    return f"{found.get('type')} features with {name} {found.get(name)}, but the models' had {trained.get(name)}"
