"""Time training and scoring against scikit-learn and against what their matrix products alone cost.

  python -m benchmarks.training
  python -m benchmarks.training --only memory --n_frames 8600000
  python -m benchmarks.training --only convergence heldout \\
      --data_path data/train/train-mfcc.pkl --heldout_path data/dev/dev-mfcc.pkl

All figures are medians of runs that take turns with what they are compared with; quote the ratios.
"""

from __future__ import annotations

import argparse
import csv
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import make_list
from countermeasure import cli
from countermeasure.compute import n_cores, workers
from countermeasure.gmm.kernel import TILE
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, model_files, read_model, write_model
from countermeasure.lists.pickles import read_list
from countermeasure.options import TrainingOptions
from countermeasure.stages import training

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("passes", "growth", "convergence", "heldout", "scoring", "memory")


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument("--n_frames", type=int, default=2_000_000, help="of the list for memory (default: %(default)s)")
    parser.add_argument("--data_path", help="list to train on for convergence and heldout (default: a synthetic one)")
    parser.add_argument("--heldout_path", help="list of other speakers for heldout")
    parser.add_argument("--n_components", type=int, default=512, help="Gaussians a class (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    print(f"{n_cores()} cores, {args.n_components} components, medians of {args.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        for part in args.only:
            globals()[part](Path(folder), args)
    return 0


# -- what is timed ---------------------------------------------------------------------------------


def synthetic(path: Path, n_frames: int) -> Path:
    make_list.main([str(path), "--n_frames", str(n_frames)])
    return path


def run(script: str, *arguments: object) -> int:
    """Run a script; return its peak resident memory in MB."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    program = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return int(done.stdout) // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def pass_seconds(path: Path, folder: Path, n_jobs: int | None = None, **options: object) -> list[float]:
    """Return the seconds of each pass over the spoof frames, by the training's own history."""
    log = folder / "history.csv"
    settings = TrainingOptions(**{"tol": 0, "max_iter": 4, "em": "batch", **options})  # type: ignore[arg-type]
    training.train(path, folder / "model", settings, log=log, restart=True, n_jobs=n_jobs)
    with open(log, newline="") as file:
        return [float(row["seconds"]) for row in csv.DictReader(file) if row["class"] == "spoof"]


def frames_of(path: str | Path, label: str = "spoof") -> np.ndarray:
    return np.concatenate([array for array, own in read_list(path) if own == label and array is not None])


def scikit_learn(start: Parameters, **options: object):
    """Return scikit-learn's mixture, to be fitted from the same start."""
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(
        start.n_components,
        covariance_type="diag",
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=1 / start.variances,
        **options,
    )


def iteration_seconds(frames: np.ndarray, start: Parameters) -> float:
    """Return the seconds of one of scikit-learn's EM iterations, in float64."""
    durations = []
    for n in (1, 4):
        durations.append(timed(partial(scikit_learn(start, max_iter=n, tol=0).fit, frames)))
    return (durations[1] - durations[0]) / 3


def products_seconds(n_frames: int, n_components: int, n_dims: int, n_jobs: int | None = None) -> float:
    """Return the seconds of a pass's two matrix products alone, in tiles, with as many threads."""
    rng = np.random.default_rng(0)
    xi = rng.normal(size=(TILE, 2 * n_dims + 1)).astype(np.float32)
    matrix = rng.normal(size=(2 * n_dims + 1, n_components)).astype(np.float32)

    def products(_: int) -> None:
        joint = np.empty((TILE, n_components), np.float32)
        for _ in range(4):
            np.matmul(xi, matrix, out=joint)
            xi.T @ joint

    n_tiles = max(1, round(n_frames / TILE / 4))
    with workers(n_jobs) as threads:
        seconds = timed(lambda: list(threads.map(products, range(n_tiles))))
    return seconds * n_frames / (n_tiles * 4 * TILE)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def median(values: list[float]) -> float:
    return statistics.median(values)


# -- the tables ------------------------------------------------------------------------------------


def passes(folder: Path, args: argparse.Namespace) -> None:
    """One pass against an iteration of scikit-learn and against the matrix products."""
    path = synthetic(folder / "passes.pkl", 220_000)
    frames = frames_of(path)
    pass_seconds(path, folder, n_components=args.n_components)
    start = read_model(model_files(folder / "model")[1]).parameters

    def spoof_pass() -> float:
        return median(pass_seconds(path, folder, n_components=args.n_components))

    # In two rounds: threads of scikit-learn's products go on spinning for a while.
    rounds = [(spoof_pass(), products_seconds(len(frames), args.n_components, 60)) for _ in range(args.repeats)]
    over = median([own / products for own, products in rounds])
    own, products = (median(list(seconds)) for seconds in zip(*rounds, strict=True))
    print(
        f"pass over {len(frames):,} frames: {own:.3f} s; its two matrix products alone {products:.3f} s: "
        f"{over:.2f} times as long"
    )
    rounds = [(spoof_pass(), iteration_seconds(frames.astype(np.float64), start)) for _ in range(args.repeats)]
    ratio = median([theirs / own for own, theirs in rounds])
    print(f"scikit-learn's iteration: {median([theirs for _, theirs in rounds]):.3f} s, {ratio:.1f} times a pass")


def growth(folder: Path, args: argparse.Namespace) -> None:
    """Seconds a pass over frames, components and threads."""
    base = 100_000
    path = synthetic(folder / "growth.pkl", 8 * base)
    print("seconds a pass")
    for factor in (1, 2, 4, 8):
        part = synthetic(folder / "part.pkl", factor * base) if factor < 8 else path
        print(
            f"  {factor * base:9,} frames      {median(pass_seconds(part, folder, n_components=args.n_components)):.3f}"
        )
    for n in (64, 256, 512, 1024):
        print(f"  {n:9,} components  {median(pass_seconds(path, folder, n_components=n)):.3f}")
    for n in range(1, n_cores() + 1):
        print(f"  {n:9,} threads     {median(pass_seconds(path, folder, n, n_components=args.n_components)):.3f}")


def convergence(folder: Path, args: argparse.Namespace) -> None:
    """Passes of incremental and of batch EM to within 0.02 nats of the converged log-likelihood."""
    path = Path(args.data_path) if args.data_path else synthetic(folder / "convergence.pkl", 400_000)
    for em in ("batch", "incremental"):
        options = TrainingOptions(n_components=args.n_components, tol=1e-4, max_iter=400, em=em)
        training.train(path, folder / em, options, restart=True)
    for name in ("bon.gmm", "sp.gmm"):
        found = {em: _history(folder / em / name) for em in ("batch", "incremental")}
        # They end in different optima; what counts is the way to what both have reached.
        target = min(bound for _, bound in found.values()) - 0.02
        needed = {em: 1 + int(np.argmax(history >= target)) for em, (history, _) in found.items()}
        ends = ", ".join(f"{em} {len(history)} passes to {bound:.4f}" for em, (history, bound) in found.items())
        share = needed["incremental"] / needed["batch"]
        print(f"{name}: {ends}; to {target:.4f} in {needed['incremental']} and {needed['batch']} passes, {share:.0%}")


def _history(model_path: Path) -> tuple[np.ndarray, float]:
    model = read_model(model_path)
    return np.array([*model.history, model.lower_bound]), model.lower_bound


def heldout(folder: Path, args: argparse.Namespace) -> None:
    """Held-out log-likelihood of this training and of scikit-learn's full fit from the same start."""
    if not (args.data_path and args.heldout_path):
        print("heldout: needs --data_path and --heldout_path")
        return
    # One pass from the seeds, so that there is one start for both.
    options = TrainingOptions(n_components=args.n_components, max_iter=1, em="batch")
    training.train(args.data_path, folder / "start", options, restart=True)
    options = TrainingOptions(n_components=args.n_components)
    training.train(args.data_path, folder / "full", options, folder / "start", restart=True)
    for label, start_path, full_path in zip(
        ("bonafide", "spoof"), model_files(folder / "start"), model_files(folder / "full"), strict=True
    ):
        frames, others = frames_of(args.data_path, label), frames_of(args.heldout_path, label)
        start, full = read_model(start_path), read_model(full_path)
        theirs = scikit_learn(start.parameters, max_iter=300, tol=1e-3)
        seconds = timed(partial(theirs.fit, frames.astype(np.float64)))
        write_model(folder / "ours.gmm", Model(full.parameters))
        with open(folder / "ours.gmm", "rb") as file:
            ours = pickle.load(file)
        print(
            f"{label}: held-out {ours.score(others):.4f} nats a frame after {full.n_iter} passes, "
            f"scikit-learn's full fit {theirs.score(others):.4f} after {theirs.n_iter_} iterations ({seconds:.1f} s)"
        )


def scoring(folder: Path, args: argparse.Namespace) -> None:
    """1,500 utterances of 170 frames against ``gmm.score`` a file."""
    from countermeasure.gmm.models import read_pair
    from countermeasure.gmm.scores import score_items
    from countermeasure.lists.pickles import ListWriter
    from countermeasure.lists.table import Table

    path = synthetic(folder / "train.pkl", 100_000)
    pass_seconds(path, folder, n_components=args.n_components, max_iter=1)
    rng = np.random.default_rng(0)
    frames = frames_of(path)[:25_500]
    with ListWriter(folder / "eval.pkl") as out:
        for i in range(1500):
            out.append(np.roll(frames, -17 * i, axis=0)[:170], "spoof" if rng.random() < 0.9 else "bonafide")
    pair = read_pair(*model_files(folder / "model"))
    models = []
    for model_path in model_files(folder / "model"):
        with open(model_path, "rb") as file:
            models.append(pickle.load(file))
    utterances = [array.astype(np.float64) for array, _ in read_list(folder / "eval.pkl") if array is not None]

    def ours() -> list[float]:
        with workers() as threads, Table([folder / "eval.pkl"]) as table:
            return [one.scores.llr for one in score_items(table, pair, threads)]

    def theirs() -> list[float]:
        return [models[0].score(frames) - models[1].score(frames) for frames in utterances]

    difference = np.abs(np.subtract(ours(), theirs())).max()
    pairs = [(timed(ours), timed(theirs)) for _ in range(args.repeats)]
    ratio = median([t / o for o, t in pairs])
    print(
        f"scoring 1,500 utterances of 170 frames: {median([o for o, _ in pairs]):.2f} s; a file at a time with "
        f"scikit-learn {median([t for _, t in pairs]):.2f} s, {ratio:.1f} times as long; "
        f"LLRs differ by {difference:.1e} at most"
    )


def memory(folder: Path, args: argparse.Namespace) -> None:
    """Peak resident memory of training and of scoring, at half the number of frames and at all of it."""
    for n in (args.n_frames // 2, args.n_frames):
        path = synthetic(folder / "memory.pkl", n)
        options = ("--data_path", path, "--model_path", folder / "memory", "--n_components", args.n_components)
        trained = run("gmm_train_recur.py", *options, "--max_iter", 2, "--restart")
        scored = run(
            "gmm_ensemble_preprocess.py", *options[:4], "--data_split", "train",
            "--model_name", "x", "--output_path", folder / "scores",
        )  # fmt: skip
        print(
            f"{n:,} frames x 60 ({path.stat().st_size / 1e6:,.0f} MB): "
            f"training {trained} MB, scoring {scored} MB at most"
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # scikit-learn's, of fits that are stopped on purpose
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cli.run(main)
