"""The organisers' function names: what they take and return, by hand and on the real scores."""

from pathlib import Path

import numpy as np
import pytest

from countermeasure.errors import InputError
from tDCF_python.eval_metrics import compute_det_curve, compute_eer, compute_tDCF, obtain_asv_error_rates
from tDCF_python.evaluate_tDCF_asvspoof19 import COST_MODEL, LEGACY_COST_MODEL, evaluate_tDCF_asvspoof19

LA = Path(__file__).parents[2] / "shared" / "data" / "asvspoof2019"
CM_FILE, ASV_FILE = LA / "B01_LA_primary_eval.txt", LA / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"


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


@pytest.mark.parametrize("spelling", [str, lambda key: key.replace("C", "C_")])
def test_tdcf_by_hand(spelling):
    bonafide, spoof = np.array([1.0, 3.0]), np.array([0.0, 2.0])
    frr, far, thresholds = compute_det_curve(bonafide, spoof)
    legacy = {"Pspoof": 0.1, "Ptar": 0.8, "Pnon": 0.1, "Cmiss_asv": 2, "Cfa_asv": 3, "Cmiss_cm": 4, "Cfa_cm": 5}
    c1, c2 = 0.8 * (4 - 2 * 0.2) - 0.1 * 3 * 0.3, 5 * 0.1 * (1 - 0.4)
    found, at = compute_tDCF(bonafide, spoof, 0.3, 0.2, 0.4, legacy, False)
    expected_legacy = (c1 * frr + c2 * far) / min(c1, c2)
    assert found == pytest.approx(expected_legacy)
    assert at.tolist() == thresholds.tolist()
    revisited = {"Pspoof": 0.1, "Ptar": 0.8, "Pnon": 0.1, spelling("Cmiss"): 1, spelling("Cfa"): 10}
    revisited[spelling("Cfa_spoof")] = 20
    c0 = 0.8 * 0.2 + 0.1 * 10 * 0.3
    c1, c2 = 0.8 - c0, 0.1 * 20 * 0.6
    expected = (c0 + c1 * frr + c2 * far) / (c0 + min(c1, c2))
    assert compute_tDCF(bonafide, spoof, 0.3, 0.2, 0.6, revisited, False)[0] == pytest.approx(expected)
    for rate in ({"Pfa_spoof_asv": 0.6}, {"Pmiss_spoof_asv": 0.4}):
        for model, curve in ((legacy, expected_legacy), (revisited, expected)):
            named = compute_tDCF(bonafide, spoof, Pfa_asv=0.3, Pmiss_asv=0.2, cost_model=model, **rate)
            assert named[0] == pytest.approx(curve)


def test_tdcf_says_what_is_missing():
    with pytest.raises(InputError, match="lacks Cfacm"):
        compute_tDCF([1.0], [0.0], 0.1, 0.1, 0.1, {k: v for k, v in LEGACY_COST_MODEL.items() if k != "Cfa_cm"})
    with pytest.raises(InputError, match="rate of rejected or of accepted spoofs"):
        compute_tDCF([1.0], [0.0], 0.1, 0.1, None, COST_MODEL)
    with pytest.raises(InputError, match="rate of rejected or of accepted spoofs"):
        compute_tDCF([1.0], [0.0], 0.1, 0.1, cost_model=LEGACY_COST_MODEL)
    with pytest.raises(InputError, match="no meaning"):
        compute_tDCF([1.0], [0.0], 0.1, 0.1, 0.0, COST_MODEL)


@pytest.mark.skipif(not CM_FILE.exists(), reason="the ASVspoof 2019 LA score files are not on this machine")
@pytest.mark.parametrize(("legacy", "expected"), [(True, 0.235936), (False, 0.283868)])
def test_official_figures(capsys, legacy, expected):
    eer, min_tdcf = evaluate_tDCF_asvspoof19(CM_FILE, ASV_FILE, legacy)
    assert (round(100 * eer, 5), round(min_tdcf, 6)) == (9.57203, expected)
    out = capsys.readouterr().out
    for figure in ("9.57203 %", f"{expected:.6f}", "2.457784 %", "-5.680051", "2.460467 %", "2.458101 %", "23.934755"):
        assert figure in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a - bonafide 1\nb A01 spoof x\n", "is no number"),
        ("a - bonafide 1\nb A01 real 0\n", r"cm\.txt:2: 'b A01 real 0'; a line ends in KEY SCORE"),
        ("a - bonafide 1\n", "no spoof trial"),
    ],
)
def test_bad_score_files_are_named(tmp_path, content, message):
    (tmp_path / "cm.txt").write_text(content)
    with pytest.raises(InputError, match=message):
        evaluate_tDCF_asvspoof19(tmp_path / "cm.txt", tmp_path / "cm.txt")
