"""Every script: its documented commands on a small corpus, and what it says to wrong ones."""

import argparse
import ast
import importlib
import itertools
import pickle
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import corpus
from conftest import SMALL
from countermeasure import cli
from countermeasure.gmm.models import read_model
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ListWriter, read_list
from countermeasure.stages import scoring
from countermeasure.trials.protocol import read_protocol

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py"))
# Scripts in an order in which each finds what those before it have made.
CHAIN = [
    "gmm_data_processing",
    "silence_measure",
    "gmm_train_recur",
    "gmm_train",
    "gmm_test",
    "gmm_calibrate",
    "gmm_ensemble_preprocess",
    "gmm_ensemble_train",
    "gmm_ensemble_train_recur",
    "gmm_ensemble_test",
    "gmm_filelevel_preprocess",
    "gmm_filelevel_train",
    "gmm_filelevel_test",
    "gmm_detect",
    "score_eval",
    "gmm_run",
]
SPLITS = ("train", "dev", "eval")
FUSION = "lfcc+mfcc"
PROTOCOL = str(corpus.protocol(Path("LA"), "eval"))


def main(name, *arguments):
    return importlib.import_module(name).main([str(argument) for argument in arguments])


def run(name, *arguments):
    """Run a script as `python NAME.py ARGUMENTS` does; return its exit status."""
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: main(name, *arguments))
    return ended.value.code


# -- documented commands -----------------------------------------------------------------------------


