"""What all scripts share: the parser, exit statuses, messages and progress bars."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import io
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from countermeasure import __version__
from countermeasure.errors import InputError

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

# What the caller can fix: a wrong path or missing rights, but not a full or failing disk (ENOSPC, EIO, …).
_CALLERS_ERRNOS = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM, errno.EROFS),
}


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def, override]
        _show_messages()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        words = re.findall(r"(?<!\S)--[^\s=]+", message) if message.startswith("unrecognized") else []
        meant = [match for word in words for match in difflib.get_close_matches(word, self._option_string_actions, n=1)]
        did_you_mean = f"; did you mean {' '.join(meant)}?" if meant else ""
        self.exit(2, f"{self.prog}: {message}{did_you_mean}; see {self.prog} -h\n")


class _Verbose(argparse.Action):
    def __call__(self, *_: object) -> None:
        _LOGGER.setLevel(logging.DEBUG)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return an argument parser that shows a script's docstring with its line breaks.

    Wrong arguments give one line on stderr and exit status 2. ``--verbose`` is not among the parsed arguments.
    """
    made = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    made.add_argument("--verbose", action=_Verbose, nargs=0, dest=argparse.SUPPRESS, help="show more about the work")
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return made


def run(main: Callable[[], int]) -> NoReturn:
    """Run a script's `main` and end the process with an exit status.

    0: done, 2: the caller's mistake, 130: Ctrl-C, 1: anything else. Only bugs show a traceback.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # end as after Ctrl-C, so that unfinished files are removed
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup
            signal.signal(number, lambda number, frame: sys.exit(128 + number))
    _open_streams()
    _show_messages()
    program = os.path.basename(sys.argv[0])
    try:
        status = main()
        sys.stdout.flush()
    except InputError as error:
        status = _complain(program, str(error), 2)
    except KeyboardInterrupt:
        status = _complain(program, "interrupted", 130)
    except BrokenPipeError:  # as in `script | head`
        _abandon_stdout()
        status = 1
    except OSError as error:
        _abandon_stdout()
        where = f"{error.filename}: " if error.filename else ""
        status = _complain(program, f"{where}{error.strerror or error}", 2 if error.errno in _CALLERS_ERRNOS else 1)
    sys.exit(status)


def command(main: Callable[[], int]) -> Callable[[], NoReturn]:
    """Return `run` for a script's `main`, as the entry point of the installed command."""
    return partial(run, main)


def _open_streams() -> None:
    """Replace streams that the shell has closed (``>&-``) and escape characters that an encoding lacks.

    Python sets a closed stream to None, and the next file that is opened would get its descriptor.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _abandon_stdout() -> None:
    """Keep Python from writing the buffered output again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(program: str, message: str, status: int) -> int:
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr)
    return status


# -- messages about the work -----------------------------------------------------------------------------

# Scripts show its messages on stderr, apart from results; a program that imports the package sees only warnings
# unless it configures this logger.
_LOGGER = logging.getLogger("countermeasure")


class _ToStderr(logging.Handler):
    """Prints messages; all but warnings are held back while a step runs."""

    held: list[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.held is not None and record.levelno < logging.WARNING:
            self.held.append(record.getMessage())
        else:
            print(_CLEAR * sys.stderr.isatty() + record.getMessage(), file=sys.stderr, flush=True)


_HANDLER = _ToStderr()
_CLEAR = "\r\033[K"


def _show_messages() -> None:
    _LOGGER.handlers, _LOGGER.propagate = [_HANDLER], False
    _LOGGER.setLevel(logging.INFO)


def log(message: str) -> None:
    """Log a message about the work."""
    _LOGGER.info(message)


def warn(message: str) -> None:
    """Log what the caller should look into."""
    _LOGGER.warning("warning: %s", message)


def detail(message: str) -> None:
    """Log a message that is shown with ``--verbose`` only."""
    _LOGGER.debug(message)


@contextlib.contextmanager
def step(heading: str, tells: bool = True) -> Iterator[None]:
    """Print a heading with the time that the body took, and below it what the body logged and printed.

    Warnings are shown at once. Without `tells`, other messages are shown only after a failure or with ``--verbose``.
    """
    begin, printed = time.monotonic(), io.StringIO()
    held: list[str] = []
    _HANDLER.held = held
    if sys.stderr.isatty():
        print(f"{heading} …", end="", file=sys.stderr, flush=True)
    ending = ""
    try:
        with contextlib.redirect_stdout(printed):
            yield
    except BaseException:
        ending, tells = ", not finished", True
        raise
    finally:
        _HANDLER.held = None
        log(f"{heading} … {duration(time.monotonic() - begin)}{ending}")
        for message in [*held, *printed.getvalue().splitlines()] if tells or is_verbose() else []:
            log(f"      {message}")


def is_verbose() -> bool:
    """Return whether details are shown."""
    return _LOGGER.isEnabledFor(logging.DEBUG)


def duration(seconds: float) -> str:
    """Return a readable time: ``3.7 s``, ``2 min 5 s``, ``1 h 3 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


LINE_INTERVAL = 30.0  # seconds


def progress_bar(total: int | None, what: str, unit: str) -> tqdm:
    """Return a progress bar on stderr; without a terminal, it prints a line every half minute.

    Parameters
    ----------
    total : int or None
        Number of units; ``update(n)`` counts n of them, ``close()`` ends the display.
    what : str
        The work, shown first.
    unit : str
        Name of the units, in the plural.
    """
    from tqdm import tqdm

    class Lines(tqdm):
        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            if msg is None:
                print(self, file=sys.stderr, flush=True)

    tqdm.set_lock(threading.RLock())  # the default lock is shared with other processes
    look: dict[str, Any] = {"total": total, "desc": what, "unit": f" {unit}", "leave": False}
    look["disable"] = not _LOGGER.isEnabledFor(logging.INFO)  # in programs that did not ask for messages
    if sys.stderr.isatty():
        return tqdm(**look, dynamic_ncols=True)
    Lines.monitor_interval = 0  # no thread that prints lines in between
    return Lines(**look, ncols=0, delay=LINE_INTERVAL, mininterval=LINE_INTERVAL, miniters=1)


def progress(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    """Yield `items` and show how many of `total` are done."""
    with progress_bar(total, what, unit) as bar:
        for item in items:
            yield item
            bar.update()
