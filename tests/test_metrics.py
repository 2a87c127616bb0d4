import math

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.metrics import roc_curve

from countermeasure.errors import InputError
from countermeasure.evaluation import asv
from countermeasure.trials.score_files import read_asv_scores, read_cm_scores
from tDCF_python import metrics
from tDCF_python.evaluation import evaluate

RATES = metrics.AsvRates(eer=0.03, threshold=0.0, p_miss=0.02, p_fa=0.04, p_miss_spoof=0.3)
# The published rates of the ASV system of ASVspoof 2019 LA, in percent.
PUBLISHED = {"eer": 2.457784, "p_fa": 2.460467, "p_miss": 2.458101, "p_miss_spoof": 23.934755}


def literal_points(bonafide, spoof):
    """The rule as it is written down, one rejected score after another."""
    scores = sorted([(s, 0) for s in bonafide] + [(s, 1) for s in spoof])
    points = [(scores[0][0] - 0.001, 0.0, 1.0)]
    for k in range(1, len(scores) + 1):
        rejected = [kind for _, kind in scores[:k]]
        misses, caught = rejected.count(0), rejected.count(1)
        points.append((scores[k - 1][0], misses / len(bonafide), 1 - caught / len(spoof)))
    return points


@pytest.mark.parametrize("ties", [False, True])
def test_curve_eer_and_minimum_follow_the_rule(ties):
    rng, cost = np.random.default_rng(1), metrics.tdcf(RATES, legacy=False)
    for _ in range(40):
        bonafide, spoof = rng.normal(1, 1, rng.integers(1, 30)), rng.normal(0, 1, rng.integers(1, 30))
        if ties:
            bonafide, spoof = bonafide.round(), spoof.round()
        points = literal_points(bonafide, spoof)
        curve = metrics.det_curve(bonafide, spoof)
        np.testing.assert_allclose(np.column_stack([curve.thresholds, curve.p_miss, curve.p_fa]), points, atol=1e-12)
        gap = min(abs(miss - fa) for _, miss, fa in points)
        at = next(k for k, (_, miss, fa) in enumerate(points) if abs(miss - fa) < gap + 1e-9)
        value, threshold = metrics.eer(bonafide, spoof)
        assert (value, threshold) == (pytest.approx((points[at][1] + points[at][2]) / 2), points[at][0])
        found = metrics.min_cost(curve, cost)
        assert found.value == pytest.approx(min(cost(miss, fa) for _, miss, fa in points))
        assert found.value == cost(found.p_miss, found.p_fa)
        assert any((found.threshold, found.p_miss, found.p_fa) == pytest.approx(point) for point in points)


def test_curve_goes_through_the_points_of_scikit_learn():
    rng = np.random.default_rng(2)
    bonafide, spoof = rng.normal(1, 1, 300), rng.normal(0, 1, 500)
    truth, scores = np.r_[np.ones(300), np.zeros(500)], np.r_[bonafide, spoof]
    p_fa, p_hit, _ = roc_curve(truth, scores, drop_intermediate=False)
    curve = metrics.det_curve(bonafide, spoof)
    np.testing.assert_allclose(curve.p_fa[::-1], p_fa, atol=1e-12)
    np.testing.assert_allclose(1 - curve.p_miss[::-1], p_hit, atol=1e-12)


@pytest.mark.parametrize(
    ("bonafide", "spoof", "expected", "threshold"),
    [
        ([2, 3], [0, 1], 0.0, 1.0),  # perfect separation
        ([0, 1], [2, 3], 1.0, 1.0),  # turned round
        ([1], [1], 1.0, 1.0),  # ties count against the detector
        ([5, 5, 5], [5, 5], 1.0, 5.0),  # all equal
        ([1, 3], [2], 0.75, 1.0),  # three trials: after 1 rejected (1/2, 1), after 2 (1/2, 0); first of equal gaps
        ([0, 2, 4, 6], [-1, 1, 3, -2], 0.25, 1.0),  # after -2, -1, 0: P_miss 1/4, P_fa 2/4; after 1: 1/4, 1/4
    ],
)
def test_eer_by_hand(bonafide, spoof, expected, threshold):
    assert metrics.eer(bonafide, spoof) == (expected, threshold)


