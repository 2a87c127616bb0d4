#!/usr/bin/env python3
"""List a folder of recordings, sorted into bonafide/ and spoof/, as train.csv and test.csv.

  python examples/own_data/make_lists.py ~/recordings --output_path own_data
  python examples/own_data/make_lists.py ~/recordings --output_path own_data --test_share 0.5

Folders below bonafide/ are taken for speakers: each goes into one of the two lists as a whole, for a model
that has heard the test's speakers looks better than it is. Folders below spoof/ are taken for attacks: of
each, some files go into either list. The lists are for you to look at and to change: CSV files with a line
a recording.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from countermeasure import cli
from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole
from countermeasure.protocol import BONAFIDE, SPOOF

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
    rows: dict[str, list[tuple[str, str, str, str]]] = {name: [] for name in LISTS}
    for label in (BONAFIDE, SPOOF):
        groups = grouped(folder, label)
        if label == BONAFIDE and len(groups) > 1:
            parts = divided(sorted(groups), test_share)
            chosen = {name: [file for group in part for file in groups[group]] for name, part in parts.items()}
        else:
            each = [divided(files, test_share) for files in groups.values()]
            chosen = {name: [file for parts in each for file in parts[name]] for name in LISTS}
        for name, files in chosen.items():
            if not files:
                raise InputError(f"{folder / label}: too few recordings to put some into {name}.csv; add some")
            for file in files:
                group = group_of(file)
                rows[name].append((file, label, group if label == BONAFIDE else "", group if label == SPOOF else ""))
    for name, lines in rows.items():
        with replace_when_whole(output_path / f"{name}.csv", text=True) as f:
            csv.writer(f, lineterminator="\n").writerows([("file", "label", "speaker", "attack"), *lines])
        print(f"{output_path / name}.csv: {len(lines)} recordings, {sum(row[1] == SPOOF for row in lines)} spoofs")


def grouped(folder: Path, label: str) -> dict[str, list[str]]:
    """Return the recordings of a class, relative to `folder`, by the folder that they are in."""
    groups = defaultdict(list)
    for path in sorted((folder / label).rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            file = os.path.relpath(path, folder).replace(os.sep, "/")
            groups[group_of(file)].append(file)
    if not groups:
        raise InputError(f"{folder / label}: no recordings; sort them into {BONAFIDE}/ and {SPOOF}/ of one folder")
    return dict(groups)


def group_of(file: str) -> str:
    """Return the folder below bonafide/ or spoof/, empty where there is none."""
    _, *folders, _ = file.split("/")
    return folders[0] if folders else ""


def divided(items: list[str], test_share: float) -> dict[str, list[str]]:
    """Divide items so that about `test_share` of them, evenly spaced, are for the test."""
    is_test = [int((i + 1) * test_share + 0.5) > int(i * test_share + 0.5) for i in range(len(items))]
    return {
        name: [item for item, test in zip(items, is_test, strict=True) if test == (name == "test")] for name in LISTS
    }


def main(argv: list[str] | None = None) -> int:
    """Run the script; return its exit status."""
    make_lists(**vars(build_parser().parse_args(argv)))
    return 0


if __name__ == "__main__":
    cli.run(main)
