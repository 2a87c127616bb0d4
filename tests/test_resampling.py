import math

import numpy as np
import pytest
from scipy.signal import resample_poly

from countermeasure.errors import InputError
from countermeasure.speech.resampling import fir, ratio, resample, resampled

PAIRS = [
    (8000, 16000),
    (48000, 16000),
    (44100, 16000),
    (96000, 16000),
    (22050, 16000),
    (16000, 8000),
    (11025, 16000),
    (12000, 11025),
]


def expected(signal, rate, new_rate):
    up, down = ratio(rate, new_rate)
    taps = fir(up, down) / up  # which multiplies by `up` itself
    return resample_poly(signal.astype(np.float64), up, down, window=taps)


@pytest.mark.parametrize(("rate", "new_rate"), PAIRS)
def test_equals_scipys_polyphase_filter(rng, rate, new_rate):
    for n in (1, 2, 100, 12345, 40001):
        signal = rng.normal(size=n).astype(np.float32)
        found = resample(signal, rate, new_rate)
        assert found.dtype == np.float32
        assert len(found) == math.ceil(n * new_rate / rate)
        np.testing.assert_allclose(found, expected(signal, rate, new_rate), atol=2e-5)


@pytest.mark.parametrize(("rate", "new_rate"), PAIRS)
def test_how_a_signal_is_cut_changes_nothing(rng, rate, new_rate):
    signal = rng.normal(size=60000).astype(np.float32)
    cuts = np.sort(rng.integers(0, len(signal), 30))
    found = np.concatenate(list(resampled(np.split(signal, cuts), rate, new_rate)))
    np.testing.assert_allclose(found, resample(signal, rate, new_rate), atol=1e-5)


@pytest.mark.parametrize(("rate", "new_rate"), PAIRS)
def test_a_tone_stays_and_what_does_not_fit_goes(rate, new_rate):
    n = rate // 2
    inner = slice(new_rate // 8, 3 * new_rate // 8)
    time, new_time = np.arange(n) / rate, np.arange(n * new_rate // rate) / new_rate
    for frequency in (440, 0.89 * min(rate, new_rate) / 2):
        found = resample(np.sin(2 * np.pi * frequency * time), rate, new_rate)[: len(new_time)]
        np.testing.assert_allclose(found[inner], np.sin(2 * np.pi * frequency * new_time)[inner], atol=1e-4)
    if rate > new_rate:
        found = resample(np.sin(2 * np.pi * 1.01 * new_rate / 2 * time), rate, new_rate)
        assert np.abs(found[inner]).max() < 3e-5


def test_the_same_rate_is_the_same_signal(rng):
    signal = rng.normal(size=100).astype(np.float32)
    np.testing.assert_array_equal(resample(signal, 16000, 16000), signal)


@pytest.mark.parametrize(("rate", "new_rate"), [(999, 16000), (2**31 - 1, 16000), (16000, 384_001)])
def test_rates_that_no_recording_has_are_refused(rate, new_rate):
    with pytest.raises(InputError, match=r"a sampling rate of .* Hz; expected 1,000 to 384,000"):
        resample(np.zeros(10, np.float32), rate, new_rate)


@pytest.mark.parametrize("rate", [11127, 15999, 22254, 44099, 47952, 191_999, 383_999])
def test_rates_of_little_in_common_are_taken_at_the_nearest_ratio(rate):
    up, down = ratio(rate, 16000)
    assert down <= 1000
    assert up / down == pytest.approx(16000 / rate, rel=5e-4)
    time = np.arange(rate // 2) / rate
    found = resample(np.sin(2 * np.pi * 440 * time), rate, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(found)) / 16000)
    np.testing.assert_allclose(found[2000:6000], expected[2000:6000], atol=0.15)


def test_ratios_are_exact_where_they_can_be():
    assert [ratio(rate, 16000) for rate in (8000, 11025, 22050, 44100, 48000, 96000)] == [
        (2, 1), (640, 441), (320, 441), (160, 441), (1, 3), (1, 6)
    ]  # fmt: skip