def commands(text):
    """Return the arguments of the documented commands, by script."""
    lines = text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if line.strip().startswith("python ")]
    return [(Path(line[1]).stem, line[2:]) for line in words]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, chain):
    """A folder in which the documented commands are run one after another, with the lists of features in place."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copytree(chain.folder / "data", folder / "data")
    shutil.copytree(chain.folder / "LA", folder / "LA")
    shutil.copy(next((folder / "LA").glob("*_train/flac/*")), folder / "recording.wav")
    return folder


def fill(workplace):
    """Fill experiment/ by hand, as users do, from whatever score lists are there by now."""
    frames = [f"ensemble/{t}/{{split}}/{t}-{c}-{{split}}.pkl" for t in ("lfcc", "mfcc") for c in ("bon", "sp")]
    name = f"ensemble-{FUSION}"
    files = [f"ensemble/{name}/{{split}}/{name}-{c}-{{split}}-filelevel.pkl" for c in ("bon", "sp")]
    fusions = {FUSION: frames, "my-fusion": frames, f"filelevel-{FUSION}": files}
    fusions["my-files"] = [*files, "data/{split}/{split}-silence.pkl"]
    for (name, paths), split in itertools.product(fusions.items(), SPLITS):
        target = workplace / "experiment" / name / split
        target.mkdir(parents=True, exist_ok=True)
        for path in (workplace / path.format(split=split) for path in paths):
            if path.exists():
                shutil.copy(path, target)
                shutil.copy(provenance.path_of(path), target)


@pytest.mark.parametrize("name", CHAIN)
def test_documented_commands_run(workplace, monkeypatch, name):
    monkeypatch.chdir(workplace)
    for variable, value in SMALL.items():
        monkeypatch.setenv(variable, value)
    if name == "score_eval":
        asv = Path("LA/ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt")
        asv.parent.mkdir(exist_ok=True)
        asv.write_text("".join(f"- {key} {i}\n" for i, key in enumerate(["target", "nontarget", "spoof"] * 4)))
        main("gmm_test", *test_arguments("lfcc", "output/lfcc-eval.txt"))
    if name == "gmm_run":
        monkeypatch.setenv("RUN", "whole")  # beside the models of the other scripts' examples
    if name == "gmm_ensemble_train":  # which needs more of them than the examples make
        for split, t in itertools.product(SPLITS, ("lfcc", "mfcc")):
            data = ["--data_path", f"data/{split}/{split}-{t}.pkl", "--model_path", f"model/{t}", "--model_name", t]
            main("gmm_ensemble_preprocess", "--data_split", split, *data, "--output_path", f"ensemble/{t}")
    if name == "gmm_filelevel_train":
        for split in SPLITS:
            data = ["--data_split", split, "--data_dir", f"experiment/{FUSION}/{split}"]
            model = ["--model_path", f"model/ensemble-{FUSION}", "--model_name", f"ensemble-{FUSION}"]
            main("gmm_filelevel_preprocess", *data, *model, "--output_path", f"ensemble/ensemble-{FUSION}")
    fill(workplace)
    documented = commands(importlib.import_module(name).__doc__)
    assert len(documented) >= 2
    for script, arguments in documented:
        assert script == name
        assert main(script, *arguments, *["--max_iter", "3"] * ("train" in name)) == 0
        for option in ("--output_path", "--model_path"):
            if option in arguments:
                assert Path(arguments[arguments.index(option) + 1]).exists()


def test_every_script_is_in_the_chain():
    assert set(SCRIPTS) == set(CHAIN)


# -- what is written -------------------------------------------------------------------------------


@pytest.fixture
def here(chain, monkeypatch):
    """The folder of finished pipelines, whose files stay as they are."""
    monkeypatch.chdir(chain.folder)
    return chain.folder


def test_arguments(ftype, output, **changes):
    options = {
        "data_path": f"data/eval/eval-{ftype}.pkl",
        "model_path_bon": f"model/{ftype}/bon.gmm",
        "model_path_sp": f"model/{ftype}/sp.gmm",
        "label_path": PROTOCOL,
        "output_path": output,
        **changes,
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


test_arguments.__test__ = False


def load(path):
    with open(path, "rb") as f:
        return pickle.load(f)


def test_llrs_are_those_of_the_models_own_score_samples(here):
    """By nothing but the lists, the models and scikit-learn."""
    bonafide, spoof = load("model/mfcc/bon.gmm"), load("model/mfcc/sp.gmm")
    expected = [bonafide.score(feature) - spoof.score(feature) for feature, _ in load("data/eval/eval-mfcc.pkl")]
    found = [float(line.split()[-1]) for line in Path("output/mfcc-eval.txt").read_text().splitlines()]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_frame_scores_and_file_scores_have_the_documented_forms(here):
    features = list(read_list("data/eval/eval-lfcc.pkl"))
    scores = list(read_list("ensemble/lfcc/eval/lfcc-bon-eval.pkl"))
    assert [(array.shape, label) for array, label in scores] == [((len(array),), label) for array, label in features]
    expected = load("model/lfcc/bon.gmm").score_samples(features[0][0])
    np.testing.assert_allclose(scores[0][0], expected, rtol=1e-5, atol=2e-3)
    name = f"ensemble-{FUSION}"
    means = list(read_list(f"ensemble/{name}/eval/{name}-sp-eval-filelevel.pkl"))
    assert [(array.shape, label) for array, label in means] == [((1, 1), label) for _, label in features]
    given, made = provenance.read("data/eval/eval-lfcc.pkl"), provenance.read("ensemble/lfcc/eval/lfcc-bon-eval.pkl")
    assert (made.kind, made.utterances, made.feature, made.n_frames) == (
        "frame scores", given.utterances, given.feature, given.n_frames,
    )  # fmt: skip
    assert made.model["training_id"] == read_model("model/lfcc/bon.gmm").record.training_id


def test_the_test_scripts_print_the_eer_of_score_eval_and_draw_its_pictures(here, tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(scoring, "plot_scores", lambda *arguments: drawn.append(arguments))
    target, plots = str(tmp_path / "scores.txt"), str(tmp_path / "plots")
    assert main("gmm_test", *test_arguments("lfcc", target), "--plot", plots) == 0
    printed = capsys.readouterr().out.split()[1]
    assert drawn == [(target, plots)]
    assert main("score_eval", "--cm_score", target) == 0
    assert f"EER {printed} %" in " ".join(capsys.readouterr().out.split())


def test_blind_protocols_are_scored_without_an_eer(here, tmp_path, capsys):
    blind, target = tmp_path / "blind.txt", tmp_path / "scores.txt"
    blind.write_text("\n".join(trial.utterance for trial in read_protocol(PROTOCOL)))
    assert main("gmm_test", *test_arguments("mfcc", target, label_path=blind)) == 0
    out, err = capsys.readouterr()
    assert "EER" not in out
    assert err.count(f"{blind}: no EER without labels of both classes") == 1
    assert len(target.read_text().splitlines()) == 12
    assert_refused("score_eval", ["--cm_score", target], "the scores of a blind set", capsys)
    assert main("score_eval", "--cm_score", target, "--protocol", PROTOCOL) == 0


def test_lists_without_a_record_are_joined_by_order(here, tmp_path, capsys):
    shutil.copy("data/eval/eval-mfcc.pkl", tmp_path)
    shutil.copy("data/eval/eval-lfcc.pkl.json", tmp_path / "eval-mfcc.pkl.json")  # of another list
    alone, target = {"data_path": tmp_path / "eval-mfcc.pkl"}, tmp_path / "scores.txt"
    assert main("gmm_test", *test_arguments("mfcc", target, **alone)) == 0
    said = capsys.readouterr().err
    assert said.count("warning: ") == 2  # of the order, and of features that are not compared
    assert "is not the list that eval-mfcc.pkl.json describes" in said
    assert target.read_bytes() == Path("output/mfcc-eval.txt").read_bytes()
    (tmp_path / "reversed.txt").write_text("\n".join(reversed(Path(PROTOCOL).read_text().splitlines())))
    backwards = test_arguments("mfcc", target, **alone, label_path=tmp_path / "reversed.txt")
    assert_refused("gmm_test", backwards, "item 1 is bonafide", capsys)


# Trials of the small corpus as other corpora would write them.
OTHER_CORPORA = {
    "2021 LA": lambda t: f"{t.speaker} {t.utterance} alaw ita_tx {t.attack or 'bonafide'} {t.label} notrim eval",
    "2021 DF": lambda t: (
        f"{t.speaker} {t.utterance} nocodec asvspoof {t.attack or '-'} {t.label} notrim eval x - - - -"
    ),
    "5": lambda t: f"{t.speaker}\t{t.utterance}\tF\t-\t-\t-\tAC3\t{t.attack or 'bonafide'}\t{t.label}\t-",
    "CSV": lambda t: f"{t.utterance}.flac,{t.label},{t.speaker},{t.attack or ''}",
}


def extract(folder, *labels):
    data = ["--data_split", "eval", "--data_path", "LA/ASVspoof2019_LA_eval/flac", "--output_path", folder]
    assert main("gmm_data_processing", *data, "--ftype", "lfcc", "--n_jobs", 1, "--label_path", *labels) == 0
    return {"data_path": folder / "eval-lfcc.pkl"}


@pytest.mark.parametrize("name", OTHER_CORPORA)
def test_protocols_of_other_corpora_go_from_the_recordings_to_the_eer(here, tmp_path, capsys, name):
    header = ["file,label,speaker,attack"] if name == "CSV" else []
    path, target = tmp_path / "metadata", tmp_path / "scores.txt"
    path.write_text("\n".join([*header, *(OTHER_CORPORA[name](trial) for trial in read_protocol(PROTOCOL))]))
    options = ["--protocol_format", "asvspoof2021"] if name == "2021 DF" else []
    data = extract(tmp_path, path, *options)
    assert main("gmm_test", *test_arguments("lfcc", target, **data, label_path=path), *options) == 0
    eer = capsys.readouterr().out.split()[1]
    scores = [line.split()[-1] for line in target.read_text().splitlines()]
    assert scores == [line.split()[-1] for line in Path("output/lfcc-eval.txt").read_text().splitlines()]
    assert main("score_eval", "--cm_score", target, "--by", "attack") == 0
    out = capsys.readouterr().out
    assert "A01" in out
    assert eer in out


def test_a_subset_is_extracted_scored_and_evaluated(here, tmp_path, capsys):
    lines = [OTHER_CORPORA["2021 LA"](trial) for trial in read_protocol(PROTOCOL)]
    lines[6:] = [line.replace(" eval", " progress") for line in lines[6:]]
    path, subset = tmp_path / "trial_metadata.txt", ["--protocol_subset", "eval"]
    path.write_text("\n".join(lines))
    for options, n in (([], 12), (subset, 6)):
        folder = tmp_path / str(n)
        arguments = test_arguments("lfcc", folder / "s.txt", **extract(folder, path, *options), label_path=path)
        assert main("gmm_test", *arguments, *options) == 0
        assert len((folder / "s.txt").read_text().splitlines()) == n
        assert ("all taken; --protocol_subset" in capsys.readouterr().err) == (n == 12)
    assert main("score_eval", "--cm_score", tmp_path / "12" / "s.txt", *subset) == 0
    assert " 6 trials" in capsys.readouterr().out
    of_all = test_arguments("lfcc", tmp_path / "some.txt", data_path=tmp_path / "12/eval-lfcc.pkl", label_path=path)
    assert main("gmm_test", *of_all, *subset) == 0
    assert (tmp_path / "some.txt").read_text() == (tmp_path / "6" / "s.txt").read_text()


# -- wrong calls -----------------------------------------------------------------------------------


def assert_refused(name, arguments, message, capsys):
    """Check that a call is refused in one line, and leaves nothing of its output."""
    targets = [Path(arguments[i + 1]) for i, word in enumerate(arguments) if word in ("--output_path", "--model_path")]
    before = [target.exists() and target.stat().st_mtime_ns for target in targets]
    capsys.readouterr()
    assert run(name, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len([line for line in err.splitlines() if not line.startswith("warning: ")]) == 1, err
    assert [target.exists() and target.stat().st_mtime_ns for target in targets] == before
    assert not [part for target in targets for part in target.parent.glob(".*.part")]


def shortened(path, folder):
    with ListWriter(folder / Path(path).name) as out:
        for item in list(read_list(path))[:-1]:
            out.append(*item)
    return folder / Path(path).name


def test_gmm_test_refuses(here, tmp_path, capsys):
    def refused(message, **changes):
        assert_refused("gmm_test", test_arguments("mfcc", tmp_path / "scores.txt", **changes), message, capsys)

    refused("no such file", data_path="data/eval/absent.pkl")
    refused("11 items, but", data_path=shortened("data/eval/eval-mfcc.pkl", tmp_path))
    refused("60 dimensions", data_path="data/eval/eval-silence.pkl")
    refused("features with type lfcc, but", data_path="data/eval/eval-lfcc.pkl")
    refused("different trainings", model_path_bon="model/lfcc/bon.gmm")
    refused("no Gaussian mixture", model_path_bon="data/eval/eval-mfcc.pkl")
    refused("no such file", label_path="absent.txt")
    refused("LA_E_1000000 and 11 more: not in", label_path=corpus.protocol(Path("LA"), "dev"))

    lines, protocol = Path(PROTOCOL).read_text().splitlines(), tmp_path / "protocol.txt"
    protocol.write_text("\n".join(lines[:4] + lines[5:] + ["LA_0001 LA_E_1000077 - - bonafide"]))
    refused("LA_E_1000004: not in", label_path=protocol)
    lines[4] = lines[4].removesuffix(" bonafide")
    protocol.write_text("\n".join(lines))
    refused("protocol.txt:5: 4 fields", label_path=protocol)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gmm_train", "--data_path data/train/absent.pkl", "data/train/absent.pkl: no such file"),
        ("gmm_train_recur", "--data_path data/train/train-mfcc.pkl --n_components many", "invalid int value"),
        ("gmm_train_recur", "--data_path data/train/train-mfcc.pkl --load_model_path data", "bon.gmm: no such file"),
        ("gmm_ensemble_train", "--data_dir experiment/lfcc+mfcc/train --l2 -1 --method logistic", "--l2 -1.0: must be"),
        ("gmm_ensemble_train_recur", "--data_dir data/train", "file-level fusion only"),
        ("gmm_filelevel_train", "--data_dir LA", "no list (.pkl) in it"),
    ],
)
def test_training_refuses(here, tmp_path, capsys, name, options, message):
    assert_refused(name, [*options.split(), "--model_path", tmp_path / "model"], message, capsys)


def test_preprocessing_refuses(here, tmp_path, capsys):
    def refused(message, split, ftype):
        data = ["--data_split", split, "--data_path", f"data/eval/eval-{ftype}.pkl"]
        model = ["--model_path", "model/lfcc", "--model_name", "lfcc", "--output_path", tmp_path / "out"]
        assert_refused("gmm_ensemble_preprocess", [*data, *model], message, capsys)

    refused("60 dimensions", "eval", "silence")
    refused("a list of eval, but", "dev", "lfcc")
    refused("invalid choice", "test", "lfcc")


def test_fusions_refuse_the_scores_of_another_training(here, tmp_path, capsys):
    columns, model = tmp_path / "scores" / "eval", f"model/ensemble-{FUSION}"
    train = ["--data_path", "data/train/train-lfcc.pkl", "--n_components", 2, "--max_iter", 2, "--seed", 5]
    main("gmm_train", *train, "--model_path", tmp_path / "lfcc")
    data = ["--data_split", "eval", "--data_path", "data/eval/eval-lfcc.pkl", "--model_name", "lfcc"]
    main("gmm_ensemble_preprocess", *data, "--model_path", tmp_path / "lfcc", "--output_path", tmp_path / "scores")
    models = ["--model_path_bon", f"{model}/bon.gmm", "--model_path_sp", f"{model}/sp.gmm"]
    test = ["--data_dir", columns, *models, "--label_path", PROTOCOL, "--output_path", tmp_path / "scores.txt"]
    assert_refused("gmm_ensemble_test", test, "lacks mfcc-bon, mfcc-sp", capsys)
    for path in Path("ensemble/mfcc/eval").iterdir():
        shutil.copy(path, columns)
    assert_refused("gmm_ensemble_test", test, "scores of other models", capsys)


# -- help ------------------------------------------------------------------------------------------


def in_a_process(before, arguments):
    """Run all scripts in a process of their own; return the exit status, stdout and stderr of each, by its name."""
    program = f"""
