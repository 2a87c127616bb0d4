"""CM protocols: one trial a line in the forms of `lines`, or a CSV whose header names ``file``.

The CSV's other columns are ``label`` (unless the set is blind), ``speaker`` and ``attack``; any more are left alone.
"""

from __future__ import annotations

import csv
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from countermeasure.errors import InputError
from countermeasure.options import PROTOCOL_FORMATS
from countermeasure.trials.lines import (
    BONAFIDE,
    CSV,
    LABELS,
    SPOOF,
    V5,
    V2019,
    V2021,
    Form,
    Text,
    Trial,
    check_ids,
    chosen,
    find_form,
    no_label,
    parse_trial,
    written,
)

__all__ = ["BONAFIDE", "LABELS", "SPOOF", "Protocol", "Trial", "parse_trial", "read_protocol"]

_EXPECTED = {
    V2019: "expected lines like 'LA_0039 LA_E_2834763 - A11 spoof'",
    V2021: "expected lines like 'LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval'",
    V5: "expected lines like 'T_4850 T_0000000000 F - - - AC3 A05 spoof -'",
    CSV: "expected a header like 'file,label' and lines like 'recording.wav,spoof'",
}
_CSV_COLUMNS = ("file", "label", "speaker", "attack")
_LONGEST_HEADER = 10_000  # characters
_ALIKE = 0.75  # share of letters, as difflib counts them, that misspelt words have in common with the right ones
# In-the-Wild writes it with a hyphen. Words like "real" or "fake" stay with those who know what they mean by them.
_CSV_LABELS = {"": None, "-": None, BONAFIDE: BONAFIDE, "bona-fide": BONAFIDE, SPOOF: SPOOF}


class Protocol(list[Trial]):
    """The trials of a file, in its order.

    Attributes
    ----------
    form : Form
        Of the lines; its `label` is None where the protocol is blind.
    note : str or None
        What the caller should be told, see `lines.chosen`.
    """

    def __init__(self, trials: Iterable[Trial], form: Form, note: str | None = None):
        super().__init__(trials)
        self.form, self.note = form, note

    def place(self, utterance: str) -> int | None:
        """Return the place of an utterance's trial, None where there is none."""
        if not hasattr(self, "_places"):
            self._places = {trial.utterance: place for place, trial in enumerate(self)}
        return self._places.get(utterance)


def read_protocol(
    path: str | os.PathLike[str], protocol_format: str | None = None, protocol_subset: Sequence[str] | None = None
) -> Protocol:
    """Read a CM protocol.

    Parameters
    ----------
    path : path
    protocol_format : {'asvspoof2019', 'asvspoof2021', 'asvspoof5', 'csv'} or None
        None: recognised by all of the lines.
    protocol_subset : sequence of str or None
        Take the trials of these subsets only, of a format that has such.

    Raises
    ------
    InputError
        When there is no such file, when it is no text or empty, when its lines are not all of one form or
        their form is none of those known, when an utterance occurs twice, or when some lines have a label
        and some do not. (None with a label: a blind protocol.)
    """
    if protocol_format not in (None, *PROTOCOL_FORMATS):
        raise InputError(f"no protocol format {protocol_format!r}; give one of {' '.join(PROTOCOL_FORMATS)}")
    text = Text(path, _EXPECTED[protocol_format or V2019])
    header = _csv_header(text, protocol_format == CSV) if protocol_format in (None, CSV) else None
    if header:
        text.expected = _EXPECTED[CSV]
        trials = list(check_ids(text, _csv_trials(text, *header)))
        form = Form(CSV, 1, 4 if trials[0].label else None, 3, 0)
    else:
        form = find_form(text, protocol_format)
        trials = list(check_ids(text, ((number, form.trial(line, fields)) for number, line, fields in text.rows())))
    note = chosen(path, (trial.subset for trial in trials), protocol_subset)
    if protocol_subset:
        trials = [trial for trial in trials if trial.subset in protocol_subset]
    return Protocol(trials, form, note)


# -- CSV -----------------------------------------------------------------------------------------------


def _csv_header(text: Text, is_told: bool) -> tuple[int, str, dict[str, int], int] | None:
    """Return the header's line number, separator, places of the known columns and number of columns.

    None where the file is no CSV.
    """
    number, _ = text.first_row()
    line = text.lines[number - 1]
    for separator in ",;\t":
        columns = [name.strip().lower() for name in next(csv.reader([line[:_LONGEST_HEADER]], delimiter=separator), [])]
        is_table = len(columns) > 1 and ("label" in columns or (separator != "\t" and _has(text, number, separator)))
        if not (is_table or "file" in columns):
            continue
        if typo := _misspelt(columns):
            raise text.error(number, typo)
        for name in _CSV_COLUMNS:
            if columns.count(name) > 1:
                raise text.error(number, f"two columns {name}; a CSV has each once")
        if "file" in columns:
            places = {name: columns.index(name) for name in _CSV_COLUMNS if name in columns}
            return number, separator, places, len(columns)
        is_told = True
    if is_told:
        raise text.error(
            number,
            "no column file; the header of a CSV names it, and label, speaker and attack where they are known, "
            "separated by commas",
        )
    return None


def _has(text: Text, number: int, separator: str) -> bool:
    """Tell whether the lines from one on have a separator that no other protocol has in every line."""
    return all(separator in line for line in text.lines[number - 1 :] if line.strip())


def _misspelt(columns: list[str]) -> str | None:
    """Return what is said of a column that looks like a known one that is missing; any other is left alone."""
    for name in columns:
        missing = [known for known in _CSV_COLUMNS if known not in columns and abs(len(known) - len(name)) < 2]
        if name not in _CSV_COLUMNS and (meant := difflib.get_close_matches(name, missing, 1, _ALIKE)):
            return f"unknown column {name!r}; did you mean {meant[0]!r}?"
    return None


def _csv_trials(
    text: Text, header: int, separator: str, places: dict[str, int], n_columns: int
) -> Iterator[tuple[int, Trial]]:
    """Yield a CSV's trials with the numbers of their lines."""
    first: dict[bool, int] = {}  # line with a label, and without one
    for number, line in enumerate(text.lines[header:], header + 1):
        if not line.strip():
            continue
        try:
            row = next(csv.reader([line], delimiter=separator, strict=True))
        except csv.Error as error:
            raise text.error(number, str(error)) from None
        if len(row) != n_columns:
            raise text.error(number, f"{len(row)} fields, where the header names {n_columns}")
        found = {name: row[place].strip() for name, place in places.items()}
        if not found["file"]:
            raise text.error(number, "no file")
        word = found.get("label", "")
        if word not in _CSV_LABELS:
            raise text.error(number, f"label {word!r}; expected 'bonafide' or 'spoof'")
        label = _CSV_LABELS[word]
        first.setdefault(label is not None, number)
        if len(first) > 1:
            raise text.error(first[False], no_label(text, "in the column label"))
        speaker, attack = _word(found.get("speaker")), _word(found.get("attack")) if label == SPOOF else None
        utterance = _word(found["file"]) or "-"
        yield (
            number,
            Trial(written(speaker, utterance, attack, label), utterance, label, attack, speaker, found["file"]),
        )
    if not first:
        raise InputError(f"{text.path}: no trial in it; {text.expected}")


def _word(text: str | None) -> str | None:
    """Return text as one word: blanks and % as in addresses; None for none."""
    return re.sub(r"[\s%]", lambda found: quote(found[0]), text) if text and text != "-" else None
