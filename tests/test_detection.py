"""gmm_detect.py against the scores that the test scripts give, and on what users hand it."""

import csv
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from soxr import resample

import corpus
import gmm_detect
import overflowing_flac
from countermeasure import cli
from countermeasure.errors import InputError
from countermeasure.features import features, types
from countermeasure.gmm import calibration
from countermeasure.gmm.mixture import Parameters
from countermeasure.gmm.models import Model, TrainingRecord, model_files, read_model
from countermeasure.lists.provenance import Source
from countermeasure.options import TrainingOptions
from countermeasure.stages import detection
from countermeasure.stages.chain import Chain
from countermeasure.stages.extraction import extract
from countermeasure.stages.scoring import score_fusion, write_frame_scores
from countermeasure.stages.training import train, train_fusion
from trainings import write_model

TYPES = ("lfcc", "mfcc")
FRAMES, FILES = "ensemble-lfcc+mfcc", "filelevel-lfcc+mfcc+silence"
SYSTEMS = (*TYPES, FRAMES, FILES)


@pytest.fixture(scope="module")
def work(chain, tmp_path_factory):
    """The models of finished pipelines without their calibration, and what else the pipelines made."""
    folder = tmp_path_factory.mktemp("detection")
    shutil.copytree(chain.folder / "model", folder / "model", ignore=shutil.ignore_patterns("calibration.json"))
    for name in ("LA", "data", "experiment", "output"):
        (folder / name).symlink_to(chain.folder / name)
    return folder


@pytest.fixture
def recordings(work):
    return sorted((work / "LA" / "ASVspoof2019_LA_eval" / "flac").iterdir())


def detect(capsys, model_path, *files, status=0, **settings):
    """Run the stage as the script does; return what it prints on stdout and stderr."""
    if not isinstance(model_path, list):
        model_path = [model_path]
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: detection.detect(list(map(str, model_path)), list(map(str, files)), **settings) or 0)
    found = capsys.readouterr()
    assert ended.value.code == status, found.err
    return found


def objects(out):
    return [json.loads(line) for line in out.splitlines()]


# -- scores --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SYSTEMS)
def test_scores_are_those_of_the_test_scripts(work, capsys, name):
    lines = (work / "output" / f"{name}-eval.txt").read_text().splitlines()
    found = objects(detect(capsys, work / "model" / name, work / "LA" / "ASVspoof2019_LA_eval", output="json").out)
    assert [Path(each["file"]).stem for each in found] == [line.split()[1] for line in lines]
    expected = [float(line.split()[-1]) for line in lines]
    np.testing.assert_allclose([each["llr"] for each in found], expected, atol=1e-4)


