"""Score files: one trial a line, the score last.

Files are read column by column, so that a million trials cost neither minutes nor gigabytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole
from countermeasure.lists.provenance import found_path, path_of
from countermeasure.trials.protocol import BONAFIDE, LABELS, SPOOF, Form, Trial, check_subsets, labelled_forms, not_text

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Names = npt.NDArray[np.bytes_]

TARGET = "target"
NONTARGET = "nontarget"
ASV_KEYS = (TARGET, NONTARGET, SPOOF)

CM_EXAMPLE = "LA_0039 LA_E_2834763 - A11 spoof -3.123456"
_LONGEST_FIELD = 255  # bytes, as of a file's name; a column takes its longest field times the number of lines
_BLOCK = 1 << 16  # lines worked on at once where temporary arrays are wider than the result
_BLANK = np.isin(np.arange(256), [9, 10, 11, 12, 13, 32])


@dataclass(frozen=True)
class CmScores:
    """The trials of a countermeasure's score file.

    Attributes
    ----------
    path : str
        The file they come from.
    sha256 : str
        Checksum of that file, in hexadecimal.
    utterances : ndarray of bytes, shape [n_trials]
    scores : ndarray of float64, shape [n_trials]
        Higher = more bona fide.
    bonafide : ndarray of bool, shape [n_trials]
    attacks, speakers : ndarray of bytes, shape [n_trials]
        Empty where the file names none; bona fide trials have no attack.
    unscored : int
        Trials of the protocol that the file has no score for; 0 where no protocol was joined.
    """

    path: str
    sha256: str
    utterances: Names
    scores: Floats
    bonafide: Bools
    attacks: Names
    speakers: Names
    unscored: int = 0


@dataclass(frozen=True)
class ScoreRecord:
    """What the record beside a score file, ``NAME.txt.json``, says of it.

    Attributes
    ----------
    score_sha256 : str
        Of the score file: the record of a file with another one says nothing.
    models_sha256 : str
        Of the models that gave the scores, see `calibration.models_sha256`.
    split : str or None
        Of the lists that were scored; None where they do not tell.
    inputs : list of str
        What was scored: the feature type, or a fusion's columns; empty where the lists do not tell.
    format : int
    """

    score_sha256: str
    models_sha256: str
    split: str | None
    inputs: list[str]
    format: int = 1


@dataclass(frozen=True)
class AsvScores:
    """The trials of a speaker verification system's score file.

    Attributes
    ----------
    path, sha256 : str
    scores : ndarray of float64, shape [n_trials]
        Higher = more likely the claimed speaker.
    keys : ndarray of bytes, shape [n_trials]
        ``target``, ``nontarget`` or ``spoof``.
    attacks : ndarray of bytes, shape [n_trials]
        Meant for spoof trials only.
    """

    path: str
    sha256: str
    scores: Floats
    keys: Names
    attacks: Names


def read_cm_scores(
    path: str | os.PathLike[str],
    protocol: Mapping[str, Trial] | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
) -> CmScores:
    """Read a countermeasure's score file.

    The last field of a line is the score, the rest a line of a protocol of any format;
    ``UTTERANCE SCORE`` and ``UTTERANCE ATTACK LABEL SCORE`` are known too. Blank lines, CRLF,
    tabs, a byte-order mark and a first line that ends in the word *score* are accepted.

    Parameters
    ----------
    path : path of the file
    protocol : mapping from utterance to trial, optional
        Gives labels, attacks and speakers to a file without labels.
    protocol_format : str, optional
        Of the lines, see `protocol.read_protocol`.
    protocol_subset : sequence of str, optional
        Take the trials of these subsets only, where lines or protocol name such.

    Raises
    ------
    InputError
        When the file is no text or has no trial; with the line where a field is missing, a score is
        no finite number, a label is neither ``bonafide`` nor ``spoof``, an utterance occurs twice,
        or the protocol does not have it; when it has no labels and there is no protocol.
    """
    table = _Table(path, f"lines like {CM_EXAMPLE!r} or 'UTTERANCE SCORE'")
    if table.n_fields < 2:
        raise table.error(0, f"one field only; expected a line like {CM_EXAMPLE!r} or 'UTTERANCE SCORE'")
    form = _form(table, protocol_format)
    if form is None:
        labels = table.column(max(table.n_fields - 2, 0))
        _refuse_asv(table, labels)
    utterances = table.column(form.utterance if form else min(table.n_fields - 2, 1))
    scores = table.scores()
    _refuse_repeated(table, utterances, form in _SHORT.values())
    if form is None:
        return _join(table, utterances, scores, protocol, protocol_subset)
    none = np.zeros(len(scores), "S1")
    bonafide = table.column(form.label or 0) == BONAFIDE.encode()
    attacks = none if form.attack is None else _without(table.column(form.attack), b"-", SPOOF.encode())
    # The first field of the four-field form is the audio's format.
    speakers = none if form.speaker is None else _without(table.column(form.speaker), b"flac", b"wav", b"-")
    found = CmScores(str(path), table.sha256, utterances, scores, bonafide, np.where(bonafide, b"", attacks), speakers)
    subsets = none[:0] if form.subset is None else table.column(form.subset)
    names, numbers = np.unique(subsets, return_counts=True)
    counts = {name.decode(): number for name, number in zip(names.tolist(), numbers.tolist(), strict=True)}
    check_subsets(path, counts, protocol_subset)
    if not protocol_subset:
        return found
    kept = np.isin(subsets, [name.encode() for name in protocol_subset])
    return replace(found, **{name: getattr(found, name)[kept] for name in _PER_TRIAL})


_PER_TRIAL = ("utterances", "scores", "bonafide", "attacks", "speakers")
# UTTERANCE [ATTACK] LABEL, by the number of fields before the score.
_SHORT = {2: Form("short", 0, 1, None, None), 3: Form("short", 0, 2, 1, None)}


def _form(table: _Table, protocol_format: str | None) -> Form | None:
    """Return the form of all lines; None where no line has a label.

    Raises
    ------
    InputError
        When some lines have one and some have not, or when there is more than one such form.
    """
    n_leading = table.n_fields - 1
    # Lines out of a CSV are written in the form of 2019.
    wanted = "asvspoof2019" if protocol_format == "csv" else protocol_format
    forms = [_SHORT[n_leading]] if n_leading in _SHORT else labelled_forms(n_leading, wanted)
    labels = [name.encode() for name in LABELS]
    labelled = [np.isin(table.column(form.label or 0), labels) for form in forms]
    fitting = [form for form, fits in zip(forms, labelled, strict=True) if fits.all()]
    if len(fitting) > 1:
        names = " or ".join(form.format for form in fitting)
        raise table.error(0, f"every line may be of {names}; say which by --protocol_format")
    if not fitting and any(fits.any() for fits in labelled):
        form, fits = max(zip(forms, labelled, strict=True), key=lambda pair: pair[1].sum())
        row = int(np.argmin(fits))
        field = table.column(form.label or 0)[row].decode()
        place = "before the score" if form.label == n_leading - 1 else f"in field {(form.label or 0) + 1}"
        raise table.error(row, f"label {field!r}; expected 'bonafide' or 'spoof' {place}")
    return fitting[0] if fitting else None


def read_asv_scores(path: str | os.PathLike[str]) -> AsvScores:
    """Read a speaker verification system's score file.

    Three fields (``A07 spoof -2.51``) or six (attack 4th, or 1st where the 4th is ``-``; key 5th,
    score 6th).

    Raises
    ------
    InputError
        As for `read_cm_scores`, and when one of the keys ``target``, ``nontarget`` and ``spoof``
        does not occur.
    """
    expected = "lines like 'A07 spoof -2.51', or of six fields with the key 5th and the score 6th"
    table = _Table(path, expected)
    if table.n_fields not in (3, 6):
        raise table.error(0, f"{table.n_fields} fields; an ASV score file has {expected}")
    key_column = table.n_fields - 2
    keys = table.column(key_column)
    known = np.isin(keys, [name.encode() for name in ASV_KEYS])
    if not known.all():
        row = int(np.argmin(known))
        key = keys[row].decode()
        hint = " (this looks like the score file of a countermeasure, which --cm_score takes)" if key in LABELS else ""
        raise table.error(row, f"key {key!r}; expected 'target', 'nontarget' or 'spoof'{hint}")
    for name in ASV_KEYS:
        if not (keys == name.encode()).any():
            raise InputError(f"{path}: no {name} trial; t-DCF needs an ASV system's target, nontarget and spoof scores")
    attacks = table.column(key_column - 1)
    if table.n_fields == 6 and (attacks[keys == SPOOF.encode()] == b"-").any():
        attacks = table.column(0)
    return AsvScores(str(path), table.sha256, table.scores(), keys, attacks)


def write_scores(path: str | os.PathLike[str], lines: Iterable[str], scores: npt.ArrayLike) -> str:
    """Write a score file: each protocol line, a blank and its score with six decimals.

    Parameters
    ----------
    path : path of the file
        Replaced when the new file is whole.
    lines : iterable of str
        The protocol's lines; each is written as it comes.
    scores : array [n_lines]
        LLR of each line's utterance; higher = more bona fide.

    Returns
    -------
    sha256 : str
        Of what was written, whatever another run has put there since.

    Raises
    ------
    InputError
        When there are not as many scores as lines, or a score is not finite. Nothing is written.
    """
    values = np.asarray(scores, np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        utterance = next(islice(lines, int(bad[0]), None), "").split()[:2][-1:]
        raise InputError(
            f"{path}: not written, for the score of {''.join(utterance)} is {values[bad[0]]} ({bad.size} such of "
            f"{len(values)}); look at its features"
        )
    digest = hashlib.sha256()
    with replace_when_whole(path, text=True) as f:
        try:
            for line, value in zip(lines, values, strict=True):
                text = f"{line} {value:.6f}\n"
                digest.update(text.encode())
                f.write(text)
        except ValueError:  # of zip
            raise InputError(
                f"{path}: not written, for there are {len(values)} scores and not as many trials"
            ) from None
    return digest.hexdigest()


def write_record(path: str | os.PathLike[str], record: ScoreRecord) -> None:
    """Write the record of a score file beside it."""
    with replace_when_whole(path_of(path), text=True) as f:
        f.write(json.dumps(asdict(record), indent=1) + "\n")


def read_record(path: str | os.PathLike[str], score_sha256: str) -> ScoreRecord | None:
    """Read the record of the score file with this checksum; None where there is none, or none of this file."""
    try:
        values = json.loads(found_path(path).read_text(encoding="utf-8"))
        record = ScoreRecord(**values)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    is_whole = type(record.models_sha256) is str and type(record.inputs) is list and record.format == 1
    return record if is_whole and record.score_sha256 == score_sha256 else None


class _Table:
    """A text file of lines with equally many fields, found without a Python loop over lines.

    Attributes
    ----------
    n_fields : int
    sha256 : str
    """

    def __init__(self, path: str | os.PathLike[str], expected: str):
        self.path = path
        content = Path(path).read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        content = content.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in content:  # UTF-16, or what a crash leaves of a file
            raise not_text(path, "it holds zero bytes")
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise not_text(path, f"byte {error.start} is not UTF-8") from None
        self._bytes = np.frombuffer(content, np.uint8)
        blank = np.ones(len(content) + 2, bool)
        blank[1:-1] = _BLANK[self._bytes]
        edges = np.flatnonzero(blank[1:] != blank[:-1])
        starts, ends = edges[0::2], edges[1::2]
        line_ends = np.append(np.flatnonzero(self._bytes == ord("\n")), len(content))
        counts = np.diff(np.searchsorted(starts, line_ends), prepend=0)
        self._lines = np.flatnonzero(counts)  # of each row, from 0
        if self._lines.size and content[starts[counts[self._lines[0]] - 1] :][:20].split()[0].lower().endswith(
            b"score"
        ):
            heading = counts[self._lines[0]]
            starts, ends, self._lines = starts[heading:], ends[heading:], self._lines[1:]
        if not self._lines.size:
            raise InputError(f"{path}: no trial in it; expected {expected}")
        counts = counts[self._lines]
        self.n_fields = int(counts[0])
        uneven = np.flatnonzero(counts != self.n_fields)
        if uneven.size:
            raise self.error(
                int(uneven[0]),
                f"{counts[uneven[0]]} fields, where line {self._lines[0] + 1} has {self.n_fields}; expected {expected}",
            )
        self._starts = starts.reshape(-1, self.n_fields)
        self._widths = (ends - starts).reshape(-1, self.n_fields)
        row, field = np.unravel_index(int(self._widths.argmax()), self._widths.shape)
        if self._widths[row, field] > _LONGEST_FIELD:
            raise self.error(int(row), f"a field of {self._widths[row, field]} bytes; expected {expected}")

    def column(self, index: int) -> Names:
        """Return one field of every line."""
        starts, widths = self._starts[:, index], self._widths[:, index]
        places = np.arange(widths.max())
        out = np.empty((len(starts), len(places)), np.uint8)
        for first in range(0, len(starts), _BLOCK):
            block = slice(first, first + _BLOCK)
            at = np.minimum(starts[block, None] + places, len(self._bytes) - 1)
            out[block] = np.where(places < widths[block, None], self._bytes[at], 0)
        return out.view(f"S{len(places)}")[:, 0]

    def scores(self) -> Floats:
        """Return the last field of every line as numbers.

        Raises
        ------
        InputError
            With the line, when one is not a finite number.
        """
        fields = self.column(self.n_fields - 1)
        try:
            scores = fields.astype(np.float64)
        except ValueError:
            row = next(row for row, field in enumerate(fields) if not _is_number(field))
            raise self.error(row, f"score {fields[row].decode()!r} is no number") from None
        finite = np.isfinite(scores)
        if not finite.all():
            row = int(np.argmin(finite))
            raise self.error(row, f"score {fields[row].decode()!r} is not finite; give the trial a real score")
        return scores

    def line(self, row: int) -> int:
        """Return the number of a row's line, from 1."""
        return int(self._lines[row]) + 1

    def error(self, row: int, message: str) -> InputError:
        """Return an error that names and quotes the line of `row`."""
        number = self.line(row)
        text = self._bytes.tobytes().split(b"\n")[number - 1].decode().strip()
        return InputError(f"{self.path}:{number}: {message}: {text[:200]!r}")