import contextlib, io, json, runpy, sys
{before}
said = {{}}
for path in sys.argv[1:]:
    sys.argv = [path, *{arguments!r}]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as ended:
            status = ended.code or 0
    said[path] = status, out.getvalue(), err.getvalue()
print(json.dumps([said, sorted(sys.modules)]))
"""
    paths = [str(ROOT / f"{name}.py") for name in SCRIPTS]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, cwd=ROOT, check=True)
    said, modules = ast.literal_eval(done.stdout)
    return {Path(path).stem: found for path, found in said.items()}, modules


def test_help_shows_examples_and_imports_nothing_heavy():
    said, modules = in_a_process("", ["-h"])
    for name, (status, out, _) in said.items():
        assert status == 0
        assert name in [script for script, _ in commands(out)]
    assert not {"numpy", "scipy", "sklearn", "spafe", "soundfile", "matplotlib"} & set(modules)


def test_an_older_python_is_told_what_the_suite_needs():
    said, _ = in_a_process("sys.version_info = (3, 9)", ["-h"])
    for name, (status, out, err) in said.items():
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"{name}.py: needs Python 3.10 or newer" in err
        text = (ROOT / f"{name}.py").read_text()
        assert ast.parse(text, feature_version=(3, 6))
        assert "from __future__" not in text  # `annotations` is an error before 3.7


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_option_is_described_and_its_default_shown(name):
    for action in importlib.import_module(name).build_parser()._actions:
        assert action.help, action.dest
        if action.option_strings and action.default not in (None, False, [], argparse.SUPPRESS):
            default = " ".join(map(str, action.default)) if isinstance(action.default, list) else str(action.default)
            shown = action.help % {"default": action.default} if "%(" in action.help else action.help
            assert default in shown, f"{name} {action.dest}: {shown}"
