"""Parallel work: the one place that starts processes and threads."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# Enough that no worker waits for the next piece of work; results that wait to be fetched take memory.
_IN_FLIGHT_PER_WORKER = 2


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(function: Callable[[T], R], items: Iterable[T], n_jobs: int | None = None) -> Generator[R, None, None]:
    """Yield ``function(item)`` for each item, in the items' order, computed by several processes.

    Every process computes with one thread, so a result does not depend on `n_jobs`. Items are taken
    and results kept only a few ahead of what was yielded.

    Parameters
    ----------
    function : callable
        Importable by its name, like its arguments and results picklable, unless `n_jobs` is 1.
    items : iterable
    n_jobs : int > 0 or None
        Number of processes; 1: this one, None: one a core.

    Raises
    ------
    ChildProcessError
        When a process was ended from outside.
    """
    n_jobs = n_jobs or n_cores()
    if n_jobs == 1:
        with _one_thread():
            yield from map(function, items)
        return
    executor = ProcessPoolExecutor(n_jobs, mp_context=_context(), initializer=_prepare_worker)
    try:
        yield from _in_order(executor, function, items, _IN_FLIGHT_PER_WORKER * n_jobs)
    except BrokenProcessPool:
        raise ChildProcessError(
            "a process was ended from outside, for want of memory perhaps; try a smaller --n_jobs"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


class Threads(contextlib.AbstractContextManager):
    """Threads of this process, each computing with one BLAS thread of its own.

    For work that spends its time in NumPy's products and lets other threads run meanwhile.

    Parameters
    ----------
    n_jobs : int > 0 or None
        Number of threads; None: one a core.
    """

    def __init__(self, n_jobs: int | None = None):
        self.n_jobs = n_jobs or n_cores()
        self._limit = _one_thread()
        self._executor = ThreadPoolExecutor(self.n_jobs) if self.n_jobs > 1 else None

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield ``function(item)`` in the items' order; only a few results are kept waiting."""
        if self._executor is None:
            return map(function, items)
        return _in_order(self._executor, function, items, _IN_FLIGHT_PER_WORKER * self.n_jobs)

    def __exit__(self, *exception: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        self._limit.__exit__(None, None, None)


def _in_order(executor: Executor, function: Callable[[T], R], items: Iterable[T], in_flight: int) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(executor.submit(function, item))
        if len(waiting) >= in_flight:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _context() -> multiprocessing.context.BaseContext:
    # Forking this very process is quicker, but it may have threads, which a copy of it would lack.
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the work
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))  # for libraries that are loaded from now on
    _one_thread().__enter__()  # for those that are there
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _one_thread() -> contextlib.AbstractContextManager:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def _end_with_parent() -> None:
    """End this process when its parent is gone; a killed parent cannot tell it to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
