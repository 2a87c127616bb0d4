"""Calibration of scores: `tDCF_python.calibration`."""

import numpy as np
import pytest

from countermeasure.errors import InputError
from tDCF_python import calibration, metrics


def classes(seed, n_bonafide=150, n_spoof=400):
    """Scores of two classes that overlap, with ties."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(1, 1, n_bonafide), 1), np.round(rng.normal(-1, 2, n_spoof), 1)


def test_pav_by_hand():
    """Spoof -1, bona fide 0, spoof 1, bona fide 2 and 3: 0 and 1 are one pool, a third and a half of the classes."""
    found = calibration.pav([0, 2, 3], [1, -1])
    np.testing.assert_array_equal(found.scores, [-1, 0, 1, 2, 3])
    np.testing.assert_allclose(found.llrs, [-np.inf, np.log(2 / 3), np.log(2 / 3), np.inf, np.inf])
    # One bona fide trial of three at odds 2/3, one spoof of two; the others cost nothing.
    assert found.cllr == pytest.approx((np.log2(1 + 3 / 2) / 3 + np.log2(1 + 2 / 3) / 2) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_pav_keeps_what_scores_tell_and_costs_least(seed):
    bonafide, spoof = classes(seed)
    found = calibration.pav(bonafide, spoof)
    assert (np.diff(found.llrs[np.isfinite(found.llrs)]) >= 0).all()
    assert calibration.pav(np.exp(bonafide), np.exp(spoof)).cllr == pytest.approx(found.cllr)  # any rising map of them
    for scale in (0.5, 1, 2):
        for shift in (-1, 0, 1):
            assert metrics.cllr(scale * bonafide + shift, scale * spoof + shift) > found.cllr
    mapped = [np.clip(np.interp(of_class, found.scores, found.llrs), -50, 50) for of_class in (bonafide, spoof)]
    assert metrics.cllr(*mapped) == pytest.approx(found.cllr)


@pytest.mark.parametrize("seed", range(3))
def test_bayes_errors_are_what_they_say(seed):
    bonafide, spoof = classes(seed, 40, 90)
    priors = np.array([0.95 / (0.95 + 0.5), 0.01, 0.2, 0.5, 0.97])  # the first is that of the DCF
    actual, least = calibration.pav(bonafide, spoof).bayes_errors(np.log(priors / (1 - priors)))
    assert actual[0] == pytest.approx(metrics.actual_dcf(bonafide, spoof))
    assert least[0] == pytest.approx(metrics.min_cost(metrics.det_curve(bonafide, spoof), metrics.dcf()).value)
    for k, prior in enumerate(priors):

        def error(threshold, prior=prior):
            errors = prior * np.mean(bonafide <= threshold) + (1 - prior) * np.mean(spoof > threshold)
            return errors / min(prior, 1 - prior)

        assert actual[k] == pytest.approx(error(np.log((1 - prior) / prior)))
        assert least[k] == pytest.approx(min(map(error, [-np.inf, *bonafide, *spoof])))


@pytest.mark.parametrize(
    ("bonafide", "spoof", "expected"),
    [([1, 2], [-1, 0], 0), ([-1, 0], [1, 2], 1), ([3, 3], [3, 3, 3], 1), ([1e300], [-1e300], 0)],
)
def test_extremes(bonafide, spoof, expected):
    found = calibration.pav(bonafide, spoof)
    assert found.cllr == pytest.approx(expected)
    actual, least = found.bayes_errors([-700, -1, 0, 1, 700])
    np.testing.assert_allclose(least, expected)
    assert np.isfinite(actual).all()


def test_a_class_must_not_be_empty():
    with pytest.raises(InputError, match="no spoof score"):
        calibration.pav([1.0], [])
