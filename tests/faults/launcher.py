"""Start scripts quickly, many times, and stop or end them at a chosen moment or under a chosen limit.

A server imports everything heavy once and forks for each run, so that a run takes a tenth of a second. The forked
process executes the script's own source as ``__main__``. A run is a series of steps: its changes to the file system,
and its openings of files for writing.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 200  # no run may take longer, on however busy a machine


class Ended(NamedTuple):
    """How a run ended: `status` is negative for a signal, None while it is stopped."""

    status: int | None
    stderr: str
    steps: int
    pid: int


class Launcher:
    """The server's other end."""

    def __enter__(self):
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        self._server = subprocess.Popen(
            [sys.executable, "-m", "faults.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *exception):
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(30)

    def run(self, folder, name, *arguments, **options):
        """Run ``NAME.py ARGUMENTS`` in a folder until it ends or stops.

        Options: `kill_at` (a step, before which the process kills itself), `stop_at` (a step, before which it stops
        until `resume`), `largest_file` (bytes that a file may have), `kill_when_full` (whether more kill it).
        """
        return self._ask(folder=str(folder), name=name, arguments=[str(word) for word in arguments], **options)

    def resume(self, stopped):
        """Let a stopped run go on; return how it ended."""
        return self._ask(resume=stopped.pid)

    def _ask(self, **job):
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))


# -- the server ------------------------------------------------------------------------------------

_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink"}


def _serve() -> dict[str, Any] | None:
    """Work on jobs; return one in each forked process, None at the end."""
    running: dict[int, Any] = {}
    for line in sys.stdin:
        job = json.loads(line)
        if "resume" in job:
            pid = job["resume"]
            os.kill(pid, signal.SIGCONT)
        else:
            # What it says, and a byte for each step.
            streams = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
            pid = os.fork()
            if not pid:
                null = os.open(os.devnull, os.O_RDWR)
                for source, target in ((null, 0), (null, 1), (streams[0].fileno(), 2)):
                    os.dup2(source, target)
                sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
                return {**job, "steps": os.dup(streams[1].fileno())}
            running[pid] = streams
        print(json.dumps(_watch(pid, running)), flush=True)
    return None


def _watch(pid, running):
    """Wait until a process ends or stops."""
    timer = threading.Timer(SECONDS, os.kill, (pid, signal.SIGKILL))
    timer.start()
    _, status = os.waitpid(pid, os.WUNTRACED)
    timer.cancel()
    said, steps = (os.pread(stream.fileno(), 1 << 20, 0) for stream in running[pid])
    code = None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
    return {"status": code, "stderr": said.decode(errors="replace"), "steps": len(steps), "pid": pid}


def _run(job):
    """Be the script, in a forked process."""
    path = str(ROOT / f"{job['name']}.py")
    code = compile(Path(path).read_text(encoding="utf-8"), path, "exec")
    os.chdir(job["folder"])
    sys.argv = [path, *job["arguments"]]
    number = 0

    def step(event, arguments):
        nonlocal number
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event not in _CHANGES and not writes:
            return
        if number == job.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if number == job.get("stop_at"):
            os.kill(os.getpid(), signal.SIGSTOP)
        number += 1
        os.write(job["steps"], b".")

    sys.addaudithook(step)
    if job.get("largest_file") is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if job.get("kill_when_full") else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"],) * 2)
    try:
        exec(code, {"__name__": "__main__", "__file__": path, "__builtins__": __builtins__})
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else ended.code is not None
    sys.stderr.flush()
    os._exit(status)  # taking the interpreter apart would take longer than most runs


def _import_all():
    """Import what the scripts import late."""
    names = [path.relative_to(ROOT).with_suffix("").parts for path in ROOT.glob("countermeasure/**/[!_]*.py")]
    heavy = ("sklearn.mixture", "soundfile", "soxr", "tqdm", "spafe.fbanks.mel_fbanks", "scipy.signal", "scipy.special")
    for name in (*map(".".join, names), "tDCF_python.metrics", *heavy, "csv", "email.parser"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _import_all()
    gc.freeze()  # or each fork would copy all memory when it first collects garbage
    started = _serve()
    if started:
        _run(started)
