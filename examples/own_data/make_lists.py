#!/usr/bin/env python3
"""List a folder of recordings, sorted into bonafide/ and spoof/, as train.csv and test.csv.

  python examples/own_data/make_lists.py ~/recordings --output_path own_data
  python examples/own_data/make_lists.py ~/recordings --output_path own_data --test_share 0.5

Folders below bonafide/ are taken for speakers: each goes into one of the two lists as a whole, for a model
that has heard the test's speakers looks better than it is. Folders below spoof/ are taken for attacks, and
those in them that bear a speaker's name (spoof/ATTACK/SPEAKER/) go where the speaker goes; of the other spoofs
of each attack some go into either list. The lists are for you to look at and to change: CSV files with a line
a recording.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from countermeasure import cli
from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole
from countermeasure.trials.lines import BONAFIDE, SPOOF

SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".au", ".caf"}
LISTS = ("train", "test")


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with bonafide/ and spoof/ in it")
    parser.add_argument("--output_path", type=Path, required=True, metavar="DIR", help="folder for the two lists")
    parser.add_argument(
        "--test_share",
        type=float,
        default=0.3,
        metavar="X",
        help="share of the test, above 0 and below 1 (default: 0.3)",
    )
    return parser


def make_lists(folder: Path, output_path: Path, test_share: float) -> None:
    """Write ``OUTPUT_PATH/train.csv`` and ``test.csv``."""
    if not 0 < test_share < 1:
        raise InputError(f"--test_share {test_share}: must be above 0 and below 1")
    human, spoofs = (Recording.below(folder, label) for label in (BONAFIDE, SPOOF))
    speakers = sorted({recording.group for recording in human})
    lists = dict(zip(speakers, shares(len(speakers), test_share), strict=True)) if len(speakers) > 1 else {}
    rows: dict[str, list[tuple[str, str, str, str]]] = {name: [] for name in LISTS}
    for label, recordings in ((BONAFIDE, human), (SPOOF, spoofs)):
        loose: defaultdict[str, list[Recording]] = defaultdict(list)  # by attack; of speakers without a list
        for recording in recordings:
            speaker = next((name for name in recording.folders if name and name in lists), None)
            if speaker is None:
                loose[recording.group].append(recording)
            else:
                rows[lists[speaker]].append(recording.row(label, speaker))
        for group in loose.values():
            for recording, name in zip(group, shares(len(group), test_share), strict=True):
                rows[name].append(recording.row(label, recording.group if label == BONAFIDE else ""))
        for name, lines in rows.items():
            if label not in {line[1] for line in lines}:
                raise InputError(f"{folder / label}: too few recordings to put some into {name}.csv; add some")
    for name, lines in rows.items():
        with replace_when_whole(output_path / f"{name}.csv", text=True) as f:
            csv.writer(f, lineterminator="\n").writerows([("file", "label", "speaker", "attack"), *lines])
        print(f"{output_path / name}.csv: {len(lines)} recordings, {sum(row[1] == SPOOF for row in lines)} spoofs")


class Recording(NamedTuple):
    """A file, its path relative to the folder of all, and the folders below bonafide/ or spoof/ that it is in."""

    file: str
    folders: list[str]

    @classmethod
    def below(cls, folder: Path, label: str) -> list[Recording]:
        """Return the recordings of a class."""
        paths = sorted(path for path in (folder / label).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise InputError(f"{folder / label}: no recordings; sort them into {BONAFIDE}/ and {SPOOF}/ of one folder")
        return [cls(path.relative_to(folder).as_posix(), [*path.relative_to(folder).parts[1:-1]]) for path in paths]

    @property
    def group(self) -> str:
        """The first of the folders, empty where there is none."""
        return self.folders[0] if self.folders else ""

    def row(self, label: str, speaker: str) -> tuple[str, str, str, str]:
        """Return the recording's line: file, label, speaker, attack."""
        attack = self.group if label == SPOOF and self.group != speaker else ""
        return self.file, label, speaker, attack


def shares(n: int, test_share: float) -> list[str]:
    """Return which list each of `n` things goes into: about `test_share` of them, evenly spaced, the test's."""
    return [LISTS[int((i + 1) * test_share + 0.5) > int(i * test_share + 0.5)] for i in range(n)]


def main(argv: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    make_lists(**vars(build_parser().parse_args(argv)))
    return 0


if __name__ == "__main__":
    cli.run(main)
