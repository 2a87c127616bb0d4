"""Files: outputs that are complete or absent, and inputs that are regular files."""

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

# File names that are not UTF-8 contain lone surrogates, which are written as escapes.
_TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
_BLOCK = 1 << 20  # bytes per read

# -- output ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replace_when_whole(path: str | os.PathLike[str], text: bool = False, flush: bool = True) -> Iterator[IO]:
    """Open a file that gets its final name when the block ends without an error.

    The block writes to ``.NAME.part`` beside `path`, which is renamed at the end, so readers see either the old file
    or the new one. Missing parent folders are made. Devices and pipes are written to directly.

    Parameters
    ----------
    path : path of the finished file
    text : bool
        Write text (UTF-8, ``\\n``) instead of bytes.
    flush : bool
        Flush the file to the disk before it is renamed, so that it survives a crash of the machine.

    Raises
    ------
    InputError
        If `path` is a folder, or another run is writing the same file.
    """
    path = Path(path)
    prepare_place(path)
    how = {"mode": "w", **_TEXT} if text else {"mode": "wb"}
    if is_no_file(path):
        with open(path, **how) as file:
            yield file
        return
    part = path.with_name(f".{path.name}.part")
    with os.fdopen(open_locked(part, path), **how) as file:
        # The lock lasts until the file is closed, so no other run uses this part when it is renamed or removed.
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
                error.filename = str(path)  # so that the message says which file
            raise


def is_no_file(path: Path) -> bool:
    """Return whether a path is a device, a pipe, or a link to an open file as /dev/stdout may be."""
    is_opened = path.is_symlink() and os.readlink(path).startswith("/proc/self/fd")
    return is_opened or (path.exists() and not path.is_file())


def refuse_overwriting(output: str | os.PathLike[str] | None, *inputs: str | os.PathLike[str] | None) -> None:
    """Raise InputError if `output` is a folder or, directly or by a link, one of the files that a run uses already.

    Files may be None.
    """
    if output is None:
        return
    _refuse_folder(Path(output))
    if os.path.realpath(output) in [os.path.realpath(path) for path in inputs if path is not None]:
        raise InputError(f"{output}: this run reads or writes that file already; choose another name")


def prepare_place(path: Path) -> None:
    """Make the parent folder of an output; raise InputError if `path` is a folder or its parent a file."""
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
    """Lock a folder during the block; it is made if missing. Raise InputError if another run has locked it."""
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
                folder.rmdir()  # fails unless it is empty
        os.close(descriptor)


def open_locked(part: Path, path: Path) -> int:
    """Open and lock a file and return its descriptor; a file that a killed run left is taken over.

    Raises
    ------
    InputError
        If another run has locked `part`; the message names `path`.
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
        # Another run may have renamed or removed the file between opening and locking.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(part).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)


# -- input -------------------------------------------------------------------------------------------


def open_regular(path: str | os.PathLike[str], buffering: int = -1) -> IO[bytes]:
    """Open a regular file for reading bytes.

    Raises
    ------
    InputError
        If `path` is a folder, or a pipe, device or socket, which `open` might wait for without end.
    OSError
        If it cannot be opened; `cli.run` reports it.
    """
    file = Path(path)
    if file.is_dir():
        raise InputError(f"{path}: is a folder; give a file")
    if file.exists() and not file.is_file():
        raise InputError(f"{path}: is a pipe or a device, which can be read only once; give a file")
    return open(path, "rb", buffering)


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Return the contents of a regular file."""
    with open_regular(path, buffering=0) as file:
        return file.read()


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a regular file, in hexadecimal digits."""
    with open_regular(path, buffering=0) as file:
        return sha256_of(file)


def sha256_of(file: IO[bytes]) -> str:
    """Return the SHA-256 of an open file and go back to its beginning."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def read_into(file: IO[bytes], target: memoryview, offset: int) -> None:
    """Fill a buffer of bytes from byte `offset` of a file on; raise InputError if the file ends before.

    Several threads may read the same file at once.
    """
    filled = 0
    while filled < len(target):
        data = os.pread(file.fileno(), min(len(target) - filled, _BLOCK), offset + filled)
        if not data:
            raise InputError(f"{file.name}: was cut short while it was read; copy or make the file again")
        target[filled : filled + len(data)] = data
        filled += len(data)
