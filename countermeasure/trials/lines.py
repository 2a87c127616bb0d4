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

Fields are separated by white space, including that of Unicode. All lines of a file are of one form. In a blind file
no line has a label. Sources: README files of the ASVspoof 2019 and ASVspoof 5 databases and of the evaluation package
of ASVspoof 2021.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from countermeasure.errors import InputError
from countermeasure.options import PROTOCOL_FORMATS
from countermeasure.trials.text import Text

BONAFIDE = "bonafide"
SPOOF = "spoof"
LABELS = (BONAFIDE, SPOOF)
# Keys of a speaker verification system's trials, besides `SPOOF`.
TARGET = "target"
NONTARGET = "nontarget"
V2019, V2021, V5, CSV = PROTOCOL_FORMATS

# By format, for messages.
EXPECTED = {
    V2019: "expected lines like 'LA_0039 LA_E_2834763 - A11 spoof'",
    V2021: "expected lines like 'LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval'",
    V5: "expected lines like 'T_4850 T_0000000000 F - - - AC3 A05 spoof -'",
    CSV: "expected a header like 'file,label' and lines like 'recording.wav,spoof'",
}


class Trial(NamedTuple):
    """One line of a protocol.

    Attributes
    ----------
    line : str
        What a score file has before the score: the protocol's line, stripped. For lines of a CSV or of three fields
        it is ``SPEAKER UTTERANCE - ATTACK LABEL``, with ``-`` for what is not known.
    utterance : str
        One word: blanks and % in a CSV's file names are percent-encoded (``%20``).
    label : {'bonafide', 'spoof'} or None
        None in a blind protocol.
    attack : str or None
        The spoofing attack, e.g. ``'A07'``; None for bona fide speech, or if the line names none.
    speaker : str or None
        None if the line names no speaker.
    file : str or None
        The recording's path in the audio folder; None if the utterance is its name.
    subset : str or None
        Part of an evaluation set, e.g. ``'progress'``; None in formats without subsets.
    others : tuple of str
        Values of the requested columns, ``-`` for none.
    """

    line: str
    utterance: str
    label: str | None
    attack: str | None
    speaker: str | None
    file: str | None = None
    subset: str | None = None
    others: tuple[str, ...] = ()


class Form(NamedTuple):
    """The names of a line's fields, in order; `UNNAMED` for fields that are not read."""

    format: str
    fields: tuple[str, ...]


UNNAMED = "-"
# Lines of the 2019 format have any number of fields, see `labelled_forms`.
FORMS = [
    Form(name, tuple(fields.split()))
    for name, fields in (
        (V2021, "speaker utterance codec transmission attack label trim subset"),
        (
            V2021,
            "speaker utterance asv_room asv_mic asv_distance attacker_room attacker_mic attacker_device "
            "attacker_distance label trim subset",
        ),
        (
            V2021,
            "speaker utterance codec source attack label trim subset vocoder task team gender language",
        ),
        (V5, "speaker utterance gender codec codec_q codec_seed attack_tag attack label tmp"),
    )
]


def written(speaker: str | None, utterance: str, attack: str | None, label: str | None) -> str:
    """Return a trial's line in the five-field form of 2019."""
    return f"{speaker or '-'} {utterance} - {attack or '-'} {label or '-'}"


def labelled_forms(n_fields: int, protocol_format: str | None, scored: bool) -> list[Form]:
    """Return the possible forms of labelled lines with this number of fields, in one format or in any.

    With `scored`, these include ``UTTERANCE ATTACK LABEL`` and ``UTTERANCE LABEL``.
    """
    if scored and n_fields in (2, 3):
        return [Form("short", ("utterance", "attack", "label") if n_fields == 3 else ("utterance", "label"))]
    forms = [form for form in FORMS if len(form.fields) == n_fields]
    if n_fields > 2:
        between = ["environment" if n_fields == 5 else UNNAMED] * (n_fields - 4)
        attack = ["attack"] * (n_fields > 3)
        forms.insert(0, Form(V2019, ("speaker", "utterance", *between, *attack, "label")))
    # Score files have trials of a CSV in the form of 2019.
    wanted = V2019 if protocol_format == CSV else protocol_format
    return [form for form in forms if wanted in (None, form.format)]


