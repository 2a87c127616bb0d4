#!/usr/bin/env python3
"""Make a small synthetic data set in the layout of ASVspoof 2019 LA.

  python make_demo_data.py --output_path data/demo
  LA=data/demo ./preprocess.sh mfcc

No human voice is in it: the 'bona fide' speech comes from a source-filter model of a voice, the
spoofs are the same after a real vocoder. Error rates on it show that the pipeline works, no more.
The same seed and sizes give the same files, whatever --n_jobs; a folder that holds them already is
left as it is.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from countermeasure import cli, compute, files, options
from countermeasure.errors import InputError
from countermeasure.trials import protocol

if TYPE_CHECKING:
    from countermeasure.synthesis import Speaker


class Split(NamedTuple):
    """One split: its name, its letter in utterance ids, its protocol's ending, and its size."""

    name: str
    letter: str
    ending: str
    n_speakers: int
    n_bonafide: int

    def audio(self, folder: Path) -> Path:
        """Return the folder of the recordings."""
        return folder / f"ASVspoof2019_LA_{self.name}" / "flac"

    def protocol(self, folder: Path) -> Path:
        """Return the path of the CM protocol."""
        return folder / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{self.name}.{self.ending}.txt"


class Utterance(NamedTuple):
    """What is to be drawn, and where it goes."""

    path: Path
    line: str
    target: Speaker
    source: Speaker
    attack: str | None
    seed: tuple[int, ...]


SPLITS = (
    Split("train", "T", "trn", n_speakers=10, n_bonafide=100),
    Split("dev", "D", "trl", n_speakers=6, n_bonafide=20),
    Split("eval", "E", "trl", n_speakers=12, n_bonafide=100),
)
SPOOFS_PER_BONAFIDE = 2
SETTINGS = "demo_data.json"

README = """\
Synthetic speech in the layout of the ASVspoof 2019 LA data set, made by make_demo_data.py.

No human voice is in it. The 'bona fide' recordings come from a source-filter model of a voice with
natural irregularities; the spoofs are such speech after the analysis and resynthesis of a vocoder:
{attacks}
Both classes went through the same random rooms, microphones, noise floors, levels and silences.

It is there to try out the pipeline. Error rates on it show that the pipeline works, no more: they
say nothing about how well spoofed human speech is detected. It is not part of ASVspoof, and the
names of its attacks only imitate that data set's.

Settings: {settings}
"""


