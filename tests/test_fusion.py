import itertools

import pytest

from countermeasure.errors import InputError
from countermeasure.fusion import column_name, columns


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{}-silence.pkl", "silence"),
        ("lfcc-bon-{}.pkl", "lfcc-bon"),
        ("mfcc-25-sp-{}.pkl", "mfcc-25-sp"),
        ("{}-mfcc-25.pkl", "mfcc-25"),
        ("ensemble-lfcc+mfcc-bon-{}-filelevel.pkl", "ensemble-lfcc+mfcc-bon-filelevel"),
        ("ensemble-lfcc-25+mfcc-25-sp-{}-filelevel.pkl", "ensemble-lfcc-25+mfcc-25-sp-filelevel"),
    ],
)
def test_a_column_has_one_name_in_all_splits(pattern, name):
    assert {column_name(pattern.format(split)) for split in ("train", "dev", "eval")} == {name}


@pytest.mark.parametrize(
    "name", ["retrained-bon.pkl", "evaluated-sp.pkl", "device-bon.pkl", "trainee.pkl", "lfcc+train2.pkl"]
)
def test_a_split_is_a_whole_word(name):
    assert column_name(name) == name.removesuffix(".pkl")


def test_different_lists_of_a_split_are_different_columns():
    names = [
        f"{model}-{c}-train{kind}.pkl"
        for model, c, kind in itertools.product(
            ("lfcc", "lfcc-25", "mfcc", "ensemble-lfcc+mfcc"), ("bon", "sp"), ("", "-filelevel")
        )
    ] + ["train-silence.pkl"]
    assert len({column_name(name) for name in names}) == len(names)


def filled(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("")
    return folder


def test_columns_have_the_same_order_in_all_splits(tmp_path):
    """By file name, `eval-silence.pkl` would come first and `train-silence.pkl` last."""
    found = {
        split: columns(
            filled(
                tmp_path / split,
                f"{split}-silence.pkl",
                f"lfcc-bon-{split}.pkl",
                f"lfcc-sp-{split}.pkl",
                f"ensemble-lfcc+mfcc-bon-{split}-filelevel.pkl",
                f"tuned-sp-{split}.pkl",
            )
        )
        for split in ("train", "dev", "eval")
    }
    expected = ["ensemble-lfcc+mfcc-bon-filelevel", "lfcc-bon", "lfcc-sp", "silence", "tuned-sp"]
    for split, its_columns in found.items():
        assert [column.name for column in its_columns] == expected
        assert its_columns[3].path == tmp_path / split / f"{split}-silence.pkl"


def test_only_lists_are_columns(tmp_path):
    folder = filled(tmp_path, "train-silence.pkl", "train-silence.pkl.json", "notes.txt", ".train-silence.pkl.part")
    assert [column.name for column in columns(folder)] == ["silence"]


def test_links_are_columns(tmp_path):
    filled(tmp_path / "data", "lfcc-bon-train.pkl")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "lfcc-bon-train.pkl").symlink_to(tmp_path / "data" / "lfcc-bon-train.pkl")
    assert columns(tmp_path / "experiment")[0].path == tmp_path / "experiment" / "lfcc-bon-train.pkl"


def test_folders_that_cannot_be_fused_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        columns(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no \.pkl in it"):
        columns(filled(tmp_path / "empty", "notes.txt"))
    mixed = filled(tmp_path / "mixed", "lfcc-bon-train.pkl", "lfcc-bon-eval.pkl", "lfcc-sp-train.pkl")
    with pytest.raises(InputError, match=r"lfcc-bon-\w+\.pkl and lfcc-bon-\w+\.pkl are both the column 'lfcc-bon'"):
        columns(mixed)
    with pytest.raises(InputError, match="no such folder"):
        columns(mixed / "lfcc-bon-train.pkl")


def test_lists_whose_names_differ_are_not_taken_for_one(tmp_path):
    folder = filled(tmp_path, "a-b-bon-train.pkl", "a_b-bon-train.pkl")
    assert len({column.name for column in columns(folder)}) == 2
