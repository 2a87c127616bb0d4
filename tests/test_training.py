"""What models come out of which data; what a folder holds already: tests/test_finished.py."""

import csv
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from countermeasure import cli, compute
from countermeasure.errors import InputError
from countermeasure.gmm import em
from countermeasure.gmm.models import model_files, read_model, read_pair
from countermeasure.gmm.trainer import n_groups
from countermeasure.options import TrainingOptions
from countermeasure.stages import training
from trainings import LABELS, SMALL, contents, frames_of, loaded, write_list


@pytest.fixture
def verbose():
    cli.parser(None).parse_args(["--verbose"])
    yield
    cli.parser(None).parse_args([])


# -- models ----------------------------------------------------------------------------------------


def test_models_are_fitted_mixtures_of_scikit_learn(trained, items):
    for label, model in zip(LABELS, loaded(trained), strict=True):
        frames = frames_of(items, label)
        assert type(model) is GaussianMixture
        assert model.n_features_in_ == 4
        assert model.weights_.sum() == pytest.approx(1)
        assert 1 < model.n_iter_ <= 15
        # The bound is that of the model as it is, over the data.
        assert model.lower_bound_ == pytest.approx(model.score(frames), abs=1e-4)
        # As good as scikit-learn's own fit, up to what another start may bring.
        own = GaussianMixture(8, covariance_type="diag", random_state=0).fit(frames)
        assert model.score(frames) > own.score(frames) - 0.1


def test_models_say_what_they_are_and_belong_together(trained, items):
    pair = read_pair(*model_files(trained))
    for label, model in zip(LABELS, pair, strict=True):
        assert (model.record.label, model.record.n_files) == (label, 30)
        assert model.record.n_frames == len(frames_of(items, label))
        assert model.record.options == vars(SMALL)
        assert model.record.training_id == pair.record.training_id


@pytest.mark.parametrize("n_passes", [1, 10])
def test_the_same_start_gives_scikit_learns_parameters(tmp_path, rng, n_passes):
    # Scales as different as features' are, and clusters that overlap.
    frames = np.concatenate([rng.normal(c, 1, size=(3000, 5)) for c in (-1.5, 0, 1.5)]) * [1, 30, 0.01, 5, 1] + 7
    data = write_list(tmp_path / "list.pkl", [(part, label) for label in LABELS for part in np.split(frames, 20)])
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


