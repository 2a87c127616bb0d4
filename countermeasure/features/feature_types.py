"""Feature types: what each one is called and what sets it apart; importing this costs nothing.

To add a type, enter it in `_BASES`, write its function over a `Block` of frames in `features`, and
give the tests its reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from countermeasure.errors import InputError

# spafe leaves zeros alone where a root follows; these samples keep the root of an empty filter finite.
ZEROS_BECOME = 1e-5
MIN_N_FFT = 1024


class Window(NamedTuple):
    """A sliding Hamming window.

    Attributes
    ----------
    length, hop : float
        In seconds.
    """

    length: float
    hop: float

    def samples(self, rate: int) -> tuple[int, int]:
        """Return length and hop in samples, cut to whole ones as spafe does."""
        return int(self.length * rate), int(self.hop * rate)

    def n_fft(self, rate: int) -> int:
        """Return the size of the FFT: 1024 points, or the next power of two that holds the window."""
        length, _ = self.samples(rate)
        return max(MIN_N_FFT, 1 << (length - 1).bit_length())


N_CEPSTRA = 20
N_FILTERS = 70
# As spafe's cqcc has them; its transform's own defaults differ.
CONSTANT_Q: dict[str, Any] = {"bins_per_octave": 24, "n_octaves": 7, "f0_hz": 120, "spectral_threshold": 0.005}
STANDARD = Window(0.03, 0.015)
SHORT = Window(0.025, 0.01)
SHORT_SUFFIX = "-25"
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class FeatureType:
    """An entry of the registry.

    Attributes
    ----------
    name : str
    description : str
        One line for the help text.
    cepstra : str or None
        Name of the function in `features` that takes a `spectra.Block` and gives one row a frame,
        ``[n_frames, 20]`` unless `over_time` follows. None for the one type that describes a recording
        as a whole.
    settings : dict
        What sets this type apart, for the record beside a list.
    over_time : str or None
        Name of the function in `features` that takes the rows of all blocks, ``[n_frames, k]``, and
        gives the cepstra, ``[n_frames, 20]``. For methods in which a frame depends on those before it.
    window : Window or None
        None for the type that has no frames.
    """

    name: str
    description: str
    cepstra: str | None
    settings: dict[str, Any] = field(default_factory=dict)
    over_time: str | None = None
    window: Window | None = STANDARD


# -- what is asked of the registry -------------------------------------------------------------------


def get(name: str) -> FeatureType:
    """Return the entry of a type.

    Raises
    ------
    InputError
        When there is no such type.
    """
    try:
        return _types()[name]
    except KeyError:
        raise InputError(f"no feature type {name!r}; there are {' '.join(names())}") from None


def names() -> list[str]:
    """Return the names of all feature types, each with its short-window twin behind it."""
    return list(_types())


def describe() -> list[tuple[str, str]]:
    """Return a row for each method: the names that it goes by, and what it is."""
    rows = []
    for base in _BASES:
        twin = f", {base.name}{SHORT_SUFFIX}" if base.window else ""
        rows.append((base.name + twin, base.description))
    return rows


def window(name: str) -> Window | None:
    """Return a type's window (length and hop in seconds), or None for a type without frames.

    Frames of two types belong together when their windows are equal.
    """
    return get(name).window


def settings(name: str, rate: int) -> dict[str, Any]:
    """Return all that determines a type's numbers at a sampling rate, as plain JSON values."""
    entry = get(name)
    if entry.window is None:
        return {"type": name, **entry.settings}
    length, hop = entry.window.samples(rate)
    return {
        "type": name,
        "window_length_s": entry.window.length,
        "window_hop_s": entry.window.hop,
        "window_length_samples": length,
        "window_hop_samples": hop,
        "window": "hamming",
        "n_fft": entry.window.n_fft(rate),
        "low_hz": 0,
        "high_hz": rate / 2,
        "pre_emphasis": False,
        "n_cepstra": N_CEPSTRA,
        "delta_frames": 2,
        **entry.settings,
    }


def is_padded(name: str, n_samples: int, rate: int) -> bool:
    """Tell whether a recording of `n_samples` is shorter than one window and is filled up with zeros."""
    entry = get(name)
    return entry.window is not None and n_samples < entry.window.samples(rate)[0]


# -- the registry ------------------------------------------------------------------------------------


def _bank(bank: str, compression: str, **others: Any) -> dict[str, Any]:
    return {"filter_bank": bank, "n_filters": N_FILTERS, "compression": compression, **others}


_ROOTS: dict[str, Any] = {"zeros_become": ZEROS_BECOME}

_BASES = (
    FeatureType("mfcc", "mel-frequency cepstra", "_mfcc", _bank("mel", "log")),
    FeatureType(
        "imfcc",
        "inverse mel: finest at high frequencies",
        "_imfcc",
        _bank("inverse mel", "log"),
    ),
    FeatureType("lfcc", "linear-frequency cepstra", "_lfcc", _bank("linear", "log")),
    FeatureType("bfcc", "Bark-frequency cepstra of equal loudness", "_bfcc", _bank("bark", "equal loudness, log")),
    FeatureType("gfcc", "gammatone cepstra, cube root", "_gfcc", _bank("gammatone", "cube root")),
    FeatureType("ngcc", "gammatone cepstra, logarithm", "_ngcc", _bank("gammatone", "log")),
    FeatureType("msrcc", "magnitude spectral root cepstra (mel)", "_msrcc", _bank("mel", "power -1/7", **_ROOTS)),
    FeatureType("psrcc", "phase spectral root cepstra (mel)", "_psrcc", _bank("mel", "power -1/7 of phase", **_ROOTS)),
    FeatureType(
        "cqcc",
        "constant-Q cepstra (7 octaves from 120 Hz)",
        "_cqcc",
        {**CONSTANT_Q, "compression": "log"},
    ),
    FeatureType(
        "pncc",
        "power-normalised cepstra (gammatone)",
        "_pncc_filtered",
        _bank("gammatone", "power 1/15"),
        over_time="_pncc",
    ),
    FeatureType("lpcc", "linear prediction cepstra", "_lpcc", {"order": N_CEPSTRA - 1, "window": "none"}),
    FeatureType("plp", "perceptual linear prediction (Bark)", "_plp", _bank("bark", "cube root", order=N_CEPSTRA - 1)),
    FeatureType(
        "rplp", "the same with RASTA filtering", "_rplp", _bank("bark", "RASTA, cube root", order=N_CEPSTRA - 1)
    ),
    FeatureType(
        "silence",
        "leading and trailing silence in samples; file-level fusion only",
        None,
        {"frame": 512, "hop": 256},
        window=None,
    ),
)


@lru_cache(maxsize=1)
def _types() -> dict[str, FeatureType]:
    types = {}
    for base in _BASES:
        types[base.name] = base
        if base.window:
            types[base.name + SHORT_SUFFIX] = replace(base, name=base.name + SHORT_SUFFIX, window=SHORT)
    return types