@pytest.mark.parametrize(
    ("bonafide", "spoof", "message"),
    [
        ([], [1.0], "no bona fide score"),
        ([1.0], [], "no spoof score"),
        ([1.0], [np.inf], "1 spoof scores are not finite"),
        ([np.nan, 1.0], [0.0], "1 bona fide scores are not finite"),
        ([[1.0]], [0.0], "must be a vector"),
    ],
)
@pytest.mark.parametrize("function", [metrics.eer, metrics.actual_dcf, metrics.cllr])
def test_scores_without_meaning_are_refused(function, bonafide, spoof, message):
    with pytest.raises(InputError, match=message):
        function(bonafide, spoof)


def test_asv_rates_by_hand():
    # Targets 1 3 5 7, nontargets 0 2 4 -1. Rejecting -1 0 1 2 leaves 1/4 of each wrong: threshold 2.
    # Recounted there: targets below 2: one of four; nontargets at or above 2: two of four.
    rates = metrics.asv_rates([1, 3, 5, 7], [0, 2, 4, -1], [1.9, 2.0, 8.0])
    assert rates == metrics.AsvRates(eer=0.25, threshold=2.0, p_miss=0.25, p_fa=0.5, p_miss_spoof=1 / 3)
    # A target at the threshold is rejected before the nontarget there, and accepted when recounted.
    rates = metrics.asv_rates([1, 2, 5, 7], [0, 2, 4, -1], [1.9, 2.0, 8.0])
    assert rates == metrics.AsvRates(eer=0.5, threshold=2.0, p_miss=0.25, p_fa=0.5, p_miss_spoof=1 / 3)


def test_tdcf_weights_by_hand():
    # P_tar 0.9405, P_non 0.0095, P_spoof 0.05.
    c1 = 0.9405 * (1 - 0.02) - 0.0095 * 10 * 0.04
    c2 = 10 * 0.05 * 0.7
    c0 = 0.9405 * 0.02 + 0.0095 * 10 * 0.04
    assert (c1, c2, c0) == pytest.approx((0.91789, 0.35, 0.02261))
    legacy, revisited = metrics.tdcf(RATES, legacy=True), metrics.tdcf(RATES, legacy=False)
    assert legacy(0.1, 0.2) == pytest.approx((c1 * 0.1 + c2 * 0.2) / c2)
    assert revisited(0.1, 0.2) == pytest.approx((c0 + c1 * 0.1 + c2 * 0.2) / (c0 + c2))
    # A countermeasure that accepts or rejects everything costs 1, whichever is cheaper.
    for cost in (legacy, revisited):
        assert min(cost(1.0, 0.0), cost(0.0, 1.0)) == pytest.approx(1)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("rates", [(1.0, 0.0, 0.1), (0.0, 0.0, 1.0)])
def test_tdcf_of_a_useless_asv_system_is_refused(legacy, rates):
    with pytest.raises(InputError, match="t-DCF is undefined"):
        metrics.tdcf(metrics.AsvRates(0.5, 0.0, *rates), legacy)


def test_dcf_by_hand():
    # 0.95 · P_miss + 0.5 · P_fa, divided by 0.5.
    assert metrics.dcf()(0.1, 0.2) == pytest.approx(1.9 * 0.1 + 0.2)
    assert metrics.bayes_threshold() == pytest.approx(-math.log(1.9))
    # What scores at the threshold is rejected.
    at = metrics.bayes_threshold()
    assert metrics.actual_dcf([at, 1], [at, -1]) == pytest.approx(1.9 / 2)
    # Threshold -0.642: bona fide -1 is missed (1 of 2), spoof 0 is accepted (1 of 4).
    assert metrics.actual_dcf([-1, 3], [0, -2, -3, -4]) == pytest.approx(1.9 / 2 + 1 / 4)
    # Least at the threshold -2, after which only the spoof 0 passes: 1/4.
    assert metrics.min_cost(metrics.det_curve([-1, 3], [0, -2, -3, -4]), metrics.dcf()).value == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("n_trials", "text"), [((7355, 63882), "9.572 %"), ((100, 216), "9.57 %"), ((24, 56), "9.6 %"), ((3, 1), "9.6 %")]
)
def test_rates_have_the_decimals_that_the_smaller_class_supports(n_trials, text):
    assert metrics.percent(0.0957203, *n_trials) == metrics.percent(0.0957203, *n_trials[::-1]) == text


