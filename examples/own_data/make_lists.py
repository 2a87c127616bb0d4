#!/usr/bin/env python3
"""Divide a folder of recordings, sorted into bonafide/ and spoof/, into train.csv and test.csv.

  python examples/own_data/make_lists.py ~/recordings --output_path own_data
  python examples/own_data/make_lists.py ~/recordings --output_path own_data --test_share 0.5

Folders in bonafide/ are speakers. Each goes into one list as a whole, since error rates on speakers of the
training set are too low. Folders in spoof/ are attacks. Their folders with the name of a speaker
(spoof/ATTACK/SPEAKER/) go into the list of this speaker; the other spoofs of each attack are divided between the
lists. Check and change the lists as you like: they are CSV files with one line per recording.
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
from countermeasure.speech.places import is_recording
from countermeasure.trials.lines import BONAFIDE, SPOOF

LISTS = ("train", "test")


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    parser = cli.parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder that contains bonafide/ and spoof/")
    parser.add_argument("--output_path", type=Path, required=True, metavar="DIR", help="folder for the two lists")
    parser.add_argument(
        "--test_share",
        type=float,
        default=0.3,
        metavar="X",
        help="share of the recordings in test.csv, above 0 and below 1 (default: 0.3)",
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
        loose: defaultdict[str, list[Recording]] = defaultdict(list)  # by attack or speaker
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
    """A path relative to the given folder, and the names of the folders below bonafide/ or spoof/ on the way to it."""

    file: str
    folders: list[str]

    @classmethod
    def below(cls, folder: Path, label: str) -> list[Recording]:
        """Return the recordings of a class."""
        paths = sorted(path for path in (folder / label).rglob("*") if is_recording(path.name))
        if not paths:
            raise InputError(f"{folder / label}: no recordings; sort them into {BONAFIDE}/ and {SPOOF}/ of one folder")
        return [cls(path.relative_to(folder).as_posix(), [*path.relative_to(folder).parts[1:-1]]) for path in paths]

    @property
    def group(self) -> str:
        """The first of the folders: a speaker or an attack; empty without folders."""
        return self.folders[0] if self.folders else ""

    def row(self, label: str, speaker: str) -> tuple[str, str, str, str]:
        """Return a line of a list: file, label, speaker, attack."""
        attack = self.group if label == SPOOF and self.group != speaker else ""
        return self.file, label, speaker, attack


def shares(n: int, test_share: float) -> list[str]:
    """Return the list for each of `n` items: about `test_share` of them, evenly spaced, go into the test."""
    return [LISTS[int((i + 1) * test_share + 0.5) > int(i * test_share + 0.5)] for i in range(n)]


def main(argv: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    make_lists(**vars(build_parser().parse_args(argv)))
    return 0


if __name__ == "__main__":
    cli.run(main)
