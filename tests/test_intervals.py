"""Intervals and paired comparisons on simulated speakers, where the truth is known."""

import numpy as np
import pytest
from scipy.stats import beta, norm, t, ttest_rel

from countermeasure.errors import InputError
from tDCF_python import intervals, metrics
from tDCF_python.evaluation import EER
from tDCF_python.intervals import Interval, Units, compare, holm, influences, interval
from tDCF_python.metrics import LinearCost

COSTS = {"min": metrics.dcf()}


def corpus(rng, n_speakers=10, n_bonafide=30, n_spoof=90, shift=3.29, shared=0.3):
    """Return scores, labels and speakers; speakers differ by a share of each class's variance of 1."""
    codes = np.tile(np.arange(n_speakers), n_bonafide + n_spoof)
    bonafide = np.arange(len(codes)) < n_speakers * n_bonafide
    voice = np.where(bonafide, rng.normal(size=n_speakers)[codes], rng.normal(size=n_speakers)[codes])
    own = rng.normal(size=len(codes))
    return shift * bonafide + np.sqrt(shared) * voice + np.sqrt(1 - shared) * own, bonafide, codes


def truth(shift):
    """Return the EER and the minimum of `COSTS` for all speakers: two normal densities, `shift` apart."""
    threshold = np.linspace(-6, shift + 6, 10_001)
    return norm.cdf(-shift / 2), COSTS["min"](norm.cdf(threshold - shift), norm.sf(threshold)).min()


@pytest.mark.parametrize("shift", [3.29, 1.683], ids=["5 % EER", "20 % EER"])
def test_intervals_over_speakers_cover_the_truth(shift):
    """At least 90 of 100; percentiles of a bootstrap over 10 speakers cover about 80, for a minimum 73."""
    rng = np.random.default_rng(10)
    covered = np.zeros(2)
    for _ in range(100):
        scores, bonafide, codes = corpus(rng, shift=shift)
        found = influences(scores, bonafide, Units("speakers", codes), COSTS)
        for k, (name, true) in enumerate(zip((EER, "min"), truth(shift), strict=True)):
            its = interval(found[name])
            covered[k] += its.low <= true <= its.high
    assert (covered >= 90).all(), covered


def test_a_minimum_is_corrected_for_being_found_on_the_same_trials():
    rng = np.random.default_rng(0)
    _, true = truth(1.683)
    found = []
    for _ in range(100):
        scores, bonafide, _ = corpus(rng, 50, 1, 3, 1.683, 0.0)
        found.append(influences(scores, bonafide, Units("trials", np.arange(200)), COSTS)["min"])
    bias, corrected = (np.mean([getattr(one, name) for one in found]) - true for name in ("value", "corrected"))
    assert bias < -0.02
    assert abs(corrected) < abs(bias) / 2


@pytest.mark.parametrize("over", ["speakers", "trials"])
def test_a_minimum_is_corrected_by_what_thresholds_of_the_other_folds_cost(over):
    """Each of 10 speakers is a fold; of 20 single trials a class, the k-th of both by their units are."""
    scores, bonafide, codes = corpus(np.random.default_rng(0), 10, 2, 2, 1.5)
    folds = codes if over == "speakers" else np.tile(np.arange(20), 2)
    units = Units(over, codes if over == "speakers" else np.arange(40))
    errors = np.zeros(40)
    for fold in range(20):
        others = folds != fold
        curve = metrics.det_curve(scores[others & bonafide], scores[others & ~bonafide])
        is_accepted = scores > metrics.min_cost(curve, COSTS["min"]).threshold
        errors[~others] = (is_accepted != bonafide)[~others]
    found = influences(scores, bonafide, units, COSTS)["min"]
    by_others = COSTS["min"](errors[bonafide].mean(), errors[~bonafide].mean())
    assert found.corrected == pytest.approx((found.value + by_others) / 2)


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(("ranking", "weight"), [("SSSSSSBSSBSBBBSBBBBB", 3 / 7), ("SSSSBSBBBB", 1 / 2)])
def test_units_add_to_the_eer_by_the_densities_at_its_threshold(ranking, weight, times):
    """Between the points where either rate is half the EER, 20 %, lie 4 of 10 bona fide scores and 3 of 10 spoofs."""
    bonafide = np.array([kind == "B" for kind in ranking for _ in range(times)])
    n = np.count_nonzero(bonafide)
    found = influences(np.arange(2.0 * n), bonafide, Units("trials", np.arange(2 * n)), {})[EER]
    wrong = bonafide == (np.arange(2 * n) < n)  # at the EER as many are rejected as are bona fide
    assert found.value == 0.2
    assert found.own == pytest.approx(np.where(bonafide, weight, 1 - weight) * (wrong - 0.2) / n)


