import os
import sys

import pytest

from countermeasure.errors import InputError
from countermeasure.lists import names
from countermeasure.lists.fusion import columns, fill


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{}-silence.pkl", "silence"),
        ("lfcc-bon-{}.pkl", "lfcc-bon"),
        ("mfcc-25-sp-{}.pkl", "mfcc-25-sp"),
        ("{}-mfcc-25.pkl", "mfcc-25"),
        ("lfcc-25-cmvn@300-3400-bon-{}.pkl", "lfcc-25-cmvn@300-3400-bon"),
        ("ensemble-lfcc-cmvn+lfcc@0-4000-sp-{}-filelevel.pkl", "ensemble-lfcc-cmvn+lfcc@0-4000-sp-filelevel"),
        ("ensemble-lfcc+mfcc-bon-{}-filelevel.pkl", "ensemble-lfcc+mfcc-bon-filelevel"),
        ("ensemble-lfcc-25+mfcc-25-sp-{}-filelevel.pkl", "ensemble-lfcc-25+mfcc-25-sp-filelevel"),
    ],
)
def test_a_column_has_one_name_in_all_splits(pattern, name):
    assert {names.column(pattern.format(split)) for split in ("train", "dev", "eval")} == {name}


@pytest.mark.parametrize(
    "name", ["retrained-bon.pkl", "evaluated-sp.pkl", "device-bon.pkl", "trainee.pkl", "lfcc+train2.pkl"]
)
def test_a_split_is_a_whole_word(name):
    assert names.column(name) == name.removesuffix(".pkl")


def filled(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("")
    return folder


@pytest.mark.parametrize("split", ["train", "dev", "eval"])
def test_columns_are_lists_in_the_same_order_in_all_splits(tmp_path, split):
    """By file name, `eval-silence.pkl` would come first and `train-silence.pkl` last."""
    lists = [f"{split}-silence.pkl", f"lfcc-bon-{split}.pkl", f"lfcc-25-bon-{split}.pkl", f"a-b-sp-{split}.pkl"]
    lists += [f"ensemble-lfcc+mfcc-bon-{split}-filelevel.pkl", f"a_b-sp-{split}.pkl"]
    filled(tmp_path, *lists, f"{split}-silence.pkl.json", "notes.txt", f".{split}-silence.pkl.part")
    (tmp_path / f"tuned-sp-{split}.pkl").symlink_to(tmp_path / f"lfcc-bon-{split}.pkl")
    found = columns(tmp_path)
    expected = [
        "a-b-sp",
        "a_b-sp",
        "ensemble-lfcc+mfcc-bon-filelevel",
        "lfcc-25-bon",
        "lfcc-bon",
        "silence",
        "tuned-sp",
    ]
    assert [column.name for column in found] == expected
    assert [column.path for column in found[-2:]] == [tmp_path / lists[0], tmp_path / f"tuned-sp-{split}.pkl"]


def test_two_lists_of_one_column_are_refused(tmp_path):
    filled(tmp_path, "lfcc-bon-train.pkl", "lfcc-bon-eval.pkl", "lfcc-sp-train.pkl")
    with pytest.raises(InputError, match=r"lfcc-bon-\w+\.pkl and lfcc-bon-\w+\.pkl are both the column 'lfcc-bon'"):
        columns(tmp_path)


def test_a_folder_of_links_is_made_anew_and_what_is_not_a_link_is_put_aside(tmp_path):
    place, one, other = tmp_path / "experiment" / "train", tmp_path / "one.pkl", tmp_path / "other.pkl"
    one.write_text("1")
    other.write_text("2")
    fill(place, [one])
    (place / "gone.pkl").symlink_to("nowhere")
    assert fill(place, [other]) is None
    assert [path.name for path in place.iterdir()] == ["other.pkl"]
    assert (place / "other.pkl").read_text() == "2"
    for n in (1, 2):
        (place / "mine.pkl").write_text("mine")
        kept = fill(place, [one])
        assert kept == place.with_name(f"train.own-{n}")
        assert (kept / "mine.pkl").read_text() == "mine"
        assert [path.name for path in place.iterdir()] == ["one.pkl"]
    linked = tmp_path / "experiment" / "dev"
    linked.symlink_to(tmp_path)
    fill(linked, [one])
    assert not linked.is_symlink()
    assert one.read_text() == "1"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
def test_names_that_are_not_unicode_are_refused_before_any_work(tmp_path):
    filled(tmp_path, os.fsdecode(b"caf\xe9-bon-train.pkl"))
    for refused in (lambda: columns(tmp_path), lambda: names.check_model_name(os.fsdecode(b"caf\xe9"))):
        with pytest.raises(InputError, match="is not Unicode"):
            refused()


def test_names_of_score_lists_are_read_as_they_are_written():
    for side, other in zip(names.SIDES, names.SIDES[::-1], strict=True):
        for whole_files in (False, True):
            name = names.column(names.score_list("lfcc-25+x", side, "dev", whole_files))
            found = names.score_column(name)
            assert found == ("lfcc-25+x", side, whole_files)
            assert found.other == names.column(names.score_list("lfcc-25+x", other, "dev", whole_files))
    assert names.score_column("silence") is None
