"""Score files: one trial a line, the score last."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Literal, NamedTuple

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
    check_subsets,
    find_form,
    parse,
)
from countermeasure.trials.text import Text

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ASV_KEYS = (TARGET, NONTARGET, SPOOF)

CM_EXAMPLE = "LA_0039 LA_E_2834763 - A11 spoof -3.123456"
_CM_EXPECTED = f"expected lines like {CM_EXAMPLE!r} or 'UTTERANCE SCORE'"
_ASV_EXPECTED = "expected lines like 'A07 spoof -2.51', or of six fields with the key 5th and the score 6th"
_LONGEST_LINE = 4096
_HEADING = re.compile(r"([a-z_-]+ )+((cm|asv|sasv)[_-]?)?(scores?|llr)", re.IGNORECASE)


@dataclass(frozen=True)
class ModelsRecord:
    """The pair of models that gave the scores of a file.

    Attributes
    ----------
    method : {'gmm', 'logistic'}
    kind : {'features', 'frame scores', 'file scores'}
        What they were trained on.
    n_components, n_rows : list of int
        Mixture components and rows of training data, for bona fide speech and for spoofs.
    """

    method: Literal["gmm", "logistic"]
    kind: Literal["features", "frame scores", "file scores"]
    n_components: list[int]
    n_rows: list[int]

    @property
    def scarcest(self) -> tuple[int, int]:
        """Rows and components of the class with the fewest rows per component."""
        classes = zip(self.n_rows, self.n_components, strict=True)
        return min(classes, key=lambda each: each[0] / max(each[1], 1))

    @property
    def has_few_rows(self) -> bool:
        """Whether these are mixtures with fewer rows per component than `ROWS_PER_COMPONENT`."""
        n_rows, n_components = self.scarcest
        return self.method == "gmm" and n_rows < ROWS_PER_COMPONENT * n_components


class CmScores(NamedTuple):
    """The trials of a countermeasure's score file.

    Attributes
    ----------
    path, sha256 : str
        The file and its checksum, in hexadecimal.
    scores : ndarray of float64, shape [n_trials]
        Higher = more bona fide.
    bonafide : ndarray of bool, shape [n_trials]
    columns : lines.Columns
        The trials' other attributes.
    others : tuple of str
        Names of the further columns that were read.
    unscored : int
        Trials of the protocol without a score; 0 without a protocol.
    note : str or None
        A message for the user, see `lines.check_subsets`.
    record : ScoreRecord or None
        The record beside the file, if there is one.
    """

    path: str
    sha256: str
    scores: Floats
    bonafide: Bools
    columns: Columns
    others: tuple[str, ...] = ()
    unscored: int = 0
    note: str | None = None
    record: ScoreRecord | None = None

    @property
    def classes(self) -> tuple[Floats, Floats]:
        """The scores of the bona fide trials and of the spoofs."""
        return self.scores[self.bonafide], self.scores[~self.bonafide]

    def column(self, name: str) -> Sequence[str | None]:
        """Return each trial's attack, speaker, or value in one of `others`; None if it names none."""
        if name in self.others:
            place = self.others.index(name)
            return [values[place] for values in self.columns.others]
        return {"attack": self.columns.attacks, "speaker": self.columns.speakers}[name]


