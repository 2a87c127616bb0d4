import numpy as np
import pytest
from scipy.signal import resample_poly

from countermeasure.errors import InputError
from countermeasure.speech.resampling import resampled

PAIRS = [(8000, 16000), (48000, 16000), (44100, 16000), (96000, 16000), (16000, 8000), (12000, 11025), (11127, 16000)]


def resample(signal, rate, new_rate, *cuts):
    pieces = np.split(np.asarray(signal, np.float32), np.sort(np.array(cuts, int)))
    return np.concatenate(list(resampled(pieces, rate, new_rate)))


@pytest.mark.parametrize(("rate", "new_rate"), PAIRS)
def test_length_and_cuts(rng, rate, new_rate):
    for n in (1, 2, 100, 12345):
        signal = rng.normal(size=n)
        found = resample(signal, rate, new_rate)
        assert found.dtype == np.float32
        assert abs(len(found) - max(n * new_rate / rate, 1)) <= 0.5 + 1e-6
        np.testing.assert_array_equal(resample(signal, rate, new_rate, *rng.integers(0, n, 30)), found)


@pytest.mark.parametrize(("rate", "new_rate"), [(8000, 16000), (48000, 16000), (44100, 16000), (16000, 8000)])
def test_agrees_with_scipy_up_to_the_ends(rng, rate, new_rate):
    # Noise without the upper tenth of the band, where filters differ; it begins and ends at full strength.
    low = min(rate, new_rate) / 2
    up, down = new_rate // np.gcd(rate, new_rate), rate // np.gcd(rate, new_rate)
    time = np.arange(rate) / rate
    frequencies, phases = rng.uniform(0, 0.6 * low, 20), rng.uniform(0, 2 * np.pi, 20)
    signal = np.sin(2 * np.pi * frequencies[:, None] * time + phases[:, None]).mean(axis=0)
    found = resample(signal, rate, new_rate)
    np.testing.assert_allclose(found, resample_poly(signal, up, down)[: len(found)], atol=0.05)
    new_time = np.arange(len(found)) / new_rate
    exact = np.sin(2 * np.pi * frequencies[:, None] * new_time + phases[:, None]).mean(axis=0)
    inner = slice(new_rate // 20, -new_rate // 20)
    np.testing.assert_allclose(found[inner], exact[inner], atol=1e-4)


@pytest.mark.parametrize(("rate", "new_rate"), PAIRS)
def test_a_tone_stays_and_what_does_not_fit_goes(rate, new_rate):
    time, new_time = np.arange(rate) / rate, np.arange(new_rate) / new_rate
    inner = slice(new_rate // 4, 3 * new_rate // 4)
    for frequency in (440, 0.85 * min(rate, new_rate) / 2):
        found = resample(np.sin(2 * np.pi * frequency * time), rate, new_rate)
        np.testing.assert_allclose(found[inner], np.sin(2 * np.pi * frequency * new_time)[inner], atol=1e-3)
    if rate > new_rate:
        found = resample(np.sin(2 * np.pi * 1.01 * new_rate / 2 * time), rate, new_rate)
        assert np.abs(found[inner]).max() < 1e-5


def test_the_same_rate_is_the_same_signal(rng):
    signal = rng.normal(size=100).astype(np.float32)
    np.testing.assert_array_equal(resample(signal, 16000, 16000), signal)


@pytest.mark.parametrize(("rate", "new_rate"), [(999, 16000), (2**31 - 1, 16000), (16000, 384_001)])
def test_rates_that_no_recording_has_are_refused(rate, new_rate):
    with pytest.raises(InputError, match=r"a sampling rate of .* Hz; expected 1,000 to 384,000"):
        resample(np.zeros(10), rate, new_rate)
