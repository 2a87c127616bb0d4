"""What may be trained on, by what the lists' records say."""

from dataclasses import replace

import numpy as np
import pytest

from countermeasure import records
from countermeasure.errors import InputError
from countermeasure.gmm.models import model_files
from countermeasure.lists import provenance
from countermeasure.options import LogisticOptions, TrainingOptions
from countermeasure.stages import scoring, training
from lists import write_described

SMALL = TrainingOptions(n_components=2, max_iter=2)
N_FILES = 24


def write_list(path, kind, split="train", feature="mfcc", model=(), n_rows=5, n_columns=None):
    """Write a list with a record; a score list has arrays of one axis."""
    rng = np.random.default_rng(7)
    shape = (n_rows,) if n_columns is None else (n_rows, n_columns)
    path.parent.mkdir(exist_ok=True)
    values = [rng.normal(i % 2, 1, shape).astype(np.float32) for i in range(N_FILES)]
    labels = [("bonafide", "spoof")[i % 2] for i in range(N_FILES)]
    return write_described(path, values, labels, kind=kind, split=split, feature={"type": feature}, model=dict(model))


@pytest.mark.parametrize(
    ("kind", "feature", "message"),
    [
        ("features", "silence", "file-level fusion only"),
        ("frame scores", "mfcc", "holds frame scores, not features; gmm_ensemble_train.py"),
        ("file scores", "mfcc", "holds file scores, not features; gmm_filelevel_train.py"),
    ],
)
def test_base_models_are_trained_on_features_of_frames(tmp_path, kind, feature, message):
    data = write_list(tmp_path / "train.pkl", kind, feature=feature, n_columns=3)
    with pytest.raises(InputError, match=message):
        training.train(data, tmp_path / "model", SMALL)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("whole_files", "kind", "feature", "message"),
    [
        (False, "features", "mfcc", "holds features, not frame scores; gmm_train.py"),
        (False, "features", "silence", "file-level fusion only"),
        (False, "file scores", "mfcc", "holds file scores, not frame scores; gmm_filelevel_train.py"),
        (True, "frame scores", "mfcc", "holds frame scores, not file scores; gmm_ensemble_train.py"),
        (True, "features", "mfcc", "holds features, not file scores; gmm_train.py"),
        (True, "file scores", "mfcc", None),
        (True, "features", "silence", None),
    ],
)
def test_fusions_are_trained_on_scores_of_their_level(tmp_path, whole_files, kind, feature, message):
    n_rows = 1 if whole_files else 5
    own = "file scores" if whole_files else "frame scores"
    write_list(tmp_path / "lists" / "a-bon-train.pkl", own, n_rows=n_rows)
    write_list(tmp_path / "lists" / "b-train.pkl", kind, feature=feature, n_rows=n_rows, n_columns=2)
    for options in (SMALL, LogisticOptions()):
        if message:
            with pytest.raises(InputError, match=message):
                training.train_fusion(tmp_path / "lists", tmp_path / "model", options, whole_files)
            assert not (tmp_path / "model").exists()
        else:
            training.train_fusion(tmp_path / "lists", tmp_path / "model", options, whole_files, restart=True)
            assert (tmp_path / "model" / "sp.gmm").exists()


def test_halves_of_two_trainings_are_refused(tmp_path):
    for side, training_id in (("bon", "first"), ("sp", "second")):
        write_list(
            tmp_path / "lists" / f"mfcc-{side}-train.pkl",
            "frame scores",
            model={"name": "mfcc", "training_id": training_id},
        )
    with pytest.raises(InputError, match=r"mfcc-sp-train.pkl: of another training of mfcc"):
        training.train_fusion(tmp_path / "lists", tmp_path / "model", SMALL)


def test_training_on_another_split_is_told(tmp_path, capsys):
    training.train(write_list(tmp_path / "a.pkl", "features", n_columns=2), tmp_path / "a", SMALL)
    assert "warning" not in capsys.readouterr().err
    training.train(write_list(tmp_path / "b.pkl", "features", split="eval", n_columns=2), tmp_path / "b", SMALL)
    assert "a list of eval; test the models on other trials" in capsys.readouterr().err


def test_lists_of_another_kind_than_the_models_are_not_scored(tmp_path):
    write_list(tmp_path / "train" / "a-bon-train.pkl", "frame scores")
    training.train_fusion(tmp_path / "train", tmp_path / "model", SMALL)
    write_list(tmp_path / "eval" / "a-bon-eval.pkl", "file scores", split="eval", n_rows=1)
    protocol = tmp_path / "protocol.txt"
    protocol.write_text("".join(f"S U{i} - - {('bonafide', 'spoof')[i % 2]}\n" for i in range(N_FILES)))
    with pytest.raises(InputError, match=r"holds file scores, but .* was trained on frame scores"):
        scoring.score_fusion(tmp_path / "eval", *model_files(tmp_path / "model"), protocol, tmp_path / "scores.txt")


@pytest.mark.parametrize("with_record", [True, False])
def test_silence_among_frame_scores_is_refused_by_name(tmp_path, with_record):
    write_list(tmp_path / "lists" / "a-bon-train.pkl", "frame scores", n_rows=177)
    silence = write_list(tmp_path / "lists" / "train-silence.pkl", "features", feature="silence", n_rows=1, n_columns=2)
    if not with_record:
        records.path_of(silence).unlink()
    with pytest.raises(InputError, match=r"train-silence\.pkl: .*file-level fusion only"):
        training.train_fusion(tmp_path / "lists", tmp_path / "model", SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": {"type": "mfcc", "more": 1}}, "features with more 1, but .* was trained on more None"),
        ({"feature": {"type": "lfcc"}}, "features with type lfcc, but .* was trained on type mfcc; give the models"),
        ({"sampling_rate": 8000}, "from recordings at 8000 Hz, but .* was trained on 16000 Hz"),
        ({"kind": "frame scores"}, "holds frame scores, but .* was trained on features"),
        ({"model": {"training_id": "other"}}, "scores of other models than those that the fusion"),
    ],
)
def test_what_differs_from_the_training_is_named(tmp_path, change, message):
    data = write_list(tmp_path / "train.pkl", "features", n_columns=3)
    training.train(data, tmp_path / "model", SMALL)
    provenance.write(data, replace(provenance.read(data), **change))
    with pytest.raises(InputError, match=message):
        scoring.write_frame_scores("train", data, tmp_path / "model", "mfcc", tmp_path / "scores")


def test_a_fusion_is_given_the_columns_it_was_trained_on(tmp_path):
    for column in ("a", "b"):
        write_list(tmp_path / "train" / f"{column}-bon-train.pkl", "frame scores")
    training.train_fusion(tmp_path / "train", tmp_path / "model", SMALL)
    for columns, message in (
        ("a", "lacks b-bon;"),
        ("ac", "lacks b-bon and also has c-bon"),
        ("abc", "also has c-bon"),
    ):
        folder = tmp_path / columns
        for column in columns:
            write_list(folder / f"{column}-bon-eval.pkl", "frame scores", split="eval")
        with pytest.raises(InputError, match=f"{folder}: {message}.* the model was trained on a-bon, b-bon, and"):
            scoring.write_file_scores("eval", folder, tmp_path / "model", "x", tmp_path / "scores")
        with pytest.raises(InputError, match=f"{folder}: {message}"):
            training.train_fusion(folder, tmp_path / "more", SMALL, load_model_path=tmp_path / "model")
