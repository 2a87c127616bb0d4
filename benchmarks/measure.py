"""Time and memory of commands and functions."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
# A small process in between: the peak memory of a process includes that of the one that started it.
_RUN = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
if done.returncode:
    sys.exit(done.stderr)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


class Usage(NamedTuple):
    """What a command took: wall-clock and processor time in seconds, and its peak memory in MB."""

    wall: float
    processor: float
    memory: int

    def __str__(self) -> str:
        return f"{self.wall:8.2f} s {self.processor:8.2f} s of processor time {self.memory:6d} MB"


def run(*arguments: object) -> Usage:
    """Run Python with arguments, in the checkout."""
    command = [sys.executable, "-c", _RUN, sys.executable, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    wall, processor, memory = json.loads(done.stdout)
    return Usage(wall, processor, memory // (1 << 20 if sys.platform == "darwin" else 1 << 10))


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds that a function takes."""
    start = clock()
    work()
    return clock() - start


def medians(
    works: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds of functions that are called in turns, after one call of each."""
    times = [{name: seconds(work, clock) for name, work in works.items()} for _ in range(repeats + 1)]
    return {name: statistics.median(each[name] for each in times[1:]) for name in works}
