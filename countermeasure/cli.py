"""What every script shares: its parser, its exit status, its progress line."""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn, TypeVar

from countermeasure.errors import InputError

T = TypeVar("T")

# What the caller can fix: a wrong path or missing rights, and not a full or failing disk (ENOSPC, EIO, …).
_CALLERS_ERRNOS = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} -h\n")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return an argument parser that shows a script's docstring as it is laid out.

    Wrong arguments give one line on stderr and exit status 2.
    """
    return _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


def run(main: Callable[[], int]) -> NoReturn:
    """Run a script's `main` and end the process with the suite's exit status.

    0 done, 2 the caller's mistake, 130 Ctrl-C, 1 anything else; the first two and a failing disk
    without a traceback.
    """
    for name in ("SIGTERM", "SIGHUP"):  # end like Ctrl-C does, so that parts of files are removed
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
    _open_streams()
    program = os.path.basename(sys.argv[0])
    try:
        status = main()
        sys.stdout.flush()
    except InputError as error:
        status = _complain(program, str(error), 2)
    except KeyboardInterrupt:
        status = _complain(program, "interrupted", 130)
    except BrokenPipeError:  # `script | head`: the reader has seen enough
        _abandon_stdout()
        status = 1
    except OSError as error:
        _abandon_stdout()
        where = f"{error.filename}: " if error.filename else ""
        status = _complain(program, f"{where}{error.strerror or error}", 2 if error.errno in _CALLERS_ERRNOS else 1)
    sys.exit(status)


def _open_streams() -> None:
    """Let streams that the shell has closed (``>&-``) swallow everything; write out letters that an encoding lacks.

    Python has None in place of a closed stream, and the next file that is opened would get its descriptor.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  open to the end of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _abandon_stdout() -> None:
    """Keep Python from trying once more to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(program: str, message: str, status: int) -> int:
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    return status


def log(message: str) -> None:
    """Print a line about the work to stderr, where it does not mix with results."""
    print(message, file=sys.stderr, flush=True)


class Progress:
    """A bar on a terminal, a line every half minute elsewhere; both on stderr.

    Parameters
    ----------
    total : int
        Number of units that will be done.
    what : str
        What is being done, for the front of the line.
    unit : str
        Name of the units, in the plural.
    """

    def __init__(self, total: int, what: str, unit: str):
        self.total, self.what, self.unit = total, what, unit
        self.done = 0
        self._bar = sys.stderr.isatty()
        self._interval = 0.2 if self._bar else 30.0
        self._start = self._shown = time.monotonic()

    def update(self, n: int = 1) -> None:
        """Count `n` further units as done."""
        self.done += n
        now = time.monotonic()
        if now - self._shown >= self._interval:
            self._shown = now
            self._show(now)

    def close(self) -> None:
        """Leave the terminal's line clean."""
        if self._bar:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _show(self, now: float) -> None:
        rate = self.done / max(now - self._start, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        counts = f"{self.done:,}/{self.total:,} {self.unit}, {rate:,.0f}/s, {_duration(left)} left"
        if self._bar:
            filled = int(24 * self.done / max(self.total, 1))
            sys.stderr.write(f"\r\x1b[K{self.what} [{'█' * filled}{'·' * (24 - filled)}] {counts}")
            sys.stderr.flush()
        else:
            log(f"{self.what}: {counts}")


def progress(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    """Yield `items` and show how many of `total` have been worked on."""
    bar = Progress(total, what, unit)
    try:
        for item in items:
            yield item
            bar.update()
    finally:
        bar.close()


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
