import numpy as np
import pytest
from spafe.fbanks.bark_fbanks import bark_filter_banks
from spafe.fbanks.gammatone_fbanks import gammatone_filter_banks
from spafe.fbanks.linear_fbanks import linear_filter_banks
from spafe.fbanks.mel_fbanks import inverse_mel_filter_banks, mel_filter_banks

from countermeasure.features.filter_banks import weights

SPAFE = {
    "mel": mel_filter_banks,
    "inverse mel": inverse_mel_filter_banks,
    "linear": linear_filter_banks,
    "bark": bark_filter_banks,
    "gammatone": gammatone_filter_banks,
}
RATES = [(8000, 1024), (16001, 1024), (44100, 2048)]


@pytest.mark.parametrize(("rate", "n_fft"), RATES)
@pytest.mark.parametrize("kind", SPAFE)
def test_filters_are_spafes(kind, rate, n_fft):
    expected, _ = SPAFE[kind](nfilts=70, nfft=n_fft, fs=rate, low_freq=0, high_freq=rate / 2)
    found = weights(kind, n_fft, rate, 0, rate / 2)
    assert found.shape == (n_fft // 2 + 1, 70)
    np.testing.assert_allclose(found, expected.T, rtol=1e-9, atol=1e-11)
