"""Every script: its documented commands on a small corpus, and what it says to wrong ones."""

import argparse
import importlib.util
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
from countermeasure import cli
from countermeasure.gmm.models import model_files, read_model
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ListWriter, read_list
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
TYPES = ("lfcc", "mfcc", "silence")
FUSION = "lfcc+mfcc"


def module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def run(name, *arguments):
    """Run a script as `python NAME.py ARGUMENTS` does; return its exit status."""
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: module(name).main([str(argument) for argument in arguments]))
    return ended.value.code


def commands(text):
    """Return the arguments of the documented commands, by script."""
    lines = text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if line.strip().startswith("python ")]
    return [(Path(line[1]).stem, line[2:]) for line in words]


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    return corpus.make(tmp_path_factory.mktemp("data") / "LA")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, data_set):
    """A folder in which the documented commands are run one after another."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "LA").symlink_to(data_set)
    shutil.copy(next((folder / "LA").glob("*_train/flac/*")), folder / "recording.wav")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for split in ("train", "dev", "eval"):
            extract(split, *TYPES)
    return folder


def lists(folder, model, kind=""):
    return [f"ensemble/{model}/{{split}}/{model}-{c}-{{split}}{kind}.pkl" for c in ("bon", "sp")]


def fill(workplace):
    """Fill experiment/ by hand, as users do, from whatever score lists are there by now."""
    fusions = {
        FUSION: lists(workplace, "lfcc") + lists(workplace, "mfcc"),
        f"filelevel-{FUSION}": lists(workplace, f"ensemble-{FUSION}", "-filelevel"),
    }
    fusions["my-fusion"] = fusions[FUSION]
    fusions["my-files"] = [*fusions[f"filelevel-{FUSION}"], "data/{split}/{split}-silence.pkl"]
    for name, paths in fusions.items():
        for split in ("train", "dev", "eval"):
            target = workplace / "experiment" / name / split
            target.mkdir(parents=True, exist_ok=True)
            for path in paths:
                source = workplace / path.format(split=split)
                if source.exists():
                    shutil.copy(source, target)
                    shutil.copy(provenance.path_of(source), target)


@pytest.mark.parametrize("name", CHAIN)
def test_documented_commands_run(workplace, monkeypatch, name, capsys):
    monkeypatch.chdir(workplace)
    if name == "score_eval":
        asv = workplace / "LA/ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
        asv.parent.mkdir(exist_ok=True)
        asv.write_text("".join(f"- {key} {i}\n" for i, key in enumerate(["target", "nontarget", "spoof"] * 4)))
        module("gmm_test").main(test_arguments("lfcc", "eval"))
    if name == "gmm_run":
        monkeypatch.setenv("RUN", "whole")  # beside the models of the other scripts' examples
    if name == "gmm_ensemble_train":  # which needs more of them than the examples make
        for split, ftype in itertools.product(("train", "dev", "eval"), ("lfcc", "mfcc")):
            frame_scores(split, ftype)
    if name == "gmm_filelevel_train":
        for split in ("train", "dev", "eval"):
            file_scores(split)
    fill(workplace)
    documented = commands(module(name).__doc__)
    assert len(documented) >= 2
    for script, arguments in documented:
        assert script == name
        assert module(script).main(arguments) == 0
        for option in ("--output_path", "--model_path"):
            if option in arguments:
                assert Path(arguments[arguments.index(option) + 1]).exists()


def extract(split, *types):
    folder = f"LA/ASVspoof2019_LA_{split}/flac"
    label_path = corpus.protocol(Path("LA"), split)
    assert run(
        "gmm_data_processing", "--data_split", split, "--data_path", folder, "--label_path", label_path,
        "--output_path", f"data/{split}", "--ftype", *types, "--n_jobs", 1,
    ) == 0  # fmt: skip


def frame_scores(split, ftype):
    assert run(
        "gmm_ensemble_preprocess", "--data_split", split, "--data_path", f"data/{split}/{split}-{ftype}.pkl",
        "--model_path", f"model/{ftype}", "--model_name", ftype, "--output_path", f"ensemble/{ftype}",
    ) == 0  # fmt: skip


def file_scores(split):
    name = f"ensemble-{FUSION}"
    assert run(
        "gmm_filelevel_preprocess", "--data_split", split, "--data_dir", f"experiment/{FUSION}/{split}",
        "--model_path", f"model/{name}", "--model_name", name, "--output_path", f"ensemble/{name}",
    ) == 0  # fmt: skip


def test_arguments(ftype, split):
    return [
        "--data_path", f"data/{split}/{split}-{ftype}.pkl", "--model_path_bon", f"model/{ftype}/bon.gmm",
        "--model_path_sp", f"model/{ftype}/sp.gmm", "--label_path", str(corpus.protocol(Path("LA"), split)),
        "--output_path", f"output/{ftype}-{split}.txt",
    ]  # fmt: skip


test_arguments.__test__ = False


# -- what is written -------------------------------------------------------------------------------


def test_llrs_are_those_of_the_models_own_score_samples(workplace, monkeypatch):
    """In a process without this suite: nothing but the lists, the models and scikit-learn."""
    monkeypatch.chdir(workplace)
    assert run("gmm_test", *test_arguments("mfcc", "eval")) == 0
    program = (
        "import pickle\n"
        "load = lambda path: pickle.load(open(path, 'rb'))\n"
        "bon, sp = load('model/mfcc/bon.gmm'), load('model/mfcc/sp.gmm')\n"
        "for feature, label in load('data/eval/eval-mfcc.pkl'):\n"
        "    print(bon.score(feature) - sp.score(feature))\n"
    )
    out = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    expected = [float(line) for line in out.split()]
    lines = Path("output/mfcc-eval.txt").read_text().splitlines()
    assert [line.rsplit(" ", 1)[0] for line in lines] == [
        trial.line for trial in read_protocol(corpus.protocol(Path("LA"), "eval"))
    ]
    np.testing.assert_allclose([float(line.split()[-1]) for line in lines], expected, atol=1e-4)


def test_frame_scores_and_file_scores_have_the_documented_forms(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    features = list(read_list("data/eval/eval-lfcc.pkl"))
    scores = list(read_list("ensemble/lfcc/eval/lfcc-bon-eval.pkl"))
    assert [(array.shape, label) for array, label in scores] == [((len(array),), label) for array, label in features]
    with open("model/lfcc/bon.gmm", "rb") as f:
        model = pickle.load(f)
    np.testing.assert_allclose(scores[0][0], model.score_samples(features[0][0]), rtol=1e-5, atol=2e-3)
    name = f"ensemble-{FUSION}"
    means = list(read_list(f"ensemble/{name}/eval/{name}-sp-eval-filelevel.pkl"))
    assert [(array.shape, label) for array, label in means] == [((1, 1), label) for _, label in features]


def test_the_test_scripts_print_the_eer_of_score_eval_and_draw_its_pictures(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    assert run("gmm_test", *test_arguments("lfcc", "eval"), "--plot", tmp_path / "plots") == 0
    printed = capsys.readouterr().out.split()[1]
    assert (tmp_path / "plots" / "det.png").stat().st_size > 5000
    assert run("score_eval", "--cm_score", "output/lfcc-eval.txt") == 0
    assert f"EER {printed} %" in " ".join(capsys.readouterr().out.split())


def test_left_out_entries_get_no_score(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    items = list(read_list("data/eval/eval-mfcc.pkl"))
    with open(tmp_path / "eval-mfcc.pkl", "wb") as f:
        pickle.dump([items[0], None, *items[2:]], f)
    arguments = test_arguments("mfcc", "eval")
    arguments[1], arguments[-1] = tmp_path / "eval-mfcc.pkl", tmp_path / "scores.txt"
    assert run("gmm_test", *arguments) == 0
    assert len((tmp_path / "scores.txt").read_text().splitlines()) == len(items) - 1
    assert "1 trial of" in capsys.readouterr().err


def test_blind_protocols_are_scored_without_an_eer(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    blind = tmp_path / "blind.txt"
    trials = read_protocol(corpus.protocol(Path("LA"), "eval"))
    blind.write_text("\n".join(trial.utterance for trial in trials))
    arguments = test_arguments("mfcc", "eval")
    arguments[7], arguments[-1] = blind, tmp_path / "scores.txt"
    assert run("gmm_test", *arguments) == 0
    out, err = capsys.readouterr()
    assert "EER" not in out
    assert err.count(f"{blind} is blind: without labels there is no EER") == 1
    assert len((tmp_path / "scores.txt").read_text().splitlines()) == len(trials)
    assert_refused("score_eval", ["--cm_score", tmp_path / "scores.txt"], "the scores of a blind set", capsys, blind)
    labels = ["--protocol", corpus.protocol(Path("LA"), "eval")]
    assert run("score_eval", "--cm_score", tmp_path / "scores.txt", *labels) == 0


def test_the_scores_of_one_model_do_not_calibrate_another(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    for name in ("lfcc", "mfcc"):
        shutil.copytree(f"model/{name}", tmp_path / name)
        (tmp_path / name / "calibration.json").unlink(missing_ok=True)
    assert run("gmm_test", *test_arguments("lfcc", "dev")) == 0
    arguments = ["--cm_score", "output/lfcc-dev.txt", "--model_path", tmp_path / "mfcc"]
    target = tmp_path / "mfcc" / "calibration.json"
    assert_refused("gmm_calibrate", arguments, "scores of other models (over lfcc)", capsys, target)
    assert run("gmm_calibrate", *replaced(arguments, "--model_path", tmp_path / "lfcc")) == 0
    assert "warning" not in capsys.readouterr().err
    retrained = ["--data_path", "data/train/train-lfcc.pkl", "--model_path", tmp_path / "lfcc", "--seed", 5]
    assert run("gmm_train", *retrained, "--n_components", 4, "--restart") == 0
    arguments = replaced(arguments, "--model_path", tmp_path / "lfcc")
    target = tmp_path / "lfcc" / "calibration.json"
    assert_refused("gmm_calibrate", arguments, "scores of other models", capsys, target)


# Trials of the small corpus as other corpora would write them.
OTHER_CORPORA = {
    "2019 PA": lambda t: f"{t.speaker} {t.utterance} aaa {t.attack or '-'} {t.label}",
    "2021 LA": lambda t: f"{t.speaker} {t.utterance} alaw ita_tx {t.attack or 'bonafide'} {t.label} notrim eval",
    "2021 DF": lambda t: (
        f"{t.speaker} {t.utterance} nocodec asvspoof {t.attack or '-'} {t.label} notrim eval x - - - -"
    ),
    "5": lambda t: f"{t.speaker}\t{t.utterance}\tF\t-\t-\t-\tAC3\t{t.attack or 'bonafide'}\t{t.label}\t-",
    "CSV": lambda t: f"{t.utterance}.flac,{t.label},{t.speaker},{t.attack or ''}",
}


@pytest.mark.parametrize("name", OTHER_CORPORA)
def test_protocols_of_other_corpora_go_from_the_recordings_to_the_eer(workplace, monkeypatch, tmp_path, capsys, name):
    monkeypatch.chdir(workplace)
    assert run("gmm_test", *test_arguments("lfcc", "eval")) == 0
    expected = capsys.readouterr().out
    trials = read_protocol(corpus.protocol(Path("LA"), "eval"))
    header = ["file,label,speaker,attack"] if name == "CSV" else []
    path = tmp_path / "metadata"
    path.write_text("\n".join([*header, *(OTHER_CORPORA[name](trial) for trial in trials)]))
    told = ["--protocol_format", {"CSV": "csv", "5": "asvspoof5"}.get(name, f"asvspoof{name.split()[0]}")]
    for options in ([], told):
        assert run(
            "gmm_data_processing", "--data_split", "eval", "--data_path", "LA/ASVspoof2019_LA_eval/flac",
            "--label_path", path, "--output_path", tmp_path, "--ftype", "lfcc", "--n_jobs", 1, *options,
        ) == 0  # fmt: skip
        arguments = replaced(test_arguments("lfcc", "eval"), "--label_path", path)
        arguments = replaced(arguments, "--data_path", tmp_path / "eval-lfcc.pkl")
        assert run("gmm_test", *replaced(arguments, "--output_path", tmp_path / "scores.txt"), *options) == 0
        out, err = capsys.readouterr()
        assert out == expected
    assert "is there, made from the same recordings" in err  # what is told changes nothing
    assert run("score_eval", "--cm_score", tmp_path / "scores.txt", "--by", "attack") == 0
    out = capsys.readouterr().out
    assert "A01" in out
    assert expected.split()[1] in out


def test_a_subset_is_extracted_scored_and_evaluated(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    trials = read_protocol(corpus.protocol(Path("LA"), "eval"))
    lines = [OTHER_CORPORA["2021 LA"](trial) for trial in trials]
    lines[6:] = [line.replace(" eval", " progress") for line in lines[6:]]
    path = tmp_path / "trial_metadata.txt"
    path.write_text("\n".join(lines))

    def eer(name, *options):
        capsys.readouterr()
        assert run(name, *options) == 0
        out, err = capsys.readouterr()
        assert ("all taken; --protocol_subset" in err) == ("--protocol_subset" not in options)
        return out.split("EER")[1].split()[0]

    models = test_arguments("lfcc", "eval")[2:6]
    found = {}
    for subset in ([], ["--protocol_subset", "eval"]):
        folder = tmp_path / "-".join(["x", *subset[1:]])
        labels = ["--label_path", path, *subset]
        assert run(
            "gmm_data_processing", "--data_split", "eval", "--data_path", "LA/ASVspoof2019_LA_eval/flac",
            *labels, "--output_path", folder, "--ftype", "lfcc", "--n_jobs", 1,
        ) == 0  # fmt: skip
        data = ["--data_path", folder / "eval-lfcc.pkl", "--output_path", folder / "scores.txt"]
        found[bool(subset)] = eer("gmm_test", *data, *models, *labels)
        assert len((folder / "scores.txt").read_text().splitlines()) == (6 if subset else 12)
    everything = tmp_path / "x" / "scores.txt"
    assert eer("score_eval", "--cm_score", everything, "--protocol_subset", "eval") == found[True]
    plain = tmp_path / "plain.txt"
    plain.write_text("".join(f"{line.split()[1]} {line.split()[-1]}\n" for line in everything.read_text().splitlines()))
    labels = ["--protocol", path]
    assert eer("score_eval", "--cm_score", plain, *labels, "--protocol_subset", "eval") == found[True]
    assert eer("score_eval", "--cm_score", plain, *labels) == found[False]
    mixed = ["--data_path", tmp_path / "x" / "eval-lfcc.pkl", "--output_path", tmp_path / "no.txt", *models]
    arguments = [*mixed, "--label_path", path, "--protocol_subset", "eval"]
    assert_refused("gmm_test", arguments, "give the protocol that the list was made from", capsys, tmp_path / "no.txt")


# -- wrong calls -----------------------------------------------------------------------------------


def replaced(arguments, option, value):
    arguments = list(arguments)
    arguments[arguments.index(option) + 1] = value
    return arguments


def assert_refused(name, arguments, message, capsys, target):
    before = target.exists() and target.stat().st_mtime_ns
    capsys.readouterr()
    assert run(name, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len([line for line in err.splitlines() if not line.startswith("warning: ")]) == 1, err
    assert (target.exists() and target.stat().st_mtime_ns) == before
    assert not list(target.parent.glob(".*.part"))


def shortened(path, tmp_path):
    items = list(read_list(path))[:-1]
    with ListWriter(tmp_path / Path(path).name) as out:
        for item in items:
            out.append(*item)
    return tmp_path / Path(path).name


def test_gmm_test_refuses(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    good = test_arguments("mfcc", "eval")
    target = tmp_path / "scores.txt"
    good = replaced(good, "--output_path", target)

    def refused(option, value, message):
        assert_refused("gmm_test", replaced(good, option, value), message, capsys, target)

    refused("--data_path", "data/eval/absent.pkl", "no such file")
    refused("--data_path", shortened("data/eval/eval-mfcc.pkl", tmp_path), "11 items, but")
    refused("--data_path", "data/eval/eval-silence.pkl", "60 dimensions")
    refused("--model_path_bon", "model/lfcc/bon.gmm", "different trainings")
    refused("--model_path_bon", "data/eval/eval-mfcc.pkl", "no Gaussian mixture")
    refused("--label_path", "absent.txt", "no such file")

    lines = corpus.protocol(Path("LA"), "eval").read_text().splitlines()
    lines[4] = lines[4].removesuffix(" bonafide")
    (tmp_path / "protocol.txt").write_text("\n".join(lines))
    refused("--label_path", tmp_path / "protocol.txt", "protocol.txt:5: 4 fields, where line 1 has 5")
    refused("--label_path", corpus.protocol(Path("LA"), "dev"), "LA_E_1000000 and 11 more: not in")
    (tmp_path / "protocol.txt").write_text("\n".join(lines[:4] + lines[5:] + ["LA_0001 LA_E_1000077 - - bonafide"]))
    refused("--label_path", tmp_path / "protocol.txt", "LA_E_1000004: not in")
    refused("--data_path", "data/eval/eval-lfcc.pkl", "lfcc features, but the models were trained on mfcc")


def test_lists_without_a_record_are_joined_by_order(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    assert run("gmm_test", *test_arguments("mfcc", "eval")) == 0
    expected = Path("output/mfcc-eval.txt").read_text()
    shutil.copy("data/eval/eval-mfcc.pkl", tmp_path)
    alone = replaced(test_arguments("mfcc", "eval"), "--data_path", tmp_path / "eval-mfcc.pkl")
    alone = replaced(alone, "--output_path", tmp_path / "scores.txt")
    capsys.readouterr()
    assert run("gmm_test", *alone) == 0
    assert capsys.readouterr().err.count("warning: ") == 2  # of the order, and of features that are not compared
    assert (tmp_path / "scores.txt").read_text() == expected
    (tmp_path / "reversed.txt").write_text(
        "\n".join(reversed(corpus.protocol(Path("LA"), "eval").read_text().splitlines()))
    )
    backwards = replaced(alone, "--label_path", tmp_path / "reversed.txt")
    assert_refused("gmm_test", backwards, "item 1 is bonafide", capsys, tmp_path / "scores.txt")
    # A record that is another list's is as good as none.
    shutil.copy("data/eval/eval-lfcc.pkl.json", tmp_path / "eval-mfcc.pkl.json")
    capsys.readouterr()
    assert run("gmm_test", *alone) == 0
    assert "is not the list that eval-mfcc.pkl.json describes" in capsys.readouterr().err


def test_a_list_is_joined_to_the_protocol_by_utterance(workplace, monkeypatch, tmp_path):
    monkeypatch.chdir(workplace)
    assert run("gmm_test", *test_arguments("mfcc", "eval")) == 0
    lines = corpus.protocol(Path("LA"), "eval").read_text().splitlines()
    (tmp_path / "reversed.txt").write_text("\n".join(reversed(lines)))
    other = replaced(test_arguments("mfcc", "eval"), "--label_path", tmp_path / "reversed.txt")
    assert run("gmm_test", *replaced(other, "--output_path", tmp_path / "scores.txt")) == 0
    scores = (tmp_path / "scores.txt").read_text().splitlines()
    assert scores[::-1] == Path("output/mfcc-eval.txt").read_text().splitlines()


def test_score_lists_carry_their_trials_and_their_models(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    features = provenance.read("data/eval/eval-lfcc.pkl")
    scores = provenance.read("ensemble/lfcc/eval/lfcc-bon-eval.pkl")
    assert (scores.kind, scores.utterances, scores.feature) == ("frame scores", features.utterances, features.feature)
    assert scores.n_frames == features.n_frames
    assert scores.model["training_id"] == read_model("model/lfcc/bon.gmm").record["training_id"]
    # Scores of models that were trained anew are refused by the fusion that was trained on the old ones.
    shutil.copytree("experiment", tmp_path / "experiment")
    arguments = ["--data_path", "data/train/train-lfcc.pkl", "--model_path", tmp_path / "lfcc", "--seed", 5]
    assert run("gmm_train", *arguments, "--n_components", 4) == 0
    preprocess = [
        "--data_split", "eval", "--data_path", "data/eval/eval-lfcc.pkl", "--model_path", tmp_path / "lfcc",
        "--model_name", "lfcc", "--output_path", tmp_path / "scores",
    ]  # fmt: skip
    assert run("gmm_ensemble_preprocess", *preprocess) == 0
    folder = tmp_path / "experiment" / FUSION / "eval"
    for path in (tmp_path / "scores" / "eval").iterdir():
        shutil.copy(path, folder)
    model = Path(f"model/ensemble-{FUSION}")
    test = [
        "--data_dir", folder, "--model_path_bon", model / "bon.gmm", "--model_path_sp", model / "sp.gmm",
        "--label_path", corpus.protocol(Path("LA"), "eval"), "--output_path", tmp_path / "scores.txt",
    ]  # fmt: skip
    assert_refused("gmm_ensemble_test", test, "scores of other models", capsys, tmp_path / "scores.txt")
    wrong_split = replaced(preprocess, "--data_split", "dev")
    assert_refused("gmm_ensemble_preprocess", wrong_split, "a list of eval, but", capsys, tmp_path / "scores" / "dev")


def test_a_fusion_refuses_columns_of_other_utterances(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    shutil.copytree(f"experiment/{FUSION}/train", tmp_path / "lists")
    record = provenance.read(tmp_path / "lists" / "mfcc-sp-train.pkl")
    record.utterances[3:5] = record.utterances[4], record.utterances[3]
    provenance.write(tmp_path / "lists" / "mfcc-sp-train.pkl", record)
    target = tmp_path / "model" / "bon.gmm"
    arguments = ["--data_dir", tmp_path / "lists", "--model_path", target.parent]
    assert_refused("gmm_ensemble_train", arguments, "item 4 is LA_T_1000003 in", capsys, target)


def test_gmm_train_refuses(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    target = tmp_path / "model" / "bon.gmm"
    for name in ("gmm_train", "gmm_train_recur"):
        good = ["--data_path", "data/train/train-mfcc.pkl", "--model_path", target.parent]
        refused = replaced(good, "--data_path", "data/train/absent.pkl")
        assert_refused(name, refused, "data/train/absent.pkl: no such file", capsys, target)
        assert_refused(name, [*good, "--n_components", 0], "--n_components 0", capsys, target)
        assert_refused(name, [*good, "--n_components", "many"], "invalid int value", capsys, target)
        assert_refused(name, [*good, "--load_model_path", tmp_path], "bon.gmm: no such file", capsys, target)


def test_a_logistic_fusion_goes_through_the_scripts_of_mixtures(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    fill(workplace)
    protocol = corpus.protocol(Path("LA"), "eval")
    model = tmp_path / "frames"
    train = ["--data_dir", f"experiment/{FUSION}/train", "--model_path", model, "--method", "logistic"]
    assert run("gmm_ensemble_train", *train) == 0
    for split in ("train", "eval"):
        assert run(
            "gmm_filelevel_preprocess", "--data_split", split, "--data_dir", f"experiment/{FUSION}/{split}",
            "--model_path", model, "--model_name", "fused", "--output_path", tmp_path / "files",
        ) == 0  # fmt: skip
        shutil.copy(f"data/{split}/{split}-silence.pkl", tmp_path / "files" / split)
    above = ["--data_dir", tmp_path / "files" / "train", "--model_path", tmp_path / "above", "--method", "logistic"]
    assert run("gmm_filelevel_train", *above) == 0
    for name, data_dir, folder in (
        ("gmm_ensemble_test", f"experiment/{FUSION}/eval", model),
        ("gmm_filelevel_test", tmp_path / "files" / "eval", tmp_path / "above"),
    ):
        assert run(
            name, "--data_dir", data_dir, "--model_path_bon", folder / "bon.gmm", "--model_path_sp", folder / "sp.gmm",
            "--label_path", protocol, "--output_path", tmp_path / "scores.txt",
        ) == 0  # fmt: skip
        assert len((tmp_path / "scores.txt").read_text().splitlines()) == len(read_protocol(protocol))
    target = tmp_path / "other" / "bon.gmm"
    train = replaced(train, "--model_path", target.parent)
    assert_refused("gmm_ensemble_train", [*train, "--l2", "-1"], "--l2 -1.0: must be", capsys, target)
    assert_refused(
        "gmm_ensemble_train_recur", [*train, "--load_model_path", model], "--load_model_path", capsys, target
    )
    assert_refused("gmm_filelevel_train", replaced(train, "--method", "svm"), "invalid choice", capsys, target)


def test_fusion_scripts_refuse(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    target = tmp_path / "model" / "bon.gmm"

    def train_refused(message, name="gmm_ensemble_train"):
        arguments = ["--data_dir", tmp_path / "lists", "--model_path", target.parent]
        assert_refused(name, arguments, message, capsys, target)

    train_refused("no such folder")
    (tmp_path / "lists").mkdir()
    train_refused("no list (.pkl) in it", "gmm_filelevel_train")
    shutil.copy("ensemble/lfcc/train/lfcc-bon-train.pkl", tmp_path / "lists")
    shutil.copy("ensemble/lfcc/eval/lfcc-bon-eval.pkl", tmp_path / "lists")
    train_refused("both the column 'lfcc-bon'")
    (tmp_path / "lists" / "lfcc-bon-eval.pkl").unlink()
    shutil.copy("data/train/train-silence.pkl", tmp_path / "lists")
    train_refused("file-level fusion only", "gmm_ensemble_train_recur")
    (tmp_path / "lists" / "train-silence.pkl").unlink()
    shutil.move(shortened("ensemble/lfcc/train/lfcc-sp-train.pkl", tmp_path), tmp_path / "lists")
    train_refused("11 items, but")

    # Columns other than the model's, for the test and for the preprocessing.
    shutil.copytree(f"experiment/{FUSION}/eval", tmp_path / "columns")
    (tmp_path / "columns" / "mfcc-sp-eval.pkl").unlink()
    scores = tmp_path / "scores.txt"
    model = Path(f"model/ensemble-{FUSION}")
    arguments = [
        "--data_dir", tmp_path / "columns", "--model_path_bon", model / "bon.gmm", "--model_path_sp", model / "sp.gmm",
        "--label_path", corpus.protocol(Path("LA"), "eval"), "--output_path", scores,
    ]  # fmt: skip
    assert_refused("gmm_ensemble_test", arguments, "lacks mfcc-sp", capsys, scores)
    preprocess = [
        "--data_split", "eval", "--data_dir", tmp_path / "columns", "--model_path", model,
        "--model_name", "x", "--output_path", tmp_path / "out",
    ]  # fmt: skip
    assert_refused("gmm_filelevel_preprocess", preprocess, "lacks mfcc-sp", capsys, tmp_path / "out")
    shutil.copy(f"experiment/{FUSION}/eval/mfcc-sp-eval.pkl", tmp_path / "columns")
    shutil.copy("data/eval/eval-silence.pkl", tmp_path / "columns")
    assert_refused("gmm_ensemble_test", arguments, "has silence besides", capsys, scores)


def test_preprocessing_refuses(workplace, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(workplace)
    arguments = [
        "--data_split", "eval", "--data_path", "data/eval/eval-silence.pkl", "--model_path", "model/lfcc",
        "--model_name", "lfcc", "--output_path", tmp_path / "out",
    ]  # fmt: skip
    assert_refused("gmm_ensemble_preprocess", arguments, "60 dimensions", capsys, tmp_path / "out")
    wrong_split = replaced(arguments, "--data_split", "test")
    assert_refused("gmm_ensemble_preprocess", wrong_split, "invalid choice", capsys, tmp_path / "out")


# -- help ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_examples_and_imports_nothing_heavy(name):
    program = (
        "import runpy, sys\n"
        "sys.argv = [sys.argv[1], '-h']\n"
        "try:\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code\n"
        "heavy = {'scipy', 'sklearn', 'spafe', 'soundfile', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    path = ROOT / f"{name}.py"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert len([script for script, _ in commands(done.stdout) if script == name]) >= 1


def actions(name):
    return [action for action in module(name).build_parser()._actions if action.option_strings != ["-h", "--help"]]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_option_is_described_and_its_default_shown(name):
    for action in actions(name):
        assert action.help, action.dest
        if action.option_strings and action.default not in (None, False, [], argparse.SUPPRESS):
            default = " ".join(map(str, action.default)) if isinstance(action.default, list) else str(action.default)
            shown = action.help % {"default": action.default} if "%(" in action.help else action.help
            assert default in shown, f"{name} {action.dest}: {shown}"


def test_every_script_is_in_the_chain():
    assert set(SCRIPTS) == set(CHAIN)


def test_models_are_a_pair(workplace):
    for folder in ("mfcc", f"ensemble-{FUSION}"):
        assert all(path.is_file() for path in model_files(workplace / "model" / folder))
