"""CM protocols: one trial a line, in the forms of several corpora.

========================  ==============================================================  =========
corpus                    a line                                                          format
========================  ==============================================================  =========
ASVspoof 2019 LA          ``LA_0039 LA_E_2834763 - A11 spoof``                            asvspoof2019
ASVspoof 2019 PA          ``PA_0079 PA_T_0005401 aaa AA spoof``                           asvspoof2019
ASVspoof 2021 LA          ``LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval``      asvspoof2021
ASVspoof 2021 DF          ``LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim        asvspoof2021
                          progress traditional_vocoder - - - -``
ASVspoof 2021 PA          ``PA_0010 PA_E_1000001 R3 M3 d4 r1 m1 s4 c4 spoof notrim eval`` asvspoof2021
ASVspoof 5                ``T_4850 T_0000000000 F - - - AC3 A05 spoof -``                 asvspoof5
any other                 CSV whose header names ``file``, and ``label`` unless blind     csv
========================  ==============================================================  =========

A file is of one format from its first line to its last. Sources: README files of the ASVspoof 2019 and
ASVspoof 5 databases; README of the evaluation package of ASVspoof 2021.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os
import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, compress, islice
from sys import intern  # of what many lines share
from typing import NamedTuple, overload
from urllib.parse import quote, unquote

import numpy as np

from countermeasure.cli import log
from countermeasure.errors import InputError
from countermeasure.files import scratch_file
from countermeasure.options import PROTOCOL_FORMATS

BONAFIDE = "bonafide"
SPOOF = "spoof"
LABELS = (BONAFIDE, SPOOF)
_LONGEST_LINE = 10_000  # of a trial; a CSV may have more in columns that are not read
_LONGEST_GATHERED = 1 << 20
_LONGEST_ID = 255  # bytes, as of a file's name; score files of longer ones could not be read back
_QUOTED = 200
_BLOCK = 1 << 16  # bytes whose lines are split at once; their objects stay in the cache
_AT_ONCE = 1 << 19  # utterances that are compared with each other at once

_V2019, _V2021, _V5, _CSV = PROTOCOL_FORMATS
_EXPECTED = {
    _V2019: "expected lines like 'LA_0039 LA_E_2834763 - A11 spoof'",
    _V2021: "expected lines like 'LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval'",
    _V5: "expected lines like 'T_4850 T_0000000000 F - - - AC3 A05 spoof -'",
    _CSV: "expected a header like 'file,label' and lines like 'recording.wav,spoof'",
}
_CSV_COLUMNS = ("file", "label", "speaker", "attack")
_ALIKE = 0.75  # share of letters, as difflib counts them, that misspelt words have in common with the right ones
# In-the-Wild writes it with a hyphen. Words like "real" or "fake" stay with those who know what they mean by them.
_CSV_LABELS = {"": None, "-": None, BONAFIDE: BONAFIDE, "bona-fide": BONAFIDE, SPOOF: SPOOF}


class Trial(NamedTuple):
    """One line of a protocol.

    Attributes
    ----------
    line : str
        The line as it stands in the file, without blanks at its ends; that of a CSV as
        ``SPEAKER FILE - ATTACK LABEL``, or ``SPEAKER FILE`` without a label.
    utterance : str
        One word: in a file name out of a CSV, blanks and % are written as in addresses (``%20``).
    label : {'bonafide', 'spoof'} or None
        None in a blind protocol.
    attack : str or None
        The spoofing attack, e.g. ``'A07'``; None for bona fide speech and where the line names none.
    speaker : str or None
        None where the line names no speaker.
    file : str or None
        The recording's path in the audio folder, where it is not the utterance.
    subset : str or None
        Part of an evaluation set, e.g. ``'progress'``, where the format has such.
    """

    line: str
    utterance: str
    label: str | None
    attack: str | None
    speaker: str | None
    file: str | None = None
    subset: str | None = None


class Form(NamedTuple):
    """Which field of a line is what, counted from 0; None for what it has not."""

    format: str
    utterance: int
    label: int | None
    attack: int | None
    speaker: int | None
    subset: int | None = None


def labelled_forms(n_fields: int, protocol_format: str | None = None) -> list[Form]:
    """Return the forms that lines of so many fields may have, of one format or of all."""
    forms = []
    if n_fields > 2:
        forms.append(Form(_V2019, 1, n_fields - 1, n_fields - 2 if n_fields > 3 else None, 0))
        forms.append(forms[0]._replace(format=_CSV))
    if n_fields in (8, 13):
        forms.append(Form(_V2021, 1, 5, 4, 0, 7))
    if n_fields == 12:
        forms.append(Form(_V2021, 1, 9, None, 0, 11))
    if n_fields == 10:
        forms.append(Form(_V5, 1, 8, 7, 0))
    # A CSV is known by its header, not by its lines.
    wanted = (protocol_format,) if protocol_format else (_V2019, _V2021, _V5)
    return [form for form in forms if form.format in wanted]


def _blind_form(n_fields: int, protocol_format: str | None) -> Form:
    return Form(protocol_format or _V2019, min(n_fields - 1, 1), None, None, 0 if n_fields > 1 else None)


def parse_trial(line: str, form: Form | None = None) -> Trial:
    """Parse one line: of the given form, else utterance 2nd, label last, attack before it.

    ``LA_0039 LA_E_2834763 - A11 spoof``, ``flac LA_E_2834763 A11 spoof``; a line of a single field
    is the utterance. A field that is no label counts as no label.
    """
    line = line.strip()
    fields = line.split()
    if form is None:
        form = next(iter(labelled_forms(len(fields), _V2019)), None)
        if form is None or fields[-1] not in LABELS:
            form = _blind_form(len(fields), None)
    utterance = fields[form.utterance]
    label = attack = None
    if form.label is not None:
        label = intern(fields[form.label])
        attack = _named(fields, form.attack, ("-", label))
    # The first field of the four-field form is the audio's format.
    speaker = _named(fields, form.speaker, ("flac", "wav", "-"))
    file = unquote(utterance) if form.format == _CSV else None
    return Trial(line, utterance, label, attack, speaker, file, _named(fields, form.subset, ("-",)))


def _named(fields: list[str], place: int | None, placeholders: tuple[str, ...]) -> str | None:
    """Return a field that names something; None where it does not."""
    if place is None or fields[place] in placeholders:
        return None
    return intern(fields[place])


class _Lines:
    """The lines of a text; a trial is one that is not blank.

    One block of lines is in memory at a time, and of each where it begins. The text is in a file without a
    name, or in memory too where it is short.
    """

    def __init__(self) -> None:
        self._file = scratch_file(self)
        self._starts, self._first_trials, self._first_numbers = array("Q"), array("Q"), array("Q")
        self._size = self.n_trials = self.n_lines = 0
        self._held: tuple[int, list[tuple[int, str]]] = -1, []

    def append(self, block: Sequence[str]) -> None:
        """Add lines, without their ends, after those that are there."""
        self._starts.append(self._size)
        self._first_trials.append(self.n_trials)
        self._first_numbers.append(self.n_lines + 1)
        self._size += self._file.write("\n".join(block).encode())
        self.n_trials += len(list(filter(str.strip, block)))
        self.n_lines += len(block)

    def trial(self, i: int) -> tuple[int, str]:
        """Return number and text of the line of a trial, counted from 0."""
        number = bisect_right(self._first_trials, i) - 1
        if self._held[0] != number:
            self._held = number, self._trials_of(number)
        return self._held[1][i - self._first_trials[number]]

    def trials(self) -> Iterator[tuple[int, str]]:
        """Yield number and text of each trial's line."""
        for number in range(len(self._starts)):
            yield from self._trials_of(number)

    def _trials_of(self, number: int) -> list[tuple[int, str]]:
        start, end = (self._starts[n] if n < len(self._starts) else self._size for n in (number, number + 1))
        self._file.seek(start)
        lines = self._file.read(end - start).decode().split("\n")
        return [(n, line) for n, line in enumerate(lines, self._first_numbers[number]) if line.strip()]


