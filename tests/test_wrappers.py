"""The shell scripts: how they find Python and the folders, and the whole chain on a small corpus."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import corpus
from countermeasure.gmm.models import read_pair
from countermeasure.lists.pickles import read_list
from countermeasure.trials.protocol import read_protocol

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ("train", "dev", "eval")
SETTINGS = ("LA", "WORK", "RUN", "RESTART", "FUSION", "JOBS", "DASK", "PYTHON")
BLAND = {
    name: value
    for name, value in os.environ.items()
    if name not in (*SETTINGS, "VIRTUAL_ENV", "CONDA_PREFIX", "CDPATH", "PYTHONPATH") and not name.endswith("_OPTIONS")
}

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")


def call(wrapper, *types, cwd, scripts=ROOT, **environment):
    return subprocess.run(
        ["bash", os.path.join(scripts, wrapper), *types],
        cwd=cwd,
        env={**BLAND, "PYTHON": sys.executable, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def headings(done):
    return [line.partition(" … ")[0] for line in done.stderr.splitlines() if line.startswith("[")]


def files(folder):
    """Return the paths of all files in a folder, but for the records beside lists and score files."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)) for path in found if not path.name.endswith((".pkl.json", ".txt.json"))}


# -- the whole chain -------------------------------------------------------------------------------

SMALL = {
    f"{step}_OPTIONS": f"--n_components {n} --max_iter 3"
    for step, n in (("TRAIN", 4), ("ENSEMBLE", 3), ("FILELEVEL", 2))
}


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """All three wrappers for three types, from a folder with blanks, by a path with blanks."""
    here = tmp_path_factory.mktemp("another folder") / "with blanks"
    here.mkdir()
    (here / "the suite").symlink_to(ROOT)
    corpus.make(here / "the data" / "LA", 4)
    environment = {"cwd": here, "scripts": "the suite", "LA": "the data/LA", "WORK": "my work", "JOBS": 1, **SMALL}
    results = [
        call(wrapper, "silence", "mfcc", "lfcc", **environment)
        for wrapper in ("preprocess.sh", "train.sh", "test.sh", "train.sh")
    ]
    return here, results


@pytest.fixture
def work(chain):
    return chain[0] / "my work"


def test_the_chain_ends_well_and_says_its_steps(chain):
    for done in chain[1]:
        assert done.returncode == 0, done.stderr
        assert "rror" not in done.stderr
    preprocess, train, test, _ = chain[1]
    assert headings(preprocess) == [
        f"[{n}/3] features of {split}: lfcc mfcc silence" for n, split in enumerate(SPLITS, 1)
    ]
    assert headings(train) == [
        "[1/6] train lfcc",
        "[2/6] train mfcc",
        "[3/6] frame scores of lfcc mfcc",
        "[4/6] train ensemble-lfcc+mfcc",
        "[5/6] file scores of ensemble-lfcc+mfcc",
        "[6/6] train filelevel-lfcc+mfcc+silence",
    ]
    assert headings(test)[0] == "[1/2] score dev and eval: lfcc mfcc ensemble-lfcc+mfcc filelevel-lfcc+mfcc+silence"
    assert preprocess.stdout == train.stdout == ""


