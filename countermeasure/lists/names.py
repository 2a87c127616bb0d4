"""The names of lists: ``SPLIT-TYPE.pkl`` of features, ``NAME-{bon,sp}-SPLIT[-filelevel].pkl`` of scores."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from countermeasure.errors import InputError
from countermeasure.options import SPLITS

SUFFIX = ".pkl"
# Which of the two models gave the scores.
SIDES = ("bon", "sp")
_WHOLE_FILES = "-filelevel"
_SPLIT = re.compile(rf"(^|[-_.])({'|'.join(SPLITS)})(?=[-_.]|$)")
_SCORE_COLUMN = re.compile(rf"(?P<model>.+)-(?P<side>{'|'.join(SIDES)})(?P<whole>{_WHOLE_FILES})?")


def feature_list(split: str, ftype: str) -> str:
    """Return the file name of a list of features; ``'*'`` as an argument gives a glob pattern."""
    return f"{split}-{ftype}{SUFFIX}"


def score_list(model_name: str, side: str, split: str, whole_files: bool) -> str:
    """Return the file name of a list of scores; ``'*'`` as an argument gives a glob pattern."""
    return f"{model_name}-{side}-{split}{_WHOLE_FILES if whole_files else ''}{SUFFIX}"


def check_model_name(model_name: str) -> None:
    """Raise InputError if a fusion would not find lists of this model name."""
    if not model_name or model_name.startswith(".") or Path(model_name).name != model_name:
        raise InputError(
            f"--model_name {model_name!r}: names of lists begin with it; give a name that is not empty, does not "
            "begin with a dot and contains no folder"
        )
    column(model_name)  # raises for a name that is not Unicode


def column(file_name: str) -> str:
    """Return the name of a list's column in a fusion: its file name without split and suffix.

    ``lfcc-bon-train.pkl`` and ``lfcc-bon-eval.pkl`` are both ``lfcc-bon``.

    Raises
    ------
    InputError
        If the name is not Unicode; models and records could not hold it.
    """
    try:
        file_name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{file_name!r}: the name is not Unicode (UTF-8); choose another name") from None
    stem = file_name.removesuffix(SUFFIX)
    return _SPLIT.sub("", stem).lstrip("-_.") or stem


class ScoreColumn(NamedTuple):
    """A column of scores: the model's name, one of `SIDES`, and whether there is one score per file."""

    model: str
    side: str
    whole_files: bool

    @property
    def other(self) -> str:
        """Name of the same model's column of the other side."""
        side = SIDES[1 - SIDES.index(self.side)]
        return f"{self.model}-{side}{_WHOLE_FILES if self.whole_files else ''}"


def score_column(name: str) -> ScoreColumn | None:
    """Parse the name of a column; return None if it is not one of scores."""
    match = _SCORE_COLUMN.fullmatch(name)
    return ScoreColumn(match["model"], match["side"], bool(match["whole"])) if match else None
