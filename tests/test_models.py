import hashlib
import pickle
import pickletools
import re

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from countermeasure.errors import InputError
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, TrainingRecord, model_files, read_model, read_pair, write_pair
from trainings import write_model

RECORD = {
    "format": 1,
    "columns": ["lfcc-bon", "lfcc-sp", "größe"],
    "data_sha256": ["ab" * 32],
    "options": {"n_components": 3, "tol": 1e-4, "reg_covar": 1e-6, "max_iter": 7, "seed": 11, "em": "batch"},
    "start_sha256": None,
    "training_id": "cd" * 32,
    "label": "bonafide",
    "n_files": 5,
    "n_frames": 1234,
}


def make_model(seed=0, n_components=3, n_dims=2, record=RECORD):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 1, n_components)
    parameters = Parameters(
        weights / weights.sum(),
        rng.normal(size=(n_components, n_dims)),
        rng.uniform(0.1, 2, size=(n_components, n_dims)),
    )
    return Model(parameters, 7, -12.5, True, (-14.0, -13.0, -12.5), TrainingRecord(**record))


def assert_same_parameters(one, other):
    for name in ("weights", "means", "variances"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == np.float64


def test_what_was_written_is_read(tmp_path):
    written = make_model()
    write_model(tmp_path / "new" / "bon.gmm", written)
    read = read_model(tmp_path / "new" / "bon.gmm")
    assert_same_parameters(read.parameters, written.parameters)
    assert (read.n_iter, read.lower_bound, read.converged, read.record) == (7, -12.5, True, written.record)
    assert read.history == (-14.0, -13.0, -12.5)
    assert read.record.columns == ["lfcc-bon", "lfcc-sp", "größe"]
    assert read.sha256 == hashlib.sha256((tmp_path / "new" / "bon.gmm").read_bytes()).hexdigest()


def test_what_a_model_does_not_say_is_read_as_such(tmp_path):
    """Weights, means and variances are as large and as small as they may be."""
    parameters = Parameters(np.array([1.0, 0.0]), np.array([[-1e18, 1e18]] * 2), np.array([[1e18, 1e-18]] * 2))
    write_model(tmp_path / "bon.gmm", Model(parameters))
    read = read_model(tmp_path / "bon.gmm")
    assert_same_parameters(read.parameters, parameters)
    assert (read.n_iter, read.lower_bound, read.converged) == (0, float("-inf"), False)
    assert (read.history, read.record) == ((), TrainingRecord())
    found = pickle.loads((tmp_path / "bon.gmm").read_bytes())
    own = GaussianMixture()
    assert (found.tol, found.reg_covar, found.max_iter, found.random_state) == (own.tol, 0, own.max_iter, None)


def test_a_model_is_a_fitted_mixture_where_there_is_only_scikit_learn(tmp_path):
    model, again = make_model(), make_model()
    write_model(tmp_path / "bon.gmm", model)
    write_model(tmp_path / "again.gmm", again)
    content = (tmp_path / "bon.gmm").read_bytes()
    assert content == (tmp_path / "again.gmm").read_bytes()
    needed = {each.split()[0].split(".")[0] for op, each, _ in pickletools.genops(content) if op.name == "GLOBAL"}
    assert needed == {"sklearn", "numpy"}
    assert b"numpy._core" not in content  # unknown to NumPy 1
    found = pickle.loads(content)
    p = model.parameters
    np.testing.assert_array_equal(found.weights_, p.weights)
    np.testing.assert_array_equal(found.means_, p.means)
    np.testing.assert_array_equal(found.covariances_, p.variances)
    np.testing.assert_allclose(found.precisions_, 1 / p.variances)
    np.testing.assert_allclose(found.precisions_cholesky_, p.variances**-0.5)
    assert (found.converged_, found.n_iter_, found.lower_bound_, found.n_features_in_) == (True, 7, -12.5, 2)
    assert (found.covariance_type, found.n_components) == ("diag", 3)
    assert (found.tol, found.reg_covar, found.max_iter, found.random_state) == (1e-4, 1e-6, 7, 11)
    # log Σ_k w_k Π_d N(x_d | μ_kd, σ²_kd), term by term
    frames = np.random.default_rng(5).normal(size=(20, 2)) * 3
    densities = np.exp(-((frames[:, None] - p.means) ** 2) / (2 * p.variances)) / np.sqrt(2 * np.pi * p.variances)
    np.testing.assert_allclose(found.score_samples(frames), np.log(densities.prod(axis=2) @ p.weights))


@pytest.fixture
def fitted():
    """A function that fits a mixture of scikit-learn's own and sets attributes of it."""
    frames = np.random.default_rng(1).normal(size=(200, 2))

    def fit(covariance_type="diag", **attributes):
        model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(frames)
        for name, value in attributes.items():
            setattr(model, name, value(getattr(model, name)) if callable(value) else value)
        return model

    return fit


def pickled(path, model, protocol=4):
    path.write_bytes(pickle.dumps(model, protocol=protocol))
    return path


def test_a_model_of_scikit_learns_own_is_read(tmp_path, fitted):
    model = fitted()
    read = read_model(pickled(tmp_path / "bon.gmm", model))
    assert_same_parameters(read.parameters, Parameters(model.weights_, model.means_, model.covariances_))
    assert (read.n_iter, read.converged, read.record) == (model.n_iter_, model.converged_, TrainingRecord())
    assert read.lower_bound == model.lower_bound_
    del model.lower_bound_
    assert read_model(pickled(tmp_path / "bon.gmm", model)).lower_bound == float("-inf")


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"weights_": lambda w: w * 0.9}, "weights do not sum to 1"),
        ({"weights_": np.array([1.2, -0.1, -0.1])}, "weights do not sum to 1"),
        ({"weights_": lambda w: w[:2] / w[:2].sum()}, "arrays differ in shape"),
        ({"weights_": None}, "weights_ is not a 1-dimensional array"),
        ({"weights_": [0.5, 0.25, 0.25]}, "weights_ is not a 1-dimensional array"),
        ({"means_": lambda m: changed(m, (1, 1), np.nan)}, "holds NaN or infinite values"),
        ({"means_": lambda m: m[:, :1]}, "arrays differ in shape"),
        ({"means_": lambda m: m.ravel()}, "means_ is not a 2-dimensional array"),
        ({"means_": lambda m: m.astype(str)}, "."),
        ({"means_": np.zeros((0, 2))}, "means_ is not a 2-dimensional array"),
        ({"means_": lambda m: m - 2e18}, "larger or smaller than any feature's"),
        ({"covariances_": lambda c: -c}, "larger or smaller than any feature's"),
        ({"covariances_": lambda c: changed(c, (0, 0), 0)}, "larger or smaller than any feature's"),
        ({"covariances_": lambda c: changed(c, (0, 0), np.inf)}, "holds NaN or infinite values"),
        ({"covariance_type": "spherical"}, "covariance_type='spherical'"),
    ],
)
def test_damaged_models_are_refused(tmp_path, fitted, attributes, message):
    path = pickled(tmp_path / "bon.gmm", fitted(**attributes))
    with pytest.raises(InputError, match=message) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_diagonal_mixture_is_refused(tmp_path, fitted):
    path = tmp_path / "bon.gmm"
    with pytest.raises(InputError, match="no such file"):
        read_model(path)
    with pytest.raises(InputError, match="covariance_type='full'"):
        read_model(pickled(path, fitted("full")))
    with pytest.raises(InputError, match="never fitted"):
        read_model(pickled(path, GaussianMixture(3, covariance_type="diag")))
    for other in (KMeans(2), {"means_": np.zeros((1, 1))}, [(np.zeros((2, 2)), "spoof")]):
        with pytest.raises(InputError, match=r"bon\.gmm"):
            read_model(pickled(path, other))


