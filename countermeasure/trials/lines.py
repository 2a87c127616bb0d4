"""The grammar of a trial's line, as protocols have it and score files before the score.

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
========================  ==============================================================  =========

Fields are separated by blanks, of Unicode too. All lines of a file are of one form. In a blind file no line has a
label. Sources: README files of the ASVspoof 2019 and ASVspoof 5 databases and of the evaluation package of
ASVspoof 2021.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from sys import intern  # words that many trials share
from typing import NamedTuple

from countermeasure.errors import InputError
from countermeasure.options import PROTOCOL_FORMATS

BONAFIDE = "bonafide"
SPOOF = "spoof"
LABELS = (BONAFIDE, SPOOF)
V2019, V2021, V5, CSV = PROTOCOL_FORMATS

_LONGEST_FIELD = 255  # bytes, as of a file's name
_HEAD = 1 << 16  # bytes that tell a text from a list or a recording, which may be too large to be read whole
_QUOTED = 200
_NO_ATTACK = ("-", SPOOF)
_NO_SPEAKER = ("-", "flac", "wav")  # the first field of the four-field form is the audio's format
_THIRD = 2
_ASV_KEYS = ("target", "nontarget")


class Trial(NamedTuple):
    """One line of a protocol.

    Attributes
    ----------
    line : str
        As a score file has it before the score: the line as it stands in the protocol, without blanks at its ends;
        ``SPEAKER UTTERANCE - ATTACK LABEL`` for trials out of a CSV or of three fields, ``-`` for what is not known.
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
    """Which field of a line is what, counted from 0; None for what it does not have."""

    format: str
    utterance: int
    label: int | None = None
    attack: int | None = None
    speaker: int | None = None
    subset: int | None = None

    def trial(self, line: str, fields: list[str]) -> Trial:
        """Return the trial of a line with these fields."""
        _, utterance_at, label_at, attack_at, speaker_at, subset_at = self
        utterance = fields[utterance_at]
        label = attack = speaker = subset = None
        if label_at is not None:
            label = intern(fields[label_at])
            if label == SPOOF and attack_at is not None and fields[attack_at] not in _NO_ATTACK:
                attack = intern(fields[attack_at])
        if speaker_at is not None and fields[speaker_at] not in _NO_SPEAKER:
            speaker = intern(fields[speaker_at])
        if subset_at is not None:
            subset = intern(fields[subset_at])
        # Score files with three fields before the score have no speaker, but an attack.
        line = written(speaker, utterance, attack, label) if label_at == _THIRD else line.strip()
        return Trial(line, utterance, label, attack, speaker, None, subset)


def written(speaker: str | None, utterance: str, attack: str | None, label: str | None) -> str:
    """Return the line of a trial whose own form is none that score files have."""
    return f"{speaker or '-'} {utterance} - {attack or '-'} {label or '-'}"


def labelled_forms(n_fields: int, protocol_format: str | None = None, scored: bool = False) -> list[Form]:
    """Return the forms that lines of so many fields may have, of one format or of all.

    `scored` asks for the forms of score files, which know ``UTTERANCE ATTACK LABEL`` and ``UTTERANCE LABEL`` too.
    """
    if scored and n_fields in (2, 3):
        return [Form("short", 0, n_fields - 1, 1 if n_fields == 3 else None)]
    forms = []
    if n_fields > 2:
        forms.append(Form(V2019, 1, n_fields - 1, n_fields - 2 if n_fields > 3 else None, 0))
    if n_fields in (8, 13):
        forms.append(Form(V2021, 1, 5, 4, 0, 7))
    if n_fields == 12:
        forms.append(Form(V2021, 1, 9, None, 0, 11))
    if n_fields == 10:
        forms.append(Form(V5, 1, 8, 7, 0))
    # In a score file, trials out of a CSV are of the form of 2019.
    wanted = V2019 if protocol_format == CSV else protocol_format
    return [form for form in forms if wanted in (None, form.format)]


