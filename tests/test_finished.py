"""What a folder for models holds already: runs that were killed go on, finished models stay unless asked."""

import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from countermeasure import versions
from countermeasure.errors import InputError
from countermeasure.gmm import em
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, model_files, read_pair
from countermeasure.lists import provenance
from countermeasure.options import LogisticOptions
from countermeasure.stages import training
from countermeasure.stages.finished import would_replace
from lists import write_described
from trainings import LABELS, SMALL, contents, frames_of, write_list, write_model


@pytest.fixture
def model(trained, tmp_path):
    """A copy of these models, in the folder ``model``."""
    return shutil.copytree(trained, tmp_path / "model")


class Killed(Exception):  # noqa: N818
    pass


@pytest.fixture
def killed(monkeypatch):
    """A function that trains and is killed in the pass after the given number of passes."""

    def train(n_passes, *arguments, **settings):
        done = []

        def one_pass(*state, one_pass=em.one_pass):
            if len(done) == n_passes:
                raise Killed
            done.append(one_pass(*state))
            return done[-1]

        with monkeypatch.context() as patch:
            patch.setattr(em, "one_pass", one_pass)
            with pytest.raises(Killed):
                training.train(*arguments, **settings)

    return train


# -- runs that end early ---------------------------------------------------------------------------


