"""Dask: a scheduler and workers as processes of their own, on the loopback interface."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

import corpus
from countermeasure import compute, options, versions
from countermeasure.errors import InputError
from countermeasure.gmm import checkpoints, trainer
from countermeasure.lists.pickles import ListWriter
from countermeasure.lists.unfinished import UnfinishedList
from countermeasure.options import TrainingOptions
from countermeasure.stages import extraction, recordings, scoring, training

pytest.importorskip("distributed", reason="needs Dask: pip install .[dask]")

ROOT = Path(__file__).resolve().parents[1]
SMALL = TrainingOptions(n_components=8, max_iter=2, tol=0.0)
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


class Cluster:
    """A scheduler and two workers; `deadly` is the file that a worker dies of, see `dying`."""

    def __init__(self, folder, n_workers=2):
        self.folder, self.deadly, self._n_workers = folder, folder / "deadly", n_workers

    def __enter__(self):
        self._processes = ExitStack()
        place = self.folder / "scheduler.json"
        quiet = ("--no-dashboard", "--scheduler-file", place)
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", *quiet)
        for _ in range(self._n_workers):
            self._start(
                "worker", *quiet, "--host", "127.0.0.1", "--nthreads", "1", "--memory-limit", "0",
                "--local-directory", self.folder, "--preload", ROOT / "tests" / "dying.py",
            )  # fmt: skip
        while not place.exists() or not place.read_text():
            time.sleep(0.05)
        self.address = json.loads(place.read_text())["address"]
        with compute.workers(dask=self.address):  # waits for the first
            return self

    def _start(self, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, arguments)],
            env={**ENVIRONMENT, "DEADLY": str(self.deadly)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        self._processes.callback(process.wait)
        self._processes.callback(process.terminate)
        return process

    def __exit__(self, *exception):
        self._processes.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A list of 20,000 frames in each class."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "train-mfcc.pkl"
    with ListWriter(path) as out:
        for i in range(240):
            centres = rng.choice([-1, 0, 2], size=(rng.integers(50, 280), 1))
            out.append((centres + rng.normal(size=(len(centres), 5))).astype(np.float32), ("bonafide", "spoof")[i % 2])
    return path


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    """The models' bytes, made by this very process."""
    folder = tmp_path_factory.mktemp("models") / "one"
    training.train(data, folder, SMALL, n_jobs=1)
    return contents(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# -- results ---------------------------------------------------------------------------------------


def test_models_have_the_same_bytes(cluster, data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_GROUPS_PER_BLOCK", (2, 256))  # so that groups are of several parts
    training.train(data, tmp_path / "one", SMALL, n_jobs=1)
    training.train(data, tmp_path / "two", SMALL, n_jobs=2)
    training.train(data, tmp_path / "dask", SMALL, dask=cluster.address)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert contents(tmp_path / "dask") == contents(tmp_path / "one")
    assert contents(tmp_path / "one").keys() == {"README.md", "bon.gmm", "sp.gmm"}


def test_scores_have_the_same_bytes(cluster, data, expected, tmp_path):
    for name, content in expected.items():
        (tmp_path / name).write_bytes(content)
    for where, conduct in (("here", {"n_jobs": 1}), ("dask", {"dask": cluster.address})):
        scoring.write_frame_scores("train", data, tmp_path, "x", tmp_path / where, **conduct)
    assert contents(tmp_path / "here" / "train") == contents(tmp_path / "dask" / "train")
    assert len(contents(tmp_path / "here" / "train")) == 2


def test_a_worker_killed_in_training_is_survived(cluster, data, expected, tmp_path, monkeypatch):
    def save(path, state, *others, save=checkpoints.save):
        if len(state.history) == 1:
            cluster.deadly.touch()
        save(path, state, *others)

    monkeypatch.setattr(checkpoints, "save", save)
    training.train(data, tmp_path / "killed", SMALL, dask=cluster.address)
    assert not cluster.deadly.exists()  # a worker has died of it, twice
    assert contents(tmp_path / "killed") == expected


def test_a_worker_killed_in_extraction_is_survived(cluster, tmp_path, monkeypatch):
    folder = corpus.make(tmp_path / "LA", n=30)
    arguments = "eval", folder / "ASVspoof2019_LA_eval" / "flac", corpus.protocol(folder, "eval")
    extraction.extract(*arguments, tmp_path / "here", ["mfcc", "silence"], n_jobs=1)
    assert len(contents(tmp_path / "here")) == 4
    n_kept = 0

    def add(*some, add=UnfinishedList.add):
        nonlocal n_kept
        n_kept += 1
        if n_kept == 10:
            cluster.deadly.touch()
        return add(*some)

    monkeypatch.setattr(UnfinishedList, "add", add)
    monkeypatch.setattr(recordings, "_BATCH_RECORDINGS", 2)
    extraction.extract(*arguments, tmp_path / "dask", ["mfcc", "silence"], dask=cluster.address)
    assert not cluster.deadly.exists()
    assert contents(tmp_path / "dask") == contents(tmp_path / "here")


# -- refusals and losses -----------------------------------------------------------------------------


def test_another_list_under_the_same_path_is_refused(cluster, tmp_path):
    from countermeasure.lists.rows import ListFile

    path = tmp_path / "list.pkl"
    path.write_bytes(bytes(1000))
    with ListFile(path) as file, compute.workers(dask=cluster.address) as workers:
        assert file.identity
        path.unlink()
        with pytest.raises(InputError, match=r"list\.pkl: No such file.*same path"):
            list(workers.map(first_byte, [file]))
        path.write_bytes(b"\1" * 1000)
        with pytest.raises(InputError, match=r"list\.pkl: on .* is another list"):
            list(workers.map(first_byte, [file]))
        path.write_bytes(bytes(1000))
        assert list(workers.map(first_byte, [file])) == [0]


def first_byte(file):
    array = np.ones(1, np.uint8)
    file.read_into(array, 0)
    return int(array[0])


def test_workers_of_other_versions_are_refused(cluster, monkeypatch):
    monkeypatch.setattr(versions, "COMPARED", {"format": "1", "features": "0"})
    with compute.workers(dask=cluster.address) as workers, pytest.raises(InputError) as caught:
        list(workers.map(abs, [-1]))
    assert "(features 1, now 0)" in str(caught.value)
    assert "tcp://127.0.0.1" in str(caught.value)


def test_errors_come_through_in_their_place_and_workers_go_on(cluster):
    with compute.workers(dask=cluster.address) as workers:
        results = workers.map(fail_at_three, range(100))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match=r"^three$"):
            next(results)
        assert list(workers.map(abs, [-1, -2])) == [1, 2]


def fail_at_three(i):
    if i == 3:
        raise ValueError("three")
    return i


def test_only_a_few_tasks_are_taken_ahead(cluster):
    taken = []

    def tasks():
        for i in range(1000):
            taken.append(i)
            yield i

    with compute.workers(dask=cluster.address) as workers:
        results = workers.map(abs, tasks())
        assert [next(results) for _ in range(5)] == list(range(5))
        time.sleep(0.2)
        assert len(taken) < 20
        results.close()


def test_where_no_scheduler_is_the_caller_is_told(monkeypatch):
    monkeypatch.setattr(compute, "_PATIENCE", 0.3)
    with (
        pytest.raises(InputError, match=r"--dask tcp://127\.0\.0\.1:1: no scheduler.*dask scheduler"),
        compute.workers(dask="tcp://127.0.0.1:1"),
    ):
        pass


@contextmanager
def script(tmp_path, data, *arguments):
    """A training in a process group of its own; `stderr` is its file."""
    command = [sys.executable, ROOT / "gmm_train_recur.py", "--data_path", data, "--n_components", "8", "--max_iter"]
    with (
        open(tmp_path / "stderr", "w+") as stderr,
        subprocess.Popen(
            [*map(str, command), *arguments, "--model_path", "model"],
            stderr=stderr,
            cwd=tmp_path,
            env=ENVIRONMENT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


def test_processes_of_this_machine_give_the_same_bytes(data, expected, tmp_path):
    with script(tmp_path, data, "2", "--tol", "0", "--dask", "local:2") as process:
        assert process.wait(60) == 0, (tmp_path / "stderr").read_text()
    assert contents(tmp_path / "model") == expected


def test_ctrl_c_ends_a_run_of_dask_with_one_line(data, tmp_path):
    with script(tmp_path, data, "1000000", "--tol", "0", "--dask", "local:2") as process:
        wait_for(tmp_path / "model" / "bonafide.checkpoint.npz")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    said = (tmp_path / "stderr").read_text().splitlines()
    assert said[-1] == "gmm_train_recur.py: interrupted"
    assert [line for line in said[:-1] if not line.startswith(("bonafide: pass", "warning:"))] == []
    deadline = time.monotonic() + 10
    while is_there(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_there(process.pid)


def is_there(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_lost_scheduler_ends_the_run_with_one_line_and_the_checkpoint_kept(data, expected, tmp_path):
    with (
        Cluster(tmp_path, n_workers=1) as cluster,
        script(tmp_path, data, "1000000", "--tol", "0", "--dask", cluster.address) as process,
    ):
        wait_for(tmp_path / "model" / "bonafide.checkpoint.npz")
        cluster.scheduler.kill()
        assert process.wait(60) == 1
    said = (tmp_path / "stderr").read_text().splitlines()
    assert said[-1].startswith(f"gmm_train_recur.py: {cluster.address}: the scheduler was lost")
    assert [line for line in said[:-1] if not line.startswith(("bonafide: pass", "warning:"))] == []
    assert (tmp_path / "model" / "bonafide.checkpoint.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dask", "somewhere"), "'somewhere' is neither tcp://HOST:PORT"),
        (("--dask", "local:0"), "'local:0': local:N takes from 1 to"),
        (("--dask", "local:999999999999"), "local:N takes from 1 to"),
        (("--dask", "tcp://"), "'tcp://' is neither"),
        (("--dask", "tcp://node1"), "'tcp://node1' is neither"),
        (("--dask", "tcp://node1:99999"), "'tcp://node1:99999' is neither"),
        (("--dask", "gopher://node1:8786"), "is neither tcp://HOST:PORT"),
        (("--dask", "local:2", "--n_jobs", "2"), "not allowed with argument"),
    ],
)
def test_an_address_that_is_none_is_refused(capsys, arguments, message):
    parser = argparse.ArgumentParser()
    options.add_workers(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    assert message in capsys.readouterr().err


def test_without_dask_one_line_says_what_to_install(data, tmp_path):
    (tmp_path / "distributed.py").write_text("raise ImportError('not here')\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, ROOT / "gmm_train_recur.py", "--data_path", data, "--model_path", "m", "--dask", "local:2"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "gmm_train_recur.py: --dask: Dask is not installed; pip install .[dask]\n",
    )
