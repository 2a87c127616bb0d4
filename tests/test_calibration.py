import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from countermeasure import files
from countermeasure.errors import InputError
from countermeasure.gmm import calibration
from countermeasure.gmm.calibration import Calibration, fit
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, TrainingRecord, model_files
from countermeasure.stages.calibration import calibrate
from countermeasure.trials.score_files import ScoreRecord, write_record
from tDCF_python import metrics
from trainings import write_model


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "model"
    for path, mean in zip(model_files(folder), (0.0, 1.0), strict=True):
        write_model(path, Model(Parameters(np.ones(1), np.full((1, 60), mean), np.ones((1, 60)))))
    return folder


def draw(rng, n_bonafide=400, n_spoof=900, scale=1.0, shift=0.0):
    """LLRs that are what they claim to be, log N(x; 1, 1) / N(x; −1, 1) = 2 x, and then stretched and moved."""
    is_bonafide = np.arange(n_bonafide + n_spoof) < n_bonafide
    x = rng.normal(size=len(is_bonafide)) + np.where(is_bonafide, 1, -1)
    return scale * 2 * x + shift, is_bonafide


def score_file(path, llrs, is_bonafide):
    lines = [
        f"LA_{i % 20:04d} LA_D_{i:07d} - {'- bonafide' if label else 'A01 spoof'} {llr:.6f}"
        for i, (llr, label) in enumerate(zip(llrs, is_bonafide, strict=True))
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


# -- the fit -------------------------------------------------------------------------------------------


def test_stretched_and_moved_llrs_come_back(rng):
    llrs, is_bonafide = draw(rng, 2000, 20000, scale=5.0, shift=-30.0)
    slope, offset = fit(llrs, is_bonafide)
    assert slope == pytest.approx(1 / 5, rel=0.05)
    assert offset == pytest.approx(30 / 5, rel=0.05)


def test_the_fit_minimises_the_cross_entropy_of_two_equal_classes(rng):
    llrs, is_bonafide = draw(rng, 60, 200, scale=3.0, shift=4.0)

    def cost(parameters):
        log_odds = parameters[0] * llrs + parameters[1]
        total = 0.0
        for members, extreme in ((is_bonafide, 1), (~is_bonafide, 0)):
            n = members.sum()
            target = (n * extreme + 1) / (n + 2)
            s = log_odds[members]
            total += np.mean(target * np.logaddexp(0, -s) + (1 - target) * np.logaddexp(0, s))
        return total

    best = minimize(cost, [0.3, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 5000})
    np.testing.assert_allclose(fit(llrs, is_bonafide), best.x, rtol=1e-4)


def test_classes_that_do_not_overlap_keep_a_finite_slope():
    llrs = np.array([-3.0, -3.0, -3.0, 3.0, 3.0, 3.0])
    slope, offset = fit(llrs, llrs > 0)
    # Platt's target of three recordings is 4/5: odds of four to one, and not of infinity.
    assert slope * 3 == pytest.approx(np.log(4), rel=1e-5)
    assert offset == pytest.approx(0, abs=1e-6)


def test_scores_that_tell_nothing_or_the_contrary_are_refused(rng):
    labels = np.arange(47) % 3 == 0
    # The mean of 47 times 0.3 is rounded.
    for llrs in (np.zeros(47), np.full(47, 0.3), np.where(labels, -1.0, 1.0) + 0.01 * rng.normal(size=47)):
        with pytest.raises(InputError, match="do not score higher"):
            fit(llrs, labels)


# -- the stage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [0.001, 0.5, 0.99])
def test_true_llrs_remain_what_they_are_at_any_prior(tmp_path, models, prior):
    """Two unit Gaussians at ±d/2 have the LLR d·x; at the prior P it is even where that is log((1 − P) / P)."""
    d, n_bonafide, n_spoof = 2.5, 100, 216
    # Their quantiles instead of draws, so that what is left is not chance.
    at = [(np.arange(n) + 0.5) / n for n in (n_bonafide, n_spoof)]
    llrs = d * np.concatenate([norm.ppf(at[0], d / 2), norm.ppf(at[1], -d / 2)])
    calibrate(score_file(tmp_path / "dev.txt", llrs, np.arange(len(llrs)) < n_bonafide), models, prior=prior)
    found = calibration.read(models)
    assert found.slope == pytest.approx(1, abs=0.1)
    assert found.offset == pytest.approx(0, abs=0.1)
    assert found.threshold == pytest.approx(np.log((1 - prior) / prior), rel=0.1, abs=0.1)
    assert found.probability(0.0) == pytest.approx(prior, rel=0.1)


@pytest.mark.parametrize("prior", [0.5, 0.9])
def test_the_threshold_is_where_both_classes_are_equally_probable(rng, tmp_path, models, prior):
    path = score_file(tmp_path / "dev.txt", *draw(rng, scale=3.0, shift=-7.0))
    told = str(calibrate(path, models, prior=prior))
    found = calibration.read(models)
    assert found.probability(found.threshold) == pytest.approx(0.5)
    # Stretched by 3 and moved by −7: where the true LLR is −log(prior / (1 − prior)).
    assert found.threshold == pytest.approx(-7 - 3 * np.log(prior / (1 - prior)), abs=1)
    assert (found.n_bonafide, found.n_spoof, found.score_file, found.prior) == (400, 900, "dev.txt", prior)
    assert found.eer_low < found.eer < found.eer_high
    assert found.eer_over == "speakers"
    assert f"equally probable where {100 * prior:g} % of the recordings are bona fide" in told


@pytest.mark.parametrize("settings", [{}, {"prior": 0.9, "criterion": "eer"}])
def test_the_threshold_of_the_eer(rng, tmp_path, models, settings):
    llrs, labels = draw(rng)
    result = calibrate(score_file(tmp_path / "dev.txt", llrs, labels), models, **settings)
    told, found = str(result), calibration.read(models)
    llrs = np.round(llrs, 6)
    calibrated = found.slope * llrs + found.offset
    assert result.cllr == pytest.approx(metrics.cllr(llrs[labels], llrs[~labels]))
    assert result.calibrated_cllr == pytest.approx(metrics.cllr(calibrated[labels], calibrated[~labels]))
    assert (found.eer, found.threshold) == metrics.eer(llrs[labels], llrs[~labels])
    assert found.prior == settings.get("prior", 0.5)
    assert found.eer_over == "speakers"
    assert f"threshold {found.threshold:.6f} (the EER's)" in told
    assert "0.9" not in told


def test_what_is_usual_comes_from_the_record_of_base_models(rng, tmp_path, models):
    path = recorded(score_file(tmp_path / "dev.txt", *draw(rng, 40, 40)), models, log_likelihoods=[-80.0, -70.0])
    calibrate(path, models)
    assert calibration.read(models).lowest_usual == -90
    columns = ["a-bon", "a-sp"]
    for model in model_files(models):
        write_model(
            model,
            Model(Parameters(np.ones(1), np.zeros((1, 2)), np.ones((1, 2))), record=TrainingRecord(columns=columns)),
        )
    calibrate(recorded(path, models, log_likelihoods=[-80.0, -70.0]), models)
    assert calibration.read(models).lowest_usual is None


def test_what_it_refuses(rng, tmp_path, models):
    llrs, labels = draw(rng, 20, 20)
    good = score_file(tmp_path / "dev.txt", llrs, labels)
    blind = tmp_path / "blind.txt"
    blind.write_text("".join(f"LA_D_{i} {llr:.6f}\n" for i, llr in enumerate(llrs)))
    for message, path, folder, settings in (
        ("no label", blind, models, {}),
        ("one.txt: no spoof trial", score_file(tmp_path / "one.txt", llrs[:20], labels[:20]), models, {}),
        ("x.txt: bona fide trials do not score higher", score_file(tmp_path / "x.txt", -llrs, labels), models, {}),
        ("bon.gmm: no such file", good, tmp_path, {}),
        ("--prior 0: must be", good, models, {"prior": 0}),
        ("--prior 1: must be", good, models, {"prior": 1}),
        ("--prior nan: must be", good, models, {"prior": float("nan")}),
    ):
        with pytest.raises(InputError, match=message):
            calibrate(path, folder, **settings)
        assert not (folder / calibration.FILE).exists()
    protocol = tmp_path / "protocol.txt"
    protocol.write_text("".join(f"- LA_D_{i} - - {'bonafide' if b else 'spoof'}\n" for i, b in enumerate(labels)))
    calibrate(blind, models, protocol=protocol)
    assert calibration.read(models).n_bonafide == 20
    assert calibration.read(models).eer_over == "trials"  # the protocol names no speakers


def recorded(path, models, split="dev", inputs=("lfcc",), **more):
    """Write the record that a test script would leave beside a score file."""
    write_record(path, ScoreRecord(files.sha256(path), calibration.models_sha256(models), split, list(inputs), **more))
    return path


def test_scores_of_other_models_are_refused(rng, tmp_path, models):
    path = recorded(score_file(tmp_path / "dev.txt", *draw(rng, 40, 40)), models)
    bonafide = model_files(models)[0]
    write_model(bonafide, Model(Parameters(np.ones(1), np.full((1, 60), 0.5), np.ones((1, 60)))))
    with pytest.raises(InputError, match=r"dev\.txt: scores of other models than those of .*; give the"):
        calibrate(path, models)
    assert sorted(path.name for path in models.iterdir()) == ["bon.gmm", "sp.gmm"]
    recorded(path, models)
    calibrate(path, models)
    assert calibration.read(models)


@pytest.mark.parametrize("record", ["none", "of another file"])
def test_scores_that_nobody_vouches_for_are_taken_with_a_warning(rng, tmp_path, models, capsys, record):
    path = score_file(tmp_path / "dev.txt", *draw(rng, 40, 40))
    if record != "none":
        recorded(path, models)
        path.write_text(path.read_text() + "LA_0001 LA_D_9999999 - - bonafide 1.0\n")
    calibrate(path, models)
    assert f"warning: {path}: no record beside it says which models gave these scores" in capsys.readouterr().err
    assert calibration.read(models)


def test_scores_of_the_training_set_get_a_warning(rng, tmp_path, models, capsys):
    calibrate(recorded(score_file(tmp_path / "train.txt", *draw(rng, 40, 40)), models, "train"), models)
    assert "warning: " in (err := capsys.readouterr().err)
    assert "train.txt: scores of the training set" in err


def test_few_and_separable_trials_are_said_to_be(tmp_path, models, capsys):
    llrs = np.array([-2.0, -1.0, 1.0, 2.0])
    calibrate(score_file(tmp_path / "dev.txt", llrs, llrs > 0), models)
    err = capsys.readouterr().err
    assert "2 bona fide and 2 spoofed trials are few" in err
    assert "do not overlap" in err


# -- the file ------------------------------------------------------------------------------------------


def made(folder):
    digest = calibration.models_sha256(folder)
    return Calibration(1.5, -0.5, 0.5, "bayes", 0.25, 0.1, 0.05, 0.2, "trials", 10, 20, "dev.txt", "0" * 64, digest)


@pytest.mark.parametrize(
    "change", [{"slope": "1"}, {"threshold": None}, {"criterion": "other"}, {"format": 2}, {"more": 1}]
)
def test_a_file_that_is_no_calibration_is_refused(models, change):
    calibration.write(models, made(models))
    path = models / calibration.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=r"calibration\.json: .*delete it or run gmm_calibrate\.py again"):
        calibration.read(models)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_not_waited_for(models):
    os.mkfifo(models / calibration.FILE)
    with pytest.raises(InputError, match="is a pipe"):
        calibration.read(models)


def test_models_that_were_trained_anew_have_no_calibration(models):
    calibration.write(models, made(models))
    bonafide, spoof = (path.read_bytes() for path in model_files(models))
    model_files(models)[0].write_bytes(spoof)
    with pytest.raises(InputError, match="was made for other models"):
        calibration.read(models)
    model_files(models)[0].write_bytes(bonafide)
    assert calibration.read(models)


def test_probabilities_do_not_overflow(models):
    found = made(models)
    assert [found.probability(llr) for llr in (-1e300, 1e300)] == [0, 1]
    assert found.probability(1 / 3) == pytest.approx(0.5)


def test_a_score_file_whose_name_is_not_utf8(rng, tmp_path, models, capfd):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    try:
        score_file(path, *draw(rng, 40, 40))
    except OSError:
        pytest.skip("the file system takes no such name")
    calibrate(path, models)
    assert "caf" in capfd.readouterr().err
    assert calibration.read(models).score_file == "caf\\udce9.txt"
    assert "caf" in (models / "README.md").read_text(encoding="utf-8")
