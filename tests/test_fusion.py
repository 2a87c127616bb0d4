import itertools
import os
import sys

import numpy as np
import pytest

from benchmarks.fusion import Corpus
from countermeasure.errors import InputError
from countermeasure.lists import names
from countermeasure.lists.fusion import Column, columns, names_of_dimensions
from countermeasure.lists.pickles import ListWriter
from countermeasure.trials.lines import Trial


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


def test_different_lists_of_a_split_are_different_columns():
    found = [
        f"{model}-{c}-train{kind}.pkl"
        for model, c, kind in itertools.product(
            ("lfcc", "lfcc-25", "mfcc", "ensemble-lfcc+mfcc"), ("bon", "sp"), ("", "-filelevel")
        )
    ] + ["train-silence.pkl"]
    assert len({names.column(name) for name in found}) == len(found)


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


def test_every_dimension_has_the_name_of_its_list(tmp_path):
    arrays = {"a": np.zeros((1, 2)), "b": np.zeros(5), "c": np.zeros((3, 1))}
    for name, array in arrays.items():
        with ListWriter(tmp_path / f"{name}-train.pkl") as out:
            out.append(None, "spoof")
            out.append(array, "spoof")
    found = columns(tmp_path)
    assert [column.name for column in found] == ["a", "b", "c"]
    assert names_of_dimensions(found) == ["a", "a", "b", "c"]
    with ListWriter(tmp_path / "d-train.pkl") as out:
        out.append(None, "spoof")
    assert names_of_dimensions([Column("d", tmp_path / "d-train.pkl")]) == ["d"]


# -- the benchmark's divisions ---------------------------------------------------------------------


@pytest.fixture
def trials():
    """Speakers S0 to S7 with 3, 4, … 10 trials; attack A02 is not among the known ones."""
    parsed = []
    for s in range(8):
        for i in range(s + 3):
            label, attack = (("bonafide", None), ("spoof", "A01"), ("spoof", "A02"))[i % 3]
            parsed.append(Trial("", f"U{s}{i}", label, attack, f"S{s}"))
    speakers = np.array([trial.speaker for trial in parsed])
    bonafide = np.array([trial.label == "bonafide" for trial in parsed])
    known = np.array([trial.attack != "A02" for trial in parsed])
    return Corpus(parsed, np.full(len(parsed), "train"), speakers, bonafide, known, {})


def test_in_rotation_every_trial_is_tested_once_and_no_speaker_is_on_two_sides(trials):
    divisions = list(trials.rotation(0))
    assert sorted(np.concatenate([one["eval"] for one in divisions]).tolist()) == list(range(len(trials.trials)))
    for one in divisions:
        sides = [set(trials.speakers[one[split]]) for split in ("train", "dev", "eval")]
        assert [len(side) for side in sides] == [4, 2, 2]
        assert len(set.union(*sides)) == 8
        assert trials.is_known[one["train"]].all()
        assert trials.is_known[one["dev"]].all()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
def test_names_that_are_no_unicode_are_refused_before_any_work(tmp_path):
    with ListWriter(tmp_path / os.fsdecode(b"caf\xe9-bon-train.pkl")) as out:
        out.append(np.zeros(3), "spoof")
    with pytest.raises(InputError, match="is no Unicode"):
        columns(tmp_path)
    with pytest.raises(InputError, match="is no Unicode"):
        names.check_model_name(os.fsdecode(b"caf\xe9"))


def test_names_of_score_lists_are_read_as_they_are_written():
    for side, other in zip(names.SIDES, names.SIDES[::-1], strict=True):
        for whole_files in (False, True):
            name = names.column(names.score_list("lfcc-25+x", side, "dev", whole_files))
            found = names.score_column(name)
            assert found == ("lfcc-25+x", side, whole_files)
            assert found.other == names.column(names.score_list("lfcc-25+x", other, "dev", whole_files))
    assert names.score_column("silence") is None
