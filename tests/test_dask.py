"""Dask: a scheduler and two workers as processes of their own, on the loopback interface."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import corpus
from countermeasure import cli, compute, versions
from countermeasure.errors import InputError
from countermeasure.gmm import checkpoints, trainer
from countermeasure.lists.rows import ListFile
from countermeasure.lists.unfinished import UnfinishedList
from countermeasure.options import TrainingOptions
from countermeasure.stages import extraction, recordings, scoring, training
from trainings import write_list

pytest.importorskip("distributed", reason="needs Dask: pip install .[dask]")

ROOT = Path(__file__).resolve().parents[1]
SMALL = TrainingOptions(n_components=8, max_iter=2, tol=0.0)
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


class Cluster:
    """A scheduler and its workers; `deadly` is the file that a worker dies of, see `dying`."""

    def __init__(self, folder, n_workers, *options):
        self._processes, self._folder, self.deadly = ExitStack(), folder, folder / "deadly"
        place = folder / "scheduler.json"
        quiet = ("--no-dashboard", "--scheduler-file", place, "--host", "127.0.0.1")
        self.scheduler = self._start("scheduler", "--port", "0", *quiet)
        workers = ("--nworkers", n_workers, "--nthreads", "1", "--memory-limit", "0", "--local-directory", folder)
        self._start("worker", *quiet, *workers, "--preload", ROOT / "tests" / "dying.py", *options)
        while not place.exists() or not place.read_text():
            time.sleep(0.05)
        self.address = json.loads(place.read_text())["address"]

    def _start(self, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *map(str, arguments)],
            env={**ENVIRONMENT, "DEADLY": str(self.deadly)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
        )
        self._processes.callback(process.wait)
        self._processes.callback(process.terminate)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._processes.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A list of 5,000 frames in each class."""
    rng, items = np.random.default_rng(0), []
    for i in range(60):
        centres = rng.choice([-1, 0, 2], size=(rng.integers(50, 280), 1))
        items.append(((centres + rng.normal(size=(len(centres), 5))).astype(np.float32), ("bonafide", "spoof")[i % 2]))
    return write_list(tmp_path_factory.mktemp("data") / "train-mfcc.pkl", items)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# -- results ---------------------------------------------------------------------------------------


def test_models_and_scores_have_the_same_bytes_though_a_worker_dies(cluster, data, tmp_path, monkeypatch):
    def save(path, state, *others, save=checkpoints.save):
        if len(state.history) == 1:
            cluster.deadly.touch()
        save(path, state, *others)

    monkeypatch.setattr(trainer, "N_BLOCKS", 2)
    monkeypatch.setattr(trainer, "_GROUPS_PER_BLOCK", (2, 256))  # so that groups are of several parts
    training.train(data, tmp_path / "here", SMALL, n_jobs=2)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", save)
        training.train(data, tmp_path / "dask", SMALL, dask=cluster.address)
    assert not cluster.deadly.exists()  # a worker has died of it, twice
    assert contents(tmp_path / "dask") == contents(tmp_path / "here")
    for where, workers in (("here", {"n_jobs": 1}), ("dask", {"dask": cluster.address})):
        scoring.write_frame_scores("train", data, tmp_path / where, "x", tmp_path / where, **workers)
    assert contents(tmp_path / "here" / "train") == contents(tmp_path / "dask" / "train")


def test_features_have_the_same_bytes_though_a_worker_dies(cluster, tmp_path, monkeypatch):
    folder = corpus.make(tmp_path / "LA", n=12)
    arguments = "eval", folder / "ASVspoof2019_LA_eval" / "flac", corpus.protocol(folder, "eval")
    extraction.extract(*arguments, tmp_path / "here", ["mfcc", "silence"], n_jobs=1)
    n_kept = 0

    def add(*some, add=UnfinishedList.add):
        nonlocal n_kept
        n_kept += 1
        if n_kept == 4:
            cluster.deadly.touch()
        return add(*some)

    monkeypatch.setattr(UnfinishedList, "add", add)
    monkeypatch.setattr(recordings, "_BATCH_ELSEWHERE", 1)
    extraction.extract(*arguments, tmp_path / "dask", ["mfcc", "silence"], dask=cluster.address)
    assert not cluster.deadly.exists()
    assert contents(tmp_path / "dask") == contents(tmp_path / "here")
    assert len(contents(tmp_path / "here")) == 4


