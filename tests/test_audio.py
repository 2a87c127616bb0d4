import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

import overflowing_flac
from countermeasure.errors import InputError
from countermeasure.speech import audio, flac

ASVSPOOF_2021 = Path(__file__).resolve().parents[2] / "shared/data/asvspoof2021"
needs_miniaudio = pytest.mark.skipif(not flac.miniaudio(), reason="miniaudio, a decoder of FLAC, is not installed")

needs_mp3 = pytest.mark.skipif("MP3" not in soundfile.available_formats(), reason="this libsndfile knows no MP3")


@pytest.fixture
def signal(rng):
    # Whole 16-bit steps, so that every format holds them exactly.
    return rng.integers(-32768, 32768, size=4000) / 32768


@pytest.fixture(params=["miniaudio", "libsndfile"])
def decoder(request, monkeypatch):
    """Have FLAC decoded by either library."""
    if request.param == "libsndfile":
        monkeypatch.setattr(flac, "miniaudio", lambda: None)
    elif not flac.miniaudio():
        pytest.skip("miniaudio is not installed")
    return request.param


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_reads_samples_and_rate_exactly(tmp_path, signal, subtype):
    soundfile.write(tmp_path / "a.wav", signal, 44100, subtype)
    recording = audio.read(tmp_path / "a.wav")
    assert recording.signal.dtype == np.float32
    np.testing.assert_array_equal(recording.signal, signal)
    assert recording[1:] == (44100, 1)


