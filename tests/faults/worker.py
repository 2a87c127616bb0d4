"""Give damaged files to the scripts that read them, with little time, little memory and a watch on what runs.

    python -m faults.worker COUNT WORKPLACE

prints, for so many mutants of each kind of file and for each hostile pickle, a JSON list: the kind, the mutant's name,
and 'accepted', 'refused', or what must not happen.
"""

import contextlib
import importlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from countermeasure.errors import InputError
from faults import hostile, writers
from faults.mutations import mutant

SECONDS = 10  # of processor time
MEGABYTES = 400  # beyond what the process has when it begins; no sample is larger than some hundred kilobytes
LONGEST_MESSAGE = 2000  # characters; a name in it may be long
CHECKPOINT = "bonafide.checkpoint.npz"
SAMPLES = {
    "list": "data/eval/eval-lfcc.pkl",
    "model": "model/lfcc/bon.gmm",
    "protocol": "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt",
    "cm": "scores.txt",
    "asv": "asv.txt",
    "record": "data/eval/eval-lfcc.pkl.json",
    "checkpoint": f"unfinished/{CHECKPOINT}",
}
_RUNS_CODE = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect")
watching = False
ran: list[str] = []


class Hang(BaseException):
    """Time is up; no reader catches it."""


def call(kind, path, folder):
    """Return the script that reads a kind of file, and its arguments; outputs go into `folder`."""
    out = folder / "out.txt"
    if kind in ("cm", "asv"):
        scores = {"cm": SAMPLES["cm"], "asv": SAMPLES["asv"], kind: path}
        return "score_eval", ["--cm_score", scores["cm"], "--asv_score", scores["asv"], "--json", out]
    if kind == "checkpoint":
        (folder / "model").mkdir()
        path.rename(folder / "model" / CHECKPOINT)
        return "gmm_train_recur", [*writers.TRAIN, "--model_path", folder / "model"]
    if kind == "record":
        shutil.copy(SAMPLES["list"], folder / "list.pkl")
        path.rename(folder / "list.pkl.json")
        path = folder / "list.pkl"
    option = {"model": "--model_path_bon", "protocol": "--label_path"}.get(kind, "--data_path")
    given = writers.SCORE | {option: path, "--output_path": out}
    return "gmm_test", [word for pair in given.items() for word in pair]


def outcome(kind, content):
    """Return 'accepted', 'refused', or what must not happen."""
    global watching
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "mutant"
        path.write_bytes(content)
        script, arguments = call(kind, path, folder)
        main = importlib.import_module(script).main
        ran.clear()
        watching = True
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                main([str(argument) for argument in arguments])
            result = "accepted"
        except InputError as error:
            message = str(error)
            result = "refused" if len(message) <= LONGEST_MESSAGE else f"a message of {len(message):,} characters"
        except (Exception, Hang, SystemExit):
            result = traceback.format_exc(limit=-4)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            watching = False
        if ran or Path(hostile.CANARY).exists():
            return f"runs code: {ran}"
        if result != "accepted" and (folder / "out.txt").exists():
            return f"leaves an output, though {result}"
        return result


def _watch(event, arguments):
    if watching and event.startswith(_RUNS_CODE):
        ran.append(f"{event} {arguments}")


def _hang(number, frame):
    raise Hang


def main(count, workplace):
    """Try mutants and hostile pickles."""
    os.chdir(workplace)
    signal.signal(signal.SIGPROF, _hang)
    good = {kind: Path(path).read_bytes() for kind, path in SAMPLES.items()}
    for kind, content in good.items():
        print(json.dumps([kind, "the good file", outcome(kind, content)]))  # which imports what reading needs
    sys.addaudithook(_watch)
    if Path("/proc/self/statm").exists():
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (MEGABYTES << 20),) * 2)
    for kind, content in good.items():
        for number in range(int(count)):
            damaged, mutator = mutant(kind, number, content)
            print(json.dumps([kind, f"{number}: {mutator}", outcome(kind, damaged)]))
    for kind in ("list", "model"):
        for name, piece in (hostile.RUN | hostile.BAD).items():
            for how, content in hostile.whole(kind, piece).items():
                print(json.dumps([f"hostile {kind}", f"{name}, {how}", outcome(kind, content)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
