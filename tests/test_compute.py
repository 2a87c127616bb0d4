import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from countermeasure.compute import Threads, map_ordered, n_cores

ROOT = Path(__file__).resolve().parents[1]


# Functions that other processes find by their name.


def slow_at_first(i):
    """Take longest for the first items, so that later ones are done before them."""
    time.sleep(max(0, 0.15 - 0.05 * i))
    return i, os.getpid()


def fail_at_three(i):
    if i == 3:
        raise ValueError("three")
    return i


def die_at_three(i):
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def own_id(_):
    time.sleep(0.05)
    return os.getpid()


def blas_threads(_):
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)


def products(seed):
    a = np.random.default_rng(seed).normal(size=(200, 300)).astype(np.float32)
    return a @ a.T


class Counted:
    """Items that count how many were asked for."""

    def __init__(self, n=10**9):
        self.n, self.taken = n, 0

    def __iter__(self):
        while self.taken < self.n:
            self.taken += 1
            yield self.taken - 1


# -- processes -------------------------------------------------------------------------------------


def test_n_cores_is_what_this_process_may_use():
    assert 1 <= n_cores() <= os.cpu_count()


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_results_come_in_the_items_order(n_jobs):
    results = list(map_ordered(slow_at_first, range(8), n_jobs))
    assert [i for i, _ in results] == list(range(8))
    processes = {process for _, process in results}
    assert (processes == {os.getpid()}) is (n_jobs == 1)
    assert len(processes) <= n_jobs


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_nothing_is_nothing(n_jobs):
    assert list(map_ordered(fail_at_three, [], n_jobs)) == []


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_only_a_few_items_are_taken_ahead(n_jobs):
    items = Counted()
    results = map_ordered(abs, items, n_jobs)
    for i in range(20):
        assert next(results) == i
        assert items.taken <= i + 1 + 2 * n_jobs
    results.close()  # comes back, though the items have no end


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_comes_through_in_its_place(n_jobs):
    results = map_ordered(fail_at_three, range(100), n_jobs)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"^three$"):
        next(results)
    assert list(results) == []


def test_an_error_of_the_items_comes_through():
    def items():
        yield 1
        raise KeyError("items")

    with pytest.raises(KeyError, match="items"):
        list(map_ordered(abs, items(), 2))


def test_a_killed_process_is_told():
    with pytest.raises(ChildProcessError, match=r"ended from outside.*--n_jobs"):
        list(map_ordered(die_at_three, range(100), 2))


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes where Linux shows them")
def test_no_process_is_left():
    results = map_ordered(own_id, range(1000), 2)
    workers = {next(results) for _ in range(4)}
    results.close()
    assert not [worker for worker in workers if os.path.exists(f"/proc/{worker}")]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_process_computes_with_one_thread(n_jobs):
    before = blas_threads(None)
    assert list(map_ordered(blas_threads, range(4), n_jobs)) == [1] * 4
    assert blas_threads(None) == before


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="sends Ctrl-C as a terminal does")
def test_ctrl_c_ends_all_processes_quietly(tmp_path):
    """A terminal sends it to the whole group, workers included."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from countermeasure import cli, compute\n"
        "from countermeasure.files import replace_when_whole\n"
        "from test_compute import own_id\n"
        "def main():\n"
        "    with replace_when_whole('out/a.txt', text=True) as f:\n"
        "        for i, process in enumerate(compute.map_ordered(own_id, range(10**6), 2)):\n"
        "            f.write(f'{process}\\n')\n"
        "            print(process, flush=True)\n"
        "            if i == 5:\n"
        "                time.sleep(0.5)\n"  # by then the others wait for work
        "                print('ready', flush=True)\n"
        "                time.sleep(20)\n"
        "if __name__ == '__main__':\n"
        "    cli.run(main)\n"
    )
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    ) as process:
        workers = {int(process.stdout.readline()) for _ in range(6)}
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        try:
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "script.py: interrupted\n")
    assert list((tmp_path / "out").iterdir()) == []
    assert process.pid not in workers
    if os.path.isdir("/proc"):
        assert not [worker for worker in workers if os.path.exists(f"/proc/{worker}")]


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for processes where Linux shows them")
def test_processes_end_with_a_killed_parent(tmp_path):
    program = (
        "import sys\n"
        "from countermeasure import compute\n"
        "from test_compute import own_id\n"
        "for process in compute.map_ordered(own_id, range(10**6), 2):\n"
        "    print(process, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    ) as process:
        workers = {int(process.stdout.readline()) for _ in range(6)}
        process.kill()
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{worker}") for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers if os.path.exists(f"/proc/{worker}")]


# -- threads ---------------------------------------------------------------------------------------


def test_threads_give_the_same_results_however_many_they_are():
    results = {}
    for n_jobs in (1, 3):
        with Threads(n_jobs) as threads:
            results[n_jobs] = [array.tobytes() for array in threads.map(products, range(12))]
    assert results[1] == results[3]
    assert results[1] == [products(seed).tobytes() for seed in range(12)]


def test_threads_work_at_once_and_in_order():
    meeting = threading.Barrier(3, timeout=20)

    def meet(i):
        meeting.wait()  # passed only by three together
        time.sleep(0.02 * (2 - i % 3))
        return i

    with Threads(3) as threads:
        assert list(threads.map(meet, range(9))) == list(range(9))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_threads_take_only_a_few_items_ahead(n_jobs):
    items = Counted()
    with Threads(n_jobs) as threads:
        results = iter(threads.map(abs, items))
        for i in range(20):
            assert next(results) == i
            assert items.taken <= i + 1 + 2 * n_jobs


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_in_a_thread_comes_through_in_its_place(n_jobs):
    with Threads(n_jobs) as threads:
        results = iter(threads.map(fail_at_three, range(100)))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match=r"^three$"):
            next(results)
        # Others find the threads as they were.
        assert list(threads.map(abs, [-1, -2])) == [1, 2]


def test_threads_have_one_blas_thread_each_and_give_them_back():
    before = blas_threads(None)
    alive = threading.active_count()
    for n_jobs in (1, 2):
        with Threads(n_jobs) as threads:
            assert list(threads.map(blas_threads, range(4))) == [1] * 4
        assert blas_threads(None) == before
        assert threading.active_count() == alive
