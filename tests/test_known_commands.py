"""The commands of the suite's first description, typed in order into a clean folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import corpus

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [*ROOT.glob("gmm_*.py"), ROOT / "score_eval.py"]
PROTOCOLS = "ASVspoof2019_LA_cm_protocols"


def section(heading):
    """Return the shell commands of a section of the README, as it is typed."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {heading}\n(.*?)^##", text, re.MULTILINE | re.DOTALL)
    return "".join(re.findall(r"^```bash\n(.*?)^```$", found[1], re.MULTILINE | re.DOTALL))


def subset(corpus_folder, folder, per_class):
    """Link the recordings of a corpus, and write protocols of the first few trials of each class."""
    (folder / PROTOCOLS).mkdir(parents=True)
    for audio in corpus_folder.glob("ASVspoof2019_LA_*/flac"):
        (folder / audio.parent.name).mkdir()
        (folder / audio.parent.name / "flac").symlink_to(audio)
    for protocol in (corpus_folder / PROTOCOLS).glob("*.txt"):
        lines = protocol.read_text().splitlines()
        kept = [line for label in ("bonafide", "spoof") for line in [x for x in lines if x.endswith(label)][:per_class]]
        (folder / PROTOCOLS / protocol.name).write_text("\n".join(kept) + "\n")


def workplace(folder):
    """Make a clean folder with the scripts, in which python and python3 are this one; return its environment."""
    (folder / "bin").mkdir()
    for name in ("python", "python3"):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    for script in SCRIPTS:
        (folder / script.name).symlink_to(script)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.parametrize("data", ["noises", "LA_mini"])
def test_the_known_commands_work_as_typed(tmp_path, request, is_long, data):
    environment = workplace(tmp_path)
    if data == "noises":
        corpus.make(tmp_path / "LA")
    else:
        shared = request.getfixturevalue("shared_data") / "LA_mini"
        if is_long:
            (tmp_path / "LA").symlink_to(shared)
        else:
            subset(shared, tmp_path / "LA", per_class=12)
    # Small models, to be quick; nothing else is changed.
    typed = re.sub(r"(python3? gmm_\w*train\w*\.py)", r"\1 --n_components 4", section("The commands you may know"))
    assert typed.count("--n_components") == 4
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for twin in (
        "data/train/mfcc.pkl: not there; taking data/train/train-mfcc.pkl",
        "data/eval/eval-mfcc.pkl: not there; taking data/test/eval-mfcc.pkl",
        "data/train/lfcc.pkl: not there; taking data/train/train-lfcc.pkl",
    ):
        assert done.stderr.count(twin) == 1
    assert done.stdout.count("EER") >= 3  # of both tests, and of the evaluation
    n_trials = len(corpus.protocol(tmp_path / "LA", "eval").read_text().splitlines())
    for name in ("mfcc-eval.text", "filelevel-lfcc.txt"):
        assert len((tmp_path / "output" / name).read_text().splitlines()) == n_trials


def test_they_are_the_descriptions_own(shared_data):
    """Every command of the description is in the README's section, in the order of the description."""
    pattern = r"^(?:python3?|\./)\S* .*?(?<!\\)$"

    def commands(text):
        found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
        return [shlex.split(command.replace("\\\n", " ")) for command in found]

    known = commands((shared_data.parent / "description.md").read_text(encoding="utf-8"))
    known = [command for command in known if command[1].endswith(".py")]
    assert len(known) == 12
    here = commands(section("The commands you may know"))
    assert all(command in here for command in known)
    places = [here.index(command) for command in known]
    assert places[:7] == sorted(places[:7])
