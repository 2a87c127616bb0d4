"""The wrappers: the whole chain on a small corpus, and the commands that they run.

Where only the commands matter, `PYTHON` is a stand-in that writes them down and does nothing.
"""

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
BLAND = {
    name: value
    for name, value in os.environ.items()
    if name not in ("LA", "WORK", "JOBS", "PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "CDPATH", "PYTHONPATH")
    and not name.endswith("_OPTIONS")
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


def steps(done):
    return [line.removeprefix("== ") for line in done.stdout.splitlines() if line.startswith("== ")]


def files(folder):
    """Return the paths of all files in a folder, but for the records beside lists and score files."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return {str(path.relative_to(folder)) for path in found if not path.name.endswith((".pkl.json", ".txt.json"))}


# -- the whole chain -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """All three wrappers for three types, from a folder with blanks, by a path with blanks."""
    here = tmp_path_factory.mktemp("another folder") / "with blanks"
    here.mkdir()
    (here / "the suite").symlink_to(ROOT)
    corpus.make(here / "the data" / "LA", 4)
    stray = here / "my work" / "experiment" / "lfcc+mfcc" / "train"
    kept = stray.parents[1] / "my-own" / "kept.pkl"
    for folder in (stray, kept.parent):
        folder.mkdir(parents=True)
    kept.write_text("stray")
    (stray / "old-bon-train.pkl").symlink_to(kept)  # as an earlier run leaves them
    (stray / "older-bon-train.pkl").symlink_to("gone")
    (stray.parent / "dev").symlink_to(kept.parent)
    results = [
        call(
            wrapper,
            "silence",
            "mfcc",
            "lfcc",
            cwd=here,
            scripts="the suite",
            LA="the data/LA",
            WORK="my work",
            JOBS=1,
            TRAIN_OPTIONS="--n_components 4 --max_iter 3",
            ENSEMBLE_OPTIONS="--n_components 3 --max_iter 3",
            FILELEVEL_OPTIONS="--n_components 2 --max_iter 3",
        )
        for wrapper in ("preprocess.sh", "train.sh", "test.sh")
    ]
    return here, results


@pytest.fixture
def work(chain):
    return chain[0] / "my work"


def test_the_chain_ends_well(chain):
    for done in chain[1]:
        assert done.returncode == 0, done.stderr
        assert "rror" not in done.stderr


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
        "experiment/my-own/kept.pkl",  # what others made by hand stays
    }
    for split in SPLITS:
        expected |= {*scores[split], *means[split]}
        expected |= {f"experiment/lfcc+mfcc/{split}/{Path(path).name}" for path in scores[split]}
        silence = f"data/{split}/{split}-silence.pkl"
        expected |= {f"experiment/{systems[3]}/{split}/{Path(path).name}" for path in [*means[split], silence]}
    assert files(work) == expected


def test_a_blind_eval_split_is_scored_and_has_no_table(tmp_path):
    corpus.make(tmp_path / "LA", 3)
    labelled = corpus.protocol(tmp_path / "LA", "eval")
    trials = read_protocol(labelled)
    labelled.write_text("".join(f"{trial.speaker} {trial.utterance}\n" for trial in trials))
    options = {"LA": tmp_path / "LA", "WORK": tmp_path, "JOBS": 1}
    options |= {f"{step}_OPTIONS": "--n_components 2 --max_iter 3" for step in ("TRAIN", "ENSEMBLE", "FILELEVEL")}
    for wrapper in ("preprocess.sh", "train.sh", "test.sh"):
        done = call(wrapper, "lfcc", "mfcc", cwd=tmp_path, **options)
        assert done.returncode == 0, done.stderr
    assert "results on eval" not in steps(done)
    assert f"test.sh: {labelled} is blind: the scores are in {tmp_path / 'output'}" in done.stderr
    assert done.stdout.count("EER") == 4  # of dev
    for system in ("lfcc", "ensemble-lfcc+mfcc", "filelevel-lfcc+mfcc"):
        lines = (tmp_path / "output" / f"{system}-eval.txt").read_text().splitlines()
        assert [line.split()[:2] for line in lines] == [[trial.speaker, trial.utterance] for trial in trials]


def test_experiments_hold_just_links_to_the_lists(work):
    for path in work.glob("experiment/*lfcc*/*/*"):
        assert path.is_symlink()
        kind = "data" if "silence" in path.name else "ensemble"
        target = Path(os.readlink(path))
        assert target.parent.name == path.parent.name
        assert target.name == path.name
        assert work / kind in target.parents
        assert target.is_file()


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


def test_fusions_of_former_models_are_told_from_today_s(chain, work, tmp_path):
    assert "is not the model" not in chain[1][2].stderr
    for name in ("model", "ensemble"):
        shutil.copytree(work / name, tmp_path / "work" / name)
    recorder = Recorder(tmp_path / "bin")
    options = {"cwd": tmp_path, "PYTHON": recorder.path, "WORK": tmp_path / "work"}
    assert call("test.sh", "lfcc", "mfcc", **options).stderr == ""
    command = [sys.executable, ROOT / "gmm_train.py", "--data_path", work / "data" / "train" / "train-mfcc.pkl"]
    command += ["--model_path", tmp_path / "work" / "model" / "mfcc", "--n_components", "2", "--max_iter", "2"]
    subprocess.run(command, check=True, capture_output=True)
    done = call("test.sh", "lfcc", "mfcc", **options)
    assert done.returncode == 0
    assert done.stderr.startswith(
        "test.sh: model/mfcc is not the model that the lists in ensemble/mfcc and the fusions"
    )
    assert done.stderr.count("\n") == 1
    assert call("test.sh", "mfcc", **options).stderr == ""  # no fusion, nothing to tell
    for record in (tmp_path / "work" / "ensemble").rglob("*.json"):
        record.write_text("{")
    assert call("test.sh", "lfcc", "mfcc", **options).stderr == ""


def test_results_of_all_systems_are_in_one_table(chain):
    tested = chain[1][2]
    assert steps(tested)[-1] == "results on eval"
    table = tested.stdout.split("== results on eval")[1]
    for system in ("lfcc", "mfcc", "ensemble-lfcc+mfcc", "filelevel-lfcc+mfcc+silence"):
        assert any(line.split()[:3] == [system, "4", "4"] for line in table.splitlines()), table


# -- the commands ----------------------------------------------------------------------------------


class Recorder:
    """A Python that answers the wrappers' questions, writes the other commands down and runs none."""

    def __init__(self, folder, fails_at="", status=0):
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._log = folder / "python", folder / "commands"
        self.path.write_text(
            "#!/bin/sh\n"
            "script=${1##*/}\n"
            f'case $script in wrappers.py) ;; *.py) false ;; esac && exec {shlex.quote(sys.executable)} "$@"\n'
            "shift\n"
            f'printf "%s\\n" "$script" "$@" "" >> {shlex.quote(str(self._log))}\n'
            f'[ "$script" != "{fails_at}" ] || exit {status}\n'
        )
        self.path.chmod(0o755)

    def commands(self):
        """Return the commands so far, each a list of words, and forget them."""
        text = self._log.read_text() if self._log.exists() else ""
        self._log.unlink(missing_ok=True)
        return [command.split("\n") for command in text.split("\n\n") if command]


@pytest.fixture
def recorder(tmp_path):
    return Recorder(tmp_path / "bin")


def recorded(recorder, tmp_path, wrapper, *types, status=0, **environment):
    environment = {"PYTHON": recorder.path, "LA": "/LA", "WORK": tmp_path / "work", **environment}
    done = call(wrapper, *types, cwd=tmp_path, **environment)
    assert done.returncode == status, done.stderr
    return recorder.commands()


def names(commands):
    return [command[0].removesuffix(".py") for command in commands]


def options(command):
    """Return a command's options, each with its values joined."""
    found, name = {}, None
    for word in command[1:]:
        if word.startswith("--"):
            name = word
            found[name] = []
        else:
            found[name].append(word)
    return {name: " ".join(values) for name, values in found.items()}


def test_training_takes_the_steps_of_the_contract(recorder, tmp_path):
    commands = recorded(recorder, tmp_path, "train.sh", "mfcc-25", "silence", "lfcc-25", "gfcc-25")
    assert names(commands) == (
        ["gmm_train_recur"] * 3
        + ["gmm_ensemble_preprocess"] * 9
        + ["gmm_ensemble_train"]
        + ["gmm_filelevel_preprocess"] * 3
        + ["gmm_filelevel_train"]
    )
    work, fused = tmp_path / "work", "gfcc-25+lfcc-25+mfcc-25"
    assert options(commands[1]) == {
        "--data_path": f"{work}/data/train/train-lfcc-25.pkl",
        "--model_path": f"{work}/model/lfcc-25",
    }
    assert options(commands[11]) == {
        "--data_split": "eval",
        "--data_path": f"{work}/data/eval/eval-mfcc-25.pkl",
        "--model_path": f"{work}/model/mfcc-25",
        "--model_name": "mfcc-25",
        "--output_path": f"{work}/ensemble/mfcc-25",
    }
    assert options(commands[12]) == {
        "--data_dir": f"{work}/experiment/{fused}/train",
        "--model_path": f"{work}/model/ensemble-{fused}",
    }
    assert options(commands[14]) == {
        "--data_split": "dev",
        "--data_dir": f"{work}/experiment/{fused}/dev",
        "--model_path": f"{work}/model/ensemble-{fused}",
        "--model_name": f"ensemble-{fused}",
        "--output_path": f"{work}/ensemble/ensemble-{fused}",
    }
    assert options(commands[16]) == {
        "--data_dir": f"{work}/experiment/filelevel-{fused}+silence/train",
        "--model_path": f"{work}/model/filelevel-{fused}+silence",
    }
    links = [path.name for path in (work / "experiment" / fused / "dev").iterdir()]
    assert sorted(links) == [f"{t}-25-{c}-dev.pkl" for t in ("gfcc", "lfcc", "mfcc") for c in ("bon", "sp")]


def test_variants_are_types_of_their_own(recorder, tmp_path):
    commands = recorded(recorder, tmp_path, "train.sh", "lfcc@0-4000", "lfcc-cmvn", "lfcc")
    work, fused = tmp_path / "work", "lfcc+lfcc-cmvn+lfcc@0-4000"
    assert options(commands[2]) == {
        "--data_path": f"{work}/data/train/train-lfcc@0-4000.pkl",
        "--model_path": f"{work}/model/lfcc@0-4000",
    }
    assert options(commands[12])["--model_path"] == f"{work}/model/ensemble-{fused}"
    links = [path.name for path in (work / "experiment" / fused / "dev").iterdir()]
    assert sorted(links) == sorted(f"{name}-{c}-dev.pkl" for name in fused.split("+") for c in ("bon", "sp"))


@pytest.mark.parametrize("wrapper", ["preprocess.sh", "train.sh", "test.sh"])
def test_the_order_of_types_does_not_matter(recorder, tmp_path, wrapper):
    one = recorded(recorder, tmp_path, wrapper, "lfcc", "mfcc", "silence")
    assert one
    assert recorded(recorder, tmp_path, wrapper, "silence", "mfcc", "lfcc") == one


def test_without_types_it_is_mfcc(recorder, tmp_path):
    commands = recorded(recorder, tmp_path, "preprocess.sh")
    assert [options(command) for command in commands] == [
        {
            "--data_split": split,
            "--data_path": f"/LA/ASVspoof2019_LA_{split}/flac",
            "--label_path": f"/LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{split}.{ending}.txt",
            "--output_path": f"{tmp_path}/work/data/{split}",
            "--ftype": "mfcc",
        }
        for split, ending in (("train", "trn"), ("dev", "trl"), ("eval", "trl"))
    ]
    commands = recorded(recorder, tmp_path, "train.sh")
    assert [(command[0], options(command)["--model_path"]) for command in commands] == [
        ("gmm_train_recur.py", f"{tmp_path}/work/model/mfcc")
    ]


@pytest.mark.parametrize("folder", ["lfcc+mfcc/train", "filelevel-lfcc+mfcc/eval"])
def test_what_users_put_into_an_experiment_is_put_aside(recorder, tmp_path, folder):
    place = tmp_path / "work" / "experiment" / folder
    for n, name in enumerate(("mine.pkl", "notes/mine"), 1):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)
        done = call("train.sh", "lfcc", "mfcc", cwd=tmp_path, PYTHON=recorder.path, WORK=tmp_path / "work")
        assert done.returncode == 0, done.stderr
        kept = place.with_name(f"{place.name}.own-{n}")
        assert done.stderr.endswith(f"your own is in {kept.name} now\n")
        assert done.stderr.count("\n") == 1
        assert (kept / name).read_text() == name
        assert all(path.is_symlink() for path in place.iterdir())
    assert files(place.with_name(f"{place.name}.own-1")) == {"mine.pkl"}


def test_a_file_in_the_place_of_an_experiment_is_put_aside(recorder, tmp_path):
    place = tmp_path / "work" / "experiment" / "lfcc+mfcc" / "dev"
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    done = call("train.sh", "lfcc", "mfcc", cwd=tmp_path, PYTHON=recorder.path, WORK=tmp_path / "work")
    assert done.returncode == 0, done.stderr
    assert place.with_name("dev.own-1").read_text() == "mine"
    assert place.is_dir()


def test_a_single_type_is_not_fused(recorder, tmp_path):
    for types in (["lfcc"], ["lfcc", "silence"]):
        assert names(recorded(recorder, tmp_path, "train.sh", *types)) == ["gmm_train_recur"]
        commands = recorded(recorder, tmp_path, "test.sh", *types)
        assert names(commands) == ["gmm_test", "gmm_test", "score_eval"]
        assert options(commands[2])["--cm_score"] == f"{tmp_path}/work/output/lfcc-eval.txt"
    assert not (tmp_path / "work").exists()


def test_silence_alone_can_be_extracted_but_not_trained(recorder, tmp_path):
    commands = recorded(recorder, tmp_path, "preprocess.sh", "silence")
    assert [options(command)["--ftype"] for command in commands] == ["silence"] * 3
    for wrapper in ("train.sh", "test.sh"):
        done = call(wrapper, "silence", cwd=tmp_path, PYTHON=recorder.path, WORK=tmp_path / "work")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{wrapper}: silence has no base model")
        assert done.stderr.count("\n") == 1
    assert recorder.commands() == []
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("wrapper", "types", "message"),
    [
        ("preprocess.sh", ["lfcc", "mfcc-25"], "lfcc and mfcc-25 have different windows"),
        ("train.sh", ["mfcc", "lfcc", "silence", "gfcc-25"], "different windows"),
        ("test.sh", ["mfcc-25", "lfcc"], "different windows"),
        ("preprocess.sh", ["lfcc", "nonsense"], "nonsense"),
        ("preprocess.sh", ["silence-25"], "silence-25"),
        ("preprocess.sh", ["lfcc@4000-0"], "'4000-0' is no band"),
        ("train.sh", ["lfcc-cmvn", "mfcc-25-cmvn"], "different windows"),
        ("train.sh", ["lfcc", "lfcc"], "named twice"),
        ("train.sh", [""], ": "),
        ("test.sh", ["*"], ": "),
        ("test.sh", ["lfcc", "-x"], "-x"),
    ],
)
def test_calls_that_make_no_sense_are_refused_before_any_work(recorder, tmp_path, wrapper, types, message):
    done = call(wrapper, *types, cwd=tmp_path, PYTHON=recorder.path, WORK=tmp_path / "work")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.startswith(f"{wrapper}: ")
    assert done.stderr.count("\n") == 1
    assert recorder.commands() == []
    assert not (tmp_path / "work").exists()


