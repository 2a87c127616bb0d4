"""Lists by the names in use, and folders of lists that are not there."""

from pathlib import Path

import pytest

from countermeasure.errors import InputError
from countermeasure.stages.inputs import given_columns, given_list


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
        ("data/test/mfcc.pkl", "data/test/eval-mfcc.pkl"),
        ("data/dev/mfcc-25.pkl", "data/dev/dev-mfcc-25.pkl"),
        ("mine/train-mfcc.pkl", "mine/mfcc.pkl"),
        ("mine/mfcc.pkl", "mine/dev-mfcc.pkl"),
    ],
)
def test_the_one_twin_of_a_missing_list_is_taken(tmp_path, monkeypatch, capsys, asked, twin):
    monkeypatch.chdir(tmp_path)
    put("data/train/train-lfcc.pkl", "data/dev/dev-mfcc.pkl")  # no twins of any
    with pytest.raises(InputError, match=f"^{asked}: no such file; make the list first"):
        given_list(asked)
    put(twin)
    assert given_list(asked) == Path(twin)
    assert capsys.readouterr().err == f"{asked}: not there; taking {twin}\n"
    put(asked)
    assert given_list(asked) == Path(asked)
    assert capsys.readouterr().err == ""


def test_of_several_twins_none_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put("data/eval/eval-mfcc.pkl", "data/test/eval-mfcc.pkl", "mine/train-mfcc.pkl", "mine/dev-mfcc.pkl")
    with pytest.raises(InputError, match=r"give one of data/eval/eval-mfcc\.pkl, data/test/eval-mfcc\.pkl$"):
        given_list("data/eval/mfcc.pkl")
    with pytest.raises(InputError, match=r"give one of mine/train-mfcc\.pkl, mine/dev-mfcc\.pkl$"):
        given_list("mine/mfcc.pkl")


def test_a_list_of_another_split_is_no_twin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put("data/train/dev-mfcc.pkl", "data/eval/eval-mfcc.pkl")
    for asked in ("data/train/mfcc.pkl", "data/train/train-mfcc.pkl"):
        with pytest.raises(InputError, match="no such file; make the list first"):
            given_list(asked)


def test_a_folder_in_a_lists_place_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        given_list(tmp_path)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_missing_or_empty_folder_of_a_fusion_names_lists_and_command(tmp_path, monkeypatch, is_there):
    monkeypatch.chdir(tmp_path)
    if is_there:
        Path("experiment/lfcc/eval").mkdir(parents=True)
        Path("experiment/filelevel-lfcc+silence/eval").mkdir(parents=True)
    with pytest.raises(InputError, match=r"with their .json\. Such lists are made by: python gmm_ensemble_preprocess"):
        given_columns("experiment/lfcc/eval", whole_files=False)
    put(*(f"ensemble/lfcc/eval/lfcc-{side}-eval.pkl" for side in ("bon", "sp")), "ensemble/lfcc/dev/lfcc-sp-dev.pkl")
    put(*(f"ensemble/ensemble-lfcc/eval/ensemble-lfcc-{side}-eval-filelevel.pkl" for side in ("bon", "sp")))
    put("data/eval/eval-silence.pkl")
    with pytest.raises(InputError) as frames:
        given_columns("experiment/lfcc/eval", whole_files=False)
    assert "those there are ensemble/lfcc/eval/lfcc-bon-eval.pkl, ensemble/lfcc/eval/lfcc-sp-eval.pkl. " in str(
        frames.value
    )
    assert str(frames.value).endswith(
        "python gmm_ensemble_preprocess.py --data_split eval --data_path data/eval/eval-lfcc.pkl "
        "--model_path model/lfcc --model_name lfcc --output_path ensemble/lfcc"
    )
    with pytest.raises(InputError) as whole:
        given_columns("experiment/filelevel-lfcc+silence/eval", whole_files=True)
    assert "ensemble-lfcc-sp-eval-filelevel.pkl, data/eval/eval-silence.pkl. " in str(whole.value)
    assert str(whole.value).endswith(
        "python gmm_filelevel_preprocess.py --data_split eval --data_dir experiment/lfcc/eval "
        "--model_path model/ensemble-lfcc --model_name ensemble-lfcc --output_path ensemble/ensemble-lfcc"
    )


def test_a_fusion_by_another_name_gets_a_command_to_fill_in(tmp_path):
    folder = tmp_path / "experiment" / "mine" / "train"
    put(*(tmp_path / "ensemble" / f"T{i}" / "train" / f"T{i}-bon-train.pkl" for i in range(10)))
    with pytest.raises(InputError, match=r"T7-bon-train.pkl and 2 more\. .*/data/train/train-TYPE.pkl .*/model/TYPE "):
        given_columns(folder, whole_files=False)