def test_one_component_is_mean_and_variance_of_the_data_and_a_constant_dimension_survives(tmp_path, items):
    constant = [(np.column_stack([array, np.full(len(array), 7.3)]), label) for array, label in items]
    data = write_list(tmp_path / "list.pkl", constant)
    training.train(data, tmp_path / "model", replace(SMALL, n_components=1))
    for label, model in zip(LABELS, loaded(tmp_path / "model"), strict=True):
        frames = frames_of(constant, label)
        np.testing.assert_allclose(model.means_[0], frames.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(model.covariances_[0, :-1], frames[:, :-1].var(axis=0), rtol=1e-5)
        assert np.isfinite(model.score_samples(frames)).all()


@pytest.mark.parametrize("em", ["incremental", "batch"])
def test_bytes_depend_neither_on_threads_nor_on_where_the_frames_are(tmp_path, data, trained, em):
    options = replace(SMALL, em=em)
    training.train(data, tmp_path / "a", options, n_jobs=1)
    training.train(data, tmp_path / "b", options, n_jobs=3, in_memory=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (contents(tmp_path / "a") == contents(trained)) is (em == "incremental")
    training.train(data, tmp_path / "c", replace(options, seed=1))
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_both_ways_of_em_come_to_the_same_optimum(tmp_path, rng):
    items = [(rng.normal(rng.choice([-1.5, 1.5], size=(40, 1)), 1, size=(40, 3)), label) for label in LABELS * 40]
    data = write_list(tmp_path / "list.pkl", items)
    for method in ("incremental", "batch"):
        training.train(data, tmp_path / method, TrainingOptions(n_components=2, tol=1e-6, var_floor=0, em=method))
    for one, other in zip(loaded(tmp_path / "incremental"), loaded(tmp_path / "batch"), strict=True):
        assert one.lower_bound_ == pytest.approx(other.lower_bound_, abs=1e-5)
        np.testing.assert_allclose(np.sort(one.means_, axis=0), np.sort(other.means_, axis=0), atol=5e-3)


def test_training_continues_from_models_of_scikit_learn_alone(tmp_path, data, items, capsys):
    for path, label in zip(model_files(tmp_path), LABELS, strict=True):
        model = GaussianMixture(5, covariance_type="diag", random_state=0, max_iter=3, tol=10)
        path.write_bytes(pickle.dumps(model.fit(frames_of(items, label))))
    training.train(data, tmp_path / "more", SMALL, load_model_path=tmp_path)
    assert "continuing from models of 5 components; --n_components is not used" in capsys.readouterr().err
    for first, more in zip(loaded(tmp_path), loaded(tmp_path / "more"), strict=True):
        assert (more.n_components, len(more.weights_)) == (5, 5)
        assert more.lower_bound_ > first.lower_bound_ + 0.01


def test_training_goes_on_from_models_that_are_narrower_than_the_floor(tmp_path, rng):
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
    training.train(data, tmp_path / "more", SMALL, load_model_path=tmp_path)
    for model, label in zip(loaded(tmp_path / "more"), LABELS, strict=True):
        assert np.diff(model.lower_bounds_).min() > -1e-3
        assert model.lower_bound_ == pytest.approx(model.score(frames_of(items, label)), abs=1e-3)


def test_small_differences_of_large_values_count_in_float64(tmp_path, rng):
    """The likelihood is that of the same values without their offset, by scikit-learn."""
    offset = -1e8
    frames = 1e-2 * np.concatenate([rng.normal(centre, 1, size=(600, 3)) for centre in (-6.0, 0.0, 6.0)])
    rng.shuffle(frames)
    items = [(part + offset, label) for part in np.split(frames, 30) for label in LABELS]
    options = TrainingOptions(n_components=3, tol=1e-5)
    training.train(write_list(tmp_path / "list.pkl", items), tmp_path / "model", options)
    own = GaussianMixture(3, covariance_type="diag", random_state=0, tol=1e-5, reg_covar=1e-9).fit(frames)
    for model in loaded(tmp_path / "model"):
        assert model.lower_bound_ == pytest.approx(own.score(frames), abs=1e-3)
        model.means_ -= offset  # at which scikit-learn's own arithmetic loses all digits
        assert model.score(frames) == pytest.approx(own.score(frames), abs=1e-3)


def test_values_that_repeat_do_not_break_the_arithmetic(tmp_path, rng, capsys):
    """Discrete values, as silence has them, without a floor."""
    rows = np.column_stack([rng.integers(4, size=200) * 256.0, rng.integers(3, size=200), rng.normal(size=200)])
    data = write_list(tmp_path / "list.pkl", [(row[None], label) for row in rows for label in LABELS])
    training.train(data, tmp_path / "model", TrainingOptions(n_components=15, max_iter=100, var_floor=0))
    said = capsys.readouterr().err
    for model, label in zip(loaded(tmp_path / "model"), LABELS, strict=True):
        assert model.lower_bound_ == pytest.approx(model.score(rows), abs=1e-2)
        n_starved = (model.predict_proba(rows).sum(axis=0) < 1).sum()
        assert (
            f"{label}: 15 components, {model.n_iter_} passes, log-likelihood {model.lower_bound_:.2f} a frame" in said
        )
        assert f"{n_starved} components with less than one frame" in said


def test_a_pass_that_fell_for_over_relaxation_is_not_the_end(tmp_path, monkeypatch):
    """Few rows and narrow clusters, as file scores are; plain EM ends no better than 0.02 nats above."""
    rng = np.random.default_rng(1)
    rows = rng.normal(rng.normal(0, 3, size=(6, 3))[rng.integers(6, size=150)], 0.3)
    data = write_list(tmp_path / "list.pkl", [(row[None], label) for row in rows for label in LABELS])
    options = TrainingOptions(n_components=16, seed=1)
    training.train(data, tmp_path / "relaxed", options)
    monkeypatch.setattr(em, "OVER_RELAXATION", 0.0)
    training.train(data, tmp_path / "plain", options)
    relaxed, plain = loaded(tmp_path / "relaxed")[0], loaded(tmp_path / "plain")[0]
    assert relaxed.converged_
    assert plain.lower_bound_ - relaxed.lower_bound_ < 0.1


def test_a_class_of_few_rows_gets_fewer_components_and_says_so(tmp_path, items, capsys):
    few = [(array[:1], label) for array, label in items[:5] + items[-30:]]
    training.train(write_list(tmp_path / "list.pkl", few), tmp_path / "model", SMALL)
    bonafide, spoof = loaded(tmp_path / "model")
    assert (len(bonafide.weights_), len(spoof.weights_)) == (2, 8)
    said = capsys.readouterr().err
    assert "bonafide: 5 rows allow 2 components of the 8 asked for" in said
    assert said.count("asked for") == 1


@pytest.mark.parametrize(("n_bonafide", "n_components"), [(199, 1), (200, 2), (20, 1)])
def test_where_no_number_is_given_the_smaller_class_decides(tmp_path, rng, capsys, verbose, n_bonafide, n_components):
    items = [
        (rng.normal(size=(1, 1)), label) for label, n in zip(LABELS, (n_bonafide, 300), strict=True) for _ in range(n)
    ]
    (tmp_path / "lists").mkdir()
    write_list(tmp_path / "lists" / "x-bon-train-filelevel.pkl", items)
    options = TrainingOptions(n_components=None, max_iter=3)
    training.train_fusion(tmp_path / "lists", tmp_path / "model", options, whole_files=True)
    assert [len(model.weights_) for model in loaded(tmp_path / "model")] == [n_components] * 2
    said = capsys.readouterr().err
    assert f"one for every 100 of the {n_bonafide} bonafide rows, from 1 to 64; " in said
    assert " a file, " in said
    assert "passes [" not in said  # a line of the progress bar, which a log has each half minute
    assert said.count("divided into 16 blocks") == 2
    form = r"^spoof: pass (\d), log-likelihood (-\d\.\d{4}) a file(?: \(([+-]\d\.\d{4})\))?, \d"
    passes = re.findall(form, said, re.MULTILINE)
    assert [number for number, *_ in passes] == ["1", "2", "3"]
    values, gains = (np.array([float(each[k] or 0) for each in passes]) for k in (1, 2))
    assert gains[1:] == pytest.approx(np.diff(values), abs=2e-4)
    assert gains[0] == 0


def test_a_pass_has_work_for_all_workers_and_few_results_from_elsewhere(tmp_path, rng, monkeypatch, capsys, verbose):
    data = write_list(tmp_path / "list.pkl", [(rng.normal(size=(250, 2)), label) for label in LABELS * 40])
    n_tasks = []

    def counted(_, function, tasks):
        tasks = list(tasks)
        n_tasks.append(len(tasks))
        return map(function, tasks)

    monkeypatch.setattr(compute.Workers, "map", counted)
    options = TrainingOptions(n_components=2, max_iter=1, em="batch")
    for name, n in (("here", 8), ("elsewhere", 4)):
        monkeypatch.setattr(compute.Workers, "are_elsewhere", name == "elsewhere")
        training.train(data, tmp_path / name, options, n_jobs=1)
        assert n_tasks == [1, 1, n, n, n, n]  # both classes' moments, and of each, a pass and the final likelihood
        n_tasks.clear()
    assert contents(tmp_path / "here") == contents(tmp_path / "elsewhere")
    assert "blocks" not in capsys.readouterr().err


@pytest.mark.parametrize(("n_rows", "n"), [(1, 4), (2**18, 4), (2**18 + 1, 8), (2**22, 64), (10**9, 256)])
def test_the_division_into_groups_on_which_the_bytes_of_models_depend(n_rows, n):
    assert n_groups(n_rows) == n


# -- passes ----------------------------------------------------------------------------------------


def test_training_ends_when_two_passes_in_a_row_gain_less_than_tol(tmp_path, rng):
    items = [(rng.normal(rng.normal(size=3), 1, size=(40, 3)).astype(np.float32), label) for label in LABELS * 40]
    options, lone = TrainingOptions(n_components=8), 0
    training.train(write_list(tmp_path / "list.pkl", items), tmp_path / "model", options)
    for model in loaded(tmp_path / "model"):
        small = np.diff(model.lower_bounds_) < options.tol
        ends = np.flatnonzero(small[:-1] & small[1:]) + 1
        assert ends.tolist() == [len(small) - 1]
        assert model.converged_
        lone += int(small[: ends[0] - 1].sum())
    assert lone > 0  # passes that alone would have ended a training
    state = em.State(read_model(tmp_path / "model" / "bon.gmm").parameters, history=(-2.0, -2.0, -2.0))
    assert not state.has_converged(0)  # --tol 0: to --max_iter
    assert state.has_converged(1e-9)


def test_the_largest_number_of_passes_ends_training_unconverged(tmp_path, data):
    training.train(data, tmp_path / "model", replace(SMALL, max_iter=3))
    for model in loaded(tmp_path / "model"):
        assert (model.n_iter_, len(model.lower_bounds_), model.converged_) == (3, 3, False)


def test_a_pass_without_a_finite_likelihood_is_the_last(tmp_path, data, monkeypatch):
    passes = []
    one_pass = em.one_pass
    monkeypatch.setattr(
        em, "one_pass", lambda *a: passes.append(1) or replace(one_pass(*a), history=(1.0, np.nan)[: len(passes)])
    )
    with pytest.raises(InputError, match="no finite likelihood"):
        training.train(data, tmp_path / "model", SMALL)
    assert len(passes) == 2


def test_the_history_is_kept_as_csv(trained):
    with open(trained / "logs" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for label, model in zip(LABELS, loaded(trained), strict=True):
        own = [row for row in rows if row["class"] == label]
        assert [int(row["pass"]) for row in own] == list(range(1, model.n_iter_ + 1))
        values = [float(row["log_likelihood"]) for row in own]
        np.testing.assert_allclose(values, model.lower_bounds_, atol=1e-6)
        assert own[0]["gain"] == ""
        np.testing.assert_allclose([float(row["gain"]) for row in own[1:]], np.diff(values), atol=2e-6)
        assert all(0 < float(row["seconds"]) < 600 for row in own)  # no time of day


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: [item for item in items if item[1] == "spoof"], "no bonafide item"),
        (lambda items: [*items, (items[0][0], None)], "item 61 has the label None"),
        (lambda items: [*items, (items[0][0], "fake")], "'fake'"),
        (lambda items: [*items, (items[0][0] * np.nan, "spoof")], "item 61 holds a value that is NaN"),
    ],
)
def test_lists_that_cannot_be_trained_on_are_refused(tmp_path, items, change, message):
    data = write_list(tmp_path / "list.pkl", change(items))
    with pytest.raises(InputError, match=message):
        training.train(data, tmp_path / "model", SMALL)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_features_of_a_scale_that_no_model_may_have_give_no_models(tmp_path, items, factor):
    data = write_list(tmp_path / "list.pkl", [((array - 100) * np.float32(factor), label) for array, label in items])
    with pytest.raises(InputError, match="dimension 1 has a standard deviation of"):
        training.train(data, tmp_path / "model", replace(SMALL, max_iter=1))
    assert not any(path.exists() for path in model_files(tmp_path / "model"))


