"""CM protocols: one trial a line in the forms of `lines`, or a CSV whose header names ``file``.

Further columns of a CSV are ``label`` (unless the set is blind), ``speaker`` and ``attack``; others are ignored.
"""

from __future__ import annotations

import csv
import difflib
import os
import re
from collections.abc import Sequence
from itertools import repeat
from urllib.parse import quote

from countermeasure.errors import InputError
from countermeasure.options import PROTOCOL_FORMATS
from countermeasure.trials.lines import (
    BONAFIDE,
    CSV,
    EXPECTED,
    SPOOF,
    V2019,
    Trial,
    check_ids,
    check_subsets,
    find_form,
    no_column,
    no_label,
    parse,
    written,
)
from countermeasure.trials.text import Text

_COLUMNS = ("file", "label", "speaker", "attack")
_ALIKE = 0.75  # share of letters, as difflib counts them, that misspelt words have in common with the right ones
# In-the-Wild writes it with a hyphen. Words like "real" or "fake" are not guessed at.
_CSV_LABELS = {"": None, "-": None, BONAFIDE: BONAFIDE, "bona-fide": BONAFIDE, SPOOF: SPOOF}


class Protocol(list[Trial]):
    """The trials of a file, in its order, and `note`: a message for the user, or None."""

    note: str | None = None

    @property
    def is_blind(self) -> bool:
        """Whether no trial has a label."""
        return self[0].label is None


def read_protocol(
    path: str | os.PathLike[str],
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
    others: Sequence[str] = (),
) -> Protocol:
    """Read a CM protocol.

    Parameters
    ----------
    path : path
    protocol_format : {'asvspoof2019', 'asvspoof2021', 'asvspoof5', 'csv'} or None
        None: recognised from the lines.
    protocol_subset : sequence of str or None
        Read only the trials of these subsets.
    others : sequence of str
        Names of columns to read into `Trial.others`, ``codec`` for instance, or any in a CSV's header.

    Raises
    ------
    InputError
        When the file is missing, empty or not text, lacks a column, or repeats an utterance; when its lines have an
        unknown form or several forms, or when only some of them have a label.
    """
    if protocol_format not in (None, *PROTOCOL_FORMATS):
        raise InputError(f"no protocol format {protocol_format!r}; give one of {' '.join(PROTOCOL_FORMATS)}")
    text = Text(path, EXPECTED[protocol_format or V2019])
    header = _take_header(text, protocol_format == CSV) if protocol_format in (None, CSV) else None
    found = _csv_trials(text, *header, others) if header else _trials(text, protocol_format, others)
    protocol = Protocol(trial for trial in found if not protocol_subset or trial.subset in protocol_subset)
    protocol.note = check_subsets(path, (trial.subset for trial in found), protocol_subset)
    return protocol


def _trials(text: Text, protocol_format: str | None, others: Sequence[str]) -> list[Trial]:
    form = find_form(text, protocol_format)
    utterances, labels, attacks, speakers, subsets, further = parse(text, form, others)
    lines = map(str.strip, text.rows)
    if form.fields[2:] == ("label",):  # three fields; before a score they would be UTTERANCE ATTACK LABEL
        lines = map(written, speakers, utterances, attacks, labels)
    return list(map(Trial, lines, utterances, labels, attacks, speakers, repeat(None), subsets, further))


# -- CSV -----------------------------------------------------------------------------------------------


def _take_header(text: Text, is_csv: bool) -> tuple[str, list[str]] | None:
    """Remove a CSV's header from the lines; return its separator and columns, or None if the file is no CSV."""
    first = text.rows[0][: csv.field_size_limit()]
    for separator in ",;\t":
        columns = [name.strip().lower() for name in next(csv.reader([first], delimiter=separator))]
        # No other protocol has a comma or a semicolon in each line.
        separates = separator != "\t" and all(separator in row for row in text.rows)
        if "file" not in columns and (len(columns) == 1 or not ("label" in columns or separates)):
            continue
        if typo := _misspelt(columns):
            raise text.error(0, typo)
        for name in _COLUMNS:
            if columns.count(name) > 1:
                raise text.error(0, f"two columns {name}; a CSV has each once")
        if "file" in columns:
            text.expected = EXPECTED[CSV]
            text.take_heading()
            return separator, columns
        is_csv = True
    if is_csv:
        raise text.error(
            0,
            "no column file; the header of a CSV names it, and label, speaker and attack where they are known, "
            "separated by commas",
        )
    return None


def _misspelt(columns: list[str]) -> str | None:
    """Return a message if a column looks like a misspelt name of a missing one."""
    for name in columns:
        missing = [known for known in _COLUMNS if known not in columns and abs(len(known) - len(name)) < 2]
        if name not in _COLUMNS and (meant := difflib.get_close_matches(name, missing, 1, _ALIKE)):
            return f"unknown column {name!r}; did you mean {meant[0]!r}?"
    return None


def _csv_trials(text: Text, separator: str, columns: list[str], others: Sequence[str]) -> list[Trial]:
    for name in others:
        if name not in columns:
            raise no_column(text.path, name, columns)
    trials = []
    for row, line in enumerate(text.rows):
        try:
            fields = next(csv.reader([line], delimiter=separator, strict=True))
        except csv.Error as error:
            raise text.error(row, str(error)) from None
        if len(fields) != len(columns):
            raise text.error(row, f"{len(fields)} fields, where the header names {len(columns)}")
        cells = {name: field.strip() for name, field in zip(columns, fields, strict=True)}
        if not cells["file"]:
            raise text.error(row, "no file")
        if cells.get("label", "") not in _CSV_LABELS:
            raise text.error(row, f"label {cells['label']!r}; expected 'bonafide' or 'spoof'")
        label = _CSV_LABELS[cells.get("label", "")]
        utterance, speaker = _word(cells["file"]) or "-", _word(cells.get("speaker"))
        attack = _word(cells.get("attack")) if label == SPOOF else None
        values = tuple(_word(cells[name]) or "-" for name in others)
        line = written(speaker, utterance, attack, label)
        trials.append(Trial(line, utterance, label, attack, speaker, cells["file"], None, values))
    unlabelled = [row for row, trial in enumerate(trials) if trial.label is None]
    if 0 < len(unlabelled) < len(trials):
        raise no_label(text, unlabelled[0], "in the column label")
    check_ids(text, [trial.utterance for trial in trials])
    return trials


def _word(text: str | None) -> str | None:
    """Return text as one word, with blanks and % percent-encoded; None for no text."""
    return re.sub(r"[\s%]", lambda found: quote(found[0]), text) if text and text != "-" else None
