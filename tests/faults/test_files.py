"""Damaged and hostile files: read as what they are, or refused in one line; nothing else."""

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections import defaultdict

import pytest

from faults import hostile, worker, writers
from faults.launcher import ROOT

SHORT, LONG = 15, 1000


@pytest.fixture(scope="module")
def files(workplace, launcher):
    """The workplace, with a checkpoint and ASV scores beside what the scripts have made."""
    keys = ["target", "nontarget", "spoof"] * 3
    (workplace / "asv.txt").write_text("".join(f"A07 {key} {-i / 7}\n" for i, key in enumerate(keys)))
    for step in range(10, 60):  # until one is killed between two passes
        shutil.rmtree(workplace / "unfinished", ignore_errors=True)
        launcher.run(workplace, "gmm_train_recur", *writers.TRAIN, "--model_path", "unfinished", kill_at=step)
        if (workplace / worker.SAMPLES["checkpoint"]).exists():
            return workplace
    raise AssertionError("no run left a checkpoint")


@pytest.fixture(scope="module")
def outcomes(files, is_long):
    """What the worker says of each mutant and each hostile pickle, by kind and name."""
    done = subprocess.run(
        [sys.executable, "-m", "faults.worker", str(LONG if is_long else SHORT), files],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = defaultdict(dict)
    for kind, name, outcome in map(json.loads, done.stdout.splitlines()):
        found[kind][name] = outcome
    return found


@pytest.mark.parametrize("kind", worker.SAMPLES)
def test_mutants_are_read_or_refused(kind, outcomes):
    found = outcomes[kind]
    assert found.pop("the good file") == "accepted"
    assert {name: each for name, each in found.items() if each not in ("accepted", "refused")} == {}
    assert "refused" in found.values()


@pytest.mark.parametrize("kind", ["list", "model"])
def test_hostile_pickles_are_refused_with_little_time_and_memory(kind, outcomes):
    found = outcomes[f"hostile {kind}"]
    assert len(found) == {"list": 2, "model": 1}[kind] * len(hostile.RUN | hostile.BAD)
    assert {name: each for name, each in found.items() if each != "refused"} == {}


@pytest.mark.parametrize("name", hostile.RUN)
def test_plain_pickle_runs_what_is_called_hostile(name, tmp_path, monkeypatch):
    """Otherwise, refusing it would prove nothing."""
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(pickle.UnpicklingError, TypeError):
        pickle.loads(hostile.whole("list", hostile.RUN[name])["alone"])
    assert (tmp_path / hostile.CANARY).exists()