def find_form(text: Text, protocol_format: str | None = None, scored: bool = False) -> Form:
    """Return the form that all lines have; one without a label if no line has a label.

    Parameters
    ----------
    text : Text
    protocol_format : str or None
        The format of the lines; None: any.
    scored : bool
        Whether each line ends in a score.

    Raises
    ------
    InputError
        When the lines do not all have the same form, or when their form is unknown or ambiguous.
    """
    first = text.rows[0].split()
    n_fields = len(first) - scored
    forms = labelled_forms(n_fields, protocol_format, scored)
    places = [form.fields.index("label") for form in forms]
    n_labelled = [sum(map(text.columns[place].count, LABELS)) for place in places]
    fitting = [form for form, n in zip(forms, n_labelled, strict=True) if n == len(text.rows)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(form.format for form in fitting)
        raise text.error(0, f"every line may be of {names}; say which by --protocol_format")
    if any(n_labelled):
        place = places[n_labelled.index(max(n_labelled))]
        row, field = next((row, word) for row, word in enumerate(text.columns[place]) if word not in LABELS)
        end = "before the score" if scored else "at the end"
        raise no_label(text, row, end if place == n_fields - 1 else f"in field {place + 1}", field)
    _check_blind(text, first[:n_fields], protocol_format, bool(forms), scored)
    return Form(V2019, ("speaker", "utterance") if n_fields > 1 else ("utterance",))


def _check_blind(text: Text, first: list[str], protocol_format: str | None, is_known: bool, scored: bool) -> None:
    """Raise InputError if the first line of a file without labels shows that it is not a blind protocol."""
    none = f"which is no {f'line of {protocol_format}' if protocol_format else 'known form'}; {text.expected}"
    if scored and first[-1] in (TARGET, NONTARGET):
        raise text.error(0, _of_asv(first[-1]))
    if protocol_format and not is_known and len(first) > 2 and not scored:
        raise text.error(0, f"{len(first)} fields, {none}")
    for place, field in enumerate(first, 1):
        if field in LABELS and len(first) > 1:
            raise text.error(0, f"{field!r} in field {place} of {len(first)}, {none}")


def no_label(text: Text, row: int, place: str, field: str = "") -> InputError:
    """Return the error for a line without a label in a file that has labels."""
    hint = f"; {_of_asv(field)}" if field in (TARGET, NONTARGET) else ""
    return text.error(
        row, f"no label {place} ('bonafide' or 'spoof'), though other lines have one; {text.expected}{hint}"
    )


def _of_asv(key: str) -> str:
    return f"{key!r} is a key of ASV score files, which --asv_score takes"


# The first field of the four-field form is the audio's format.
_UNKNOWN = frozenset(("-", "flac", "wav"))
_NO_ATTACK = _UNKNOWN | {SPOOF}


class Columns(NamedTuple):
    """The attributes of a file's trials, each as a list."""

    utterances: list[str]
    labels: Sequence[str | None]
    attacks: Sequence[str | None]
    speakers: Sequence[str | None]
    subsets: Sequence[str | None]
    others: list[tuple[str, ...]]


def parse(text: Text, form: Form, others: Sequence[str] = ()) -> Columns:
    """Return the attributes of the rows' trials, and the values of other columns by name.

    Raises
    ------
    InputError
        When the form has no such column, and as `check_ids` does.
    """
    for name in others:
        if name not in form.fields:
            raise no_column(text.path, name, form.fields)
    columns = dict(zip(form.fields, text.columns, strict=False))  # before a score, which has no name
    missing: Sequence[str | None] = [None] * len(text.rows)

    def known(name: str) -> Sequence[str | None]:
        words = columns.get(name, missing)
        return words if _UNKNOWN.isdisjoint(words) else [None if word in _UNKNOWN else word for word in words]

    check_ids(text, columns["utterance"])
    labels = columns.get("label", missing)
    # Bona fide speech has no attack, and an attack called spoof is none.
    labelled = zip(columns.get("attack", missing), labels, strict=True)
    attacks = [name if label == SPOOF and name not in _NO_ATTACK else None for name, label in labelled]
    further = [columns[name] for name in others]
    values: list[tuple[str, ...]] = list(zip(*further, strict=True)) if further else [()] * len(labels)
    return Columns(columns["utterance"], labels, attacks, known("speaker"), known("subset"), values)


def no_column(path: str | os.PathLike[str], name: str, known: Iterable[str]) -> InputError:
    """Return the error for a requested column that is missing."""
    columns = " ".join(column for column in known if column not in ("utterance", "label", "file", UNNAMED))
    return InputError(
        f"{path}: its trials have no {name}, only {columns or 'names'}; give a protocol that has this column"
    )


def check_ids(text: Text, utterances: Sequence[str]) -> None:
    """Raise InputError if a row has no utterance id or repeats that of another row."""
    names = set(utterances)
    if len(names) == len(utterances) and names.isdisjoint(("-", *LABELS)):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(utterances):
        if name == "-" or (name in LABELS and text.rows[row].split() != [name]):
            raise text.error(row, f"no utterance id in it; {text.expected}")
        if first.setdefault(name, row) != row:
            number = text.number(first[name])
            raise text.error(row, f"utterance {name} stands on line {number} already; a file names each once")


def check_subsets(
    path: str | os.PathLike[str], subsets: Iterable[str | None], wanted: Collection[str] | None
) -> str | None:
    """Check that a file has the subsets that ``--protocol_subset`` names.

    Parameters
    ----------
    path : path
        The protocol or score file, for messages.
    subsets : iterable of str or None
        The subset of each trial.
    wanted : collection of str or None
        The value of ``--protocol_subset``.

    Returns
    -------
    str or None
        A note if there are several subsets and none is chosen.

    Raises
    ------
    InputError
        When no trial is of a wanted subset.
    """
    numbers = Counter(name for name in subsets if name)
    known = ", ".join(f"{name} ({number:,})" for name, number in sorted(numbers.items()))
    for name in wanted or ():
        if name not in numbers:
            raise InputError(f"{path}: no subset {name!r}; it has {known or 'no subsets: leave --protocol_subset out'}")
    if wanted or len(numbers) < 2:
        return None
    return f"{path}: trials of the subsets {known}, all taken; --protocol_subset NAME… takes some"
