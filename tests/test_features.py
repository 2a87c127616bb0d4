import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from spafe.fbanks.linear_fbanks import linear_filter_banks
from spafe.fbanks.mel_fbanks import inverse_mel_filter_banks, mel_filter_banks

from countermeasure.errors import InputError
from countermeasure.features import features, types
from countermeasure.features.cepstra import KERNELS
from countermeasure.speech import silence
from reference_features import FUNCTIONS, reference, row_deltas

ROOT = Path(__file__).resolve().parents[1]
# Each method, and short windows for one of each kind.
FRAME_LEVEL = [*FUNCTIONS, "mfcc-25", "psrcc-25", "pncc-25", "lpcc-25"]


@pytest.fixture
def speech(rng):
    """Half a second like speech: harmonics, a falling spectrum, pauses, some exact zeros."""
    t = np.arange(8000) / 16000
    pitch = 2 * np.pi * (120 * t + 20 * t**2)
    voice = sum(np.sin(k * pitch) / k for k in range(1, 40)) * (np.sin(2 * np.pi * 3 * t) > -0.5)
    signal = np.round((0.1 * voice + 1e-3 * rng.normal(size=8000)) * 32768) / 32768
    signal[3000:3100] = 0
    return signal.astype(np.float32)


def assert_like(found, expected, tolerance=1e-3):
    """Compare relative to each coefficient's standard deviation."""
    assert found.shape == expected.shape
    deviation = np.abs(found - expected).max(axis=0)
    assert (deviation <= tolerance * expected.std(axis=0)).all()


@pytest.mark.parametrize("name", FRAME_LEVEL)
def test_equals_spafe(speech, name):
    expected = reference(name, speech, 16000)
    assert_like(features.extract(speech, 16000, [name])[name], expected)
    assert_like(features.extract(speech, 16000, [name], "float64")[name], expected, 1e-6)


@pytest.mark.parametrize("name", ["mfcc", "imfcc", "lfcc", "bfcc", "gfcc", "ngcc", "msrcc", "psrcc"])
def test_equals_spafe_on_real_recordings(shared_data, name, is_long):
    paths = [path for folder in ("asvspoof2019", "LA_mini") for path in sorted((shared_data / folder).rglob("*.flac"))]
    paths = paths if is_long else [paths[0], paths[-1]]
    assert len(paths) > (700 if is_long else 1)
    for path in paths:
        signal, rate = soundfile.read(path, dtype="float32")
        assert_like(features.extract(signal, rate, [name])[name], reference(name, signal, rate))


@pytest.mark.parametrize(("rate", "n_samples"), [(8000, 1500), (44100, 4000)])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_equals_spafe_at_other_rates(speech, name, rate, n_samples):
    # Above 34 kHz the window is longer than 1024 points and the FFT grows.
    signal = speech[1000 : 1000 + n_samples]
    assert_like(features.extract(signal, rate, [name])[name], reference(name, signal, rate))


def test_deltas_by_hand():
    x = np.array([[0.0], [1.0], [4.0], [9.0], [16.0]])
    # (x[1] − x[0] + 2 (x[2] − x[0])) / 10 = 0.9 at the edge; (9 − 1 + 2 (16 − 0)) / 10 = 4 in the middle.
    np.testing.assert_allclose(features.deltas(x)[:, 0], [0.9, 2.2, 4.0, 4.2, 3.1])
    np.testing.assert_array_equal(features.deltas(x[:1]), [[0.0]])


def test_every_method_has_a_function_and_a_reference():
    assert {*types.METHODS} - {types.SILENCE} == {*FUNCTIONS} == {*KERNELS}


def test_a_type_does_not_depend_on_the_others_of_the_call(speech):
    names = [*types.names(), "lfcc-cmvn", "lfcc@0-4000"]
    together = features.extract(speech, 16000, names)
    assert list(together) == names
    for name in ("silence", "mfcc", "mfcc-25", "lfcc", "lfcc-cmvn", "psrcc"):
        np.testing.assert_array_equal(features.extract(speech, 16000, [name])[name], together[name])


def test_silence_is_a_row_of_two():
    signal = np.concatenate([np.zeros(1024), np.full(2048, 0.1), np.zeros(2048)])
    found = features.extract(signal, 16000, ["silence"], "float64")["silence"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[768, 2048]])


