import numpy as np
import pytest
import soundfile

from countermeasure.errors import InputError
from countermeasure.speech import audio


@pytest.fixture
def signal(rng):
    # Whole 16-bit steps, so that every format holds them exactly.
    return rng.integers(-32768, 32768, size=4000) / 32768


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.flac", "PCM_16"), ("a.flac", "PCM_24"), ("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT")],
)
@pytest.mark.parametrize("is_read", [False, True])
def test_reads_samples_exactly(tmp_path, signal, name, subtype, is_read):
    soundfile.write(tmp_path / name, signal, 16000, subtype)
    recording = audio.read(tmp_path / name, (tmp_path / name).read_bytes() if is_read else b"")
    assert recording.signal.dtype == np.float32
    np.testing.assert_array_equal(recording.signal, signal)
    assert (recording.rate, recording.n_channels) == (16000, 1)


def test_int24_keeps_its_lowest_bit(tmp_path):
    signal = np.array([1, -1, 2**23 - 1, -(2**23)]) / 2**23
    soundfile.write(tmp_path / "a.flac", signal, 16000, "PCM_24")
    np.testing.assert_array_equal(audio.read(tmp_path / "a.flac").signal, signal)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_reports_the_sampling_rate(tmp_path, signal, rate):
    soundfile.write(tmp_path / "a.flac", signal, rate)
    assert audio.read(tmp_path / "a.flac").rate == rate


def test_stereo_becomes_the_mean_of_its_channels(tmp_path):
    left, right = np.array([0.5, -0.25, 0.0]), np.array([0.25, -0.75, 1 / 32768])
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000)
    recording = audio.read(tmp_path / "a.wav")
    np.testing.assert_array_equal(recording.signal, [0.375, -0.5, 0.5 / 32768])
    assert recording.n_channels == 2


@pytest.mark.parametrize("n_channels", [1, 2, 5])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_both_decoders_of_flac_give_the_same(tmp_path, rng, n_channels, subtype, rate):
    pytest.importorskip("miniaudio", reason="the second decoder of FLAC, miniaudio, is not installed")
    path = tmp_path / "a.flac"
    soundfile.write(path, rng.uniform(-1, 1, size=(5000, n_channels)), rate, subtype)
    quick = audio._decoded_flac(path.read_bytes())
    slow = audio.read(path)
    assert quick is not None
    assert quick.signal.dtype == slow.signal.dtype
    np.testing.assert_array_equal(quick.signal, slow.signal)
    assert quick[1:] == slow[1:] == (rate, n_channels)


def test_damaged_flac_is_never_read_as_something_else(tmp_path, rng):
    # Where the quick decoder has a doubt the other one decides; what it takes itself is what is in the file.
    pytest.importorskip("miniaudio", reason="the second decoder of FLAC, miniaudio, is not installed")
    path = tmp_path / "a.flac"
    soundfile.write(path, 0.1 * rng.normal(size=5000), 16000)
    good = path.read_bytes()
    whole, taken = audio.read(path), 0
    for _ in range(500):
        content = bytearray(good)
        # The first 42 bytes promise rate and length, which nothing in a FLAC file confirms.
        for place in rng.integers(42, len(content), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        if rng.random() < 0.2:
            content = content[: rng.integers(len(content))]
        quick = audio._decoded_flac(bytes(content))
        if quick:
            taken += 1
            np.testing.assert_array_equal(quick.signal, whole.signal)
    assert 0 < taken < 400


def test_a_promise_of_hours_takes_no_memory(tmp_path, signal):
    path = tmp_path / "a.flac"
    soundfile.write(path, signal, 16000)
    content = bytearray(path.read_bytes())
    content[21] |= 0xF  # of the 36 bits of the number of samples, the first four
    path.write_bytes(content)
    for known in (b"", bytes(content)):
        with pytest.raises(InputError, match=r"a\.flac: (is cut short|cannot be read)"):
            audio.read(path, known)


def test_finds_flac_before_wav(tmp_path):
    (tmp_path / "LA_1.wav").touch()
    assert audio.find(tmp_path, "LA_1") == tmp_path / "LA_1.wav"
    (tmp_path / "LA_1.flac").touch()
    assert audio.find(tmp_path, "LA_1") == tmp_path / "LA_1.flac"


def test_names_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"LA_1: neither \.flac nor \.wav"):
        audio.find(tmp_path, "LA_1")
    with pytest.raises(InputError, match=r"a\.flac: no such file"):
        audio.read(tmp_path / "a.flac")


@pytest.mark.parametrize("utterance", ["../secret", "a/../../secret", "/etc/passwd", "..\\secret", "C:secret", "a\0b"])
def test_refuses_ids_that_leave_the_folder(tmp_path, utterance):
    folder = tmp_path / "flac"
    folder.mkdir()
    (tmp_path / "secret.flac").touch()
    with pytest.raises(InputError, match="leads out of the audio folder"):
        audio.find(folder, utterance)


def test_refuses_recordings_without_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.empty(0), 16000)
    with pytest.raises(InputError, match=r"a\.wav: holds no samples"):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [b"", b"fLaC", b"this is not audio at all"])
def test_refuses_what_is_no_audio(tmp_path, content):
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flac: cannot be read as audio"):
        audio.read(tmp_path / "a.flac")


@pytest.mark.parametrize("name", ["a.flac", "a.wav"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.999])
def test_refuses_recordings_that_are_cut_short(tmp_path, signal, name, part):
    soundfile.write(tmp_path / name, signal, 16000)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError, match=rf"{name}: (is cut short|cannot be read)"):
        audio.read(tmp_path / name)


def test_reads_wav_of_unknown_length(tmp_path, signal):
    soundfile.write(tmp_path / "a.wav", signal, 16000)
    whole = bytearray((tmp_path / "a.wav").read_bytes())
    at = whole.index(b"data") + 4
    whole[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(whole)
    assert len(audio.read(tmp_path / "a.wav").signal) == len(signal)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_samples_that_are_not_finite(tmp_path, value):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 0.1, value], np.float32), 16000, "FLOAT")
    with pytest.raises(InputError, match=r"a\.wav: sample 2 is not a finite number"):
        audio.read(tmp_path / "a.wav")
