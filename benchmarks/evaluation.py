"""Time and memory of the evaluation on synthetic scores of any size.

  python -m benchmarks.evaluation                     the size of ASVspoof 2019 LA's evaluation set
  python -m benchmarks.evaluation --trials 1000000

Processor time without imports. Reading is compared with NumPy's reader of text files.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import run, seconds
from countermeasure import cli
from countermeasure.evaluation.asv import LA_EVAL
from countermeasure.evaluation.results import ATTACK, SPEAKER
from countermeasure.evaluation.study import run_study
from countermeasure.evaluation.text import to_text
from countermeasure.trials.score_files import read_cm_scores, write_scores
from tDCF_python import intervals
from tDCF_python.evaluation import cost_functions

READ = "import sys; from countermeasure.trials.{0} import {1} as read; read(sys.argv[1])"


def write_synthetic(n_trials: int, path: Path) -> None:
    """Write scores with the proportions of ASVspoof 2019 LA: 10 % bona fide, 13 attacks, 67 speakers."""
    rng = np.random.default_rng(0)
    bonafide = np.arange(n_trials) % 10 == 0
    attacks = np.arange(n_trials) % 13 + 7
    speakers = rng.integers(67, size=n_trials)
    lines = [
        f"LA_{speaker:04d} LA_E_{k:07d} - {'- bonafide' if real else f'A{attack:02d} spoof'}"
        for k, (speaker, real, attack) in enumerate(zip(speakers, bonafide, attacks, strict=True))
    ]
    write_scores(path, lines, rng.normal(0, 1, n_trials) + 2.6 * bonafide)
    path.with_name("protocol.txt").write_text("\n".join(lines) + "\n")


def show(what: str, work: Callable[[], object]) -> None:
    print(f"{what:44} {seconds(work, time.process_time):8.3f} s", flush=True)


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--trials", type=int, default=71237, help="number of trials (default: 71237)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.txt"
        write_synthetic(args.trials, path)
        print(f"{args.trials:,} trials")
        for what, command in (
            ("score_eval.py", ("score_eval.py", "--cm_score", path, "--asv_score", LA_EVAL.source)),
            ("reading the protocol", ("-c", READ.format("protocol", "read_protocol"), path.with_name("protocol.txt"))),
            ("reading the scores", ("-c", READ.format("score_files", "read_cm_scores"), path)),
        ):
            print(f"{what:44} {run(*command)}", flush=True)
        scores = read_cm_scores(path)
        if args.trials <= 100_000:
            show("reading the scores", lambda: read_cm_scores(path))
            show("reading the scores, numpy.genfromtxt", lambda: np.genfromtxt(path, dtype=str))
        show("plain report", lambda: to_text(run_study({"s": scores}, LA_EVAL)))
        show("tables by attack", lambda: to_text(run_study({"s": scores}, LA_EVAL, by=[ATTACK])))
        show("tables by speaker", lambda: to_text(run_study({"s": scores}, LA_EVAL, by=[SPEAKER])))
        costs = cost_functions(LA_EVAL.rates)
        for over in (intervals.SPEAKERS, intervals.TRIALS):
            columns = scores.columns
            units = intervals.choose_units(columns.speakers, columns.utterances, scores.bonafide, over)
            show(f"intervals over {over}", partial(intervals.influences, scores.scores, scores.bonafide, units, costs))
        with_intervals = partial(run_study, {"s": scores}, LA_EVAL, by=[ATTACK], with_intervals=True)
        show("tables by attack, with intervals", with_intervals)
    return 0


if __name__ == "__main__":
    cli.run(main)
