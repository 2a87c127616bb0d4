"""Files: output that is complete or absent, and input that is a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from countermeasure.errors import InputError

# Names that are no UTF-8 hold lone surrogates, which are written as escapes.
_TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
_BLOCK = 1 << 20  # bytes that are read at once

# -- output ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replace_when_whole(path: str | os.PathLike[str], text: bool = False, flush: bool = True) -> Iterator[IO]:
    """Open a file that takes its final name only when the block ends without an error.

    What is written goes to ``.NAME.part`` beside `path` and is renamed at the end, so a reader sees the old file or
    the new one. Missing parent folders are made. A device or a pipe is written to as it is.

    Parameters
    ----------
    path : path of the finished file
    text : bool
        Whether the block writes text (UTF-8, ``\\n``) instead of bytes.
    flush : bool
        Whether the file is to outlive a crash of the machine from the moment it has its name.

    Raises
    ------
    InputError
        When `path` is a folder, or when another run is writing the same file.
    """
    path = Path(path)
    check_place(path)
    how = {"mode": "w", **_TEXT} if text else {"mode": "wb"}
    if is_no_file(path):
        with open(path, **how) as file:
            yield file
        return
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(open_locked(part, path), **how) as file:
        # Locked as long as it is open: no other run can have begun on this part when it is renamed or removed.
        try:
            file.truncate()
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                part.unlink()
            if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
                error.filename = str(path)  # of all that a run writes
            raise


def is_no_file(path: Path) -> bool:
    """Tell whether a path is a device or a pipe, or, as /dev/stdout may be, a name for what is open already."""
    is_opened = path.is_symlink() and os.readlink(path).startswith("/proc/self/fd")
    return is_opened or (path.exists() and not path.is_file())


def refuse_overwriting(output: str | os.PathLike[str] | None, *inputs: str | os.PathLike[str] | None) -> None:
    """Refuse to write to a file that the same run reads or writes otherwise; None stands for no file.

    Raises
    ------
    InputError
        When `output` is one of the other files, also by a link, or a folder.
    """
    if output is None:
        return
    _refuse_folder(Path(output))
    if os.path.realpath(output) in [os.path.realpath(path) for path in inputs if path is not None]:
        raise InputError(f"{output}: this run reads or writes that file already; choose another name")


def check_place(path: Path) -> None:
    """Make the folder of a file that will be written, and refuse a name that a folder has.

    Raises
    ------
    InputError
        When `path` is a folder, or when a file is in the place of its folder.
    """
    _refuse_folder(path)
    _make_folder(path.parent)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: cannot be made, since a file has this name; choose another name") from None


@contextlib.contextmanager
def only_run(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Let no other run work into `folder` during the block; the folder is made where it is missing.

    Raises
    ------
    InputError
        When another run is at work there.
    """
    folder = Path(folder)
    is_new = not folder.exists()
    _make_folder(folder)
    mark = folder / ".running.part"
    descriptor = open_locked(mark, folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            mark.unlink()
            if is_new:
                folder.rmdir()  # where nothing came of it
        os.close(descriptor)


def open_locked(part: Path, path: Path) -> int:
    """Open and lock `part`, the descriptor of which is returned; one that a killed run left behind is taken over.

    Raises
    ------
    InputError
        When another run has locked it; `path` is what it works on.
    """
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InputError(f"{path}: another run is at work on it; wait for it or choose another name") from None
        except OSError:  # a file system without locks
            return descriptor
        # The run that held the lock may have renamed or removed the file that was just opened.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(part).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


# -- input -------------------------------------------------------------------------------------------


def open_regular(path: str | os.PathLike[str], buffering: int = -1) -> IO[bytes]:
    """Open a file for reading bytes; refuse at once what is no file: a pipe would let `open` wait for ever.

    Raises
    ------
    InputError
        When `path` is a pipe, a device, a socket or a folder.
    OSError
        When it cannot be opened; `cli.run` tells it with the path.
    """
    file = Path(path)
    if file.is_dir():
        raise InputError(f"{path}: is a folder; give a file")
    if file.exists() and not file.is_file():
        raise InputError(f"{path}: is a pipe or a device, which can be read only once; give a file")
    return open(path, "rb", buffering)


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Return the contents of a file; errors as of `open_regular`."""
    with open_regular(path, buffering=0) as file:
        return file.read()


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's contents, in hexadecimal digits; errors as of `open_regular`."""
    digest = hashlib.sha256()
    with open_regular(path, buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_into(file: IO[bytes], target: memoryview, offset: int) -> None:
    """Fill some memory, of bytes, from a place of a file; several threads may do so at once.

    Raises
    ------
    InputError
        When the file ends before.
    """
    filled = 0
    while filled < len(target):
        data = os.pread(file.fileno(), min(len(target) - filled, _BLOCK), offset + filled)
        if not data:
            raise InputError(f"{file.name}: was cut short while it was read; copy or make the file again")
        target[filled : filled + len(data)] = data
        filled += len(data)
