"""Folders of score lists: which column of a fusion is which."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from countermeasure.errors import InputError
from countermeasure.lists.pickles import read_list
from countermeasure.options import SPLITS


class Column(NamedTuple):
    """One list of a fusion; `name` is its file name without the split and the suffix."""

    name: str
    path: Path


def column_name(file_name: str) -> str:
    """Return a score list's name with the split's name taken out.

    ``lfcc-bon-train.pkl`` and ``lfcc-bon-eval.pkl`` are both ``lfcc-bon``.
    """
    stem = file_name.removesuffix(".pkl")
    return re.sub(rf"(^|[-_.])({'|'.join(SPLITS)})(?=[-_.]|$)", "", stem).lstrip("-_.") or stem


def columns(data_dir: str | os.PathLike[str]) -> list[Column]:
    """Return the lists of a folder, ordered by name.

    Raises
    ------
    InputError
        When there is no such folder, when no list is in it, or when two lists are of one column.
    """
    folder = Path(data_dir)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; fill it with the score lists to fuse")
    found = sorted(Column(column_name(path.name), path) for path in folder.glob("[!.]*.pkl"))
    if not found:
        raise InputError(f"{folder}: no .pkl in it; copy or link the score lists to fuse into it")
    for one, other in itertools.pairwise(found):
        if one.name == other.name:
            raise InputError(
                f"{other.path} and {one.path.name} are both the column {one.name!r}; keep the list of one split only"
            )
    return found


def names_of_dimensions(found: Sequence[Column]) -> list[str]:
    """Return the name of the column that each dimension of the stacked lists belongs to."""
    names = []
    for name, path in found:
        first = next((array for array, _ in read_list(path) if array is not None), np.zeros(1))
        names += [name] * (first.shape[1] if first.ndim > 1 else 1)
    return names
