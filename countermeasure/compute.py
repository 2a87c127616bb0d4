"""Parallel work: the one place that starts threads and processes, or hands tasks to Dask.

Everything goes through `Workers.map`: results in the tasks' order, few of them waiting, one BLAS
thread a worker. Behind it stand threads, threads that have a process each, and the client of a Dask
scheduler, by one interface, that of `concurrent.futures`.

joblib's `Parallel` would be a fourth door to the same three, but does not keep this promise. With
``return_as="generator"`` it goes on working while the results wait to be fetched, however many they
are: `pre_dispatch` counts the tasks under way and not the results (joblib 1.6: 100 results ahead
after a second, where 4 were allowed). The features of a whole corpus would gather in memory behind
a slow disk. Its processes alone, loky's, start 0.26 s later than those of `multiprocessing` (1.02 s
instead of 0.76 for 400 recordings), and half of all Ctrl-Cs meanwhile print their tracebacks. With
loky as with `ProcessPoolExecutor`, a process that is killed while it sends a result leaves the run
waiting for the rest of it for ever: all of them write into one pipe. Here each has its own. What
joblib knows best is taken from it: how many cores there are.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from functools import lru_cache, partial
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from countermeasure import versions
from countermeasure.cli import log
from countermeasure.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# Enough that no worker waits for the next piece of work; results that wait to be fetched take memory.
_IN_FLIGHT_PER_WORKER = 2
# How long a scheduler may take to answer, and how often its workers are counted; in seconds.
_PATIENCE = 20
_RECOUNT = 5


def n_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and its container's quota."""
    import joblib  # costs 0.05 s, and nothing where --n_jobs is given

    return joblib.cpu_count()


class Workers(contextlib.AbstractContextManager, ABC):
    """Who carries tasks out.

    Every worker computes with one BLAS thread, so a result depends neither on their number nor on
    their kind.

    Attributes
    ----------
    are_elsewhere : bool
        Whether tasks may be carried out on other machines, which share nothing but files with this one.
    """

    are_elsewhere = False

    @abstractmethod
    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[R, None, None]:
        """Yield ``function(task)`` for each task, in the tasks' order.

        Tasks are taken and results kept only a few ahead of what was yielded.

        Parameters
        ----------
        function : callable
            Sent to each worker once. For all but threads it is importable by its name, or an object
            of such a class, and picklable like tasks and results.
        tasks : iterable
            Small: what is large is read by the worker itself.

        Raises
        ------
        ChildProcessError
            When a process was ended from outside, or a scheduler cannot be reached any more.
        """


def workers(n_jobs: int | None = None, dask: str | None = None, processes: bool = False) -> Workers:
    """Return workers, to be entered as a context.

    Parameters
    ----------
    n_jobs : int > 0 or None
        Number of threads or processes; 1: this one, None: one a core.
    dask : str or None
        Address of a Dask scheduler, or ``local:N`` for N processes of Dask on this machine; `n_jobs`
        and `processes` are then without effect.
    processes : bool
        Whether they are processes; threads else, for work that spends its time in NumPy's products
        and lets other threads run meanwhile.
    """
    if dask is not None:
        return _Dask(dask)
    n_jobs = n_jobs or n_cores()
    if n_jobs == 1:
        return _Here()
    return _Processes(n_jobs) if processes else _Threads(n_jobs)


class _Here(Workers):
    """This very thread."""

    def __enter__(self) -> _Here:
        self._limit = _one_thread()
        return self

    def __exit__(self, *exception: object) -> None:
        self._limit.__exit__(None, None, None)

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[R, None, None]:
        for task in tasks:
            yield function(task)


class _Threads(_Here):
    """Threads of this process."""

    def __init__(self, n_jobs: int):
        self._executor: Executor = ThreadPoolExecutor(n_jobs)
        self._in_flight = _IN_FLIGHT_PER_WORKER * n_jobs

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown(cancel_futures=True)
        super().__exit__(*exception)

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[R, None, None]:
        return _in_order(lambda task: self._executor.submit(function, task), tasks, lambda: self._in_flight)


class _Processes(_Threads):
    """Processes of this machine, each at the hands of a thread of this one."""

    def __init__(self, n_jobs: int):
        super().__init__(n_jobs)
        self._started: list[_Process] = []
        self._own = threading.local()

    def __exit__(self, *exception: object) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._end_processes()  # whose threads need not wait for results any more
        super().__exit__(*exception)
        self._end_processes()  # of threads that had just started them

    def _end_processes(self) -> None:
        while self._started:
            self._started.pop().end()

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[R, None, None]:
        return super().map(partial(self._carry_out, function), tasks)

    def _carry_out(self, function: Callable[[T], R], task: T) -> R:
        if not hasattr(self._own, "process"):
            self._own.process = _Process()
            self._started.append(self._own.process)
        return self._own.process.carry_out(function, task)


class _Process:
    """A process that carries out what it is sent."""

    def __init__(self) -> None:
        # Forking this very process is quicker, but it has threads, which a copy of it would lack.
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
        if hasattr(signal, "pthread_sigmask"):
            # Ctrl-C reaches all, and the parent ends the work. A new process inherits this until it can say so itself.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        self._process.start()
        theirs.close()  # so that its end is the end of the connection

    def carry_out(self, function: Callable[[T], R], task: T) -> R:
        try:
            self._connection.send((function, task))
            result, error, told = self._connection.recv()
        except (EOFError, OSError):
            raise ChildProcessError(
                "a process was ended from outside, for want of memory perhaps; try a smaller --n_jobs"
            ) from None
        if error:
            raise error from _OtherProcessError(told)
        return result

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.terminate()
        self._process.join()