def test_flac_that_libsndfile_refuses_is_judged(work, capsys, tmp_path, recordings):
    pytest.importorskip("miniaudio", reason="the decoder of such files, miniaudio, is not installed")
    signal = np.round(32768 * soundfile.read(recordings[0])[0]).astype(int)
    signal[len(signal) // 2] = 32768
    (tmp_path / "a.flac").write_bytes(overflowing_flac.content(signal))
    soundfile.write(tmp_path / "a.wav", overflowing_flac.wrapped(signal).astype(np.int16), 16000)
    flac, wav = objects(detect(capsys, work / "model" / "mfcc", tmp_path, output="json").out)
    assert flac["llr"] == wav["llr"]


def test_a_chain_is_given_in_any_order_and_from_other_places(work, capsys, tmp_path, recordings):
    expected = detect(capsys, work / "model" / FILES, recordings[0]).out
    elsewhere = [tmp_path / name / "any name" for name in SYSTEMS]
    for folder, name in zip(elsewhere, SYSTEMS, strict=True):
        shutil.copytree(work / "model" / name, folder)
    for order in (elsewhere, elsewhere[::-1]):
        assert detect(capsys, [*order, recordings[0]]).out == expected


def test_the_whole_of_a_long_recording_is_the_list_of_it(work, capsys, tmp_path, recordings, monkeypatch):
    signal = np.concatenate([soundfile.read(path, dtype="int16")[0] for path in recordings[:6]])
    soundfile.write(tmp_path / "long.wav", signal, 16000)

    def llrs():
        lines = [detect(capsys, work / "model" / n, tmp_path / "long.wav", output="json").out for n in ("mfcc", FILES)]
        return [json.loads(line)["llr"] for line in lines]

    whole = llrs()
    monkeypatch.setattr(features, "BLOCKS_AT_ONCE", 1)
    monkeypatch.setattr("countermeasure.speech.audio._PIECE", 5000)
    assert llrs() == pytest.approx(whole, rel=1e-7, abs=2e-6)


def test_variants_are_scored_as_their_lists_are(work, capsys, tmp_path, monkeypatch):
    """`-cmvn` needs a whole recording, also where others of the fusion go piece by piece."""
    variants, options = ("lfcc@0-4000", "mfcc-cmvn@300-3400"), TrainingOptions(n_components=2, max_iter=3)
    for split in ("train", "eval"):
        protocol = corpus.protocol(work / "LA", split)
        audio = work / "LA" / f"ASVspoof2019_LA_{split}" / "flac"
        extract(split, audio, protocol, tmp_path / "data", variants, n_jobs=1)
        for name in variants:
            source = tmp_path / "data" / f"{split}-{name}.pkl"
            if split == "train":
                train(source, tmp_path / "model" / name, options)
            write_frame_scores(split, source, tmp_path / "model" / name, name, tmp_path / "scores")
    fusion = tmp_path / "model" / "fusion"
    train_fusion(tmp_path / "scores" / "train", fusion, options)
    score_fusion(tmp_path / "scores" / "eval", *model_files(fusion), protocol, tmp_path / "scores.txt")
    expected = [float(line.split()[-1]) for line in (tmp_path / "scores.txt").read_text().splitlines()]
    monkeypatch.setattr(features, "BLOCKS_AT_ONCE", 1)
    found = [each["llr"] for each in objects(detect(capsys, fusion, audio, output="json").out)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_other_rates_are_resampled(work, capsys, tmp_path, recordings, rate):
    signal, _ = soundfile.read(recordings[0], dtype="float32")
    other = resample(signal, 16000, rate)
    soundfile.write(tmp_path / "other.wav", other, rate, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.wav", np.stack([other + 0.1, other - 0.1], 1), rate, subtype="FLOAT")
    soundfile.write(tmp_path / "again.wav", resample(other, rate, 16000), 16000, subtype="FLOAT")
    found = detect(capsys, work / "model" / "mfcc", *sorted(tmp_path.glob("*.wav")), output="json")
    again, here, stereo = (each["llr"] for each in objects(found.out))
    assert here == pytest.approx(again, abs=1e-5)
    assert stereo == pytest.approx(again, abs=1e-2)
    assert ("at 8,000 Hz it has nothing above 4,000 Hz" in found.err) == (rate == 8000)
    assert ("warning: 2 of 3 recordings: at 8,000" in found.err) == (rate == 8000)


def test_a_telephone_call_is_noticed_at_any_rate(work, capsys, tmp_path, recordings):
    signal, _ = soundfile.read(recordings[0], dtype="float32")
    narrow = resample(signal, 16000, 8000)
    for rate in (16000, 48000):
        soundfile.write(tmp_path / f"{rate}.wav", resample(narrow, 8000, rate), rate)
    whistle = 0.01 * np.sin(2 * np.pi * 4700 / 16000 * np.arange(2 * len(narrow)))
    soundfile.write(tmp_path / "wide.wav", resample(narrow, 8000, 16000) + whistle, 16000)
    found = detect(capsys, work / "model" / "mfcc", recordings[0], tmp_path)
    doubt = "has nothing above 4,000 Hz, like a telephone call, but the models use the band up to 8,000 Hz"
    doubt += "; the score is unreliable\n"
    assert f"warning: {tmp_path / '16000.wav'}: {doubt}warning: 2 of 4 recordings: {doubt}" in found.err
    detector = detection.Detector(work / "model" / "mfcc")
    detector(tmp_path / "16000.wav")
    assert capsys.readouterr().err == f"warning: {tmp_path / '16000.wav'}: {doubt}"
    detector.models.highest = 4000  # as of models of mfcc@0-4000
    soundfile.write(tmp_path / "8000.wav", narrow, 8000)
    for rate in (8000, 16000):
        assert detector(tmp_path / f"{rate}.wav").warnings == []


def test_a_process_of_its_own_answers_at_once_and_needs_neither_spafe_nor_scikit_learn(work, recordings):
    """Their imports would take longer than all the rest; a name on the list is answered before the next is read."""
    program = (
        "import sys; from gmm_detect import main; main(sys.argv[1:]);"
        "print(sorted({'spafe', 'sklearn', 'scipy.signal', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, "--model_path", work / "model" / FILES, "-"]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=Path(gmm_detect.__file__).parent, **options) as process:
        for path in recordings[:2]:
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(f"{path}: ")
        process.stdin.close()
        assert process.stdout.read() == "[]\n"
        assert process.wait(30) == 0


# -- output --------------------------------------------------------------------------------------------


def calibrated(folder, target, lowest_usual=None, **settings):
    """Copy models and calibrate the copy; `lowest_usual` is to follow from what the calibration says of dev."""
    if target != folder:
        shutil.copytree(folder, target)
    given = {"slope": 2.0, "offset": 0.5, "prior": 0.5, "criterion": "eer", "threshold": -0.25, **settings}
    dev = {"eer": 0.1, "eer_low": 0.05, "eer_high": 0.2, "eer_over": "trials", "n_bonafide": 10, "n_spoof": 20}
    of = {"score_file": "dev.txt", "score_sha256": "0" * 64, "models_sha256": calibration.models_sha256(target)}
    usual = None if lowest_usual is None else [lowest_usual + 10, lowest_usual + 20]
    calibration.write(target, calibration.Calibration(**given, **dev, **of, log_likelihoods=usual))
    return target


FIELDS = ["file", "llr", "threshold", "decision", "probability", "out_of_domain", "warnings"]


def test_without_calibration_there_is_no_decision_and_one_line_says_how_to_get_one(work, capsys, tmp_path, recordings):
    odd = tmp_path / 'with, "quotes".flac'
    shutil.copy(recordings[0], odd)
    found = detect(capsys, work / "model" / "mfcc", odd, output="json")
    (line,) = found.err.splitlines()
    assert "not calibrated, so there are no decisions and probabilities; test.sh calibrates, or gmm_calib" in line
    (result,) = objects(found.out)
    assert list(result) == FIELDS
    assert list(result.values())[2:] == [None, None, None, None, []]
    assert detect(capsys, work / "model" / "mfcc", odd).out == f"{odd}: LLR {result['llr']:.4f}\n"
    (row,) = csv.DictReader(io.StringIO(detect(capsys, work / "model" / "mfcc", odd, output="csv").out))
    assert list(row) == FIELDS
    assert (row["file"], *list(row.values())[2:]) == (str(odd), "", "", "", "", "")


def test_a_threshold_decides_and_a_calibration_gives_probabilities(work, capsys, tmp_path, recordings):
    found = detect(capsys, work / "model" / "mfcc", *recordings, output="json", threshold=0.0)
    for each in objects(found.out):
        assert each["decision"] == ("bonafide" if each["llr"] > 0 else "spoof")
        assert (each["threshold"], each["probability"]) == (0, None)
    assert {each["decision"] for each in objects(found.out)} == {"bonafide", "spoof"}
    model = calibrated(work / "model" / "mfcc", tmp_path / "mfcc")
    found = detect(capsys, model, *recordings, output="json")
    assert "threshold -0.2500 (the EER's), calibrated on dev.txt (EER 10.0 %)" in found.err
    for each in objects(found.out):
        assert each["threshold"] == -0.25
        assert each["probability"] == pytest.approx(1 / (1 + np.exp(-(2 * each["llr"] + 0.5))), rel=1e-4, abs=1e-12)
    text = detect(capsys, model, recordings[0], threshold=1e6).out
    assert "spoof, LLR" in text
    assert "<= threshold 1000000.0000, P(bona fide) " in text
    (each,) = objects(detect(capsys, model, recordings[0], output="json", threshold=0.1234567).out)
    assert each["threshold"] == 0.123457
    assert each["llr"] == round(each["llr"], 6)
    llr = detection.Detector(model).judge(str(recordings[0]))[1].llr
    for threshold in (llr, round(llr, 6), llr - 4e-7, llr + 4e-7):  # those of score files have six decimals
        assert detection.Detector(model, threshold=threshold)(recordings[0]).decision == (
            "bonafide" if round(llr, 6) > round(threshold, 6) else "spoof"
        )


def log_likelihood(model, list_path, item):
    """Return the mean log-likelihood a frame under the model that suits an item better, by scikit-learn."""
    frames = pickle.loads(list_path.read_bytes())[item][0].astype(float)
    return max(pickle.loads(path.read_bytes()).score(frames) for path in model_files(model))


def test_recordings_unlike_those_of_the_calibration_are_flagged(work, capsys, tmp_path, recordings):
    model = work / "model" / "mfcc"
    found = [log_likelihood(model, work / "data" / "eval" / "eval-mfcc.pkl", item) for item in range(len(recordings))]
    lowest = np.median(found)
    calibrated(model, tmp_path / "mfcc", lowest)
    told = detect(capsys, tmp_path / "mfcc", *recordings, output="json")
    expected = [value < lowest for value in found]
    assert [each["out_of_domain"] for each in objects(told.out)] == expected
    assert {*expected} == {False, True}
    doubt = (
        f"far less likely under {tmp_path / 'mfcc'} than the recordings of its calibration, with a log-likelihood per "
    )
    doubt += f"frame below {lowest:.1f}; the score is unreliable"
    assert f"{recordings[expected.index(True)]}: {doubt}" in told.err
    assert f"{sum(expected)} of {len(recordings)} recordings: {doubt}" in told.err
    told = detect(capsys, tmp_path / "mfcc", recordings[expected.index(True)], output="csv").out
    assert ',true,"far less likely under ' in told.splitlines()[1]
    assert ", unreliable\n" in detect(capsys, tmp_path / "mfcc", recordings[expected.index(True)]).out


def test_a_fusion_is_out_of_domain_where_a_base_model_is(work, capsys, tmp_path, recordings):
    shutil.copytree(work / "model", tmp_path / "model")
    top, lfcc, mfcc = (tmp_path / "model" / folder for folder in (FILES, "lfcc", "mfcc"))

    def flag():
        (each,) = objects(detect(capsys, top, recordings[0], output="json").out)
        return each["out_of_domain"]

    for fusion in (top, tmp_path / "model" / FRAMES):
        calibrated(fusion, fusion, 1e6)  # of which nothing is asked
    assert flag() is None
    calibrated(lfcc, lfcc, -1e6)
    assert flag() is False
    calibrated(mfcc, mfcc, 1e6)
    assert flag() is True
    calibrated(lfcc, lfcc, 1e6)
    assert detect(capsys, top, recordings[0]).err.count("far less likely under") == 1
    calibrated(lfcc, lfcc, -1e6)
    path = mfcc / calibration.FILE
    path.write_text(path.read_text().replace(calibration.models_sha256(mfcc), "0" * 64))  # of other models
    assert flag() is False


def test_names_need_not_be_utf_8(work, tmp_path, recordings, monkeypatch):
    name = os.fsencode(tmp_path) + b"/caf\xe9.flac"
    try:
        shutil.copy(recordings[0], name)
    except OSError:
        pytest.skip("a file system that takes UTF-8 only")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(name + b"\n")))
    for given, output in ((os.fsdecode(name), "text"), ("-", "csv"), (str(tmp_path), "json")):
        printed = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="utf-8"))
        detection.detect([str(work / "model" / "mfcc")], [given], output=output)
        last = printed.getvalue().splitlines()[-1]
        assert os.fsencode(json.loads(last)["file"]) == name if output == "json" else last.startswith(name)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed := io.BytesIO(), encoding="ascii", errors="replace"))
    detection.detect([str(work / "model" / "mfcc")], [os.fsdecode(name)])
    sys.stdout.flush()
    assert printed.getvalue().startswith(name.replace(b"\xe9", b"?"))


