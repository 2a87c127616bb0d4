"""Synthetic speech for the demo: a stand-in for human voices, and vocoders that fake it.

No human voice is in it. *Bona fide* stand-ins come from a source-filter model whose glottal pulses,
breath and formants vary as a voice's do; *spoofs* are such speech after the analysis and resynthesis
of a real vocoder, which loses part of that variation. What detectors score on it shows that a
pipeline works and says nothing about how well it detects spoofed human speech.

All signals are float64 arrays ``[samples]`` at `RATE`; all functions are pure, and whatever is
random comes from the `numpy.random.Generator` they are given.

References
----------
Atal, B. S. & Hanauer, S. L. (1971). Speech analysis and synthesis by linear prediction of the
    speech wave. JASA 50(2B).
Boersma, P. (1993). Accurate short-term analysis of the fundamental frequency and the
    harmonics-to-noise ratio of a sampled sound. IFA Proceedings 17.
Fant, G. (1972). Vocal tract wall effects, losses, and resonance bandwidths. STL-QPSR 2-3.
Griffin, D. & Lim, J. (1984). Signal estimation from modified short-time Fourier transform.
    IEEE TASSP 32(2).
Hunt, A. & Black, A. (1996). Unit selection in a concatenative speech synthesis system using a
    large speech database. ICASSP.
Klatt, D. H. (1980). Software for a cascade/parallel formant synthesizer. JASA 67(3).
Klatt, D. H. & Klatt, L. C. (1990). Analysis, synthesis, and perception of voice quality
    variations among female and male talkers. JASA 87(2).
McAulay, R. & Quatieri, T. (1986). Speech analysis/synthesis based on a sinusoidal representation.
    IEEE TASSP 34(4).
Moulines, E. & Charpentier, F. (1990). Pitch-synchronous waveform processing techniques for
    text-to-speech synthesis using diphones. Speech Communication 9(5-6).
Peterson, G. E. & Barney, H. L. (1952). Control methods used in a study of the vowels. JASA 24(2).
Sündermann, D. & Ney, H. (2003). VTLN-based voice conversion. ISSPIT.
Toda, T. & Tokuda, K. (2007). A speech parameter generation algorithm considering global variance
    for HMM-based speech synthesis. IEICE Trans. Inf. & Syst. E90-D(5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.ndimage
import scipy.signal

from countermeasure.errors import InputError

# To be raised whenever the same seed would give other signals.
VERSION = 1

RATE = 16000  # Hz
HOP = 80  # samples, 5 ms: the step of all control tracks (formants, levels, F0)
FILTER_SIZE = 1280  # samples; the narrowest formant (40 Hz) has fallen by 76 dB after so many
OVERSAMPLING = 4  # a glottal pulse ends in a step, which aliases audibly if drawn at RATE

STFT_SIZE = 512  # samples
STFT_HOP = 128  # samples
N_MELS = 40
F0_RANGE = (60.0, 400.0)  # Hz


# --- The voice -------------------------------------------------------------------------------


class Speaker(NamedTuple):
    """What stays the same from one utterance of a speaker to the next.

    Attributes
    ----------
    f0 : float
        Middle of the pitch range, in Hz.
    f0_range : float
        Height of a pitch accent, in octaves.
    tract : float
        Formant frequencies relative to those of a man with a vocal tract of 17.5 cm.
    formant_habits : array [4]
        The speaker's own factor on each of F1 to F4.
    open_quotient : float
        Part of a period during which the glottis is open.
    tilt : float
        Corner of the source's low-pass, in Hz; low = soft voice.
    breathiness : float
        Aspiration noise relative to the pulses, as an amplitude.
    jitter, shimmer : float
        Standard deviation of a period's length and amplitude relative to their mean.
    tempo : float
        Factor on all durations.
    """

    f0: float
    f0_range: float
    tract: float
    formant_habits: np.ndarray
    open_quotient: float
    tilt: float
    breathiness: float
    jitter: float
    shimmer: float
    tempo: float


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """Draw a speaker; half of them have the pitch and vocal tract of women."""
    female = rng.random() < 0.5
    return Speaker(
        f0=(205.0 if female else 118.0) * 2 ** rng.normal(0, 0.16),
        f0_range=rng.uniform(0.15, 0.4),
        tract=(1.16 if female else 1.0) * rng.normal(1, 0.03),
        formant_habits=rng.normal(1, 0.02, 4),
        open_quotient=rng.uniform(0.5, 0.75),
        tilt=rng.uniform(700, 1500),
        breathiness=10 ** rng.uniform(-1.5, -1.0),
        jitter=rng.uniform(0.004, 0.014),
        shimmer=rng.uniform(0.03, 0.10),
        tempo=rng.uniform(0.85, 1.2),
    )


class Phone(NamedTuple):
    """Articulatory targets of a phone.

    Attributes
    ----------
    formants : (F1, F2, F3) in Hz, for `Speaker.tract` = 1
    voicing, aspiration, frication : float
        Amplitude of the three sources, 1 = that of a vowel's voicing.
    centre : float
        Middle of the frication's band, in Hz.
    seconds : (shortest, longest)
    damping : float
        Factor on the formants' bandwidths; above 1 where the nose is open.
    """

    formants: tuple[float, float, float]
    voicing: float = 0.0
    aspiration: float = 0.0
    frication: float = 0.0
    centre: float = 4000.0
    seconds: tuple[float, float] = (0.05, 0.10)
    damping: float = 1.0


def _vowel(*formants: float) -> Phone:
    f1, f2, f3 = formants
    return Phone((f1, f2, f3), voicing=1.0, aspiration=1.0, seconds=(0.07, 0.19))


def _stop(formants: tuple[float, float, float], centre: float, voiced: bool) -> tuple[Phone, Phone]:
    """Return a stop's closure and its burst."""
    closure = Phone(formants, voicing=0.12 if voiced else 0.0, seconds=(0.03, 0.07))
    aspiration, seconds = (0.5, (0.010, 0.02)) if voiced else (2.5, (0.02, 0.05))
    return closure, Phone(formants, aspiration=aspiration, frication=0.35, centre=centre, seconds=seconds)


