"""Runs that are killed, meet a full disk or a locked folder, or meet each other."""

import os
import random
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from countermeasure.stages import card
from faults.launcher import SECONDS
from faults.scripts import THERE_BEFORE, WRITERS, is_final, prepare, tree

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
KILLED = -9
OLD = f"{card.MARK}\nwhat an earlier run has left\n".encode()  # a card without the mark would be the user's own
SHORT, LONG = 3, 30


class Undisturbed(NamedTuple):
    files: dict[str, bytes]
    seconds: float
    steps: int


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, launcher):
    folder = tmp_path_factory.mktemp("faults") / "work"
    folder.mkdir()
    prepare(folder, launcher)
    return folder


@pytest.fixture(scope="module")
def undisturbed(workplace, launcher):
    """A function that returns what a script's run comes to when nothing happens."""
    known = {}

    def run(name):
        if name not in known:
            first = launcher.run(clean(workplace, name), name, *WRITERS[name])
            assert first.status == 0, first.stderr
            known[name] = Undisturbed(tree(workplace / "out"), first.seconds, first.steps)
        return known[name]

    return run


@pytest.fixture(params=WRITERS)
def name(request):
    if request.param == "score_eval":
        pytest.importorskip("matplotlib")
    return request.param


def clean(workplace, name):
    """Leave in the folder of the outputs what a script needs to find there."""
    out = workplace / "out"
    if out.exists():
        out.chmod(0o755)
        shutil.rmtree(out)
    if name in THERE_BEFORE:
        shutil.copytree(workplace / THERE_BEFORE[name], out, ignore=shutil.ignore_patterns("README.md"))
    return workplace


def leave_old(workplace, name, good):
    """Put files of an earlier run where the outputs go; return whether there are any."""
    for place in filter(is_final, good.files):
        path = workplace / "out" / place
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(OLD)
    return True


def assert_whole(workplace, good, with_old):
    """Check that every file under a final name is the old one or the new one."""
    found = tree(workplace / "out") if (workplace / "out").exists() else {}
    for place, content in found.items():
        if is_final(place):
            assert content in (good.files[place], OLD), f"{place} is half a file"
    if with_old:
        assert {place for place in good.files if is_final(place)} <= found.keys()


def assert_calm(ended, *statuses):
    """Check that a run ended as it may: in time, with one of the statuses, without a traceback."""
    assert ended.status in statuses, (ended.status, ended.stderr)
    assert "Traceback" not in ended.stderr
    assert "Warning" not in ended.stderr
    assert ended.seconds < SECONDS


def assert_mended(workplace, launcher, name, good):
    """Run the script again, and check that its outputs are those of an undisturbed run."""
    assert_calm(launcher.run(workplace, name, *WRITERS[name]), 0)
    found = tree(workplace / "out")
    assert sorted(found) == sorted(good.files)
    assert [place for place in found if found[place] != good.files[place]] == []


def test_a_killed_run_leaves_whole_files_and_the_next_one_mends_it(
    name, workplace, launcher, undisturbed, is_long, tally
):
    good = undisturbed(name)
    rng = random.Random(f"kill {name}")
    for number in range(LONG if is_long else SHORT):
        clean(workplace, name)
        with_old = number % 2 == 1 and leave_old(workplace, name, good)
        at_step = number % 3 < 2
        moment = (
            {"kill_at_step": rng.randrange(good.steps)} if at_step else {"kill_after": rng.uniform(0, good.seconds)}
        )
        ended = launcher.run(workplace, name, *WRITERS[name], **moment)
        assert_calm(ended, KILLED, 0)  # 0: where folders were there already, it had fewer steps to go
        assert_whole(workplace, good, with_old)
        assert_mended(workplace, launcher, name, good)
        tally(f"kill -9: {name}", "killed" if ended.status == KILLED else "done before")


def test_a_full_disk_is_said_in_one_line_and_leaves_whole_files(name, workplace, launcher, undisturbed, is_long, tally):
    good = undisturbed(name)
    rng = random.Random(f"disk {name}")
    clean(workplace, name)
    there_before = tree(workplace / "out") if name in THERE_BEFORE else {}
    largest = max(len(content) for place, content in good.files.items() if place not in there_before)
    for number in range(8 if is_long else 1):
        clean(workplace, name)
        with_old = number % 2 == 0 and leave_old(workplace, name, good)
        ended = launcher.run(workplace, name, *WRITERS[name], largest_file=rng.randrange(largest))
        assert_calm(ended, 1)
        assert sum(f"{name}.py: " in line for line in ended.stderr.splitlines()) == 1
        assert "File too large" in ended.stderr.splitlines()[-1]
        assert_whole(workplace, good, with_old)
        assert_mended(workplace, launcher, name, good)
        tally("full disk", "said so")


def test_a_folder_that_cannot_be_written_is_said_in_one_line(name, workplace, launcher, undisturbed, tally):
    good = undisturbed(name)
    clean(workplace, name)
    leave_old(workplace, name, good)
    before = tree(workplace / "out") if (workplace / "out").exists() else {}
    folders = [path for path in (workplace / "out").rglob("*") if path.is_dir()]
    (workplace / "out").mkdir(exist_ok=True)
    for path in [*folders, workplace / "out"]:
        path.chmod(0o555)
    # To root no folder is locked, so it becomes nobody, who reaches the files by relative paths, and in whose
    # eyes the suite is there only if everybody may look into all folders above it.
    if os.geteuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in Path(__file__).resolve().parents):
        for path in [*folders, workplace / "out"]:
            path.chmod(0o755)
        pytest.skip("runs as root, and the checkout is in a folder that only root can read")
    workplace.chmod(0o755)
    ended = launcher.run(workplace, name, *WRITERS[name], uid=65534 if os.geteuid() == 0 else None)
    for path in [workplace / "out", *folders]:
        path.chmod(0o755)
    assert_calm(ended, 2)
    complaint = ended.stderr.splitlines()[-1]
    assert complaint.startswith(f"{name}.py: out")
    assert "Permission denied" in complaint
    assert tree(workplace / "out") == before
    tally("locked folder", "said so")


def test_two_runs_into_the_same_output_do_not_mix(
    name, workplace, launcher, other_launcher, undisturbed, is_long, tally
):
    good = undisturbed(name)
    other_launcher.run(workplace, "gmm_test", "-h")  # it is ready now
    for _ in range(5 if is_long else 1):
        clean(workplace, name)
        for one in (launcher, other_launcher):
            one.start(workplace, name, *WRITERS[name])
        both = [launcher.wait(), other_launcher.wait()]
        for ended in both:
            assert_calm(ended, 0, 2)
            if ended.status == 2:
                assert "another run is at work" in ended.stderr.splitlines()[-1]
        assert 0 in [ended.status for ended in both]
        assert_mended(workplace, launcher, name, good)
        tally("two runs at once", "both right" if both[0].status == both[1].status else "the later one refused")


def test_every_script_that_writes_is_tried(workplace):
    root = Path(__file__).resolve().parents[2]
    writers = {path.stem for path in root.glob("*.py") if "_path" in path.read_text() or "report" in path.read_text()}
    assert writers - set(WRITERS) <= {"silence_measure"}