def test_a_share_of_independent_trials_has_clopper_and_pearsons_interval():
    """60 of 1000 bona fide scores lie below all spoofs but one; no other threshold is cheaper than that above these."""
    scores = np.r_[np.full(60, -2.0), np.full(940, 2.0), np.full(1000, -1.0)] + np.arange(2000) * 1e-9
    bonafide = np.arange(2000) < 1000
    expected = beta.ppf(0.025, 60, 941), beta.ppf(0.975, 61, 940)
    for floor in (0, 0.25):  # which the best scores cost, too
        cost = LinearCost(floor, 1 - floor, 1 - floor)
        found = interval(influences(scores, bonafide, Units("trials", np.arange(2000)), {"cost": cost})["cost"])
        assert [(end - floor) / (1 - floor) for end in (found.low, found.high)] == pytest.approx(expected, rel=0.01)


def test_speakers_that_differ_widen_the_interval():
    same, different = (corpus(np.random.default_rng(3), shared=shared) for shared in (0.0, 0.5))
    widths = []
    for scores, bonafide, codes in (same, different):
        for units in (Units("speakers", codes), Units("trials", np.arange(len(codes)))):
            found = interval(influences(scores, bonafide, units, {})[EER])
            widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(widths[1], rel=0.5)
    assert widths[2] > 2 * widths[3]


@pytest.mark.parametrize(("over", "n_units"), [("speakers", 10), ("trials", 20)])
def test_no_error_is_no_certain_zero(over, n_units):
    """0 of n trials leave 1 − 0.025 ** (1 / n) open above, n of n below; an error that costs more counts as several."""
    scores = np.r_[np.linspace(1, 2, 20), np.linspace(-2, -1, 20)]
    codes = np.arange(40) % 10 if over == "speakers" else np.arange(40)
    costs = {**COSTS, "false alarms": LinearCost(0.5, 0.5, 2.0)}
    right, turned = (influences(sign * scores, scores > 0, Units(over, codes), costs) for sign in (1, -1))
    for name, n_trials, floor in ((EER, 20, 0), ("min", 20 / 1.9, 0), ("false alarms", 5, 0.5)):
        assert right[name].value == interval(right[name]).low == floor
        assert floor + 0.15 * (1 - floor) < interval(right[name]).high < 1
        assert turned[name].value == interval(turned[name]).high == 1
        open_part = 1 - 0.025 ** (1 / (n_trials * (norm.ppf(0.025) / t.ppf(0.025, n_units - 1)) ** 2))
        assert interval(turned[name]).low == pytest.approx(1 - open_part * (1 - floor))
        if name == EER:
            assert interval(right[name]).high == pytest.approx(open_part)


def test_speakers_of_the_same_rates_still_leave_an_interval():
    """A quarter of each one's trials is wrong; the interval is that of as many trials, fewer by Student's t."""
    scores, bonafide, codes = np.repeat([-2.0, 2, -1, 3], [8, 24, 24, 8]), np.arange(64) < 32, np.arange(64) % 8
    found = interval(influences(scores, bonafide, Units("speakers", codes), {})[EER])
    n = 32 * (norm.ppf(0.025) / t.ppf(0.025, 7)) ** 2
    expected = beta.ppf(0.025, n / 4, 3 * n / 4 + 1), beta.ppf(0.975, n / 4 + 1, 3 * n / 4)
    assert (found.low, found.high) == pytest.approx(expected)


def test_an_interval_contains_its_figure_and_stays_within_its_bounds():
    rng = np.random.default_rng(5)
    revisited = LinearCost(0.1, 1.0, 2.0)
    for _ in range(50):
        scores, bonafide, codes = corpus(rng, 5, 2, 3, shift=rng.uniform(-1, 5))
        for name, influence in influences(scores, bonafide, Units("speakers", codes), {"min": revisited}).items():
            found = interval(influence)
            assert (0.1 if name == "min" else 0) <= found.low <= influence.value <= found.high <= 1.1


