import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

import overflowing_flac
from countermeasure.errors import InputError
from countermeasure.speech import audio, flac

ASVSPOOF_2021 = Path(__file__).resolve().parents[2] / "shared/data/asvspoof2021"


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


def read_whole(path):
    return audio.read(path, path.read_bytes())


def streamed(path):
    with audio.stream(path) as found:
        pieces = list(found.pieces)
        return audio.Recording(np.concatenate(pieces), found.rate, found.n_channels, found.md5_matches)


def by_libsndfile(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(flac, "miniaudio", lambda: None)
        return audio.read(path)


@pytest.mark.parametrize("n_channels", [1, 2, 5])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("rate", [8000, 96000])
def test_all_decoders_of_flac_give_the_same(tmp_path, monkeypatch, rng, n_channels, subtype, rate):
    pytest.importorskip("miniaudio", reason="the second decoder of FLAC, miniaudio, is not installed")
    path = tmp_path / "a.flac"
    soundfile.write(path, rng.uniform(-1, 1, size=(5000, n_channels)), rate, subtype)
    slow = by_libsndfile(path, monkeypatch)
    whole = read_whole(path)
    header = flac.read_header(path.read_bytes())
    with path.open("rb") as file:
        samples = np.concatenate(list(flac.pieces(file, header)))
    np.testing.assert_array_equal(whole.signal, slow.signal)
    np.testing.assert_array_equal(samples, soundfile.read(path, dtype="float32", always_2d=True)[0])
    np.testing.assert_array_equal(flac.decode(path.read_bytes(), header), samples)
    checksum = flac.Checksum(header)
    checksum.add(samples)
    assert checksum.matches()
    assert whole[1:] == slow[1:] == (rate, n_channels, None)


@pytest.mark.parametrize("read", [read_whole, streamed])
def test_damaged_flac_is_refused_or_read_as_what_it_was(tmp_path, rng, read):
    path = tmp_path / "a.flac"
    soundfile.write(path, 0.1 * rng.normal(size=5000), 16000)
    good = path.read_bytes()
    whole, taken = audio.read(path), 0
    for _ in range(200):
        content = bytearray(good)
        # The first 42 bytes promise rate and length, which nothing in a FLAC file confirms.
        for place in rng.integers(42, len(content), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        if rng.random() < 0.2:
            content = content[: rng.integers(len(content))]
        path.write_bytes(content)
        try:
            recording = read(path)
        except InputError:
            continue
        taken += 1
        np.testing.assert_array_equal(recording.signal, whole.signal)
    assert 0 < taken < 160


@pytest.fixture
def overflowing(rng):
    samples = rng.integers(-32700, 32700, size=300_000) // 8
    samples[[5, 70_000, 299_999]] = 32768
    return samples


@pytest.mark.parametrize("read", [read_whole, streamed])
@pytest.mark.parametrize("md5", [None, bytes(16), b"some other bytes"])
def test_flac_beyond_its_bits_wraps_around(tmp_path, overflowing, read, md5):
    pytest.importorskip("miniaudio", reason="the decoder of such files, miniaudio, is not installed")
    path = tmp_path / "a.flac"
    overflowing_flac.write(path, overflowing, md5=md5)
    recording = read(path)
    np.testing.assert_array_equal(recording.signal, overflowing_flac.wrapped(overflowing) / 32768)
    assert recording.md5_matches is not (md5 == b"some other bytes")


@pytest.mark.parametrize("read", [read_whole, streamed])
def test_flac_beyond_its_bits_is_refused_where_it_is_damaged(tmp_path, overflowing, read):
    path = tmp_path / "a.flac"
    overflowing_flac.write(path, overflowing)
    content = bytearray(path.read_bytes())
    for damaged in (content[: len(content) // 2], content[:-9000] + b"\0" * 40 + content[-8960:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.flac: cannot be read as audio \(.*flac decoder"):
            read(path)


def test_names_the_decoder_that_is_missing(tmp_path, monkeypatch, overflowing):
    path = tmp_path / "a.flac"
    overflowing_flac.write(path, overflowing)
    with pytest.raises(InputError, match=r"a\.flac: .*flac decoder.*ASVspoof 2021.*pip install miniaudio"):
        by_libsndfile(path, monkeypatch)


@pytest.mark.skipif(not ASVSPOOF_2021.is_dir(), reason=f"no recordings of ASVspoof 2021 in {ASVSPOOF_2021}")
def test_reads_all_of_asvspoof_2021_in_every_way():
    miniaudio = pytest.importorskip("miniaudio", reason="the decoder of such files, miniaudio, is not installed")
    found = []
    for path in sorted((ASVSPOOF_2021 / "flac").iterdir()):
        expected = np.array(miniaudio.flac_read_file_s16(os.fspath(path)).samples) / 32768
        for recording in (read_whole(path), streamed(path)):
            np.testing.assert_array_equal(recording.signal, expected)
            found.append(recording.md5_matches)
    assert found[::2] == found[1::2]
    # None is refused by libsndfile before 1.2.1.
    assert (found.count(None), found.count(True), found.count(False)) in [(30, 20, 14), (64, 0, 0)]


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


def test_finds_a_file_by_its_very_name_first(tmp_path):
    for name in ("a.wav", "a.wav.flac", "b", "b.flac"):
        (tmp_path / name).touch()
    assert audio.find(tmp_path, "a.wav") == tmp_path / "a.wav"
    assert audio.find(tmp_path, "b") == tmp_path / "b.flac"


def test_names_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"LA_1: neither \.flac nor \.wav"):
        audio.find(tmp_path, "LA_1")
    with pytest.raises(InputError, match=r"a\.flac: no such file"):
        audio.read(tmp_path / "a.flac")


@pytest.mark.parametrize("utterance", ["../secret", "a/../../secret", "/etc/passwd"])
def test_refuses_ids_that_leave_the_folder(tmp_path, utterance):
    folder = tmp_path / "flac"
    folder.mkdir()
    (tmp_path / "secret.flac").touch()
    with pytest.raises(InputError, match="leads out of the audio folder"):
        audio.find(folder, utterance)


@pytest.mark.parametrize("name", ["C:a", "a\\b", "caf\udce9"])
def test_finds_names_of_any_bytes(tmp_path, name):
    (tmp_path / f"{name}.flac").touch()
    assert audio.find(tmp_path, name) == tmp_path / f"{name}.flac"
    with pytest.raises(InputError, match="neither"):
        audio.find(tmp_path, f"{name}\0")


def test_refuses_recordings_without_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.empty(0), 16000)
    with pytest.raises(InputError, match=r"a\.wav: holds no samples"):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [b"", b"fLaC", b"this is not audio at all"])
def test_refuses_what_is_no_audio(tmp_path, content):
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.flac: cannot be read as audio"):
        audio.read(tmp_path / "a.flac")


FORMATS = [
    ("FLAC", "PCM_16", None), ("WAV", "PCM_16", None), ("WAV", "FLOAT", "BIG"), ("WAVEX", "PCM_32", None),
    ("RF64", "PCM_16", None), ("W64", "PCM_16", None), ("AIFF", "PCM_16", None), ("AIFF", "FLOAT", None),
    ("AU", "PCM_16", None), ("AU", "PCM_16", "LITTLE"), ("CAF", "PCM_16", None), ("OGG", "VORBIS", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "subtype", "endian"), FORMATS)
@pytest.mark.parametrize("name", ["a.wav", "a.sound"])
def test_refuses_recordings_that_are_cut_short_whatever_their_name(tmp_path, rng, kind, subtype, endian, name):
    path = tmp_path / name
    soundfile.write(path, 0.1 * rng.normal(size=40_001), 16000, subtype, endian, format=kind)
    whole = path.read_bytes()
    for read in (read_whole, streamed):
        assert len(read(path).signal) == 40_001
    for n_bytes in (len(whole) // 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n_bytes])
        for read in (read_whole, streamed):
            with pytest.raises(InputError, match=rf"{name}: (is cut short|cannot be read)"):
                read(path)
    path.write_bytes(whole)


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


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_refuses_floats_on_another_scale(tmp_path, signal, subtype):
    for scale in (1, 1.005):  # what dither and rounding add
        soundfile.write(tmp_path / "a.wav", scale * signal, 16000, subtype)
        np.testing.assert_allclose(audio.read(tmp_path / "a.wav").signal, scale * signal, rtol=1e-6)
    for scale in (1.1, 32768):
        soundfile.write(tmp_path / "a.wav", scale * signal, 16000, subtype)
        for read in (read_whole, streamed):
            with pytest.raises(InputError, match=r"a\.wav: sample \d+ is .* from -1 to 1; divide by 32768"):
                read(tmp_path / "a.wav")


@pytest.mark.skipif("MP3" not in soundfile.available_formats(), reason="this libsndfile knows no MP3")
def test_loud_mp3_may_overshoot(tmp_path):
    soundfile.write(tmp_path / "a.mp3", np.sign(np.sin(np.arange(32000) / 9)), 16000)
    assert np.abs(audio.read(tmp_path / "a.mp3").signal).max() > 1.01
