"""What installation gives: each script as a command, and packages that are whole."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = sorted(path.stem for path in ROOT.glob("*.py"))


def test_every_script_is_a_command():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {name: f"{name}:command" for name in COMMANDS}
    assert project["tool"]["setuptools"]["py-modules"] == COMMANDS
    assert {"plots", "dask", "fast"} <= set(project["project"]["optional-dependencies"])


def test_the_wheel_holds_what_is_needed_to_run(tmp_path):
    setuptools = pytest.importorskip("setuptools", reason="the builder of wheels, setuptools, is not installed")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip(f"setuptools {setuptools.__version__} is older than 77")
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("countermeasure", "tDCF_python"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    for path in (*ROOT.glob("*.py"), ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "LICENSE"):
        shutil.copy(path, tmp_path)
    program = "import sys; from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        held = set(wheel.namelist())
        (entries,) = (name for name in held if name.endswith("entry_points.txt"))
        points = configparser.ConfigParser()
        points.read_string(wheel.read(entries).decode())
    assert dict(points["console_scripts"]) == {name: f"{name}:command" for name in COMMANDS}
    sources = [path for name in ("countermeasure", "tDCF_python") for path in (ROOT / name).rglob("*.*")]
    needed = {path.relative_to(ROOT).as_posix() for path in sources if path.suffix in (".py", ".html", ".typed")}
    assert needed | {f"{name}.py" for name in COMMANDS} <= held
