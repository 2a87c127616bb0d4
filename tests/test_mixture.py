import importlib.util

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from countermeasure.gmm.kernel import Kernel
from countermeasure.gmm.mixture import Parameters, Standardisation, Statistics, seeds, update


@pytest.fixture
def frames(rng):
    return np.concatenate([rng.normal(centre, 0.6, size=(700, 5)) for centre in (-1.0, 0.0, 1.2)]).astype(np.float32)


def reference(parameters):
    """Return scikit-learn's mixture with the same parameters."""
    mixture = GaussianMixture(parameters.n_components, covariance_type="diag")
    mixture.weights_, mixture.means_, mixture.covariances_ = (
        parameters.weights,
        parameters.means,
        parameters.variances,
    )
    mixture.precisions_cholesky_ = parameters.variances**-0.5
    return mixture


def kernel(parameters):
    n_dims = parameters.n_dims
    return Kernel(parameters, Standardisation(np.zeros(n_dims), np.ones(n_dims)))


def e_step(frames, parameters):
    return kernel(parameters).accumulate(frames)


def m_step(statistics, parameters, floor=0.0):
    return update(statistics, parameters, floor)


@pytest.mark.parametrize("spread", [1e-3, 1e9])
def test_likelihoods_of_training_hold_for_components_of_any_width(rng, spread):
    """Those of the E-step, in float32; components wider than the data come with a large ``--reg_covar``."""
    frames = rng.normal(size=(3000, 60)).astype(np.float32)
    parameters = seeds(frames, 8, rng)
    parameters = Parameters(parameters.weights, parameters.means, np.full_like(parameters.variances, spread))
    found = e_step(frames, parameters).log_likelihood / len(frames)
    assert found == pytest.approx(reference(parameters).score(frames), rel=1e-6, abs=1e-4)


def test_the_log_likelihood_never_falls_without_a_floor(frames, rng):
    parameters = seeds(frames, 16, rng)
    values = []
    for _ in range(40):
        statistics = e_step(frames, parameters)
        values.append(statistics.log_likelihood / len(frames))
        parameters = m_step(statistics, parameters)
    assert (np.diff(values) > -1e-6).all()
    assert values[-1] > values[0] + 0.01


def test_statistics_add_up_over_any_division(frames, rng):
    parameters = seeds(frames, 16, rng)
    whole = e_step(frames, parameters)
    parts = Statistics.zero(16, 5)
    for part in np.split(frames, [1, 5, 1024, 1500]):
        parts = parts + e_step(part, parameters)
    np.testing.assert_allclose(parts.sums, whole.sums, rtol=1e-5, atol=1e-4)
    assert parts.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-7)
    assert parts.n_frames == whole.n_frames


def test_statistics_of_other_shapes_do_not_add_up():
    with pytest.raises(ValueError, match="do not add up"):
        Statistics.zero(3, 5) + Statistics.zero(4, 5)


def test_a_component_without_frames_stays_where_it_is_and_is_never_nan(frames):
    start = Parameters(np.array([0.5, 0.5]), np.array([np.zeros(5), np.full(5, 1e3)]), np.ones((2, 5)))
    result = m_step(e_step(frames, start), start)
    np.testing.assert_array_equal(result.means[1], start.means[1])
    np.testing.assert_array_equal(result.variances[1], start.variances[1])
    assert result.weights[1] < 1e-9
    again = e_step(frames, result)
    assert np.isfinite(again.sums).all()
    assert np.isfinite(again.log_likelihood)


def test_a_component_moves_for_a_tenth_of_a_frame():
    shares, x = np.array([0.05, 0.15, 0.8]), 2.0
    start = Parameters(np.ones(3) / 3, np.zeros((3, 1)), np.ones((3, 1)))
    result = m_step(Statistics(np.outer([x**2, x, 1], shares), 0.0, 1), start, floor=0.5)
    np.testing.assert_allclose(result.means, [[0], [2], [2]])
    np.testing.assert_allclose(result.variances, [[1], [0.5], [0.5]])
    np.testing.assert_allclose(result.weights, shares)


def test_the_floor_holds_variances_up(rng):
    frames = np.repeat(rng.normal(size=(4, 3)), 100, axis=0).astype(np.float32)
    parameters = seeds(frames, 4, rng)
    for _ in range(30):
        parameters = m_step(e_step(frames, parameters), parameters, floor=1e-2)
    assert parameters.variances.min() == pytest.approx(1e-2)


@pytest.mark.parametrize("spread", [0.3, 10.0])
def test_frames_that_the_mixture_does_not_expect_count_as_scikit_learn_has_them(rng, spread):
    """Likelihoods far below and far above the mixture's own reach beyond what float32 holds unshifted."""
    parameters = seeds(rng.normal(size=(500, 24)), 32, rng)
    usual = rng.normal(size=(100, 24))
    unusual = np.concatenate([spread * rng.normal(size=(50, 24)), parameters.means + 1e-3])
    frames = np.concatenate([usual, unusual]).astype(np.float32)
    peer = reference(parameters)
    expected = peer.score_samples(frames)
    np.testing.assert_allclose(kernel(parameters).log_likelihoods(frames), expected, rtol=1e-6, atol=1e-4)
    statistics = e_step(frames, parameters)
    assert statistics.log_likelihood == pytest.approx(expected.sum(), rel=1e-6)
    x, shares = frames.astype(np.float64), peer.predict_proba(frames)
    np.testing.assert_allclose(
        statistics.sums, np.hstack([x**2, x, np.ones((len(x), 1))]).T @ shares, rtol=1e-4, atol=1e-3
    )