@pytest.mark.parametrize("em", ["incremental", "batch"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, data, killed, capsys, em):
    options, log = replace(SMALL, em=em), tmp_path / "history.csv"
    of_bonafide = training.train(data, tmp_path / "undisturbed", options)[0].n_iter
    for n_passes in (1, 3, of_bonafide - 4 + 2):
        killed(n_passes, data, tmp_path / "killed", options, log=log)
    before = log.read_text().count("bonafide")
    capsys.readouterr()
    training.train(data, tmp_path / "killed", options, n_jobs=1, in_memory=True, log=log)
    assert "spoof: going on after pass 2" in capsys.readouterr().err
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["README.md", "bon.gmm", "sp.gmm"]
    assert log.read_text().count("bonafide") == before == of_bonafide


def test_a_failed_training_leaves_the_models_that_are_there(data, model):
    """Variances far beyond any feature's: models that no reader would take."""
    before = contents(model)
    with pytest.raises(InputError, match="--reg_covar"):
        training.train(data, model, replace(SMALL, reg_covar=1e20), restart=True)
    assert contents(model) == before


def test_an_unfinished_training_with_other_settings_is_not_overwritten(tmp_path, data, items, killed, trained):
    killed(2, data, tmp_path / "model", replace(SMALL, n_components=5))
    with pytest.raises(InputError, match=r"unfinished .*n_components 5, now 8.*--restart"):
        training.train(data, tmp_path / "model", SMALL)
    other = write_list(tmp_path / "other.pkl", items[1:])
    with pytest.raises(InputError, match=r"\(trained on other data\)"):
        training.train(other, tmp_path / "model", replace(SMALL, n_components=5))
    assert "(trained on other data)" in would_replace(tmp_path / "model", replace(SMALL, n_components=5), other)
    training.train(data, tmp_path / "model", SMALL, restart=True)
    assert contents(tmp_path / "model") == contents(trained)


def test_a_replacement_that_was_killed_goes_on_without_being_asked_again(data, model, killed, capsys):
    killed(2, data, model, replace(SMALL, seed=1, max_iter=4), restart=True)
    capsys.readouterr()
    training.train(data, model, replace(SMALL, seed=1, max_iter=4))
    assert "bonafide: going on after pass 2" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(tmp_path, data, killed):
    killed(2, data, tmp_path / "model", SMALL)
    checkpoint = tmp_path / "model" / "bonafide.checkpoint.npz"
    content = checkpoint.read_bytes()
    with np.load(checkpoint) as arrays:
        np.savez(tmp_path / "other.npz", **{**arrays, "variances": arrays["variances"][:, 1:]})
    other = (tmp_path / "other.npz").read_bytes()  # whole, of arrays that do not fit together
    for damaged in (content[:1000], b"", content[:500] + b"x" * 200 + content[700:], other):
        checkpoint.write_bytes(damaged)
        with pytest.raises(InputError, match="--restart"):
            training.train(data, tmp_path / "model", SMALL)


@pytest.mark.parametrize("name", ["bon.gmm", "bonafide.checkpoint.npz"])
def test_pipes_are_refused_and_do_not_wait(tmp_path, data, name):
    os.mkfifo(tmp_path / name)
    starts = {"load_model_path": tmp_path} if name == "bon.gmm" else {}
    with pytest.raises(InputError, match=f"{name}: is a pipe"):
        training.train(data, tmp_path / "more" if starts else tmp_path, SMALL, **starts)


# -- finished models -------------------------------------------------------------------------------


def test_a_finished_training_is_not_done_again(data, model, capsys):
    before = [path.stat().st_mtime_ns for path in model_files(model)]
    left = model / "bonafide.checkpoint.npz"
    left.write_bytes(b"left between the last write and the tidying up")
    (model / "README.md").unlink()
    training.train(data, model, SMALL)
    assert "nothing to do" in capsys.readouterr().err
    assert [path.stat().st_mtime_ns for path in model_files(model)] == before
    assert not left.exists()
    assert (model / "README.md").exists()
    training.train(data, model, SMALL, restart=True)
    assert [path.stat().st_mtime_ns for path in model_files(model)] != before


def test_models_of_two_trainings_or_two_copies_of_one_are_no_finished_training(tmp_path, data, trained, model):
    training.train(data, tmp_path / "other", replace(SMALL, seed=3))
    for other in (tmp_path / "other" / "sp.gmm", trained / "bon.gmm"):
        (model / "sp.gmm").write_bytes(other.read_bytes())
        training.train(data, model, SMALL)
        assert contents(model) == contents(trained)


def test_finished_models_of_other_settings_stay_unless_asked(tmp_path, data, items, model):
    before = contents(model)
    other = write_list(tmp_path / "other.pkl", items[1:])
    for path, options, how in (
        (data, replace(SMALL, n_components=3), "n_components 8, now 3"),
        (data, replace(SMALL, seed=2, tol=0.5), "tol 0.001, now 0.5; seed 0, now 2"),
        (other, SMALL, "trained on other data"),
    ):
        with pytest.raises(InputError) as refused:
            training.train(path, model, options)
        assert str(refused.value) == (
            f"{model}: finished models of other settings are here ({how}); "
            "choose another --model_path, or --restart to replace them"
        )
        assert would_replace(model, options, path) in str(refused.value)
    training.train(data, tmp_path / "more", SMALL, load_model_path=model)
    with pytest.raises(InputError, match="continued from other models"):
        training.train(data, tmp_path / "more", SMALL)
    assert would_replace(model, LogisticOptions()).endswith("(method gmm, now logistic)")
    assert contents(model) == before
    training.train(data, model, replace(SMALL, n_components=3), restart=True)
    assert read_pair(*model_files(model))[0].parameters.n_components == 3


def test_models_made_elsewhere_stay_unless_asked(tmp_path, data, items):
    for path, label in zip(model_files(tmp_path), LABELS, strict=True):
        path.write_bytes(pickle.dumps(GaussianMixture(2, covariance_type="diag").fit(frames_of(items, label))))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"finished models .*\(made by another program\)"):
        training.train(data, tmp_path, SMALL)
    assert contents(tmp_path) == before


def test_models_of_another_program_are_being_replaced_after_a_restart(tmp_path, data, killed):
    """They have no record, and the checkpoint is that of this training."""
    folder = tmp_path / "model"
    killed(1, data, folder, SMALL)
    for path in model_files(folder):
        write_model(path, Model(Parameters(np.ones(1), np.zeros((1, 4)), np.ones((1, 4)))))
    assert would_replace(folder, SMALL, data) == ""


