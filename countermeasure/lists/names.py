"""The names of lists: ``SPLIT-TYPE.pkl`` of features, ``NAME-{bon,sp}-SPLIT[-filelevel].pkl`` of scores."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from countermeasure.errors import InputError
from countermeasure.options import SPLITS

SUFFIX = ".pkl"
# Under the bona fide and under the spoof model.
SIDES = ("bon", "sp")
_WHOLE_FILES = "-filelevel"
_SPLIT = re.compile(rf"(^|[-_.])({'|'.join(SPLITS)})(?=[-_.]|$)")
_SCORE_COLUMN = re.compile(rf"(?P<model>.+)-(?P<side>{'|'.join(SIDES)})(?P<whole>{_WHOLE_FILES})?")


def feature_list(split: str, ftype: str) -> str:
    """Return the file name of a list of features; ``'*'`` in place of a part gives a pattern."""
    return f"{split}-{ftype}{SUFFIX}"


def score_list(model_name: str, side: str, split: str, whole_files: bool = False) -> str:
    """Return the file name of a list of scores; ``'*'`` in place of a part gives a pattern."""
    return f"{model_name}-{side}-{split}{_WHOLE_FILES if whole_files else ''}{SUFFIX}"


def check_model_name(model_name: str) -> None:
    """Check that a fusion would find lists whose names begin so.

    Raises
    ------
    InputError
        When the name is empty, hidden or a path, or no Unicode.
    """
    if not model_name or model_name.startswith(".") or Path(model_name).name != model_name:
        raise InputError(
            f"--model_name {model_name!r}: the lists' names begin with it; give a name that is not empty, does not "
            "begin with a dot and has no folder in it"
        )
    _check_unicode(model_name, f"--model_name {model_name!r}")


def column(file_name: str) -> str:
    """Return the name of a list's column in a fusion: its own with the split's name taken out.

    ``lfcc-bon-train.pkl`` and ``lfcc-bon-eval.pkl`` are both ``lfcc-bon``.

    Raises
    ------
    InputError
        When the name is no Unicode; models and records could not hold it.
    """
    _check_unicode(file_name, repr(file_name))
    stem = file_name.removesuffix(SUFFIX)
    return _SPLIT.sub("", stem).lstrip("-_.") or stem


class ScoreColumn(NamedTuple):
    """A column of scores: name of the model, which of `SIDES`, and whether the scores are of whole files."""

    model: str
    side: str
    whole_files: bool

    @property
    def other(self) -> str:
        """Name of the column of the same model's other side."""
        side = SIDES[1 - SIDES.index(self.side)]
        return f"{self.model}-{side}{_WHOLE_FILES if self.whole_files else ''}"


def score_column(name: str) -> ScoreColumn | None:
    """Return what a column's name says; None for one that is not of scores."""
    found = _SCORE_COLUMN.fullmatch(name)
    return ScoreColumn(found["model"], found["side"], bool(found["whole"])) if found else None


def _check_unicode(name: str, called: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{called}: is no Unicode (UTF-8); choose another name") from None
