"""Score files: one trial a line, the score last."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
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
from countermeasure.trials.text import Text

Words = npt.NDArray[np.bytes_]
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
    text = _text(path, _CM_EXPECTED)
    if len(text.rows[0].split()) == 1:
        raise text.error(0, f"one field only; {text.expected}")
    form = find_form(text, protocol_format, scored=True)
    is_labelled = "label" in form.fields
    if not is_labelled and protocol is None:
        raise text.error(
            0,
            "no label ('bonafide' or 'spoof') before the score: the scores of a blind set, which have no error "
            "rates; where labels are known, give the trials' --protocol",
        )
    joins = protocol is not None and not (is_labelled and set(others).issubset(form.fields))
    found, scores = parse(text, form, () if joins else others), _scores(text)
    known = found.subsets
    if protocol is not None and joins:
        found = _joined(text, found, protocol)
        known = [trial.subset for trial in protocol.values()]
    note = subset_note(path, known, protocol_subset)
    if protocol_subset:
        kept = [subset in protocol_subset for subset in found.subsets]
        if not any(kept):
            raise InputError(f"{path}: no trial of {' or '.join(protocol_subset)} in it")
        found, scores = Columns._make(list(compress(column, kept)) for column in found), scores[kept]
        known = [subset for subset in known if subset in protocol_subset]
    record = read_record(path, text.sha256)
    return CmScores(
        str(path),
        text.sha256,
        _bytes(found.utterances),
        scores,
        np.array([label == BONAFIDE for label in found.labels]),
        _bytes(found.attacks),
        _bytes(found.speakers),
        {name: _bytes(row[i] for row in found.others) for i, name in enumerate(others)},
        len(known) - len(scores),
        note,
        record.models if record else None,
    )


def _joined(text: Text, found: Columns, protocol: Mapping[str, Trial]) -> Columns:
    """Return what a protocol says of a score file's utterances."""
    trials = []
    for row, (utterance, label) in enumerate(zip(found.utterances, found.labels, strict=True)):
        trial = protocol.get(utterance)
        if trial is None:
            raise text.error(row, f"utterance {utterance} is not in the protocol; give the protocol it is in")
        if trial.label is None:
            raise text.error(row, f"the protocol has no label for {utterance}; give one with labels")
        if label not in (None, trial.label):
            raise text.error(row, f"the protocol calls this trial {trial.label}")
        trials.append((utterance, trial.label, trial.attack, trial.speaker, trial.subset, trial.others))
    return Columns._make(map(list, zip(*trials, strict=True)))


def _bytes(words: Iterable[str | None]) -> Words:
    encoded = [(word or "").encode() for word in words]
    return np.array(encoded, f"S{max(map(len, encoded))}")


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
    text = _text(path, _ASV_EXPECTED)
    n_fields = len(text.rows[0].split())
    if n_fields not in (3, 6):
        raise text.error(0, f"{n_fields} fields in a line; {text.expected}")
    keys, attacks = text.columns[-2], text.columns[-3]
    if strangers := set(keys).difference(ASV_KEYS):
        row, key = next((row, key) for row, key in enumerate(keys) if key in strangers)
        hint = " (this looks like the score file of a countermeasure, which --cm_score takes)" * (key in LABELS)
        raise text.error(row, f"key {key[:80]!r}; expected 'target', 'nontarget' or 'spoof'{hint}")
    for key in ASV_KEYS:
        if key not in keys:
            raise InputError(f"{path}: no {key} trial; t-DCF needs an ASV system's target, nontarget and spoof scores")
    if n_fields == 6 and ("-", SPOOF) in zip(attacks, keys, strict=True):
        attacks = text.columns[0]
    return AsvScores(str(path), text.sha256, _scores(text), _bytes(keys), _bytes(attacks))


def _text(path: str | os.PathLike[str], expected: str) -> Text:
    """Read a score file without a heading: words of which the last is *score*, and none a label."""
    text = Text(path, expected)
    words = text.rows[0].split()
    if _HEADING.fullmatch(" ".join(words)) and not {*LABELS, *ASV_KEYS}.intersection(words):
        text.take_heading()
    return text


def _scores(text: Text) -> Floats:
    """Return the last field of each line.

    Raises
    ------
    InputError
        With the line, when one is not a finite number.
    """
    words, numbers = text.columns[-1], list[float]()
    try:
        numbers.extend(map(float, words))
    except ValueError:  # all before it are in the list
        row = len(numbers)
        raise text.error(row, f"score {words[row][:80]!r} is no number") from None
    scores = np.array(numbers)
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise text.error(row, f"score {words[row]!r} is not finite; give the trial a real score")
    return scores


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
        When a score is not finite. Nothing is written.
    """
    lines, values = list(lines), np.asarray(scores, np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        utterance = "".join(lines[bad[0]].split()[:2][-1:])
        raise InputError(
            f"{path}: not written, for the score of {utterance} is {values[bad[0]]} ({bad.size} such of "
            f"{len(values)}); look at its features"
        )
    content = "".join(f"{line} {value:.6f}\n" for line, value in zip(lines, values, strict=True)).encode()
    with replace_when_whole(path) as f:
        f.write(content)
    return hashlib.sha256(content).hexdigest()


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
