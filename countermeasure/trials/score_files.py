"""Score files: one trial a line, the score last."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from countermeasure import records
from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole
from countermeasure.options import ROWS_PER_COMPONENT
from countermeasure.trials.lines import (
    BONAFIDE,
    LABELS,
    NONTARGET,
    SPOOF,
    TARGET,
    Columns,
    Trial,
    find_form,
    parse,
    subset_note,
)
from countermeasure.trials.text import Table, Text, Words

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ASV_KEYS = (TARGET, NONTARGET, SPOOF)

CM_EXAMPLE = "LA_0039 LA_E_2834763 - A11 spoof -3.123456"
_CM_EXPECTED = f"expected lines like {CM_EXAMPLE!r} or 'UTTERANCE SCORE'"
_ASV_EXPECTED = "expected lines like 'A07 spoof -2.51', or of six fields with the key 5th and the score 6th"
_HEADING = re.compile(r"([a-z_-]+ )+((cm|asv|sasv)[_-]?)?(scores?|llr)", re.IGNORECASE)


@dataclass(frozen=True)
class ModelsRecord:
    """What a score file's record says of the pair of models that gave the scores.

    Attributes
    ----------
    method : {'gmm', 'logistic'}
    kind : {'features', 'frame scores', 'file scores'}
        What they were trained on.
    n_components, n_rows : list of int
        Mixture components, and rows of training data, of bona fide speech and of spoofs.
    """

    method: Literal["gmm", "logistic"]
    kind: Literal["features", "frame scores", "file scores"]
    n_components: list[int]
    n_rows: list[int]

    @property
    def scarcest(self) -> tuple[int, int]:
        """Rows and components of the class that has the fewest rows a component."""
        classes = zip(self.n_rows, self.n_components, strict=True)
        return min(classes, key=lambda each: each[0] / max(each[1], 1))

    @property
    def has_few_rows(self) -> bool:
        """Whether these are mixtures with fewer rows a component than file-level training has by default."""
        n_rows, n_components = self.scarcest
        return self.method == "gmm" and n_rows < ROWS_PER_COMPONENT * n_components


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
    others : mapping from str to ndarray of bytes, shape [n_trials]
        The values of the columns that were asked for, ``-`` for none.
    unscored : int
        Trials of the protocol that the file has no score for; 0 where no protocol was joined.
    note : str or None
        What the caller should be told, see `lines.subset_note`.
    models : ModelsRecord or None
        Of the models that gave the scores, where the record beside the file tells.
    """

    path: str
    sha256: str
    utterances: Words
    scores: Floats
    bonafide: Bools
    attacks: Words
    speakers: Words
    others: Mapping[str, Words] = field(default_factory=dict)
    unscored: int = 0
    note: str | None = None
    models: ModelsRecord | None = None


@dataclass(frozen=True)
class ScoreRecord:
    """What the record beside a score file, ``NAME.txt.json``, says of it.

    Attributes
    ----------
    score_sha256 : str
        Of the score file: the record of a file with another one says nothing.
    models_sha256 : str
        Of the models that gave the scores, see `gmm.calibration.models_sha256`.
    split : str or None
        Of the lists that were scored; None where they do not tell.
    inputs : list of str
        What was scored: the feature type, or a fusion's columns; empty where the lists do not tell.
    models : ModelsRecord or None
        None where the models do not tell.
    log_likelihoods : list of float or None
        The 5 % quantile and the median, over the trials, of the mean log-likelihood a row under the model that
        suits a trial better, in nats: what data that the models know look like to them.
    data_sha256 : str or None
        Over those of the lists that were scored, of the trials, and of which item of the lists each trial is.
    format : int
    """

    score_sha256: str
    models_sha256: str
    split: str | None
    inputs: list[str]
    models: ModelsRecord | None = None
    log_likelihoods: list[float] | None = None
    data_sha256: str | None = None
    format: Literal[1] = 1


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
    keys: Words
    attacks: Words


