#!/usr/bin/env python3
"""Make a small synthetic data set in the layout of ASVspoof 2019 LA.

  python examples/demo_data/make_demo_data.py --output_path data/demo
  LA=data/demo ./preprocess.sh mfcc

It contains no human voice: the 'bona fide' speech is made by a source-filter model of a voice, and the
spoofs are such speech after a vocoder. Error rates on it only show that the pipeline works.
The same sizes give the same files for any --n_jobs; a finished data set is not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from countermeasure import cli, compute, files, options
from countermeasure.errors import InputError

if TYPE_CHECKING:
    from examples.demo_data.voice import Speaker


class Split(NamedTuple):
    """Name and size of a split, and the suffix of its protocol."""

    name: str
    suffix: str
    n_speakers: int
    n_bonafide: int  # also the number of spoofs

    def protocol(self, folder: Path) -> Path:
        """Return the path of the CM protocol."""
        return folder / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{self.name}.{self.suffix}.txt"


class Utterance(NamedTuple):
    """A recording to be made: its path, its line in the protocol, and what determines its samples."""

    path: Path
    line: str
    speaker: Speaker
    attack: str | None
    seed: tuple[int, ...]


SPLITS = (Split("train", "trn", 10, 100), Split("dev", "trl", 6, 20), Split("eval", "trl", 12, 100))
VERSION = 3  # increase it if the signals change
ABOUT = "demo_data.json"


def build_parser() -> argparse.ArgumentParser:
    """Return the script's argument parser."""
    sizes = [split.n_bonafide for split in SPLITS]
    parser = cli.parser(__doc__)
    parser.add_argument("--output_path", required=True, metavar="DIR", type=Path, help="folder of the data set")
    parser.add_argument(
        "--n_bonafide",
        type=options.positive,
        nargs=3,
        default=sizes,
        metavar=("TRAIN", "DEV", "EVAL"),
        help=f"bona fide utterances per split, and the same numbers of spoofs (default: {' '.join(map(str, sizes))})",
    )
    options.add_n_jobs(parser, "processes")
    return parser


def make_demo_data(output_path: Path, n_bonafide: Sequence[int], n_jobs: int | None = None) -> None:
    """Write the data set, unless it exists already.

    Raises
    ------
    InputError
        If the folder contains protocols of another data set.
    """
    about = {"generator": VERSION, "n_bonafide": list(n_bonafide), "whole": True}
    there = [split.protocol(output_path) for split in SPLITS if split.protocol(output_path).exists()]
    if (output_path / ABOUT).is_file():
        if json.loads((output_path / ABOUT).read_text(encoding="utf-8")) == about and len(there) == len(SPLITS):
            cli.log(f"{output_path}: contains this data set already; nothing to do")
            return
    elif there:
        raise InputError(f"{there[0]}: belongs to a data set that this script did not make; choose another folder")

    _write(output_path / ABOUT, json.dumps(about | {"whole": False}))
    plan = {split: list(_plan(split, n, output_path)) for split, n in zip(SPLITS, n_bonafide, strict=True)}
    everything = [utterance for utterances in plan.values() for utterance in utterances]
    for folder in {utterance.path.parent for utterance in everything}:
        folder.mkdir(parents=True, exist_ok=True)
    with compute.workers(n_jobs, processes=True) as workers:
        done = workers.map(_write_recording, everything)
        for _ in cli.progress(done, len(everything), "synthesis", "utterances"):
            pass
    for split, utterances in plan.items():
        _write(split.protocol(output_path), "\n".join(utterance.line for utterance in utterances))
    _write(output_path / ABOUT, json.dumps(about))
    cli.log(f"{output_path}: {len(everything)} utterances of SYNTHETIC speech, half of them bona fide")


def _write(path: Path, text: str) -> None:
    with files.replace_when_whole(path, text=True) as f:
        f.write(text + "\n")


def _plan(split: Split, n_bonafide: int, folder: Path) -> Iterator[Utterance]:
    """Yield a split's utterances in the order of its protocol, bona fide first."""
    import numpy as np

    from examples.demo_data.attacks import ATTACKS, UNSEEN
    from examples.demo_data.voice import draw_speaker

    place = SPLITS.index(split)
    first_speaker = 1 + sum(other.n_speakers for other in SPLITS[:place])
    rng = np.random.default_rng([0, place])
    speakers = [draw_speaker(rng) for _ in range(split.n_speakers)]
    attacks = [name for name in ATTACKS if name not in UNSEEN or split.name == "eval"]
    labels = [None] * n_bonafide + rng.permutation(np.resize(attacks, n_bonafide)).tolist()
    numbers = 1 + rng.permutation(len(labels))  # so that numbers do not tell the classes apart
    for i, (number, attack) in enumerate(zip(numbers, labels, strict=True)):
        name = f"LA_{split.name[0].upper()}_{number:07d}"  # the real ids start above a million
        yield Utterance(
            folder / f"ASVspoof2019_LA_{split.name}" / "flac" / f"{name}.flac",
            f"LA_{first_speaker + i % len(speakers):04d} {name} - " + (f"{attack} spoof" if attack else "- bonafide"),
            speakers[i % len(speakers)],
            attack,
            (0, place, i, 1),
        )


def _write_recording(utterance: Utterance) -> None:
    import numpy as np
    import soundfile

    from examples.demo_data.attacks import ATTACKS
    from examples.demo_data.voice import RATE, record, speak

    rng = np.random.default_rng(utterance.seed)
    say = ATTACKS[utterance.attack] if utterance.attack else speak
    signal = record(say(utterance.speaker, rng.uniform(1.4, 2.4), rng), rng)
    soundfile.write(utterance.path, signal, RATE, subtype="PCM_16")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    make_demo_data(**vars(build_parser().parse_args(argv)))
    return 0


if __name__ == "__main__":
    cli.run(main)
