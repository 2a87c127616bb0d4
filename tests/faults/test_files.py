"""Damaged and hostile files: read as what they are, or refused in one line; nothing else."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from faults import hostile, worker
from faults.launcher import ROOT

SHORT, LONG = 60, 1000


@pytest.fixture(scope="module")
def files(workplace, launcher):
    """The workplace, with a checkpoint and ASV scores beside what the scripts have made."""
    keys = ["target", "nontarget", "spoof"] * 3
    (workplace / "asv.txt").write_text("".join(f"A07 {key} {-i / 7}\n" for i, key in enumerate(keys)))
    arguments = ["--model_path", "unfinished", *worker.TRAIN]
    for step in range(10, 60):  # until one is killed between two passes
        shutil.rmtree(workplace / "unfinished", ignore_errors=True)
        launcher.run(workplace, "gmm_train_recur", *arguments, kill_at=step)
        if (workplace / worker.SAMPLES["checkpoint"]).exists():
            return workplace
    raise AssertionError("no run left a checkpoint")


def outcomes(kind, count, files):
    """Return what a worker says of mutants of a kind, or of hostile pickles."""
    done = subprocess.run(
        [sys.executable, "-m", "faults.worker", kind, str(count), files],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    good, *rest = (json.loads(line) for line in done.stdout.splitlines())
    assert good[1] == "accepted", good
    return rest


@pytest.mark.parametrize("kind", worker.SAMPLES)
def test_mutants_are_read_or_refused(kind, files, is_long):
    found = outcomes(kind, LONG if is_long else SHORT, files)
    assert [each for each in found if each[1] not in ("accepted", "refused")] == []
    assert "refused" in {result for _, result in found}


@pytest.mark.parametrize("kind", ["list", "model"])
def test_hostile_pickles_are_refused_with_little_time_and_memory(kind, files):
    found = outcomes(kind, 0, files)
    assert len(found) == 4 * len(hostile.RUN | hostile.BAD)
    assert [each for each in found if each[1] != "refused"] == []


@pytest.mark.parametrize("name", hostile.RUN)
def test_plain_pickle_runs_what_is_called_hostile(name, tmp_path):
    """Else that the readers refuse it would say nothing."""
    program = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    content = hostile.whole(hostile.RUN[name])["alone"]
    subprocess.run([sys.executable, "-c", program], input=content, cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / hostile.CANARY).exists()