# Men's means of Peterson & Barney (1952), table II.
VOWELS = (
    _vowel(270, 2290, 3010),  # beet
    _vowel(390, 1990, 2550),  # bit
    _vowel(530, 1840, 2480),  # bet
    _vowel(660, 1720, 2410),  # bat
    _vowel(730, 1090, 2440),  # father
    _vowel(570, 840, 2410),  # bought
    _vowel(440, 1020, 2240),  # book
    _vowel(300, 870, 2240),  # boot
    _vowel(640, 1190, 2390),  # but
    _vowel(490, 1350, 1690),  # bird
)
# Formant targets after Klatt (1980). A consonant is one phone, or a stop's two.
CONSONANTS: tuple[tuple[Phone, ...], ...] = (
    (Phone((340, 1100, 2080), frication=0.12, centre=5000, seconds=(0.07, 0.12)),),  # f
    (Phone((320, 1390, 2530), frication=0.45, centre=6000, seconds=(0.07, 0.14)),),  # s
    (Phone((300, 1840, 2750), frication=0.50, centre=3200, seconds=(0.07, 0.14)),),  # sh
    (Phone((220, 1100, 2080), voicing=0.35, aspiration=0.5, frication=0.06, centre=5000),),  # v
    (Phone((240, 1390, 2530), voicing=0.30, aspiration=0.5, frication=0.25, centre=6000),),  # z
    (Phone((480, 1270, 2130), voicing=0.45, aspiration=0.3, damping=2.5),),  # m
    (Phone((480, 1340, 2470), voicing=0.45, aspiration=0.3, damping=2.5),),  # n
    (Phone((290, 610, 2150), voicing=0.7, aspiration=0.7),),  # w
    (Phone((260, 2070, 3020), voicing=0.7, aspiration=0.7),),  # y
    (Phone((310, 1060, 1380), voicing=0.7, aspiration=0.7),),  # r
    (Phone((310, 1050, 2880), voicing=0.7, aspiration=0.7),),  # l
    (Phone((500, 1500, 2500), aspiration=4.0),),  # h
    _stop((400, 1100, 2150), 1200, voiced=False),  # p
    _stop((400, 1600, 2600), 4500, voiced=False),  # t
    _stop((300, 1990, 2850), 2000, voiced=False),  # k
    _stop((200, 1100, 2150), 1200, voiced=True),  # b
    _stop((200, 1600, 2600), 4500, voiced=True),  # d
    _stop((200, 1990, 2850), 2000, voiced=True),  # g
)
PAUSE = Phone((500, 1500, 2500), aspiration=0.3, seconds=(0.08, 0.25))


