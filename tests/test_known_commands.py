"""The commands of the suite's first description, typed in order into a clean folder."""

import glob
import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import corpus
from countermeasure import cli
from test_readme import unrolled

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
SCRIPTS = [*ROOT.glob("gmm_*.py"), ROOT / "score_eval.py"]


def known_commands():
    """Return the shell commands of the sections about them, as they are typed."""
    typed = ""
    for page in (README, ROOT / "docs" / "fusion.md"):
        text = page.read_text(encoding="utf-8") + "\n## "
        found = re.search(r"^## The commands you may know\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
        typed += "".join(re.findall(r"^```bash\n(.*?)^```$", found[1], re.MULTILINE | re.DOTALL))
    return typed


def run_here(line):
    """Run a command of Python in this process, which has the libraries at hand; return its exit status."""
    script, *arguments = [name for word in shlex.split(line)[1:] for name in (glob.glob(word) or [word])]
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: importlib.import_module(script.removesuffix(".py")).main(arguments))
    return ended.value.code


def test_the_known_commands_work_as_typed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    corpus.make(tmp_path / "LA")
    for line in small(known_commands()):
        if line.split()[0] in ("python", "python3"):
            assert run_here(line) == 0, line
        else:
            subprocess.run(["bash", "-c", line], check=True)
    check(tmp_path, *capsys.readouterr())

    # The README's example in Python uses the lists and models that are there now.
    shutil.copy(next((tmp_path / "LA").glob("*_eval/flac/*")), "recording.wav")
    (example,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    exec(compile(example.replace("n_components=64", "n_components=4"), "README.md", "exec"), {})
    eer, judgement = capsys.readouterr().out.splitlines()
    assert eer.startswith("EER ")
    assert "file='recording.wav', llr=" in judgement
    assert (tmp_path / "output" / "small-dev.txt").is_file()


def small(typed):
    """Return the commands as a shell would run them one by one, with small models, to be quick; else unchanged."""
    lines = [line.strip() for line in unrolled(typed.replace("\\\n", " ").splitlines()) if line.strip()]
    found = [re.sub(r"^(python3? gmm_\w*train\w*\.py)", r"\1 --n_components 4 --max_iter 3", line) for line in lines]
    assert sum("--n_components" in line for line in found) == 4
    return found


def check(folder, out, err):
    for twin in (
        "data/train/mfcc.pkl: not there; taking data/train/train-mfcc.pkl",
        "data/eval/eval-mfcc.pkl: not there; taking data/test/eval-mfcc.pkl",
        "data/train/lfcc.pkl: not there; taking data/train/train-lfcc.pkl",
    ):
        assert err.count(twin) == 1
    assert out.count("EER") >= 3  # of both tests, and of the evaluation
    n_trials = len(corpus.protocol(folder / "LA", "eval").read_text().splitlines())
    for name in ("mfcc-eval.text", "filelevel-lfcc.txt"):
        assert len((folder / "output" / name).read_text().splitlines()) == n_trials


def test_they_are_the_descriptions_own(shared_data):
    """Every command of the description is in these sections, in the order of the description."""
    pattern = r"^(?:python3?|\./)\S* .*?(?<!\\)$"

    def commands(text):
        found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
        return [shlex.split(command.replace("\\\n", " ")) for command in found]

    known = commands((shared_data.parent / "description.md").read_text(encoding="utf-8"))
    known = [command for command in known if command[1].endswith(".py")]
    assert len(known) == 12
    here = commands(known_commands())
    assert all(command in here for command in known)
    places = [here.index(command) for command in known]
    assert places[:7] == sorted(places[:7])
