import csv
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from countermeasure import files, versions
from countermeasure.errors import InputError
from countermeasure.gmm import em
from countermeasure.gmm.models import model_files, read_model, read_pair
from countermeasure.lists.pickles import ListWriter
from countermeasure.options import TrainingOptions
from countermeasure.stages import finished, training
from lists import write_described

ROOT = Path(__file__).resolve().parents[1]
SMALL = TrainingOptions(n_components=8, max_iter=40)
LABELS = ("bonafide", "spoof")


def write_list(path, items):
    with ListWriter(path) as out:
        for item in items:
            out.append(*item)
    return path


@pytest.fixture
def items(rng):
    """60 recordings, sorted by class as the real protocol is, with other statistics in each class."""
    found = []
    for label, centre in (("bonafide", 3.0), ("spoof", -2.0)):
        for n in rng.integers(5, 60, size=30):
            means = rng.choice([centre, centre + 2, centre - 1], size=(n, 1))
            found.append(((means + rng.normal(size=(n, 4))) * [1, 10, 0.01, 5] + 100, label))
    return [(array.astype(np.float32), label) for array, label in found]


@pytest.fixture
def data(tmp_path, items):
    return write_list(tmp_path / "train-mfcc.pkl", items)


def frames_of(items, label):
    return np.concatenate([array for array, own in items if own == label]).astype(np.float64)


def contents(folder):
    return [path.read_bytes() for path in model_files(folder)]


def loaded(folder):
    models = []
    for path in model_files(folder):
        with open(path, "rb") as f:
            models.append(pickle.load(f))
    return models


def test_models_are_fitted_mixtures_of_scikit_learn(tmp_path, data, items):
    training.train(data, tmp_path / "model", SMALL)
    for label, model in zip(LABELS, loaded(tmp_path / "model"), strict=True):
        frames = frames_of(items, label)
        assert type(model) is GaussianMixture
        assert model.covariance_type == "diag"
        assert model.n_features_in_ == 4
        assert model.weights_.sum() == pytest.approx(1)
        np.testing.assert_allclose(model.precisions_, 1 / model.covariances_)
        np.testing.assert_allclose(model.precisions_cholesky_**2, model.precisions_)
        assert 1 < model.n_iter_ <= 40
        # The bound is that of the model as it is, over the data.
        assert model.lower_bound_ == pytest.approx(model.score(frames), abs=1e-4)
        # As good as scikit-learn's own fit, up to what another start may bring.
        own = GaussianMixture(8, covariance_type="diag", random_state=0).fit(frames)
        assert model.score(frames) > own.score(frames) - 0.1


