"""Fast evaluation of a mixture: statistics of the E-step, and log-likelihoods of frames.

Training and scoring spend nearly all of their time here. Matrix products and exponentials are computed in float32 over
tiles of frames that fit into a core's cache. Sums over tiles and the log-likelihood of the likeliest component need
float64.
"""

from __future__ import annotations

import math
import threading
from functools import cached_property
from typing import NamedTuple

import numpy as np

from countermeasure.gmm.mixture import SMALLEST_VARIANCE, Parameters, Standardisation, Statistics, coefficients

# Frames per tile: its [frames, components] matrix fits into the cache of a core.
TILE = 2048
# Up to so many dimensions, as in fusions, log-likelihoods are computed in float64 throughout at little cost.
_FEW_DIMENSIONS = 16
# So are those of mixtures with smaller variances, which training never gives but scikit-learn does. Half, since a
# variance at the floor of training is rounded.
_NARROW = SMALLEST_VARIANCE / 2


def _fastest_exponential() -> tuple[np.ufunc, float]:
    """Return an exponential function of float32 and the logarithm of its base.

    `exp2` takes 60 % of the time of `exp` if NumPy has a version of it for the processor's widest vectors, as it
    always has of `exp`; otherwise it computes one value at a time.
    """
    try:
        from numpy.lib.introspect import opt_func_info
    except ImportError:  # NumPy 1
        return np.exp, 1.0
    versions = opt_func_info(func_name="^exp2?$", signature="float32")
    exp, exp2 = (versions.get(name, {}).get("ff", {}).get("current", "baseline") for name in ("exp", "exp2"))
    if exp != exp2 or exp.startswith("baseline"):
        return np.exp, 1.0
    return np.exp2, math.log(2)


_EXPONENTIAL, _LOG_BASE = _fastest_exponential()


class _Range(NamedTuple):
    """Limits within which a frame's exponentials are usable as they are; otherwise its maximum is subtracted first.

    Attributes
    ----------
    lowest : float32
        Smallest logarithm of a share, to the base of `_EXPONENTIAL`; smaller ones are raised to it, since arithmetic
        on float32's subnormal numbers takes ten times as long.
    smallest, largest : float
        Allowed sums of a frame's shares. Above the lower bound, 512 shares at `lowest` are lost in rounding; below
        the upper one, the inverse is a normal number.
    """

    lowest: np.float32
    smallest: float
    largest: float

    @classmethod
    def of(cls, lowest: float, highest: float) -> _Range:
        return cls(np.float32(lowest / _LOG_BASE), math.exp(lowest + 25), math.exp(highest))


_FOR_SCORES = _Range.of(-80, 75)
# Narrower, since products of shares and inverse totals must be normal numbers, too.
_FOR_STATISTICS = _Range.of(-50, 60)


