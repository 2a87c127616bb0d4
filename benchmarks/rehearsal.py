"""Rehearse a base model on synthetic lists of the size of ASVspoof 2019 LA: time and peak memory of each step.

  python -m benchmarks.rehearsal --folder /tmp/rehearsal
  python -m benchmarks.rehearsal --folder /tmp/small --scale 0.01
  python -m benchmarks.rehearsal --folder /tmp/small --scale 0.1 --only workers

The lists (25,380 and 71,237 utterances, 8 GB) stay in the folder; see `benchmarks.make_list`.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from pathlib import Path

from benchmarks.make_list import FTYPE, protocol_path
from benchmarks.measure import run
from countermeasure import cli, options

SPLITS = {"train": 25_380, "eval": 71_237}  # utterances of ASVspoof 2019 LA


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for lists, models and scores")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the utterances (default: %(default)s)")
    parser.add_argument("--n_components", type=int, default=512, help="per class (default: %(default)s)")
    parser.add_argument("--only", choices=("pipeline", "workers"), default="pipeline", help="(default: %(default)s)")
    parser.add_argument("--passes", type=int, default=3, help="passes to compare workers by (default: %(default)s)")
    options.add_workers(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    args.folder = args.folder.resolve()
    for split, n in SPLITS.items():
        path = list_path(args, split)
        if not path.exists():
            making = ("--split", split, "--n_utterances", max(200, round(n * args.scale)))
            print(f"{f'{split} list':24}", run("-m", "benchmarks.make_list", path, *making), flush=True)
    (pipeline if args.only == "pipeline" else workers)(args)
    return 0


def list_path(args: argparse.Namespace, split: str) -> Path:
    return args.folder / "data" / split / f"{split}-{FTYPE}.pkl"


def training(args: argparse.Namespace, model_path: Path) -> list[object]:
    given = ["--data_path", list_path(args, "train"), "--model_path", model_path]
    return ["gmm_train_recur.py", *given, "--n_components", args.n_components, "--restart"]


def pipeline(args: argparse.Namespace) -> None:
    """From lists to a score file."""
    where = ["--n_jobs", args.n_jobs] if args.n_jobs else ["--dask", args.dask] if args.dask else []
    model, data = args.folder / "model", list_path(args, "eval")
    print(f"{'gmm_train_recur.py':24}", run(*training(args, model), *where), flush=True)
    models = ["--model_path_bon", model / "bon.gmm", "--model_path_sp", model / "sp.gmm"]
    places = ["--label_path", protocol_path(data), "--output_path", args.folder / "output" / "eval.txt"]
    print(f"{'gmm_test.py':24}", run("gmm_test.py", "--data_path", data, *models, *places, *where), flush=True)


def workers(args: argparse.Namespace) -> None:
    """Training with one and two workers of Dask against as many threads, in turns."""
    kinds = {f"{n} local": ("--n_jobs", n) for n in (1, 2)} | {f"{n} Dask": ("--dask", f"local:{n}") for n in (1, 2)}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    log = args.folder / "history.csv"
    for _ in range(3):
        for kind, where in kinds.items():
            limits = ["--max_iter", args.passes, "--tol", 0, "--log", log]
            print(f"{kind:24}", run(*training(args, args.folder / "workers"), *limits, *where), flush=True)
            with open(log, newline="") as file:
                # Caches are cold in the first pass.
                seconds[kind].append(sum(float(row["seconds"]) for row in csv.DictReader(file) if row["pass"] != "1"))
    for n in (1, 2):
        local, dask = (statistics.median(seconds[f"{n} {name}"]) for name in ("local", "Dask"))
        print(f"{n}: passes {local:.2f} s local, {dask:.2f} s Dask, {dask / local - 1:+.0%}")


if __name__ == "__main__":
    cli.run(main)
