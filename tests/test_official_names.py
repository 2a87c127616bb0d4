"""The organisers' function names: what they take and return, by hand and on the real scores."""

import numpy as np
import pytest

from countermeasure.errors import InputError
from tDCF_python.eval_metrics import compute_det_curve, compute_eer, compute_tDCF, obtain_asv_error_rates
from tDCF_python.evaluate_tDCF_asvspoof19 import evaluate_tDCF_asvspoof19

PRIORS = {"Pspoof": 0.1, "Ptar": 0.8, "Pnon": 0.1}
LEGACY = {**PRIORS, "Cmiss_asv": 2, "Cfa_asv": 3, "Cmiss_cm": 4, "Cfa_cm": 5}
REVISITED = {**PRIORS, "Cmiss": 2, "Cfa": 10, "Cfa_spoof": 20}


def test_det_curve_and_eer_by_hand():
    frr, far, thresholds = compute_det_curve(np.array([2.0, 3.0]), np.array([0.0, 2.0]))
    assert thresholds.tolist() == [-0.001, 0, 2, 2, 3]
    assert frr.tolist() == [0, 0, 0.5, 0.5, 1]  # at the tie the target is rejected first
    assert far.tolist() == [1, 0.5, 0.5, 0, 0]
    assert compute_eer(np.array([2.0, 3.0]), np.array([0.0, 2.0])) == (0.5, 2.0)


def test_asv_error_rates_by_hand():
    rates = obtain_asv_error_rates(np.array([1.0, 2, 3, 4]), np.array([0.0, 2]), np.array([1.0, 1, 1, 2, 5]), 2.0)
    assert rates == (0.5, 0.25, 0.6, 0.4)  # accepted: at or above the threshold
    assert obtain_asv_error_rates(np.array([1.0]), np.array([0.0]), np.array([]), 2.0) == (0, 1, None, None)


def test_tdcf_by_hand(capsys):
    bonafide, spoof = np.array([1.0, 3.0]), np.array([0.0, 2.0])
    frr, far, thresholds = compute_det_curve(bonafide, spoof)
    c1, c2 = 0.8 * (4 - 2 * 0.2) - 0.1 * 3 * 0.3, 5 * 0.1 * (1 - 0.4)
    legacy = (c1 * frr + c2 * far) / min(c1, c2)
    c0 = 0.8 * 2 * 0.2 + 0.1 * 10 * 0.3
    c1, c2 = 0.8 * 2 - c0, 0.1 * 20 * 0.6
    revisited = (c0 + c1 * frr + c2 * far) / (c0 + min(c1, c2))
    for model, rejected_or_accepted, expected in ((LEGACY, 0.4, legacy), (REVISITED, 0.6, revisited)):
        found, at = compute_tDCF(bonafide, spoof, 0.3, 0.2, rejected_or_accepted, model, True)
        assert found == pytest.approx(expected)
        assert at.tolist() == thresholds.tolist()
        for rate in ({"Pfa_spoof_asv": 0.6}, {"Pmiss_spoof_asv": 0.4}):
            named = compute_tDCF(bonafide, spoof, Pfa_asv=0.3, Pmiss_asv=0.2, cost_model=model, **rate)
            assert named[0] == pytest.approx(expected)
    assert capsys.readouterr().out.splitlines() == [
        "t-DCF = (0.000000 + 2.790000 * P_miss + 0.300000 * P_fa) / 0.300000",
        "t-DCF = (0.620000 + 0.980000 * P_miss + 1.200000 * P_fa) / 1.600000",
    ]


@pytest.mark.parametrize(
    ("rate", "model", "message"),
    [
        (0.1, {key: value for key, value in LEGACY.items() if key != "Cfa_cm"}, "lacks 'Cfa_cm'"),
        (None, REVISITED, "rate of rejected or of accepted spoofs"),
        (0.0, REVISITED, "undefined"),
        (0.1, None, "lacks 'Ptar'"),
    ],
)
def test_tdcf_says_what_is_missing(rate, model, message):
    with pytest.raises(InputError, match=message):
        compute_tDCF([1.0], [0.0], 0.1, 0.1, rate, model)


@pytest.mark.parametrize(("legacy", "expected"), [(True, 0.235936), (False, 0.283868)])
def test_official_figures(shared_data, capsys, legacy, expected):
    la = shared_data / "asvspoof2019"
    scores = la / "B01_LA_primary_eval.txt", la / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    eer, min_tdcf = evaluate_tDCF_asvspoof19(*scores, legacy)
    assert (round(100 * eer, 5), round(min_tdcf, 6)) == (9.57203, expected)
    out = capsys.readouterr().out
    for figure in ("9.57203 %", f"{expected:.6f}", "2.457784 %", "-5.680051", "2.460467 %", "2.458101 %", "23.934755"):
        assert figure in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a - bonafide 1\nb A01 spoof x\n", r"cm\.txt:2: 'b A01 spoof x'; a line ends in KEY SCORE"),
        ("a - bonafide 1\n\nb A01 real 0\n", r"cm\.txt:3: 'b A01 real 0'; a line ends in KEY SCORE"),
        ("a - bonafide 1\n", "no spoof trial"),
    ],
)
def test_bad_score_files_are_named(tmp_path, content, message):
    (tmp_path / "cm.txt").write_text(content)
    with pytest.raises(InputError, match=message):
        evaluate_tDCF_asvspoof19(tmp_path / "cm.txt", tmp_path / "cm.txt")


def test_the_tdcf_of_2019_is_the_default(tmp_path):
    cm, asv = tmp_path / "cm.txt", tmp_path / "asv.txt"
    cm.write_text("U1 - bonafide 1\nU2 - bonafide 3\nU3 A1 spoof 2\nU4 A1 spoof 0\n")
    asv.write_text("- target 2\n- target 4\n- nontarget 3\n- nontarget 0\nA1 spoof 5\nA1 spoof 1\n")
    default, legacy, revisited = (evaluate_tDCF_asvspoof19(cm, asv, *more) for more in ((), (True,), (False,)))
    assert default == legacy != revisited
