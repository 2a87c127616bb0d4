import math
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.metrics import roc_curve

from countermeasure.errors import InputError
from countermeasure.evaluation import asv
from countermeasure.trials.score_files import read_asv_scores, read_cm_scores
from tDCF_python import metrics
from tDCF_python.evaluation import evaluate

LA = Path(__file__).parents[2] / "shared" / "data" / "asvspoof2019"
CM_FILE, ASV_FILE = LA / "B01_LA_primary_eval.txt", LA / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
RATES = metrics.AsvRates(eer=0.03, threshold=0.0, p_miss=0.02, p_fa=0.04, p_miss_spoof=0.3)


def literal_points(bonafide, spoof):
    """The rule as it is written down, one rejected score after another."""
    scores = sorted([(s, 0) for s in bonafide] + [(s, 1) for s in spoof])
    points = [(scores[0][0] - 0.001, 0.0, 1.0)]
    for k in range(1, len(scores) + 1):
        rejected = [kind for _, kind in scores[:k]]
        misses, caught = rejected.count(0), rejected.count(1)
        points.append((scores[k - 1][0], misses / len(bonafide), 1 - caught / len(spoof)))
    return points


def random_sets(ties):
    rng = np.random.default_rng(1)
    for _ in range(40):
        bonafide = rng.normal(1, 1, rng.integers(1, 30))
        spoof = rng.normal(0, 1, rng.integers(1, 30))
        yield (bonafide.round(), spoof.round()) if ties else (bonafide, spoof)