def read_cm_scores(
    path: str | os.PathLike[str],
    protocol: Mapping[str, Trial] | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
    others: Sequence[str] = (),
) -> CmScores:
    """Read a countermeasure's score file.

    The last field of a line is the score, the rest a line of a protocol of any format; ``UTTERANCE SCORE`` and
    ``UTTERANCE ATTACK LABEL SCORE`` are known too. A heading is passed over.

    Parameters
    ----------
    path : path of the file
    protocol : mapping from utterance to trial, optional
        Gives labels, attacks, speakers and other columns to a file without labels or without these columns.
    protocol_format : str, optional
        Of the lines, see `protocol.read_protocol`.
    protocol_subset : sequence of str, optional
        Take the trials of these subsets only, where lines or protocol name such.
    others : sequence of str
        Names of further columns to read; a protocol was read with the same.

    Raises
    ------
    InputError
        When the file is no text or has no trial; with the line where a field is missing, a score is
        no finite number, a label is neither ``bonafide`` nor ``spoof``, an utterance occurs twice,
        or the protocol does not have it or another label; when it has no labels or lacks a column that is
        asked for, and there is no protocol.
    """
    table = _table(path, _CM_EXPECTED)
    if table.n_fields == 1:
        raise table.text.error(0, f"one field only; {table.text.expected}")
    form = find_form(table, protocol_format, scored=True)
    is_labelled = "label" in form.fields
    if not is_labelled and protocol is None:
        raise table.text.error(
            0,
            "no label ('bonafide' or 'spoof') before the score: the scores of a blind set, which have no error "
            "rates; where labels are known, give the trials' --protocol",
        )
    joins = protocol is not None and not (is_labelled and set(others).issubset(form.fields))
    found, scores = parse(table, form, () if joins else others), _scores(table)
    known = found.subsets
    kept = np.ones(len(scores), bool)
    if protocol is not None and joins:
        own_labels = found.labels
        found = _joined(table.text, found.utterances, protocol)
        if is_labelled and (own_labels != found.labels).any():
            row = int(np.argmax(own_labels != found.labels))
            raise table.text.error(row, f"the protocol calls this trial {found.labels[row].decode()}")
        known = _bytes(trial.subset for trial in protocol.values())
    note = subset_note(path, map(bytes.decode, known.tolist()), protocol_subset)
    n_known = len(known)
    if protocol_subset:
        wanted = [name.encode() for name in protocol_subset]
        kept, n_known = np.isin(found.subsets, wanted), int(np.isin(known, wanted).sum())
        if not kept.any():
            raise InputError(f"{path}: no trial of {' or '.join(protocol_subset)} in it")
    utterances, labels, attacks, speakers = (column[kept] for column in found[:4])
    bonafide = labels == BONAFIDE.encode()
    unscored = n_known - len(labels)
    further = {name: column[kept] for name, column in zip(others, found.others, strict=True)}
    sha256 = table.text.sha256
    record = read_record(path, sha256)
    return CmScores(
        str(path),
        sha256,
        utterances,
        scores[kept],
        bonafide,
        attacks,
        speakers,
        further,
        unscored,
        note,
        record.models if record else None,
    )


def _joined(text: Text, utterances: Words, protocol: Mapping[str, Trial]) -> Columns:
    """Return what a protocol says of the utterances of a file without labels."""
    trials = []
    for row, utterance in enumerate(map(bytes.decode, utterances.tolist())):
        trial = protocol.get(utterance)
        if trial is None:
            raise text.error(row, f"utterance {utterance} is not in the protocol; give the protocol it is in")
        if trial.label is None:
            raise text.error(row, f"the protocol has no label for {utterance}; give one with labels")
        trials.append((trial.label, trial.attack, trial.speaker, trial.subset, *trial.others))
    labels, attacks, speakers, subsets, *others = map(_bytes, zip(*trials, strict=True))
    return Columns(utterances, labels, attacks, speakers, subsets, tuple(others))


def _bytes(words: Iterable[str | None]) -> Words:
    return np.array([(word or "").encode() for word in words])


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
    table = _table(path, _ASV_EXPECTED)
    text = table.text
    if table.n_fields not in (3, 6):
        raise text.error(0, f"{table.n_fields} fields in a line; {text.expected}")
    attacks, keys = table.column(-3), table.column(-2)
    known = [key.encode() for key in ASV_KEYS]
    if not np.isin(keys, known).all():
        row = int(np.argmin(np.isin(keys, known)))
        key = keys[row].decode()
        hint = " (this looks like the score file of a countermeasure, which --cm_score takes)" * (key in LABELS)
        raise text.error(row, f"key {key!r}; expected 'target', 'nontarget' or 'spoof'{hint}")
    for key in ASV_KEYS:
        if not (keys == key.encode()).any():
            raise InputError(f"{path}: no {key} trial; t-DCF needs an ASV system's target, nontarget and spoof scores")
    if table.n_fields == 6 and (attacks[keys == SPOOF.encode()] == b"-").any():
        attacks = table.column(0)
    return AsvScores(str(path), text.sha256, _scores(table), keys, attacks)


def _table(path: str | os.PathLike[str], expected: str) -> Table:
    """Read a score file's fields, without a heading: words of which the last is *score*, and none a label."""
    text = Text(path, expected)
    words = text.rows[0].split()
    if _HEADING.fullmatch(" ".join(words)) and not {*LABELS, *ASV_KEYS}.intersection(words):
        text.take_heading()
    return Table(text)


def _scores(table: Table) -> Floats:
    """Return the last field of each line.

    Raises
    ------
    InputError
        With the line, when one is not a finite number.
    """
    fields = table.column(-1)
    try:
        scores = fields.astype(np.float64)
    except ValueError:
        row = next(row for row, field in enumerate(fields) if not _is_number(field))
        raise table.text.error(row, f"score {fields[row].decode()!r} is no number") from None
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise table.text.error(row, f"score {fields[row].decode()!r} is not finite; give the trial a real score")
    return scores


def _is_number(field: bytes) -> bool:
    try:
        np.array([field]).astype(np.float64)
    except ValueError:
        return False
    return True


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
    records.write(records.path_of(path), replace(record, inputs=[records.text(name) for name in record.inputs]))


def read_record(path: str | os.PathLike[str], score_sha256: str) -> ScoreRecord | None:
    """Read the record of the score file with this checksum; None where there is none, or none of this file."""
    try:
        record = records.checked(ScoreRecord, records.read(records.found_path(path)))
    except (OSError, ValueError, InputError):
        return None
    return record if record.score_sha256 == score_sha256 else None