def test_cllr():
    assert metrics.cllr([0, 0], [0]) == pytest.approx(1)  # LLR 0 says nothing: one bit
    rng = np.random.default_rng(3)
    bonafide, spoof = rng.normal(2, 3, 20), rng.normal(-2, 3, 30)
    expected = (np.mean([logsumexp([0, -s]) for s in bonafide]) + np.mean([logsumexp([0, s]) for s in spoof])) / (
        2 * np.log(2)
    )
    assert metrics.cllr(bonafide, spoof) == pytest.approx(expected)
    assert metrics.cllr([1e5], [-1e5]) == 0
    assert np.isfinite(metrics.cllr([-1e5], [1e5]))


def test_a_curve_of_some_trials_is_that_of_these_alone():
    rng = np.random.default_rng(4)
    bonafide, spoof = rng.normal(1, 1, 20), rng.normal(0, 1, 30)
    counted = rng.random(50) < 0.6
    ranked = metrics.ranking(bonafide, spoof)
    of_some = ranked.curve(counted[ranked.order])
    alone = metrics.det_curve(bonafide[counted[:20]], spoof[counted[20:]])
    points = (set(zip(curve.p_miss, curve.p_fa, strict=True)) for curve in (of_some, alone))
    assert next(points) == next(points)
    assert metrics.eer_point(of_some).value == metrics.eer_point(alone).value


def test_evaluation_is_that_of_the_single_functions():
    rng = np.random.default_rng(5)
    bonafide, spoof = rng.normal(1, 1, 50), rng.normal(-1, 1, 70)
    found = evaluate(bonafide, spoof, RATES)
    assert (found.eer.value, found.eer.threshold) == metrics.eer(bonafide, spoof)
    assert (found.actual_dcf, found.cllr) == (metrics.actual_dcf(bonafide, spoof), metrics.cllr(bonafide, spoof))
    assert found.min_dcf == metrics.min_cost(metrics.det_curve(bonafide, spoof), metrics.dcf())
    for legacy, point in ((True, found.min_tdcf_2019), (False, found.min_tdcf_revisited)):
        assert (point.value, point.threshold) == metrics.min_tdcf(bonafide, spoof, RATES, legacy)
    assert metrics.min_tdcf(bonafide, spoof, RATES) == metrics.min_tdcf(bonafide, spoof, RATES, legacy=True)
    without = evaluate(bonafide, spoof)
    assert (without.min_tdcf_2019, without.min_tdcf_revisited) == (None, None)


def test_official_figures(shared_data):
    la = shared_data / "asvspoof2019"
    cm = read_cm_scores(la / "B01_LA_primary_eval.txt")
    system = asv.from_scores(read_asv_scores(la / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"))
    assert {name: round(100 * getattr(system.rates, name), 6) for name in PUBLISHED} == PUBLISHED
    assert round(system.rates.threshold, 6) == -5.680051
    found = evaluate(cm.scores[cm.bonafide], cm.scores[~cm.bonafide], system.rates)
    assert round(100 * found.eer.value, 5) == 9.57203
    assert (round(found.min_tdcf_2019.value, 6), round(found.min_tdcf_revisited.value, 6)) == (0.235936, 0.283868)
    # The rates that need no file are those of the file.
    assert asv.LA_EVAL.rates == pytest.approx(system.rates, rel=1e-12)
    assert asv.LA_EVAL.attack_p_miss == pytest.approx(system.attack_p_miss)


def test_built_in_rates_are_the_published_ones():
    assert {name: round(100 * getattr(asv.LA_EVAL.rates, name), 6) for name in PUBLISHED} == PUBLISHED
