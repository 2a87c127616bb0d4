"""Start scripts quickly, many times, and end them at a chosen moment or under a chosen limit.

A server imports everything heavy once and forks for each run, so that a run takes a tenth of a
second and moments fall into its work rather than into its imports. The forked process executes the
script's own source as ``__main__`` and ends by the interpreter's own way out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10  # no run may take longer


class Ended(NamedTuple):
    """How a run ended: `status` is negative for a signal; `steps` counts its changes to the file system."""

    status: int
    stderr: str
    seconds: float
    steps: int


class Launcher:
    """The server's other end."""

    def __enter__(self):
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        self._server = subprocess.Popen(
            [sys.executable, "-m", "faults.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        )
        return self

    def __exit__(self, *exception):
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait(30)

    def start(self, folder, name, *arguments, **options):
        """Start ``NAME.py ARGUMENTS`` in a folder.

        Options: `kill_at_step` (number of a change to the file system, before which the process
        kills itself), `kill_after` (seconds), `largest_file` (bytes that a file may have), `uid`.
        """
        job = {"folder": str(folder), "name": name, "arguments": [str(argument) for argument in arguments], **options}
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()

    def wait(self):
        """Return how the started run ended."""
        return Ended(**json.loads(self._server.stdout.readline()))

    def run(self, folder, name, *arguments, **options):
        """Start a run and wait for its end."""
        self.start(folder, name, *arguments, **options)
        return self.wait()


# -- the server ------------------------------------------------------------------------------------

# What changes names and lengths of files; opening for writing is among them, writing itself is not.
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink"}


def _serve() -> dict[str, Any] | None:
    """Work on jobs; return one in each forked process, None at the end."""
    for line in sys.stdin:
        job = json.loads(line)
        out, complaints = os.pipe()
        count, steps = os.pipe()
        pid = os.fork()
        if not pid:
            os.dup2(complaints, 2)
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            os.dup2(1, 0)
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
            job["steps"] = steps
            return job
        os.close(complaints)
        os.close(steps)
        print(json.dumps(_watch(pid, out, count, job.get("kill_after"))), flush=True)
    return None


def _watch(pid, out, count, kill_after):
    import signal
    import threading
    import time

    began = time.monotonic()
    timer = threading.Timer(kill_after or SECONDS, os.kill, (pid, signal.SIGKILL))
    timer.start()
    with os.fdopen(out) as f:
        stderr = f.read()
    with os.fdopen(count, "rb") as f:
        steps = len(f.read())
    _, status = os.waitpid(pid, 0)
    timer.cancel()
    timer.join()
    seconds = time.monotonic() - began
    return {"status": os.waitstatus_to_exitcode(status), "stderr": stderr, "seconds": seconds, "steps": steps}


def _prepare(job) -> tuple[Any, str]:
    """Put a forked process into a job's place; return the script's code and path."""
    import resource
    import signal

    path = str(ROOT / f"{job['name']}.py")
    with open(path, encoding="utf-8") as f:
        code = compile(f.read(), path, "exec")
    os.chdir(job["folder"])
    sys.argv = [path, *job["arguments"]]
    number = 0

    def count(event, arguments):
        nonlocal number
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event not in _CHANGES and not writes:
            return
        if number == job.get("kill_at_step"):
            os.kill(os.getpid(), signal.SIGKILL)
        number += 1
        os.write(job["steps"], b".")

    sys.addaudithook(count)
    if job.get("largest_file") is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"],) * 2)
    if job.get("uid") is not None:
        os.setgroups([])
        os.setresgid(job["uid"], job["uid"], job["uid"])
        os.setresuid(job["uid"], job["uid"], job["uid"])
    return code, path


def _import_all():
    """Import what the scripts import late, which a process that became nobody may not be able to find."""
    import contextlib
    import importlib

    from countermeasure import versions

    for path in [*ROOT.glob("countermeasure/**/*.py"), *ROOT.glob("tDCF_python/*.py")]:
        if not path.stem.startswith("__"):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    heavy = ("sklearn.mixture", "soundfile", "spafe", "scipy.signal", "matplotlib.pyplot")
    for name in (*heavy, "csv", "email.parser", "encodings.utf_8_sig"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    versions.current()


if __name__ == "__main__":
    _import_all()
    started = _serve()
    if started:
        source, file_name = _prepare(started)
        sys.path.insert(0, str(ROOT))
        exec(source, {"__name__": "__main__", "__file__": file_name, "__builtins__": __builtins__})
