"""Synthetic voices: nonsense syllables from a source-filter model, and a random recording chain.

Glottal pulses and breath pass a cascade of moving formants; frication noise passes a moving band-pass in parallel
(D. H. Klatt, JASA 67(3), 1980). Signals are float64 arrays ``[n_samples]`` at `RATE`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.ndimage
import scipy.signal
from numpy.typing import NDArray

RATE = 16000  # Hz
HOP = 160  # samples, 10 ms: the step of formants, levels and pitch
N_FFT = 1280  # samples; the narrowest formant (40 Hz) has fallen by 76 dB after so many
_Z = np.exp(-2j * np.pi * np.fft.rfftfreq(N_FFT))  # z⁻¹ on the unit circle
_OVERSAMPLING = 4  # a glottal pulse ends in a step, which would alias audibly at RATE

Signal = NDArray[np.float64]


class Speaker(NamedTuple):
    """The constant properties of a speaker."""

    f0: float  # middle of the pitch range, in Hz
    liveliness: float  # height of a pitch accent, in octaves
    tract: float  # formant frequencies relative to those of a man with a vocal tract of 17.5 cm
    open_quotient: float  # part of a period during which the glottis is open
    tilt: float  # corner of the source's low-pass, in Hz; low = soft voice
    breath: float  # aspiration noise relative to the pulses, as an amplitude
    jitter: float  # standard deviation of a period's length relative to its mean
    shimmer: float  # the same of its amplitude


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """Draw a speaker; half of them have the pitch and vocal tract of women."""
    female = rng.random() < 0.5
    return Speaker(
        f0=(205.0 if female else 118.0) * 2 ** rng.normal(0, 0.16),
        liveliness=rng.uniform(0.15, 0.4),
        tract=(1.16 if female else 1.0) * rng.normal(1, 0.03),
        open_quotient=rng.uniform(0.5, 0.75),
        tilt=rng.uniform(700, 1500),
        breath=10 ** rng.uniform(-1.5, -1.0),
        jitter=rng.uniform(0.004, 0.014),
        shimmer=rng.uniform(0.03, 0.10),
    )


class Phone(NamedTuple):
    """Articulatory targets."""

    f1: float  # formants, in Hz, for `Speaker.tract` 1
    f2: float
    f3: float
    voicing: float = 0.0  # amplitudes of the three sources relative to a vowel's voicing
    breath: float = 0.0
    frication: float = 0.0
    centre: float = 4000.0  # middle of the frication's band, in Hz
    seconds: tuple[float, float] = (0.05, 0.12)  # shortest and longest duration


def _stop(f1: float, f2: float, f3: float, centre: float) -> list[Phone]:
    """Return a stop's closure and its burst."""
    burst = Phone(f1, f2, f3, breath=2.5, frication=0.35, centre=centre, seconds=(0.02, 0.05))
    return [Phone(f1, f2, f3), burst]


# Men's means of G. E. Peterson & H. L. Barney, JASA 24(2), 1952, table II: beet bit bet bat father bought book boot.
_VOWELS = [
    Phone(*formants, voicing=1.0, breath=1.0, seconds=(0.07, 0.19))
    for formants in (
        (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410),
        (730, 1090, 2440), (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240),
    )
]  # fmt: skip
# After Klatt (1980).
_CONSONANTS = {
    "f": [Phone(340, 1100, 2080, frication=0.12, centre=5000)],
    "s": [Phone(320, 1390, 2530, frication=0.45, centre=6000)],
    "sh": [Phone(300, 1840, 2750, frication=0.50, centre=3200)],
    "z": [Phone(240, 1390, 2530, voicing=0.30, breath=0.5, frication=0.25, centre=6000)],
    "n": [Phone(480, 1340, 2470, voicing=0.45, breath=0.3)],
    "w": [Phone(290, 610, 2150, voicing=0.7, breath=0.7)],
    "r": [Phone(310, 1060, 1380, voicing=0.7, breath=0.7)],
    "l": [Phone(310, 1050, 2880, voicing=0.7, breath=0.7)],
    "h": [Phone(500, 1500, 2500, breath=4.0)],
    "p": _stop(400, 1100, 2150, centre=1200),
    "t": _stop(400, 1600, 2600, centre=4500),
    "k": _stop(300, 1990, 2850, centre=2000),
}
_PAUSE = Phone(500, 1500, 2500, breath=0.3, seconds=(0.08, 0.25))