def test_mixtures_of_digital_silence_are_evaluated_as_scikit_learn_does(rng):
    """Frames of zeros are all alike: scikit-learn's `reg_covar` of 1e-6 is the whole variance of their component."""
    silences = np.repeat(rng.normal(size=(5, 24)) * 300, 80, axis=0)
    frames = np.concatenate([rng.normal(size=(600, 24)) * 50, silences])
    peer = GaussianMixture(16, covariance_type="diag", random_state=0).fit(frames)
    found = Kernel.of_raw(Parameters(peer.weights_, peer.means_, peer.covariances_)).log_likelihoods(frames)
    np.testing.assert_allclose(found, peer.score_samples(frames), rtol=0, atol=1e-3)


@pytest.mark.parametrize("versions", [{"exp": "X4", "exp2": "X4"}, {"exp": "X4", "exp2": "baseline"}, {}], ids=str)
def test_either_exponential_is_right_and_the_faster_one_is_taken(rng, monkeypatch, versions):
    introspect = pytest.importorskip("numpy.lib.introspect", reason="NumPy 1 has one exponential")
    known = {name: {"ff": {"current": version}} for name, version in versions.items()}
    monkeypatch.setattr(introspect, "opt_func_info", lambda **_: known)
    used = set()
    for name in ("exp", "exp2"):
        function = getattr(np, name)
        monkeypatch.setattr(np, name, lambda *a, name=name, f=function, **k: used.add(name) or f(*a, **k))
    spec = importlib.util.find_spec("countermeasure.gmm.kernel")
    other = importlib.util.module_from_spec(spec)  # the module as it is on another processor
    spec.loader.exec_module(other)
    parameters, frames = seeds(rng.normal(size=(500, 24)), 4, rng), rng.normal(size=(100, 24))
    found = other.Kernel.of_raw(parameters).accumulate(frames).log_likelihood
    assert used == {"exp2" if versions.get("exp2") == "X4" else "exp"}
    assert found == pytest.approx(reference(parameters).score_samples(frames).sum(), rel=1e-6)


def test_seeds_are_frames_far_from_each_other(rng):
    clusters = rng.normal(size=(8, 4)) * 100
    frames = (clusters[:, None] + 0.3 * rng.normal(size=(8, 50, 4))).reshape(-1, 4)
    start = seeds(frames, 8, rng)
    nearest = np.linalg.norm(start.means[:, None] - clusters, axis=2).argmin(axis=1)
    assert sorted(nearest) == list(range(8))
    squares = ((frames[:, None] - start.means) ** 2).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(start.variances, squares.mean() / 4, rtol=1e-6)
    np.testing.assert_allclose(start.weights, 1 / 8)


def test_seeds_of_fewer_different_frames_than_components(rng):
    parameters = seeds(np.zeros((5, 3)), 4, rng)
    assert np.isfinite(parameters.means).all()
    assert (parameters.variances > 0).all()


def test_rounding_moves_no_mean_by_more_than_a_hundredth_of_the_scale():
    mean = np.array([0.0, 1e8 + 3])  # float32 has 1e8 and 1e8 + 8
    for scale, dtype in ((200.0, np.float64), (400.0, np.float32)):
        standard = Standardisation(mean, np.array([1.0, scale]))
        assert standard.mean.dtype == dtype
        assert standard.apply(mean).tolist() == [0, 0] if dtype == np.float64 else [0, np.float32(3 / 400)]


@pytest.fixture
def far_off(rng):
    """A mixture of frames whose means dwarf their deviations, and some of its frames."""
    mean, scale = rng.normal(size=4) * 100, rng.uniform(1e-2, 1e2, size=4)
    parameters = Parameters(np.ones(3) / 3, rng.normal(size=(3, 4)), rng.uniform(0.5, 2, size=(3, 4)))
    frames = rng.normal(size=(2500, 4)) * scale + mean
    return Standardisation(mean, scale), parameters, frames


def test_standardisation_goes_there_and_back(far_off):
    standard, parameters, _ = far_off
    back = standard.forward(standard.backward(parameters))
    np.testing.assert_allclose(back.means, parameters.means, atol=1e-9)
    np.testing.assert_allclose(back.variances, parameters.variances)


def test_the_standardisation_of_a_mixture_has_its_mean_and_deviation(far_off):
    """The mixture has equal weights: its mean is that of the means, its variance that within plus that between."""
    standard, parameters, _ = far_off
    raw = standard.backward(parameters)
    found = Standardisation.of_mixture(raw)
    np.testing.assert_allclose(found.mean, raw.means.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.scale, np.sqrt(raw.variances.mean(axis=0) + raw.means.var(axis=0)), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_raw_frames_are_evaluated_as_scikit_learn_does(far_off, dtype):
    standard, parameters, frames = far_off
    raw = standard.backward(parameters)
    frames = frames.astype(dtype)
    expected = reference(raw).score_samples(frames.astype(np.float64))
    for kernel in (Kernel(parameters, standard), Kernel.of_raw(raw)):
        np.testing.assert_allclose(kernel.log_likelihoods(frames), expected, atol=5e-5)
        assert kernel.accumulate(frames).log_likelihood == pytest.approx(expected.sum(), rel=1e-6)
