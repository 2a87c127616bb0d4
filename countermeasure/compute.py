"""Parallel work: threads, processes and Dask.

All of it goes through `Workers.map`. Results come in the order of the tasks. Only a few tasks are submitted ahead, so
that results do not fill the memory when the disk is slow. Each worker computes with one BLAS thread, so that results
do not depend on the number of workers.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from typing import Any, TypeVar

from countermeasure import versions
from countermeasure.cli import log
from countermeasure.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_IN_FLIGHT_PER_WORKER = 2  # enough that no worker waits for its next task; more results would take more memory
_PATIENCE = 20  # seconds that a scheduler may take to answer
_RECOUNT = 5  # seconds between two counts of a scheduler's workers


def n_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and its container's quota."""
    import joblib  # takes 0.05 s, which --n_jobs saves

    return joblib.cpu_count()


def workers(n_jobs: int | None = None, dask: str | None = None, processes: bool = False) -> Workers:
    """Return workers; a context manager.

    Parameters
    ----------
    n_jobs : int > 0 or None
        Number of threads or processes; 1: the calling thread, None: one per core.
    dask : str or None
        Address of a Dask scheduler, or ``local:N`` for N processes of Dask on this machine; `n_jobs`
        and `processes` are then ignored.
    processes : bool
        Use processes instead of threads. Threads suffice for work that spends its time in matrix products of NumPy,
        which release the GIL.
    """
    if dask is not None:
        return _Dask(dask)
    n_jobs = n_jobs or n_cores()
    if n_jobs == 1:
        return Workers()
    return _Pool(_processes(n_jobs) if processes else ThreadPoolExecutor(n_jobs), n_jobs)


class Workers(contextlib.AbstractContextManager):
    """Workers carry out tasks; this base class uses the calling thread.

    Attributes
    ----------
    are_elsewhere : bool
        Whether tasks may be carried out on other machines, which share only files with this one.
    """

    are_elsewhere = False

    def __enter__(self) -> Workers:
        self._limit = _one_thread()
        return self

    def __exit__(self, *exception: object) -> None:
        self._limit.__exit__(None, None, None)

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[R, None, None]:
        """Yield ``function(task)`` for each task, in the order of the tasks.

        Parameters
        ----------
        function : callable
            Unless workers are threads, it must be picklable, and so must tasks and results.
        tasks : iterable
            Tasks should be small; workers read large data from files.

        Raises
        ------
        ChildProcessError
            When a process was killed, or the connection to a scheduler is lost.
        """
        yield from map(function, tasks)


class _Pool(Workers):
    """Threads or processes of this machine."""

    def __init__(self, executor: Executor, n_jobs: int):
        self._executor, self._in_flight = executor, _IN_FLIGHT_PER_WORKER * n_jobs

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown(cancel_futures=True)
        super().__exit__(*exception)

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[R, None, None]:
        try:
            yield from _in_order(lambda task: self._executor.submit(function, task), tasks, lambda: self._in_flight)
        except BrokenProcessPool:
            raise ChildProcessError(
                "a process was ended from outside, perhaps because memory ran out; try a smaller --n_jobs"
            ) from None


def _in_order(
    submit: Callable[[T], Future[R]], tasks: Iterable[T], in_flight: Callable[[], int]
) -> Generator[R, None, None]:
    waiting: deque[Future[R]] = deque()
    try:
        for task in tasks:
            waiting.append(submit(task))
            while len(waiting) >= in_flight():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _processes(n_jobs: int) -> ProcessPoolExecutor:
    """Return a pool of processes that are forked from a server, since forking a process with threads is unsafe."""
    # The server and its processes inherit the blocked signal: a terminal sends Ctrl-C to all, this process handles it.
    multiprocessing.resource_tracker.ensure_running()  # its start would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    multiprocessing.forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ProcessPoolExecutor(n_jobs, multiprocessing.get_context("forkserver"), _begin_process)


def _begin_process() -> None:
    """Let a new process compute with one thread, and end when its parent is killed."""
    _compute_with_one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@lru_cache
def _compute_with_one_thread() -> None:
    """Let this process compute with one thread until it ends."""
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))  # for libraries that are loaded later
    _one_thread().__enter__()  # for those that are loaded already


def _one_thread() -> contextlib.AbstractContextManager:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


# -- Dask ------------------------------------------------------------------------------------------

