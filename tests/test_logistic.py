"""Against scikit-learn: LogisticRegression.decision_function, and GaussianMixture.score_samples of what was written."""

import pickle
import shutil

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from countermeasure.errors import InputError
from countermeasure.gmm import logistic
from countermeasure.gmm.models import model_files, read_pair
from countermeasure.lists.pickles import ListWriter, read_list
from countermeasure.options import LogisticOptions, TrainingOptions
from countermeasure.stages import scoring, training

N_FILES = {"train": 60, "eval": 20}
COLUMNS = ("lfcc-bon", "lfcc-sp", "mfcc-bon", "mfcc-sp")


@pytest.fixture
def experiment(tmp_path):
    """Frame-score lists of two base models, as far from 0 as theirs are, and a protocol of the eval ones."""
    rng = np.random.default_rng(3)
    for split, n in N_FILES.items():
        (tmp_path / split).mkdir()
        lengths = rng.integers(5, 30, size=n)
        labels = [("bonafide", "spoof", "spoof")[i % 3] for i in range(n)]
        said = [rng.normal(-70, 9, size=(length, 1)) for length in lengths]
        for d, column in enumerate(COLUMNS):
            with ListWriter(tmp_path / split / f"{column}-{split}.pkl") as out:
                for level, label in zip(said, labels, strict=True):
                    gain = (0.8 + 0.3 * d) * (label == "bonafide") * (d % 2 == 0)
                    out.append((level[:, 0] + gain + rng.normal(0, 2, len(level))).astype(np.float32), label)
        lines = [
            f"S{i % 4} {split}_{i} - {'-' if label == 'bonafide' else 'A01'} {label}" for i, label in enumerate(labels)
        ]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    return tmp_path


def stacked(folder, split, columns=COLUMNS):
    """Return the mean rows, and which are bona fide, from the lists by themselves."""
    lists = [list(read_list(folder / split / f"{column}-{split}.pkl")) for column in columns]
    rows = np.array([[array.astype(float).mean() for array, _ in items] for items in lists]).T
    return rows, np.array([label == "bonafide" for _, label in lists[0]])


def standardised(train, *others):
    return [(rows - train.mean(axis=0)) / train.std(axis=0) for rows in (train, *others)]


def llrs_of(folder, model):
    scoring.score_fusion(folder / "eval", *model_files(model), folder / "eval.txt", folder / "scores.txt")
    return np.array([float(line.split()[-1]) for line in (folder / "scores.txt").read_text().splitlines()])


def reference(penalty):
    """Return scikit-learn's regression; of its solvers, older versions' default stops short of the optimum."""
    return LogisticRegression(C=1 / penalty, class_weight="balanced", solver="newton-cholesky", tol=1e-12)


@pytest.mark.parametrize("l2", [0.01, 3.0])
def test_scores_are_scikit_learns_decision_function(experiment, l2):
    training.train_fusion(experiment / "train", experiment / "model", LogisticOptions(l2))
    (train, is_bonafide), (test, _) = stacked(experiment, "train"), stacked(experiment, "eval")
    z_train, z_test = standardised(train[:, ::2] - train[:, 1::2], test[:, ::2] - test[:, 1::2])
    expected = reference(l2 * len(train)).fit(z_train, is_bonafide).decision_function(z_test)
    np.testing.assert_allclose(llrs_of(experiment, experiment / "model"), expected, atol=1.5e-6)
    assert np.ptp(expected) > 0.1


def test_the_models_are_plain_mixtures_whose_frame_llrs_have_the_mean_of_the_score_file(experiment):
    training.train_fusion(experiment / "train", experiment / "model", LogisticOptions())
    models = [pickle.loads(path.read_bytes()) for path in model_files(experiment / "model")]
    assert [model.weights_.tolist() for model in models] == [[1.0], [1.0]]
    np.testing.assert_array_equal(*(model.covariances_ for model in models))
    rows, is_bonafide = stacked(experiment, "train")
    np.testing.assert_allclose(models[0].covariances_[0], rows.var(axis=0), rtol=1e-6)
    for model, own in zip(models, (is_bonafide, ~is_bonafide), strict=True):
        assert model.lower_bound_ == pytest.approx(model.score(rows[own]), abs=1e-6)
        assert model.countermeasure_["n_files"] == own.sum()
    lists = [list(read_list(experiment / "eval" / f"{column}-eval.pkl")) for column in COLUMNS]
    expected = []
    for items in zip(*lists, strict=True):
        frames = np.column_stack([array for array, _ in items]).astype(float)
        bonafide, spoof = (model.score_samples(frames) for model in models)
        expected.append((bonafide - spoof).mean())
    np.testing.assert_allclose(llrs_of(experiment, experiment / "model"), expected, atol=1e-6)


def test_a_column_without_its_other_half_stands_for_itself(experiment):
    for split in N_FILES:
        (experiment / split / f"mfcc-sp-{split}.pkl").unlink()
    training.train_fusion(experiment / "train", experiment / "model", LogisticOptions(0.1))
    columns = COLUMNS[:3]
    (train, is_bonafide), (test, _) = stacked(experiment, "train", columns), stacked(experiment, "eval", columns)
    combined = [np.column_stack([rows[:, 0] - rows[:, 1], rows[:, 2]]) for rows in (train, test)]
    z_train, z_test = standardised(*combined)
    expected = reference(0.1 * len(train)).fit(z_train, is_bonafide).decision_function(z_test)
    np.testing.assert_allclose(llrs_of(experiment, experiment / "model"), expected, atol=1.5e-6)