class _OtherProcessError(Exception):
    """The traceback of an error in another process."""


def _serve(connection: Connection) -> None:
    """Carry out what comes, to the end of the connection or of the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _compute_with_one_thread()
    with contextlib.suppress(EOFError, OSError):
        while True:
            content = connection.recv_bytes()
            answer: tuple[Any, BaseException | None, str]
            try:
                function, task = pickle.loads(content)
                answer = function(task), None, ""
            except Exception as error:
                answer = None, error, traceback.format_exc()
            try:
                connection.send(answer)
            except OSError:
                raise
            except Exception as error:  # of pickling; nothing has been sent
                connection.send((None, RuntimeError(f"{type(error).__name__}: {error}"), traceback.format_exc()))


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


@lru_cache
def _compute_with_one_thread() -> None:
    """Have this process compute with one thread for the rest of its life."""
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))  # for libraries that are loaded from now on
    _one_thread().__enter__()  # for those that are there


def _one_thread() -> contextlib.AbstractContextManager:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


# -- Dask ------------------------------------------------------------------------------------------


class _Dask(Workers):
    """The workers of a Dask scheduler; a task whose worker dies is done again by another."""

    are_elsewhere = True

    def __init__(self, where: str):
        self._where = where

    def __enter__(self) -> _Dask:
        with contextlib.ExitStack() as stack:
            # What Dask has to say about lost connections is said in one line by us.
            stack.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.CRITICAL)
            try:
                import dask
                import distributed
            except ImportError:
                raise InputError("--dask: Dask is not installed; pip install .[dask]") from None
            # Looking at what workers do a hundred times a second costs some per cent of their time.
            stack.enter_context(dask.config.set({"distributed.worker.profile.enabled": False}))
            # Dask remembers a thousand messages, each block's parameters among them: some 500 MB.
            stack.enter_context(dask.config.set({"distributed.admin.low-level-log-length": 10}))
            # With Dask's own MALLOC_TRIM_THRESHOLD_, every larger array is paged in anew: a tenth of the E-step's time.
            settings = {"distributed.nanny.pre-spawn-environ": dict.fromkeys(_THREAD_SETTINGS, 1)}
            stack.enter_context(dask.config.set(settings))
            address: Any = self._where
            if self._where.startswith("local:"):
                address = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=int(self._where.removeprefix("local:")),
                        threads_per_worker=1,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                        memory_limit=0,
                        preload=[__name__],
                    )
                )
            try:
                # Results come from the workers themselves, not by way of the scheduler.
                self._client = distributed.Client(
                    address, timeout=_PATIENCE, direct_to_workers=True, set_as_default=False
                )
            except (OSError, ValueError) as error:
                raise InputError(
                    f"--dask {self._where}: no scheduler can be reached there ({error}); start one with: dask scheduler"
                ) from None
            stack.callback(self._client.close, timeout=2)
            self._executor = self._client.get_executor(pure=False)
            self._lost = (CancelledError, distributed.comm.CommClosedError)
            self._worker_killed = distributed.KilledWorker
            self._counted = -float("inf")
            if not self._client.nthreads():
                log(f"{self._where}: no worker there yet; waiting for the first")
                self._client.wait_for_workers(1)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[R, None, None]:
        try:
            # The result of a task, and not data that is scattered: that would be lost with its last holder.
            sent = self._client.submit(pickle.loads, pickle.dumps(function), pure=False)
            # To all workers before the tasks come: Dask gives a task to one that has what it needs, however busy.
            self._client.replicate([sent])
            yield from _in_order(
                partial(self._executor.submit, _carry_out, versions.COMPARED, sent), tasks, self._worth_submitting
            )
        except self._lost:
            raise ChildProcessError(
                f"{self._where}: the scheduler was lost; what is done so far is kept: "
                "start it again and type the same command"
            ) from None
        except self._worker_killed:
            raise ChildProcessError(
                f"{self._where}: one task has ended several workers, for want of memory perhaps; "
                "their logs may say more"
            ) from None
        except (ImportError, RuntimeError) as error:
            missing = error.__cause__ or error  # a scheduler wraps it
            if not isinstance(missing, ImportError | AttributeError):
                raise
            raise InputError(
                f"--dask {self._where}: the scheduler or a worker lacks what this suite needs ({missing}); "
                "install the same versions on all machines"
            ) from None

    def _worth_submitting(self) -> int:
        """Return how many tasks to have under way; workers may come and go."""
        if time.monotonic() - self._counted > _RECOUNT:
            self._in_flight = _IN_FLIGHT_PER_WORKER * max(1, sum(self._client.nthreads().values()))
            self._counted = time.monotonic()
        return self._in_flight


def dask_setup(worker: object) -> None:
    """Prepare a process of ``local:N``; Dask calls it by this name."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the work


def _carry_out(expected: dict[str, str], function: Callable[[T], R], task: T) -> R:
    """Carry a task out in a worker of Dask."""
    _compute_with_one_thread()
    if others := versions.differences(versions.COMPARED, expected):
        import distributed

        raise InputError(
            f"--dask: the worker {distributed.get_worker().address} computes by other definitions than this machine "
            f"({', '.join(others)}); install the same version of this suite on all machines"
        )
    return function(task)