def build_parser() -> cli.argparse.ArgumentParser:
    """Return the script's parser."""
    sizes = [split.n_bonafide for split in SPLITS]
    default = " ".join(map(str, sizes))
    parser = cli.parser(__doc__)
    parser.add_argument("--output_path", required=True, metavar="DIR", type=Path, help="folder of the data set")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="whole number from 0 on (default: 0)")
    parser.add_argument(
        "--n_bonafide",
        type=int,
        nargs=3,
        default=sizes,
        metavar=("TRAIN", "DEV", "EVAL"),
        help=f"bona fide utterances a split; {SPOOFS_PER_BONAFIDE} spoofs come with each (default: {default})",
    )
    options.add_n_jobs(parser, "processes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return its exit status."""
    args = build_parser().parse_args(argv)
    make_demo_data(**vars(args))
    return 0


def make_demo_data(output_path: Path, seed: int, n_bonafide: Sequence[int], n_jobs: int | None = None) -> None:
    """Write the data set, unless it is there already.

    The protocols come last: a folder in which the work was broken off has none, and cannot be taken
    for a whole data set.

    Raises
    ------
    InputError
        When a number is out of range, or when the folder holds protocols of another origin.
    """
    if seed < 0 or min(n_bonafide) < 1:
        raise InputError("--seed counts from 0, --n_bonafide from 1")
    from countermeasure import synthesis

    sizes = {split.name: n for split, n in zip(SPLITS, n_bonafide, strict=True)}
    settings = json.dumps({"generator": synthesis.VERSION, "seed": seed, "n_bonafide": sizes})
    plan = {split: list(_plan(split, sizes[split.name], seed, output_path)) for split in SPLITS}
    if _is_whole(output_path, settings, plan):
        cli.log(f"{output_path}: holds this data set already (seed {seed}); nothing to do")
        return
    _clear(output_path)

    cli.log(f"{output_path}: making SYNTHETIC speech; figures on it show that the pipeline works, no more")
    with files.replace_when_whole(output_path / SETTINGS, text=True) as f:
        f.write(settings + "\n")
    with files.replace_when_whole(output_path / "README.txt", text=True) as f:
        attacks = "".join(
            f"  {name}  {attack.description}{'' if attack.seen else ' (eval only)'}\n"
            for name, attack in synthesis.ATTACKS.items()
        )
        f.write(README.format(attacks=attacks, settings=settings))
    everything = [utterance for utterances in plan.values() for utterance in utterances]
    with compute.workers(n_jobs, processes=True) as workers:
        done = workers.map(_write_recording, everything)
        for _ in cli.progress(done, len(everything), "synthesis", "utterances"):
            pass
    for split, utterances in plan.items():
        with files.replace_when_whole(split.protocol(output_path), text=True) as f:
            f.writelines(utterance.line + "\n" for utterance in utterances)
    cli.log(
        f"{output_path}: "
        + ", ".join(f"{split.name} {len(utterances)}" for split, utterances in plan.items())
        + f" utterances, one in {1 + SPOOFS_PER_BONAFIDE} bona fide"
    )


def _plan(split: Split, n_bonafide: int, seed: int, folder: Path) -> Iterator[Utterance]:
    """Yield a split's utterances, in the order of its protocol: bona fide first, as in the real ones."""
    import numpy as np

    from countermeasure import synthesis

    place = SPLITS.index(split)
    first_speaker = 1 + sum(other.n_speakers for other in SPLITS[:place])
    rng = np.random.default_rng([seed, place])
    speakers = [synthesis.draw_speaker(rng) for _ in range(split.n_speakers)]
    attacks = [name for name, attack in synthesis.ATTACKS.items() if attack.seen or split.name == "eval"]
    n_spoofs = n_bonafide * SPOOFS_PER_BONAFIDE
    spoofs = rng.permutation(np.resize(attacks, n_spoofs)).tolist()
    numbers = 1 + rng.permutation(n_bonafide + n_spoofs)  # a low number is no sign of either class
    for i, (number, attack) in enumerate(zip(numbers, [None] * n_bonafide + spoofs, strict=True)):
        target = i % len(speakers)
        source = (target + rng.integers(1, len(speakers))) % len(speakers)
        name = f"LA_{split.letter}_{number:07d}"  # the real ids start above a million
        yield Utterance(
            split.audio(folder) / f"{name}.flac",
            f"LA_{first_speaker + target:04d} {name} - "
            + (f"{attack} {protocol.SPOOF}" if attack else f"- {protocol.BONAFIDE}"),
            speakers[target],
            speakers[source],
            attack,
            (seed, place, i),
        )


def _is_whole(folder: Path, settings: str, plan: dict[Split, list[Utterance]]) -> bool:
    try:
        recorded = (folder / SETTINGS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return recorded.strip() == settings and all(
        split.protocol(folder).is_file() and all(utterance.path.is_file() for utterance in utterances)
        for split, utterances in plan.items()
    )


def _clear(folder: Path) -> None:
    """Remove a demo data set of other settings, protocols first; refuse to touch anything else."""
    protocols = [(split, split.protocol(folder)) for split in SPLITS if split.protocol(folder).exists()]
    if protocols and not (folder / SETTINGS).exists():
        raise InputError(f"{protocols[0][1]}: of a data set that this script did not make; choose another folder")
    for split, path in protocols:
        trials = protocol.read_protocol(path)
        path.unlink()
        for trial in trials:
            (split.audio(folder) / f"{trial.utterance}.flac").unlink(missing_ok=True)


def _write_recording(utterance: Utterance) -> None:
    import numpy as np
    import soundfile

    from countermeasure import synthesis

    rng = np.random.default_rng([*utterance.seed, 1])
    signal = synthesis.draw_utterance(utterance.target, utterance.source, utterance.attack, rng)
    encoded = io.BytesIO()  # libsndfile has no word for a disk that is full
    soundfile.write(encoded, signal, synthesis.RATE, format="FLAC", subtype="PCM_16")
    with files.replace_when_whole(utterance.path) as f:
        f.write(encoded.getbuffer())


if __name__ == "__main__":
    cli.run(main)
