"""CM protocols: one trial a line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from sys import intern  # of what many lines share: a third of the memory
from typing import NamedTuple

from countermeasure.errors import InputError

BONAFIDE = "bonafide"
SPOOF = "spoof"
LABELS = (BONAFIDE, SPOOF)
_EXAMPLE = "'LA_0039 LA_E_2834763 - A11 spoof'"
_LONGEST_LINE = 10_000
_LONGEST_ID = 255  # as of a file's name
_QUOTED = 200


class Trial(NamedTuple):
    """One line of a protocol.

    Attributes
    ----------
    line : str
        The line as it stands in the file, without blanks at its ends.
    utterance : str
    label : {'bonafide', 'spoof'} or None
        None in a blind protocol.
    attack : str or None
        The spoofing attack, e.g. ``'A07'``; None for bona fide speech and where the line names none.
    speaker : str or None
        None where the line names no speaker.
    """

    line: str
    utterance: str
    label: str | None
    attack: str | None
    speaker: str | None


def parse_trial(line: str) -> Trial:
    """Parse one line: utterance 2nd, label last, attack before it.

    ``LA_0039 LA_E_2834763 - A11 spoof``, ``flac LA_E_2834763 A11 spoof``; a line of a single field
    is the utterance. A last field that is no label counts as no label.
    """
    line = line.strip()
    fields = line.split()
    label = intern(fields[-1]) if len(fields) > 1 and fields[-1] in LABELS else None
    utterance = fields[0] if len(fields) == 1 else fields[1]
    attack = intern(fields[-2]) if label and len(fields) > 3 and fields[-2] not in ("-", label) else None
    # The first field of the four-field form is the audio's format.
    speaker = intern(fields[0]) if len(fields) > 1 and fields[0] not in ("flac", "wav", "-") else None
    return Trial(line, utterance, label, attack, speaker)


def read_protocol(path: str | os.PathLike[str]) -> list[Trial]:
    """Read a CM protocol.

    Blank lines, CRLF, tabs and a byte-order mark are accepted.

    Raises
    ------
    InputError
        When there is no such file, when it is no text or empty, when an utterance occurs twice, or
        when some lines end in a label and some do not. (None with a label: a blind protocol.)
    """
    trials: list[Trial] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        trial = parse_trial(line[:_LONGEST_LINE])
        if len(line) > _LONGEST_LINE or len(trial.utterance) > _LONGEST_ID:
            problem = f"{len(line):,} characters, longer than any trial's line; expected lines like {_EXAMPLE}"
            raise InputError(f"{path}:{number}: {problem}: {line[:_QUOTED]!r}")
        if trial.utterance == "-" or (trial.utterance in LABELS and trial.utterance != line.strip()):
            problem = f"no utterance id in the second field; expected lines like {_EXAMPLE}"
            raise InputError(f"{path}:{number}: {problem}: {trial.line[:_QUOTED]!r}")
        if trial.utterance in seen:
            raise InputError(
                f"{path}:{number}: utterance {trial.utterance} stands on line {seen[trial.utterance]} already; "
                f"a protocol names each utterance once: {trial.line[:_QUOTED]!r}"
            )
        seen[trial.utterance] = number
        trials.append(trial)
    if not trials:
        raise InputError(f"{path}: no trial in it; expected lines like {_EXAMPLE}")
    labelled = [trial.label is not None for trial in trials]
    if any(labelled) and not all(labelled):
        first = labelled.index(False)
        raise InputError(
            f"{path}:{seen[trials[first].utterance]}: no label at the end ('bonafide' or 'spoof'), "
            f"though other lines have one: {trials[first].line[:_QUOTED]!r}"
        )
    return trials


def read_lines(path: str | os.PathLike[str]) -> Sequence[str]:
    """Read a text file's lines, without a byte-order mark.

    Raises
    ------
    InputError
        When there is no such file or it is not UTF-8 text.
    """
    try:
        with open(path, encoding="utf-8-sig") as f:
            text = f.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give a text file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from None
    if "\0" in text:  # UTF-16, or what a crash leaves of a file
        raise InputError(f"{path}: not a text file (it holds zero bytes)")
    return text.split("\n")
