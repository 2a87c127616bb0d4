"""Names and settings of the feature types; imports no NumPy, so that help texts appear at once.

A name is ``METHOD[-25][-cmvn][@LOW-HIGH]``. A new method needs an entry in `METHODS`, its function in
`cepstra.KERNELS` and a reference in the tests.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from countermeasure.errors import InputError

SILENCE = "silence"
DTYPES = ("float32", "float64")
N_CEPSTRA = 20
N_FILTERS = 70
MIN_N_FFT = 1024
ZEROS_BECOME = 1e-5  # instead of samples that are 0 (msrcc and psrcc), so that the root of an empty filter is finite
# Those of spafe's cqcc; the defaults of its transform differ.
CONSTANT_Q: dict[str, Any] = {"bins_per_octave": 24, "n_octaves": 7, "f0_hz": 120, "spectral_threshold": 0.005}

VARIANTS = """variants of all but silence, by suffixes in this order: TYPE[-25][-cmvn][@LOW-HIGH]
  -25        window of 25 ms every 10 ms instead of 30 ms every 15 ms
  -cmvn      cepstra of each recording shifted and scaled to mean 0 and variance 1 before the deltas
  @LOW-HIGH  filter bank from LOW to HIGH Hz instead of 0 to half the sampling rate (not cqcc and lpcc)
  as in mfcc-25, lfcc-cmvn, lfcc@0-4000 and mfcc-25-cmvn@300-3400"""
_NAME = re.compile(r"(?P<method>[a-z]+)(?P<short>-25)?(?P<cmvn>-cmvn)?(@(?P<band>.*))?")
_BAND = re.compile(r"(0|[1-9][0-9]{0,5})-([1-9][0-9]{0,5})")


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
        """Return length and hop in samples, rounded down as in spafe."""
        return int(self.length * rate), int(self.hop * rate)

    def n_fft(self, rate: int) -> int:
        """Return the size of the FFT: 1024 points, or the next power of two if the window is longer."""
        length, _ = self.samples(rate)
        return max(MIN_N_FFT, 1 << (length - 1).bit_length())


STANDARD = Window(0.03, 0.015)
SHORT = Window(0.025, 0.01)


class Method(NamedTuple):
    """How frames become cepstra.

    Attributes
    ----------
    name : str
        Name of the method and of its plain feature type.
    description : str
        One line for the help text.
    settings : dict
        The settings of this method, for the record beside a list.
    """

    name: str
    description: str
    settings: dict[str, Any]


class FeatureType(NamedTuple):
    """A method and its variant.

    Attributes
    ----------
    name : str
    method : Method
    window : Window or None
        None for ``silence``, which describes a whole recording.
    cmvn : bool
        Whether the cepstra of each recording are normalised to mean 0 and variance 1.
    band : tuple of int or None
        Lowest and highest frequency of the filter bank in Hz; None means 0 to half the sampling rate.
    """

    name: str
    method: Method
    window: Window | None
    cmvn: bool
    band: tuple[int, int] | None

    def limits(self, rate: int) -> tuple[float, float]:
        """Return the lowest and the highest frequency in Hz.

        Raises
        ------
        InputError
            If the band ends above half the sampling rate.
        """
        low, high = self.band or (0, rate / 2)
        if high > rate / 2:
            raise InputError(
                f"{self.name}: its band ends above {rate / 2:g} Hz, half the sampling rate; choose a lower one"
            )
        return low, high


@lru_cache(maxsize=256)
def get(name: str) -> FeatureType:
    """Return the type of a name.

    Raises
    ------
    InputError
        If there is no such type.
    """
    match = _NAME.fullmatch(name)
    method = METHODS.get(match["method"]) if match else None
    if not match or not method or method.name == SILENCE != name:
        raise InputError(
            f"no feature type {name!r}; there are {' '.join(METHODS)}, and of all but silence the variants "
            "TYPE[-25][-cmvn][@LOW-HIGH]"
        )
    window = None if name == SILENCE else SHORT if match["short"] else STANDARD
    return FeatureType(name, method, window, bool(match["cmvn"]), _band(name, match["band"], method))


def _band(name: str, text: str | None, method: Method) -> tuple[int, int] | None:
    if text is None:
        return None
    match = _BAND.fullmatch(text)
    if not match or int(match[1]) >= int(match[2]):
        raise InputError(
            f"{name}: {text!r} is no band; give the lowest and the highest frequency in whole Hz, as in "
            f"{method.name}@0-4000"
        )
    if "filter_bank" not in method.settings:
        raise InputError(f"{name}: {method.name} has no filter bank, and so no band; leave '@{text}' out")
    return int(match[1]), int(match[2])


def is_name(name: object) -> bool:
    """Return whether a feature type has this name."""
    try:
        return isinstance(name, str) and bool(get(name))
    except InputError:
        return False


def names() -> list[str]:
    """Return the names of all types, each followed by its short-window variant; other variants are left out."""
    return [name for method in METHODS for name in (method, f"{method}-25") if name != f"{SILENCE}-25"]


def window(name: str) -> Window | None:
    """Return a type's window, or None for ``silence``. Only types of equal windows can be fused frame by frame."""
    return get(name).window


