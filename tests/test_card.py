import re
import shutil

import numpy as np
import pytest

import corpus
from countermeasure import files
from countermeasure.gmm import calibration
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, model_files
from countermeasure.options import LogisticOptions, TrainingOptions
from countermeasure.stages import card
from countermeasure.stages.calibration import calibrate
from countermeasure.stages.extraction import extract
from countermeasure.stages.scoring import write_frame_scores
from countermeasure.stages.training import train, train_fusion
from trainings import write_model

OPTIONS = TrainingOptions(n_components=2, max_iter=3)


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    data_set = corpus.make(folder / "LA")
    audio = data_set / "ASVspoof2019_LA_train" / "flac"
    extract("train", audio, corpus.protocol(data_set, "train"), folder / "data", ["mfcc", "silence"], n_jobs=1)
    return folder / "data"


@pytest.fixture
def trained(lists, tmp_path):
    train(lists / "train-mfcc.pkl", tmp_path / "mfcc", OPTIONS)
    return tmp_path / "mfcc"


def test_training_writes_a_card_that_says_what_the_models_are(lists, trained):
    text = (trained / card.FILE).read_text()
    assert text.startswith(card.MARK + "\n# Base model: mfcc\n")
    assert "| class | recordings | rows |\n| --- | --- | --- |\n| bona fide | 6 | " in text
    assert "- split: train\n- sampling rate, Hz: 16000\n- speakers: 3" in text
    assert f"- SHA-256 of `mfcc`: {files.sha256(lists / 'train-mfcc.pkl')}" in text
    assert "- filter_bank: mel" in text
    assert "- low_hz: 0" in text
    assert "recordings left out" not in text
    assert re.search(r"\| spoof \| 2 \| 3 \| no \| -\d+", text)
    assert "`n_components` 2" in text
    assert "None yet" in text
    assert "gmm_calibrate.py" in text
    assert "neural vocoders" in text
    assert "`silence`" not in text


def test_training_again_does_nothing_but_restores_what_is_missing(lists, trained, tmp_path, capsys):
    before = (trained / card.FILE).read_bytes(), (trained / card.FILE).stat().st_mtime_ns
    train(lists / "train-mfcc.pkl", trained, OPTIONS)
    assert "nothing to do" in capsys.readouterr().err
    assert ((trained / card.FILE).read_bytes(), (trained / card.FILE).stat().st_mtime_ns) == before
    (trained / card.FILE).unlink()
    train(lists / "train-mfcc.pkl", trained, OPTIONS)
    assert (trained / card.FILE).read_bytes() == before[0]
    shutil.copytree(trained, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / card.FILE).unlink()
    card.write(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / card.FILE).read_bytes() == before[0]


@pytest.mark.parametrize("own", [b"my notes\n", b"\xff\xfe"])
def test_a_readme_of_the_users_is_left_alone(trained, own, capsys):
    (trained / card.FILE).write_bytes(own)
    card.write(trained)
    assert (trained / card.FILE).read_bytes() == own
    assert "is left alone" in capsys.readouterr().err


def test_figures_come_with_a_calibration_and_go_with_its_models(lists, trained, tmp_path, rng):
    lines = [f"S{i} U{i} - {'- bonafide' if i % 2 else 'A01 spoof'} {2 * (i % 2) + rng.normal()}" for i in range(80)]
    (tmp_path / "dev.txt").write_text("\n".join(lines))
    calibrate(tmp_path / "dev.txt", trained)
    found = calibration.read(trained)
    text = (trained / card.FILE).read_text()
    assert f"EER: {100 * found.eer:.1f} % (" in text
    assert f"- threshold: {found.threshold:.6f} (the EER's)" in text
    assert "None yet" not in text
    train(lists / "train-mfcc.pkl", trained, TrainingOptions(n_components=3, max_iter=3), restart=True)
    text = (trained / card.FILE).read_text()
    assert "belongs to other models" in text
    assert "EER: " not in text


def test_the_card_of_a_fusion_names_its_columns_and_what_silence_learns(lists, trained, tmp_path):
    write_frame_scores("train", lists / "train-mfcc.pkl", trained, "mfcc", tmp_path / "scores")
    folder = tmp_path / "scores" / "train"
    train_fusion(folder, tmp_path / "fusion", OPTIONS)
    text = (tmp_path / "fusion" / card.FILE).read_text()
    assert "# Fusion of 2 columns" in text
    assert "- `mfcc-bon`: mfcc" in text
    assert "silence" not in text
    assert "| passes |" in text
    for side in ("bon", "sp"):
        digest = files.sha256(folder / f"mfcc-{side}-train.pkl")
        assert f"- SHA-256 of `mfcc-{side}`: {digest}" in text
    train_fusion(folder, tmp_path / "regression", LogisticOptions())
    text = (tmp_path / "regression" / card.FILE).read_text()
    assert "Logistic regression on the mean row of each recording" in text
    assert "| passes |" not in text
    for path in lists.glob("train-silence.pkl*"):
        (tmp_path / "silent").mkdir(exist_ok=True)
        (tmp_path / "silent" / path.name).write_bytes(path.read_bytes())
    train_fusion(tmp_path / "silent", tmp_path / "of-silence", OPTIONS, whole_files=True)
    assert "anybody can trim a file" in (tmp_path / "of-silence" / card.FILE).read_text()


def test_models_that_know_nothing_have_a_card(tmp_path):
    for path in model_files(tmp_path):
        write_model(path, Model(Parameters(np.ones(1), np.zeros((1, 60)), np.ones((1, 60)))))
    card.write(tmp_path)
    assert "Unknown" in (tmp_path / card.FILE).read_text()
