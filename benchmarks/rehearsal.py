"""Rehearse a base model on lists of the size of ASVspoof 2019 LA: time and peak memory of each step.

  python -m benchmarks.rehearsal --folder /tmp/rehearsal
  python -m benchmarks.rehearsal --folder /tmp/small --scale 0.01
  python -m benchmarks.rehearsal --folder /tmp/small --scale 0.1 --only workers

The lists are made up: 25,380 and 71,237 utterances of 1 to 13 s, 3.4 s on average, at a hop of 10 ms,
one in ten bona fide; 8 GB on disk. Their frames glide between sounds, with a speaker's offset and
noise whose dimensions are correlated, so there are no clusters for EM to find at once. Figures of merit
that come out say nothing about speech.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from countermeasure import cli, files, options, versions
from countermeasure.features import types
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ListWriter
from countermeasure.trials.lines import BONAFIDE, SPOOF
from countermeasure.trials.protocol import read_protocol

ROOT = Path(__file__).resolve().parents[1]
# Bona fide and spoofed utterances of ASVspoof 2019 LA.
SPLITS = {"train": (2580, 22800), "eval": (7355, 63882)}
N_DIMS = 60
N_SOUNDS = 200
N_SPEAKERS = 40
RATE = 16000


def build_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for lists, models and scores; lists are kept")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the utterances (default: %(default)s)")
    parser.add_argument("--n_components", type=int, default=512, help="Gaussians a class (default: %(default)s)")
    parser.add_argument(
        "--only",
        choices=("pipeline", "workers", "lists"),
        default="pipeline",
        help="what to run (default: %(default)s)",
    )
    parser.add_argument("--passes", type=int, default=3, help="passes to compare workers by (default: %(default)s)")
    options.add_workers(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.only == "lists":
        with threadpool_limits(1):  # small products, which several threads only slow down
            for split in SPLITS:
                make(args.folder, split, args.scale)
        return 0
    if not all(list_path(args.folder, split).exists() for split in SPLITS):
        # In a process of its own, whose memory is not counted as that of those that are started from here.
        command = ["-m", "benchmarks.rehearsal", "--only", "lists", "--folder", args.folder, "--scale", args.scale]
        report("lists", *run(*command))
    {"pipeline": pipeline, "workers": workers}[args.only](args)
    return 0


# -- lists -----------------------------------------------------------------------------------------


def list_path(folder: Path, split: str) -> Path:
    return folder / "data" / split / f"{split}-mfcc-25.pkl"


def protocol_path(folder: Path, split: str) -> Path:
    return folder / f"{split}.txt"


def make(folder: Path, split: str, scale: float) -> None:
    """Write a list, its record and its protocol; the list goes to the disk as a stream."""
    rng = np.random.default_rng([len(split), 2019])
    voices = np.random.default_rng(2019)  # of both splits
    sounds = {BONAFIDE: voices.normal(size=(N_SOUNDS, N_DIMS))}
    sounds[SPOOF] = sounds[BONAFIDE] + 0.4 * voices.normal(size=(N_SOUNDS, N_DIMS))
    speakers = 0.3 * voices.normal(size=(N_SPEAKERS, N_DIMS))
    mixing = np.linalg.qr(voices.normal(size=(N_DIMS, N_DIMS)))[0] * np.geomspace(0.9, 0.3, N_DIMS)
    # Scales as unlike each other as those of cepstra and their second differences.
    scales = np.geomspace(20, 0.05, N_DIMS)
    sounds = {label: (array * scales).astype(np.float32) for label, array in sounds.items()}
    speakers, mixing = (speakers * scales).astype(np.float32), (mixing * scales).astype(np.float32)
    labels = np.repeat([BONAFIDE, SPOOF], [max(20, round(n * scale)) for n in SPLITS[split]])
    rng.shuffle(labels)
    path = list_path(folder, split)
    lines, n_frames = [], []
    with ListWriter(path) as out:
        for i, label in enumerate(labels.tolist()):
            speaker = int(rng.integers(N_SPEAKERS))
            attack = f"A{rng.integers(1, 7):02d}" if label == SPOOF else "-"
            lines.append(f"LA_{speaker:04d} LA_{split[0].upper()}_{1000000 + i} - {attack} {label}")
            n = int(np.clip(rng.gamma(5.0, 68.0), 100, 1300))
            # A new sound is reached every eight frames, on a straight way from the one before.
            places = np.arange(n) / 8
            before = places.astype(int)
            way = (places - before).astype(np.float32)[:, None]
            heard = sounds[label][rng.integers(N_SOUNDS, size=n // 8 + 2)]
            frames = heard[before] * (1 - way) + heard[before + 1] * way + speakers[speaker]
            frames += rng.standard_normal((n, N_DIMS), np.float32) @ mixing
            out.append(frames, label)
            n_frames.append(n)
    with files.replace_when_whole(protocol_path(folder, split), text=True) as f:
        f.writelines(f"{line}\n" for line in lines)
    trials = read_protocol(protocol_path(folder, split))
    record = provenance.Record(
        kind="features",
        split=split,
        feature=types.settings("mfcc-25", RATE),
        sampling_rate=RATE,
        dtype="float32",
        protocol_sha256=provenance.protocol_sha256(trials),
        audio_sha256="",
        list_sha256=files.sha256(path),
        versions=versions.current(),
        utterances=[trial.utterance for trial in trials],
        speakers=[trial.speaker for trial in trials],
        n_frames=n_frames,
        index=out.index,
    )
    provenance.write(path, record)
    print(f"{split}: {len(lines):,} utterances, {sum(n_frames):,} frames, {path.stat().st_size / 1e9:.2f} GB")


# -- steps -----------------------------------------------------------------------------------------


def run(*command: object, quiet: bool = False) -> tuple[float, float, int]:
    """Run Python; return wall and processor time in seconds, and the largest process's peak memory in MB."""
    began = time.perf_counter()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, *map(str, command)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)] if quiet else [],
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise ChildProcessError(f"{command[0]} ended with status {os.waitstatus_to_exitcode(status)}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // unit


def report(step: str, wall: float, processor: float, memory: int) -> None:
    print(f"{step:24} {wall:8.1f} s {processor:8.1f} s of processor time {memory:6d} MB", flush=True)


def training_command(args: argparse.Namespace, model_path: Path) -> list[object]:
    return [
        ROOT / "gmm_train_recur.py", "--data_path", list_path(args.folder, "train"), "--model_path", model_path,
        "--n_components", args.n_components, "--restart",
    ]  # fmt: skip


def pipeline(args: argparse.Namespace) -> None:
    """From lists to a score file."""
    where = ["--n_jobs", args.n_jobs] if args.n_jobs else ["--dask", args.dask] if args.dask else []
    model = args.folder / "model"
    report("gmm_train_recur.py", *run(*training_command(args, model), *where))
    testing = [
        ROOT / "gmm_test.py", "--data_path", list_path(args.folder, "eval"), "--model_path_bon", model / "bon.gmm",
        "--model_path_sp", model / "sp.gmm", "--label_path", protocol_path(args.folder, "eval"),
        "--output_path", args.folder / "output" / "eval.txt",
    ]  # fmt: skip
    report("gmm_test.py", *run(*testing, *where))


def workers(args: argparse.Namespace) -> None:
    """Training with one and two workers of Dask against as many threads, in turns."""
    kinds = {
        f"{n} {name}": (option, value)
        for n in (1, 2)
        for name, option, value in (("local", "--n_jobs", str(n)), ("Dask", "--dask", f"local:{n}"))
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(3):
        for kind, where in kinds.items():
            log = args.folder / "history.csv"
            limits = ["--max_iter", args.passes, "--tol", 0, "--log", log]
            report(kind, *run(*training_command(args, args.folder / "workers"), *limits, *where, quiet=True))
            with open(log, newline="") as file:
                # The first pass has the same work, but caches are cold.
                passes = [float(row["seconds"]) for row in csv.DictReader(file) if row["pass"] != "1"]
            seconds[kind].append(sum(passes))
    for n in (1, 2):
        local, dask = (statistics.median(seconds[f"{n} {name}"]) for name in ("local", "Dask"))
        print(f"{n}: passes {local:.2f} s local, {dask:.2f} s Dask, {dask / local - 1:+.0%}")


if __name__ == "__main__":
    cli.run(main)
