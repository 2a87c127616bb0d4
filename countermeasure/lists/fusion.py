"""Folders of score lists: the columns of a fusion."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from countermeasure.errors import InputError
from countermeasure.lists import names


class Column(NamedTuple):
    """One list of a fusion; `name` is its file name without the split and the suffix."""

    name: str
    path: Path


def columns(folder: Path) -> list[Column]:
    """Return the lists in a folder, ordered by the names of their columns.

    Raises
    ------
    InputError
        If two lists have the same column, or a name is not Unicode.
    """
    lists = sorted(Column(names.column(path.name), path) for path in folder.glob(f"[!.]*{names.SUFFIX}"))
    for one, other in itertools.pairwise(lists):
        if one.name == other.name:
            raise InputError(
                f"{other.path} and {one.path.name} are both the column {one.name!r}; keep the list of one split only"
            )
    return lists


def fill(folder: Path, paths: Sequence[Path]) -> Path | None:
    """Make a folder that holds links to some files and nothing else.

    Existing links are removed. A folder with anything else in it belongs to the user: it is renamed, and its new path
    returned.
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