def test_jobs_and_options_are_handed_on(recorder, tmp_path):
    given = {
        "JOBS": "5",
        "TRAIN_OPTIONS": "--n_components 8 --seed 3",
        "ENSEMBLE_OPTIONS": "--n_components 4",
        "FILELEVEL_OPTIONS": "--n_components 2",
        "EVALUATION_OPTIONS": "--plot here",
    }
    commands = [
        command
        for wrapper in ("preprocess.sh", "train.sh", "test.sh")
        for command in recorded(recorder, tmp_path, wrapper, "lfcc", "mfcc", **given)
    ]
    for command in commands:
        found = options(command)
        if command[0] == "score_eval.py":
            assert found["--plot"] == "here"
        else:
            assert found["--n_jobs"] == "5"
        expected = {"gmm_train_recur.py": "8", "gmm_ensemble_train.py": "4", "gmm_filelevel_train.py": "2"}
        assert found.get("--n_components") == expected.get(command[0])
        assert found.get("--seed") == ("3" if command[0] == "gmm_train_recur.py" else None)
    for command in recorded(recorder, tmp_path, "train.sh", "lfcc", "mfcc"):
        assert "--n_jobs" not in command


def test_dask_takes_the_place_of_jobs(recorder, tmp_path):
    for wrapper in ("preprocess.sh", "train.sh", "test.sh"):
        for command in recorded(recorder, tmp_path, wrapper, "lfcc", "mfcc", JOBS="5", DASK="tcp://host:8786"):
            assert "--n_jobs" not in command
            assert options(command).get("--dask") == (None if command[0] == "score_eval.py" else "tcp://host:8786")