@pytest.mark.parametrize(
    ("wrong", "entry"),
    [
        ({"versions": "1.0"}, "versions"),
        ({"inputs": [{"kind": "features", "feature": {"type": None}, "sampling_rate": 8000}]}, "feature.type"),
        ({"inputs": [{"kind": "features", "feature": {"type": ["lfcc"]}, "sampling_rate": 8000}]}, "feature.type"),
        ({"inputs": [{"kind": "features", "feature": {"type": "lfcc"}, "sampling_rate": 2**63}]}, "too large a number"),
        ({"inputs": ["lfcc"]}, "inputs"),
        ({"columns": ["lfcc-bon", 3]}, "columns"),
        ({"options": {"n_components": None}}, "options"),
        ({"training_id": 5}, "training_id"),
        ({"n_frames": 1.5}, "n_frames"),
    ],
)
def test_records_whose_values_have_the_wrong_type_are_refused(tmp_path, fitted, wrong, entry):
    path = pickled(tmp_path / "bon.gmm", fitted(countermeasure_={**RECORD, **wrong}))
    with pytest.raises(InputError, match=re.escape(entry)) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(InputError, match=re.escape(entry)):
        write_model(tmp_path / "new.gmm", make_model(record={**RECORD, **wrong}))
    assert not (tmp_path / "new.gmm").exists()


def test_models_that_no_reader_takes_are_not_written(tmp_path):
    good, wide = make_model(), make_model()
    wide.parameters.variances[1, 1] = 1e20
    write_pair(tmp_path, good, good)
    before = [path.read_bytes() for path in model_files(tmp_path)]
    for pair in ((wide, good), (good, wide)):
        with pytest.raises(InputError, match=r"\.gmm: is not written, since a mean or a variance"):
            write_pair(tmp_path, *pair)
    assert [path.read_bytes() for path in model_files(tmp_path)] == before


# -- pairs -----------------------------------------------------------------------------------------


def labelled(label, training_id="one", **options):
    return make_model(record={"label": label, "training_id": training_id}, **options)


@pytest.mark.parametrize("records", [[{"label": "bonafide"}, {"label": "spoof"}], [{}, {}]])
def test_the_models_of_one_training_are_a_pair(tmp_path, records):
    # Their numbers of components may differ: a class with few rows gets fewer.
    models = [make_model(n_components=n, record=record) for n, record in zip((2, 5), records, strict=True)]
    write_pair(tmp_path, *models)
    assert model_files(str(tmp_path)) == (tmp_path / "bon.gmm", tmp_path / "sp.gmm")
    for read, written in zip(read_pair(*model_files(tmp_path)), models, strict=True):
        assert_same_parameters(read.parameters, written.parameters)


@pytest.mark.parametrize(
    ("bonafide", "spoof", "message"),
    [
        (labelled("bonafide"), labelled("spoof", "two"), "different trainings"),
        (labelled("bonafide"), make_model(record={}), "different trainings"),
        (labelled("spoof"), labelled("bonafide"), "is a model of spoof speech, not of bonafide; swap"),
        (labelled("bonafide"), labelled("bonafide"), "is a model of bonafide speech, not of spoof; swap"),
        (make_model(record={}), make_model(n_dims=3, record={}), "bon.gmm has 2 dimensions and .*sp.gmm 3"),
    ],
)
def test_models_that_do_not_belong_together_are_refused(tmp_path, bonafide, spoof, message):
    write_pair(tmp_path, bonafide, spoof)
    with pytest.raises(InputError, match=message) as caught:
        read_pair(*model_files(tmp_path))
    assert str(tmp_path) in str(caught.value)
