import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from pickle import PicklingError

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from countermeasure.compute import n_cores, workers

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


# -- both kinds ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[(1, False), (2, False), (2, True)], ids=["here", "threads", "processes"])
def some(request):
    """Workers of one kind."""
    n_jobs, processes = request.param
    with workers(n_jobs, processes=processes) as some:
        some.n_jobs, some.are_processes = n_jobs, processes
        yield some


def test_n_cores_is_what_this_process_may_use(monkeypatch):
    assert 1 <= n_cores() <= os.cpu_count()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # as joblib is told how many to take
    assert n_cores() == 1


def test_results_come_in_the_tasks_order(some):
    results = list(some.map(slow_at_first, range(8)))
    assert [i for i, _ in results] == list(range(8))
    found = {process for _, process in results}
    assert (os.getpid() in found) is not some.are_processes
    assert len(found) <= some.n_jobs
    assert list(some.map(fail_at_three, [])) == []


def test_only_a_few_tasks_are_taken_ahead(some):
    tasks = Counted()
    results = some.map(abs, tasks)
    for i in range(20):
        assert next(results) == i
        time.sleep(0.005)  # for others to run ahead, if they would
        assert tasks.taken <= i + 1 + 2 * some.n_jobs
    results.close()  # comes back, though the tasks have no end


def test_an_error_comes_through_in_its_place(some):
    results = some.map(fail_at_three, range(100))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"^three$") as caught:
        next(results)
    assert list(results) == []
    if some.are_processes:  # where in the other process it happened
        assert 'raise ValueError("three")' in str(caught.value.__cause__)
    assert list(some.map(abs, [-1, -2])) == [1, 2]  # others find the workers as they were


def test_an_error_of_the_tasks_comes_through(some):
    with pytest.raises(ZeroDivisionError):
        list(some.map(abs, (1 / i for i in (1, 0))))


def test_results_do_not_depend_on_the_workers(some):
    assert list(some.map(blas_threads, range(4))) == [1] * 4
    found = [array.tobytes() for array in some.map(products, range(12))]
    with threadpool_limits(1):  # a product's last bits may depend on the number of BLAS threads
        assert found == [products(seed).tobytes() for seed in range(12)]


def test_threads_work_at_once_and_leave_nothing_behind():
    before, alive = blas_threads(None), threading.active_count()
    meeting = threading.Barrier(3, timeout=20)

    def meet(i):
        meeting.wait()  # passed only by three together
        time.sleep(0.02 * (2 - i % 3))
        return i

    with workers(3) as threads:
        assert list(threads.map(meet, range(9))) == list(range(9))
    assert (blas_threads(None), threading.active_count()) == (before, alive)


# -- processes -------------------------------------------------------------------------------------


def unpicklable(_):
    return lambda: None


def test_a_result_that_cannot_be_sent_is_told_and_ends_nothing_but_a_kill_ends_all():
    with workers(2, processes=True) as some:
        with pytest.raises((AttributeError, PicklingError), match="unpicklable"):
            list(some.map(unpicklable, [0]))
        results = some.map(own_id, range(1000))
        found = {next(results) for _ in range(4)}
        results.close()
        with pytest.raises(ChildProcessError, match=r"ended from outside.*--n_jobs"):
            list(some.map(die_at_three, range(100)))
    if os.path.isdir("/proc"):
        assert not [worker for worker in found if os.path.exists(f"/proc/{worker}")]


def test_ctrl_c_ends_all_processes_quietly(tmp_path):
    """A terminal sends it to the whole group, workers included."""
    script = tmp_path / "script.py"
    script.write_text(
        "import contextlib, time\n"
        "from countermeasure import cli; from countermeasure import compute\n"
        "from countermeasure.files import replace_when_whole\n"
        "from test_compute import own_id\n"
        "def main():\n"
        "    with replace_when_whole('out/a.txt', text=True) as f, contextlib.ExitStack() as stack:\n"
        "        some = stack.enter_context(compute.workers(2, processes=True))\n"
        "        for i, process in enumerate(some.map(own_id, range(10**6))):\n"
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
        "with compute.workers(2, processes=True) as some:\n"
        "    for process in some.map(own_id, range(10**6)):\n"
        "        print(process, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    ) as process:
        workers = {int(process.stdout.readline()) for _ in range(6)}
        process.kill()
        process.stderr.read()  # to the end, which comes when the last process has gone
    deadline = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{worker}") for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [worker for worker in workers if os.path.exists(f"/proc/{worker}")]
