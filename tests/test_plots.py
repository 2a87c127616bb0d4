import io
import re

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from countermeasure.evaluation import drawing, outputs, plots
from countermeasure.evaluation.asv import LA_EVAL
from countermeasure.evaluation.results import ATTACK
from countermeasure.evaluation.study import run_study
from countermeasure.trials.lines import Columns
from countermeasure.trials.score_files import CmScores
from tDCF_python.evaluation import EER


def scores(seed=0, n=240, shift=2.0, attacks=("A01", "A02", "A03")):
    rng = np.random.default_rng(seed)
    bonafide = np.arange(n) % 4 == 0
    named = [attacks[k % len(attacks)] for k in range(n)]
    return cm_scores(rng.normal(0, 1, n) + shift * bonafide, bonafide, named, [f"LA_{k // 4 % 12}" for k in range(n)])


def cm_scores(values, bonafide, attacks, speakers):
    attacks = [None if real else attack for attack, real in zip(attacks, bonafide, strict=True)]
    trials = Columns([f"U{k}" for k in range(len(values))], [], attacks, speakers, [], [])
    return CmScores("scores.txt", "0" * 64, values, bonafide, trials)


def study(n_systems, name="system-{}", **kwargs):
    systems = {name.format(k): scores(k, shift=1.5 + 0.4 * k, **kwargs) for k in range(n_systems)}
    return run_study(systems, LA_EVAL, by=[ATTACK], with_intervals=True)


def pictures(cm):
    return plots.pictures(run_study({"s": cm}))


@pytest.fixture(scope="module")
def two():
    """Return a result of two systems, with names that are neither formulas nor HTML, and its pictures."""
    content = study(2, "<b>{}& a$x^$b 語")
    return content, plots.pictures(content)


def svg(figure):
    file = io.BytesIO()
    drawing.write(figure, file, "svg")
    return file.getvalue()