def test_the_files_are_those_of_the_contract(chain, work):
    scores = {
        split: [f"ensemble/{t}/{split}/{t}-{c}-{split}.pkl" for t in ("lfcc", "mfcc") for c in ("bon", "sp")]
        for split in SPLITS
    }
    fused = "ensemble-lfcc+mfcc"
    means = {
        split: [f"ensemble/{fused}/{split}/{fused}-{c}-{split}-filelevel.pkl" for c in ("bon", "sp")]
        for split in SPLITS
    }
    systems = ["lfcc", "mfcc", fused, "filelevel-lfcc+mfcc+silence"]
    expected = {
        *(f"data/{split}/{split}-{t}.pkl" for split in SPLITS for t in ("lfcc", "mfcc", "silence")),
        *(f"model/{system}/{name}" for system in systems for name in ("README.md", "bon.gmm", "sp.gmm")),
        *(f"output/{system}-{split}.txt" for system in systems for split in ("dev", "eval")),
    }
    for split in SPLITS:
        expected |= {*scores[split], *means[split]}
        expected |= {f"experiment/lfcc+mfcc/{split}/{Path(path).name}" for path in scores[split]}
        silence = f"data/{split}/{split}-silence.pkl"
        expected |= {f"experiment/{systems[3]}/{split}/{Path(path).name}" for path in [*means[split], silence]}
    assert {path for path in files(work) if not path.endswith("calibration.json")} == expected


def test_options_reach_their_training(work):
    sizes = {
        folder.name: {model.parameters.means.shape for model in read_pair(folder / "bon.gmm", folder / "sp.gmm")}
        for folder in (work / "model").iterdir()
    }
    assert sizes == {
        "lfcc": {(4, 60)},
        "mfcc": {(4, 60)},
        "ensemble-lfcc+mfcc": {(3, 4)},
        "filelevel-lfcc+mfcc+silence": {(2, 4)},
    }
    bonafide, _ = read_pair(work / "model/lfcc/bon.gmm", work / "model/lfcc/sp.gmm")
    assert bonafide.n_iter <= 3


def test_lists_and_score_files_have_the_protocols_trials(chain, work):
    for split in SPLITS:
        trials = read_protocol(corpus.protocol(chain[0] / "the data" / "LA", split))
        assert len(trials) == 8
        for path in (*work.glob(f"data/{split}/*.pkl"), *work.glob(f"ensemble/*/{split}/*.pkl")):
            assert [label for _, label in read_list(path)] == [trial.label for trial in trials]
        for path in work.glob(f"output/*-{split}.txt"):
            lines = [line.rsplit(" ", 1)[0] for line in path.read_text().splitlines()]
            assert lines == [trial.line for trial in trials]


def test_results_of_all_systems_are_in_one_table(chain):
    for system in ("lfcc", "mfcc", "ensemble-lfcc+mfcc", "filelevel-lfcc+mfcc+silence"):
        assert any(system in line.split()[:2] for line in chain[1][2].stdout.splitlines()), chain[1][2].stdout


def test_a_second_training_has_nothing_to_do(chain):
    said = chain[1][3].stderr
    assert said.count("nothing to do") == 4
    assert "components" not in said


# -- the shell -------------------------------------------------------------------------------------