class Text:
    """The lines of a text file.

    Line ends of any system and a byte-order mark are accepted.

    Parameters
    ----------
    path : path
    expected : str
        What the file should have, for messages.

    Attributes
    ----------
    path, expected
    lines : list of str
        All of them, without their ends.
    sha256 : str
        Checksum of the file, in hexadecimal.

    Raises
    ------
    InputError
        When there is no such file, when it is not UTF-8 text, or when it has no line that is not blank.
    """

    def __init__(self, path: str | os.PathLike[str], expected: str):
        self.path, self.expected = path, expected
        try:
            with open(path, "rb") as file:
                content = file.read(_HEAD)
                if b"\0" in content:  # UTF-16, a binary file, or what a crash leaves of a text
                    raise self._not_text("it holds zero bytes")
                content += file.read()
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except IsADirectoryError:
            raise InputError(f"{path}: is a folder; give a text file") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise self._not_text(f"byte {error.start} is not UTF-8") from None
        if "\0" in text:
            raise self._not_text("it holds zero bytes")
        text = text.removeprefix(codecs.BOM_UTF8.decode())
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.lines = text.split("\n")

    def _not_text(self, why: str) -> InputError:
        return InputError(f"{self.path}: not a text file ({why}); if it is text, save it as UTF-8")

    def rows(self) -> Iterator[tuple[int, str, list[str]]]:
        """Yield number, from 1, text and fields of each line that is not blank."""
        for number, line in enumerate(self.lines, 1):
            if fields := line.split():
                yield number, line, fields

    def first_row(self) -> tuple[int, list[str]]:
        """Return number and fields of the first line that is not blank.

        Raises
        ------
        InputError
            When there is none.
        """
        for number, _, fields in self.rows():
            return number, fields
        raise InputError(f"{self.path}: no trial in it; {self.expected}")

    def error(self, number: int, problem: str) -> InputError:
        """Return an error that names and quotes a line."""
        return InputError(f"{self.path}:{number}: {problem}: {self.lines[number - 1].strip()[:_QUOTED]!r}")


def even_rows(text: Text) -> Iterator[tuple[int, str, list[str]]]:
    """Yield what `Text.rows` does, as long as each line has as many fields as the first.

    Raises
    ------
    InputError
        With the first line that has another number of them.
    """
    first, fields = text.first_row()
    n_fields = len(fields)
    for row in text.rows():
        if len(row[2]) != n_fields:
            labelled, other = (not set(LABELS).isdisjoint(one) for one in (fields, row[2]))
            hint = "" if labelled == other else f", and line {first if other else row[0]} has no label"
            raise text.error(
                row[0],
                f"{len(row[2])} fields, where line {first} has {n_fields}{hint}; all lines of a file are of one form; "
                f"{text.expected}",
            )
        yield row


def no_label(text: Text, place: str) -> str:
    """Return what is said of a line without a label in a file that is not blind."""
    return f"no label {place} ('bonafide' or 'spoof'), though other lines have one; {text.expected}"


def find_form(text: Text, protocol_format: str | None = None, scored: bool = False) -> Form:
    """Return the one form that all lines have; one without a label where no line has any.

    Parameters
    ----------
    text : Text
    protocol_format : str or None
        Which of the formats the lines are of; None: any.
    scored : bool
        Whether a score stands behind the line.

    Raises
    ------
    InputError
        With the line, when not all lines are of one form, when they may be of several or are of none.
    """
    first, fields = text.first_row()
    n_fields = len(fields) - scored
    forms = labelled_forms(n_fields, protocol_format, scored)
    places = [form.label or 0 for form in forms]
    numbers, n_lines = [0] * len(forms), 0
    for _, _, row in even_rows(text):
        n_lines += 1
        for i, place in enumerate(places):
            numbers[i] += row[place] in LABELS
    fitting = [form for form, number in zip(forms, numbers, strict=True) if number == n_lines]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(form.format for form in fitting)
        raise text.error(first, f"every line may be of {names}; say which by --protocol_format")
    if any(numbers):
        _refuse_unlabelled(text, forms[max(range(len(forms)), key=numbers.__getitem__)], n_fields, scored)
    for number, _, fields in text.rows() if scored else ():
        if hint := _asv_hint(fields[-2]):
            raise text.error(number, f"no label ('bonafide' or 'spoof') before the score{hint}")
    is_known = f"line of {protocol_format}" if protocol_format else "known form"
    if protocol_format and not forms and n_fields > 2 and not scored:
        raise text.error(first, f"{n_fields} fields, which is no {is_known}; {text.expected}")
    for place, field in enumerate(fields[:n_fields], 1):
        if field in LABELS and n_fields > 1:
            raise text.error(
                first, f"{field!r} in field {place} of {n_fields}, which is no {is_known}; {text.expected}"
            )
    return _blind_form(n_fields, protocol_format or V2019)


