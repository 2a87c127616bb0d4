"""The demo's synthetic speech, and the data set made of it."""

import filecmp
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from countermeasure import synthesis
from countermeasure.errors import InputError
from countermeasure.trials.protocol import read_protocol

ROOT = Path(__file__).resolve().parent.parent
SPLITS = {"train": "trn", "dev": "trl", "eval": "trl"}
SIZES = (6, 2, 12)


def make(folder, *options):
    command = [sys.executable, str(ROOT / "make_demo_data.py"), "--output_path", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def protocol_path(folder, split):
    return folder / f"ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{split}.{SPLITS[split]}.txt"


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "LA"
    done = make(folder, "--n_jobs", "2", "--n_bonafide", *map(str, SIZES))
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC" in done.stderr
    return folder


@pytest.fixture(scope="module")
def trials(data_set):
    return {split: read_protocol(protocol_path(data_set, split)) for split in SPLITS}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def speech():
    rng = np.random.default_rng(11)
    return synthesis.draw_speech(synthesis.draw_speaker(rng), 1.5, rng)


def long_term_spectrum(signal):
    """Mean power in 25 bands of 320 Hz, in dB."""
    power = (np.abs(synthesis.stft(signal)) ** 2).mean(axis=0)[1:251]
    return 10 * np.log10(power.reshape(25, 10).mean(axis=1))


# --- The data set ----------------------------------------------------------------------------


def test_protocols_name_the_recordings_and_nothing_else(data_set, trials):
    for split, n_bonafide in zip(SPLITS, SIZES, strict=True):
        labels = [trial.label for trial in trials[split]]
        assert labels.count("bonafide") == n_bonafide
        assert labels.count("spoof") == 2 * n_bonafide
        assert all(len(trial.line.split()) == 5 for trial in trials[split])
        recordings = {path.stem for path in (data_set / f"ASVspoof2019_LA_{split}" / "flac").iterdir()}
        assert recordings == {trial.utterance for trial in trials[split]}


def test_recordings_are_16_khz_mono_flac_of_a_few_seconds_and_not_clipped(data_set):
    for path in data_set.rglob("*.flac"):
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16000, 1)
        assert 1.2 < info.duration < 4
        assert np.abs(soundfile.read(path)[0]).max() <= 0.95 + 1 / 32768


def test_speakers_are_disjoint_and_enough_for_a_bootstrap(trials):
    speakers = {split: {trial.speaker for trial in trials[split]} for split in SPLITS}
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values()))
    assert len({trial.speaker for trial in trials["eval"] if trial.label == "bonafide"}) >= 10


def test_unseen_attack_is_in_eval_only(trials):
    attacks = {split: {trial.attack for trial in trials[split]} - {None} for split in SPLITS}
    seen = {name for name, attack in synthesis.ATTACKS.items() if attack.seen}
    assert attacks["train"] == attacks["dev"] == seen
    assert attacks["eval"] == set(synthesis.ATTACKS) > seen


def test_same_seed_gives_same_bytes_for_any_number_of_processes(data_set, tmp_path):
    assert make(tmp_path, "--n_jobs", "1", "--n_bonafide", *map(str, SIZES)).returncode == 0
    names = [str(path.relative_to(data_set)) for path in data_set.rglob("*") if path.is_file()]
    assert len(names) == 3 * sum(SIZES) + 5
    assert filecmp.cmpfiles(data_set, tmp_path, names, shallow=False) == (names, [], [])


def test_whole_set_is_kept_and_a_broken_one_is_not_taken_for_whole(tmp_path):
    sizes = ("--n_bonafide", "1", "1", "1", "--n_jobs", "1")
    assert make(tmp_path, *sizes).returncode == 0
    recordings = sorted(tmp_path.rglob("*.flac"))
    before = recordings[0].read_bytes()
    times = [path.stat().st_mtime_ns for path in recordings]
    assert "nothing to do" in make(tmp_path, *sizes).stderr
    assert [path.stat().st_mtime_ns for path in recordings] == times

    protocol_path(tmp_path, "eval").unlink()  # as after a run that was killed
    recordings[0].write_bytes(b"half")
    assert make(tmp_path, *sizes).returncode == 0
    assert recordings[0].read_bytes() == before

    assert make(tmp_path, *sizes, "--seed", "1").returncode == 0
    assert recordings[0].read_bytes() != before