def is_padded(name: str, n_samples: int, rate: int) -> bool:
    """Return whether a recording is shorter than one window, so that it is padded with zeros."""
    entry = get(name)
    return entry.window is not None and n_samples < entry.window.samples(rate)[0]


def settings(name: str, rate: int) -> dict[str, Any]:
    """Return all settings that determine a type's features at a sampling rate, as JSON values."""
    entry = get(name)
    if entry.window is None:
        return {"type": name, **entry.method.settings}
    length, hop = entry.window.samples(rate)
    low, high = entry.limits(rate)
    return {
        "type": name,
        "window_length_s": entry.window.length,
        "window_hop_s": entry.window.hop,
        "window_length_samples": length,
        "window_hop_samples": hop,
        "window": "hamming",
        "n_fft": entry.window.n_fft(rate),
        "low_hz": low,
        "high_hz": high,
        "pre_emphasis": False,
        "n_cepstra": N_CEPSTRA,
        "delta_frames": 2,
        **entry.method.settings,
        **({"cmvn": True} if entry.cmvn else {}),  # absent from records of plain types, also in older ones
    }


# -- the methods ---------------------------------------------------------------------------------------


def _bank(bank: str, compression: str, **others: Any) -> dict[str, Any]:
    return {"filter_bank": bank, "n_filters": N_FILTERS, "compression": compression, **others}


_ROOTS: dict[str, Any] = {"zeros_become": ZEROS_BECOME}
_PREDICTION: dict[str, Any] = {"order": N_CEPSTRA - 1}

METHODS = {
    method.name: method
    for method in (
        Method("mfcc", "mel-frequency cepstra", _bank("mel", "log")),
        Method("imfcc", "inverse mel: finest at high frequencies", _bank("inverse mel", "log")),
        Method("lfcc", "linear-frequency cepstra", _bank("linear", "log")),
        Method("bfcc", "Bark-frequency cepstra of equal loudness", _bank("bark", "equal loudness, log")),
        Method("gfcc", "gammatone cepstra, cube root", _bank("gammatone", "cube root")),
        Method("ngcc", "gammatone cepstra, logarithm", _bank("gammatone", "log")),
        Method("msrcc", "magnitude spectral root cepstra (mel)", _bank("mel", "power -1/7", **_ROOTS)),
        Method("psrcc", "phase spectral root cepstra (mel)", _bank("mel", "power -1/7 of phase", **_ROOTS)),
        Method("cqcc", "constant-Q cepstra (7 octaves from 120 Hz)", {**CONSTANT_Q, "compression": "log"}),
        Method("pncc", "power-normalised cepstra (gammatone)", _bank("gammatone", "power 1/15")),
        Method("lpcc", "linear prediction cepstra", {**_PREDICTION, "window": "none"}),
        Method("plp", "perceptual linear prediction (Bark)", _bank("bark", "cube root", **_PREDICTION)),
        Method("rplp", "the same with RASTA filtering", _bank("bark", "RASTA, cube root", **_PREDICTION)),
        Method(SILENCE, "leading and trailing silence in samples; file-level fusion only", {"frame": 512, "hop": 256}),
    )
}