def speak(speaker: Speaker, seconds: float, rng: np.random.Generator) -> Signal:
    """Return nonsense syllables of about `seconds`, with a root mean square of 1."""
    phones, n_steps = _draw_phones(seconds, rng)
    steps = np.repeat(np.arange(len(phones)), n_steps)
    n = len(steps) * HOP

    def track(values: NDArray[np.float64], smoothing: float) -> NDArray[np.float64]:
        window = np.hanning(2 * round(smoothing * RATE / HOP / 2) + 3)
        return scipy.ndimage.convolve1d(values[steps], window / window.sum(), axis=0, mode="nearest")

    # The articulators are slow (coarticulation, undershoot), the sources are quick.
    targets = np.array([phone[:7] for phone in phones])
    formants = track(targets[:, :3] * rng.normal(1, 0.04, (len(phones), 3)), 0.08)
    voicing, breath, frication = (upsample(level, n) for level in track(targets[:, 3:6], 0.02).T)
    centre = track(targets[:, 6] * rng.normal(1, 0.08, len(phones)), 0.005)

    pulses, opening = _glottis(speaker, _draw_f0(speaker, len(steps), rng), rng)
    # Breath is strongest while the glottis is open, but not 0 between the pulses.
    source = unit_rms(pulses) * voicing + speaker.breath * breath * rng.normal(size=n) * (0.4 + opening)
    frequencies = np.hstack([formants, np.full((len(formants), 5), np.arange(3500, 8000, 1000))]) * speaker.tract
    cascade = np.ones((len(formants), len(_Z)), complex)
    for frequency in frequencies.T:
        if frequency.max() < RATE / 2 - 200:
            poles = _pole_pair(frequency, _bandwidth(frequency))
            cascade *= poles[:, :1] / poles  # unit gain at 0 Hz
    speech = filter_by_steps(cascade, source)
    zeros = (1 - np.exp(-0.7 * np.pi * centre / RATE))[:, None] / 2 * (1 - _Z**2)  # unit gain at the centre
    hiss = filter_by_steps(zeros / _pole_pair(centre, 0.35 * centre), rng.normal(size=n))
    return unit_rms(unit_rms(speech) + frication * unit_rms(hiss))


def _draw_phones(seconds: float, rng: np.random.Generator) -> tuple[list[Phone], list[int]]:
    """Draw syllables of at least `seconds`; return the phones and their lengths in steps."""
    consonants = list(_CONSONANTS.values())
    phones: list[Phone] = []
    n_steps: list[int] = []
    while sum(n_steps) * HOP < seconds * RATE:
        syllable = [_PAUSE] if phones and rng.random() < 0.12 else []
        syllable += consonants[rng.integers(len(consonants))]
        syllable.append(_VOWELS[rng.integers(len(_VOWELS))])
        if rng.random() < 0.3:
            syllable += consonants[rng.integers(len(consonants))]
        phones += syllable
        n_steps += [round(rng.uniform(*phone.seconds) * RATE / HOP) for phone in syllable]
    return phones, n_steps