def test_the_log_is_refused_a_place_that_is_read(tmp_path, data, trained):
    own = write_list(tmp_path / "list.pkl", [])
    record = tmp_path / "list.pkl.json"
    record.write_text("{}")
    model = tmp_path / "model"
    written = model / "bon.gmm", model / "README.md", model / "bonafide.checkpoint.npz"
    for log in (own, record, trained / "sp.gmm", tmp_path, *written):
        with pytest.raises(InputError, match=r"this run reads or writes|is a folder"):
            training.train(own, model, SMALL, load_model_path=trained, log=log)
        assert not model.exists()
    assert record.read_text() == "{}"


def test_models_of_other_features_are_no_start(tmp_path, trained, items):
    narrow = write_list(tmp_path / "narrow.pkl", [(array[:, :3], label) for array, label in items])
    with pytest.raises(InputError, match=r"models over 4 dimensions, but .*narrow\.pkl of 3"):
        training.train(narrow, tmp_path / "more", SMALL, load_model_path=trained)
    (tmp_path / "lists").mkdir()
    for name in ("a", "b"):
        write_list(tmp_path / "lists" / f"{name}-bon-train.pkl", [(array[:, 0], label) for array, label in items])
    with pytest.raises(InputError, match=r"models over 4 dimensions, but .*/lists/.* of 2"):
        training.train_fusion(tmp_path / "lists", tmp_path / "more", SMALL, load_model_path=trained)


def test_folders_that_no_models_can_go_to_are_refused(data, trained):
    with pytest.raises(InputError, match="continue into another folder"):
        training.train(data, trained, SMALL, load_model_path=trained)
    with pytest.raises(InputError, match="--model_path is empty"):
        training.train(data, "", SMALL)
