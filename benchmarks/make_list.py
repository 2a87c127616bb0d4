"""Write a synthetic feature list of any length, as a stream.

  python -m benchmarks.make_list /tmp/train-mfcc.pkl --n_frames 8600000

Frames wander between clusters as speech does between sounds; one recording in ten is bona fide, as in
the training set of ASVspoof 2019 LA. Recordings last 1 to 13 s, 3.4 s on average, at 10 ms a frame.
"""

from __future__ import annotations

import argparse

import numpy as np

from countermeasure import cli
from countermeasure.lists.pickles import ListWriter

N_DIMS = 60
N_SOUNDS = 400


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("path", help="the list to write")
    parser.add_argument("--n_frames", type=int, default=2_000_000, help="frames in all (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help="type of the arrays (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    rng = np.random.default_rng(args.seed)
    # Scales as unlike each other as those of cepstra and their second differences.
    scale = np.geomspace(20, 0.05, N_DIMS)
    sounds = {label: rng.normal(size=(N_SOUNDS, N_DIMS)) for label in ("bonafide", "spoof")}
    written = 0
    with ListWriter(args.path) as out:
        while written < args.n_frames:
            n = min(int(np.clip(rng.gamma(5.0, 68.0), 100, 1300)), args.n_frames - written)
            label = "bonafide" if rng.random() < 0.1 else "spoof"
            spoken = np.repeat(rng.integers(N_SOUNDS, size=n // 8 + 1), 8)[:n]
            frames = (sounds[label][spoken] + 0.7 * rng.normal(size=(n, N_DIMS))) * scale
            out.append(frames.astype(args.dtype), label)
            written += n
    return 0


if __name__ == "__main__":
    cli.run(main)