@pytest.mark.parametrize("name", FRAME_LEVEL)
def test_a_window_is_one_frame_and_less_is_padded_with_zeros(speech, name):
    length = 400 if name.endswith("-25") else 480
    whole = features.extract(speech[:length], 16000, [name])[name]
    assert whole.shape == (1, 60)
    np.testing.assert_array_equal(whole[:, 20:], 0)
    np.testing.assert_array_equal(features.extract(speech[: length + 1], 16000, [name])[name], whole)
    assert not types.is_padded(name, length, 16000)
    for n in (1, length - 1):
        padded = np.concatenate([speech[:n], np.zeros(length - n, np.float32)])
        found = features.extract(speech[:n], 16000, [name], "float64")[name]
        np.testing.assert_allclose(found, reference(name, padded, 16000), rtol=1e-6, atol=1e-7)
        assert types.is_padded(name, n, 16000)


@pytest.mark.parametrize("name", ["mfcc", "imfcc", "lfcc", "ngcc", "bfcc"])
def test_the_floor_before_a_logarithm_is_the_rounding_unit(name):
    found = features.extract(np.zeros(4000), 16000, [name], "float64")[name]
    # The DCT of 70 equal values has one coefficient, √70 times the value.
    np.testing.assert_allclose(found[:, 0], np.sqrt(70) * np.log(2.0**-52))
    np.testing.assert_allclose(found[:, 1:], 0, atol=1e-9)


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_silent_constant_and_clipped_signals(speech, name):
    clipped = np.clip(50 * speech[:4000], -1, 32767 / 32768).astype(np.float32)
    assert_like(features.extract(clipped, 16000, [name])[name], reference(name, clipped, 16000))
    speech[1000:5000] = 0
    for signal in (np.zeros(4000, np.float32), speech, np.full(4000, 0.5, np.float32), np.full(4000, -1, np.float32)):
        assert np.isfinite(features.extract(signal, 16000, [name])[name]).all()


@pytest.mark.parametrize(
    ("names", "rate", "level", "complaint"),
    [
        (["mfcc"], 16000, 1e30, "mfcc features are not finite"),
        (["mfcc"], 50, 0.1, "sampling rate of 50 Hz is too low"),
        (["cqcc"], 400, 0.1, "sampling rate of 400 Hz is too low for cqcc"),
        (["cqcc"], 99, 0.1, "sampling rate of 99 Hz is too low for cqcc"),
        (["mfcc", "lfcc@4000-9000"], 16000, 0.1, "lfcc@4000-9000: its band ends above 8000 Hz"),
        (["mfcc@2000-2010"], 16000, 0.1, "2000 to 2010 Hz is too narrow a band for 70 mel filters"),
    ],
)
def test_what_a_type_cannot_be_computed_of(names, rate, level, complaint):
    with pytest.raises(InputError, match=complaint):
        features.extract(np.full(4000, level, np.float32), rate, names)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (
            ["mfc", "LFCC", "", "lfcc-", "lfcc-30", "silence-25", "silence-cmvn", "lfcc-cmvn-25"],
            "no feature type .*mfcc",
        ),
        (["lfcc@4000-0", "lfcc@1-1", "lfcc@4000", "lfcc@0-4k", "lfcc@0-04000", "lfcc@", "lfcc@0-1-cmvn"], "is no band"),
        (["cqcc@0-4000", "lpcc-25-cmvn@0-4000"], "has no filter bank"),
    ],
)
def test_names_of_no_type(names, complaint):
    for name in names:
        with pytest.raises(InputError, match=complaint):
            types.window(name)
        assert not types.is_name(name)


def by_hand(cepstra):
    """Return features of normalised cepstra, as the definition stands."""
    centred = cepstra - cepstra.mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0))
    static = np.divide(centred, deviation, out=np.zeros_like(centred), where=np.ptp(cepstra, axis=0) > 0)
    return np.hstack([static, row_deltas(static), row_deltas(row_deltas(static))])