def draw_speech(speaker: Speaker, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Let a speaker say nonsense syllables.

    Glottal pulses and aspiration noise pass a cascade of moving formants, frication noise a moving
    band-pass beside it (Klatt 1980).

    Parameters
    ----------
    speaker : Speaker
    seconds : float
        Length wanted; the last syllable is said to its end, so up to half a second more comes.
    rng : numpy.random.Generator

    Returns
    -------
    array [samples]
        Speech without noise or silence around it, of unit root mean square.
    """
    phones, n_frames = _draw_phones(seconds, speaker.tempo, rng)
    n = int(n_frames.sum()) * HOP
    steps = np.repeat(np.arange(len(phones)), n_frames)

    def track(values: Sequence[float] | np.ndarray, smoothing: float) -> np.ndarray:
        return _smooth(np.asarray(values, dtype=float)[steps], smoothing)

    # The articulators are slow (coarticulation, undershoot), the sources are quick.
    formants = track(np.array([phone.formants for phone in phones]) * rng.normal(1, 0.04, (len(phones), 3)), 0.08)
    damping = track([phone.damping for phone in phones], 0.04)
    voicing, aspiration, frication = (
        _upsample(track([getattr(phone, source) for phone in phones], 0.02), n)
        for source in ("voicing", "aspiration", "frication")
    )
    centre = track([phone.centre * rng.normal(1, 0.08) for phone in phones], 0.005)

    f0 = _draw_f0(speaker, len(formants), rng)
    pulses, opening = _glottal_source(speaker, f0, rng)
    # Breath is strongest while the glottis is open, and is heard between the pulses too.
    breath = speaker.breathiness * rng.normal(size=n) * (0.4 + opening)
    frequencies = _all_formants(speaker, formants)
    bandwidths = damping[:, None] * formant_bandwidth(frequencies)
    voice = _filter(_resonances(frequencies, bandwidths), _unit_rms(pulses) * voicing + breath * aspiration)
    hiss = _filter(_band_pass(centre, 0.35 * centre), rng.normal(size=n))
    return _unit_rms(_unit_rms(voice) + frication * _unit_rms(hiss))


def _draw_phones(seconds: float, tempo: float, rng: np.random.Generator) -> tuple[list[Phone], np.ndarray]:
    """Draw syllables until they last `seconds`; return the phones and their lengths in steps of HOP."""
    phones: list[Phone] = []
    n_frames: list[int] = []

    def say(*syllable: Phone) -> None:
        for phone in syllable:
            phones.append(phone)
            n_frames.append(max(2, round(tempo * rng.uniform(*phone.seconds) * RATE / HOP)))

    while sum(n_frames) * HOP < seconds * RATE:
        if phones and rng.random() < 0.12:
            say(PAUSE)
        if rng.random() < 0.85:
            say(*CONSONANTS[rng.integers(len(CONSONANTS))])
        say(VOWELS[rng.integers(len(VOWELS))])
        if rng.random() < 0.3:
            say(*CONSONANTS[rng.integers(len(CONSONANTS))])
    return phones, np.array(n_frames)


def _draw_f0(speaker: Speaker, n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a pitch contour ``[frames]`` in Hz: declination, accents and slow unsteadiness."""
    time = np.arange(n_frames) * HOP / RATE
    octaves = 0.1 - 0.12 * time
    for accent in np.arange(rng.uniform(0, 0.5), time[-1], 0.55):
        height = speaker.f0_range * rng.uniform(0.2, 1.2)
        octaves += height * np.exp(-0.5 * ((time - accent - rng.uniform(0, 0.2)) / 0.09) ** 2)
    octaves += 0.03 * _unit_rms(_smooth(rng.normal(size=n_frames), 0.15))
    return np.clip(speaker.f0 * 2**octaves, F0_RANGE[0] * 1.1, F0_RANGE[1] * 0.95)


def _glottal_source(speaker: Speaker, f0: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative of the glottal flow, and the flow itself scaled to [0, 1].

    Rosenberg's polynomial pulse as in KLGLOTT88 (Klatt & Klatt 1990): over the open
    phase, x = t / (open_quotient · period) in [0, 1), flow ∝ x² − x³ and its derivative ∝ 2x − 3x²;
    a one-pole low-pass rounds the closure.
    """
    rate = RATE * OVERSAMPLING
    derivative = np.zeros(len(f0) * HOP * OVERSAMPLING)
    flow = np.zeros_like(derivative)
    start = rng.uniform(0, rate / f0[0])
    while start < len(derivative):
        period = rate / f0[int(start / rate * RATE / HOP)] * (1 + speaker.jitter * rng.normal())
        open_phase = period * np.clip(speaker.open_quotient + 0.02 * rng.normal(), 0.3, 0.9)
        amplitude = 1 + speaker.shimmer * rng.normal()
        samples = np.arange(int(np.ceil(start)), min(int(np.ceil(start + open_phase)), len(derivative)))
        x = (samples - start) / open_phase
        derivative[samples] = amplitude * (2 * x - 3 * x**2)
        flow[samples] = 6.75 * (x**2 - x**3)  # x² − x³ peaks at 4/27
        start += period
    pole = np.exp(-2 * np.pi * speaker.tilt / rate)
    derivative = scipy.signal.lfilter([1 - pole], [1, -pole], derivative)
    return (
        scipy.signal.resample_poly(derivative, 1, OVERSAMPLING),
        scipy.signal.resample_poly(flow, 1, OVERSAMPLING),
    )


def _all_formants(speaker: Speaker, formants: np.ndarray) -> np.ndarray:
    """Scale F1 to F3 ``[frames, 3]`` to the speaker and add the higher ones, which hardly move."""
    lower = np.column_stack([formants, np.full(len(formants), 3500.0)]) * speaker.tract * speaker.formant_habits
    # A uniform tube resonates every 1000 Hz; the poles must fill the band up to half of RATE.
    upper = np.arange(4500.0, RATE / 2 / speaker.tract - 200, 1000.0) * speaker.tract
    return np.hstack([lower, np.broadcast_to(upper, (len(lower), len(upper)))])


def formant_bandwidth(frequency: np.ndarray) -> np.ndarray:
    """Return a formant's bandwidth from its frequency, both in Hz (Fant 1972)."""
    ratio = frequency / 500.0
    return 15 * ratio**-2 + 20 * np.sqrt(ratio) + 5 * ratio**2


def _resonances(frequency: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """Return the responses ``[frames, bins]`` of cascades of resonators of unit gain at 0 Hz.

    Parameters
    ----------
    frequency, bandwidth : array [frames, resonators], in Hz

    Notes
    -----
    Klatt (1980), eq. 2.
    """
    denominator = np.ones((len(frequency), 1))
    for section in np.moveaxis(_denominators(frequency, bandwidth), 1, 0):
        product = np.zeros((len(section), denominator.shape[1] + 2))
        for lag in range(3):
            product[:, lag : lag + denominator.shape[1]] += section[:, lag, None] * denominator
        denominator = product
    return denominator.sum(axis=1, keepdims=True) / _spectrum(denominator)


def _band_pass(frequency: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """Return the responses ``[frames, bins]`` of two-pole band-passes of unit gain at their middle, in Hz."""
    denominator = _denominators(frequency, bandwidth)
    numerator = (1 - denominator[:, 2:]) / 2 * np.array([1.0, 0.0, -1.0])
    return _spectrum(numerator) / _spectrum(denominator)


def _denominators(frequency: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """Return 1 − 2r cos(θ) z⁻¹ + r² z⁻² for pole pairs given in Hz, as coefficients ``[…, 3]``."""
    radius = np.exp(-np.pi * bandwidth / RATE)
    return np.stack([np.ones_like(radius), -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2], axis=-1)


def _spectrum(coefficients: np.ndarray) -> np.ndarray:
    """Evaluate polynomials in z⁻¹ ``[frames, order + 1]`` on the unit circle, as `_filter` wants them."""
    return scipy.fft.rfft(coefficients, FILTER_SIZE, axis=1)


def _filter(responses: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Filter with a response ``[frames, bins]`` for each HOP samples.

    Each windowed stretch of the input rings out through its own filter. A recursive filter whose
    coefficients are switched would click at each switch, most where the formants move fastest.
    """
    window = _hann(2 * HOP)  # sums to 1 at this hop
    stretches = (_frames(signal, 2 * HOP, HOP) * window)[: len(responses)]
    rung = scipy.fft.irfft(scipy.fft.rfft(stretches, FILTER_SIZE, axis=1) * responses[: len(stretches)], axis=1)
    return _add_frames(rung, HOP)[HOP : HOP + len(signal)]


def _smooth(track: np.ndarray, seconds: float) -> np.ndarray:
    """Smooth a control track along time with a Hann window; the ends are held."""
    window = np.hanning(2 * round(seconds * RATE / HOP / 2) + 3)
    return scipy.ndimage.convolve1d(track, window / window.sum(), axis=0, mode="nearest")


def _upsample(track: np.ndarray, n: int) -> np.ndarray:
    """Interpolate a control track ``[frames]`` at each of `n` samples."""
    return np.interp(np.arange(n), np.arange(len(track)) * HOP, track)


def _unit_rms(signal: np.ndarray) -> np.ndarray:
    return signal / max(float(np.sqrt(np.mean(signal**2))), 1e-12)


# --- The recording ---------------------------------------------------------------------------


def record(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Send speech through a random room, microphone, noise floor and level.

    Both classes pass through it, with the same distributions, so that none of these, nor the silence
    around the speech, tells one class from the other.

    Parameters
    ----------
    speech : array [samples]
    rng : numpy.random.Generator

    Returns
    -------
    array [samples + silences], of magnitude below 1
    """
    lead, trail = (rng.uniform(0.05, 0.25, 2) * RATE).astype(int)
    n = len(speech)
    # A voice sets in and dies away. Done here, for what a vocoder smears over the ends would tell it.
    fade = np.interp(np.arange(n), [0, 0.02 * RATE, n - 0.06 * RATE, n], [0, 1, 1, 0])
    signal = np.pad(speech * fade, (lead, trail))
    signal = scipy.signal.fftconvolve(signal, _draw_room(rng))[: len(signal)]
    signal = scipy.signal.fftconvolve(signal, _draw_microphone(rng), mode="same")
    signal = _unit_rms(signal)
    signal += 10 ** (-rng.uniform(35, 50) / 20) * _draw_noise(len(signal), rng)
    signal *= 10 ** (rng.uniform(-32, -22) / 20)
    # Loud peaks are turned down whole: clipping would be a trace of its own.
    return signal * min(1.0, 0.95 / np.abs(signal).max())


def _draw_room(rng: np.random.Generator) -> np.ndarray:
    """Return an impulse response: the direct sound and exponentially decaying noise."""
    decay = rng.uniform(0.08, 0.25)  # s for 60 dB
    time = np.arange(1, int(decay * RATE)) / RATE
    tail = rng.normal(size=len(time)) * 10 ** (-3 * time / decay)
    tail *= 10 ** (-rng.uniform(16, 30) / 20) / np.sqrt(np.sum(tail**2))
    return np.concatenate([[1.0], tail])


def _draw_microphone(rng: np.random.Generator) -> np.ndarray:
    """Return a linear-phase filter: a few dB up or down from octave to octave, no rumble."""
    corners = np.array([0, 60, 125, 250, 500, 1000, 2000, 4000, 7000, RATE / 2])
    gains = 10 ** (rng.normal(0, 0.8, len(corners)) / 20)
    gains[0] = 0.0
    return scipy.signal.firwin2(513, corners, gains, fs=RATE)


def _draw_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of unit root mean square whose spectrum falls by 0 to 6 dB an octave."""
    size = scipy.fft.next_fast_len(n, real=True)
    spectrum = scipy.fft.rfft(rng.normal(size=size))
    frequency = np.maximum(np.arange(len(spectrum)) * RATE / size, 50.0)
    return _unit_rms(scipy.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), size)[:n])


# --- Short-time analysis ---------------------------------------------------------------------


def _frames(signal: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Return frames ``[frames, size]`` centred on samples 0, `hop`, 2 `hop`, …; zeros beyond the ends."""
    padded = np.pad(signal, (size // 2, size))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[: len(signal) + hop : hop]


def _add_frames(frames: np.ndarray, hop: int) -> np.ndarray:
    """Add up frames ``[frames, size]`` that start on samples 0, `hop`, …; `hop` divides `size`."""
    n_frames, size = frames.shape
    blocks = frames.reshape(n_frames, size // hop, hop)
    total = np.zeros((n_frames + size // hop, hop))
    for i in range(size // hop):
        total[i : i + n_frames] += blocks[:, i]
    return total.ravel()


def stft(signal: np.ndarray) -> np.ndarray:
    """Return the short-time spectrum ``[frames, STFT_SIZE // 2 + 1]`` under a Hann window."""
    return scipy.fft.rfft(_frames(signal, STFT_SIZE, STFT_HOP) * _hann(STFT_SIZE), axis=1)


def istft(spectrum: np.ndarray, n: int) -> np.ndarray:
    """Return the `n` samples whose `stft` is nearest in the least squares (Griffin & Lim 1984, eq. 6)."""
    window = _hann(STFT_SIZE)
    frames = scipy.fft.irfft(spectrum, STFT_SIZE, axis=1) * window
    weight = np.broadcast_to(window**2, frames.shape)
    inside = slice(STFT_SIZE // 2, STFT_SIZE // 2 + n)
    return _add_frames(frames, STFT_HOP)[inside] / _add_frames(weight, STFT_HOP)[inside]


@lru_cache(maxsize=512)
def _hann(size: int) -> np.ndarray:
    return scipy.signal.get_window("hann", size)


@lru_cache(maxsize=1)
def mel_filters() -> np.ndarray:
    """Return triangles ``[N_MELS, STFT_SIZE // 2 + 1]``, equally spaced in mel = 2595 log10(1 + f / 700)."""
    corners = 700 * (10 ** (np.linspace(0, np.log10(1 + RATE / 2 / 700), N_MELS + 2)) - 1)
    frequency = np.arange(STFT_SIZE // 2 + 1) * RATE / STFT_SIZE
    # At low frequencies a triangle may fall between two bins; each side is at least one bin wide.
    width = np.maximum(np.diff(corners), RATE / STFT_SIZE)
    rise = 1 - (corners[1:-1, None] - frequency) / width[:-1, None]
    fall = 1 - (frequency - corners[1:-1, None]) / width[1:, None]
    return np.maximum(0, np.minimum(rise, fall))


def _oversmooth(magnitude: np.ndarray) -> np.ndarray:
    """Smooth log magnitudes ``[frames, bands]`` over 64 ms.

    Stands in for an acoustic model: what models predict moves less than speech does (Toda & Tokuda 2007).
    """
    window = np.hanning(2 * (512 // STFT_HOP) + 3)
    floor = 1e-4 * max(float(magnitude.max()), 1e-12)
    logs = np.log(np.maximum(magnitude, floor))
    return np.exp(scipy.ndimage.convolve1d(logs, window / window.sum(), axis=0, mode="nearest"))


def estimate_f0(signal: np.ndarray) -> np.ndarray:
    """Track the pitch by the normalised autocorrelation (Boersma 1993).

    Parameters
    ----------
    signal : array [samples]

    Returns
    -------
    array [frames]
        F0 in Hz every HOP samples, the first centred on sample 0; 0 where the signal is unvoiced.
    """
    size = 768  # 48 ms: nearly three periods of the lowest pitch
    window = _hann(size)
    frames = _frames(signal, size, HOP)
    frames = frames - frames.mean(axis=1, keepdims=True)

    def autocorrelation(x: np.ndarray) -> np.ndarray:
        return scipy.fft.irfft(np.abs(scipy.fft.rfft(x, 2 * size, axis=-1)) ** 2, axis=-1)

    raw = autocorrelation(frames * window)
    lags = np.arange(int(RATE / F0_RANGE[1]), int(RATE / F0_RANGE[0]))
    taper = autocorrelation(window)
    strength = raw[:, lags] / np.maximum(raw[:, :1], 1e-12) / (taper[lags] / taper[0])
    # Twice the period fits as well as the period itself: prefer the shorter one a little.
    best = np.argmax(strength - 0.04 * np.log2(lags / lags[0]), axis=1)
    power = np.mean(frames**2, axis=1)
    voiced = (strength[np.arange(len(best)), best] > 0.5) & (power > 1e-3 * power.max())
    f0 = np.where(voiced, RATE / lags[best], 0.0)
    return scipy.signal.medfilt(f0, 5)


def _fill_unvoiced(f0: np.ndarray) -> np.ndarray:
    """Interpolate F0 over unvoiced frames; 120 Hz where nothing is voiced."""
    voiced = np.flatnonzero(f0)
    return np.interp(np.arange(len(f0)), voiced, f0[voiced]) if len(voiced) else np.full(len(f0), 120.0)


# --- The attacks -----------------------------------------------------------------------------


def linear_prediction(frames: np.ndarray, order: int, broadening: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Fit an all-pole model to each frame by the autocorrelation method.

    Parameters
    ----------
    frames : array [frames, size]
        Windowed signal.
    order : int > 0
    broadening : float
        Width, in Hz, of the Gaussian with which the spectrum is smoothed beforehand. Without it the
        peaks of a high voice close in on single harmonics, and ring too loud.

    Returns
    -------
    coefficients : array [frames, order + 1]
        Denominators, the first coefficient 1.
    gain : array [frames]
        Root mean square of the residual over the frame.
    """
    size = frames.shape[1]
    power = np.abs(scipy.fft.rfft(frames, 2 * size, axis=1)) ** 2
    autocorrelation = scipy.fft.irfft(power, axis=1)[:, : order + 1] / size
    autocorrelation[:, 0] = autocorrelation[:, 0] * (1 + 1e-6) + 1e-10  # well-posed in silence too
    autocorrelation *= np.exp(-0.5 * (2 * np.pi * broadening * np.arange(order + 1) / RATE) ** 2)
    coefficients = np.ones((len(frames), order + 1))
    for row, r in zip(coefficients, autocorrelation, strict=True):
        row[1:] = scipy.linalg.solve_toeplitz(r[:-1], -r[1:])
    residual = np.einsum("ij,ij->i", coefficients, autocorrelation)
    return coefficients, np.sqrt(np.maximum(residual, 0.0))


def lpc_vocoder(speech: np.ndarray, rng: np.random.Generator, order: int = 18) -> np.ndarray:
    """Resynthesise from all-pole envelopes and an excitation of pulses or noise (Atal & Hanauer 1971).

    Lost: the shape of the glottal pulse, the spectrum's zeros, and the breath within voiced sounds.
    """
    window = _hann(400)  # 25 ms
    coefficients, gain = linear_prediction(_frames(speech, len(window), HOP) * window, order, broadening=60.0)
    gain /= np.sqrt(np.mean(window**2))
    f0 = estimate_f0(speech)
    excitation = np.where(_hold(f0, len(speech)) > 0, _pulse_train(f0, len(speech)), rng.normal(size=len(speech)))
    return _filter(gain[:, None] / _spectrum(coefficients), excitation)


def _hold(track: np.ndarray, n: int) -> np.ndarray:
    """Return the value of the nearest frame for each of `n` samples."""
    return track[np.minimum((np.arange(n) + HOP // 2) // HOP, len(track) - 1)]


def _phase(f0: np.ndarray, n: int) -> np.ndarray:
    """Integrate an F0 track in Hz to the phase in periods at each of `n` samples."""
    return np.cumsum(_upsample(_fill_unvoiced(f0), n)) / RATE


def _pulse_train(f0: np.ndarray, n: int) -> np.ndarray:
    """Return one impulse a period, of unit power."""
    period_starts = np.diff(np.floor(_phase(f0, n)), prepend=0.0)
    return period_starts * np.sqrt(RATE / np.maximum(_hold(_fill_unvoiced(f0), n), 1.0))


def mel_vocoder(speech: np.ndarray, rng: np.random.Generator, n_iter: int = 12) -> np.ndarray:
    """Invert an oversmoothed mel spectrogram: spread the bands over their bins, then find phases.

    Lost: the phase, quick movements, and harmonics and noise wherever a mel band covers several of them.
    """
    filters = mel_filters()
    mel = np.abs(stft(speech)) @ (filters / filters.sum(axis=1, keepdims=True)).T
    magnitude = _oversmooth(mel) @ (filters / np.maximum(filters.sum(axis=0), 1e-12))
    return griffin_lim(magnitude, len(speech), rng, n_iter)


def griffin_lim(magnitude: np.ndarray, n: int, rng: np.random.Generator, n_iter: int) -> np.ndarray:
    """Find a signal whose short-time magnitudes are near the given ones (Griffin & Lim 1984).

    Parameters
    ----------
    magnitude : array [frames, STFT_SIZE // 2 + 1]
    n : int
        Length of the signal, in samples.
    rng : numpy.random.Generator
        Source of the first phases.
    n_iter : int >= 0
        Each iteration brings `inconsistency` down or leaves it.
    """
    signal = istft(magnitude * np.exp(2j * np.pi * rng.random(magnitude.shape)), n)
    for _ in range(n_iter):
        spectrum = stft(signal)
        signal = istft(magnitude * spectrum / np.maximum(np.abs(spectrum), 1e-12), n)
    return signal


def inconsistency(signal: np.ndarray, magnitude: np.ndarray) -> float:
    """Return ‖ |stft(signal)| − magnitude ‖ / ‖ magnitude ‖, which `griffin_lim` brings down."""
    return float(np.linalg.norm(np.abs(stft(signal)) - magnitude) / np.linalg.norm(magnitude))


def splice(speech: np.ndarray, database: np.ndarray, unit_frames: int = 4, join_weight: float = 1.0) -> np.ndarray:
    """Say an utterance with pieces of other ones (concatenative synthesis, Hunt & Black 1996).

    The utterance is cut into units of equal length; for each, the piece of the database is taken
    whose log mel spectrum is nearest, and which joins well to the piece before.

    Parameters
    ----------
    speech : array [samples]
        What is to be said.
    database : array [samples]
        The target speaker's recordings, one after the other; longer than a unit.
    unit_frames : int > 0
        Length of a unit in steps of `STFT_HOP`.
    join_weight : float
        Weight of the spectral distance at a join relative to that of a frame within the unit.

    Raises
    ------
    InputError
        When the database is shorter than one unit.
    """
    unit = unit_frames * STFT_HOP
    if len(database) < unit + STFT_HOP:
        raise InputError(f"database of {len(database)} samples for units of {unit}; give more of the target's speech")
    wanted, stored = _log_mel(speech), _log_mel(database)
    candidates = np.lib.stride_tricks.sliding_window_view(stored, unit_frames, axis=0)  # [starts, mels, unit_frames]
    candidates = candidates[: (len(database) - unit) // STFT_HOP]
    fade = 32  # samples, 2 ms: short, as a join is in a small system
    ramp = np.linspace(0, 1, fade)
    output = np.zeros(len(wanted) * STFT_HOP + unit + fade)
    previous_end = wanted[0]
    for i in range(0, len(wanted), unit_frames):
        goal = wanted[i : i + unit_frames].T
        cost = ((candidates[:, :, : goal.shape[1]] - goal) ** 2).mean(axis=1).sum(axis=1)
        cost += join_weight * ((stored[: len(candidates)] - previous_end) ** 2).mean(axis=1)
        best = int(np.argmin(cost))
        previous_end = stored[best + unit_frames]
        piece = database[best * STFT_HOP : best * STFT_HOP + unit + fade].copy()
        piece = np.pad(piece, (0, unit + fade - len(piece)))
        piece[:fade] *= ramp
        piece[-fade:] *= ramp[::-1]
        output[i * STFT_HOP : i * STFT_HOP + unit + fade] += piece
    return output[: len(speech)]


def _log_mel(signal: np.ndarray) -> np.ndarray:
    """Return log mel energies ``[frames, N_MELS]``, floored 50 dB below the loudest."""
    mel = np.abs(stft(signal)) ** 2 @ mel_filters().T
    return np.log(np.maximum(mel, 1e-5 * mel.max()))


def convert_voice(
    speech: np.ndarray, mean_f0: float, formant_factor: float = 1.0, liveliness: float = 0.1
) -> np.ndarray:
    """Move the pitch to another mean, flatten it, and shift the formants, by pitch-synchronous overlap-add.

    TD-PSOLA of Moulines & Charpentier (1990): two periods around each pitch mark are windowed and
    set down again at the new distance; the duration stays. Played faster or slower, they move the
    formants (Sündermann & Ney 2003), and linear interpolation takes some treble away.

    Parameters
    ----------
    speech : array [samples]
    mean_f0 : float
        Geometric mean of the new pitch, in Hz.
    formant_factor : float > 0
        Factor on all resonances; 1 = they stay.
    liveliness : float
        Factor on the pitch's excursions from its mean, in octaves; 0 = monotone.
    """
    f0 = estimate_f0(speech)
    voiced = f0 > 0
    if not voiced.any():
        return speech.copy()
    mean = np.exp(np.log(f0[voiced]).mean())
    new_f0 = np.where(voiced, mean_f0 * (_fill_unvoiced(f0) / mean) ** liveliness, 0.0)
    marks, periods = _pitch_marks(speech, f0)
    output = np.zeros_like(speech)
    weight = np.zeros_like(speech)
    samples = np.arange(len(speech))
    time = float(marks[0])
    while time < len(speech):
        nearest = int(np.argmin(np.abs(marks - time)))
        mark, period = int(marks[nearest]), int(periods[nearest])
        here = round(time)
        there = samples[max(0, here - period) : here + period]
        window = _hann(2 * period)[there - here + period]
        output[there] += window * np.interp(mark + formant_factor * (there - here), samples, speech, left=0, right=0)
        weight[there] += window
        frame = min(int(time / HOP), len(f0) - 1)
        time += RATE / new_f0[frame] if voiced[frame] else period
    # Where marks have moved closer, the windows add up to more than one.
    return output / np.maximum(weight, 1.0)


def _pitch_marks(speech: np.ndarray, f0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one mark a period, in samples, on the period's largest peak, and the period at each."""
    marks: list[int] = []
    periods: list[int] = []
    unvoiced_step = 2 * HOP
    time = 0
    while time < len(speech):
        pitch = f0[min(time // HOP, len(f0) - 1)]
        period = round(RATE / pitch) if pitch else unvoiced_step
        if pitch:
            reach = period // 5
            start = max(time - reach, marks[-1] + period // 2 if marks else 0)
            around = np.abs(speech[start : time + reach + 1])
            time = start + int(np.argmax(around)) if len(around) else time
        marks.append(time)
        periods.append(period)
        time += period
    return np.array(marks), np.array(periods)


def harmonic_vocoder(speech: np.ndarray, rng: np.random.Generator, n_cepstra: int = 20) -> np.ndarray:
    """Resynthesise as harmonics of a nearly constant pitch, after McAulay & Quatieri (1986), plus noise.

    The envelope is the spectrum smoothed by keeping `n_cepstra` cepstral coefficients, and in time;
    harmonics have amplitudes only, their phases start at 0.
    """
    n = len(speech)
    envelope = _oversmooth(_cepstral_envelope(np.abs(stft(speech)), n_cepstra))
    f0 = estimate_f0(speech)
    pitch = _fill_unvoiced(f0)
    pitch = pitch.mean() * (pitch / pitch.mean()) ** 0.2
    voicing = _smooth((f0 > 0).astype(float), 0.02)

    # At frame times: the harmonics' amplitudes; between them: interpolated.
    phase = 2 * np.pi * _phase(pitch, n)
    times = np.arange(len(envelope)) * STFT_HOP
    pitch_at, voicing_at = (np.interp(times, np.arange(len(pitch)) * HOP, track) for track in (pitch, voicing))
    rows = np.arange(len(envelope))
    voiced = np.zeros(n)
    for k in range(1, int(RATE / 2 / pitch.min()) + 1):
        bins = k * pitch_at / RATE * STFT_SIZE
        inside = bins < STFT_SIZE // 2
        level = envelope[rows, np.where(inside, bins, 0).round().astype(int)]
        # A cosine of amplitude A has power A²/2; its band, f0 wide, holds 2 f0 / RATE of noise of that level.
        amplitude = inside * voicing_at * level * np.sqrt(4 * pitch_at / RATE)
        voiced += np.interp(np.arange(n), times, amplitude) * np.cos(k * phase)
    noise = istft(envelope * (1 - voicing_at)[:, None] * stft(rng.normal(size=n)), n)
    return voiced + noise


def _cepstral_envelope(magnitude: np.ndarray, n_cepstra: int) -> np.ndarray:
    """Smooth spectra ``[frames, STFT_SIZE // 2 + 1]`` by liftering, with each frame's power kept.

    The result is in units of the spectrum of noise of unit variance.
    """
    floor = 1e-4 * max(float(magnitude.max()), 1e-12)
    cepstra = scipy.fft.irfft(np.log(np.maximum(magnitude, floor)), axis=1)
    cepstra[:, n_cepstra : STFT_SIZE - n_cepstra + 1] = 0
    smooth = np.exp(scipy.fft.rfft(cepstra, axis=1).real)
    # The mean of a logarithm lies below that of the power, by more the deeper the gaps between harmonics.
    smooth *= np.linalg.norm(magnitude, axis=1, keepdims=True) / np.linalg.norm(smooth, axis=1, keepdims=True)
    return smooth / np.sqrt(np.sum(_hann(STFT_SIZE) ** 2))


# --- Utterances ------------------------------------------------------------------------------


class Attack(NamedTuple):
    """A way of spoofing.

    Attributes
    ----------
    description : str
    seen : bool
        Whether the attack is in the training and development splits too.
    spoof : callable (target, source, rng) -> array [samples]
        Speech in the voice of the speaker `target`; `source` is another speaker of the same split.
    """

    description: str
    seen: bool
    spoof: Callable[[Speaker, Speaker, np.random.Generator], np.ndarray]


def _lpc_attack(target: Speaker, source: Speaker, rng: np.random.Generator) -> np.ndarray:
    return lpc_vocoder(draw_speech(target, _draw_seconds(rng), rng), rng)


def _mel_attack(target: Speaker, source: Speaker, rng: np.random.Generator) -> np.ndarray:
    return mel_vocoder(draw_speech(target, _draw_seconds(rng), rng), rng)


def _splicing_attack(target: Speaker, source: Speaker, rng: np.random.Generator) -> np.ndarray:
    speech = draw_speech(target, _draw_seconds(rng), rng)
    return splice(speech, draw_speech(target, 3.0, rng))


def _conversion_attack(target: Speaker, source: Speaker, rng: np.random.Generator) -> np.ndarray:
    speech = draw_speech(source, _draw_seconds(rng), rng)
    return convert_voice(speech, target.f0, target.tract / source.tract)


def _harmonic_attack(target: Speaker, source: Speaker, rng: np.random.Generator) -> np.ndarray:
    return harmonic_vocoder(draw_speech(target, _draw_seconds(rng), rng), rng)


ATTACKS = {
    "A01": Attack("linear prediction, excited by pulses and noise", True, _lpc_attack),
    "A02": Attack("mel spectrogram, inverted by Griffin-Lim", True, _mel_attack),
    "A03": Attack("splices of the target's other utterances", True, _splicing_attack),
    "A04": Attack("another speaker's utterance, pitch and formants moved by PSOLA", True, _conversion_attack),
    "A05": Attack("harmonics of a nearly constant pitch under a cepstral envelope", False, _harmonic_attack),
}


def draw_utterance(target: Speaker, source: Speaker, attack: str | None, rng: np.random.Generator) -> np.ndarray:
    """Draw a recording of a speaker, or a recorded spoof of one.

    Parameters
    ----------
    target : Speaker
        Whose voice it is, or is meant to be taken for.
    source : Speaker
        Another speaker, for the attacks that convert a voice.
    attack : key of `ATTACKS`, or None
        None = bona fide.
    rng : numpy.random.Generator

    Returns
    -------
    array [samples], of magnitude below 1
    """
    if attack is None:
        speech = draw_speech(target, _draw_seconds(rng), rng)
    else:
        speech = ATTACKS[attack].spoof(target, source, rng)
    return record(speech, rng)


def _draw_seconds(rng: np.random.Generator) -> float:
    return rng.uniform(1.4, 2.4)