@pytest.mark.parametrize(("n_bonafide", "n_spoof"), [(4, 20), (20, 4)])
def test_fewer_than_five_speakers_of_a_class_have_no_interval(n_bonafide, n_spoof):
    codes = np.r_[np.arange(100) % n_bonafide, np.arange(100) % n_spoof]
    scores, bonafide = np.random.default_rng(0).normal(size=200), np.arange(200) < 100
    found = influences(scores, bonafide, Units("speakers", codes), COSTS)
    assert interval(found[EER]) == Interval(None, None, "too few speakers for an interval")
    assert compare(found["min"], found["min"]) == (Interval(None, None, "too few speakers for an interval"), 1.0)


def test_spoofs_of_a_single_speaker_have_a_minimum():
    scores, bonafide, codes = corpus(np.random.default_rng(0), n_speakers=10, n_bonafide=2, n_spoof=1)
    codes[~bonafide] = 3
    found = influences(scores, bonafide, Units("speakers", codes), COSTS)["min"]
    assert 0 <= found.value <= found.corrected <= 2


def test_units_are_speakers_where_every_trial_names_one():
    bonafide = np.arange(10) < 5
    utterances, speakers = [f"u{9 - k}" for k in range(10)], [f"s{k % 5}" for k in range(10)]
    found = intervals.choose_units(speakers, utterances, bonafide)
    assert (found.over, found.codes.tolist(), len(found)) == ("speakers", [0, 1, 2, 3, 4] * 2, 5)
    unnamed, few = speakers.copy(), speakers.copy()
    unnamed[3], few[9] = None, "s0"  # one trial without a speaker; spoofs of four speakers
    for of_which in (unnamed, few):
        found = intervals.choose_units(of_which, utterances, bonafide)
        assert (found.over, found.codes.tolist(), len(found)) == ("trials", [*range(9, -1, -1)], 10)
    assert intervals.choose_units(speakers, utterances, bonafide, "trials").over == "trials"
    assert intervals.choose_units(few, utterances, bonafide, "speakers").over == "speakers"
    with pytest.raises(InputError, match="over speakers need trials that name them"):
        intervals.choose_units(unnamed, utterances, bonafide, "speakers")


# --- comparisons


def pair(rng, shift):
    """Return two systems' scores of the same trials: of the first one's kind, and `shift` worse."""
    scores, bonafide, codes = corpus(rng)
    other = np.sqrt(0.5) * scores + np.sqrt(0.5) * corpus(rng)[0] - (3.29 * (np.sqrt(2) - 1) + shift) * bonafide
    return [influences(one, bonafide, Units("speakers", codes), COSTS) for one in (scores, other)]


def test_equal_systems_differ_in_about_one_case_of_twenty():
    rng = np.random.default_rng(1)
    p_values = [[compare(a[name], b[name])[1] for name in (EER, "min")] for a, b in (pair(rng, 0) for _ in range(100))]
    assert (np.sum(np.array(p_values) < 0.05, axis=0) <= 9).all()
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)


def test_a_worse_system_is_found_out():
    rng = np.random.default_rng(1)
    found = [[compare(a[name], b[name]) for name in (EER, "min")] for a, b in (pair(rng, 1.2) for _ in range(20))]
    p_values = np.array([[p for _, p in row] for row in found])
    assert (np.mean(p_values < 0.05, axis=0) >= 0.9).all()
    for its, p in found[0]:
        assert p < 0.05
        assert its.low > 0


def test_misses_of_two_systems_are_compared_by_a_paired_t_test():
    """Spoofs have scores of -1, bona fide trials of -2 or 2, and each speaker misses some of 20."""
    misses = np.random.default_rng(2).integers([[0], [1]], [[5], [6]], (2, 8))
    codes, bonafide = np.arange(320) % 8, np.arange(320) < 160
    systems = []
    for of_system in misses:
        scores = np.where(bonafide, np.where(np.arange(320) // 8 < of_system[codes], -2.0, 2.0), -1.0)
        systems.append(influences(scores, bonafide, Units("speakers", codes), {"cost": LinearCost(0.0, 1.0, 1.0)}))
    expected = ttest_rel(misses[1] / 20, misses[0] / 20)
    its, p = compare(*(influence["cost"] for influence in systems))
    assert p == pytest.approx(expected.pvalue)
    assert (its.low, its.high) == pytest.approx((*expected.confidence_interval(),))


def test_holm_by_hand():
    # Smallest times 3, next times 2, last times 1, never falling.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.6]) == [1, 1]
