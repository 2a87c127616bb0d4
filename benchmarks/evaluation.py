"""How long the evaluation takes and how much memory it needs, on made-up scores of any size.

    python -m benchmarks.evaluation                     # the size of ASVspoof 2019 LA's evaluation set
    python -m benchmarks.evaluation --trials 1000000

Run from the checkout. Process times, without imports; beside reading stands NumPy's own text reader as the yardstick.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from countermeasure import cli
from countermeasure.evaluation.asv import LA_EVAL
from countermeasure.evaluation.results import ATTACK, SPEAKER
from countermeasure.evaluation.study import run_study
from countermeasure.evaluation.text import to_text
from countermeasure.trials.score_files import CmScores, read_cm_scores, write_scores
from tDCF_python import intervals
from tDCF_python.evaluation import cost_functions

ROOT = Path(__file__).resolve().parents[1]
T = TypeVar("T")


def made_up(n_trials: int, path: Path) -> None:
    """Write scores with the shares of ASVspoof 2019 LA: one bona fide trial in ten, 13 attacks, 67 speakers."""
    rng = np.random.default_rng(0)
    bonafide = np.arange(n_trials) % 10 == 0
    attacks = np.arange(n_trials) % 13 + 7
    speakers = rng.integers(67, size=n_trials)
    lines = [
        f"LA_{speaker:04d} LA_E_{k:07d} - {'- bonafide' if real else f'A{attack:02d} spoof'}"
        for k, (speaker, real, attack) in enumerate(zip(speakers, bonafide, attacks, strict=True))
    ]
    write_scores(path, lines, rng.normal(0, 1, n_trials) + 2.6 * bonafide)


READ = """
import resource, sys, time
from countermeasure.trials.protocol import read_protocol
from countermeasure.trials.score_files import read_cm_scores
start = time.process_time()
trials = {"protocol": read_protocol, "scores": read_cm_scores}[sys.argv[1]](sys.argv[2])
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def read_apart(scores: Path) -> None:
    """Read a score file and the protocol of its trials, each in a process that does nothing else."""
    protocol = scores.with_name("protocol.txt")
    protocol.write_text("".join(f"{line.rpartition(' ')[0]}\n" for line in scores.read_text().splitlines()))
    for what, path in (("protocol", protocol), ("scores", scores)):
        command = [sys.executable, "-c", READ, what, str(path)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        seconds, peak = map(float, done.stdout.split())
        print(f"{f'reading the {what}':<58} {seconds:8.3f} s\n{'  its peak memory':<58} {peak:8.0f} MB", flush=True)


def timed(what: str, work: Callable[[], T]) -> T:
    start = time.process_time()
    result = work()
    print(f"{what:<58} {time.process_time() - start:8.3f} s", flush=True)
    return result


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--trials", type=int, default=71237, help="trials of the made-up file (default: 71237)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.txt"
        made_up(args.trials, path)
        # Peaks are those of a process that does nothing else.
        code = f"import score_eval; score_eval.main(['--cm_score', {str(path)!r}, '--asv_score', {LA_EVAL.source!r}])"
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{args.trials:,} trials")
        print(f"{'whole process, plain report (wall clock)':<58} {time.monotonic() - start:8.3f} s")
        print(f"{'  its peak memory':<58} {peak:8.0f} MB")
        read_apart(path)
        scores = read_cm_scores(path)
        if args.trials <= 100_000:
            timed("  the scores by numpy.genfromtxt", lambda: np.genfromtxt(path, dtype=str))
        timed("plain report", lambda: to_text(run_study({"s": scores}, LA_EVAL)))
        timed("tables by attack", lambda: to_text(run_study({"s": scores}, LA_EVAL, by=[ATTACK])))
        timed("tables by speaker", lambda: to_text(run_study({"s": scores}, LA_EVAL, by=[SPEAKER])))
        with_intervals(scores)
    return 0


def with_intervals(scores: CmScores) -> None:
    costs = cost_functions(LA_EVAL.rates)
    for over in (intervals.SPEAKERS, intervals.TRIALS):
        units = intervals.choose_units(scores.speakers, scores.utterances, scores.bonafide, over)
        timed(
            f"intervals of all figures over {over}",
            lambda units=units: intervals.influences(scores.scores, scores.bonafide, units, costs),  # type: ignore[misc]
        )
    timed(
        "all figures by attack, with intervals",
        lambda: run_study({"s": scores}, LA_EVAL, by=[ATTACK], with_intervals=True),
    )


if __name__ == "__main__":
    cli.run(main)
