"""Predict how long training takes on several machines, from what was measured on one.

  python -m benchmarks.scale
  python -m benchmarks.scale --cores 16 --network 1.25

What is predicted is a pass over each class and 30 passes of both, 512 components over 60 dimensions.
docs/scale.md says where the constants come from.
"""

from __future__ import annotations

import argparse
import math

from countermeasure import cli
from countermeasure.gmm.trainer import N_BLOCKS, n_groups

N_PASSES = 30
FRAME_BYTES = 60 * 4
STATISTICS_BYTES = (2 * 60 + 1) * 512 * 8
SIZES = {"LA": 1, "ASVspoof 5": 10, "LA x 100": 100, "ASVspoof 5 x 100": 1000}
FRAMES = {"bona fide": 0.9e6, "spoof": 7.7e6}  # of LA's training set at a hop of 10 ms
MACHINES = (1, 8, 64)


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--cores", type=int, default=2, help="workers a machine (default: %(default)s)")
    add("--frame", type=float, default=3.1e-6, help="seconds of a core a frame (default: %(default)s)")
    add("--task", type=float, default=5e-3, help="seconds of this machine a task (default: %(default)s)")
    add("--latency", type=float, default=0.025, help="seconds a block besides (default: %(default)s)")
    add("--network", type=float, default=0.125, help="GB/s into this machine (default: %(default)s)")
    return parser


def pass_seconds(n_frames: float, n_workers: int, args: argparse.Namespace) -> float:
    """Return the seconds of a pass over a class."""
    rows = n_frames / N_BLOCKS
    n_tasks = n_groups(rows)
    computing = math.ceil(n_tasks / n_workers) * rows / n_tasks * args.frame
    collecting = n_tasks * max(args.task, STATISTICS_BYTES / args.network / 1e9)
    # Statistics are collected while others are computed; the slower of the two decides.
    return N_BLOCKS * (max(computing, collecting) + args.latency)


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    print(f"hours for {N_PASSES} passes over both classes, machines of {args.cores} cores; GB/s read by all of them")
    print(f"{'':18}{'frames':>15}" + "".join(f"{n:>10} machine{'s' * (n > 1)}" for n in MACHINES))
    for name, size in SIZES.items():
        n_frames = sum(FRAMES.values()) * size
        cells = []
        for n in MACHINES:
            seconds = sum(pass_seconds(frames * size, n * args.cores, args) for frames in FRAMES.values())
            cells.append(f"{seconds * N_PASSES / 3600:10.2f} ({n_frames * FRAME_BYTES / seconds / 1e9:.2f})")
        print(f"{name:18}{n_frames:15,.0f}" + "".join(f"{cell:>19}" for cell in cells))
    return 0


if __name__ == "__main__":
    cli.run(main)
