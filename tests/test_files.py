import errno
import hashlib
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from countermeasure.errors import InputError
from countermeasure.files import (
    existing,
    only_run,
    open_regular,
    read_regular,
    refuse_overwriting,
    replace_when_whole,
    sha256,
)

ROOT = Path(__file__).resolve().parents[1]
# Writes what it is told beside the final name, says so, and ends when a line comes in.
WRITER = """
import sys
from countermeasure import cli
from countermeasure.files import replace_when_whole
def main():
    with replace_when_whole(sys.argv[1]) as file:
        file.write(sys.argv[2].encode())
        file.flush()
        print("at work", flush=True)
        sys.stdin.readline()
    return 0
cli.run(main)
"""


@pytest.fixture
def writer():
    """Return a function that starts another run, which writes a path."""
    with ExitStack() as runs:

        def start(path, content):
            run = subprocess.Popen(
                [sys.executable, "-c", WRITER, path, content],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            runs.enter_context(run)
            runs.callback(run.kill)
            return run

        yield start


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_parents_are_made_and_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "a.pkl"
    with replace_when_whole(path) as file:
        file.write(b"content")
        assert not path.exists()
        assert names(path.parent) == [".a.pkl.part"]
    assert path.read_bytes() == b"content"
    assert names(path.parent) == ["a.pkl"]


def test_text_is_utf8_with_plain_line_ends(tmp_path):
    with replace_when_whole(tmp_path / "a.txt", text=True) as file:
        file.write("größer\n")
    assert (tmp_path / "a.txt").read_bytes() == b"gr\xc3\xb6\xc3\x9fer\n"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_no_part(tmp_path, error):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"old")

    def fails():
        with replace_when_whole(path) as file:
            file.write(b"new")
            file.flush()
            raise error

    with pytest.raises(error):
        fails()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.pkl"]


def test_a_reader_has_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"old")
    with open(path, "rb") as reader:
        with replace_when_whole(path) as file:
            file.write(b"new and longer")
            file.flush()
            assert path.read_bytes() == b"old"
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new and longer"


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with replace_when_whole(tmp_path / "a.pkl"):
        pass
    assert (tmp_path / "a.pkl").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"), replace_when_whole(tmp_path):
        pass
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
    write = f"""
from countermeasure.files import replace_when_whole
with replace_when_whole({str(name)!r}, text=True) as file:
    file.write("content")
"""
    with open(tmp_path / "out.txt", "w") as out:
        subprocess.run(
            [sys.executable, "-c", write], stdout=out, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    assert (tmp_path / "out.txt").read_text() == "content"
    assert name.is_symlink()


def test_a_full_disk_is_told_with_the_file(tmp_path):
    def fill():
        with replace_when_whole(tmp_path / "scores.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        fill()
    assert caught.value.filename == str(tmp_path / "scores.txt")
    assert names(tmp_path) == []


def test_output_in_the_place_of_an_input_is_refused(tmp_path):
    path = tmp_path / "scores.txt"
    with pytest.raises(InputError, match="this run reads or writes"):  # that will be there
        refuse_overwriting(path, None, tmp_path / "." / "scores.txt")
    path.write_text("scores")
    (tmp_path / "link").symlink_to(path)
    for output, *inputs in [
        (path, path),
        (tmp_path / "link", None, path),
        (path, tmp_path / "other", tmp_path / "link"),
    ]:
        with pytest.raises(InputError, match="this run reads or writes"):
            refuse_overwriting(output, *inputs)
    with pytest.raises(InputError, match="is a folder"):
        refuse_overwriting(tmp_path)
    refuse_overwriting(tmp_path / "new" / "scores.txt", path)
    refuse_overwriting(None, path)
    assert names(tmp_path) == ["link", "scores.txt"]


def test_a_second_run_into_the_same_file_is_refused_while_the_first_is_at_work(tmp_path, writer):
    path = tmp_path / "a.pkl"
    first = writer(path, "first")
    assert first.stdout.readline() == "at work\n"
    second = writer(path, "second, which is longer")
    out, err = second.communicate(timeout=30)
    assert (second.returncode, out) == (2, "")
    assert err.count("\n") == 1
    assert f"{path}: another run is " in err
    # The refused run took nothing away from the first.
    first.communicate("\n", timeout=30)
    assert first.returncode == 0
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.pkl"]
    with replace_when_whole(path) as file:
        file.write(b"third")
    assert path.read_bytes() == b"third"


def test_runs_into_different_files_of_a_folder_do_not_meet(tmp_path, writer):
    first = writer(tmp_path / "a.pkl", "first")
    assert first.stdout.readline() == "at work\n"
    with replace_when_whole(tmp_path / "b.pkl") as file:
        file.write(b"second")
    first.communicate("\n", timeout=30)
    assert (tmp_path / "a.pkl").read_text() == "first"
    assert (tmp_path / "b.pkl").read_text() == "second"


def test_what_a_killed_run_left_is_taken_over(tmp_path, writer):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"old")
    killed = writer(path, "much longer than what comes after it")
    assert killed.stdout.readline() == "at work\n"
    killed.kill()
    killed.wait()
    assert names(tmp_path) == [".a.pkl.part", "a.pkl"]
    assert path.read_bytes() == b"old"
    with replace_when_whole(path) as file:
        file.write(b"short")
    assert path.read_bytes() == b"short"
    assert names(tmp_path) == ["a.pkl"]


def test_a_run_that_fails_does_not_take_away_the_part_of_the_next(tmp_path, monkeypatch, writer):
    """The next run may start in the moment in which the failing one tidies up."""
    path = tmp_path / "a.pkl"
    unlink = Path.unlink
    started = []  # the next run, and what it says first

    def unlink_later(self, *arguments, **options):
        if self.name.endswith(".part"):
            started.append(writer(path, "next"))
            started.append(started[0].stdout.readline())
        unlink(self, *arguments, **options)

    def fails():
        with replace_when_whole(path):
            raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_later)
        with pytest.raises(RuntimeError):
            fails()
    following, said = started
    _, err = following.communicate("\n", timeout=30)
    if said:  # it was let in: then it has to come to its end
        assert (following.returncode, err) == (0, "")
        assert path.read_text() == "next"
    else:
        assert following.returncode == 2
        assert "another run is " in err


