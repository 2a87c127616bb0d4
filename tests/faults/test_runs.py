"""Runs that are killed, meet a full disk, or meet each other."""

import os
import random
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from countermeasure.stages import card
from faults.writers import THERE_BEFORE, WRITERS, tree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
OLD = f"{card.MARK}\nwhat an earlier run has left\n".encode()  # a card without the mark would be the user's own
SHORT, LONG = 2, 20


class Undisturbed(NamedTuple):
    """What a run comes to when nothing happens: its files, and its steps without and with older files there."""

    files: dict[str, bytes]
    steps: tuple[int, int]


@pytest.fixture(scope="module")
def undisturbed(workplace, launcher):
    """A function that returns what a script's run comes to when nothing happens."""
    known = {}

    def run(name):
        if name not in known:
            steps, files = [], {}
            for _ in range(2):
                clean(workplace, name)
                leave_old(workplace, files)
                ended = launcher.run(workplace, name, *WRITERS[name])
                assert ended.status == 0, ended.stderr
                files = tree(workplace / "out")
                steps.append(ended.steps)
            known[name] = Undisturbed(files, tuple(steps))
        return known[name]

    return run


@pytest.fixture(params=WRITERS)
def name(request):
    return request.param


def clean(workplace, name):
    """Leave in the folder of the outputs what a script needs to find there."""
    out = workplace / "out"
    if out.exists():
        shutil.rmtree(out)
    if name in THERE_BEFORE:
        shutil.copytree(workplace / THERE_BEFORE[name], out, ignore=shutil.ignore_patterns("README.md"))


def leave_old(workplace, files):
    """Put files of an earlier run where the outputs go."""
    for place in files:
        path = workplace / "out" / place
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(OLD)


def assert_whole(workplace, good, with_old=False):
    """Check that every file under a final name is the old one or the new one, and others cannot be taken for such."""
    found = tree(workplace / "out") if (workplace / "out").exists() else {}
    for place, content in found.items():
        if place in good.files:
            assert content in (good.files[place], OLD), f"{place} is half a file"
        else:
            assert Path(place).name.startswith(".") or place.endswith(".checkpoint.npz"), place
    if with_old:
        assert good.files.keys() <= found.keys()


def assert_one_line(ended, name, status, words):
    """Check that a run ended with a status and with a line on why, its last one."""
    assert ended.status == status, (ended.status, ended.stderr)
    assert "Traceback" not in ended.stderr
    assert sum(f"{name}.py: " in line for line in ended.stderr.splitlines()) == 1
    assert words in ended.stderr.splitlines()[-1]


def largest_new(workplace, name, good):
    """Return the bytes of the largest file that a script writes."""
    there_before = tree(workplace / THERE_BEFORE[name]) if name in THERE_BEFORE else {}
    return max(len(content) for place, content in good.files.items() if there_before.get(place) != content)


def test_a_killed_run_leaves_whole_files_and_the_next_one_completes_them(
    name, workplace, launcher, undisturbed, is_long
):
    """Killed before a step, which no run gets past, or in the middle of writing a file."""
    good = undisturbed(name)
    rng = random.Random(f"kill {name}")
    kills = [{"kill_at": rng.randrange(good.steps[i % 2])} for i in range(LONG if is_long else SHORT)]
    kills += [{"largest_file": largest_new(workplace, name, good) // 2, "kill_when_full": True}]
    for number, kill in enumerate(kills, 1):
        with_old = number % 2 == 0 or "largest_file" in kill
        clean(workplace, name)
        if with_old:
            leave_old(workplace, good.files)
        ended = launcher.run(workplace, name, *WRITERS[name], **kill)
        assert ended.status in (-signal.SIGKILL, -signal.SIGXFSZ), ended.stderr
        assert_whole(workplace, good, with_old)
        ended = launcher.run(workplace, name, *WRITERS[name])
        assert ended.status == 0, (ended.status, ended.stderr)
        assert tree(workplace / "out") == good.files


def test_a_full_disk_is_said_in_one_line_and_leaves_whole_files(name, workplace, launcher, undisturbed):
    good = undisturbed(name)
    clean(workplace, name)
    leave_old(workplace, good.files)
    room = largest_new(workplace, name, good) // 3
    assert_one_line(launcher.run(workplace, name, *WRITERS[name], largest_file=room), name, 1, "File too large")
    assert_whole(workplace, good, with_old=True)


def test_two_runs_into_the_same_output_do_not_mix(name, workplace, launcher, undisturbed, is_long):
    """One stops before a step; another begins and ends; the first goes on."""
    good = undisturbed(name)
    last = good.steps[0] - 1
    for stop_at in range(0, last + 1, max(1, last // 10)) if is_long else {last // 2, last}:
        clean(workplace, name)
        first = launcher.run(workplace, name, *WRITERS[name], stop_at=stop_at)
        assert first.status is None, first.stderr  # it is at work
        both = launcher.run(workplace, name, *WRITERS[name]), launcher.resume(first)
        assert 0 in [ended.status for ended in both]
        for ended in both:
            if ended.status:
                assert_one_line(ended, name, 2, "another run is at work")
        assert tree(workplace / "out") == good.files
