"""Whether data are what a model was trained on."""

from __future__ import annotations

import os

import numpy as np

from countermeasure.cli import warn
from countermeasure.errors import InputError
from countermeasure.features.types import SILENCE
from countermeasure.gmm.models import Model, Pair
from countermeasure.lists import provenance
from countermeasure.lists.provenance import Source
from countermeasure.lists.table import Table
from countermeasure.stages.inputs import Data

_TRAINED_BY = {
    "features": "gmm_train.py",
    "frame scores": "gmm_ensemble_train.py",
    "file scores": "gmm_filelevel_train.py",
}
# Nats per frame. Features of another scale are thousands off, those of another type tens to hundreds.
_ABSURD = 1000


def warn_of_doubts(table: Table) -> None:
    """Warn of lists without a record of their own."""
    for doubt in table.doubts:
        warn(doubt)


def check_trainable(table: Table, kind: str) -> None:
    """Check by their records that lists can be trained on; warn of lists of another split than train.

    Parameters
    ----------
    table : Table
    kind : {'features', 'frame scores', 'file scores'}
        What the lists should hold; with file scores, `silence` may be a column.

    Raises
    ------
    InputError
        If a list is of another kind, or if the lists of bona fide and spoof scores are of different trainings.
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
    """Check that a fusion's folder holds exactly the columns that its model was trained on.

    Raises
    ------
    InputError
        If a column is missing or unknown.
    """
    columns, expected = data.columns, model.record.columns
    if columns is None or expected is None or columns == expected:
        return
    missing = [name for name in expected if name not in columns]
    extra = [name for name in columns if name not in expected]
    told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also has {', '.join(extra)}"] * bool(extra)
    raise InputError(
        f"{data.place}: {' and '.join(told)}; the model was trained on {', '.join(expected)}, "
        "and the folder must hold these lists and no other"
    )


def check_suits(model: Model, table: Table, model_path: str | os.PathLike[str]) -> None:
    """Check that a model was trained on such data, as far as their records say; warn if one has no record.

    Parameters
    ----------
    model : Model
    table : Table
        The data.
    model_path : path
        Name of the model in messages.

    Raises
    ------
    InputError
        If dimensions, features, sampling rates or the models behind score lists differ.
    """
    if model.parameters.n_dims != table.n_columns:
        raise InputError(
            f"{model_path}: models over {model.parameters.n_dims} dimensions, but {', '.join(map(str, table.paths))} "
            f"of {table.n_columns}; give the models that were trained on these features"
        )
    inputs = model.record.inputs or [None] * len(table.paths)
    untold = []
    for path, described, trained in zip(table.paths, table.described, inputs, strict=False):
        found = provenance.source(described.record)
        if found and trained:
            _check_same(path, found, model_path, trained)
        elif known := found or trained:
            silent, telling = (model_path, path) if found else (path, model_path)
            what = f"{known.feature['type']} features" if known.kind == "features" else known.kind
            untold.append(
                f"{silent} has no record of its data; scores are right only if they are those of {telling} ({what}), "
                "with the same normalisation"
            )
    if untold:
        warn(untold[0])


def _check_same(path: os.PathLike[str], found: Source, model_path: str | os.PathLike[str], trained: Source) -> None:
    """Check that a list's record is like that of the list that models were trained on."""
    if found.kind != trained.kind:
        raise InputError(f"{path}: holds {found.kind}, but {model_path} was trained on {trained.kind}")
    now, then = found.feature, trained.feature
    if now != then:
        name = next(name for name in {**then, **now} if now.get(name) != then.get(name))
        raise InputError(
            f"{path}: features with {name} {now.get(name)}, but {model_path} was trained on {name} {then.get(name)}; "
            "give the models that were trained on these features"
        )
    if found.sampling_rate != trained.sampling_rate:
        raise InputError(
            f"{path}: from recordings at {found.sampling_rate} Hz, but {model_path} was trained on "
            f"{trained.sampling_rate} Hz; resample the recordings"
        )
    if found.model != trained.model:
        raise InputError(
            f"{path}: scores of other models than those that the fusion {model_path} was trained on, although their "
            "name is the same; make the score lists, or the fusion, again"
        )


def check_likelihoods(pair: Pair, offsets: np.ndarray, table: Table) -> None:
    """Check that data without records can be of the kind that the models were trained on.

    With records it has been checked, and models of a few files may be this far off on other files.

    Parameters
    ----------
    pair : Pair
    offsets : array [n_items]
        Each item's mean log-likelihood per frame under its better fitting model, minus that of the training data,
        in nats.
    table : Table
        The data.

    Raises
    ------
    InputError
        If half of the items are absurdly far below.
    """
    is_known = all(pair.record.inputs or [None]) and all(described.record for described in table.described)
    # The two Gaussians of a logistic regression only express its weights and do not model the data.
    is_logistic = pair.record.is_logistic
    if is_known or is_logistic or not offsets.size:
        return
    middle = float(np.median(offsets))
    if middle < -_ABSURD:
        raise InputError(
            f"{', '.join(map(str, table.paths))}: a typical log-likelihood is {-middle:,.0f} nats per frame below that "
            "of the models' own training data: the list holds other features, for instance of another library, or "
            "normalised ones (-cmvn) for models of plain ones; make the list as the models' was made"
        )
