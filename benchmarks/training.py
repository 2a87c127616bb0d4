"""Time training and scoring against scikit-learn and against their matrix products alone.

  python -m benchmarks.training
  python -m benchmarks.training --only memory --n_utterances 25380
  python -m benchmarks.training --only convergence heldout \\
      --data_path data/train/train-mfcc.pkl --heldout_path data/dev/dev-mfcc.pkl

All times are medians of runs that take turns with what they are compared with; quote the ratios.
"""

from __future__ import annotations

import argparse
import csv
import pickle
import statistics
import tempfile
import warnings
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.make_list import FRAMES_PER_UTTERANCE, make_list, protocol_path
from benchmarks.measure import medians, run, seconds
from countermeasure import cli
from countermeasure.compute import n_cores, workers
from countermeasure.gmm.kernel import TILE
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import model_files, read_model, read_pair
from countermeasure.gmm.scores import score_items
from countermeasure.lists.pickles import read_list
from countermeasure.lists.table import Table
from countermeasure.options import TrainingOptions
from countermeasure.stages import training


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[*PARTS], help="what to measure (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument("--n_utterances", type=int, default=6000, help="for memory (default: %(default)s)")
    parser.add_argument("--data_path", help="list to train on for convergence and heldout (default: a synthetic one)")
    parser.add_argument("--heldout_path", help="list of other speakers for heldout")
    parser.add_argument("--n_components", type=int, default=512, help="per class (default: %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    warnings.simplefilter("ignore")  # scikit-learn's, of fits that are stopped on purpose
    print(f"{n_cores()} cores, {args.n_components} components, medians of {args.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        for part in args.only:
            PARTS[part](Path(folder), args)
    return 0


def synthetic(path: Path, n_frames: int) -> Path:
    make_list(path, n_frames // FRAMES_PER_UTTERANCE)
    return path


def pass_seconds(path: Path, folder: Path, n_components: int) -> float:
    """Return the median seconds of a pass over the spoof frames, from the training's own history."""
    log = folder / "history.csv"
    settings = TrainingOptions(n_components=n_components, tol=0, max_iter=4, em="batch")
    training.train(path, folder / "model", settings, log=log, restart=True)
    with open(log, newline="") as file:
        return statistics.median(float(row["seconds"]) for row in csv.DictReader(file) if row["class"] == "spoof")


def frames_of(path: str | Path, label: str = "spoof") -> np.ndarray:
    return np.concatenate([array for array, own in read_list(path) if own == label and array is not None])


def scikit_learn(start: Parameters, **options: object):
    """Return scikit-learn's mixture, to be fitted from the same start."""
    from sklearn.mixture import GaussianMixture

    given = {"weights_init": start.weights, "means_init": start.means, "precisions_init": 1 / start.variances}
    return GaussianMixture(start.n_components, covariance_type="diag", **given, **options)


def iteration_seconds(frames: np.ndarray, start: Parameters) -> float:
    """Return the seconds of one of scikit-learn's EM iterations, in float64."""
    one, four = (seconds(partial(scikit_learn(start, max_iter=n, tol=0).fit, frames)) for n in (1, 4))
    return (four - one) / 3


def products_seconds(n_frames: int, n_components: int, n_dims: int) -> float:
    """Return the seconds of a pass's two matrix products alone, in tiles, with a thread per core."""
    rng = np.random.default_rng(0)
    xi = rng.normal(size=(TILE, 2 * n_dims + 1)).astype(np.float32)
    matrix = rng.normal(size=(2 * n_dims + 1, n_components)).astype(np.float32)

    def products(_: int) -> None:
        joint = np.empty((TILE, n_components), np.float32)
        for _ in range(4):
            np.matmul(xi, matrix, out=joint)
            xi.T @ joint

    n_tasks = max(1, round(n_frames / TILE / 4))
    with workers(None) as threads:
        return seconds(lambda: list(threads.map(products, range(n_tasks)))) * n_frames / (n_tasks * 4 * TILE)


def passes(folder: Path, args: argparse.Namespace) -> None:
    """A pass against an iteration of scikit-learn and against the matrix products."""
    path = synthetic(folder / "passes.pkl", 220_000)
    frames = frames_of(path)
    pass_seconds(path, folder, args.n_components)
    start = read_model(model_files(folder / "model")[1]).parameters

    peers = {
        "its two matrix products alone": partial(products_seconds, len(frames), args.n_components, frames.shape[1]),
        "an iteration of scikit-learn": partial(iteration_seconds, frames.astype(np.float64), start),
    }
    print(f"pass over {len(frames):,} frames:")
    for name, peer in peers.items():  # one after the other: scikit-learn's threads keep spinning for a while
        times = [(pass_seconds(path, folder, args.n_components), peer()) for _ in range(args.repeats)]
        own, theirs = np.median(times, axis=0)
        ratio = statistics.median(theirs / own for own, theirs in times)
        print(f"  {own:.3f} s; {name} {theirs:.3f} s, {ratio:.2f} times as long")


def convergence(folder: Path, args: argparse.Namespace) -> None:
    """Passes of incremental and of batch EM to within 0.02 nats of the converged log-likelihood."""
    path = Path(args.data_path) if args.data_path else synthetic(folder / "convergence.pkl", 400_000)
    for em in ("batch", "incremental"):
        options = TrainingOptions(n_components=args.n_components, tol=1e-4, max_iter=400, em=em)
        training.train(path, folder / em, options, restart=True)
    for name in ("bon.gmm", "sp.gmm"):
        models = {em: read_model(folder / em / name) for em in ("batch", "incremental")}
        # They end in different optima; what counts is the way to what both have reached.
        target = min(model.lower_bound for model in models.values()) - 0.02
        for em, model in models.items():
            history = np.array([*model.history, model.lower_bound])
            print(
                f"{name}, {em}: {len(history)} passes to {model.lower_bound:.4f}, "
                f"{1 + int(np.argmax(history >= target))} to {target:.4f}"
            )


def heldout(folder: Path, args: argparse.Namespace) -> None:
    """Held-out log-likelihood of this training and of scikit-learn's full fit from the same start."""
    if not (args.data_path and args.heldout_path):
        print("heldout: needs --data_path and --heldout_path")
        return
    # The start is that of both after one pass.
    options = TrainingOptions(n_components=args.n_components, max_iter=1, em="batch")
    training.train(args.data_path, folder / "start", options, restart=True)
    options = TrainingOptions(n_components=args.n_components)
    training.train(args.data_path, folder / "full", options, folder / "start", restart=True)
    pairs = zip(model_files(folder / "start"), model_files(folder / "full"), strict=True)
    for label, (start, full) in zip(("bonafide", "spoof"), pairs, strict=True):
        frames, others = frames_of(args.data_path, label), frames_of(args.heldout_path, label)
        model = read_model(full)
        theirs = scikit_learn(read_model(start).parameters, max_iter=300, tol=1e-3)
        duration = seconds(partial(theirs.fit, frames.astype(np.float64)))
        ours = pickle.loads(full.read_bytes())
        print(
            f"{label}: held out, {ours.score(others):.4f} nats a frame after {model.n_iter} passes; scikit-learn "
            f"{theirs.score(others):.4f} after {theirs.n_iter_} iterations ({duration:.1f} s)"
        )


def scoring(folder: Path, args: argparse.Namespace) -> None:
    """LLRs of a list's files against scikit-learn's `score`, file by file."""
    path = synthetic(folder / "scoring.pkl", 250_000)
    training.train(path, folder / "model", TrainingOptions(n_components=args.n_components, max_iter=1), restart=True)
    pair = read_pair(*model_files(folder / "model"))
    bon, sp = (pickle.loads(model.read_bytes()) for model in model_files(folder / "model"))
    utterances = [array.astype(np.float64) for array, _ in read_list(path) if array is not None]

    def ours() -> list[float]:
        with workers() as threads, Table([path]) as table:
            return [one.llr for one in score_items(table, pair, threads)]

    def theirs() -> list[float]:
        return [bon.score(frames) - sp.score(frames) for frames in utterances]

    times = medians({"ours": ours, "theirs": theirs}, args.repeats)
    print(
        f"scoring {len(utterances)} files: {times['ours']:.2f} s; scikit-learn {times['theirs']:.2f} s, "
        f"{times['theirs'] / times['ours']:.1f} times as long; LLRs differ by "
        f"{np.abs(np.subtract(ours(), theirs())).max():.1e} at most"
    )


def memory(folder: Path, args: argparse.Namespace) -> None:
    """Peak memory of training and scoring, for half the utterances and for all."""
    for n in (args.n_utterances // 2, args.n_utterances):
        path, model = folder / "memory.pkl", folder / "memory"
        n_frames = make_list(path, n)
        options = ("--data_path", path, "--n_components", args.n_components, "--max_iter", 2, "--restart")
        print(f"training, {n_frames:,} frames:", run("gmm_train_recur.py", *options, "--model_path", model), flush=True)
        models = ("--model_path_bon", model / "bon.gmm", "--model_path_sp", model / "sp.gmm")
        places = ("--label_path", protocol_path(path), "--output_path", folder / "scores.txt")
        print(f"scoring, {n_frames:,} frames:", run("gmm_test.py", "--data_path", path, *models, *places), flush=True)


PARTS = {part.__name__: part for part in (passes, convergence, heldout, scoring, memory)}


if __name__ == "__main__":
    cli.run(main)