def test_asv_scores_are_used_where_they_are(recorder, tmp_path):
    scores = tmp_path / "LA/ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    assert "--asv_score" not in recorded(recorder, tmp_path, "test.sh", "lfcc", "mfcc", LA="LA")[-1]
    scores.parent.mkdir(parents=True)
    scores.write_text("")
    commands = recorded(recorder, tmp_path, "test.sh", "lfcc", "mfcc", LA="LA")
    systems = ["lfcc", "mfcc", "ensemble-lfcc+mfcc", "filelevel-lfcc+mfcc"]
    assert options(commands[-1]) == {
        "--cm_score": " ".join(f"{tmp_path}/work/output/{system}-eval.txt" for system in systems),
        "--name": " ".join(systems),
        "--asv_score": str(scores),
    }
    assert names(commands[:-1]) == ["gmm_test", "gmm_test", "gmm_ensemble_test", "gmm_filelevel_test"] * 2


@pytest.mark.parametrize(
    ("script", "step", "n_commands"),
    [
        ("gmm_train_recur.py", "training the base model: lfcc", 1),
        ("gmm_ensemble_preprocess.py", "frame scores (train): lfcc", 3),
        ("gmm_ensemble_train.py", "training the frame-level fusion: ensemble-lfcc+mfcc", 9),
        ("gmm_filelevel_train.py", "training the file-level fusion: filelevel-lfcc+mfcc", 13),
    ],
)
def test_a_failed_step_ends_the_chain_with_its_name_and_status(tmp_path, script, step, n_commands):
    status = 100 + n_commands
    recorder = Recorder(tmp_path / "bin", script, status)
    done = call("train.sh", "lfcc", "mfcc", cwd=tmp_path, PYTHON=recorder.path, WORK=tmp_path / "work")
    assert (done.returncode, done.stderr) == (status, f"train.sh: stopped at: {step}\n")
    assert len(recorder.commands()) == n_commands