@dataclass(frozen=True)
class ScoreRecord:
    """The record beside a score file, ``NAME.txt.json``.

    Attributes
    ----------
    score_sha256 : str
        Checksum of the score file; the record is ignored if the file has another one.
    models_sha256 : str
        Checksum of the models that gave the scores, see `gmm.calibration.models_sha256`.
    split : str or None
        Split of the scored lists; None if unknown.
    inputs : list of str
        The feature type, or a fusion's columns; empty if unknown.
    models : ModelsRecord or None
        None if unknown.
    log_likelihoods : list of float or None
        The 5 % quantile and the median, over the trials, of the mean log-likelihood per row in nats, under the model
        that fits a trial better: typical values for data like the training data.
    data_sha256 : str or None
        Checksum over the scored lists, the trials, and each trial's place in the lists.
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


class AsvScores(NamedTuple):
    """The trials of a speaker verification system's score file.

    Attributes
    ----------
    path, sha256 : str
    scores : ndarray of float64, shape [n_trials]
        Higher = more likely the claimed speaker.
    keys : list of str
        ``target``, ``nontarget`` or ``spoof``.
    attacks : list of str
        Of every trial; only those of spoofs have a meaning.
    """

    path: str
    sha256: str
    scores: Floats
    keys: list[str]
    attacks: list[str]


def read_cm_scores(
    path: str | os.PathLike[str],
    protocol: Mapping[str, Trial] | None = None,
    protocol_format: str | None = None,
    protocol_subset: Sequence[str] | None = None,
    others: Sequence[str] = (),
) -> CmScores:
    """Read a countermeasure's score file.

    The last field of a line is the score, the rest a line of a protocol of any format; ``UTTERANCE SCORE`` and
    ``UTTERANCE ATTACK LABEL SCORE`` are read, too. A heading is skipped.

    Parameters
    ----------
    path : path of the file
    protocol : mapping from utterance to trial, optional
        Source of the trials' labels and other columns, before the file itself.
    protocol_format : str, optional
        Format of the lines, see `protocol.read_protocol`.
    protocol_subset : sequence of str, optional
        Read only the trials of these subsets.
    others : sequence of str
        Names of further columns to read; the protocol must have been read with the same.

    Raises
    ------
    InputError
        When the file is not text or has no trial, a field or label is missing, a score is not a finite number, or an
        utterance is repeated; when the protocol lacks an utterance or contradicts its label; when labels or a
        requested column are missing and there is no protocol.
    """
    text = _text(path, _CM_EXPECTED)
    if len(text.rows[0].split()) == 1:
        raise text.error(0, f"one field only; {text.expected}")
    if text.columns[-1][0] in LABELS:
        raise text.error(0, f"no score at the end of the line, which may be of a protocol; {text.expected}")
    form = find_form(text, protocol_format, scored=True)
    is_labelled = "label" in form.fields
    if not is_labelled and protocol is None:
        raise text.error(
            0,
            "no label ('bonafide' or 'spoof') before the score: the scores of a blind set, which have no error "
            "rates; where labels are known, give the trials' --protocol",
        )
    found, scores = parse(text, form, others if protocol is None else ()), _scores(text)
    if protocol is not None:
        found = _joined(text, found, protocol, len(others))
    known = [trial.subset for trial in protocol.values()] if protocol else found.subsets
    note = check_subsets(path, known, protocol_subset)
    if protocol_subset:
        kept = [subset in protocol_subset for subset in found.subsets]
        if not any(kept):
            raise InputError(f"{path}: no trial of {' or '.join(protocol_subset)} in it")
        found, scores = Columns._make(list(compress(column, kept)) for column in found), scores[kept]
    unscored = set(protocol or ()).difference(found.utterances)
    if protocol and protocol_subset:
        unscored = {name for name in unscored if protocol[name].subset in protocol_subset}
    return CmScores(
        str(path),
        text.sha256,
        scores,
        np.array([label == BONAFIDE for label in found.labels]),
        found,
        tuple(others),
        len(unscored),
        note,
        read_record(path, text.sha256),
    )


def _joined(text: Text, found: Columns, protocol: Mapping[str, Trial], n_others: int) -> Columns:
    """Return the attributes of a score file's trials from a protocol, and from the file what the protocol lacks."""
    trials = []
    unknown = Trial("", "", None, None, None, others=("-",) * n_others)  # labelled files may be of other trials, too
    own = zip(found.utterances, found.labels, found.attacks, found.speakers, found.subsets, strict=True)
    for row, (utterance, label, attack, speaker, subset) in enumerate(own):
        trial = protocol.get(utterance, unknown)
        if trial is unknown and label is None:
            raise text.error(row, f"utterance {utterance} is not in the protocol; give the protocol it is in")
        if trial.label is None and label is None:
            raise text.error(row, f"the protocol has no label for {utterance}; give one with labels")
        if None not in (label, trial.label) and label != trial.label:
            raise text.error(row, f"the protocol calls this trial {trial.label}")
        about = trial.attack or attack, trial.speaker or speaker, trial.subset or subset
        trials.append((utterance, trial.label or label, *about, trial.others))
    return Columns._make(map(list, zip(*trials, strict=True)))


def read_asv_scores(path: str | os.PathLike[str]) -> AsvScores:
    """Read a speaker verification system's score file.

    Three fields (``A07 spoof -2.51``) or six (attack 4th, or 1st where the 4th is ``-``; key 5th,
    score 6th).

    Raises
    ------
    InputError
        As `read_cm_scores` does, and when there is no trial with one of the keys ``target``, ``nontarget`` and
        ``spoof``.
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
    return AsvScores(str(path), text.sha256, _scores(text), keys, attacks)


def _text(path: str | os.PathLike[str], expected: str) -> Text:
    """Read a score file; skip a heading, a first line that ends in *score* or *llr* and holds no label or key."""
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
        When one is not a finite number.
    """
    words = text.columns[-1]
    rest = iter(words)
    try:
        scores = np.fromiter(map(float, rest), np.float64, len(words))
    except ValueError:  # the word that is no number was the last one taken
        row = len(words) - len(list(rest)) - 1
        raise text.error(row, f"score {words[row][:80]!r} is no number") from None
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise text.error(row, f"score {words[row]!r} is not finite; give the trial a real score")
    return scores


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raise InputError if there is a file whose first line does not end in a number, so it is no score file."""
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        words = file.readline(_LONGEST_LINE).split()
    try:
        float(words[-1] if words else 0)
    except ValueError:
        raise InputError(f"{path}: is there, and no score file; choose another name") from None


def write_scores(path: str | os.PathLike[str], lines: Iterable[str], scores: npt.ArrayLike) -> str:
    """Write a score file: each protocol line, a blank and its score with six decimals.

    Parameters
    ----------
    path : path of the file
        Replaced when the new file is complete.
    lines : iterable of str
        Lines of the protocol.
    scores : array [n_lines]
        LLR of each line's utterance; higher = more bona fide.

    Returns
    -------
    sha256 : str
        Checksum of what was written.

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
    """Return the record of a score file; None if it is missing, damaged, or of a file with another checksum."""
    try:
        record = records.checked(ScoreRecord, records.read(records.found_path(path)))
    except (OSError, ValueError, InputError):
        return None
    return record if record.score_sha256 == score_sha256 else None