@pytest.mark.parametrize(("subtype", "n_bits"), [("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24)])
@pytest.mark.parametrize(("rate", "n_channels"), [(8000, 1), (96000, 5)])
def test_reads_flac_exactly(tmp_path, rng, decoder, subtype, n_bits, rate, n_channels):
    top = 2 ** (n_bits - 1)
    samples = rng.integers(-top, top, size=(70_000, n_channels)) / top
    samples[:2] = [[-1], [1 - 1 / top]]
    path = tmp_path / os.fsdecode(b"caf\xe9.flac")
    with path.open("wb") as file:
        soundfile.write(file, samples, rate, subtype, format="FLAC")
    recording = audio.read(path)
    np.testing.assert_array_equal(recording.signal, samples.astype(np.float32).mean(axis=1))
    assert recording[1:] == (rate, n_channels)


def test_damaged_flac_is_refused_or_read_as_what_it_was(tmp_path, rng, decoder):
    path = tmp_path / "a.flac"
    soundfile.write(path, 0.1 * rng.normal(size=5000), 16000)
    good = path.read_bytes()
    whole, taken = audio.read(path), 0
    for end in [100, len(good)] * 30:  # in the comments at the beginning, or anywhere
        content = bytearray(good)
        # The first 42 bytes promise rate and length, which nothing in a FLAC file confirms.
        for place in rng.integers(42, end, size=2):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            recording = audio.read(path)
        except InputError:
            continue
        taken += 1
        np.testing.assert_array_equal(recording.signal, whole.signal)
    assert 0 < taken < 45


@pytest.fixture(scope="module")
def overflowing():
    """Return 16-bit samples with some beyond the range, and the bytes of a FLAC file of them."""
    samples = np.random.default_rng(0).integers(-32700, 32700, size=70_000) // 8
    samples[[5, 66_000, 69_999]] = 32768
    return samples, overflowing_flac.content(samples)


@needs_miniaudio
def test_flac_beyond_its_bits_wraps_around(tmp_path, overflowing):
    samples, content = overflowing
    (tmp_path / "a.flac").write_bytes(content)
    signal = audio.read(tmp_path / "a.flac").signal
    np.testing.assert_array_equal(signal, overflowing_flac.wrapped(samples) / 32768)


@needs_miniaudio
def test_damaged_flac_beyond_its_bits_is_refused(tmp_path, overflowing):
    path, (_, content) = tmp_path / "a.flac", overflowing
    for damaged in (content[: len(content) // 2], content[:-9000] + b"\0" * 40 + content[-8960:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.flac: is cut short or damaged \(.* of 70,000 samples"):
            audio.read(path)


@needs_miniaudio
@pytest.mark.skipif(not ASVSPOOF_2021.is_dir(), reason=f"no recordings of ASVspoof 2021 in {ASVSPOOF_2021}")
def test_reads_all_of_asvspoof_2021():
    for path in sorted((ASVSPOOF_2021 / "flac").iterdir()):
        expected = np.array(flac.miniaudio().flac_read_file_s16(os.fspath(path)).samples) / 32768
        np.testing.assert_array_equal(audio.read(path).signal, expected)


def test_flac_without_rate_is_refused(tmp_path, overflowing):
    content = bytearray(overflowing[1])
    content[18:26] = (int.from_bytes(content[18:26], "big") & (1 << 44) - 1).to_bytes(8, "big")
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flac: cannot be read as audio"):
        audio.read(tmp_path / "a.flac")


@needs_miniaudio
def test_flac_from_a_pipe_does_not_state_its_length(tmp_path, overflowing):
    samples, content = overflowing
    content = bytearray(content)
    content[18:26] = (int.from_bytes(content[18:26], "big") & -1 << 36).to_bytes(8, "big")
    (tmp_path / "a.flac").write_bytes(content)
    signal = audio.read(tmp_path / "a.flac").signal
    np.testing.assert_array_equal(signal, overflowing_flac.wrapped(samples) / 32768)
    (tmp_path / "a.flac").write_bytes(content[:42])
    with pytest.raises(InputError, match=r"a\.flac: holds no samples"):
        audio.read(tmp_path / "a.flac")


@needs_miniaudio
@needs_mp3
@pytest.mark.parametrize("rate", [16000, 44100])
def test_mp3_that_does_not_state_its_length_is_read_whole(tmp_path, rng, monkeypatch, rate):
    """Its first frames are small, and those that follow are not: a length guessed from the first is wrong."""
    samples = np.r_[1e-4 * rng.normal(size=80_000), 0.3 * rng.normal(size=80_000)]
    stated, unstated = tmp_path / "a.mp3", tmp_path / "b.mp3"
    with soundfile.SoundFile(stated, "w", rate, 1, format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(samples)
    assert len(audio.read(stated).signal) == len(samples)
    content = stated.read_bytes()
    tagged = b"ID3\4\0\0" + bytes([0, 0, 1, 2]) + b"Info".ljust(130, b"\0")
    frames = content[content.index(content[:2], content.index(b"Xing")) :]
    unstated.write_bytes(tagged + frames)
    whole = audio.read(unstated).signal
    assert len(samples) <= len(whole) < len(samples) + 3 * 1152
    assert np.std(whole[-60_000:]) == pytest.approx(np.std(audio.read(stated).signal[-60_000:]), rel=0.02)
    unstated.write_bytes(frames[:5] + b"\xff" + frames[6:700])  # damaged where the first frame describes itself
    with pytest.raises(InputError, match=r"b\.mp3: holds no samples"):
        audio.read(unstated)
    monkeypatch.setattr(flac, "miniaudio", lambda: None)
    with pytest.raises(InputError, match=r"b\.mp3: does not state its length; pip install miniaudio, or convert"):
        audio.read(unstated)


def test_finds_the_very_name_then_flac_then_wav(tmp_path):
    (tmp_path / "LA_1.wav").touch()
    assert audio.find(tmp_path, "LA_1") == tmp_path / "LA_1.wav"
    for name in ("LA_1.flac", "a.wav", "a.wav.flac", "b", "b.flac", "c", "caf\udce9.flac"):
        (tmp_path / name).touch()
    assert audio.find(tmp_path, "LA_1") == tmp_path / "LA_1.flac"
    assert audio.find(tmp_path, "a.wav") == tmp_path / "a.wav"
    assert audio.find(tmp_path, "b") == tmp_path / "b.flac"
    assert audio.find(tmp_path, "c") == tmp_path / "c"
    assert audio.find(tmp_path, "caf\udce9") == tmp_path / "caf\udce9.flac"


def test_names_what_is_missing(tmp_path):
    for name in ("LA_1", "LA\0", "x" * 300):
        with pytest.raises(InputError, match=r": neither \.flac nor \.wav"):
            audio.find(tmp_path, name)
    with pytest.raises(InputError, match=r"a\.flac: no such file"):
        audio.read(tmp_path / "a.flac")


@pytest.mark.parametrize("utterance", ["../secret", "a/../../secret", "/etc/passwd"])
def test_refuses_ids_that_leave_the_folder(tmp_path, utterance):
    folder = tmp_path / "flac"
    folder.mkdir()
    (tmp_path / "secret.flac").touch()
    with pytest.raises(InputError, match="leads out of the audio folder"):
        audio.find(folder, utterance)


@pytest.mark.parametrize("content", [b"", b"fLaC", b"this is not audio at all"])
def test_refuses_what_is_no_audio(tmp_path, content):
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flac: cannot be read as audio"):
        audio.read(tmp_path / "a.flac")
    soundfile.write(tmp_path / "a.wav", np.empty(0), 16000)
    with pytest.raises(InputError, match=r"a\.wav: holds no samples"):
        audio.read(tmp_path / "a.wav")


FORMATS = [
    ("FLAC", "PCM_16", None), ("WAV", "PCM_16", None), ("WAV", "FLOAT", "BIG"), ("WAVEX", "PCM_32", None),
    ("RF64", "PCM_16", None), ("W64", "PCM_16", None), ("AIFF", "PCM_16", None), ("AIFF", "FLOAT", None),
    ("AU", "PCM_16", None), ("AU", "PCM_16", "LITTLE"), ("CAF", "PCM_16", None), ("OGG", "VORBIS", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "subtype", "endian"), FORMATS)
def test_refuses_recordings_that_are_cut_short(tmp_path, rng, kind, subtype, endian):
    path = tmp_path / "a.sound"
    soundfile.write(path, 0.1 * rng.normal(size=10_001), 16000, subtype, endian, format=kind)
    whole = path.read_bytes()
    assert len(audio.read(path).signal) == 10_001
    ends = [] if kind == "CAF" else [len(whole) - 1]  # libsndfile takes a CAF that lacks its last bytes
    for n_bytes in (len(whole) // 10, len(whole) // 2, *ends):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(InputError, match=r"a\.sound: (is cut short|cannot be read)"):
            audio.read(path)


def test_reads_wav_of_unknown_length(tmp_path, signal):
    soundfile.write(tmp_path / "a.wav", signal, 16000)
    whole = bytearray((tmp_path / "a.wav").read_bytes())
    at = whole.index(b"data") + 4
    whole[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(whole)
    assert len(audio.read(tmp_path / "a.wav").signal) == len(signal)


def test_refuses_samples_that_are_not_finite(tmp_path):
    samples = np.zeros(300_000, np.float32)
    samples[[299_000, 299_001]] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", samples, 16000, "FLOAT")
    with pytest.raises(InputError, match=r"a\.wav: sample 299000 is not a finite number"):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_refuses_floats_on_another_scale(tmp_path, signal, subtype):
    for scale in (1, 1.005):  # what dither and rounding add
        soundfile.write(tmp_path / "a.wav", scale * signal, 16000, subtype)
        np.testing.assert_allclose(audio.read(tmp_path / "a.wav").signal, scale * signal, rtol=1e-6)
    for scale in (1.1, 32768):
        soundfile.write(tmp_path / "a.wav", scale * signal, 16000, subtype)
        with pytest.raises(InputError, match=r"a\.wav: holds a sample of .* from -1 to 1; divide by 32768"):
            audio.read(tmp_path / "a.wav")


@needs_mp3
def test_loud_mp3_may_overshoot(tmp_path):
    soundfile.write(tmp_path / "a.mp3", np.sign(np.sin(np.arange(32000) / 9)), 16000)
    assert np.abs(audio.read(tmp_path / "a.mp3").signal).max() > 1.01