def drawn_words(figure):
    """Return the words of a picture and the places where they are drawn, as (text, box)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    with drawing.house_style():
        canvas.draw()
    renderer = canvas.get_renderer()
    beyond = set()  # ticks beyond an axis' ends exist and are not drawn
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-6 * (high - low)
            for tick in axis.get_major_ticks():
                if not low - slack <= tick.get_loc() <= high + slack:
                    beyond |= {tick.label1, tick.label2}
    words = [word for word in figure.findobj(Text) if word.get_visible() and word.get_text() and word not in beyond]
    return [(word.get_text(), word.get_window_extent(renderer)) for word in words]


@pytest.mark.parametrize("n_systems", [1, 5])
def test_no_words_overlap_or_are_cut(n_systems):
    attacks = [f"A{k:02d}" for k in range(7, 20)]
    found = plots.pictures(study(n_systems, "ensemble-gfcc+lfcc+mfcc+msrcc+psrcc-{}", n=480, attacks=attacks))
    assert list(found) == ["det", "histograms", "cost", "calibration", "attacks"]
    for name, figure in found.items():
        assert_words_are_apart(name, figure, 10)


RANGES = [(1e-3, -1234.5), (1e8, 1e9), (1e5, 0), (1e-9, 0), (30, 7)]
EXTREMES = {"perfect": [2.0, 3.0, 0.0, 1.0], "equal": [1.0] * 4, "three trials": [1.0, 3.0, 2.0]}


def test_no_numbers_overlap_whatever_the_scores_are():
    systems = {}
    for k, (scale, shift) in enumerate(RANGES):
        cm = scores(k, shift=1.5)
        systems[f"s{k}"] = cm._replace(scores=cm.scores * scale + shift)
    for name, values in EXTREMES.items():
        n = len(values)
        systems[name] = cm_scores(np.array(values), np.arange(n) < 2, ["A01"] * n, [f"S{k}" for k in range(n)])
    for name, figure in plots.pictures(run_study(systems, by=[ATTACK])).items():
        assert_words_are_apart(name, figure, 5)


def assert_words_are_apart(name, figure, at_least):
    words = drawn_words(figure)
    assert len(words) > at_least
    paper = figure.bbox
    for k, (text, box) in enumerate(words):
        whole = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= paper.x1 + 1 and box.y1 <= paper.y1 + 1
        assert whole, f"{name}: {text!r} is cut"
        for other, other_box in words[k + 1 :]:
            assert not _overlap(box, other_box), f"{name}: {text!r} and {other!r} overlap"


def _overlap(a, b):
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1


def test_bars_show_the_rates_and_intervals_of_the_attacks():
    systems = {f"s{k}": scores(k) for k in range(2)}
    for cm in systems.values():
        cm.scores[np.array(cm.columns.attacks) == "A02"] = -100.0
    found = run_study(systems, by=[ATTACK], with_intervals=True)
    figure = plots.pictures(found)["attacks"]
    for system, axes in zip(found.systems, figure.axes, strict=True):
        groups = system.groups(ATTACK)
        assert [bar.get_height() for bar in axes.patches] == [100 * group.evaluation.eer.value for group in groups]
        ends = [[100 * end for end in (group.intervals[EER].low, group.intervals[EER].high)] for group in groups]
        assert [list(line.get_ydata()) for line in axes.get_lines()] == ends
    words = drawn_words(figure)
    zeros = [box for text, box in words if text == "0" and box.x0 > 0]
    names = [box for text, box in words if text == "A02"]
    assert len(names) == 2
    for name in names:  # an attack without errors has a 0 above its name
        assert any(abs(zero.x0 + zero.x1 - name.x0 - name.x1) < 4 and zero.y0 > name.y1 for zero in zeros)


def test_histograms_count_every_trial():
    for figure in (
        pictures(scores(n=600))["histograms"],
        pictures(scores()._replace(scores=np.zeros(240)))["histograms"],
    ):
        shares = [patch.get_data().values.sum() for patch in figure.axes[0].patches]
        np.testing.assert_allclose(shares, 100)


def test_the_same_scores_give_the_same_svg():
    assert svg(pictures(scores())["calibration"]) == svg(pictures(scores())["calibration"])


@pytest.mark.parametrize("far", [-1e4, 1e6])
def test_far_scores_leave_the_others_their_room(far):
    cm = scores(n=600)
    with_far = cm._replace(scores=np.where(np.arange(600) % 100 == 5, far, cm.scores))  # of 450 spoofs 6
    ends = [[pictures(each)[name].axes[0].get_xlim() for name in ("histograms", "cost")] for each in (cm, with_far)]
    np.testing.assert_allclose(ends[0], ends[1], atol=6)
    inside = (cm.scores > ends[1][0][0]) & (cm.scores < ends[1][0][1])
    assert inside.mean() > 0.97


def test_the_curve_of_costs_goes_through_its_minimum():
    cm = scores(n=600)
    least = run_study({"s": cm}).systems[0].evaluation.min_dcf
    axes = pictures(cm)["cost"].axes[0]
    (mark,) = (line for line in axes.get_lines() if line.get_marker() == "D")
    np.testing.assert_array_equal(mark.get_xydata(), [[least.threshold, least.value]])
    curve = axes.get_lines()[0].get_xydata()
    assert [least.threshold, least.value] in curve.tolist()
    assert curve[:, 1].min() == least.value


@pytest.mark.parametrize("kind", ["bona fide", "spoof"])
def test_a_point_without_errors_of_one_kind_lies_within_the_det_picture(kind):
    cm = scores(n=400, shift=3.0)
    # Beyond all others of its class, so that the least cost has no error of this kind.
    far = cm.bonafide if kind == "bona fide" else ~cm.bonafide
    cm.scores[far] = (8.0 if kind == "bona fide" else -8.0) + 0.01 * cm.scores[far]
    found = run_study({"s": cm})
    point = found.systems[0].evaluation.min_dcf
    assert 0 in (point.p_miss, point.p_fa)
    axes = plots.pictures(found)["det"].axes[0]
    (mark,) = (line for line in axes.get_lines() if line.get_marker() == "D")
    for value, ends in zip(mark.get_xydata()[0], (axes.get_xlim(), axes.get_ylim()), strict=True):
        assert ends[0] + 0.02 * (ends[1] - ends[0]) < value < ends[1]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in labels][:3] == ["0", "0.5", "1"]


def test_points_of_the_det_curve_lie_where_they_should():
    """Two unit normals d' apart: a straight line at -45° through Φ(-d'/2) on both axes."""
    from scipy.special import ndtri

    figure = pictures(scores(n=100_000, shift=2.0))["det"]
    curve = next(line for line in figure.axes[0].get_lines() if "EER" in str(line.get_label()))
    x, y = map(np.asarray, curve.get_data())
    inner = (np.abs(x - ndtri(0.158655)) < 0.5) & (np.abs(y - ndtri(0.158655)) < 0.5)
    assert inner.sum() > 50
    np.testing.assert_allclose(x[inner] + y[inner], -2.0, atol=0.06)
    assert x.max() > figure.axes[0].get_xlim()[1]  # it leaves the picture


def test_a_mark_outside_the_det_picture_is_told():
    """Scores without information, of which the least cost accepts nearly everything."""
    for cm, is_outside in ((scores(3, n=400, shift=3.0), False), (scores(3, n=400, shift=0.2), True)):
        words = [word.get_text() for word in pictures(cm)["det"].legends[0].get_texts()]
        assert ("min DCF (in part outside the picture)" in words) == is_outside


def test_the_picture_of_calibration_shows_the_figures_of_the_table():
    found = run_study({"s": scores(n=2000)})
    expected = found.systems[0].evaluation
    left, right = plots.pictures(found)["calibration"].axes[:2]
    marks = {line.get_label(): line.get_xydata()[0] for line in right.get_lines() if len(line.get_xdata()) == 1}
    prior = np.log(0.95 / (10 * 0.05))
    np.testing.assert_allclose(marks["actual DCF"], [prior, expected.actual_dcf])
    np.testing.assert_allclose(marks["min DCF"], [prior, expected.min_dcf.value])
    curves = {line.get_label(): line.get_xydata() for line in right.get_lines() if len(line.get_xdata()) > 2}
    for label, figure in (
        ("scores as they are", expected.actual_dcf),
        ("best calibration of the scores (PAV)", expected.min_dcf.value),
    ):
        assert np.interp(prior, *curves[label].T) == pytest.approx(figure, abs=0.01)
    assert f"C_llr {expected.cllr:.2f}" in right.get_title()
    # The log-likelihood ratio of two unit normals, 2 apart, is 2 (score - 1).
    best = next(line for line in left.get_lines() if "PAV" in str(line.get_label()))
    near = np.abs(best.get_xdata() - 1) < 0.8
    np.testing.assert_allclose(best.get_ydata()[near], 2 * (best.get_xdata()[near] - 1), atol=0.8)


def test_page_is_one_whole_file(two):
    content, found = two
    text = outputs.to_html(content, found)
    assert "<b>0&" not in text  # names are escaped
    assert "&lt;b&gt;0&amp;" in text
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\((?!["']?#)""", text)  # nothing from elsewhere
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    for used in re.findall(r'xlink:href="#([^"]+)"|url\(#([^)]+)\)', text):
        assert (used[0] or used[1]) in identifiers
    for word in ("min t-DCF (2019)", "Signature", "prefers-color-scheme: dark"):
        assert word in text
    assert text.count("<svg") == 5


def test_page_without_asv_and_attacks():
    plain = run_study({"s": scores()})
    found = plots.pictures(plain)
    assert list(found) == ["det", "histograms", "cost", "calibration"]
    text = outputs.to_html(plain, {"det": found["det"]})
    assert "For min t-DCF" in text
    assert "By attack" not in text
