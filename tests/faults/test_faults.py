"""Files that are damaged or hostile, and runs that are killed, meet a full disk, or meet each other.

All in one file, so that one process makes what they share.
"""

import contextlib
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from countermeasure.stages import card
from faults import hostile, worker, writers
from faults.launcher import ROOT
from faults.writers import THERE_BEFORE, WRITERS, tree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# What an earlier run has left: without the mark a card, and without a number a score file, would be the user's own.
OLD = f"{card.MARK} 0\nthe rest\n".encode()
# How many mutants of each kind of file, and how many moments to kill each script, usually and with --long.
MUTANTS, KILLS = (15, 1000), (1, 20)


# -- files: read as what they are, or refused in one line; nothing else -----------------------------


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
        [sys.executable, "-m", "faults.worker", str(MUTANTS[is_long]), files],
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


# -- runs --------------------------------------------------------------------------------------------


class Script:
    """A script that writes, and what its run comes to when nothing happens.

    Attributes
    ----------
    files : dict of str to bytes
        The contents of its outputs.
    steps : list of int
        Of a run without and with older files there.
    largest : int
        Bytes of the largest file that it writes.
    """

    def __init__(self, name, workplace, launcher):
        self.name, self._workplace, self._launcher = name, workplace, launcher
        self._before = workplace / THERE_BEFORE[name] if name in THERE_BEFORE else None
        self.files, self.steps = {}, []
        for with_old in (False, True):
            self.prepare(with_old)
            ended = self.run()
            assert ended.status == 0, ended.stderr
            self.files = self.found()
            self.steps.append(ended.steps)
        before = tree(self._before) if self._before else {}
        self.largest = max(len(content) for place, content in self.files.items() if before.get(place) != content)

    def prepare(self, with_old):
        """Leave in the folder of the outputs what the script needs to find there, and files of an earlier run."""
        out = self._workplace / "out"
        if out.exists():
            shutil.rmtree(out)
        if self._before:
            shutil.copytree(self._before, out, ignore=shutil.ignore_patterns("README.md"))
        for place in self.files if with_old else ():
            path = out / place
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(OLD)

    def run(self, **options):
        return self._launcher.run(self._workplace, self.name, *WRITERS[self.name], **options)

    def found(self):
        return tree(self._workplace / "out")

    def assert_whole(self, with_old):
        """Check that every file under a final name is the old one or the new one, and others cannot be taken for it."""
        found = self.found()
        for place, content in found.items():
            if place in self.files:
                assert content in (self.files[place], OLD), f"{place} is half a file"
            else:
                assert Path(place).name.startswith(".") or place.endswith(".checkpoint.npz"), place
        assert not with_old or self.files.keys() <= found.keys()

    def assert_one_line(self, ended, status, words):
        """Check that a run ended with a status and with a line on why, its last one."""
        assert ended.status == status, (ended.status, ended.stderr)
        assert "Traceback" not in ended.stderr
        assert sum(f"{self.name}.py: " in line for line in ended.stderr.splitlines()) == 1
        assert words in ended.stderr.splitlines()[-1]


@pytest.fixture(scope="module", params=WRITERS)
def script(request, workplace, launcher):
    return Script(request.param, workplace, launcher)


def test_a_killed_run_leaves_whole_files_and_the_next_one_completes_them(script, is_long):
    """Killed before a step, which no run gets past, or in the middle of writing a file."""
    rng = random.Random(f"kill {script.name}")
    kills = [{"kill_at": rng.randrange(script.steps[i % 2])} for i in range(KILLS[is_long])]
    for number, kill in enumerate([*kills, {"largest_file": script.largest // 2, "kill_when_full": True}]):
        with_old = number % 2 == 1 or "largest_file" in kill
        script.prepare(with_old)
        ended = script.run(**kill)
        assert ended.status in (-signal.SIGKILL, -signal.SIGXFSZ), ended.stderr
        script.assert_whole(with_old)
        ended = script.run()
        assert ended.status == 0, (ended.status, ended.stderr)
        assert script.found() == script.files


def test_a_full_disk_is_said_in_one_line_and_leaves_whole_files(script):
    script.prepare(with_old=True)
    script.assert_one_line(script.run(largest_file=script.largest // 3), 1, "File too large")
    script.assert_whole(with_old=True)


def test_two_runs_into_the_same_output_do_not_mix(script, launcher, is_long):
    """One stops before a step; another begins and ends; the first goes on."""
    last = script.steps[0] - 1
    for stop_at in range(0, last + 1, max(1, last // 10)) if is_long else [last // 2]:
        script.prepare(with_old=False)
        first = script.run(stop_at=stop_at)
        assert first.status is None, first.stderr  # it is at work
        both = script.run(), launcher.resume(first)
        assert 0 in [ended.status for ended in both]
        for ended in both:
            if ended.status:
                script.assert_one_line(ended, 2, "another run is at work")
        assert script.found() == script.files