class Recorder:
    """A Python that writes down what it was to run, and in which environment."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._log = folder / "python", folder / "commands"
        self.path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$LA" "$WORK" "$@" > {shlex.quote(str(self._log))}\n')
        self.path.chmod(0o755)

    def command(self):
        """Return LA, WORK and the arguments of the last call, and forget it."""
        text = self._log.read_text() if self._log.exists() else ""
        self._log.unlink(missing_ok=True)
        return text.splitlines()


@pytest.fixture
def recorder(tmp_path):
    return Recorder(tmp_path / "bin")


@pytest.fixture
def checkout(tmp_path):
    """A checkout of its own, as far as the wrappers look."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    for path in (*ROOT.glob("*.sh"), *ROOT.glob("scripts/*.sh")):
        shutil.copy(path, folder / path.relative_to(ROOT))
    (folder / "requirements.txt").write_text("")
    return folder


@pytest.mark.parametrize("wrapper", ["preprocess", "train", "test"])
def test_a_wrapper_runs_its_pipeline_beside_the_scripts(recorder, tmp_path, checkout, wrapper):
    options = {"cwd": tmp_path, "scripts": checkout, "PYTHON": recorder.path, "CDPATH": tmp_path}
    assert call(f"{wrapper}.sh", "lfcc", "*", **options).returncode == 0
    script = str(checkout / "gmm_run.py")
    assert recorder.command() == [f"{checkout}/LA", str(checkout), script, wrapper, "lfcc", "*"]
    call(f"{wrapper}.sh", **{**options, "LA": "my/LA", "WORK": "my work"})
    assert recorder.command() == ["my/LA", "my work", script, wrapper]


@pytest.mark.parametrize("wrapper", ["preprocess.sh", "train.sh", "test.sh"])
@pytest.mark.parametrize("options", [["-h"], ["mfcc", "--help"]])
def test_help_tells_how_without_python(tmp_path, wrapper, options):
    done = call(wrapper, *options, cwd=tmp_path, PYTHON=tmp_path / "absent")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  ./{wrapper} mfcc" in done.stdout
    for name in ("LA", "WORK", "JOBS", "PYTHON"):
        assert name in done.stdout
    assert "source " not in done.stdout
    assert "#" not in done.stdout


def test_a_python_that_is_not_there_is_told_in_one_line(tmp_path):
    for python in ("absent/python", "no-such-python", tmp_path):
        done = call("preprocess.sh", "mfcc", cwd=tmp_path, PYTHON=python)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"preprocess.sh: PYTHON={python}: no such program; ")
        assert done.stderr.count("\n") == 1


def test_the_python_is_the_environments_own(tmp_path, checkout):
    def users(**environment):
        environment = {"PATH": f"{tmp_path / 'path'}{os.pathsep}{BLAND['PATH']}", "PYTHON": "", **environment}
        done = call("preprocess.sh", "lfcc", cwd=tmp_path, scripts=checkout, **environment)
        assert done.returncode == 0, done.stderr
        return [name for name, python in pythons.items() if python.command()]

    pythons = {"path": Recorder(tmp_path / "path")}
    (tmp_path / "path" / "python3").symlink_to("python")
    assert users() == ["path"]
    pythons["venv"] = Recorder(checkout / ".venv" / "bin")
    assert users() == ["venv"]
    assert users(VIRTUAL_ENV="/somewhere") == ["path"]  # an environment that the caller has activated
    assert users(CONDA_PREFIX="/somewhere") == ["path"]


def test_what_lies_in_the_current_folder_is_not_imported(tmp_path):
    """Another checkout, for instance: the suite that runs is the wrappers' own."""
    (tmp_path / "countermeasure").mkdir()
    (tmp_path / "countermeasure" / "__init__.py").write_text("raise RuntimeError('the wrong suite')\n")
    done = call("train.sh", "silence", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "gmm_run.py: silence has no base model; name frame-level types with it\n",
    )


@pytest.mark.parametrize("script", ["demo.sh", "run_tests.sh"])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_makes_nothing(tmp_path, checkout, script, option):
    done = call(script, option, cwd=tmp_path, scripts=checkout, PYTHON=tmp_path / "absent")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  ./{script}" in done.stdout
    assert "source " not in done.stdout
    assert "#" not in done.stdout
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("arguments", "LA", "message"),
    [
        (["mfcc"], "", "mfcc: takes no arguments; see demo.sh -h"),
        (["-x"], "", "-x: takes no arguments; see demo.sh -h"),
        ([], "/nope", "LA=/nope: no such folder; "),
    ],
)
def test_wrong_calls_of_the_demo_make_nothing(tmp_path, checkout, arguments, LA, message):
    done = call("demo.sh", *arguments, cwd=tmp_path, scripts=checkout, LA=LA, PYTHON=tmp_path / "absent")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"demo.sh: {message}")
    assert done.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()


def test_what_is_run_can_be_run_by_its_name():
    """A shebang and the executable bit go together; what is sourced has neither."""
    places = ("*.py", "*.sh", "scripts/*", "examples/**/*.*", ".ci/run")
    scripts = [path for place in places for path in ROOT.glob(place)]
    with_shebang = {path for path in scripts if path.is_file() and path.read_bytes().startswith(b"#!")}
    assert ROOT / "score_eval.py" in with_shebang
    assert {path for path in scripts if path.is_file() and os.access(path, os.X_OK)} == with_shebang