@pytest.mark.parametrize("name", ["lfcc", "pncc", "lfcc-25"])
def test_cmvn_normalises_the_cepstra_of_a_recording(speech, name):
    plain = features.extract(speech, 16000, [name], "float64")[name]
    found = features.extract(speech, 16000, [name, f"{name}-cmvn"], "float64")[f"{name}-cmvn"]
    np.testing.assert_allclose(found, by_hand(plain[:, :20]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["lfcc-cmvn", "msrcc-cmvn", "psrcc-cmvn", "gfcc-cmvn", "ngcc-cmvn"])
def test_cmvn_leaves_constant_coefficients_at_zero(speech, name):
    for signal in (np.zeros(4000, np.float32), np.full(4000, 0.25, np.float32), speech[:480]):
        np.testing.assert_array_equal(features.extract(signal, 16000, [name])[name], 0)


@pytest.mark.parametrize("band", ["4000-8000", "500-3000"])
@pytest.mark.parametrize(
    ("name", "bank"), [("lfcc", linear_filter_banks), ("mfcc", mel_filter_banks), ("imfcc", inverse_mel_filter_banks)]
)
def test_triangles_of_a_band_are_spafes_at_their_frequencies(speech, name, bank, band):
    """spafe labels all bins of a spectrum with a band's frequencies; here it is given the band's bins alone."""
    low, high = map(int, band.split("-"))
    first, last = (round(hz * 1024 / 16000) for hz in (low, high))
    weights = np.zeros((70, 513))
    weights[:, first : last + 1] = bank(nfilts=70, nfft=2 * (last - first), fs=16000, low_freq=low, high_freq=high)[0]
    expected = reference(name, speech, 16000, fbanks=weights)
    assert_like(features.extract(speech, 16000, [f"{name}@{band}"])[f"{name}@{band}"], expected)


@pytest.mark.parametrize("name", ["gfcc", "ngcc", "bfcc", "pncc", "plp"])
def test_other_filters_of_a_band_are_spafes(speech, name):
    expected = reference(name, speech, 16000, low_freq=500, high_freq=3000)
    assert_like(features.extract(speech, 16000, [f"{name}@500-3000"])[f"{name}@500-3000"], expected)


def test_the_whole_band_is_the_plain_type(speech):
    found = features.extract(speech, 16000, ["imfcc", "imfcc@0-8000"])
    np.testing.assert_array_equal(found["imfcc"], found["imfcc@0-8000"])


def test_settings_say_what_the_numbers_are():
    found = types.settings("msrcc", 44100)
    assert found["type"] == "msrcc"
    assert (found["window_length_samples"], found["window_hop_samples"], found["n_fft"]) == (1323, 661, 2048)
    assert (found["high_hz"], found["zeros_become"]) == (22050, 1e-5)
    found = types.settings("lfcc-cmvn@300-3400", 16000)
    assert (found["type"], found["cmvn"], found["low_hz"], found["high_hz"]) == ("lfcc-cmvn@300-3400", True, 300, 3400)
    assert types.settings("silence", 16000) == {"type": "silence", "frame": silence.FRAME, "hop": silence.HOP}
    variants = ["lfcc-cmvn", "lfcc@0-4000", "lfcc-25-cmvn@0-4000"]
    everything = [str(types.settings(name, 16000)) for name in [*types.names(), *variants]]
    assert len(set(everything)) == len(everything)


def test_help_texts_need_no_numpy():
    code = (
        "import sys, gmm_data_processing, silence_measure\n"
        "print(len(gmm_data_processing.build_parser().format_help()), 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize("name", ["mfcc", "psrcc-25", "pncc", "lfcc-cmvn"])
def test_pieces_of_a_long_recording_are_the_whole(speech, monkeypatch, name):
    signal = np.tile(speech, 14)[:-77]
    whole = features.extract(signal, 16000, [name])[name]
    monkeypatch.setattr(features, "BLOCKS_AT_ONCE", 2)
    for cuts in ([], [1, 5000, 5001, 90000]):
        pieces = [found[name] for found in features.extract_pieces(np.split(signal, cuts), 16000, [name])]
        assert len(pieces) == 1 if name.startswith("pncc") or name.endswith("-cmvn") else len(pieces) >= 2
        np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("n", [1, 479, 480, 96 * 240 + 240, (3 * 96 - 1) * 240 + 480, (3 * 96 - 1) * 240 + 481])
def test_pieces_at_the_edges(rng, monkeypatch, n):
    monkeypatch.setattr(features, "BLOCKS_AT_ONCE", 2)
    signal = rng.normal(size=n).astype(np.float32) * 0.1
    whole = features.extract(signal, 16000, ["mfcc"])["mfcc"]
    assert len(whole) == max((n - 480) // 240 + 1, 1)
    pieces = list(features.extract_pieces([signal[: n // 2], signal[n // 2 :]], 16000, ["mfcc"]))
    np.testing.assert_array_equal(np.concatenate([piece["mfcc"] for piece in pieces]), whole)


@pytest.mark.parametrize("names", [["silence", "mfcc"], ["silence"], ["lfcc-cmvn", "silence", "mfcc"]])
def test_silence_is_measured_over_the_whole(speech, rng, monkeypatch, names):
    monkeypatch.setattr(features, "BLOCKS_AT_ONCE", 2)
    quiet = rng.normal(size=3000) * 1e-4
    signal = np.concatenate([quiet, np.tile(speech, 14), quiet[:2000]]).astype(np.float32)
    whole = features.extract(signal, 16000, names)
    for cuts in ([], range(777, len(signal), 777)):
        found = list(features.extract_pieces(np.split(signal, cuts), 16000, names))
        assert [piece for piece in found if "silence" in piece] == found[-1:]
        for name in names:
            rows = np.concatenate([piece[name] for piece in found if name in piece])
            np.testing.assert_array_equal(rows, whole[name])
