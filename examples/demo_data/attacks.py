"""Three spoofing attacks, each with the typical losses of its kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
import scipy.signal
from numpy.typing import NDArray

from examples.demo_data.voice import HOP, N_FFT, RATE, Signal, Speaker, filter_by_steps, speak, unit_rms, upsample

_STFT_SIZE, _STFT_HOP = 512, 128  # samples
_LPC_ORDER = 18


def linear_prediction(target: Speaker, seconds: float, rng: np.random.Generator) -> Signal:
    """Resynthesise speech from all-pole envelopes and pulses or noise (Atal & Hanauer, JASA 50(2B), 1971).

    Lost: the shape of the glottal pulse, the spectrum's zeros, and the breath within voiced sounds.
    """
    speech = speak(target, seconds, rng)
    size = 400
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(speech, (size // 2, size)), size)[: len(speech) : HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), 1024)) ** 2
    autocorrelation = np.fft.irfft(power)[:, : _LPC_ORDER + 1]
    # Smoothed by 60 Hz: otherwise the peaks of a high voice follow single harmonics and ring.
    autocorrelation *= np.exp(-0.5 * (2 * np.pi * 60 * np.arange(_LPC_ORDER + 1) / RATE) ** 2)
    autocorrelation[:, 0] = autocorrelation[:, 0] * (1 + 1e-6) + 1e-10  # well-posed also in silence
    coefficients = np.ones((len(frames), _LPC_ORDER + 1))
    for row, r in zip(coefficients, autocorrelation, strict=True):
        row[1:] = scipy.linalg.solve_toeplitz(r[:-1], -r[1:])
    gain = np.sqrt(np.maximum(np.einsum("ij,ij->i", coefficients, autocorrelation), 0))
    envelopes = gain[:, None] / np.fft.rfft(coefficients, N_FFT)
    return unit_rms(filter_by_steps(envelopes, _excitation(frames, len(speech), rng)))


def _excitation(frames: NDArray[np.float64], n: int, rng: np.random.Generator) -> Signal:
    """Return pulses where the normalised autocorrelation finds a pitch of 80 to 400 Hz, noise elsewhere."""
    centred = frames - frames.mean(axis=1, keepdims=True)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, 1024)) ** 2)
    lags = np.arange(RATE // 400, RATE // 80)
    strength = correlation[:, lags] / np.maximum(correlation[:, :1], 1e-12) / (1 - lags / frames.shape[1])
    # Twice the period fits as well as the period itself, so shorter ones are slightly preferred.
    best = np.argmax(strength - 0.04 * np.log2(lags), axis=1)
    is_voiced = scipy.signal.medfilt((strength.max(axis=1) > 0.5).astype(float), 5) > 0
    f0 = np.full(len(frames), 120.0)
    if is_voiced.any():
        f0 = np.interp(
            np.arange(len(f0)), np.flatnonzero(is_voiced), scipy.signal.medfilt(RATE / lags[best], 5)[is_voiced]
        )
    pitch = upsample(f0, n)
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0.0) * np.sqrt(RATE / pitch)  # of unit power
    return np.where(upsample(is_voiced.astype(float), n) > 0.5, pulses, rng.normal(size=n))


def mel_inversion(target: Speaker, seconds: float, rng: np.random.Generator) -> Signal:
    """Invert a mel spectrogram smoothed in time, with the phases of Griffin & Lim (IEEE TASSP 32(2), 1984).

    Lost: the phase, quick movements, and harmonics and noise where a mel band covers several of them.
    """
    speech = speak(target, seconds, rng)
    n = len(speech)
    filters = _mel_filters()
    mel = filters / filters.sum(axis=1, keepdims=True) @ np.abs(_stft(speech))
    # Acoustic models predict smoother spectra than those of speech.
    logs = np.log(np.maximum(mel, 1e-4 * mel.max()))
    window = np.hanning(11)[None] / np.hanning(11).sum()
    magnitude = (filters / filters.sum(axis=0)).T @ np.exp(scipy.signal.oaconvolve(logs, window, mode="same", axes=1))
    spectrum = magnitude * np.exp(2j * np.pi * rng.random(magnitude.shape))
    for _ in range(12):
        spectrum = _stft(_istft(spectrum, n))
        spectrum *= magnitude / np.maximum(np.abs(spectrum), 1e-12)
    return unit_rms(_istft(spectrum, n))


def _stft(signal: Signal) -> NDArray[np.complex128]:
    """Return the short-time spectrum ``[bins, frames]``; the centre of frame t is sample 128 t."""
    return scipy.signal.stft(signal, nperseg=_STFT_SIZE, noverlap=_STFT_SIZE - _STFT_HOP)[2]


def _istft(spectrum: NDArray[np.complex128], n: int) -> Signal:
    return scipy.signal.istft(spectrum, nperseg=_STFT_SIZE, noverlap=_STFT_SIZE - _STFT_HOP)[1][:n]


def _mel_filters(n_filters: int = 40) -> NDArray[np.float64]:
    """Return triangles ``[n_filters, bins]``, each side at least one bin wide."""
    corners = 700 * (10 ** (np.linspace(0, np.log10(1 + RATE / 2 / 700), n_filters + 2)) - 1)
    frequency = np.fft.rfftfreq(_STFT_SIZE, 1 / RATE)
    width = np.maximum(np.diff(corners), RATE / _STFT_SIZE)
    rise = 1 - (corners[1:-1, None] - frequency) / width[:-1, None]
    fall = 1 - (frequency - corners[1:-1, None]) / width[1:, None]
    return np.maximum(1e-9, np.minimum(rise, fall))  # never 0: `mel_inversion` divides by a bin's sum


def splicing(target: Speaker, seconds: float, rng: np.random.Generator) -> Signal:
    """Replace pieces of 32 ms by those of another utterance with the nearest log mel spectrum.

    Concatenative synthesis (A. Hunt & A. Black, ICASSP 1996). Lost: continuity from piece to piece.
    """
    speech, stored = speak(target, seconds, rng), speak(target, 3.0, rng)
    wanted, candidates = (np.log(_mel_filters() @ np.abs(_stft(signal)) ** 2 + 1e-8).T for signal in (speech, stored))
    unit, fade = _STFT_SIZE, 32  # samples
    candidates = candidates[2 : (len(stored) - unit - fade) // _STFT_HOP]  # the first begins at sample 0
    ramp = np.minimum(1, np.minimum(np.arange(unit + fade), np.arange(unit + fade)[::-1]) / fade)
    output = np.zeros(len(speech) + unit + fade)
    for start in range(0, len(speech), unit):
        goal = wanted[min(start // _STFT_HOP + 2, len(wanted) - 1)]
        best = _STFT_HOP * int(np.argmin(((candidates - goal) ** 2).mean(axis=1)))
        output[start : start + unit + fade] += ramp * stored[best : best + unit + fade]
    return unit_rms(output[: len(speech)])


ATTACKS: dict[str, Callable[[Speaker, float, np.random.Generator], Signal]] = {
    "A01": linear_prediction,
    "A02": mel_inversion,
    "A03": splicing,  # only in eval
}
UNSEEN = ("A03",)
