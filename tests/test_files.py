import errno
import fcntl
import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from countermeasure import files
from countermeasure.errors import InputError
from countermeasure.files import (
    is_no_file,
    only_run,
    open_locked,
    open_regular,
    prepare_place,
    read_into,
    read_regular,
    refuse_overwriting,
    replace_when_whole,
    sha256,
)

ROOT = Path(__file__).resolve().parents[1]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, content, error=None):
    with replace_when_whole(path) as file:
        file.write(content)
        if error:
            raise error


# -- output ------------------------------------------------------------------------------------------


def test_a_file_appears_at_the_end_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "folder" / "a.pkl"
    for content, before in [(b"content", None), (b"new", b"content")]:
        with replace_when_whole(path) as file:
            file.write(content)
            file.flush()
            assert (path.read_bytes() if path.exists() else None) == before
        assert path.read_bytes() == content
        assert names(path.parent) == ["a.pkl"]
    (tmp_path / "plain").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_text_is_utf8_with_plain_line_ends(tmp_path):
    with replace_when_whole(tmp_path / "a.txt", text=True) as file:
        file.write("größer \udce9\n")
    assert (tmp_path / "a.txt").read_bytes() == b"gr\xc3\xb6\xc3\x9fer \\udce9\n"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_no_part(tmp_path, error):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write(path, b"new", error)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.pkl"]


def test_a_full_disk_is_told_with_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path / "scores.txt", b"", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert caught.value.filename == str(tmp_path / "scores.txt")
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path / "scores.txt", b"", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "other"))
    assert caught.value.filename == "other"
    assert names(tmp_path) == []


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with replace_when_whole(path, text=True) as file:
        file.write("content")
    assert os.read(reader, 100) == b"content"
    os.close(reader)
    assert path.is_fifo()
    assert names(tmp_path) == ["pipe"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_standard_output_by_its_name_is_written_to(tmp_path):
    name = tmp_path / "stdout"
    name.symlink_to("/proc/self/fd/1")
    program = f"from countermeasure import files\nwith files.replace_when_whole({str(name)!r}, True) as file:\n"
    program += "    file.write('content')"
    with open(tmp_path / "out.txt", "w") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True, cwd=ROOT)
    assert (tmp_path / "out.txt").read_text() == "content"
    assert name.is_symlink()
    assert [is_no_file(path) for path in (name, tmp_path / "out.txt", tmp_path / "absent")] == [True, False, False]


def test_names_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        prepare_place(tmp_path)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "b" / "a"):
        with pytest.raises(InputError, match=r"file: cannot be made|b: cannot be made"):
            prepare_place(path)
    assert names(tmp_path) == ["file"]


def test_output_in_the_place_of_an_input_is_refused(tmp_path):
    path, link = tmp_path / "scores.txt", tmp_path / "link"
    link.symlink_to(path)
    for output, *inputs in [(path, None, tmp_path / "." / "scores.txt"), (link, path), (path, tmp_path / "x", link)]:
        with pytest.raises(InputError, match="this run reads or writes"):
            refuse_overwriting(output, *inputs)
    with pytest.raises(InputError, match="is a folder"):
        refuse_overwriting(tmp_path)
    refuse_overwriting(tmp_path / "new" / "scores.txt", path, None)
    refuse_overwriting(None, path)
    assert names(tmp_path) == ["link"]


# -- several runs: a lock is one's own even within a process -------------------------------------------


def test_a_second_run_into_the_same_file_is_refused_while_the_first_is_at_work(tmp_path):
    path = tmp_path / "a.pkl"
    with replace_when_whole(path) as file:
        file.write(b"first")
        with pytest.raises(InputError, match=f"^{path}: another run is at work"):
            write(path, b"second")
        write(tmp_path / "b.pkl", b"another file")
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["a.pkl", "b.pkl"]


def test_what_a_killed_run_left_is_taken_over(tmp_path):
    (tmp_path / ".a.pkl.part").write_bytes(b"much longer than what comes after it")
    write(tmp_path / "a.pkl", b"short")
    assert (tmp_path / "a.pkl").read_bytes() == b"short"
    assert names(tmp_path) == ["a.pkl"]


@pytest.mark.parametrize("end", [lambda part: os.replace(part, f"{part}.new"), os.unlink], ids=["renamed", "removed"])
def test_a_part_that_its_run_ended_meanwhile_is_not_taken(tmp_path, monkeypatch, end):
    """Between opening and locking it."""
    part, flock, ended = tmp_path / "part", fcntl.flock, []

    def end_and_lock(descriptor, how):
        if not ended:
            ended.append(end(part))
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", end_and_lock)
    descriptor = open_locked(part, tmp_path / "a")
    assert os.fstat(descriptor).st_ino == part.stat().st_ino
    with pytest.raises(InputError, match="another run"):
        open_locked(part, tmp_path / "a")
    os.close(descriptor)


def test_file_systems_without_locks_are_written_to(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    write(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"


def test_two_runs_do_not_work_in_one_folder(tmp_path):
    folder = tmp_path / "model" / "mfcc"
    with only_run(folder):
        with pytest.raises(InputError, match=f"{folder}: another run is "), only_run(folder):
            pass
        (folder / "bon.gmm").write_text("")
    with only_run(folder):  # the mark is gone
        pass
    assert names(folder) == ["bon.gmm"]


def test_a_run_that_made_nothing_leaves_no_folder(tmp_path):
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "model", tmp_path / "there"):
        with pytest.raises(RuntimeError), only_run(folder):
            raise RuntimeError
    assert names(tmp_path) == ["there"]


# -- input -------------------------------------------------------------------------------------------


def test_sha256_is_that_of_the_contents(tmp_path):
    content = bytes(range(256)) * 8192 + b"end"  # 2 MiB and a bit: more than one block
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("read", [sha256, read_regular, open_regular])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, read, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")  # nobody writes into it: opening it would wait for ever
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    for name in ("pipe", "socket", "/dev/null"):
        with pytest.raises(InputError, match=rf"{name}: is a pipe or a device"):
            read(name)
    with pytest.raises(InputError, match=r"is a folder; give a file"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read("missing")


def test_a_place_of_a_file_is_read_by_its_name_or_a_link(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "link") == b"content"
    monkeypatch.setattr(files, "_BLOCK", 2)
    target = bytearray(4)
    with open_regular(tmp_path / "a") as file:
        read_into(file, memoryview(target), 3)
        assert target == b"tent"
        with pytest.raises(InputError, match="a: was cut short"):
            read_into(file, memoryview(target), 4)