def _is_number(field: bytes) -> bool:
    try:
        np.array([field]).astype(np.float64)
    except ValueError:
        return False
    return True


def _without(names: Names, *placeholders: bytes) -> Names:
    return np.where(np.isin(names, placeholders), b"", names)


def _refuse_repeated(table: _Table, utterances: Names, short: bool) -> None:
    if len(set(utterances.tolist())) == len(utterances):
        return
    seen: dict[bytes, int] = {}
    for row, utterance in enumerate(utterances.tolist()):
        if utterance in seen:
            form = "; lines of this length are read as UTTERANCE [ATTACK] LABEL SCORE" if short else ""
            raise table.error(
                row, f"utterance {utterance.decode()} stands on line {table.line(seen[utterance])} already{form}"
            )
        seen[utterance] = row


def _refuse_asv(table: _Table, labels: Names) -> None:
    asv = np.isin(labels, [TARGET.encode(), NONTARGET.encode()])
    if asv.any():
        row = int(np.argmax(asv))
        raise table.error(row, f"key {labels[row].decode()!r} belongs into an ASV score file, which --asv_score takes")


def _join(
    table: _Table,
    utterances: Names,
    scores: Floats,
    protocol: Mapping[str, Trial] | None,
    protocol_subset: Sequence[str] | None,
) -> CmScores:
    """Take labels, attacks and speakers from a protocol."""
    if protocol is None:
        raise table.error(
            0,
            "no label ('bonafide' or 'spoof') before the score: the scores of a blind set, which have no error rates; "
            "where labels are known, give the trials' --protocol",
        )
    subsets = Counter(trial.subset for trial in protocol.values() if trial.subset)
    check_subsets(table.path, subsets, protocol_subset)
    wanted = {name for name, trial in protocol.items() if not protocol_subset or trial.subset in protocol_subset}
    trials, rows = [], []
    for row, utterance in enumerate(utterances.tolist()):
        trial = protocol.get(utterance.decode())
        if trial is None:
            raise table.error(row, f"utterance {utterance.decode()} is not in the protocol; give the protocol it is in")
        if trial.label is None:
            raise table.error(row, f"the protocol has no label for {trial.utterance}; give one with labels")
        if trial.utterance in wanted:
            trials.append(trial)
            rows.append(row)
    if not rows:
        raise InputError(f"{table.path}: no trial of {' or '.join(protocol_subset or ())} in it")
    return CmScores(
        str(table.path),
        table.sha256,
        utterances[rows],
        scores[rows],
        np.array([trial.label == BONAFIDE for trial in trials]),
        np.array([(trial.attack or "").encode() for trial in trials]),
        np.array([(trial.speaker or "").encode() for trial in trials]),
        len(wanted) - len(trials),
    )