def test_many_runs_into_one_file_leave_a_whole_one(tmp_path):
    program = (
        "import sys\n"
        "from countermeasure.errors import InputError\n"
        "from countermeasure.files import replace_when_whole\n"
        "for i in range(60):\n"
        "    try:\n"
        "        with replace_when_whole(sys.argv[1]) as file:\n"
        "            for _ in range(4):\n"
        "                file.write(sys.argv[2].encode() * 5000)\n"
        "                file.flush()\n"
        "    except InputError:\n"
        "        pass\n"
    )
    path = tmp_path / "a.pkl"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, path, letter],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for letter in "abc"
    ]
    while any(run.poll() is None for run in runs):
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 20_000
            assert len(set(content)) == 1
    assert [run.communicate()[1] for run in runs] == [""] * 3
    assert names(tmp_path) == ["a.pkl"]


def test_two_runs_do_not_work_in_one_folder(tmp_path):
    folder = tmp_path / "model" / "mfcc"
    with only_run(folder):
        with pytest.raises(InputError, match=f"{folder}: another run is "), only_run(folder):
            pass
        (folder / "bon.gmm").write_text("")
    assert names(folder) == ["bon.gmm"]
    with only_run(folder):  # the mark is gone
        pass
    assert names(folder) == ["bon.gmm"]


def test_a_run_that_made_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(RuntimeError), only_run(tmp_path / "model"):
        raise RuntimeError
    assert names(tmp_path) == []


def test_sha256_is_that_of_the_contents(tmp_path):
    content = bytes(range(256)) * 8192 + b"end"  # 2 MiB and a bit: more than one block
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").write_bytes(b"")
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_folder_in_a_lists_place_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        existing(tmp_path)


# -- input that is no file ---------------------------------------------------------------------------


@pytest.mark.parametrize("read", [sha256, read_regular, open_regular])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it: opening it would wait for ever
    with pytest.raises(InputError, match=r"pipe: is a pipe or a device"):
        read(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"/dev/null: is a pipe or a device"):
        read("/dev/null")
    with pytest.raises(InputError, match=r"is a folder; give a file"):
        read(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # their names are short
        with pytest.raises(InputError, match=r"socket: is no regular file"):
            read(tmp_path / "socket")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing")


def test_a_file_is_read_by_its_name_or_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "a") == read_regular(tmp_path / "link") == b"content"
    with open_regular(tmp_path / "a") as file:
        file.seek(3)
        assert file.read() == b"tent"