class Kernel:
    """A mixture, prepared for evaluation on raw frames.

    Parameters
    ----------
    parameters : Parameters
        The mixture of standardised frames.
    standard : Standardisation
    """

    def __init__(self, parameters: Parameters, standard: Standardisation):
        self._shape = parameters.means.shape
        self._is_narrow = bool(parameters.variances.min() < _NARROW)
        self._raw = standard.backward(parameters)
        # Logarithms are relative to a reference, so that nearly all exponentials fit into float32. Subtracting each
        # frame's maximum instead would add about 10 % to the run time.
        reference = _reference(parameters)
        self._coefficients = coefficients(parameters)
        self._matrix = ((self._coefficients - reference[:, None]) / _LOG_BASE).astype(np.float32)
        self._reference = reference.astype(np.float32)
        self._mean, self._scale, self._inverse_scale = standard.mean, standard.scale, 1 / standard.scale
        self._log_volume = standard.log_volume

    @classmethod
    def of_raw(cls, parameters: Parameters) -> Kernel:
        """Return the kernel of a mixture of raw frames."""
        standard = Standardisation.of_mixture(parameters)
        return cls(standard.forward(parameters), standard)

    def log_likelihoods(self, frames: np.ndarray) -> np.ndarray:
        """Return log p(x_t) of each frame, in nats.

        The components' shares of a frame come from float32 products, and only the density of the likeliest component
        is computed in float64, unless the frames have few dimensions or the mixture has very narrow components.

        Parameters
        ----------
        frames : array [n, D]

        Returns
        -------
        array [n], float64
        """
        in_float64 = self._shape[1] <= _FEW_DIMENSIONS or self._is_narrow
        evaluate = self._in_float64 if in_float64 else self._by_likeliest
        result = np.empty(len(frames))
        for start in range(0, len(frames), TILE):
            result[start : start + TILE] = evaluate(frames[start : start + TILE])
        return result

    def _in_float64(self, frames: np.ndarray) -> np.ndarray:
        z = np.subtract(frames, self._mean, dtype=np.float64) / self._scale
        joint = np.hstack([z * z, z, np.ones((len(z), 1))]) @ self._coefficients
        largest = joint.max(axis=1)
        joint -= largest[:, None]
        return largest + np.log(np.exp(joint, out=joint).sum(axis=1)) - self._log_volume

    def _by_likeliest(self, frames: np.ndarray) -> np.ndarray:
        means, precisions, constants = self._components
        tile = self._evaluate(frames, _FOR_SCORES)
        likeliest = tile.shares.argmax(axis=1)
        relative = tile.totals / np.take_along_axis(tile.shares, likeliest[:, None], axis=1)[:, 0]
        difference = frames - means[likeliest]
        distances = np.einsum("nd,nd,nd->n", difference, difference, precisions[likeliest])
        return constants[likeliest] - 0.5 * distances + np.log(relative, dtype=np.float64)

    @cached_property
    def _components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means, precisions and logarithms of the constant factors of the components over raw frames, float64."""
        with np.errstate(divide="ignore"):
            constants = np.log(self._raw.weights) - 0.5 * np.log(2 * np.pi * self._raw.variances).sum(axis=1)
        return self._raw.means, 1 / self._raw.variances, constants

    def accumulate(self, frames: np.ndarray) -> Statistics:
        """Return the E-step's statistics of raw frames, array [n, D]."""
        work = _workspace(*self._shape)
        sums = np.zeros(self._matrix.shape)
        log_likelihood = 0.0
        for start in range(0, len(frames), TILE):
            tile = self._evaluate(frames[start : start + TILE], _FOR_STATISTICS)
            # Normalise the responsibilities by dividing ξ instead, in a quarter of the time.
            weighted = np.multiply(tile.xi, (1 / tile.totals)[:, None], out=work.weighted[: len(tile.xi)])
            sums += np.matmul(weighted.T, tile.shares, out=work.sums)
            log_likelihood += (tile.shifts + np.log(tile.totals, dtype=np.float64) - self._log_volume).sum()
        return Statistics(sums, float(log_likelihood), len(frames))

    def _evaluate(self, frames: np.ndarray, usual: _Range) -> _Tile:
        n, n_dims = frames.shape
        work = _workspace(*self._shape)
        xi, joint, z = work.xi[:n], work.joint[:n], work.frames[:n]
        # Float64 frames are rounded to float32 after the mean is subtracted.
        np.subtract(frames, self._mean, out=z, casting="same_kind")
        z *= self._inverse_scale
        xi[:, n_dims:-1] = z
        np.multiply(z, z, out=xi[:, :n_dims])
        np.matmul(xi, self._matrix, out=joint)
        with np.errstate(over="ignore"):
            totals = _exponentials(joint, work.ones, usual.lowest)
        shifts = (xi @ self._reference).astype(np.float64)
        unusual = np.flatnonzero((totals < usual.smallest) | ~(totals <= usual.largest))
        if len(unusual):  # shift these by their largest logarithm
            again = xi[unusual] @ self._matrix
            largest = again.max(axis=1)
            again -= largest[:, None]
            totals[unusual] = _exponentials(again, work.ones, usual.lowest)
            joint[unusual] = again
            shifts[unusual] += _LOG_BASE * largest
        return _Tile(xi, joint, totals, shifts)


def _reference(parameters: Parameters) -> np.ndarray:
    """Return the coefficients, array [2 D + 1], of a log-density close to the mixture's for most frames.

    It is the standard normal density, whose mean and variance standardised frames have, times a constant: the
    average ratio of the two densities for frames distributed around the components' means.
    """
    n_dims = parameters.n_dims
    gains = np.log(np.maximum(parameters.weights, np.finfo(float).tiny))  # weights may be 0
    gains -= 0.5 * np.log(parameters.variances).sum(axis=1)
    constant = parameters.weights @ gains - 0.5 * n_dims * np.log(2 * np.pi)
    return np.concatenate([np.full(n_dims, -0.5), np.zeros(n_dims), [constant]])


def _exponentials(joint: np.ndarray, ones: np.ndarray, lowest: np.float32) -> np.ndarray:
    """Replace logarithms, array [n, K], by their exponentials; return the sums over components, array [n]."""
    # With a row instead of a number, NumPy takes half of the time.
    np.maximum(joint, np.full(joint.shape[1], lowest), out=joint)
    _EXPONENTIAL(joint, out=joint)
    return joint @ ones


class _Tile(NamedTuple):
    """A mixture evaluated on a tile of `n` frames; the first two arrays are overwritten by the next tile.

    Attributes
    ----------
    xi : array [n, 2 D + 1]
        [x², x, 1] of the standardised frames.
    shares : array [n, K]
        p(k | x_t) times the frame's total.
    totals : array [n]
        Sum of `shares` over the components.
    shifts : array [n], float64
        log p(x_t) of the standardised frame, minus the logarithm of its total.
    """

    xi: np.ndarray
    shares: np.ndarray
    totals: np.ndarray
    shifts: np.ndarray


class _Workspace:
    """Arrays that a thread reuses for all tiles."""

    def __init__(self, n_components: int, n_dims: int):
        self.shape = (n_components, n_dims)
        self.frames: np.ndarray = np.empty((TILE, n_dims), np.float32)
        self.xi: np.ndarray = np.ones((TILE, 2 * n_dims + 1), np.float32)
        self.weighted: np.ndarray = np.empty_like(self.xi)
        self.sums: np.ndarray = np.empty((2 * n_dims + 1, n_components), np.float32)
        self.joint: np.ndarray = np.empty((TILE, n_components), np.float32)
        self.ones: np.ndarray = np.ones(n_components, np.float32)


_thread = threading.local()


def _workspace(n_components: int, n_dims: int) -> _Workspace:
    held = getattr(_thread, "workspace", None)
    if held is None or held.shape != (n_components, n_dims):
        held = _thread.workspace = _Workspace(n_components, n_dims)
    return held
