"""The demo's synthetic data set."""

import filecmp
import shutil

import numpy as np
import pytest
import scipy.signal
import soundfile

import corpus
from countermeasure.errors import InputError
from countermeasure.trials.protocol import read_protocol
from examples.demo_data import attacks, make_demo_data, voice

SIZES = dict(zip(corpus.PROTOCOLS, (2, 2, 3), strict=True))


def make(folder, *sizes, n_jobs=1):
    numbers = map(str, (*sizes, "--n_jobs", n_jobs))
    assert make_demo_data.main(["--output_path", str(folder), "--n_bonafide", *numbers]) == 0


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "LA"
    make(folder, *SIZES.values(), n_jobs=2)
    return folder


@pytest.fixture(scope="module")
def trials(data_set):
    return {split: list(read_protocol(corpus.protocol(data_set, split))) for split in SIZES}


def test_protocols_name_the_recordings_and_nothing_else(data_set, trials):
    for split, n_bonafide in SIZES.items():
        labels = [trial.label for trial in trials[split]]
        assert (labels.count("bonafide"), labels.count("spoof")) == (n_bonafide, n_bonafide)
        recordings = {path.stem for path in (data_set / f"ASVspoof2019_LA_{split}" / "flac").iterdir()}
        assert recordings == {trial.utterance for trial in trials[split]}


def test_speakers_are_disjoint_and_one_attack_is_in_eval_only(trials):
    speakers = [{trial.speaker for trial in trials[split]} for split in SIZES]
    assert len(set.union(*speakers)) == sum(map(len, speakers))
    found = {split: {trial.attack for trial in trials[split]} - {None} for split in SIZES}
    assert found == {"train": {"A01", "A02"}, "dev": {"A01", "A02"}, "eval": {"A01", "A02", "A03"}}


def test_recordings_are_16_khz_mono_flac_of_a_few_seconds_and_not_clipped(data_set):
    for path in data_set.rglob("*.flac"):
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16000, 1)
        assert 1.2 < info.duration < 4
        assert 0 < np.abs(soundfile.read(path)[0]).max() <= 0.95 + 1 / 32768


def test_a_finished_set_is_kept_and_a_broken_one_is_made_again_with_the_same_bytes(data_set, tmp_path, capsys):
    names = [str(path.relative_to(data_set)) for path in data_set.rglob("*") if path.is_file()]
    assert len(names) == 2 * sum(SIZES.values()) + 4
    shutil.copytree(data_set, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.rglob("*.flac"):
        path.write_bytes(b"changed")
    make(tmp_path, *SIZES.values())
    assert "nothing to do" in capsys.readouterr().err
    assert path.read_bytes() == b"changed"
    corpus.protocol(tmp_path, "eval").unlink()  # as after a run that was killed
    make(tmp_path, *SIZES.values())
    assert filecmp.cmpfiles(data_set, tmp_path, names, shallow=False) == (names, [], [])


def test_another_data_set_in_the_folder_is_not_touched(tmp_path):
    theirs = corpus.protocol(tmp_path, "dev")
    theirs.parent.mkdir()
    theirs.write_text("LA_0039 LA_D_2834763 - - bonafide\n")
    with pytest.raises(InputError, match="choose another folder"):
        make(tmp_path, 1, 1, 1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


def spectrum(signal):
    """Mean power in 25 bands of 320 Hz, in dB."""
    power = scipy.signal.welch(signal, nperseg=512)[1][1:251]
    return 10 * np.log10(power.reshape(25, 10).mean(axis=1))


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_spoofs_say_what_the_speaker_says(name):
    speaker = voice.draw_speaker(np.random.default_rng(0))
    said = voice.speak(speaker, 1.5, np.random.default_rng(1))
    spoof = attacks.ATTACKS[name](speaker, 1.5, np.random.default_rng(1))
    assert len(spoof) == len(said)
    assert np.mean(spoof**2) == pytest.approx(1)
    assert not np.array_equal(spoof, said)
    assert np.sqrt(np.mean((spectrum(spoof) - spectrum(said)) ** 2)) < 4  # dB
    loud = [np.convolve(x**2, np.ones(1600), "same") for x in (said, spoof)]
    assert np.corrcoef(np.log(np.maximum(loud, 1e-3)))[0, 1] > 0.8


def test_filter_of_unit_response_is_the_identity(rng):
    signal = rng.normal(size=8000)
    np.testing.assert_allclose(voice.filter_by_steps(np.ones((51, 641)), signal), signal, atol=1e-12)
