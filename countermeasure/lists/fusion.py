"""Folders of score lists: which column of a fusion is which."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from countermeasure.errors import InputError
from countermeasure.lists import names
from countermeasure.lists.pickles import read_list


class Column(NamedTuple):
    """One list of a fusion; `name` is its file name without the split and the suffix."""

    name: str
    path: Path


def columns(data_dir: str | os.PathLike[str]) -> list[Column]:
    """Return the lists of a folder, ordered by name.

    Raises
    ------
    InputError
        When there is no such folder, when no list is in it, when two lists are of one column, or when a name
        is no Unicode.
    """
    folder = Path(data_dir)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; fill it with the score lists to fuse")
    found = sorted(Column(names.column(path.name), path) for path in folder.glob(f"[!.]*{names.SUFFIX}"))
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
    dimensions = []
    for name, path in found:
        first = next((array for array, _ in read_list(path) if array is not None), np.zeros(1))
        dimensions += [name] * (first.shape[1] if first.ndim > 1 else 1)
    return dimensions


def fill(folder: Path, paths: Sequence[Path]) -> Path | None:
    """Make a folder hold links to files and nothing else.

    Links that are there go. If the folder holds anything else, that is somebody's own: the whole folder is put aside.

    Returns
    -------
    Path or None
        Where the folder was put that held anything else.
    """
    aside = None
    own = folder.is_file() or (folder.is_dir() and any(not path.is_symlink() for path in folder.iterdir()))
    if own and not folder.is_symlink():
        aside = next(
            path for n in itertools.count(1) if not (path := folder.with_name(f"{folder.name}.own-{n}")).exists()
        )
        folder.rename(aside)
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for path in paths:
        (folder / path.name).symlink_to(path.resolve())
    return aside
