"""Whether data are what a model was trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from countermeasure.cli import warn
from countermeasure.errors import InputError
from countermeasure.features.types import SILENCE
from countermeasure.gmm.models import Model
from countermeasure.lists import provenance
from countermeasure.lists.table import Table
from countermeasure.stages.inputs import Data

_TRAINED_BY = {
    "features": "gmm_train.py",
    "frame scores": "gmm_ensemble_train.py",
    "file scores": "gmm_filelevel_train.py",
}
# Nats a frame. Features of another scale are thousands off, those of another type by tens to hundreds.
_ABSURD = 1000


def warn_of_doubts(table: Table) -> None:
    """Tell of lists whose records are missing or not their own."""
    for doubt in table.doubts:
        warn(doubt)


def check_trainable(table: Table, kind: str) -> None:
    """Check that the lists' records, where they have some, are of what is to be trained on.

    Lists of another split than train are told of.

    Parameters
    ----------
    table : Table
    kind : {'features', 'frame scores', 'file scores'}
        Features of a base model, or what the columns of a fusion are; `silence` is a column of file
        scores as well.

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
        is_silence = record.kind == "features" and record.feature["type"] == SILENCE
        if is_silence and kind != "file scores":
            raise InputError(f"{path}: silence takes part in file-level fusion only, see gmm_filelevel_train.py")
        if record.kind != kind and not is_silence:
            raise InputError(f"{path}: holds {record.kind}, not {kind}; {_TRAINED_BY[record.kind]} trains on these")
        name, training = record.model.get("name"), record.model.get("training_id")
        if name and training and trained.setdefault(name, training) != training:
            raise InputError(f"{path}: of another training of {name} than the list before it; make both again")
        if record.split != "train":
            warn(f"{path}: a list of {record.split}; test the models on other trials")


def check_columns(model: Model, data: Data) -> None:
    """Check that a fusion's folder holds just the columns that its model was trained on.

    Raises
    ------
    InputError
        When a column is missing or too many.
    """
    columns, expected = data.columns, model.columns
    if columns is None or expected is None or columns == expected:
        return
    missing = [name for name in expected if name not in columns]
    extra = [name for name in columns if name not in expected]
    told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)} besides"] * bool(extra)
    raise InputError(
        f"{data.place}: {' and '.join(told)}; the model was trained on {', '.join(expected)}, "
        "and the folder must hold these lists and no other"
    )


def check_suits(model: Model, table: Table, model_path: str | os.PathLike[str]) -> None:
    """Check everything that model and data tell about themselves; what they do not tell is warned of once.

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
    untold = ""
    for path, described, trained in zip(table.paths, table.described, inputs, strict=False):
        found = provenance.source(described.record)
        if found and trained:
            if difference := _difference(found, trained, model_path):
                raise InputError(f"{path}: {difference}")
        elif found:
            untold = untold or (
                f"{model_path} does not say which features it was trained on; scores are right only if they are those "
                f"of {path} ({_called(found)}), normalised or not as these are"
            )
        elif trained:
            untold = untold or (
                f"{path} does not say what it holds; scores are right only if it is what {model_path} was trained on "
                f"({_called(trained)})"
            )
    if untold:
        warn(untold)


_DIFFERENCES = {
    "kind": "holds {0}, but the models of {2} were trained on {1}; give the lists of the same kind",
    "feature": "{0}, but the models {1}; give the models that were trained on these features",
    "sampling_rate": "from recordings at {0} Hz, but the models of {2} were trained on {1} Hz; resample the recordings",
    "model": "scores of other models than those the fusion of {2} was trained on, though of the same name; "
    "make the score lists, or the fusion, again",
}


def _difference(found: dict[str, Any], trained: dict[str, Any], model_path: str | os.PathLike[str]) -> str:
    """Say how a list differs from the one that models were trained on, and what to do; '' where it does not."""
    for name, said in _DIFFERENCES.items():
        if found[name] != trained[name]:
            sides = found[name], trained[name]
            return said.format(*(_features(*sides) if name == "feature" else sides), model_path)
    return ""


def _features(found: dict[str, Any], trained: dict[str, Any]) -> tuple[str, str]:
    """Say what two features are, as far as they differ."""
    if found["type"] != trained["type"]:
        return f"{found['type']} features", f"were trained on {trained['type']}"
    name = next(name for name in {**trained, **found} if found.get(name, ...) != trained.get(name, ...))
    return f"{found['type']} features with {name} {found.get(name)}", f"had {name} {trained.get(name)}"


def _called(source: dict[str, Any]) -> str:
    return f"{source['feature']['type']} features" if source["kind"] == "features" else source["kind"]


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