def test_a_missing_list_ends_the_chain_with_the_scripts_own_words(tmp_path):
    done = call("train.sh", "lfcc", "mfcc", cwd=tmp_path, LA="/LA", WORK=tmp_path / "work")
    assert done.returncode == 2
    script, wrapper = done.stderr.splitlines()
    assert script.startswith(
        f"gmm_train_recur.py: {tmp_path}/work/data/train/train-lfcc.pkl: no such file; make the list"
    )
    assert wrapper == "train.sh: stopped at: training the base model: lfcc"
    assert files(tmp_path) == set()


def test_steps_are_told_in_words(recorder, tmp_path):
    environment = {"cwd": tmp_path, "PYTHON": recorder.path, "WORK": tmp_path / "work"}
    assert steps(call("preprocess.sh", "silence", "lfcc", **environment)) == [
        f"extracting features ({split}): lfcc silence" for split in SPLITS
    ]
    assert steps(call("preprocess.sh", "silence", **environment))[0] == "extracting features (train): silence"
    assert steps(call("test.sh", "lfcc", **environment)) == [
        "scoring (dev): lfcc",
        "scoring (eval): lfcc",
        "results on eval",
    ]


@pytest.mark.parametrize("wrapper", ["preprocess.sh", "train.sh", "test.sh"])
@pytest.mark.parametrize("options", [["-h"], ["--help"], ["mfcc", "-h"]])
def test_help_tells_how_without_python(tmp_path, wrapper, options):
    done = call(wrapper, *options, cwd=tmp_path, PYTHON=tmp_path / "absent")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  ./{wrapper} mfcc" in done.stdout
    for name in ("LA", "WORK", "JOBS", "PYTHON"):
        assert name in done.stdout
    assert "source " not in done.stdout
    assert "#" not in done.stdout


