"""Exit statuses and messages, through scripts in processes of their own."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from countermeasure import cli

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # with it, output never waits for the end


@pytest.fixture
def script(tmp_path):
    """Return a function that writes a script with the given body of `main` and returns its command."""

    def write(body):
        path = tmp_path / "script.py"
        lines = ["import os, signal, sys, time", "from countermeasure import cli", "def main():"]
        lines += [f"    {line}" for line in body.strip().splitlines()] + ["    return 0", "cli.run(main)"]
        path.write_text("\n".join(lines) + "\n")
        return [sys.executable, str(path)]

    return write


def run(command, *arguments, **options):
    options = {"capture_output": True, "text": True, "env": ENVIRONMENT, "timeout": 30, **options}
    return subprocess.run([*command, *map(str, arguments)], check=False, **options)


@pytest.fixture
def start():
    """Return a function that starts a script and waits until it says that it is ready."""
    with ExitStack() as processes:

        def started(command, *arguments, **options):
            process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=ENVIRONMENT,
                **options,
            )
            processes.enter_context(process)
            processes.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            return process

        yield started


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ('raise InputError("a.txt:3: no label;\\n  give one")', 2, "script.py: a.txt:3: no label; give one\n"),
        ('open("absent")', 2, "script.py: absent: No such file or directory\n"),
        ('open("a" * 300)', 2, f"script.py: {'a' * 300}: File name too long\n"),
        ('raise PermissionError(errno.EACCES, "Permission denied", "a")', 2, "script.py: a: Permission denied\n"),
        ('raise OSError(errno.ENOSPC, "No space left on device")', 1, "script.py: No space left on device\n"),
        ("[][1]", 1, "IndexError: list index out of range\n"),
    ],
)
def test_errors_have_a_status_and_end_in_one_line(script, body, status, message):
    done = run(script(f"import errno\nfrom countermeasure.errors import InputError\n{body}"))
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.endswith(message)
    assert done.stderr.startswith("script.py: " if "IndexError" not in message else "Traceback")


@pytest.mark.parametrize("closed", ["<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(script, tmp_path, closed):
    body = f'print("result")\ncli.log("told")\nwith open({str(tmp_path / "out")!r}, "w") as f:\n    f.write("written")'
    done = run(["bash", "-c", f'"$@" {closed}', "bash", *script(body)])
    assert (done.returncode, done.stdout) == (0, "result\n" * (closed == "<&-"))
    assert done.stderr in ("told\n", "")
    assert (tmp_path / "out").read_text() == "written"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_an_ended_script_leaves_the_old_file_and_no_part(script, start, tmp_path, number, status):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("old")
    body = "from countermeasure.files import replace_when_whole\nwith replace_when_whole(sys.argv[1], text=True) as f:"
    process = start(
        script(f'{body}\n    f.write("new")\n    print("ready", flush=True)\n    time.sleep(20)'),
        tmp_path / "out" / "a.txt",
    )
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert err == ("script.py: interrupted\n" if number == signal.SIGINT else "")
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


def test_nohup_is_respected(script, start):
    """`nohup ./train.sh &` goes on when the terminal is closed."""
    process = start(
        script('print("ready", flush=True)\nsys.stdin.readline()\nprint("done")'),
        stdin=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert process.poll() is None
    out, err = process.communicate("\n", timeout=30)
    assert (process.returncode, out, err) == (0, "done\n", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, the disk that is always full")
def test_results_that_cannot_be_written_are_an_error_in_one_line(script):
    with open("/dev/full", "w") as full:
        done = run(script('print("result")'), capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "script.py: No space left on device\n")


def test_a_reader_who_has_seen_enough_is_no_error_message(script, start):
    process = start(script('print("ready", flush=True)\nfor i in range(100_000):\n    print("line", i)'))
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: --number"),
        ("--number many", "argument --number: invalid int value: 'many'"),
        ("--number 3 --xyz", "unrecognized arguments: --xyz"),
        ("--number 3 more", "unrecognized arguments: more"),
        ("--number 3 --kidn b", "unrecognized arguments: --kidn b; did you mean --kind?"),
        ("--num 3", "the following arguments are required: --number"),  # no abbreviations
    ],
)
def test_wrong_arguments_are_2_in_one_line(capsys, arguments, message):
    parser = cli.parser(None)
    parser.prog = "script.py"
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--kind", choices=["a", "b"])
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(arguments.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"script.py: {message}; see script.py -h\n"


# -- progress --------------------------------------------------------------------------------------

WORK = 'for _ in cli.progress(range(8), 8, "scoring", "files"):\n    time.sleep(0.02)\nprint("result")'


def test_without_a_terminal_there_is_a_line_now_and_then(script):
    done = run(script(f"cli.LINE_INTERVAL = 0.03\n{WORK}"))
    assert (done.returncode, done.stdout) == (0, "result\n")
    counts = [int(re.match(r"scoring: .* (\d)/8 \[.* files/s", line)[1]) for line in done.stderr.splitlines()]
    assert 2 <= len(counts) <= 8
    assert counts == sorted(counts)
    assert run(script(WORK)).stderr == ""  # short work shows nothing


def test_on_a_terminal_there_is_a_bar_which_goes_away(script):
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = subprocess.Popen(script(WORK), stdout=subprocess.PIPE, stderr=end, text=True, env=ENVIRONMENT)
    os.close(end)
    shown = b""
    try:
        while data := os.read(terminal, 4096):
            shown += data
    except OSError:  # how Linux says that nobody is at the other end
        pass
    os.close(terminal)
    assert process.communicate(timeout=30)[0] == "result\n"
    assert process.returncode == 0
    assert "\n" not in shown.decode()
    *drawn, last = shown.decode().rstrip("\r").split("\r")
    assert last.strip() == ""  # the line is wiped at the end
    counts = [int(re.search(r" (\d)/8 ", line)[1]) for line in drawn if line.strip()]
    assert len(counts) >= 2
    assert counts == sorted(counts)


def test_details_are_shown_with_verbose_only_and_warnings_always(capsys):
    for arguments, shown in (([], ""), (["--verbose"], "a detail\n")):
        cli.parser(None).parse_args(arguments)
        cli.detail("a detail")
        cli.log("a line")
        cli.warn("a doubt")
        assert capsys.readouterr().err == f"{shown}a line\nwarning: a doubt\n"
    cli.parser(None).parse_args([])


def test_a_step_shows_its_heading_and_time_above_what_it_said(capsys):
    with cli.step("[1/3] train"):
        cli.log("4 components")
        print("EER 1 %")
        cli.warn("few rows")  # at once
    with cli.step("[2/3] score", tells=False):
        cli.log("not of interest")
    with contextlib.suppress(KeyboardInterrupt), cli.step("[3/3] test", tells=False):
        cli.log("the last words")
        raise KeyboardInterrupt
    out, err = capsys.readouterr()
    assert out == ""
    assert re.sub(r"\d\.\d s", "0.0 s", err).splitlines() == [
        "warning: few rows",
        "[1/3] train … 0.0 s",
        "      4 components",
        "      EER 1 %",
        "[2/3] score … 0.0 s",
        "[3/3] test … 0.0 s, not finished",
        "      the last words",
    ]


def test_letters_that_an_encoding_lacks_are_written_out(script):
    done = run(script(r'print("\u2026 caf\udce9")'), env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "\\u2026 caf\\udce9\n")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (125, "2 min 5 s"), (3600, "1 h 0 min")],
)
def test_durations_are_told_as_people_say_them(seconds, expected):
    assert cli.duration(seconds) == expected
