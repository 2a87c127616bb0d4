"""Give mutants to the functions that read them, with little time, little memory and a watch on what runs.

    python -m faults.worker KIND FIRST LAST SAMPLES

prints a JSON line ``[number, mutators, outcome]`` for each mutant that was lost, and one of counts at
the end. To be started in an empty folder; `reproduce` gives one mutant's bytes.
"""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from countermeasure.errors import InputError
from countermeasure.gmm import checkpoints
from countermeasure.gmm.models import read_model
from countermeasure.lists import pickles, provenance, table
from countermeasure.lists.unfinished import UnfinishedList
from countermeasure.options import TrainingOptions
from countermeasure.stages import scoring, training
from countermeasure.trials import protocol, score_files
from faults import samples
from faults.hostile import CANARY
from faults.mutations import mutant
from tDCF_python import metrics

SECONDS = 5
MEGABYTES = 400  # beyond what the process has when it begins; no sample is larger than some kilobytes
LONGEST_MESSAGE = 2000  # characters; a name in it may be long
PATTERNS = {
    "list": "list*.pkl",
    "scores": "scores*.pkl",
    "model": "model*.gmm",
    "protocol": "protocol*.txt",
    "cm": "cm*.txt",
    "asv": "asv*.txt",
    "record": "list.pkl.json",
    "checkpoint": "checkpoint.npz",
    "parts": ".unfinished.parts",
    "items": ".unfinished.items",
}
_RUNS_CODE = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
)
watching = False
ran: list[str] = []


class Hang(BaseException):
    """Time is up; no reader catches it."""


def _score(folder, **replaced):
    files = {
        "data_path": folder / "list.pkl",
        "model_path_bon": folder / "model.gmm",
        "model_path_sp": folder / "other.gmm",
        "label_path": folder / "protocol.txt",
        "output_path": Path("scores.txt"),
    }
    scoring.score_list(**{**files, **replaced}, n_jobs=1)


def _list(path, folder):
    options = TrainingOptions(n_components=samples.N_COMPONENTS, max_iter=2)
    with contextlib.suppress(InputError):  # it is for scoring to say whether the list is any good
        training.train(path, "models", options, n_jobs=1, restart=True)
    for _ in pickles.read_list(path):
        pass
    _score(folder, data_path=path)


def _scores(path, folder):
    for _ in pickles.read_list(path):
        pass
    with table.Table([path, folder / "scores-4.pkl"]) as scores:
        for i in range(len(scores)):
            scores.item(i)


def _model(path, folder):
    read_model(path)
    _score(folder, model_path_bon=path)


def _protocol(path, folder):
    list(protocol.read_protocol(path))  # which parses the trials
    _score(folder, label_path=path)


def _cm(path, folder):
    trials = {trial.utterance: trial for trial in protocol.read_protocol(folder / "protocol.txt")}
    scores = score_files.read_cm_scores(path, trials)
    if scores.bonafide.any() and not scores.bonafide.all():
        metrics.eer(scores.scores[scores.bonafide], scores.scores[~scores.bonafide])


def _asv(path, folder):
    score_files.read_asv_scores(path)


def _record(path, folder):
    shutil.copy(folder / "list.pkl", "list.pkl")
    path.rename("list.pkl.json")
    with contextlib.suppress(InputError):
        provenance.read("list.pkl")
    _score(folder, data_path=Path("list.pkl"))


def _checkpoint(path, folder):
    checkpoints.load(path, samples.RECORD)


def _parts(path, folder):
    shutil.copy(folder / ".unfinished.items", ".list.items")
    path.rename(".list.parts")
    _finish()


def _items(path, folder):
    shutil.copy(folder / ".unfinished.parts", ".list.parts")
    path.rename(".list.items")
    _finish()


def _finish():
    """Go on with an unfinished list, and finish it with what is there."""
    with UnfinishedList("list", samples.UNFINISHED_SETTINGS) as unfinished:
        unfinished.resume(["00" * 32] * unfinished.n_found, with_problems=True)
        n_items = len(unfinished.n_frames)
        if not n_items:
            raise InputError("nothing is left of it")
        unfinished.finish()
        unfinished.publish()
    assert len([array for array, _ in pickles.read_list("list") if array is not None]) == n_items


READERS = {"list": _list, "scores": _scores, "model": _model, "protocol": _protocol, "cm": _cm, "asv": _asv,
           "record": _record, "checkpoint": _checkpoint, "parts": _parts, "items": _items}  # fmt: skip


def outcome(kind, content, folder):
    """Return 'accepted', 'refused', or what must not happen."""
    global watching
    for path in Path().iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    path = Path("mutant")
    path.write_bytes(content)
    ran.clear()
    watching = True
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        READERS[kind](path, folder)
        result = "accepted"
    except InputError as error:
        message = " ".join(str(error).split())
        result = "refused" if len(message) <= LONGEST_MESSAGE else f"a message of {len(message):,} characters"
    except Hang:
        result = "hangs: " + traceback.format_exc(limit=-3)
    except MemoryError:
        result = "takes all memory: " + traceback.format_exc(limit=-3)
    except BaseException:
        result = traceback.format_exc(limit=-4)
    finally:
        watching = False
        signal.setitimer(signal.ITIMER_REAL, 0)
    if ran or Path(CANARY).exists():
        return f"runs code: {ran}"
    if Path("scores.txt").exists() and result != "accepted":
        return f"leaves a score file, though {result}"
    return result


@contextlib.contextmanager
def _silence():
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        yield


def _watch(event, arguments):
    if watching and event.startswith(_RUNS_CODE):
        ran.append(f"{event} {arguments}")


def _hang(number, frame):
    raise Hang


def prepare(folder):
    """Import what reading needs, then limit this process's memory, and have every warning be an error.

    `outcome` empties the folder that it works in: that is a new one from now on, whoever called from where.
    """
    with _silence():
        _list(Path(folder) / "list.pkl", Path(folder))
    os.chdir(tempfile.mkdtemp(dir="."))
    sys.addaudithook(_watch)
    signal.signal(signal.SIGALRM, _hang)
    warnings.simplefilter("error")
    if Path("/proc/self/statm").exists():
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (MEGABYTES << 20),) * 2)


def main(kind, first, last, folder):
    """Try the mutants of a kind with the numbers from `first` to before `last`."""
    folder = Path(folder).resolve()
    contents = [path.read_bytes() for path in sorted(folder.glob(PATTERNS[kind]))]
    prepare(folder)
    counts: dict[str, int] = {}
    for number in range(int(first), int(last)):
        content, mutators = mutant(kind, number, contents)
        with _silence():
            found = outcome(kind, content, Path(folder))
        if found not in ("accepted", "refused"):
            print(json.dumps([number, mutators, found]))
            found = "LOST"
        counts[found] = counts.get(found, 0) + 1
    print(json.dumps(counts))


if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    main(*sys.argv[1:])