# -- refusals and losses -----------------------------------------------------------------------------


def test_another_list_under_the_same_path_is_refused(cluster, tmp_path):
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
    with (
        compute.workers(dask=cluster.address) as workers,
        pytest.raises(InputError, match=r"worker tcp://127\.0\.0\.1.*\(features 1, now 0\)"),
    ):
        list(workers.map(abs, [-1]))


def test_results_and_errors_come_in_order_and_only_a_few_tasks_are_taken_ahead(cluster):
    taken = []

    def tasks():
        for i in range(1000):
            taken.append(i)
            yield i

    with compute.workers(dask=cluster.address) as workers:
        results = workers.map(fail_at_three, tasks())
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        time.sleep(0.2)
        assert len(taken) < 20
        with pytest.raises(ValueError, match=r"^three$"):
            next(results)
        assert list(workers.map(abs, [-1, -2])) == [1, 2]


def fail_at_three(i):
    if i == 3:
        raise ValueError("three")
    return i


def test_where_no_scheduler_is_the_caller_is_told(monkeypatch):
    monkeypatch.setattr(compute, "_PATIENCE", 0.3)
    with (
        pytest.raises(InputError, match=r"--dask tcp://127\.0\.0\.1:1: no scheduler.*dask scheduler"),
        compute.workers(dask="tcp://127.0.0.1:1"),
    ):
        pass


def test_messages_of_the_suite_are_shown_and_those_of_dask_are_not(cluster, capsys):
    loggers = [logging.getLogger(name) for name in ("distributed.core", "distributed.gc", "tornado.general", "asyncio")]
    with compute.workers(dask=cluster.address):
        cli.log("a message")
        assert not any(logger.isEnabledFor(logging.CRITICAL) for logger in loggers)
    assert capsys.readouterr().err.endswith("a message\n")
    assert all(logger.isEnabledFor(logging.CRITICAL) for logger in loggers)


@pytest.mark.parametrize("waited", [0, 3])  # while tasks are under way; after the client has given up
def test_a_lost_scheduler_is_told_in_one_line(waited, tmp_path, monkeypatch):
    monkeypatch.setattr(compute, "_PATIENCE", 2)
    monkeypatch.setattr(compute, "_RECOUNT", 0)
    with Cluster(tmp_path, 1, "--no-nanny") as cluster, compute.workers(dask=cluster.address) as workers:
        results = workers.map(abs, range(10**6))
        assert next(results) == 0
        cluster.scheduler.kill()
        time.sleep(waited)
        with pytest.raises(ChildProcessError, match=f"^{cluster.address}: the scheduler was lost"):
            list(results)


def test_ctrl_c_ends_a_run_of_dask_with_one_line(data, tmp_path):
    command = [sys.executable, ROOT / "gmm_train_recur.py", "--data_path", data, "--model_path", "model"]
    settings = ["--n_components", "8", "--max_iter", "1000000", "--tol", "0", "--dask", "local:1"]
    with (
        open(tmp_path / "stderr", "w+") as stderr,
        subprocess.Popen(
            [*map(str, command), *settings], stderr=stderr, cwd=tmp_path, start_new_session=True
        ) as process,
    ):
        try:
            wait_for((tmp_path / "model" / "bonafide.checkpoint.npz").exists)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
    said = (tmp_path / "stderr").read_text().splitlines()
    assert said[-1] == "gmm_train_recur.py: interrupted"
    assert [line for line in said[:-1] if not line.startswith(("bonafide: pass", "warning:"))] == []
    wait_for(lambda: not is_there(process.pid))


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def is_there(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_without_dask_the_caller_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"^--dask: Dask is not installed; pip install \.\[dask\]$"):
        compute.workers(dask="local:2").__enter__()