# -- which recordings ----------------------------------------------------------------------------------


def test_folders_patterns_and_lists(work, capsys, tmp_path, recordings, monkeypatch):
    for name in ("b.flac", "a/z.FLAC", "a/deeper/1.flac", "a/._1.flac"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(recordings[0], tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("")
    shutil.copy(recordings[0], tmp_path / "[1].flac")
    monkeypatch.chdir(tmp_path)

    def names(*files):
        return [each["file"] for each in objects(detect(capsys, work / "model" / "mfcc", *files, output="json").out)]

    assert names(".") == ["./[1].flac", "./b.flac", "./a/z.FLAC", "./a/deeper/1.flac"]
    assert names("a") == ["a/z.FLAC", "a/deeper/1.flac"]
    assert names("*.flac") == ["[1].flac", "b.flac"]
    assert names("[1].flac") == ["[1].flac"]  # which is a name, and not a pattern
    assert names("**/*.FLAC", "a/d*") == ["a/z.FLAC", "a/deeper/1.flac"]
    lines = io.TextIOWrapper(io.BytesIO(b"b.flac\r\n\na\n"))
    monkeypatch.setattr(sys, "stdin", lines)
    assert names("-") == ["b.flac", "a/z.FLAC", "a/deeper/1.flac"]


def test_the_script_takes_models_and_recordings_in_any_order(work, capsys, recordings):
    model, mfcc, lfcc = (str(work / "model" / name) for name in (FRAMES, "mfcc", "lfcc"))
    first, second = map(str, recordings[:2])
    for arguments in (
        ["--model_path", model, first, second],
        [first, second, "--model_path", model],
        [first, "--model_path", model, second],
        ["--model_path", mfcc, model, lfcc, "--", first, second],
        ["--model_path", mfcc, "--model_path", model, "--model_path", lfcc, first, second],
    ):
        capsys.readouterr()
        assert gmm_detect.main(["--csv", *arguments]) == 0
        assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["file", first, second]
    with pytest.raises(SystemExit) as ended:
        gmm_detect.main(["--model_path", model, first, "--csv", "--json"])
    assert ended.value.code == 2


def test_what_cannot_be_scored_is_named_and_the_rest_is_scored(work, capsys, tmp_path, recordings):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("no audio")
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16000)
    for value in (0.0, 0.25):
        soundfile.write(tmp_path / f"all {value}.wav", np.full(16000, value), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(1000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "large.wav", np.full(1000, 2e4), 16000, subtype="FLOAT")
    whole = recordings[0].read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no audio").mkdir()
    bad = [*sorted(tmp_path.iterdir()), tmp_path / "absent.wav", tmp_path / "absent*.wav"]
    found = detect(capsys, work / "model" / "mfcc", recordings[0], *bad, recordings[1], status=2)
    assert [line.split(": ")[0] for line in found.out.splitlines()] == [str(path) for path in recordings[:2]]
    for path in bad:
        assert f"{path}: " in found.err
    assert f"{len(bad)} not scored, 2 scored; first {bad[0]}" in found.err.splitlines()[-1]
    assert found.err.count("digital silence") == 2
    assert "divide by 32768" in found.err


def test_shorter_than_a_window_is_scored_with_a_warning(work, capsys, tmp_path, recordings):
    signal, rate = soundfile.read(recordings[0])
    soundfile.write(tmp_path / "short.ogg", signal[5000:5300], rate)
    found = detect(capsys, work / "model" / "mfcc", tmp_path / "short.ogg")
    assert "shorter than one window of 30 ms" in found.err
    assert len(found.out.splitlines()) == 1


# -- wrong calls ---------------------------------------------------------------------------------------


def refused(capsys, message, model_path, *files, **settings):
    found = detect(capsys, model_path, *files, status=2, **settings)
    assert found.out == ""
    assert message in found.err.splitlines()[-1]


def test_wrong_calls(work, capsys, tmp_path, recordings, monkeypatch):
    model = work / "model"
    refused(capsys, "no recording; give files", model / "mfcc")
    refused(capsys, "no models in it", tmp_path, recordings[0])
    refused(capsys, "no such folder", tmp_path / "absent", recordings[0])
    refused(capsys, "neither is built on the other", [model / "mfcc", model / "lfcc"], recordings[0])
    refused(capsys, "--ftype mfcc: the models know", model / "mfcc", recordings[0], ftype="mfcc")
    refused(capsys, "--threshold nan", model / "mfcc", recordings[0], threshold=float("nan"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    refused(capsys, "no recording came on standard input", model / "mfcc", "-")


def test_a_chain_that_lacks_a_member(work, capsys, tmp_path, recordings):
    shutil.copytree(work / "model" / FRAMES, tmp_path / FRAMES)
    refused(capsys, "needs the models of lfcc, which are not beside it", tmp_path / FRAMES, recordings[0])
    shutil.copytree(work / "model" / "mfcc", tmp_path / "lfcc")
    refused(capsys, "lfcc: not the models that the fusion", tmp_path / FRAMES, recordings[0])
    lfcc = work / "model" / "lfcc"
    refused(capsys, "needs the models of mfcc", [tmp_path / FRAMES, lfcc], recordings[0])
    assert detect(capsys, [tmp_path / FRAMES, tmp_path / "lfcc", lfcc], recordings[0]).out  # by what they are


def test_calibration_of_other_models_is_refused(work, capsys, tmp_path, recordings):
    model = calibrated(work / "model" / "mfcc", tmp_path / "mfcc")
    for path in model_files(work / "model" / "lfcc"):
        shutil.copy(path, model)
    refused(capsys, "calibration.json: was made for other models", model, recordings[0])


# -- models that know nothing --------------------------------------------------------------------------


def plain(folder, n_dims=60):
    for path, mean in zip(model_files(folder), (0.0, 1.0), strict=True):
        write_model(path, Model(Parameters(np.ones(1), np.full((1, n_dims), mean), np.ones((1, n_dims)))))
    return folder


def test_models_without_a_record_need_ftype(work, capsys, tmp_path, recordings):
    folder = plain(tmp_path / "plain")
    refused(capsys, "do not tell which features they were trained on; give --ftype", folder, recordings[0])
    refused(capsys, "no feature type 'mfc'", folder, recordings[0], ftype="mfc")
    refused(capsys, "models over 60 dimensions, but", folder, recordings[0], ftype="silence")
    found = detect(capsys, folder, recordings[0], ftype="imfcc", output="json")
    assert "16,000 Hz is assumed" in found.err
    signal, rate = soundfile.read(recordings[0], dtype="float32")
    frames = features.extract(signal, rate, ["imfcc"])["imfcc"].astype(float)
    # log N(x; 0, 1) − log N(x; 1, 1) = Σ (1/2 − x)
    (result,) = objects(found.out)
    assert result["llr"] == pytest.approx((0.5 - frames).sum(axis=1).mean(), abs=1e-3)
    of_files = Chain([plain(tmp_path / "silence", 2)], "silence").score([signal])
    assert (len(of_files.frames), of_files.window) == (0, None)


def test_fusions_of_lists_without_records_go_by_names(work, capsys, tmp_path, recordings):
    shutil.copytree(work / "model", tmp_path / "model")
    for path in model_files(tmp_path / "model" / FRAMES):
        model = read_model(path)
        write_model(path, replace(model, record=replace(model.record, inputs=[])))
    expected = detect(capsys, work / "model" / FRAMES, recordings[0]).out
    assert detect(capsys, tmp_path / "model" / FRAMES, recordings[0]).out == expected


MFCC = Source("features", types.settings("mfcc", 16000), 16000)


@pytest.mark.parametrize(
    ("columns", "inputs", "message"),
    [
        (
            None,
            [replace(MFCC, feature={**MFCC.feature, "n_filters": 40})],
            "features that this version does not compute",
        ),
        ("ab", [MFCC, replace(MFCC, feature=types.settings("mfcc-25", 16000))], "different windows"),
        (
            "ab",
            [MFCC, Source("features", types.settings("mfcc", 8000), 8000)],
            "different sampling rates",
        ),
        ("ab", [MFCC, None], "column 'b' does not tell which model"),
        ("a", [MFCC], "models over 120 dimensions"),
    ],
)
def test_features_that_no_chain_can_have_are_refused(tmp_path, columns, inputs, message):
    record = TrainingRecord(columns=columns and list(columns), inputs=inputs)
    n = 60 if columns is None else 120
    for path in model_files(tmp_path):
        write_model(path, Model(Parameters(np.ones(1), np.zeros((1, n)), np.ones((1, n))), record=record))
    with pytest.raises(InputError, match=message):
        Chain([tmp_path])


# -- the picture ---------------------------------------------------------------------------------------


def test_frames_are_drawn_and_replace_nothing_that_is_read(work, capsys, tmp_path, recordings):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    picture = tmp_path / "a.png"
    found = detect(capsys, work / "model" / FILES, recordings[0], frames=picture)
    assert found.out.count("\n") == 1
    assert found.err.splitlines()[-1] == f"{picture}: written"
    assert picture.read_bytes().startswith(b"\x89PNG")
    model = work / "model" / "mfcc"
    refused(capsys, "a picture of one recording", model, *recordings, frames=tmp_path / "b.png")
    refused(capsys, "ends in .png, .svg or .pdf", model, recordings[0], frames=recordings[1])
    assert not (tmp_path / "b.png").exists()
    recording = tmp_path / "recording.png"  # libsndfile goes by what is in it
    shutil.copy(recordings[0], recording)
    (tmp_path / "model.svg").symlink_to(model / "sp.gmm")
    before = [path.read_bytes() for path in (recording, tmp_path / "model.svg")]
    refused(capsys, "recording.png: this run reads or writes", model, recording, frames=recording)
    refused(capsys, "model.svg: this run reads or writes", model, recordings[0], frames=tmp_path / "model.svg")
    assert [path.read_bytes() for path in (recording, tmp_path / "model.svg")] == before


def test_the_picture_lies_over_its_time(work, tmp_path, monkeypatch, rng):
    """A click at 1.5 s is there in the spectrogram, and the frames that it changes are there, too."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from countermeasure.evaluation import drawing, frame_picture

    drawn = []
    monkeypatch.setattr(drawing, "save", lambda figure, path: drawn.append(figure))
    signal = (rng.normal(size=48000) * 1e-3).astype(np.float32)
    signal[24000:24080] += 0.5
    score = Chain([work / "model" / "mfcc"]).score([signal])
    assert score.folder == work / "model" / "mfcc"
    assert score.frames.mean() == pytest.approx(score.llr)
    assert Chain([work / "model" / FILES]).score([signal]).folder == work / "model" / FRAMES
    frame_picture.draw(tmp_path / "a.png", "a$b$.wav", signal, 16000, score.frames, score.window, 0.0)
    above, below, _ = drawn[0].axes
    (image,) = below.get_images()
    left, right, _, top = image.get_extent()
    level = np.asarray(image.get_array()).mean(axis=0)
    time = left + (np.arange(len(level)) + 0.5) * (right - left) / len(level)
    assert time[level.argmax()] == pytest.approx(1.5, abs=0.01)
    frames = above.get_lines()[0]
    spread = np.abs(frames.get_ydata() - np.median(frames.get_ydata()))
    assert frames.get_xdata()[spread.argmax()] == pytest.approx(1.5, abs=0.06)
    assert above.get_xlim() == below.get_xlim() == (0, 3)
    assert top == 8
