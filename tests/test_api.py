"""The functions that Python programs import, and examples/python_api.py, which uses each of them."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import corpus
import countermeasure
import tDCF_python
from countermeasure.errors import InputError
from countermeasure.lists.pickles import read_list
from tDCF_python import metrics

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def here(chain, tmp_path, monkeypatch):
    """A folder with the data set and its lists."""
    (tmp_path / "LA").symlink_to(chain.folder / "LA")
    (tmp_path / "data").symlink_to(chain.folder / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_uses_every_function(here, tmp_path, monkeypatch, capsys):
    text = (ROOT / "examples" / "python_api.py").read_text()
    for name in ("extract", "read_list", "train", "score", "Detector"):
        assert f"{name}(" in text
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(sys, "argv", ["python_api.py", "LA", "results"])
    runpy.run_path(str(ROOT / "examples" / "python_api.py"), run_name="__main__")
    out = capsys.readouterr().out
    lines = dict(line.split(": ", 1) for line in out.splitlines())
    assert lines["training list"] == "6 bona fide, 6 spoofed"
    assert lines["score file"].startswith("EER ")
    rate = float(lines["the same from the score file"].split()[0])
    assert f"EER {100 * rate:.1f} %" in lines["score file"]
    assert "llr=" in lines["a recording"]


def test_the_examples_of_the_documentation_run(here, capsys):
    shutil.copy(next(Path("LA/ASVspoof2019_LA_eval/flac").iterdir()), "recording.wav")  # read by what is in it
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = {}
    exec("".join(re.findall("^```python\\n(.*?)^```", page, re.MULTILINE | re.DOTALL)), names)
    assert names["features"].shape[1] == names["several"]["lfcc-cmvn"].shape[1] == 60
    assert len(names["frames"]) == 6
    assert names["judgement"].decision is None
    assert "(8, 60)" in capsys.readouterr().out
    assert {"asv_rates", "cllr", "min_tdcf"} <= names.keys()


def test_extraction_gives_what_the_lists_hold(here):
    names = sorted(Path("LA/ASVspoof2019_LA_train/flac").glob("*"))
    listed = [array for array, _ in read_list("data/train/train-mfcc.pkl")]
    for path, expected in zip(names, listed, strict=True):
        np.testing.assert_array_equal(countermeasure.extract(path, "mfcc"), expected)
    several = countermeasure.extract(names[0], ["silence", "mfcc"])
    assert list(several) == ["silence", "mfcc"]
    assert several["silence"].shape == (1, 2)
    with pytest.raises(InputError, match=r"^no feature type 'mfc'"):
        countermeasure.extract(names[0], "mfc")
    with pytest.raises(InputError, match=f"^{re.escape(str(names[0]))}: lfcc@0-9000: its band ends above 8000 Hz"):
        countermeasure.extract(names[0], "lfcc@0-9000")


def test_a_detector_gives_the_score_of_the_list(here):
    pair = countermeasure.train("data/train/train-mfcc.pkl", "model", n_components=2, max_iter=3)
    assert pair.spoof.parameters.means.shape == (2, 60)
    protocol = corpus.protocol(here / "LA", "eval")
    eer = countermeasure.score("data/eval/eval-mfcc.pkl", "model", protocol, "scores.txt")
    lines = [line.split() for line in Path("scores.txt").read_text().splitlines()]
    scores = {"bonafide": [], "spoof": []}
    detector = countermeasure.Detector("model")
    for line in lines:
        scores[line[-2]].append(float(line[-1]))
        found = detector(f"LA/ASVspoof2019_LA_eval/flac/{line[1]}.flac")
        assert found.llr == pytest.approx(float(line[-1]), abs=1e-4)
        assert found.decision is None  # not calibrated
    assert tDCF_python.eer(scores["bonafide"], scores["spoof"])[0] == eer.rate


def test_the_least_tandem_cost_by_hand():
    """Separated classes cost nothing; with one spoof on top, what remains is the dearer of no errors of one kind."""
    asv = metrics.asv_rates([2.0, 3.0, 4.0], [-1.0, -2.0, 0.0], [2.5, 3.5])
    assert tDCF_python.min_tdcf([1.0, 2.0], [-1.0, -2.0], asv)[0] == 0
    cost, threshold = tDCF_python.min_tdcf([1.0, 2.0], [-1.0, 3.0], asv)
    # C1 = P_tar = 0.9405 and C2 = 10 * 0.05 = 0.5, for this ASV makes no errors on speakers and accepts all spoofs.
    assert cost == pytest.approx(0.5 * 0.5 / 0.5)
    assert threshold == -1


@pytest.mark.parametrize(("level", "words"), [("WARNING", []), ("INFO", ["a line", "scoring"])])
def test_programs_hear_warnings_alone_unless_they_ask(level, words):
    """No message and no bar, on a terminal neither, as in a notebook."""
    program = (
        "import sys, logging, countermeasure; from countermeasure import cli; sys.stderr.isatty = lambda: True;"
        "logging.basicConfig(level=sys.argv[1]); cli.LINE_INTERVAL = 0;"
        "cli.log('a line'); list(cli.progress([1], 1, 'scoring', 'files')); cli.warn('a doubt')"
    )
    command = [sys.executable, "-c", program, level]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stderr
    assert all(word in told for word in [*words, "warning: a doubt"])
    assert bool(words) == ("a line" in told) == ("scoring" in told)


def test_importing_costs_nothing_and_unknown_names_are_refused():
    program = "import sys, countermeasure, tDCF_python; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    for package in (countermeasure, tDCF_python):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = package.nonsense