def test_models_open_where_there_is_only_scikit_learn(tmp_path, data, items):
    training.train(data, tmp_path / "model", SMALL)
    program = (
        "import pickle, sys, numpy, warnings\n"
        "warnings.simplefilter('error')\n"
        "model = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(model.score_samples(numpy.full((1, 4), 100.0))[0])\n"
        "assert not any(name.startswith('countermeasure') for name in sys.modules)\n"
    )
    path = tmp_path / "model" / "bon.gmm"
    out = subprocess.run(
        [sys.executable, "-I", "-c", program, path], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert float(out) == pytest.approx(loaded(tmp_path / "model")[0].score_samples(np.full((1, 4), 100.0))[0])


@pytest.mark.parametrize("n_passes", [1, 10])
def test_the_same_start_gives_scikit_learns_parameters(tmp_path, rng, n_passes):
    # Scales as different as features' are, and clusters that overlap.
    frames = np.concatenate([rng.normal(c, 1, size=(3000, 5)) for c in (-1.5, 0, 1.5)]) * [1, 30, 0.01, 5, 1] + 7
    data = write_list(tmp_path / "list.pkl", [(frames, "bonafide"), (frames, "spoof")])
    options = TrainingOptions(n_components=4, max_iter=1, tol=0, var_floor=0, reg_covar=1e-6, em="batch")
    training.train(data, tmp_path / "start", options)
    training.train(data, tmp_path / "model", replace(options, max_iter=n_passes), load_model_path=tmp_path / "start")

    start = read_model(tmp_path / "start" / "bon.gmm").parameters
    expected = GaussianMixture(
        4,
        covariance_type="diag",
        max_iter=n_passes,
        tol=0,
        reg_covar=1e-6,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=1 / start.variances,
    )
    with pytest.warns(UserWarning, match="converge"):
        expected.fit(frames)
    result = read_model(tmp_path / "model" / "bon.gmm").parameters
    spread = frames.std(axis=0)
    np.testing.assert_allclose(result.weights, expected.weights_, rtol=1e-5)
    np.testing.assert_allclose(result.means / spread, expected.means_ / spread, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result.variances, expected.covariances_, rtol=1e-5)


def test_one_component_is_mean_and_variance_of_the_data(tmp_path, data, items):
    training.train(data, tmp_path / "model", replace(SMALL, n_components=1))
    for label, model in zip(LABELS, loaded(tmp_path / "model"), strict=True):
        frames = frames_of(items, label)
        np.testing.assert_allclose(model.means_[0], frames.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(model.covariances_[0], frames.var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("em", ["incremental", "batch"])
def test_bytes_depend_neither_on_threads_nor_on_where_the_frames_are(tmp_path, data, em):
    options = replace(SMALL, em=em)
    training.train(data, tmp_path / "a", options, n_jobs=1)
    training.train(data, tmp_path / "b", options, n_jobs=3)
    training.train(data, tmp_path / "c", options, n_jobs=2, in_memory=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")
    training.train(data, tmp_path / "d", replace(options, seed=1))
    assert contents(tmp_path / "a") != contents(tmp_path / "d")


def test_both_ways_of_em_come_to_the_same_optimum(tmp_path, rng):
    items = [(rng.normal(rng.choice([-1.5, 1.5], size=(40, 1)), 1, size=(40, 3)), label) for label in LABELS * 40]
    data = write_list(tmp_path / "list.pkl", items)
    for method in ("incremental", "batch"):
        training.train(data, tmp_path / method, TrainingOptions(n_components=2, tol=1e-6, var_floor=0, em=method))
    for one, other in zip(loaded(tmp_path / "incremental"), loaded(tmp_path / "batch"), strict=True):
        assert one.lower_bound_ == pytest.approx(other.lower_bound_, abs=1e-5)
        np.testing.assert_allclose(np.sort(one.means_, axis=0), np.sort(other.means_, axis=0), atol=5e-3)


def test_all_chunks_count_and_not_only_the_last(tmp_path, rng):
    """The first half of the list is unlike the second; a model that forgets it gives it a poor likelihood."""
    halves = [rng.normal(centre, 1, size=(400, 3)) for centre in (-20, 20)]
    items = [(frames, label) for frames in halves for label in LABELS]
    training.train(write_list(tmp_path / "list.pkl", items), tmp_path / "model", replace(SMALL, n_components=2))
    model = loaded(tmp_path / "model")[0]
    assert min(model.score(half) for half in halves) > -3 * (0.5 * np.log(2 * np.pi) + 0.6) - np.log(2)


def test_frames_of_older_lists_give_the_same_models(tmp_path, data, items):
    training.train(data, tmp_path / "model", SMALL)
    for protocol in (2, 4):
        with open(tmp_path / "old.pkl", "wb") as f:
            pickle.dump([*items, None], f, protocol=protocol)
        training.train(tmp_path / "old.pkl", tmp_path / "old", SMALL, restart=True)
        for one, other in zip(loaded(tmp_path / "model"), loaded(tmp_path / "old"), strict=True):
            np.testing.assert_array_equal(one.means_, other.means_)


def test_training_continues_from_given_models(tmp_path, data):
    training.train(data, tmp_path / "first", replace(SMALL, max_iter=3))
    training.train(data, tmp_path / "more", replace(SMALL, max_iter=30), load_model_path=tmp_path / "first")
    for first, more in zip(loaded(tmp_path / "first"), loaded(tmp_path / "more"), strict=True):
        assert more.lower_bound_ > first.lower_bound_


@pytest.mark.parametrize("em", ["incremental", "batch"])
def test_training_goes_on_from_models_that_are_narrower_than_the_floor(tmp_path, rng, em):
    """Whose likelihood falls once they are as wide as they may be: that is no reason to end."""
    items = []
    for i in range(60):
        narrow = 4 + 1e-4 * rng.normal(size=(8, 6))
        items.append((np.concatenate([rng.normal(size=(40, 6)), narrow]).astype(np.float32), LABELS[i % 2]))
    data = write_list(tmp_path / "list.pkl", items)
    for path, label in zip(model_files(tmp_path), LABELS, strict=True):
        model = GaussianMixture(4, covariance_type="diag", random_state=0, reg_covar=1e-8, max_iter=3, tol=10)
        path.write_bytes(pickle.dumps(model.fit(frames_of(items, label))))
        assert model.covariances_.min() < 1e-6
    training.train(data, tmp_path / "more", replace(SMALL, em=em), load_model_path=tmp_path)
    for model, label in zip(loaded(tmp_path / "more"), LABELS, strict=True):
        assert np.diff(model.lower_bounds_).min() > -1e-3
        assert model.lower_bound_ == pytest.approx(model.score(frames_of(items, label)), abs=1e-3)


def test_training_continues_from_models_of_scikit_learn_alone(tmp_path, data, items):
    for path, label in zip(model_files(tmp_path), LABELS, strict=True):
        model = GaussianMixture(5, covariance_type="diag", random_state=0, max_iter=100).fit(frames_of(items, label))
        path.write_bytes(pickle.dumps(model))
    training.train(data, tmp_path / "more", SMALL, load_model_path=tmp_path)
    assert read_pair(*model_files(tmp_path / "more"))[0].parameters.n_components == 5


@pytest.mark.parametrize(("offset", "spread"), [(1e6, 1e-2), (-1e8, 1e-2), (1e4, 1e-2)])
def test_small_differences_of_large_values_count_in_float64(tmp_path, rng, offset, spread):
    """The likelihood is that of the same values without their offset, by scikit-learn."""
    frames = spread * np.concatenate([rng.normal(centre, 1, size=(600, 3)) for centre in (-6.0, 0.0, 6.0)])
    rng.shuffle(frames)
    items = [(part + offset, label) for part in np.split(frames, 30) for label in LABELS]
    options = TrainingOptions(n_components=3, tol=1e-5)
    training.train(write_list(tmp_path / "list.pkl", items), tmp_path / "model", options)
    own = GaussianMixture(3, covariance_type="diag", random_state=0, tol=1e-5, reg_covar=1e-9).fit(frames)
    for model in loaded(tmp_path / "model"):
        assert model.lower_bound_ == pytest.approx(own.score(frames), abs=1e-3)
        model.means_ -= offset  # at which scikit-learn's own arithmetic loses all digits
        assert model.score(frames) == pytest.approx(own.score(frames), abs=1e-3)


def test_a_constant_dimension_survives(tmp_path, items):
    constant = [(np.column_stack([array, np.full(len(array), 7.3)]), label) for array, label in items]
    training.train(write_list(tmp_path / "list.pkl", constant), tmp_path / "model", SMALL)
    for label, model in zip(LABELS, loaded(tmp_path / "model"), strict=True):
        assert np.isfinite(model.score_samples(frames_of(constant, label))).all()
        np.testing.assert_allclose(model.means_[:, -1], 7.3, rtol=1e-6)


def test_a_class_of_few_rows_gets_fewer_components_and_says_so(tmp_path, items, capsys):
    few = [(array[:1], label) for array, label in items[:5] + items[-30:]]
    training.train(write_list(tmp_path / "list.pkl", few), tmp_path / "model", SMALL)
    bonafide, spoof = loaded(tmp_path / "model")
    assert len(bonafide.weights_) == 2
    assert len(spoof.weights_) == 8
    assert capsys.readouterr().err.count("bonafide: 5 rows allow 2 components of the 8 asked for") == 1


def test_both_models_carry_one_training_id_and_a_mixed_pair_is_refused(tmp_path, data):
    training.train(data, tmp_path / "a", SMALL)
    training.train(data, tmp_path / "b", replace(SMALL, seed=1))
    bonafide, spoof = read_pair(*model_files(tmp_path / "a"))
    assert bonafide.record["training_id"] == spoof.record["training_id"]
    with pytest.raises(InputError, match="different trainings"):
        read_pair(tmp_path / "a" / "bon.gmm", tmp_path / "b" / "sp.gmm")
    with pytest.raises(InputError, match="swap"):
        read_pair(tmp_path / "a" / "sp.gmm", tmp_path / "a" / "bon.gmm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: [], "empty"),
        (lambda items: [item for item in items if item[1] == "spoof"], "no bonafide item"),
        (lambda items: [*items, (items[0][0], None)], "item 61 has the label None"),
        (lambda items: [*items, (items[0][0], "fake")], "'fake'"),
        (lambda items: [*items, (items[0][0][:, :2], "spoof")], "item 61 has 2 dimensions"),
        (lambda items: [*items, (items[0][0] * np.nan, "spoof")], "item 61 holds a value that is NaN"),
    ],
)
def test_lists_that_cannot_be_trained_on_are_refused(tmp_path, items, change, message):
    data = write_list(tmp_path / "list.pkl", change(items))
    with pytest.raises(InputError, match=message):
        training.train(data, tmp_path / "model", SMALL)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_features_of_a_scale_that_no_model_may_have_are_refused(tmp_path, items, factor):
    """Before the training, and not by whoever reads the models."""
    data = write_list(tmp_path / "list.pkl", [((array - 100) * np.float32(factor), label) for array, label in items])
    with pytest.raises(InputError, match=r"list\.pkl: the bonafide items have mean .* scale the features"):
        training.train(data, tmp_path / "model", SMALL)
    assert not (tmp_path / "model").exists()


def test_a_pass_without_a_finite_likelihood_is_the_last(tmp_path, data, capsys, monkeypatch):
    passes = []
    one_pass = em.one_pass
    monkeypatch.setattr(
        em, "one_pass", lambda *a: passes.append(1) or replace(one_pass(*a), history=(1.0, np.nan)[: len(passes)])
    )
    with pytest.raises(InputError, match="no finite likelihood"):
        training.train(data, tmp_path / "model", SMALL)
    assert len(passes) == 2


def test_the_log_is_refused_a_place_that_is_read(tmp_path, data):
    content = data.read_bytes()
    training.train(data, tmp_path / "first", SMALL)
    record = data.with_name("train-mfcc.pkl.json")
    record.write_text("{}")
    for log in (data, record, tmp_path / "first" / "sp.gmm", tmp_path):
        before = log.stat().st_size
        with pytest.raises(InputError, match=r"this run reads or writes|is a folder"):
            training.train(data, tmp_path / "model", SMALL, load_model_path=tmp_path / "first", log=log)
        assert log.stat().st_size == before
        assert not (tmp_path / "model").exists()
    with pytest.raises(InputError, match="this run reads or writes"):  # the model that will be written
        training.train(data, tmp_path / "model", SMALL, log=tmp_path / "model" / "bon.gmm")
    assert data.read_bytes() == content


def test_options_that_no_training_can_have_are_refused(tmp_path, data):
    for options, message in (({"var_floor": 1.5}, "from 0 to 1"), ({"n_components": 0}, "from 1 on")):
        with pytest.raises(InputError, match=message):
            replace(SMALL, **options)
    with pytest.raises(InputError, match="--model_path is empty"):
        training.train(data, "", SMALL)


def test_models_of_other_features_are_no_start(tmp_path, data, items):
    training.train(data, tmp_path / "model", SMALL)
    narrow = write_list(tmp_path / "narrow.pkl", [(array[:, :3], label) for array, label in items])
    with pytest.raises(InputError, match=r"models over 4 dimensions, but .*narrow\.pkl has 3"):
        training.train(narrow, tmp_path / "more", SMALL, load_model_path=tmp_path / "model")


def test_training_ends_when_two_passes_in_a_row_gain_less_than_tol(tmp_path):
    lone = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        items = [(rng.normal(rng.normal(size=3), 1, size=(40, 3)).astype(np.float32), label) for label in LABELS * 40]
        options = TrainingOptions(n_components=8, seed=seed)
        training.train(write_list(tmp_path / "list.pkl", items), tmp_path / f"{seed}", options)
        for model in loaded(tmp_path / f"{seed}"):
            small = np.diff(model.lower_bounds_) < options.tol
            ends = np.flatnonzero(small[:-1] & small[1:]) + 1
            assert ends.tolist() == [len(small) - 1]
            assert model.converged_
            lone += int(small[: ends[0] - 1].sum())
    assert lone > 0  # passes that alone would have ended a training


def test_the_largest_number_of_passes_ends_training_unconverged(tmp_path, data):
    training.train(data, tmp_path / "model", replace(SMALL, max_iter=3))
    for model in loaded(tmp_path / "model"):
        assert (model.n_iter_, len(model.lower_bounds_), model.converged_) == (3, 3, False)


# -- runs that end early ---------------------------------------------------------------------------


class Killed(Exception):  # noqa: N818
    pass


def train_until(monkeypatch, n_passes, *arguments, **conduct):
    """Train and be killed in the middle of the pass after the given number."""
    passes = em.one_pass

    def one_pass(state, *others):
        state = passes(state, *others)
        if len(state.history) > n_passes:
            raise Killed
        return state

    with monkeypatch.context() as patch:
        patch.setattr(em, "one_pass", one_pass)
        with pytest.raises(Killed):
            training.train(*arguments, **conduct)


def test_a_run_killed_between_two_passes_of_small_gains_ends_as_it_would_have(tmp_path, data, monkeypatch):
    options = replace(SMALL, tol=1e-2)
    training.train(data, tmp_path / "undisturbed", options)
    n_passes = loaded(tmp_path / "undisturbed")[0].n_iter_
    train_until(monkeypatch, n_passes - 1, data, tmp_path / "killed", options)
    training.train(data, tmp_path / "killed", options)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


@pytest.mark.parametrize("em", ["incremental", "batch"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path, data, monkeypatch, capsys, em):
    options = replace(SMALL, em=em)
    training.train(data, tmp_path / "undisturbed", options)
    for n_passes in (1, 4):
        train_until(monkeypatch, n_passes, data, tmp_path / "killed", options)
    capsys.readouterr()
    training.train(data, tmp_path / "killed", options, n_jobs=1, in_memory=True)
    assert "bonafide: going on after pass 4" in capsys.readouterr().err
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["README.md", "bon.gmm", "sp.gmm"]


def test_models_of_two_trainings_in_one_folder_are_trained_anew(tmp_path, data):
    training.train(data, tmp_path / "undisturbed", SMALL)
    training.train(data, tmp_path / "mixed", replace(SMALL, seed=3))
    (tmp_path / "mixed" / "bon.gmm").write_bytes(contents(tmp_path / "undisturbed")[0])
    training.train(data, tmp_path / "mixed", SMALL)
    assert contents(tmp_path / "mixed") == contents(tmp_path / "undisturbed")


def test_a_failed_training_leaves_the_models_that_are_there(tmp_path, data, items):
    """Variances far beyond any feature's: models that no reader would take."""
    training.train(data, tmp_path / "model", SMALL)
    before = contents(tmp_path / "model")
    with pytest.raises(InputError, match="--reg_covar"):
        training.train(data, tmp_path / "model", replace(SMALL, reg_covar=1e20), restart=True)
    assert contents(tmp_path / "model") == before
    read_pair(*model_files(tmp_path / "model"))


def test_no_model_is_replaced_where_the_other_cannot_be(tmp_path, data):
    training.train(data, tmp_path / "model", SMALL)
    before = contents(tmp_path / "model")
    with files.replace_when_whole(tmp_path / "model" / "sp.gmm"), pytest.raises(InputError, match="another run"):
        training.train(data, tmp_path / "model", replace(SMALL, seed=1), restart=True)
    assert contents(tmp_path / "model")[0] == before[0]


@pytest.fixture
def described(tmp_path, items):
    """A list with its record."""
    return write_described(tmp_path / "train-lfcc.pkl", *zip(*items, strict=True))


def test_a_record_that_comes_after_training_is_not_ignored(tmp_path, described, capsys):
    record = described.with_name("train-lfcc.pkl.json")
    training.train(described, tmp_path / "expected", SMALL)
    content = record.read_text()
    record.unlink()
    training.train(described, tmp_path / "model", SMALL)
    before = read_pair(*model_files(tmp_path / "model"))
    record.write_text(content)
    capsys.readouterr()
    training.train(described, tmp_path / "model", SMALL)
    assert "now know what the lists' records say" in capsys.readouterr().err
    for was, now in zip(before, read_pair(*model_files(tmp_path / "model")), strict=True):
        assert was.record["inputs"] == [None]
        assert now.record["inputs"][0]["feature"] == {"type": "mfcc"}
        assert was.record["training_id"] == now.record["training_id"]
        np.testing.assert_array_equal(was.parameters.means, now.parameters.means)
    assert "mfcc" in (tmp_path / "model" / "README.md").read_text()
    assert contents(tmp_path / "model") == contents(tmp_path / "expected")
    record.unlink()  # what the models know they do not forget
    training.train(described, tmp_path / "model", SMALL)
    assert "nothing to do" in capsys.readouterr().err
    assert contents(tmp_path / "model") == contents(tmp_path / "expected")


def test_a_record_that_comes_during_training_is_not_ignored(tmp_path, described, monkeypatch):
    record = described.with_name("train-lfcc.pkl.json")
    training.train(described, tmp_path / "expected", SMALL)
    content = record.read_text()
    record.unlink()
    train_until(monkeypatch, 2, described, tmp_path / "model", SMALL)
    record.write_text(content)
    training.train(described, tmp_path / "model", SMALL)
    assert contents(tmp_path / "model") == contents(tmp_path / "expected")


def test_finished_and_unfinished_trainings_follow_one_rule_of_versions(tmp_path, data, monkeypatch, capsys):
    training.train(data, tmp_path / "finished", SMALL)
    train_until(monkeypatch, 2, data, tmp_path / "unfinished", SMALL)
    capsys.readouterr()
    with monkeypatch.context() as patch:  # another release, with other libraries
        patch.setattr(versions, "current", lambda: {**versions.COMPARED, "countermeasure": "99", "numpy": "99"})
        training.train(data, tmp_path / "finished", SMALL)
        assert "nothing to do" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(versions, "COMPARED", {**versions.COMPARED, "features": "99"})
        with pytest.raises(InputError, match=r"features 1, now 99"):
            training.train(data, tmp_path / "unfinished", SMALL)
        with pytest.raises(InputError, match=r"finished models .*another version of this suite: features 1, now 99"):
            training.train(data, tmp_path / "finished", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(versions, "current", lambda: {**versions.COMPARED, "countermeasure": "99", "numpy": "99"})
        training.train(data, tmp_path / "unfinished", SMALL)
        assert "going on after pass 2" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bon.gmm", "bonafide.checkpoint.npz"])
def test_pipes_are_refused_and_do_not_wait(tmp_path, data, name):
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / name)
    typed = [sys.executable, "gmm_train.py", "--data_path", data, "--model_path", tmp_path / "model"]
    command = [*map(str, typed), "--n_components", "2", "--n_jobs", "1"]
    if name == "bon.gmm":
        command += ["--load_model_path", str(tmp_path / "model")]
        command[5] = str(tmp_path / "more")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 2
    assert f"{name}: is a pipe" in done.stderr


def test_a_finished_training_is_not_done_again(tmp_path, data, capsys):
    training.train(data, tmp_path / "model", SMALL)
    before = [path.stat().st_mtime_ns for path in model_files(tmp_path / "model")]
    capsys.readouterr()
    training.train(data, tmp_path / "model", SMALL)
    assert "nothing to do" in capsys.readouterr().err
    assert [path.stat().st_mtime_ns for path in model_files(tmp_path / "model")] == before
    training.train(data, tmp_path / "model", SMALL, restart=True)
    assert [path.stat().st_mtime_ns for path in model_files(tmp_path / "model")] != before


def test_an_unfinished_training_with_other_settings_is_not_overwritten(tmp_path, data, items, monkeypatch):
    train_until(monkeypatch, 2, data, tmp_path / "model", SMALL)
    with pytest.raises(InputError, match=r"unfinished .*had 8 components, 5 are asked for.*--restart"):
        training.train(data, tmp_path / "model", replace(SMALL, n_components=5))
    other = write_list(tmp_path / "other.pkl", items[1:])
    with pytest.raises(InputError, match=r"\(was trained on other data\)"):
        training.train(other, tmp_path / "model", SMALL)
    training.train(other, tmp_path / "model", SMALL, restart=True)
    training.train(other, tmp_path / "expected", SMALL)
    assert contents(tmp_path / "model") == contents(tmp_path / "expected")


def test_finished_models_of_other_settings_stay_unless_asked(tmp_path, data, items):
    training.train(data, tmp_path / "model", SMALL)
    before = contents(tmp_path / "model")
    other = write_list(tmp_path / "other.pkl", items[1:])
    for path, options, how in (
        (data, replace(SMALL, n_components=3), "had 8 components, 3 are asked for"),
        (data, replace(SMALL, seed=2, tol=0.5), "had tol 0.001, 0.5 is asked for; had seed 0, 2 is asked for"),
        (other, SMALL, "was trained on other data"),
    ):
        with pytest.raises(InputError) as refused:
            training.train(path, tmp_path / "model", options)
        assert str(refused.value) == (
            f"{tmp_path / 'model'}: finished models of other settings are here ({how}); "
            "choose another --model_path, or --restart to replace them"
        )
        assert finished.differing(tmp_path / "model", options, path) in str(refused.value)
        assert contents(tmp_path / "model") == before
    training.train(data, tmp_path / "model", replace(SMALL, n_components=3), restart=True)
    assert loaded(tmp_path / "model")[0].n_components == 3


def test_models_made_elsewhere_stay_unless_asked(tmp_path, data, items):
    for path, label in zip(model_files(tmp_path), LABELS, strict=True):
        path.write_bytes(pickle.dumps(GaussianMixture(2, covariance_type="diag").fit(frames_of(items, label))))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"finished models .*\(were made elsewhere\)"):
        training.train(data, tmp_path, SMALL)
    assert contents(tmp_path) == before


def test_a_replacement_that_was_killed_goes_on_without_being_asked_again(tmp_path, data, monkeypatch):
    training.train(data, tmp_path / "model", replace(SMALL, seed=1))
    train_until(monkeypatch, 2, data, tmp_path / "model", SMALL, restart=True)
    training.train(data, tmp_path / "model", SMALL)
    training.train(data, tmp_path / "expected", SMALL)
    assert contents(tmp_path / "model") == contents(tmp_path / "expected")


def test_nothing_differs_where_nothing_would_be_replaced(tmp_path, data, items):
    assert finished.differing(tmp_path / "model", SMALL, data) == ""
    training.train(data, tmp_path / "model", SMALL)
    assert finished.differing(tmp_path / "model", SMALL, data) == ""
    assert finished.differing(tmp_path / "model", SMALL, tmp_path / "absent.pkl") == ""
    assert finished.differing(tmp_path / "model", replace(SMALL, n_components=None)) == ""
    (tmp_path / "model" / "sp.gmm").write_bytes(b"damaged")
    assert finished.differing(tmp_path / "model", replace(SMALL, seed=5), data) == ""


def test_differences_are_said_as_people_do():
    def record(feature, **others):
        source = {"kind": "features", "feature": {"type": feature, "filter_bank": {"n": 1}}, "sampling_rate": 16000}
        return {"inputs": [source], "data_sha256": [feature], "options": {}, "versions": {"numpy": "2.0"}, **others}

    said = finished._differences
    assert said(record("mfcc"), record("lfcc")) == "was trained on mfcc, not lfcc"
    assert said(record("mfcc"), record("mfcc")) == ""
    assert said(record("mfcc"), record("mfcc", data_sha256=["other"])) == "was trained on other data"
    assert said(record("mfcc"), record("mfcc", versions={"numpy": "2.1"})) == ""
    assert (
        said(record("mfcc"), record("mfcc", versions={"features": "2"}))
        == "was made by another version of this suite: features 1, now 2"
    )
    assert said({}, record("mfcc")) == "were made elsewhere"
    mixture, regression = {"n_components": 64, "tol": 0.001}, {"l2": 1.0, "method": "logistic"}
    assert said({"options": regression}, {"options": mixture}) == "was a logistic regression, a mixture is asked for"
    assert said({"options": mixture}, {"options": regression}) == "was a mixture, a logistic regression is asked for"
    started = record("mfcc", start_sha256=["a", "b"])
    assert said(started, record("mfcc", start_sha256=None)) == "was continued from other models"


def test_a_damaged_checkpoint_is_refused(tmp_path, data, monkeypatch):
    train_until(monkeypatch, 2, data, tmp_path / "model", SMALL)
    checkpoint = tmp_path / "model" / "bonafide.checkpoint.npz"
    content = checkpoint.read_bytes()
    for damaged in (content[:1000], b"", content[:500] + b"x" * 200 + content[700:]):
        checkpoint.write_bytes(damaged)
        with pytest.raises(InputError, match="--restart"):
            training.train(data, tmp_path / "model", SMALL)


def test_a_run_killed_in_the_second_class_keeps_the_history_of_the_first(tmp_path, data, monkeypatch):
    log = tmp_path / "history.csv"
    passes = em.one_pass
    begun = []

    def one_pass(state, *others):
        begun.append(state)
        if len([state for state in begun if not state.history]) == 2 and len(state.history) == 2:
            raise Killed  # in the third pass of the second class
        return passes(state, *others)

    with monkeypatch.context() as patch:
        patch.setattr(em, "one_pass", one_pass)
        with pytest.raises(Killed):
            training.train(data, tmp_path / "model", SMALL, log=log)
    before = log.read_text().count("bonafide")
    assert before > 2
    training.train(data, tmp_path / "model", SMALL, log=log)
    assert log.read_text().count("bonafide") == before


def test_a_copy_of_the_other_model_is_no_finished_training(tmp_path, data):
    training.train(data, tmp_path / "model", SMALL)
    expected = contents(tmp_path / "model")
    (tmp_path / "model" / "sp.gmm").write_bytes(expected[0])
    training.train(data, tmp_path / "model", SMALL)
    assert contents(tmp_path / "model") == expected


def test_checkpoints_do_not_outlive_their_training(tmp_path, data, monkeypatch):
    train_until(monkeypatch, 2, data, tmp_path / "model", SMALL)
    training.train(data, tmp_path / "model", replace(SMALL, seed=3), restart=True)
    checkpoint = tmp_path / "model" / "bonafide.checkpoint.npz"
    assert not checkpoint.exists()
    checkpoint.write_bytes(b"left between the last write and the tidying up")
    training.train(data, tmp_path / "model", replace(SMALL, seed=3))
    assert not checkpoint.exists()


def test_continuing_into_the_same_folder_is_refused(tmp_path, data):
    training.train(data, tmp_path / "model", SMALL)
    with pytest.raises(InputError, match="continue into another folder"):
        training.train(data, tmp_path / "model", SMALL, load_model_path=tmp_path / "model")


def test_a_pass_that_fell_for_over_relaxation_is_not_the_end(tmp_path, monkeypatch):
    """Few rows and narrow clusters, as file scores are; plain EM ends no better than 0.02 nats above."""
    worst = 0.0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows = rng.normal(rng.normal(0, 3, size=(6, 3))[rng.integers(6, size=150)], 0.3)
        data = write_list(tmp_path / f"{seed}.pkl", [(row[None], label) for row in rows for label in LABELS])
        options = TrainingOptions(n_components=16, seed=seed)
        training.train(data, tmp_path / "relaxed", options, restart=True)
        relaxed = loaded(tmp_path / "relaxed")[0]
        assert relaxed.converged_
        with monkeypatch.context() as patch:
            patch.setattr(em, "OVER_RELAXATION", 0.0)
            training.train(data, tmp_path / "plain", options, restart=True)
        worst = max(worst, loaded(tmp_path / "plain")[0].lower_bound_ - relaxed.lower_bound_)
    assert worst < 0.1


@pytest.mark.parametrize("settings", [{"var_floor": 0}, {"var_floor": 0, "reg_covar": 1e-6}, {"var_floor": 1e-9}])
def test_values_that_repeat_do_not_break_the_arithmetic(tmp_path, rng, settings):
    """Discrete values, as silence has them, under a floor of nothing."""
    rows = np.column_stack([rng.integers(4, size=200) * 256.0, rng.integers(3, size=200), rng.normal(size=200)])
    data = write_list(tmp_path / "list.pkl", [(row[None], label) for row in rows for label in LABELS])
    training.train(data, tmp_path / "model", TrainingOptions(n_components=16, **settings))
    for model in loaded(tmp_path / "model"):
        assert model.lower_bound_ == pytest.approx(model.score(rows), abs=1e-2)


def test_two_runs_into_one_folder_do_not_mix(tmp_path, data):
    with files.only_run(tmp_path / "model"), pytest.raises(InputError, match="another run is at work"):
        training.train(data, tmp_path / "model", SMALL)
    training.train(data, tmp_path / "model", SMALL)


def test_the_history_is_kept_as_csv(tmp_path, data, monkeypatch):
    log = tmp_path / "logs" / "history.csv"
    train_until(monkeypatch, 2, data, tmp_path / "model", SMALL, log=log)
    training.train(data, tmp_path / "model", SMALL, log=log)
    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    for label, model in zip(LABELS, loaded(tmp_path / "model"), strict=True):
        own = [row for row in rows if row["class"] == label]
        assert [int(row["pass"]) for row in own] == list(range(1, model.n_iter_ + 1))
        values = [float(row["log_likelihood"]) for row in own]
        np.testing.assert_allclose(values, model.lower_bounds_, atol=1e-6)
        np.testing.assert_allclose([float(row["gain"]) for row in own[1:]], np.diff(values), atol=2e-6)
        assert all(float(row["seconds"]) > 0 for row in own)


@pytest.mark.parametrize("name", ["n_components", "max_iter", "tol", "var_floor", "reg_covar", "seed"])
def test_options_out_of_range_are_refused(name):
    with pytest.raises(InputError, match=f"--{name}"):
        TrainingOptions(**{name: -1})