def test_pairs_are_found_by_name():
    names = ["a-bon-filelevel", "a-sp-filelevel", "b-bon", "b-sp", "c-sp", "silence", "silence", "bon-sp"]
    expected = np.zeros((8, 6))
    for row, column, value in [
        (0, 0, 1), (1, 0, -1), (2, 1, 1), (3, 1, -1), (4, 2, 1), (5, 3, 1), (6, 4, 1), (7, 5, 1),
    ]:  # fmt: skip
        expected[row, column] = value
    np.testing.assert_array_equal(logistic.pairing(names), expected)
    # A model may be called what one half of a pair is called.
    np.testing.assert_array_equal(logistic.pairing(["bon-bon", "bon-sp"]), [[1], [-1]])
    # The columns of a wide list have one name, and so no other half.
    np.testing.assert_array_equal(logistic.pairing(["a-bon", "a-bon", "a-sp"]), np.eye(3))


def test_the_gaussians_log_ratio_is_the_linear_llr():
    rng = np.random.default_rng(0)
    for _ in range(5):
        n = int(rng.integers(1, 20))
        weights, mean = rng.normal(size=n), rng.normal(0, 100, n)
        variance, points = rng.uniform(1e-3, 1e3, n), rng.normal(0, 100, (50, n))
        llr = logistic.Linear(weights, float(rng.normal(0, 30)))
        bonafide, spoof = logistic.as_mixtures(llr, mean, variance)

        def log_density(x, p):
            return -0.5 * ((x - p.means[0]) ** 2 / p.variances[0]).sum(axis=1)

        ratio = log_density(points, bonafide) - log_density(points, spoof)
        np.testing.assert_allclose(ratio, points @ weights + llr.offset, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1])
def test_constant_columns_have_no_say(experiment, value):
    training.train_fusion(experiment / "train", experiment / "without", LogisticOptions())
    expected = llrs_of(experiment, experiment / "without")
    for split in N_FILES:
        with ListWriter(experiment / split / f"{split}-constant.pkl") as out:
            for array, label in read_list(experiment / split / f"lfcc-bon-{split}.pkl"):
                out.append(np.full(len(array), value), label)
    training.train_fusion(experiment / "train", experiment / "with", LogisticOptions())
    np.testing.assert_allclose(llrs_of(experiment, experiment / "with"), expected, atol=1.5e-6)


def test_the_same_data_give_the_same_bytes_and_nothing_is_done_twice(experiment, capsys):
    def train(folder, l2=1.0, **settings):
        return training.train_fusion(experiment / "train", experiment / folder, LogisticOptions(l2), **settings)

    record = train("one").record
    assert record.options == {"l2": 1.0, "method": "logistic"}
    assert record.columns == list(COLUMNS)
    train("two", restart=True)
    for one, two in zip(model_files(experiment / "one"), model_files(experiment / "two"), strict=True):
        assert one.read_bytes() == two.read_bytes()
    capsys.readouterr()
    train("one")
    assert "nothing to do" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"finished models .*\(l2 1\.0, now 0\.1\)"):
        train("one", l2=0.1)
    training.train_fusion(experiment / "train", experiment / "one", TrainingOptions(n_components=2), restart=True)
    assert read_pair(*model_files(experiment / "one"))[0].parameters.n_components == 2


def test_left_out_files_are_left_out(experiment):
    training.train_fusion(experiment / "train", experiment / "model", LogisticOptions())
    shutil.copytree(experiment / "train", experiment / "longer")
    for path in (experiment / "longer").glob("*.pkl"):
        items = list(read_list(path))
        with ListWriter(path) as out:
            for array, label in [(None, "spoof"), *items]:
                out.append(array, label)
    training.train_fusion(experiment / "longer", experiment / "other", LogisticOptions())
    one, other = (read_pair(*model_files(experiment / name)) for name in ("model", "other"))
    np.testing.assert_array_equal(one[0].parameters.means, other[0].parameters.means)


def test_what_cannot_be_fused_is_refused(experiment):
    def refused(message, **settings):
        with pytest.raises(InputError, match=message):
            training.train_fusion(experiment / "train", experiment / "model", LogisticOptions(), **settings)
        assert not (experiment / "model").exists()

    def change(column, change):
        path = experiment / "train" / f"{column}-train.pkl"
        items = list(read_list(path))
        with ListWriter(path) as out:
            for i, (array, label) in enumerate(items):
                out.append(*change(i, array, label))

    refused("--load_model_path belongs to --method gmm", load_model_path=experiment)
    refused("--log belongs to --method gmm", log=experiment / "log.csv")
    change("lfcc-bon", lambda i, array, label: (array * np.float32(np.nan) if i == 4 else array, label))
    refused("item 5 holds a value that is NaN")
    for column in COLUMNS:
        change(column, lambda i, array, label: (np.ones(len(array)), label))
    refused("no column tells bona fide from spoofed speech")
    for column in COLUMNS:
        change(column, lambda i, array, label: (array, "spoof"))
    refused("no bonafide item")
