"""What every script shares: its parser, its exit status, its progress bar."""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from countermeasure.errors import InputError

if TYPE_CHECKING:
    from tqdm import tqdm

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
    for number in (signal.SIGTERM, signal.SIGHUP):  # end like Ctrl-C does, so that parts of files are removed
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
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


def progress_bar(total: int, what: str, unit: str) -> tqdm:
    """Return a bar for a terminal, or a line every half minute elsewhere; both on stderr.

    Parameters
    ----------
    total : int
        Number of units that will be done; ``update(n)`` counts n of them, ``close()`` ends the display.
    what : str
        What is being done, for the front of the line.
    unit : str
        Name of the units, in the plural.
    """
    from tqdm import tqdm

    class Lines(tqdm):
        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            if msg is None:
                log(str(self))

    tqdm.set_lock(threading.RLock())  # its own is for several processes
    look: dict[str, Any] = {"total": total, "desc": what, "unit": f" {unit}", "leave": False}
    if sys.stderr.isatty():
        return tqdm(**look, dynamic_ncols=True)
    Lines.monitor_interval = 0  # no thread that shows a line in between
    return Lines(**look, ncols=0, delay=LINE_INTERVAL, mininterval=LINE_INTERVAL, miniters=1)


LINE_INTERVAL = 30.0  # seconds


def progress(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    """Yield `items` and show how many of `total` have been worked on."""
    with progress_bar(total, what, unit) as bar:
        for item in items:
            yield item
            bar.update()
