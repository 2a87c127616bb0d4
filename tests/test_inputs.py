"""Lists by the names in use, and folders of lists that are not there."""

from pathlib import Path

import pytest

from countermeasure.errors import InputError
from countermeasure.stages import inputs


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(*paths):
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


@pytest.mark.parametrize(
    ("asked", "twin"),
    [
        ("data/train/mfcc.pkl", "data/train/train-mfcc.pkl"),
        ("data/train/train-mfcc.pkl", "data/train/mfcc.pkl"),
        ("data/eval/eval-mfcc.pkl", "data/test/eval-mfcc.pkl"),
        ("data/test/eval-mfcc.pkl", "data/eval/eval-mfcc.pkl"),
        ("data/test/mfcc.pkl", "data/eval/eval-mfcc.pkl"),
        ("data/eval/eval-mfcc.pkl", "data/test/mfcc.pkl"),
        ("data/dev/mfcc-25.pkl", "data/dev/dev-mfcc-25.pkl"),
        ("mine/train-mfcc.pkl", "mine/mfcc.pkl"),
        ("mine/mfcc.pkl", "mine/dev-mfcc.pkl"),
    ],
)
def test_the_one_twin_of_a_missing_list_is_taken(capsys, asked, twin):
    put("data/train/train-lfcc.pkl", "data/train/dev-mfcc.pkl", "data/dev/dev-mfcc.pkl")  # no twins of any
    with pytest.raises(InputError, match=f"^{asked}: no such file; make the list first"):
        inputs.of_list(asked)
    put(twin)
    assert inputs.of_list(asked) == (Path(twin), [Path(twin)], None, "features")
    assert capsys.readouterr().err == f"{asked}: not there; taking {twin}\n"
    put(asked)
    assert inputs.of_list(asked).paths == [Path(asked)]
    assert capsys.readouterr().err == ""


def test_of_several_twins_none_is_taken():
    put("data/eval/eval-mfcc.pkl", "data/test/eval-mfcc.pkl", "mine/train-mfcc.pkl", "mine/dev-mfcc.pkl")
    with pytest.raises(InputError, match=r"give one of data/eval/eval-mfcc\.pkl, data/test/eval-mfcc\.pkl$"):
        inputs.of_list("data/eval/mfcc.pkl")
    with pytest.raises(InputError, match=r"give one of mine/train-mfcc\.pkl, mine/dev-mfcc\.pkl$"):
        inputs.of_list("mine/mfcc.pkl")


def test_files_and_folders_are_told_apart(tmp_path):
    put("file")
    with pytest.raises(InputError, match="is a folder; give a file"):
        inputs.of_list(tmp_path)
    with pytest.raises(InputError, match="is a file; give the folder"):
        inputs.of_fusion("file", whole_files=False)


@pytest.mark.parametrize("work", ["", "elsewhere/"])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_missing_or_empty_folder_of_a_fusion_names_lists_and_command(is_there, work):
    folder, scores = f"{work}experiment/lfcc/test", f"{work}ensemble/lfcc/eval/lfcc"
    if is_there:
        Path(folder).mkdir(parents=True)
    with pytest.raises(InputError, match=r"with their .json\. Such lists are made by: python gmm_ensemble_preprocess"):
        inputs.of_fusion(folder, whole_files=False)
    put(f"{scores}-bon-eval.pkl", f"{scores}-sp-eval.pkl", f"{work}ensemble/lfcc/dev/lfcc-sp-dev.pkl")
    put(f"{work}data/eval/eval-silence.pkl", f"{work}ensemble/e/eval/e-sp-eval-filelevel.pkl")
    with pytest.raises(InputError) as frames:
        inputs.of_fusion(folder, whole_files=False)
    assert f"for example {scores}-bon-eval.pkl, {scores}-sp-eval.pkl. " in str(frames.value)
    assert "--data_split eval --data_path data/eval/eval-TYPE.pkl" in str(frames.value)
    with pytest.raises(InputError) as whole:
        inputs.of_fusion(folder, whole_files=True)
    assert f"for example {work}ensemble/e/eval/e-sp-eval-filelevel.pkl, {work}data/eval/eval-silence.pkl. " in str(
        whole.value
    )
    assert "python gmm_filelevel_preprocess.py --data_split eval" in str(whole.value)


def test_of_a_folder_above_those_of_the_splits_these_are_named():
    put("experiment/mine/train/x-bon-train.pkl", "experiment/mine/eval/x-bon-eval.pkl")
    with pytest.raises(InputError, match=r"in it; give one of experiment/mine/train, experiment/mine/eval$"):
        inputs.of_fusion("experiment/mine", whole_files=False)


@pytest.mark.parametrize("work", ["", "elsewhere/"])
def test_lists_of_the_same_run_are_named(work):
    put(f"{work}ensemble/lfcc/train/lfcc-bon-train.pkl", f"{work}ensemble/small/lfcc/train/lfcc-bon-train.pkl")
    with pytest.raises(InputError, match=f"for example {work}ensemble/small/lfcc/train/lfcc-bon-train.pkl. Such lists"):
        inputs.of_fusion(f"{work}experiment/small/mine/train", whole_files=False)


@pytest.mark.parametrize(("n", "ending"), [(8, r"T7-bon-train\.pkl\. "), (10, r"T7-bon-train\.pkl and 2 more\. ")])
def test_of_many_lists_some_are_named(n, ending):
    put(*(f"ensemble/T{i}/train/T{i}-bon-train.pkl" for i in range(n)))
    with pytest.raises(InputError, match=ending):
        inputs.of_fusion("mine", whole_files=False)