@pytest.mark.parametrize("python", ["absent/python", "no-such-python", "folder"])
def test_a_python_that_is_not_there_is_told_in_one_line(tmp_path, python):
    (tmp_path / "folder").mkdir()
    if os.sep in python or python == "folder":
        python = tmp_path / python
    done = call("preprocess.sh", "mfcc", cwd=tmp_path, PYTHON=python)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"preprocess.sh: PYTHON={python}: no such program; ")
    assert done.stderr.count("\n") == 1


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


# -- places ----------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """A checkout of its own, as far as the wrappers look."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    for path in (*ROOT.glob("*.sh"), *ROOT.glob("scripts/*.sh")):
        shutil.copy(path, folder / path.relative_to(ROOT))
    (folder / "countermeasure").symlink_to(ROOT / "countermeasure")
    (folder / "requirements.txt").write_text("")
    return folder


def test_everything_is_beside_the_scripts_by_default(recorder, tmp_path, checkout):
    done = call("preprocess.sh", "lfcc", cwd=tmp_path, scripts=checkout, PYTHON=recorder.path)
    assert done.returncode == 0, done.stderr
    (first, *_) = map(options, recorder.commands())
    assert first["--data_path"] == f"{checkout}/LA/ASVspoof2019_LA_train/flac"
    assert first["--output_path"] == f"{checkout}/data/train"
    done = call("train.sh", "lfcc", "mfcc", cwd=tmp_path, scripts=checkout, PYTHON=recorder.path)
    assert done.returncode == 0, done.stderr
    assert (checkout / "experiment" / "lfcc+mfcc" / "dev" / "lfcc-sp-dev.pkl").is_symlink()


