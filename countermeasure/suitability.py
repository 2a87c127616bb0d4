"""Whether data are what a model was trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence

from countermeasure import provenance
from countermeasure.errors import InputError
from countermeasure.frames import Table
from countermeasure.models import Model


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
    told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)} too many"] * bool(extra)
    raise InputError(
        f"{data_dir}: {' and '.join(told)}; the model was trained on {', '.join(expected)}, "
        "and the folder must hold these lists and no other"
    )


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
    for path, described, trained in zip(table.paths, table.described, model.record.get("inputs") or [], strict=False):
        found = provenance.source(described.record)
        if found is None or trained is None:
            continue
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


def _feature(found: dict, trained: dict) -> str:
    if found.get("type") != trained.get("type"):
        return f"{found.get('type')} features, but the models were trained on {trained.get('type')}"
    name = next(name for name in {**trained, **found} if found.get(name) != trained.get(name))
    return f"{found.get('type')} features with {name} {found.get(name)}, but the models' had {trained.get(name)}"