def test_nothing_differs_where_nothing_would_be_replaced(tmp_path, data, model):
    assert would_replace(tmp_path / "absent", SMALL, data) == ""
    assert would_replace(model, SMALL, data) == ""
    assert would_replace(model, SMALL, tmp_path / "absent.pkl") == ""
    assert would_replace(model, replace(SMALL, n_components=None)) == ""
    (model / "sp.gmm").write_bytes(b"damaged")
    assert would_replace(model, replace(SMALL, seed=5), data) == ""


def test_finished_and_unfinished_trainings_follow_one_rule_of_versions(
    tmp_path, data, model, killed, monkeypatch, capsys
):
    killed(2, data, tmp_path / "unfinished", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(versions, "COMPARED", {**versions.COMPARED, "features": "99"})
        with pytest.raises(InputError, match=r"unfinished .*another version of this suite: features 1, now 99"):
            training.train(data, tmp_path / "unfinished", SMALL)
        with pytest.raises(InputError, match=r"finished models .*another version of this suite: features 1, now 99"):
            training.train(data, model, SMALL)
        training.train(data, tmp_path / "later", replace(SMALL, max_iter=1))
    with pytest.raises(InputError, match=r"another version of this suite: features 99, now 1"):
        training.train(data, tmp_path / "later", replace(SMALL, max_iter=1))
    # Another release, with other libraries.
    monkeypatch.setattr(versions, "current", lambda: {**versions.COMPARED, "countermeasure": "99", "numpy": "99"})
    capsys.readouterr()
    training.train(data, model, SMALL)
    assert "nothing to do" in capsys.readouterr().err
    training.train(data, tmp_path / "unfinished", SMALL)
    assert "going on after pass 2" in capsys.readouterr().err


# -- lists with records ------------------------------------------------------------------------------


@pytest.fixture
def described(tmp_path, items):
    """A list with its record."""
    return write_described(tmp_path / "train-lfcc.pkl", *zip(*items, strict=True))


def test_a_record_that_comes_later_leaves_finished_models_as_they_are(tmp_path, described, killed, capsys):
    """Their calibration and scores belong to their bytes; a training that is not finished has the record."""
    record = provenance.path_of(described)
    training.train(described, tmp_path / "expected", SMALL)
    content = record.read_text()
    record.unlink()
    training.train(described, tmp_path / "model", SMALL)
    killed(2, described, tmp_path / "killed", SMALL)
    before = contents(tmp_path / "model")
    record.write_text(content)
    capsys.readouterr()
    training.train(described, tmp_path / "model", SMALL)
    assert "nothing to do" in capsys.readouterr().err
    assert contents(tmp_path / "model") == before
    training.train(described, tmp_path / "killed", SMALL)
    assert contents(tmp_path / "killed") == contents(tmp_path / "expected")


def test_models_of_other_features_or_of_other_scores_are_told(tmp_path, described, items):
    pair = training.train(described, tmp_path / "model", SMALL)
    assert would_replace(tmp_path / "model", SMALL, described) == ""
    other = write_described(tmp_path / "other.pkl", *zip(*items[1:], strict=True), feature={"type": "lfcc"})
    assert would_replace(tmp_path / "model", SMALL, other).endswith("(trained on other data)")
    (tmp_path / "scores").mkdir()
    rows = [(array[:, 0], label) for array, label in items]
    for training_id, how in ((pair.record.training_id, ""), ("other", "(trained on scores of other models)")):
        names = {"name": "x", "training_id": training_id}
        path = tmp_path / "scores" / "x-bon-train.pkl"
        write_described(path, *zip(*rows, strict=True), kind="frame scores", model=names)
        training.train_fusion(tmp_path / "scores", tmp_path / "fusion", SMALL, restart=True)
        scored_by = [tmp_path / "model", tmp_path / "absent"]
        assert would_replace(tmp_path / "fusion", SMALL, scored_by=scored_by).endswith(how)
        assert bool(how) == bool(would_replace(tmp_path / "fusion", SMALL, scored_by=scored_by[:1]))
