"""Write a synthetic feature list of any length, with its protocol and its record.

  python -m benchmarks.make_list /tmp/train-mfcc-25.pkl --n_utterances 25380

Utterances last 1 to 13 s, 3.4 s on average, at a hop of 10 ms; one in ten is bona fide, as in ASVspoof 2019 LA.
Their frames glide between sounds, with an offset for each speaker and correlated noise, so that there are no
clusters for EM to find at once. Error rates on such lists mean nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from countermeasure import cli, files, versions
from countermeasure.features import types
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ListWriter
from countermeasure.trials.lines import BONAFIDE, SPOOF
from countermeasure.trials.protocol import read_protocol

FTYPE = "mfcc-25"
N_DIMS = 60
N_SOUNDS, N_SPEAKERS = 200, 40
RATE = 16000
FRAMES_PER_UTTERANCE = 340  # on average


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("path", type=Path, help="list to write")
    parser.add_argument("--n_utterances", type=int, default=6000, help="(default: %(default)s)")
    parser.add_argument("--split", default="train", help="train, dev or eval (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    n_frames = make_list(args.path, args.n_utterances, args.split)
    print(
        f"{args.path}: {args.n_utterances:,} utterances, {n_frames:,} frames, {args.path.stat().st_size / 1e9:.2f} GB"
    )
    return 0


def protocol_path(path: Path) -> Path:
    """Return the path of a list's protocol."""
    return path.with_suffix(".txt")


def make_list(path: Path, n_utterances: int, split: str = "train") -> int:
    """Write a list, its protocol and its record; return the number of frames."""
    rng = np.random.default_rng([len(split), 2019])
    voices = np.random.default_rng(2019)  # the same in all splits
    scales = np.geomspace(20, 0.05, N_DIMS)  # as different as those of cepstra and their second differences
    sounds = {BONAFIDE: voices.normal(size=(N_SOUNDS, N_DIMS))}
    sounds[SPOOF] = sounds[BONAFIDE] + 0.4 * voices.normal(size=(N_SOUNDS, N_DIMS))
    sounds = {label: (array * scales).astype(np.float32) for label, array in sounds.items()}
    speakers = (0.3 * voices.normal(size=(N_SPEAKERS, N_DIMS)) * scales).astype(np.float32)
    mixing = np.linalg.qr(voices.normal(size=(N_DIMS, N_DIMS)))[0] * np.geomspace(0.9, 0.3, N_DIMS)
    mixing = (mixing * scales).astype(np.float32)
    labels = rng.permutation([BONAFIDE] * (n_utterances // 10) + [SPOOF] * (n_utterances - n_utterances // 10))
    lines, n_frames = [], []
    with ListWriter(path) as out:
        for i, label in enumerate(labels.tolist()):
            speaker = int(rng.integers(N_SPEAKERS))
            attack = f"A{rng.integers(1, 7):02d}" if label == SPOOF else "-"
            lines.append(f"LA_{speaker:04d} LA_{split[0].upper()}_{1000000 + i} - {attack} {label}\n")
            n = int(np.clip(rng.gamma(5.0, FRAMES_PER_UTTERANCE / 5), 100, 1300))
            # A new sound is reached every eight frames, in a straight line from the one before.
            before, way = np.divmod(np.arange(n, dtype=np.float32)[:, None] / 8, 1)
            heard = sounds[label][rng.integers(N_SOUNDS, size=n // 8 + 2)]
            first = before[:, 0].astype(int)
            frames = heard[first] * (1 - way) + heard[first + 1] * way + speakers[speaker]
            out.append(frames + rng.standard_normal((n, N_DIMS), np.float32) @ mixing, label)
            n_frames.append(n)
    protocol_path(path).write_text("".join(lines))
    trials = read_protocol(protocol_path(path))
    record = provenance.Record(
        kind="features",
        split=split,
        feature=types.settings(FTYPE, RATE),
        sampling_rate=RATE,
        dtype="float32",
        protocol_sha256=provenance.protocol_sha256(trials),
        audio_sha256="",
        list_sha256=files.sha256(path),
        versions=versions.current(),
        utterances=[trial.utterance for trial in trials],
        speakers=[trial.speaker for trial in trials],
        n_frames=n_frames,
        index=out.index(),
    )
    provenance.write(path, record)
    return sum(n_frames)


if __name__ == "__main__":
    cli.run(main)