@pytest.mark.parametrize("ties", [False, True])
def test_curve_follows_the_rule(ties):
    for bonafide, spoof in random_sets(ties):
        curve = metrics.det_curve(bonafide, spoof)
        expected = np.array(literal_points(bonafide, spoof))
        np.testing.assert_allclose(np.column_stack([curve.thresholds, curve.p_miss, curve.p_fa]), expected, atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_eer_and_minimum_follow_the_rule(ties):
    cost = metrics.tdcf(RATES, legacy=False)
    for bonafide, spoof in random_sets(ties):
        points = literal_points(bonafide, spoof)
        gap = min(abs(miss - fa) for _, miss, fa in points)
        at = next(k for k, (_, miss, fa) in enumerate(points) if abs(miss - fa) < gap + 1e-9)
        value, threshold = metrics.eer(bonafide, spoof)
        assert value == pytest.approx((points[at][1] + points[at][2]) / 2)
        assert threshold == points[at][0]
        curve = metrics.det_curve(bonafide, spoof)
        assert metrics.min_cost(curve, cost).value == pytest.approx(min(cost(m, f) for _, m, f in points))


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


def test_threshold_before_the_first_score():
    assert metrics.det_curve([2.0], [1.0]).thresholds.tolist() == [0.999, 1.0, 2.0]


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
@pytest.mark.parametrize("function", [metrics.eer, metrics.det_curve, metrics.actual_dcf, metrics.cllr])
def test_scores_without_meaning_are_refused(function, bonafide, spoof, message):
    with pytest.raises(InputError, match=message):
        function(bonafide, spoof)


def test_asv_rates_by_hand():
    # Targets 1 3 5 7, nontargets 0 2 4 -1. Rejecting -1 0 1 2 leaves 1/4 of each wrong: threshold 2.
    # Recounted there: targets below 2: one of four; nontargets at or above 2: two of four.
    rates = metrics.asv_rates([1, 3, 5, 7], [0, 2, 4, -1], [1.9, 2.0, 8.0])
    assert rates == metrics.AsvRates(eer=0.25, threshold=2.0, p_miss=0.25, p_fa=0.5, p_miss_spoof=1 / 3)


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
    with pytest.raises(InputError, match="t-DCF has no meaning"):
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


def test_results_do_not_change():
    curve = metrics.det_curve([2.0], [1.0])
    cost = metrics.dcf()
    for value in (metrics.COSTS, RATES, curve, metrics.ranking([2.0], [1.0]), cost, metrics.min_cost(curve, cost)):
        with pytest.raises(FrozenInstanceError):
            setattr(value, fields(value)[0].name, None)


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


def test_weights_stand_for_copies():
    rng = np.random.default_rng(4)
    bonafide, spoof = rng.normal(1, 1, 20), rng.normal(0, 1, 30)
    times = rng.integers(0, 4, 50)
    ranked = metrics.ranking(bonafide, spoof)
    weighted = ranked.curve(times[ranked.order])
    copies = metrics.det_curve(np.repeat(bonafide, times[:20]), np.repeat(spoof, times[20:]))
    points = set(zip(copies.p_miss, copies.p_fa, strict=True))
    assert set(zip(weighted.p_miss, weighted.p_fa, strict=True)) <= points
    # A linear cost is least where a run of copies ends, so nothing is lost between them.
    cost = metrics.tdcf(RATES, legacy=False)
    assert metrics.min_cost(weighted, cost).value == pytest.approx(metrics.min_cost(copies, cost).value)
    assert metrics.eer_point(weighted).value == pytest.approx(metrics.eer_point(copies).value, abs=3 / 20)


def test_evaluation_is_that_of_the_single_functions():
    rng = np.random.default_rng(5)
    bonafide, spoof = rng.normal(1, 1, 50), rng.normal(-1, 1, 70)
    found = evaluate(bonafide, spoof, RATES)
    assert (found.n_bonafide, found.n_spoof) == (50, 70)
    assert (found.eer.value, found.eer.threshold) == metrics.eer(bonafide, spoof)
    assert found.actual_dcf == metrics.actual_dcf(bonafide, spoof)
    assert found.actual_dcf >= found.min_dcf.value
    assert found.min_tdcf(legacy=True) is found.min_tdcf_2019
    assert found.min_tdcf(legacy=False) is found.min_tdcf_revisited
    without = evaluate(bonafide, spoof)
    assert without.min_tdcf_2019 is None
    assert without.min_tdcf_revisited is None


def test_turning_scores_round_mirrors_the_eer():
    rng = np.random.default_rng(6)
    bonafide, spoof = rng.normal(1, 1, 100), rng.normal(0, 1, 100)
    assert metrics.eer(-bonafide, -spoof)[0] == pytest.approx(1 - metrics.eer(bonafide, spoof)[0])


@pytest.mark.skipif(not CM_FILE.exists(), reason="the ASVspoof 2019 LA score files are not on this machine")
def test_official_figures():
    cm = read_cm_scores(CM_FILE)
    system = asv.from_scores(read_asv_scores(ASV_FILE))
    assert round(100 * system.rates.eer, 6) == 2.457784
    assert round(system.rates.threshold, 6) == -5.680051
    assert round(100 * system.rates.p_fa, 6) == 2.460467
    assert round(100 * system.rates.p_miss, 6) == 2.458101
    assert round(100 * system.rates.p_miss_spoof, 6) == 23.934755
    curve = metrics.det_curve(cm.scores[cm.bonafide], cm.scores[~cm.bonafide])
    assert round(100 * metrics.eer_point(curve).value, 5) == 9.57203
    assert round(metrics.min_cost(curve, metrics.tdcf(system.rates, legacy=True)).value, 6) == 0.235936
    assert round(metrics.min_cost(curve, metrics.tdcf(system.rates, legacy=False)).value, 6) == 0.283868


@pytest.mark.skipif(not ASV_FILE.exists(), reason="the ASVspoof 2019 LA score files are not on this machine")
def test_built_in_rates_are_those_of_the_file():
    from_file = asv.from_scores(read_asv_scores(ASV_FILE))
    for name in ("eer", "threshold", "p_miss", "p_fa", "p_miss_spoof"):
        assert getattr(asv.LA_EVAL.rates, name) == pytest.approx(getattr(from_file.rates, name), rel=1e-12)
    assert asv.LA_EVAL.attack_p_miss == pytest.approx(from_file.attack_p_miss)


def test_built_in_rates_are_the_published_ones():
    rates = asv.LA_EVAL.rates
    shown = [round(100 * rate, 6) for rate in (rates.eer, rates.p_fa, rates.p_miss, rates.p_miss_spoof)]
    assert shown == [2.457784, 2.460467, 2.458101, 23.934755]