# -- the environment -------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["run_tests.sh", "demo.sh"])
def test_an_old_python_is_refused(tmp_path, checkout, script):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.1"\nexit 1\n')
    old.chmod(0o755)
    done = call(script, cwd=tmp_path, scripts=checkout, PYTHON=old)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"needs Python 3.10 or newer, but {old} is Python 3.8.1" in done.stderr
    assert not (checkout / ".venv").exists()
    environment_of(checkout)
    if script == "run_tests.sh":  # with an environment nobody asks what made it
        done = call(script, cwd=tmp_path, scripts=checkout, PYTHON=old)
        assert (done.returncode, done.stdout, done.stderr) == (0, "run -m pytest\n", "")


def environment_of(checkout):
    """Make an environment whose Python says what it was to run."""
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "run $*"\n')
    python.chmod(0o755)
    shutil.copy(checkout / "requirements.txt", checkout / ".venv")


@pytest.mark.parametrize("script", ["run_tests.sh", "demo.sh"])
def test_no_python_is_told_in_one_line(tmp_path, checkout, script):
    done = call(script, cwd=tmp_path, scripts=checkout, PYTHON=tmp_path / "absent")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{script}: needs Python 3.10 or newer, and there is no {tmp_path / 'absent'};")
    assert done.stderr.count("\n") == 1


def test_two_runs_make_one_environment(tmp_path, checkout):
    python, made, may = tmp_path / "python", tmp_path / "made", tmp_path / "may"
    python.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = -m ] || exec {shlex.quote(sys.executable)} "$@"\n'
        f'mkdir -p "$3/bin"; echo made >> {made}\n'
        f"n=0; while [ ! -e {may} ] && [ $n -lt 400 ]; do sleep 0.05; n=$((n + 1)); done\n"
        'printf "#!/bin/sh\\n[ \\$1 = -c ] || echo run \\$*\\n" > "$3/bin/python"; chmod +x "$3/bin/python"\n'
    )
    python.chmod(0o755)
    command = ["bash", str(checkout / "run_tests.sh")]
    options = {"env": {**BLAND, "PYTHON": str(python)}, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    options["text"] = True
    with subprocess.Popen(command, **options) as first:
        while not made.exists():
            assert first.poll() is None
        with subprocess.Popen(command, **options) as second:
            assert second.stdout.readline() == "waiting for another run that is making .venv\n"
            may.touch()
            assert second.communicate(timeout=60)[0].splitlines() == ["run -m pytest"]
        assert first.communicate(timeout=60)[0].splitlines()[-1] == "run -m pytest"
    assert (first.returncode, second.returncode) == (0, 0)
    assert made.read_text() == "made\n"


def test_an_environment_that_could_not_be_made_is_made_at_the_next_try(tmp_path, checkout):
    """Debian's Python without python3-venv leaves half an environment, bin/python included."""
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        '[ "$1" = -c ] && exit 0\n'
        'mkdir -p "$3/bin"\n'
        # The environment's own Python has pip only when the making came to its end.
        f'printf "#!/bin/sh\\n[ -e {tmp_path}/pip ] && echo run \\"\\$*\\"" > "$3/bin/python"\n'
        'chmod +x "$3/bin/python"\n'
        f"[ -e {tmp_path}/may ] && touch {tmp_path}/pip\n"
    )
    python.chmod(0o755)
    done = call("run_tests.sh", cwd=tmp_path, scripts=checkout, PYTHON=python)
    assert done.returncode == 1
    assert "python3-venv" in done.stderr
    (tmp_path / "may").write_text("")  # as after apt-get install python3-venv
    done = call("run_tests.sh", "-k", "mixture", cwd=tmp_path, scripts=checkout, PYTHON=python)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "run -m pytest -k mixture"
