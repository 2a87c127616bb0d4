import math

import numpy as np
import pytest
from scipy.signal import resample_poly

from countermeasure.resampling import fir, resample, resampled

PAIRS = [(8000, 16000), (48000, 16000), (44100, 16000), (96000, 16000), (22050, 16000), (16000, 8000), (11025, 16000)]
ODD = [(15999, 16000), (16000, 15999), (11127, 16000)]


def expected(signal, rate, new_rate):
    common = math.gcd(rate, new_rate)
    up, down = new_rate // common, rate // common
    taps = fir(up, down) / up  # which multiplies by `up` itself
    return resample_poly(signal.astype(np.float64), up, down, window=taps)


@pytest.mark.parametrize(("rate", "new_rate"), PAIRS + ODD)
def test_equals_scipys_polyphase_filter(rng, rate, new_rate):
    for n in (1, 2, 100, 12345, 40001):
        signal = rng.normal(size=n).astype(np.float32)
        found = resample(signal, rate, new_rate)
        assert found.dtype == np.float32
        assert len(found) == math.ceil(n * new_rate / rate)
        np.testing.assert_allclose(found, expected(signal, rate, new_rate), atol=2e-5)


@pytest.mark.parametrize(("rate", "new_rate"), [*PAIRS, (15999, 16000)])
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