def test_relative_places_are_those_of_the_caller(recorder, tmp_path, checkout):
    environment = {"LA": "my/LA", "WORK": "my/work", "PYTHON": "bin/python"}
    done = call("preprocess.sh", "lfcc", cwd=tmp_path, scripts="checkout", **environment)
    assert done.returncode == 0, done.stderr
    (first, *_) = map(options, recorder.commands())
    assert first["--data_path"] == f"{tmp_path}/my/LA/ASVspoof2019_LA_train/flac"
    assert first["--output_path"] == f"{tmp_path}/my/work/data/train"


def test_the_python_is_the_environments_own(tmp_path, checkout):
    def users(**environment):
        environment = {"PATH": f"{tmp_path / 'path'}{os.pathsep}{BLAND['PATH']}", "PYTHON": "", **environment}
        done = call("preprocess.sh", "lfcc", cwd=tmp_path, scripts=checkout, **environment)
        assert done.returncode == 0, done.stderr
        return [name for name, python in pythons.items() if python.commands()]

    pythons = {"path": Recorder(tmp_path / "path")}
    (tmp_path / "path" / "python3").symlink_to("python")
    assert users() == ["path"]
    pythons["venv"] = Recorder(checkout / ".venv" / "bin")
    assert users() == ["venv"]
    assert users(VIRTUAL_ENV="/somewhere") == ["path"]  # an environment that the caller has activated
    assert users(CONDA_PREFIX="/somewhere") == ["path"]


def test_cdpath_does_not_lead_astray(recorder, tmp_path, checkout):
    done = call("preprocess.sh", "lfcc", cwd=tmp_path, scripts="checkout", PYTHON=recorder.path, CDPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert options(recorder.commands()[0])["--output_path"] == f"{checkout}/data/train"


def test_what_lies_in_the_current_folder_is_not_imported(recorder, tmp_path):
    """Another checkout, for instance: the suite that runs is the wrappers' own."""
    (tmp_path / "countermeasure").mkdir()
    (tmp_path / "countermeasure" / "__init__.py").write_text("raise RuntimeError('the wrong suite')\n")
    assert names(recorded(recorder, tmp_path, "train.sh", "lfcc")) == ["gmm_train_recur"]


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
    options = {"env": {**BLAND, "PYTHON": str(python)}, "stdout": subprocess.PIPE, "text": True}
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
