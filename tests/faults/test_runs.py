"""Runs that are killed, meet a full disk, or meet each other."""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from countermeasure.stages import card
from faults.writers import THERE_BEFORE, WRITERS, tree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
OLD = f"{card.MARK}\nwhat an earlier run has left\n".encode()  # a card without the mark would be the user's own
SHORT, LONG = 1, 20


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
    kills = [{"kill_at": rng.randrange(script.steps[i % 2])} for i in range(LONG if is_long else SHORT)]
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
