"""What a stage is given to read: one list by the names in use, or a folder of lists for a fusion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from countermeasure.cli import log
from countermeasure.errors import InputError
from countermeasure.features import types
from countermeasure.lists import fusion, names
from countermeasure.options import SPLITS

_TWIN_FOLDERS = {"test": "eval", "eval": "test"}
_MOST_NAMED = 8  # lists, in a message


def given_list(path: str | os.PathLike[str]) -> Path:
    """Return the path of a list by the name that was given or, where there is none, by its one twin.

    Lists go by the names ``TYPE.pkl`` and ``SPLIT-TYPE.pkl``, and those of eval are in a folder ``eval``
    or ``test``. A line says which twin is taken.

    Raises
    ------
    InputError
        When neither is there, or when there are several twins.
    """
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file")
    if path.exists():
        raise InputError(f"{path}: is a pipe or a device; give a file")
    twins = [twin for twin in _twins(path) if twin.is_file()]
    if not twins:
        raise InputError(f"{path}: no such file; make the list first, with gmm_data_processing.py")
    if len(twins) > 1:
        raise InputError(f"{path}: no such file; give one of {', '.join(map(str, twins))}")
    log(f"{path}: not there; taking {twins[0]}")
    return twins[0]


def _twins(path: Path) -> Iterator[Path]:
    """Yield the other paths that a list may have."""
    folder = path.parent
    split = "eval" if folder.name == "test" else folder.name
    splits = (split,) if split in SPLITS else SPLITS
    named = next((each for each in splits if path.name.startswith(f"{each}-")), None)
    ftype = path.name.removeprefix(f"{named}-") if named else path.name
    twin_names = [ftype, *(f"{each}-{ftype}" for each in ((named,) if named else splits))]
    folders = [folder, *([folder.with_name(_TWIN_FOLDERS[folder.name])] if folder.name in _TWIN_FOLDERS else [])]
    for place in (each / name for each in folders for name in twin_names):
        if place != path:
            yield place


def given_columns(data_dir: str | os.PathLike[str], whole_files: bool) -> list[fusion.Column]:
    """Return the lists of a folder in the order of a fusion's columns.

    Parameters
    ----------
    data_dir : path of a folder
    whole_files : bool
        Whether they should be lists of file scores; of frame scores else.

    Raises
    ------
    InputError
        As `fusion.columns`. When the folder is missing or empty, the message says which lists could be
        in it, and which command makes them.
    """
    folder = Path(data_dir)
    if folder.is_dir() and any(folder.glob("[!.]*.pkl")):
        return fusion.columns(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give the folder with the lists to fuse")
    lists = [str(path) for path in _candidates(folder, whole_files)]
    more = f" and {len(lists) - _MOST_NAMED} more" * (len(lists) > _MOST_NAMED)
    there = f": those there are {', '.join(lists[:_MOST_NAMED])}{more}" if lists else ""
    what = "no list (.pkl) in it" if folder.is_dir() else "no such folder"
    raise InputError(
        f"{folder}: {what}; copy or link the lists to fuse into it, with their .json{there}. "
        f"Such lists are made by: {_making(folder, whole_files)}"
    )


def _work(folder: Path) -> Path:
    """Return the folder ``ensemble/`` beside ``experiment/``, or a run's folder in it."""
    parts = folder.parts[:-2]
    last = max((i for i, part in enumerate(parts) if part == "experiment"), default=None)
    return Path("ensemble") if last is None else Path(*parts[:last], "ensemble", *parts[last + 1 :])


def _candidates(folder: Path, whole_files: bool) -> Iterator[Path]:
    """Yield the lists that could be in a folder ``experiment/NAME/SPLIT``."""
    split = _split(folder)
    ensemble = _work(folder)
    yield from sorted(ensemble.glob(f"*/{split}/{names.score_list('*', '*', split, whole_files)}"))
    if whole_files:
        silence = ensemble.parent / "data" / split / names.feature_list(split, "silence")
        if silence.is_file():
            yield silence


def _split(folder: Path) -> str:
    return "eval" if folder.name == "test" else folder.name if folder.name in SPLITS else "train"


def _making(folder: Path, whole_files: bool) -> str:
    """Return the command that makes the lists of a folder ``experiment/NAME/SPLIT``."""
    split, ensemble = _split(folder), _work(folder)
    model = ensemble.with_name("model") if ensemble.name == "ensemble" else Path("model")
    name = folder.parent.name
    if whole_files:
        name = name.removeprefix("filelevel-").removesuffix("+silence")
        return (
            f"python gmm_filelevel_preprocess.py --data_split {split} --data_dir "
            f"{folder.parent.with_name(name) / split} --model_path {model / f'ensemble-{name}'} "
            f"--model_name ensemble-{name} --output_path {ensemble / f'ensemble-{name}'}"
        )
    name = name.partition("+")[0]
    try:
        types.window(name)
    except InputError:  # a fusion by another name
        name = "TYPE"
    return (
        f"python gmm_ensemble_preprocess.py --data_split {split} "
        f"--data_path {model.with_name('data') / split / f'{split}-{name}.pkl'} --model_path {model / name} "
        f"--model_name {name} --output_path {ensemble / name}"
    )