def _blind_form(n_fields: int, protocol_format: str) -> Form:
    return Form(protocol_format, min(n_fields - 1, 1), speaker=0 if n_fields > 1 else None)


def _refuse_unlabelled(text: Text, form: Form, n_fields: int, scored: bool) -> None:
    label = form.label or 0
    place = f"in field {label + 1}" if label < n_fields - 1 else "before the score" if scored else "at the end"
    number, fields = next((number, fields) for number, _, fields in text.rows() if fields[label] not in LABELS)
    raise text.error(number, no_label(text, place) + _asv_hint(fields[label]))


def _asv_hint(field: str) -> str:
    return f"; {field!r} is a key of ASV score files, which --asv_score takes" if field in _ASV_KEYS else ""


def parse_trial(line: str) -> Trial:
    """Parse one line of the form of 2019, or without a label; a line of a single field is the utterance."""
    fields = line.split()
    for form in labelled_forms(len(fields), V2019):
        if fields[-1] in LABELS:
            return form.trial(line, fields)
    return _blind_form(len(fields), V2019).trial(line, fields)


def check_ids(text: Text, trials: Iterable[tuple[int, Trial]]) -> Iterator[Trial]:
    """Yield trials, given with the numbers of their lines, as long as each has an id, and one of its own.

    Raises
    ------
    InputError
        With the line, when an id is none, is too long or stands there twice.
    """
    seen: dict[str, int] = {}
    for number, trial in trials:
        utterance = trial.utterance
        if utterance == "-" or (utterance in LABELS and trial.line != utterance):
            raise text.error(number, f"no utterance id in it; {text.expected}")
        if len(trial.line) > _LONGEST_FIELD // 4:  # a character has 4 bytes at most
            for word in (utterance, trial.attack or "", trial.speaker or ""):
                if len(word.encode()) > _LONGEST_FIELD:
                    raise text.error(number, f"a field of more than {_LONGEST_FIELD} bytes; {text.expected}")
        if seen.setdefault(utterance, number) != number:
            raise text.error(
                number, f"utterance {utterance} stands on line {seen[utterance]} already; a file names each once"
            )
        yield trial


def chosen(path: str | os.PathLike[str], subsets: Iterable[str | None], wanted: Collection[str] | None) -> str | None:
    """Return what is to be said of a file's subsets: that there are several, where none is chosen.

    Parameters
    ----------
    path : path
        Of the protocol or score file.
    subsets : iterable of str or None
        Of each of its trials.
    wanted : collection of str or None
        What ``--protocol_subset`` says.

    Raises
    ------
    InputError
        When one of those wanted is not there.
    """
    numbers = Counter(name for name in subsets if name)
    found = ", ".join(f"{name} ({number:,})" for name, number in sorted(numbers.items()))
    for name in wanted or ():
        if name not in numbers:
            raise InputError(f"{path}: no subset {name!r}; it has {found or 'no subsets: leave --protocol_subset out'}")
    if not wanted and len(numbers) > 1:
        return f"{path}: trials of the subsets {found}, all taken; --protocol_subset NAME… takes some"
    return None