_DASK_SETTINGS: dict[str, Any] = {
    # Seconds, by default 30, in which a worker that died with a result is called before another computes it again.
    "distributed.comm.timeouts.connect": 10,
    # Profiling takes a few per cent of the workers' time.
    "distributed.worker.profile.enabled": False,
    # By default Dask keeps a thousand messages, which include the parameters of each block: about 500 MB.
    "distributed.admin.low-level-log-length": 10,
    # This leaves out MALLOC_TRIM_THRESHOLD_, with which paging in large arrays takes a tenth of the E-step's time.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(_THREAD_SETTINGS, 1),
}


# Those to which Dask's configuration gives a level, which all below them inherit.
_DASK_LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "asyncio")
_SILENT = logging.CRITICAL + 1


class _Dask(Workers):
    """The workers of a Dask scheduler. If a worker dies, another one repeats its tasks."""

    are_elsewhere = True

    def __init__(self, where: str):
        self._where = where
        self._counted = -float("inf")

    def __enter__(self) -> _Dask:
        with contextlib.ExitStack() as stack:
            try:
                import dask
                import distributed
            except ImportError:
                raise InputError("--dask: Dask is not installed; pip install .[dask]") from None
            for name in _DASK_LOGGERS:  # whose messages about lost connections are replaced by one line
                logger = logging.getLogger(name)
                stack.callback(logger.setLevel, logger.level)
                logger.setLevel(_SILENT)
            stack.enter_context(dask.config.set(_DASK_SETTINGS))
            self._distributed = distributed
            self._client = self._connected(stack)
            stack.callback(self._client.close, timeout=2)
            if not self._client.nthreads():
                log(f"{self._where}: no worker there yet; waiting for the first")
                self._client.wait_for_workers(1)
            self._resources = stack.pop_all()
        return self

    def _connected(self, stack: contextlib.ExitStack) -> Any:
        address: Any = self._where
        if self._where.startswith("local:"):
            cluster = self._distributed.LocalCluster(
                n_workers=int(self._where.removeprefix("local:")),
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                preload=[__name__],
            )
            address = stack.enter_context(cluster)
        try:
            # The client fetches results from the workers directly.
            return self._distributed.Client(address, timeout=_PATIENCE, direct_to_workers=True, set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--dask {self._where}: no scheduler can be reached there ({error}); start one with: dask scheduler"
            ) from None

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[R, None, None]:
        def submit(task: T) -> Any:
            return self._client.submit(_carry_out, versions.COMPARED, sent, task, pure=False)

        try:
            # The result of a task can be computed again; scattered data would be lost with the last worker that has it.
            sent = self._client.submit(pickle.loads, pickle.dumps(function), pure=False)
            # Dask prefers workers that hold the input of a task, even busy ones, so all get a copy first.
            self._client.replicate([sent])
            # Not the futures of Dask's executor: they never finish if a result cannot be fetched.
            yield from _in_order(submit, tasks, self._worth_submitting)
        except Exception as error:
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> Exception:
        """Return the error that the caller sees instead of one of Dask's."""
        # A client that has lost its scheduler fails in many ways.
        if self._client.status != "running" or isinstance(
            error, CancelledError | self._distributed.comm.CommClosedError
        ):
            return ChildProcessError(
                f"{self._where}: the scheduler was lost; what is done so far is kept: "
                "start it again and type the same command"
            )
        if isinstance(error, self._distributed.KilledWorker):
            return ChildProcessError(
                f"{self._where}: one task has ended several workers, perhaps because memory ran out; "
                "their logs may say more"
            )
        missing = error.__cause__ or error  # a scheduler wraps ImportError in RuntimeError
        if isinstance(error, ImportError | RuntimeError) and isinstance(missing, ImportError | AttributeError):
            return InputError(
                f"--dask {self._where}: the scheduler or a worker lacks what this suite needs ({missing}); "
                "install the same versions on all machines"
            )
        return error

    def _worth_submitting(self) -> int:
        """Return how many tasks to submit ahead; the number of workers may change."""
        if time.monotonic() - self._counted > _RECOUNT:
            self._in_flight = _IN_FLIGHT_PER_WORKER * max(1, sum(self._client.nthreads().values()))
            self._counted = time.monotonic()
        return self._in_flight


def dask_setup(worker: object) -> None:
    """Set up a process of ``local:N``; Dask calls this function by its name."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent handles it


def _carry_out(expected: dict[str, str], function: Callable[[T], R], task: T) -> R:
    """Carry out a task in a worker of Dask."""
    _compute_with_one_thread()
    if others := versions.differences(versions.COMPARED, expected):
        import distributed

        raise InputError(
            f"--dask: the worker {distributed.get_worker().address} computes by other definitions than this machine "
            f"({', '.join(others)}); install the same version of this suite on all machines"
        )
    return function(task)
