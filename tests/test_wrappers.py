"""The shell scripts: how they find Python and the folders, and how they make an environment."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
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


def test_a_wrapper_runs_its_pipeline_beside_the_scripts(recorder, tmp_path, checkout):
    options = {"cwd": tmp_path, "scripts": checkout, "PYTHON": recorder.path, "CDPATH": tmp_path}
    assert call("train.sh", "lfcc", "*", **options).returncode == 0
    script = str(checkout / "gmm_run.py")
    assert recorder.command() == [f"{checkout}/LA", str(checkout), script, "train", "lfcc", "*"]
    call("test.sh", **{**options, "LA": "my/LA", "WORK": "my work"})
    assert recorder.command() == ["my/LA", "my work", script, "test"]


@pytest.mark.parametrize(
    ("script", "options"),
    [("train", ["mfcc", "--help"]), ("demo", ["-h"]), ("run_tests", ["-h"])],
)
def test_help_tells_how_without_python_and_makes_nothing(tmp_path, checkout, script, options):
    done = call(f"{script}.sh", *options, cwd=tmp_path, scripts=checkout, PYTHON=tmp_path / "absent")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  ./{script}.sh" in done.stdout
    assert "source " not in done.stdout
    assert "#" not in done.stdout
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_not_there_is_told_in_one_line(tmp_path):
    for python in ("no-such-python", tmp_path):
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


@pytest.mark.parametrize(
    ("arguments", "LA", "message"),
    [
        (["mfcc"], "", "mfcc: takes no arguments; see demo.sh -h"),
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


def test_an_old_or_missing_python_is_refused(tmp_path, checkout):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for script, python in (("run_tests.sh", old), ("demo.sh", tmp_path / "absent")):
        done = call(script, cwd=tmp_path, scripts=checkout, PYTHON=python)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{script}: needs Python 3.10 or newer, which {python} is not; ")
        assert done.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()


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
    assert done.stdout.splitlines()[-1].endswith(" -k mixture")