def test_another_data_set_in_the_folder_is_not_touched(tmp_path):
    theirs = protocol_path(tmp_path, "dev")
    theirs.parent.mkdir()
    theirs.write_text("LA_0039 LA_D_2834763 - - bonafide\n")
    done = make(tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


@pytest.mark.parametrize("options", [("--seed", "-1"), ("--n_bonafide", "1", "0", "1"), ("--n_jobs", "0")])
def test_numbers_out_of_range_are_refused(tmp_path, options):
    done = make(tmp_path / "new", *options)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_level_length_and_silence_do_not_tell_the_classes_apart(data_set, trials):
    measures: dict[str, list] = {"bonafide": [], "spoof": []}
    for split in SPLITS:
        for trial in trials[split]:
            audio = data_set / f"ASVspoof2019_LA_{split}" / "flac" / f"{trial.utterance}.flac"
            signal = soundfile.read(audio)[0]
            envelope = np.sqrt(np.convolve(signal**2, np.full(160, 1 / 160), mode="same"))
            loud = np.flatnonzero(envelope > 0.2 * envelope.max())
            measures[trial.label].append(
                [np.log(np.std(signal)), len(signal), loud[0], len(signal) - loud[-1], np.log(envelope[160:640].min())]
            )
    bonafide, spoof = (np.array(measures[label]) for label in ("bonafide", "spoof"))
    # Probability that a bona fide value exceeds a spoof's: 0.5 where the distributions are the same.
    # With 20 and 40 values its standard deviation is 0.08.
    area = (bonafide[:, None] > spoof).mean(axis=(0, 1))
    np.testing.assert_allclose(area, 0.5, atol=0.24)


# --- The signals -----------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [None, *synthesis.ATTACKS])
def test_utterances_are_finite_and_repeatable(attack):
    target, source = (synthesis.draw_speaker(np.random.default_rng(seed)) for seed in (1, 2))
    for seed in range(3):
        signal = synthesis.draw_utterance(target, source, attack, np.random.default_rng(seed))
        again = synthesis.draw_utterance(target, source, attack, np.random.default_rng(seed))
        assert np.isfinite(signal).all()
        assert np.abs(signal).max() < 1
        np.testing.assert_array_equal(signal, again)


def test_pitch_tracker_finds_the_pitch_of_a_harmonic_tone():
    time = np.arange(16000) / synthesis.RATE
    for f0 in (80.0, 120.0, 210.0, 330.0):
        tone = np.sum([np.cos(2 * np.pi * k * f0 * time) / k for k in range(1, 10)], axis=0)
        np.testing.assert_allclose(synthesis.estimate_f0(tone)[5:-5], f0, rtol=0.02)


def test_noise_has_no_pitch(rng):
    assert np.mean(synthesis.estimate_f0(rng.normal(size=16000)) > 0) < 0.05


def test_speech_has_the_pitch_of_its_speaker(rng):
    speaker = synthesis.draw_speaker(rng)
    f0 = synthesis.estimate_f0(synthesis.draw_speech(speaker, 3.0, rng))
    assert abs(np.log2(np.median(f0[f0 > 0]) / speaker.f0)) < 0.35
    assert 0.3 < np.mean(f0 > 0) < 0.98  # there are unvoiced sounds and pauses


def test_formants_are_found_where_they_were_put():
    frequency, bandwidth = np.array([[500.0, 1500.0, 2500.0]]), np.array([[60.0, 80.0, 100.0]])
    response = np.abs(synthesis._resonances(frequency, bandwidth))[0]
    assert response[0] == pytest.approx(1)
    peaks = np.flatnonzero((response[1:-1] > response[:-2]) & (response[1:-1] > response[2:])) + 1
    np.testing.assert_allclose(peaks * synthesis.RATE / synthesis.FILTER_SIZE, frequency[0], atol=15)


def test_bandwidth_of_a_formant_at_500_hz():
    assert synthesis.formant_bandwidth(np.array(500.0)) == pytest.approx(15 + 20 + 5)


def test_linear_prediction_recovers_an_all_pole_filter(rng):
    denominator = np.poly([0.9 * np.exp(0.5j), 0.9 * np.exp(-0.5j), 0.8 * np.exp(2j), 0.8 * np.exp(-2j)]).real
    signal = scipy.signal.lfilter([0.3], denominator, rng.normal(size=200_000))
    coefficients, gain = synthesis.linear_prediction(signal[None], 4)
    np.testing.assert_allclose(coefficients[0], denominator, atol=0.02)
    assert gain[0] == pytest.approx(0.3, rel=0.01)


def test_stft_is_inverted(speech):
    np.testing.assert_allclose(synthesis.istft(synthesis.stft(speech), len(speech)), speech, atol=1e-12)


def test_griffin_lim_never_loses_consistency(speech):
    magnitude = np.abs(synthesis.stft(speech))
    steps = [
        synthesis.inconsistency(
            synthesis.griffin_lim(magnitude, len(speech), np.random.default_rng(0), n_iter), magnitude
        )
        for n_iter in range(12)
    ]
    assert np.all(np.diff(steps) <= 1e-12)
    assert steps[-1] < 0.5 * steps[0]


@pytest.mark.parametrize("vocoder", [synthesis.lpc_vocoder, synthesis.mel_vocoder, synthesis.harmonic_vocoder])
def test_vocoders_keep_length_level_and_envelope(vocoder, speech, rng):
    output = vocoder(speech, rng)
    assert len(output) == len(speech)
    assert 0.6 < np.std(output) / np.std(speech) < 1.6  # smoothed log magnitudes lie below the mean power
    difference = long_term_spectrum(output) - long_term_spectrum(speech)
    assert np.sqrt(np.mean(difference**2)) < 4  # dB


def test_pulse_train_has_one_impulse_a_period_and_unit_power():
    pulses = synthesis._pulse_train(np.full(400, 100.0), 32000)
    np.testing.assert_array_equal(np.diff(np.flatnonzero(pulses)), 160)
    assert np.mean(pulses**2) == pytest.approx(1, rel=0.02)


def test_splicing_an_utterance_from_itself_changes_little(speech):
    output = synthesis.splice(speech, speech, join_weight=0.0)
    whole = (len(speech) // 512 - 1) * 512  # the last unit may be incomplete
    assert np.corrcoef(output[:whole], speech[:whole])[0, 1] > 0.99


def test_splicing_needs_a_database_of_at_least_a_unit(speech):
    with pytest.raises(InputError, match="database of 100 samples"):
        synthesis.splice(speech, speech[:100])


def test_pitch_conversion_moves_and_flattens_the_pitch(speech):
    old = synthesis.estimate_f0(speech)
    goal = 1.3 * np.exp(np.log(old[old > 0]).mean())
    output = synthesis.convert_voice(speech, goal, liveliness=0.1)
    new = synthesis.estimate_f0(output)
    assert len(output) == len(speech)
    assert np.median(new[new > 0]) == pytest.approx(goal, rel=0.05)
    spread = [np.subtract(*np.percentile(np.log2(f0[f0 > 0]), [80, 20])) for f0 in (old, new)]
    assert spread[1] < 0.5 * spread[0]


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.15])
def test_voice_conversion_shifts_the_resonances(factor):
    time = np.arange(160)
    ring = np.exp(-time / 30) * np.sin(2 * np.pi * 1000 / synthesis.RATE * time)  # a resonance at 1000 Hz
    output = synthesis.convert_voice(np.tile(ring, 100), 100.0, factor)
    spectrum = np.abs(scipy.signal.welch(output, synthesis.RATE, nperseg=2048)[1])
    assert np.argmax(spectrum) * synthesis.RATE / 2048 == pytest.approx(1000 * factor, abs=60)


def test_signals_without_voice_or_sound_survive_every_vocoder(rng):
    for signal in (np.zeros(4000), rng.normal(size=4000)):
        for output in (
            synthesis.lpc_vocoder(signal, rng),
            synthesis.mel_vocoder(signal, rng),
            synthesis.harmonic_vocoder(signal, rng),
            synthesis.convert_voice(signal, 120.0, 1.1),
        ):
            assert output.shape == signal.shape
            assert np.isfinite(output).all()


def test_mel_filters_cover_every_bin_and_band():
    filters = synthesis.mel_filters()
    assert filters.shape == (synthesis.N_MELS, synthesis.STFT_SIZE // 2 + 1)
    assert (filters.sum(axis=0)[1:-1] > 0).all()
    assert (filters.sum(axis=1) > 0).all()


def test_filter_of_unit_response_is_the_identity(speech):
    identity = np.ones((len(speech) // synthesis.HOP + 1, synthesis.FILTER_SIZE // 2 + 1))
    np.testing.assert_allclose(synthesis._filter(identity, speech), speech, atol=1e-12)