def _draw_f0(speaker: Speaker, n_steps: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a slowly falling pitch contour with accents, in Hz."""
    time = np.arange(n_steps) * HOP / RATE
    octaves = 0.1 - 0.12 * time
    for accent in np.arange(rng.uniform(0, 0.5), time[-1], 0.55):
        height = speaker.liveliness * rng.uniform(0.2, 1.2)
        octaves += height * np.exp(-0.5 * ((time - accent - rng.uniform(0, 0.2)) / 0.09) ** 2)
    return np.clip(speaker.f0 * 2**octaves, 66, 380)


def _glottis(speaker: Speaker, f0: NDArray[np.float64], rng: np.random.Generator) -> tuple[Signal, Signal]:
    """Return the derivative of the glottal flow, and the flow itself scaled to [0, 1].

    Over the open phase, x in [0, 1), flow ∝ x² − x³ (D. H. Klatt & L. C. Klatt, JASA 87(2), 1990); a one-pole
    low-pass rounds the closure.
    """
    rate = RATE * _OVERSAMPLING
    derivative = np.zeros(len(f0) * HOP * _OVERSAMPLING)
    flow = np.zeros_like(derivative)
    start = rng.uniform(0, rate / f0[0])
    while start < len(derivative):
        period = rate / f0[int(start / rate * RATE / HOP)] * (1 + speaker.jitter * rng.normal())
        opened = period * speaker.open_quotient
        samples = np.arange(int(np.ceil(start)), min(int(np.ceil(start + opened)), len(derivative)))
        x = (samples - start) / opened
        derivative[samples] = (1 + speaker.shimmer * rng.normal()) * (2 * x - 3 * x**2)
        flow[samples] = 6.75 * (x**2 - x**3)  # x² − x³ peaks at 4/27
        start += period
    pole = np.exp(-2 * np.pi * speaker.tilt / rate)
    derivative = scipy.signal.lfilter([1 - pole], [1, -pole], derivative)
    return (
        scipy.signal.resample_poly(derivative, 1, _OVERSAMPLING),
        scipy.signal.resample_poly(flow, 1, _OVERSAMPLING),
    )


def _bandwidth(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a formant's bandwidth, both in Hz (G. Fant, STL-QPSR 2-3, 1972)."""
    return 15 * (frequency / 500) ** -2 + 20 * np.sqrt(frequency / 500) + 5 * (frequency / 500) ** 2


def _pole_pair(frequency: NDArray[np.float64], bandwidth: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the denominator ``[n_steps, bins]`` of resonances given in Hz."""
    radius = np.exp(-np.pi * bandwidth / RATE)
    return 1 - np.multiply.outer(2 * radius * np.cos(2 * np.pi * frequency / RATE), _Z) + np.outer(radius**2, _Z**2)


def filter_by_steps(responses: NDArray[np.complex128], signal: Signal) -> Signal:
    """Filter with a response ``[n_steps, bins]`` for each `HOP` samples.

    Each windowed stretch rings out through its own filter: a recursive filter whose coefficients are switched
    would click at each switch.
    """
    padded = np.pad(signal, (HOP, 2 * HOP))
    window = scipy.signal.get_window("hann", 2 * HOP)  # sums to 1 at this hop
    stretches = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP)[::HOP][: len(responses)] * window
    rung = np.fft.irfft(np.fft.rfft(stretches, N_FFT) * responses[: len(stretches)], axis=1)
    total = np.zeros((len(rung) + N_FFT // HOP, HOP))
    for i in range(N_FFT // HOP):
        total[i : i + len(rung)] += rung[:, i * HOP : (i + 1) * HOP]
    return total.ravel()[HOP : HOP + len(signal)]


def upsample(track: NDArray[np.float64], n: int) -> Signal:
    """Interpolate a track of one value a step at each of `n` samples."""
    return np.interp(np.arange(n), np.arange(len(track)) * HOP, track)


def unit_rms(signal: Signal) -> Signal:
    """Scale a signal to a root mean square of 1."""
    return signal / max(float(np.sqrt(np.mean(signal**2))), 1e-12)


def record(speech: Signal, rng: np.random.Generator) -> Signal:
    """Send speech through a random room, microphone, noise floor and level.

    All have the same distributions in both classes, like the silence around the speech, so that none of them
    tells the classes apart. The result is within ±0.95.
    """
    lead, trail = (rng.uniform(0.05, 0.25, 2) * RATE).astype(int)
    # Fade in and out here, since what a vocoder smears over the ends would give it away.
    fade = np.interp(np.arange(len(speech)), [0, 320, len(speech) - 960, len(speech)], [0, 1, 1, 0])
    signal = np.pad(speech * fade, (lead, trail))
    decay = rng.uniform(0.08, 0.25)  # of the room: s for 60 dB
    time = np.arange(1, int(decay * RATE)) / RATE
    tail = unit_rms(rng.normal(size=len(time)) * 10 ** (-3 * time / decay)) / np.sqrt(len(time))
    room = np.concatenate([[1.0], 10 ** (-rng.uniform(16, 30) / 20) * tail])
    octaves = np.array([0, 60, 125, 250, 500, 1000, 2000, 4000, 7000, RATE / 2])
    gains = 10 ** (rng.normal(0, 0.8, len(octaves)) / 20) * (octaves > 0)
    signal = scipy.signal.fftconvolve(signal, room)[: len(signal)]
    signal = scipy.signal.fftconvolve(signal, scipy.signal.firwin2(513, octaves, gains, fs=RATE), mode="same")
    # Noise that falls by 0 to 6 dB an octave.
    spectrum = np.fft.rfft(rng.normal(size=len(signal)))
    frequency = np.maximum(np.arange(len(spectrum)) * RATE / len(signal), 50.0)
    noise = unit_rms(np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), len(signal)))
    signal = unit_rms(signal) + 10 ** (-rng.uniform(35, 50) / 20) * noise
    signal *= 10 ** (rng.uniform(-32, -22) / 20)
    return signal * min(1.0, 0.95 / np.abs(signal).max())
