"""The steps of the three pipelines, and what is checked before the first."""

import re
import shutil
from pathlib import Path

import pytest

import corpus
import gmm_run
from conftest import SMALL
from countermeasure.errors import InputError
from countermeasure.gmm.models import model_files, read_pair
from countermeasure.stages import calibration, pipeline, scoring
from countermeasure.stages.pipeline import Pipelines, Settings
from countermeasure.trials.protocol import read_protocol

SPLITS = ("train", "dev", "eval")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with a data set, and empty lists and models where the checks look for them."""
    monkeypatch.chdir(tmp_path)
    corpus.make(tmp_path / "LA", 1)
    for split in SPLITS:
        for ftype in ("gfcc-25", "lfcc-25", "mfcc-25", "lfcc", "mfcc", "silence"):
            path = Path("data", split, f"{split}-{ftype}.pkl")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return tmp_path


@pytest.fixture
def copied(chain, tmp_path, monkeypatch):
    """A copy of finished pipelines, and the environment that they had."""
    folder = shutil.copytree(chain.folder, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(folder)
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    return folder


def pipelines(*ftypes, **environment):
    return Pipelines(ftypes, Settings.of(environment))


def commands(steps):
    return [command for step in steps for command in step.commands]


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


def test_preprocessing_extracts_all_types_of_a_split_at_once(here):
    steps = list(pipelines("silence", "mfcc", "lfcc", LA="LA").preprocess())
    assert [options(command) for command in commands(steps)] == [
        {
            "--data_split": split,
            "--data_path": f"LA/ASVspoof2019_LA_{split}/flac",
            "--label_path": f"LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{split}.{ending}.txt",
            "--output_path": f"data/{split}",
            "--ftype": "lfcc mfcc silence",
        }
        for split, ending in (("train", "trn"), ("dev", "trl"), ("eval", "trl"))
    ]


def test_training_takes_the_steps_of_the_contract(here):
    steps = list(pipelines("mfcc-25", "silence", "lfcc-25", "gfcc-25").train())
    found, fused = commands(steps), "gfcc-25+lfcc-25+mfcc-25"
    assert [command[0] for command in found] == (
        ["gmm_train_recur"] * 3
        + ["gmm_ensemble_preprocess"] * 9
        + ["gmm_ensemble_train"]
        + ["gmm_filelevel_preprocess"] * 3
        + ["gmm_filelevel_train"]
    )
    assert options(found[1]) == {"--data_path": "data/train/train-lfcc-25.pkl", "--model_path": "model/lfcc-25"}
    assert options(found[11]) == {
        "--data_split": "eval",
        "--data_path": "data/eval/eval-mfcc-25.pkl",
        "--model_path": "model/mfcc-25",
        "--model_name": "mfcc-25",
        "--output_path": "ensemble/mfcc-25",
    }
    assert options(found[12]) == {
        "--data_dir": f"experiment/{fused}/train",
        "--model_path": f"model/ensemble-{fused}",
    }
    assert options(found[14]) == {
        "--data_split": "dev",
        "--data_dir": f"experiment/{fused}/dev",
        "--model_path": f"model/ensemble-{fused}",
        "--model_name": f"ensemble-{fused}",
        "--output_path": f"ensemble/ensemble-{fused}",
    }
    assert options(found[16]) == {
        "--data_dir": f"experiment/filelevel-{fused}+silence/train",
        "--model_path": f"model/filelevel-{fused}+silence",
    }
    frame_level, file_level = [step.links for step in steps if step.links]
    assert frame_level[Path("experiment", fused, "dev")] == [
        Path("ensemble", f"{t}-25", "dev", f"{t}-25-{c}-dev.pkl")
        for t in ("gfcc", "lfcc", "mfcc")
        for c in ("bon", "sp")
    ]
    assert file_level[Path("experiment", f"filelevel-{fused}+silence", "eval")] == [
        *(
            Path("ensemble", f"ensemble-{fused}", "eval", f"ensemble-{fused}-{c}-eval-filelevel.pkl")
            for c in ("bon", "sp")
        ),
        Path("data/eval/eval-silence.pkl"),
    ]


def test_a_run_keeps_everything_but_features_in_folders_of_its_own(here):
    for step in pipelines("mfcc", "lfcc", RUN="small").train():
        for folder in step.links:
            assert folder.parts[:2] == ("experiment", "small")
        for command in step.commands:
            found = options(command)
            assert found["--model_path"].startswith("model/small/")
            assert found.get("--output_path", "ensemble/small/").startswith("ensemble/small/")
            assert found.get("--data_path", "data/").startswith("data/")
    Path("model/small/mfcc").mkdir(parents=True)
    Path("model/small/mfcc/bon.gmm").write_bytes(b"")
    (scores, _) = pipelines("mfcc", RUN="small").test()
    assert options(scores.commands[0])["--output_path"] == "output/small/mfcc-dev.txt"


def test_one_type_is_fused_when_asked_for(here, capsys):
    for ftypes in (["lfcc"], ["lfcc", "mfcc", "silence"], ["lfcc", "silence"]):
        assert "silence takes part" not in capsys.readouterr().err
        found = commands(pipelines(*ftypes).train())
    assert [command[0] for command in found] == ["gmm_train_recur"]
    assert "silence takes part in file-level fusion only" in capsys.readouterr().err
    steps = list(pipelines("lfcc", "silence", FUSION="always").train())
    assert [options(command)["--model_path"] for command in commands(steps) if command[0].endswith("train")] == [
        "model/ensemble-lfcc",
        "model/filelevel-lfcc+silence",
    ]


def test_the_environments_options_reach_the_scripts(here):
    given = {
        "JOBS": "5",
        "TRAIN_OPTIONS": "--n_components 8 --log 'my log.csv'",
        "ENSEMBLE_OPTIONS": "--method logistic",
        "FILELEVEL_OPTIONS": "--n_components 2",
        "RESTART": "1",
    }
    for command in commands(pipelines("lfcc", "mfcc", **given).train()):
        found = options(command)
        assert found["--n_jobs"] == "5"
        assert ("--restart" in found) == command[0].endswith(("train", "recur"))
        assert found.get("--log") == ("my log.csv" if command[0] == "gmm_train_recur" else None)
        assert found.get("--method") == ("logistic" if command[0] == "gmm_ensemble_train" else None)
    for command in commands(pipelines("lfcc", "mfcc", JOBS="5", DASK="local:2").train()):
        assert options(command)["--dask"] == "local:2"
        assert "--n_jobs" not in command


@pytest.mark.parametrize(
    ("ftypes", "environment", "message"),
    [
        ("mfcc", {"FUSION": "yes"}, "FUSION=yes: must be auto or always"),
        ("mfcc", {"RESTART": "true"}, "RESTART=true: must be 0 or 1"),
        ("mfcc", {"TRAIN_OPTIONS": "--log 'x"}, "TRAIN_OPTIONS=--log 'x: No closing quotation"),
        *(("mfcc", {"RUN": run}, f"RUN={run}: give a short name") for run in ("lfcc-25", "a/b", "..", "a b")),
        ("lfcc mfcc-25", {}, "lfcc and mfcc-25 have different windows"),
        ("lfcc nonsense", {}, "no feature type 'nonsense'"),
        ("lfcc lfcc", {}, "lfcc lfcc: a feature type is named twice"),
    ],
)
def test_types_and_settings_that_make_no_sense_are_refused(ftypes, environment, message):
    with pytest.raises(InputError, match="^" + re.escape(message)):
        pipelines(*ftypes.split(), **environment)


def test_work_in_the_current_folder_is_shown_without_it(here):
    assert Settings.of({"WORK": str(here), "LA": str(here / "LA")}) == Settings.of({})
    assert Settings.of({"LA": "/elsewhere"}).la == Path("/elsewhere")


def test_all_inputs_are_checked_before_the_first_step(here, monkeypatch):
    def refused(steps):
        with pytest.raises(InputError) as raised:
            list(steps)
        return str(raised.value)

    assert refused(pipelines("silence").train()).startswith("silence has no base model")
    Path("data/eval/eval-mfcc.pkl").unlink()
    for program, command in (("x/gmm_run.py", "./preprocess.sh"), ("x/gmm_run", "gmm_run preprocess")):
        monkeypatch.setattr("sys.argv", [program, "train"])
        told = refused(pipelines("lfcc", "mfcc").train())
        assert told == f"data/eval/eval-mfcc.pkl: no such file; run {command} lfcc mfcc"
    Path("data/dev/dev-mfcc.pkl").unlink()
    assert len(list(pipelines("mfcc").train())) == 1  # needs the training list alone
    assert refused(pipelines("lfcc").test()).startswith("model/lfcc: no models in it; ")
    corpus.protocol(here / "LA", "eval").unlink()
    assert "cm.eval.trl.txt: not there; give the place of the data set by LA=FOLDER" in refused(
        pipelines("lfcc").preprocess()
    )
    Path("data/train/train-silence.pkl").unlink()
    assert refused(pipelines("lfcc", "mfcc", "silence").train()).startswith(
        "data/train/train-silence.pkl: no such file"
    )


def test_the_asv_scores_of_the_data_set_are_used_where_they_are(here):
    corpus_scores = here / pipeline.Settings().la / "ASVspoof2019_LA_asv_scores"
    assert "--asv_score" not in pipelines("lfcc").results()
    corpus_scores.mkdir()
    path = corpus_scores / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    path.write_text("")
    found = options(pipelines("lfcc", EVALUATION_OPTIONS="--plot here").results())
    assert found["--asv_score"] == str(path.relative_to(here))
    assert found["--cm_score"] == "output/lfcc-eval.txt"
    assert found["--plot"] == "here"


@pytest.mark.parametrize("split", ["dev", "eval"])
def test_a_blind_split_is_scored_and_the_other_is_shown(copied, capsys, split):
    labelled = corpus.protocol(copied / "LA", split)
    labelled.write_text("".join(f"{trial.speaker} {trial.utterance}\n" for trial in read_protocol(labelled)))
    Path("model/lfcc/calibration.json").unlink()
    assert gmm_run.main(["preprocess", "lfcc"]) == gmm_run.main(["test", "lfcc"]) == 0
    shown = capsys.readouterr().out
    assert "lfcc" in shown
    assert ("lfcc-dev.txt" in shown) == (split == "eval")
    assert Path("model/lfcc/calibration.json").exists() == (split == "eval")
    assert len(Path("output", f"lfcc-{split}.txt").read_text().splitlines()) == 12


def test_only_calibration_may_fail(copied, monkeypatch, capsys):
    def fails(*arguments, **settings):
        raise InputError("it fails")

    monkeypatch.setattr(calibration, "calibrate", fails)
    assert gmm_run.main(["test", "lfcc"]) == 0
    assert "warning: it fails" in capsys.readouterr().err
    monkeypatch.setattr(scoring, "score_list", fails)
    with pytest.raises(InputError, match="it fails"):
        gmm_run.main(["test", "lfcc"])


def test_options_that_a_pipeline_gives_itself_are_refused(here):
    for word in ("--model_path", "--model_path=x"):
        with pytest.raises(InputError, match=f"TRAIN_OPTIONS: {word} is given by this pipeline; leave it out"):
            list(pipelines("mfcc", TRAIN_OPTIONS=f"--n_components 3 {word} x").train())


@pytest.mark.parametrize(
    ("name", "variable", "message"),
    [
        ("test", "EVALUATION_OPTIONS", "score_eval.py: unrecognized arguments: --interval; did you mean --intervals?"),
        ("train", "ENSEMBLE_OPTIONS", "gmm_ensemble_train.py: unrecognized arguments: --interval; "),
    ],
)
def test_options_of_all_steps_are_checked_before_the_first(copied, monkeypatch, capsys, name, variable, message):
    monkeypatch.setattr(gmm_run, "_carry_out", lambda steps: pytest.fail("it went to work"))
    monkeypatch.setenv(variable, "--interval")
    with pytest.raises(SystemExit, match="2"):
        gmm_run.main([name, *TYPES])
    assert message in capsys.readouterr().err


def test_lists_of_two_protocols_are_not_fused(copied):
    path = corpus.protocol(copied / "LA", "dev")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    gmm_run.main(["preprocess", "mfcc"])
    with pytest.raises(InputError, match=r"dev-lfcc\.pkl and dev-mfcc\.pkl are of different protocols; run "):
        gmm_run.main(["train", "lfcc", "mfcc"])


# -- the whole chain ---------------------------------------------------------------------------------

TYPES = ["silence", "mfcc", "lfcc"]
FRAMES, FILES = "ensemble-lfcc+mfcc", "filelevel-lfcc+mfcc+silence"
SYSTEMS = ["lfcc", "mfcc", FRAMES, FILES]


def test_the_chain_says_its_steps(chain):
    def headings(name):
        return [line.partition(" … ")[0] for line in chain.err[name].splitlines() if line.startswith("[")]

    assert headings("preprocess") == [
        f"[{n}/3] features of {split}: lfcc mfcc silence" for n, split in enumerate(SPLITS, 1)
    ]
    assert headings("train") == [
        "[1/6] train lfcc",
        "[2/6] train mfcc",
        "[3/6] frame scores of lfcc mfcc",
        f"[4/6] train {FRAMES}",
        f"[5/6] file scores of {FRAMES}",
        f"[6/6] train {FILES}",
    ]
    assert headings("test") == [f"[1/2] score dev and eval: {' '.join(SYSTEMS)}", "[2/2] calibrate on dev"]
    assert chain.out["preprocess"] == chain.out["train"] == ""
    assert "12 recordings" in chain.err["preprocess"]
    assert "12 recordings" not in chain.err["train"]  # of the steps that score for a fusion
    assert "trials scored into" not in chain.err["test"]
    assert "calibration.json: written" not in chain.err["test"]
    for system in SYSTEMS:
        assert any(system in line.split()[:2] for line in chain.out["test"].splitlines())


def test_the_files_are_those_of_the_contract(chain):
    expected = set()
    for split in SPLITS:
        scores = [f"ensemble/{t}/{split}/{t}-{c}-{split}.pkl" for t in ("lfcc", "mfcc") for c in ("bon", "sp")]
        means = [f"ensemble/{FRAMES}/{split}/{FRAMES}-{c}-{split}-filelevel.pkl" for c in ("bon", "sp")]
        lists = [f"data/{split}/{split}-{t}.pkl" for t in ("lfcc", "mfcc", "silence")]
        expected |= {*lists, *scores, *means}
        expected |= {f"experiment/lfcc+mfcc/{split}/{Path(path).name}" for path in scores}
        expected |= {f"experiment/{FILES}/{split}/{Path(path).name}" for path in [*means, lists[2]]}
    names = ("README.md", "bon.gmm", "sp.gmm", "calibration.json")
    expected |= {f"model/{system}/{name}" for system in SYSTEMS for name in names}
    expected |= {f"output/{system}-{split}.txt" for system in SYSTEMS for split in ("dev", "eval")}
    found = {str(path.relative_to(chain.folder)) for path in chain.folder.rglob("*") if not path.is_dir()}
    assert {path for path in found if not path.endswith((".pkl.json", ".txt.json")) and path[:2] != "LA"} == expected


def test_options_reach_their_training(chain):
    pairs = {folder.name: read_pair(*model_files(folder)) for folder in (chain.folder / "model").iterdir()}
    sizes = {name: {model.parameters.means.shape for model in pair} for name, pair in pairs.items()}
    assert sizes == {"lfcc": {(4, 60)}, "mfcc": {(4, 60)}, FRAMES: {(3, 4)}, FILES: {(2, 4)}}
    assert pairs["lfcc"].spoof.n_iter == 3


def test_models_of_other_settings_are_never_replaced_unasked(copied, monkeypatch):
    models = sorted(Path("model").rglob("*.gmm"))
    finished = {path: path.read_bytes() for path in models}

    def changed():
        return {path.parent.name for path in models if path.read_bytes() != finished[path]}

    for system, how, name, value in (
        ("lfcc", r"\(n_components 4, now 3\)", "TRAIN_OPTIONS", "--n_components 3 --max_iter 3"),
        (FILES, "method gmm, now logistic", "FILELEVEL_OPTIONS", "--method logistic"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            told = f"^model/{re.escape(system)}: .*{how}.*; RUN=NAME keeps both, RESTART=1 replaces them$"
            with pytest.raises(InputError, match=told):
                gmm_run.main(["train", *TYPES])
        assert not changed()
    monkeypatch.setenv("FILELEVEL_OPTIONS", "--method logistic")
    monkeypatch.setenv("RESTART", "1")
    gmm_run.main(["train", *TYPES])
    assert changed() == {FILES}


def test_what_is_there_is_not_made_again(copied, monkeypatch, capsys):
    def run(*names):
        capsys.readouterr()
        for name in names:
            assert gmm_run.main(["--verbose", name, *TYPES]) == 0
        outputs = [*Path("ensemble").rglob("*.pkl"), *Path("output").glob("*.txt"), *Path("model").rglob("*.gmm")]
        return capsys.readouterr().err, {path: path.stat().st_mtime_ns for path in outputs}

    said, made = run("train", "test")
    assert (said.count("already scored"), said.count("trained on these data already")) == (6 + 3 + 8, 4)

    foreign = Path("output/mfcc-eval.txt")
    expected = foreign.read_bytes()
    foreign.write_bytes(expected.replace(b"A01", b"A02"))
    monkeypatch.setenv("TRAIN_OPTIONS", "--n_components 3 --max_iter 3")
    monkeypatch.setenv("RESTART", "1")
    gmm_run.main(["train", "lfcc"])
    said, again = run("test")
    assert foreign.read_bytes() == expected
    assert {path for path in made if made[path] != again[path]} == {
        foreign, *Path("model/lfcc").glob("*.gmm"), *Path("output").glob("lfcc-*.txt"),
    }  # fmt: skip
    assert said.count(f"{Path('model/lfcc')}: the fusions use an older training of it; ") == 1
    assert said.count("older training") == 1
