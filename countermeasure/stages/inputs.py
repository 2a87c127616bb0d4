"""The lists that a stage reads: one list, or a folder of lists for a fusion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from countermeasure.cli import log
from countermeasure.errors import InputError
from countermeasure.features.types import SILENCE
from countermeasure.lists import fusion, names
from countermeasure.lists.provenance import Kind
from countermeasure.options import SPLITS

PathLike = str | os.PathLike[str]

_TWIN_FOLDERS = {"test": "eval", "eval": "test"}
_MOST_NAMED = 8  # lists, in a message


class Data(NamedTuple):
    """Lists to train on or to score: a list of features, or the lists of a fusion side by side.

    Attributes
    ----------
    place : Path
        The list, or the fusion's folder.
    paths : list of Path
    columns : list of str or None
        The lists' names in a fusion.
    kind : {'features', 'frame scores', 'file scores'}
        What the lists should hold.
    """

    place: Path
    paths: list[Path]
    columns: list[str] | None
    kind: Kind


def of_list(path: PathLike) -> Data:
    """Return a feature list by its name or, if it is missing, by its only twin; a message names the twin.

    The twins of ``TYPE.pkl`` are called ``SPLIT-TYPE.pkl`` and vice versa, and those of a folder ``eval`` may be in
    ``test`` and vice versa.

    Raises
    ------
    InputError
        If there is no list, or more than one twin.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is a {'folder' if path.is_dir() else 'pipe or a device'}; give a file")
    if not path.exists():
        twins = [twin for twin in _twins(path) if twin.is_file()]
        if not twins:
            raise InputError(f"{path}: no such file; make the list first, with gmm_data_processing.py")
        if len(twins) > 1:
            raise InputError(f"{path}: no such file; give one of {', '.join(map(str, twins))}")
        log(f"{path}: not there; taking {twins[0]}")
        path = twins[0]
    return Data(path, [path], None, "features")


def _twins(path: Path) -> Iterator[Path]:
    """Yield the other possible paths of a list."""
    folder = path.parent
    splits = (_split(folder),) if _split(folder) in SPLITS else SPLITS
    named = next((each for each in splits if path.name.startswith(f"{each}-")), None)
    ftype = path.name.removeprefix(f"{named}-") if named else path.name
    twin_names = [ftype, *(f"{each}-{ftype}" for each in ((named,) if named else splits))]
    folders = [folder, *([folder.with_name(_TWIN_FOLDERS[folder.name])] if folder.name in _TWIN_FOLDERS else [])]
    yield from (twin for place in folders for name in twin_names if (twin := place / name) != path)


def _split(folder: Path) -> str:
    return "eval" if folder.name == "test" else folder.name


def of_fusion(folder: PathLike, whole_files: bool) -> Data:
    """Return the lists of a folder in the order of a fusion's columns.

    Parameters
    ----------
    folder : path
    whole_files : bool
        Whether they should hold file scores instead of frame scores.

    Raises
    ------
    InputError
        As `fusion.columns`. If the folder is missing or empty, the message names lists that could be copied into
        it, and the command that makes them.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.glob("[!.]*.pkl")):
        found = fusion.columns(folder)
        kind: Kind = "file scores" if whole_files else "frame scores"
        return Data(folder, [column.path for column in found], [column.name for column in found], kind)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give the folder with the lists to fuse")
    if within := [str(folder / split) for split in SPLITS if (folder / split).is_dir()]:
        raise InputError(f"{folder}: no list (.pkl) in it; give one of {', '.join(within)}")
    split = _split(folder) if _split(folder) in SPLITS else "train"
    lists = _candidates(folder, split, whole_files)
    more = f" and {len(lists) - _MOST_NAMED} more" * (len(lists) > _MOST_NAMED)
    there = f", for example {', '.join(map(str, lists[:_MOST_NAMED]))}{more}" if lists else ""
    what = "no list (.pkl) in it" if folder.is_dir() else "no such folder"
    raise InputError(
        f"{folder}: {what}; copy or link the lists to fuse into it, with their .json{there}. "
        f"Such lists are made by: {_MAKING[whole_files].format(split)}"
    )


def _candidates(folder: Path, split: str, whole_files: bool) -> list[Path]:
    """Return the lists that could be copied into a folder ``experiment/[RUN/]NAME/SPLIT``."""
    work = next((parent.parent for parent in folder.parents if parent.name == "experiment"), Path())
    run = folder.parts[len(work.parts) + 1 : -2] if work != Path() or folder.parts[:1] == ("experiment",) else ()
    scores = names.score_list("*", "*", split, whole_files)
    silence = work / "data" / split / names.feature_list(split, SILENCE)
    found = sorted(work.joinpath("ensemble", *run).glob(f"*/{split}/{scores}"))
    return [*found, *[silence] * (whole_files and silence.is_file())]


_MAKING = {
    False: "python gmm_ensemble_preprocess.py --data_split {0} --data_path data/{0}/{0}-TYPE.pkl "
    "--model_path model/TYPE --model_name TYPE --output_path ensemble/TYPE",
    True: "python gmm_filelevel_preprocess.py --data_split {0} --data_dir experiment/NAME/{0} "
    "--model_path model/ensemble-NAME --model_name ensemble-NAME --output_path ensemble/ensemble-NAME",
}
