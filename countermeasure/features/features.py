"""Features of a recording, given whole or in pieces: cepstra with Δ and ΔΔ, and silence."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from countermeasure.errors import InputError
from countermeasure.features import types
from countermeasure.features.cepstra import KERNELS, OVER_TIME
from countermeasure.features.spectra import Matrix, blocks
from countermeasure.features.types import N_CEPSTRA, FeatureType
from countermeasure.speech.silence import Meter

BLOCKS_AT_ONCE = 100  # features are computed for so many blocks at a time
_REACH = 4  # frames on each side on which ΔΔ depends

_Signal = NDArray[np.floating]
_T = TypeVar("_T")
_Key = tuple[str, float, float]  # method and band: types that share them share what the kernels compute


def extract(signal: _Signal, rate: int, names: Iterable[str], dtype: DTypeLike = "float32") -> dict[str, _Signal]:
    """Compute feature types of one recording.

    Types of the same window share spectra, but no type's numbers depend on the other types of the call.

    Parameters
    ----------
    signal : array [n_samples]
        In [-1, 1); at least one sample.
    rate : int
        Sampling rate in Hz.
    names : iterable of str
    dtype : {'float32', 'float64'}
        Type of the result, and of the spectra where float32 is precise enough.

    Returns
    -------
    dict of str to array
        ``[n_frames, 60]`` (20 cepstra, 20 Δ, 20 ΔΔ); ``[1, 2]`` for ``silence``.

    Raises
    ------
    InputError
        If a type is unknown, the rate is too low for it, or samples are so large that features are not finite.
    """
    parts: dict[str, list[_Signal]] = {name: [] for name in names}
    for window in set(map(types.window, parts)):
        together = [name for name in parts if types.window(name) == window]
        for results in extract_pieces([signal], rate, together, dtype):
            for name, feature in results.items():
                parts[name].append(feature)
    return {name: _joined(features) for name, features in parts.items()}


def extract_pieces(
    pieces: Iterable[_Signal], rate: int, names: Sequence[str], dtype: DTypeLike = "float32"
) -> Iterator[dict[str, _Signal]]:
    """Compute feature types of the same window for a recording that comes in pieces.

    The concatenated results equal those of `extract`. Memory does not grow with the length of the recording,
    except for ``pncc`` and ``-cmvn``, which need all frames: they come in one result.

    Parameters
    ----------
    pieces : iterable of array [n]
        In [-1, 1); at least one sample in all.
    rate, names, dtype
        See `extract`.

    Yields
    ------
    dict of str to array
        ``[n_frames, 60]``, with the same frames for each type; the last one also has ``silence``, ``[1, 2]``.
    """
    entries = [entry for entry in map(types.get, names) if entry.window]
    meter = Meter() if len(entries) < len(names) else None
    if meter:
        pieces = _measured(pieces, meter)
    if entries:
        features = _framed(pieces, rate, entries, np.dtype(dtype))
    else:
        features = iter([{}])
        deque(pieces, maxlen=0)  # only measures them
    for results, is_last in _and_whether_last(features):
        if meter and is_last:
            results[types.SILENCE] = meter.result()[None].astype(dtype)
        yield results


def _measured(pieces: Iterable[_Signal], meter: Meter) -> Iterator[_Signal]:
    for piece in pieces:
        meter.add(piece)
        yield piece


def _framed(
    pieces: Iterable[_Signal], rate: int, entries: Sequence[FeatureType], dtype: np.dtype
) -> Iterator[dict[str, _Signal]]:
    rows = _rows(pieces, rate, entries, dtype)
    if any(entry.cmvn or entry.method.name in OVER_TIME for entry in entries):
        parts = list(rows)
        rows = iter([{key: _joined([part[key] for part in parts]) for key in parts[0]}])
    by_type = [(entry, _key(entry, rate), _Deltas(dtype)) for entry in entries]
    for results, is_last in _and_whether_last(rows):
        features = {}
        for entry, key, deltas_of_type in by_type:
            features[entry.name] = feature = deltas_of_type.add(_cepstra(results[key], entry), is_last)
            if not np.isfinite(feature).all():
                raise InputError(
                    f"its {entry.name} features are not finite: its samples are too large; expected -1 to 1"
                )
        yield features


def _and_whether_last(items: Iterator[_T]) -> Iterator[tuple[_T, bool]]:
    before = next(items)
    for now in items:
        yield before, False
        before = now
    yield before, True


def _key(entry: FeatureType, rate: int) -> _Key:
    return entry.method.name, *entry.limits(rate)


def _rows(
    pieces: Iterable[_Signal], rate: int, entries: Sequence[FeatureType], dtype: np.dtype
) -> Iterator[dict[_Key, Matrix]]:
    """Yield what the kernels of the types compute, for `BLOCKS_AT_ONCE` blocks at a time."""
    (window,) = {entry.window for entry in entries if entry.window}
    if window.samples(rate)[1] < 1:
        raise InputError(f"its sampling rate of {rate} Hz is too low for frames of {window.length} s")
    keys = list(dict.fromkeys(_key(entry, rate) for entry in entries))
    all_blocks = blocks(pieces, rate, window, dtype)
    for first in all_blocks:
        rows: dict[_Key, list[Matrix]] = {key: [] for key in keys}
        with np.errstate(over="ignore", invalid="ignore"):  # `_framed` refuses such features
            for block in chain([first], islice(all_blocks, BLOCKS_AT_ONCE - 1)):
                for key in keys:
                    method, low, high = key
                    rows[key].append(KERNELS[method](block, (low, high)))
        yield {key: _joined(parts) for key, parts in rows.items()}


def _cepstra(rows: Matrix, entry: FeatureType) -> Matrix:
    over_time = OVER_TIME.get(entry.method.name)
    with np.errstate(over="ignore", invalid="ignore"):
        cepstra = over_time(rows) if over_time else rows
        return _normalised(cepstra) if entry.cmvn else cepstra


def _normalised(cepstra: Matrix) -> Matrix:
    """Normalise each coefficient to mean 0 and variance 1 over the frames; constant ones become 0."""
    deviations = cepstra.std(axis=0)
    # Relative to the largest coefficient, constant ones have up to 5e-9 by rounding, those of speech at least 1e-5.
    is_constant = deviations <= 1e-7 * np.abs(cepstra).max()
    return (cepstra - cepstra.mean(axis=0)) * np.where(is_constant, 0, 1 / np.where(is_constant, 1, deviations))


def _joined(parts: Sequence[NDArray[np.floating]]) -> NDArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def deltas(x: Matrix) -> Matrix:
    """Return the regression over ±2 frames, ``[n_frames, k]``, with the edge frames repeated.

    Δ[t] = (x[t+1] − x[t−1] + 2 (x[t+2] − x[t−2])) / 10
    """
    x = np.concatenate([x[:1], x[:1], x, x[-1:], x[-1:]])
    return (x[3:-1] - x[1:-3] + 2 * (x[4:] - x[:-4])) / 10


class _Deltas:
    """Appends Δ and ΔΔ to cepstra that come in pieces; holds the last rows, which the deltas of the next ones need."""

    def __init__(self, dtype: np.dtype):
        self._dtype = dtype
        self._held: Matrix | None = None

    def add(self, cepstra: Matrix, is_last: bool) -> _Signal:
        """Add the next cepstra, ``[n, 20]``; return the features, ``[m, 60]``, that are known now."""
        n_done = 0 if self._held is None else _REACH
        static = cepstra if self._held is None else np.concatenate([self._held, cepstra])
        self._held = static[-2 * _REACH :]
        first = deltas(static)
        feature = np.empty((len(static), 3 * N_CEPSTRA), self._dtype)
        np.concatenate([static, first, deltas(first)], axis=1, out=feature, casting="same_kind")
        return feature[n_done : None if is_last else -_REACH]
