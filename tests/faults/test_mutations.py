"""Damaged and hostile files: read as what they are, or refused in one line; nothing else."""

import contextlib
import copyreg
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from countermeasure.errors import InputError
from countermeasure.gmm.models import read_model
from countermeasure.lists.pickles import read_list
from faults import hostile, worker

ROOT = Path(__file__).resolve().parents[2]
SHORT, LONG = 300, 2500


def in_a_process(folder, *arguments, timeout):
    """Run Python in a folder, with the suite and its tests at hand."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize("kind", worker.PATTERNS)
def test_mutants_are_read_or_refused(kind, samples, tmp_path, is_long, tally):
    count = str(LONG if is_long else SHORT)
    done = in_a_process(tmp_path, "-m", "faults.worker", kind, "0", count, samples, timeout=1200)
    assert done.returncode == 0, done.stderr
    *lost, counts = [json.loads(line) for line in done.stdout.splitlines()]
    for outcome, n in counts.items():
        tally(f"mutants: {kind}", outcome, n)
    assert lost == [], "\n".join(f"{kind} {number} ({how}): {what}" for number, how, what in lost[:10])
    assert counts["accepted"] > 0  # so the mutants are near enough to good files
    assert counts["refused"] > 0


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """The folder that hostile pickles make when they run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / hostile.CANARY


def refusals(piece):
    """Give a piece to every reader in every setting; yield whether it was refused."""
    for content in hostile.whole(piece).values():
        Path("hostile").write_bytes(content)
        for read in (lambda path: list(read_list(path)), read_model):
            with pytest.raises(InputError) as caught:
                read("hostile")
            yield str(caught.value)


@pytest.mark.parametrize("name", [*hostile.RUN, *hostile.EXTENSIONS])
def test_no_way_to_a_global_runs_anything(name, canary, tally):
    piece = {**hostile.RUN, **hostile.EXTENSIONS}[name]
    copyreg.add_extension("os", "mkdir", hostile.EXTENSION_CODE)
    try:
        for message in refusals(piece):
            assert "\n" not in message
            assert not canary.exists()
            tally("hostile pickles", "refused")
        # That plain `pickle.load` runs it is what makes the above worth something.
        with contextlib.suppress(Exception):
            pickle.loads(hostile.whole(piece)["alone"])
        assert canary.exists()
    finally:
        copyreg.remove_extension("os", "mkdir", hostile.EXTENSION_CODE)
        copyreg.clear_extension_cache()


@pytest.mark.parametrize("name", hostile.BAD)
def test_what_is_no_data_is_refused(name, canary, tally):
    for message in refusals(hostile.BAD[name]):
        assert message.replace("\n", " ").isprintable()
        assert len(message) < worker.LONGEST_MESSAGE
        assert not canary.exists()
        tally("hostile pickles", "refused")


def test_bombs_are_refused_with_little_time_and_memory(samples, tmp_path, tally):
    """Each in the worker's limits, which stop what this process would not survive."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from faults import hostile, worker\n"
        "worker.prepare(sys.argv[1])\n"
        "for name, piece in hostile.BAD.items():\n"
        "    for content in hostile.whole(piece).values():\n"
        "        for kind in ('list', 'model'):\n"
        "            print(worker.outcome(kind, content, Path(sys.argv[1])).splitlines()[-1], kind, name, sep='; ')\n"
    )
    done = in_a_process(tmp_path, "-c", program, samples, timeout=300)
    outcomes = done.stdout.splitlines()
    assert len(outcomes) == 8 * len(hostile.BAD), done.stderr
    assert [outcome for outcome in outcomes if not outcome.startswith("refused; ")] == []
    tally("bombs in a small memory", "refused", len(outcomes))


def test_what_shared_parts_make_large_is_loaded_once(tmp_path):
    """A model of 4,000 references to an array of 1 MB is not one of 4 GB."""
    array = hostile._array(b"J\x00\x00\x04\x00\x85", b"B\x00\x00\x10\x00" + bytes(1 << 20))
    references = array + b"q\x000" + b"(" + b"h\x00" * 4000 + b"t"
    (tmp_path / "a").write_bytes(hostile.whole(references)["in a model"])
    tracemalloc.start()
    with pytest.raises(InputError):
        read_model(tmp_path / "a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


def test_arrays_of_one_dtype_object_keep_their_byte_order(tmp_path):
    """The pickle names the dtype once, and the byte order is set after the memo has it."""
    dtype = np.dtype(">f8")
    items = [(np.arange(3.0).astype(dtype), "spoof") for _ in range(3)]
    for protocol in (2, 3, 4, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(items, protocol))
        for array, _ in read_list(tmp_path / "a.pkl"):
            np.testing.assert_array_equal(array, [0, 1, 2])