class Protocol(Sequence[Trial]):
    """The trials of a file, in its order.

    Trials are parsed when they are asked for, which is quick for neighbours: a protocol of ten million takes
    no more memory than one of some thousands.

    Parameters
    ----------
    lines : _Lines
    form : Form
        Of the lines.
    """

    def __init__(self, lines: _Lines, form: Form):
        self.form, self._lines = form, lines

    def __len__(self) -> int:
        return self._lines.n_trials

    def __iter__(self) -> Iterator[Trial]:
        return (parse_trial(line, self.form) for _, line in self._lines.trials())

    @overload
    def __getitem__(self, i: int) -> Trial: ...
    @overload
    def __getitem__(self, i: slice) -> list[Trial]: ...
    def __getitem__(self, i: int | slice) -> Trial | list[Trial]:
        if isinstance(i, slice):
            return [self[k] for k in range(len(self))[i]]
        _, line = self._lines.trial(range(len(self))[i])
        return parse_trial(line, self.form)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of the utterances in ascending order, and their places."""
        hashes = np.fromiter((hash(trial.utterance) for trial in self), np.int64, len(self))
        places = np.argsort(hashes, kind="stable").astype(np.uint32)
        return hashes[places], places

    def place(self, utterance: str) -> int | None:
        """Return the place of an utterance's trial, None where there is none; the first call takes memory."""
        hashes, places = self._places
        first, last = (int(hashes.searchsorted(hash(utterance), side)) for side in ("left", "right"))
        return next((place for place in places[first:last].tolist() if self[place].utterance == utterance), None)

    def of_subsets(self, names: Collection[str]) -> Protocol:
        """Return the trials of some subsets."""
        lines = _Lines()
        chosen = (line for _, line in self._lines.trials() if parse_trial(line, self.form).subset in names)
        while block := list(islice(chosen, _BLOCK // 64)):
            lines.append(block)
        return Protocol(lines, self.form)


class _Hashes:
    """Hashes of the utterances of a protocol, to find those that stand there twice."""

    def __init__(self) -> None:
        self._file = scratch_file(self)
        self._n = 0

    def extend(self, utterances: Sequence[str]) -> None:
        """Add the next trials' utterances."""
        self._file.write(array("q", map(hash, utterances)).tobytes())
        self._n += len(utterances)

    def equal(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of neighbouring places of one hash; some hashes at a time, in turns by the later place."""
        n_turns = -(-self._n // _AT_ONCE)
        for turn in range(n_turns):
            hashes, places = (np.concatenate(parts) for parts in zip(*self._some(turn, n_turns), strict=True))
            order = np.argsort(hashes, kind="stable")
            again = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
            pairs = zip(places[order[again]].tolist(), places[order[again + 1]].tolist(), strict=True)
            yield from sorted(pairs, key=lambda pair: pair[1])

    def _some(self, turn: int, n_turns: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self._file.seek(0)
        start = 0
        while content := self._file.read(8 * _AT_ONCE):
            hashes = np.frombuffer(content, np.int64)
            chosen = np.flatnonzero(hashes % n_turns == turn)
            yield hashes[chosen], chosen + start
            start += len(hashes)


def read_protocol(
    path: str | os.PathLike[str],
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
    announce: bool = True,
) -> Protocol:
    """Read a CM protocol.

    Blank lines, CRLF, tabs and a byte-order mark are accepted.

    Parameters
    ----------
    path : path
    protocol_format : {'asvspoof2019', 'asvspoof2021', 'asvspoof5', 'csv'} or None
        None: recognised, see the module.
    protocol_subset : sequence of str or None
        Take the trials of these subsets only, of a format that has such.
    announce : bool
        Whether to say that there are several subsets where none is chosen.

    Raises
    ------
    InputError
        When there is no such file, when it is no text or empty, when its lines are not all of one form or
        their form is none of those known, when an utterance occurs twice, or when some lines have a label
        and some do not. (None with a label: a blind protocol.)
    """
    if protocol_format not in (None, *PROTOCOL_FORMATS):
        raise InputError(f"no protocol format {protocol_format!r}; give one of {' '.join(PROTOCOL_FORMATS)}")
    blocks = _blocks(path)
    if protocol_format in (None, _CSV):
        first = next(blocks)
        blocks = chain([first], blocks)
        if header := _csv_header(path, first, protocol_format):
            blocks, protocol_format = _from_csv(path, blocks, *header), _CSV
    protocol, subsets = _Reader(path, protocol_format).read(blocks)
    if announce:
        check_subsets(path, subsets, protocol_subset)
    return protocol.of_subsets(protocol_subset) if protocol_subset else protocol


class _Reader:
    """One pass over a protocol's lines, and what is wrong with them."""

    def __init__(self, path: str | os.PathLike[str], protocol_format: str | None):
        self.path, self.format = path, protocol_format
        self.expected = _EXPECTED[protocol_format or _V2019]
        self.lines, self.hashes = _Lines(), _Hashes()
        self.first: list[str] = []  # the fields of the first trial
        self.first_line = 0, ""

    def read(self, blocks: Iterable[list[str]]) -> tuple[Protocol, Counter[str]]:
        """Return the trials, and how many there are of each subset."""
        labelled: dict[Form, int] = {}
        subsets: Counter[str] = Counter()
        for lines, rows in self._rows(blocks):
            if not self.first:
                self.first, self.first_line = rows[0], lines[0]
                labelled = dict.fromkeys(labelled_forms(len(rows[0]), self.format), 0)
            self._check(lines, rows)
            for form in labelled:
                # Blocks hold thousands of lines: a list's own count is many times quicker than a loop.
                column = [row[form.label] for row in rows]  # type: ignore[index]
                labelled[form] += column.count(BONAFIDE) + column.count(SPOOF)
                if form.subset is not None:
                    subsets.update([row[form.subset] for row in rows])
        if not self.first:
            raise InputError(f"{self.path}: no trial in it; {self.expected}")
        form = self._form(labelled)
        protocol = Protocol(self.lines, form)
        for before, later in self.hashes.equal():
            if protocol[before].utterance == (utterance := protocol[later].utterance):
                problem = f"utterance {utterance} stands on line {self.lines.trial(before)[0]} already"
                raise self._error(self.lines.trial(later), f"{problem}; a protocol names each utterance once")
        return protocol, subsets if form.subset is not None else Counter()

    def _rows(self, blocks: Iterable[list[str]]) -> Iterator[tuple[list[tuple[int, str]], list[list[str]]]]:
        """Yield the lines that are not blank, with their numbers, and their fields; keep all lines."""
        for block in blocks:
            numbered = list(enumerate(block, self.lines.n_lines + 1))
            if max(map(len, block)) > _LONGEST_LINE:
                line = next(line for line in numbered if len(line[1]) > _LONGEST_LINE)
                raise self._error(line, f"{len(line[1]):,} characters, longer than any trial's line; {self.expected}")
            self.lines.append(block)
            rows = [line.split() for line in block]
            if not all(rows):
                numbered = list(compress(numbered, rows))
                rows = list(filter(None, rows))
            if rows:
                yield numbered, rows

    def _check(self, lines: list[tuple[int, str]], rows: list[list[str]]) -> None:
        """Refuse lines of another number of fields than the first, and such without an utterance."""
        n_fields = len(self.first)
        if set(map(len, rows)) != {n_fields}:
            i = next(i for i, row in enumerate(rows) if len(row) != n_fields)
            self._refuse_uneven(lines[i], rows[i])
        place = min(n_fields - 1, 1)
        utterances = [row[place] for row in rows]
        none = {"-", *LABELS} if n_fields > 1 else {"-"}
        if not none.isdisjoint(utterances):
            i = next(i for i, utterance in enumerate(utterances) if utterance in none)
            raise self._error(lines[i], f"no utterance id in the second field; {self.expected}")
        longest = max(utterances, key=len)
        if len(longest) > _LONGEST_ID // 4 and len(longest.encode()) > _LONGEST_ID:  # a character has 4 bytes at most
            problem = f"an utterance id of more than {_LONGEST_ID} bytes; {self.expected}"
            raise self._error(lines[utterances.index(longest)], problem)
        self.hashes.extend(utterances)

    def _refuse_uneven(self, line: tuple[int, str], row: list[str]) -> None:
        numbers = f"{len(row)} fields, where line {self.first_line[0]} has {len(self.first)}"
        is_labelled = [not set(LABELS).isdisjoint(fields) for fields in (self.first, row)]
        if is_labelled[0] != is_labelled[1]:
            self._refuse_unlabelled(line if is_labelled[0] else self.first_line)
        raise self._error(line, f"{numbers}; all lines of a protocol are of one form; {self.expected}")

    def _form(self, labelled: dict[Form, int]) -> Form:
        """Return the one form that all lines have."""
        n_fields = len(self.first)
        fitting = [form for form, number in labelled.items() if number == self.lines.n_trials]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise self._error(
                self.first_line,
                f"every line may be of {' or '.join(form.format for form in fitting)}; say which by --protocol_format",
            )
        if any(labelled.values()):
            form = max(labelled, key=lambda form: labelled[form])
            for line in self.lines.trials():
                if line[1].split()[form.label or 0] not in LABELS:
                    self._refuse_unlabelled(line, form)
        if self.format and not labelled and n_fields > 2:
            raise self._error(self.first_line, f"{n_fields} fields, which is no line of {self.format}; {self.expected}")
        strange = next((i for i, field in enumerate(self.first) if field in LABELS and n_fields > 1), None)
        if strange is not None:
            raise self._error(
                self.first_line,
                f"{self.first[strange]!r} in field {strange + 1} of {n_fields}, which is no "
                f"{f'line of {self.format}' if self.format else 'known form'}; {self.expected}",
            )
        return _blind_form(n_fields, self.format)

    def _refuse_unlabelled(self, line: tuple[int, str], form: Form | None = None) -> None:
        if self.format == _CSV:
            place = "in the column label"
        elif form is None or form.format == _V2019:
            place = "at the end"
        else:
            place = f"in field {(form.label or 0) + 1}"
        raise self._error(line, f"no label {place} ('bonafide' or 'spoof'), though other lines have one")

    def _error(self, line: tuple[int, str], problem: str) -> InputError:
        """Return an error that names and quotes a line, given with its number."""
        number, text = line
        if self.format == _CSV:  # whose lines were rewritten
            text = _line_of(self.path, number) or text
        return InputError(f"{self.path}:{number}: {problem}: {text[: 2 * _QUOTED].strip()[:_QUOTED]!r}")


def check_subsets(path: object, subsets: dict[str, int], wanted: Collection[str] | None) -> None:
    """Refuse subsets that a file has not; say so where it has several and none is chosen.

    Parameters
    ----------
    path : path
        Of the protocol or score file.
    subsets : dict of str to int
        Number of its trials by subset; empty where it has none.
    wanted : collection of str or None
        What ``--protocol_subset`` says.
    """
    found = ", ".join(f"{name} ({number:,})" for name, number in sorted(subsets.items()))
    for name in wanted or ():
        if name not in subsets:
            raise InputError(f"{path}: no subset {name!r}; it has {found or 'no subsets: leave --protocol_subset out'}")
    if not wanted and len(subsets) > 1:
        log(f"{path}: trials of the subsets {found}, all taken; --protocol_subset NAME… takes some")


def _blocks(path: str | os.PathLike[str]) -> Iterator[list[str]]:
    """Yield the lines of a text file in blocks, without their ends and its byte-order mark.

    Raises
    ------
    InputError
        When there is no such file or it is not UTF-8 text.
    """
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")(), translate=True)
    rest, n_bytes, n_lines = "", 0, 0
    try:
        with open(path, "rb") as file:
            is_end = False
            while not is_end:
                content = file.read(_BLOCK)
                is_end = not content
                undecoded = len(decoder.getstate()[0])
                try:
                    text = decoder.decode(content, is_end)
                except UnicodeDecodeError as error:
                    has_mark = not n_bytes and content.startswith(codecs.BOM_UTF8)  # which the error does not count
                    place = n_bytes - undecoded + error.start + len(codecs.BOM_UTF8) * has_mark
                    raise not_text(path, f"byte {place} is not UTF-8") from None
                n_bytes += len(content)
                if "\0" in text:  # UTF-16, or what a crash leaves of a file
                    raise not_text(path, "it holds zero bytes")
                *lines, rest = (rest + text).split("\n")
                n_lines += len(lines)
                if len(rest) > _LONGEST_GATHERED:
                    problem = f"more than {_LONGEST_GATHERED:,} characters, longer than any trial's line"
                    raise InputError(f"{path}:{n_lines + 1}: {problem}: {rest[:_QUOTED]!r}")
                if is_end:
                    lines.append(rest)
                if lines:
                    yield lines
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give a text file") from None


def not_text(path: str | os.PathLike[str], why: str) -> InputError:
    """Return the error for a file that is not text."""
    return InputError(f"{path}: not a text file ({why}); if it is text, save it as UTF-8")


def _line_of(path: str | os.PathLike[str], number: int) -> str:
    """Return a line of a text file by its number, from 1; empty where it cannot be read again, as from a pipe."""
    if not os.path.isfile(path):
        return ""
    return next(islice(chain.from_iterable(_blocks(path)), number - 1, None), "")


# -- CSV -----------------------------------------------------------------------------------------------


def _csv_header(
    path: str | os.PathLike[str], lines: list[str], protocol_format: str | None
) -> tuple[int, str, list[str]] | None:
    """Return the number of the header's line, the separator, and the columns; None where the file is no CSV."""
    number, line = next(((i, line) for i, line in enumerate(lines[:100], 1) if line.strip()), (1, ""))
    for separator in ",;\t":
        columns = [name.strip().lower() for name in next(csv.reader([line[:_LONGEST_LINE]], delimiter=separator), [])]
        is_header = "file" in columns or (len(columns) > 1 and "label" in columns)
        if is_header and (typo := _misspelt(columns)):
            raise InputError(f"{path}:{number}: {typo}: {line[:_QUOTED]!r}")
        if "file" in columns:
            return number, separator, columns
        if is_header:
            protocol_format = _CSV
    if protocol_format == _CSV:
        raise InputError(
            f"{path}:{number}: no header of a CSV: it names the column file, and label, speaker and attack where they "
            f"are known, separated by commas: {line[:_QUOTED]!r}"
        )
    return None


def _misspelt(columns: list[str]) -> str | None:
    """Return what is said of a column that looks like a known one that is missing; any other is left alone."""
    for name in columns:
        missing = [known for known in _CSV_COLUMNS if known not in columns and abs(len(known) - len(name)) < 2]
        if name not in _CSV_COLUMNS and (meant := difflib.get_close_matches(name, missing, 1, _ALIKE)):
            return f"unknown column {name!r}; did you mean {meant[0]!r}?"
    return None


def _from_csv(
    path: str | os.PathLike[str], blocks: Iterable[list[str]], header: int, separator: str, columns: list[str]
) -> Iterator[list[str]]:
    """Yield a CSV's trials as lines ``SPEAKER FILE - ATTACK LABEL``, each on the line where it stands."""
    repeated = [name for name in _CSV_COLUMNS if columns.count(name) > 1]
    if repeated:
        raise InputError(f"{path}:{header}: two columns {repeated[0]}; a CSV has each once")
    places = {name: columns.index(name) for name in _CSV_COLUMNS if name in columns}
    number = 0
    for block in blocks:
        trials = []
        for line in block:
            number += 1
            try:
                trials.append(_csv_trial(line, separator, len(columns), places) if number > header else "")
            except (csv.Error, InputError) as error:
                raise InputError(f"{path}:{number}: {error}: {line[:_QUOTED]!r}") from None
        yield trials


def _csv_trial(line: str, separator: str, n_columns: int, places: dict[str, int]) -> str:
    """Return a line of a CSV as ``SPEAKER FILE - ATTACK LABEL``; a blank one remains one."""
    if not line.strip():
        return ""
    row = next(csv.reader([line], delimiter=separator, strict=True))
    if len(row) != n_columns:
        raise InputError(f"{len(row)} fields, where the header names {n_columns}")
    found = {name: row[place].strip() for name, place in places.items()}
    if not found["file"]:
        raise InputError("no file")
    if found.get("label", "") not in _CSV_LABELS:
        raise InputError(f"label {found['label']!r}; expected 'bonafide' or 'spoof'")
    label = _CSV_LABELS[found.get("label", "")]
    start = f"{_word(found.get('speaker'))} {_word(found['file'])}"
    attack = found.get("attack") if label == SPOOF else None
    return f"{start} - {_word(attack)} {label}" if label else start


def _word(text: str | None) -> str:
    """Return text as one word: blanks and % as in addresses; ``-`` for none."""
    return re.sub(r"[\s%]", lambda found: quote(found[0]), text) if text else "-"
