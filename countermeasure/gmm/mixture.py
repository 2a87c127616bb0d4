"""Diagonal-covariance Gaussian mixtures: log-likelihoods, sufficient statistics, EM updates.

Pure functions over arrays. Everything works on *standardised* frames (each dimension with mean 0 and
variance 1 over the data): there, products in float32 are safe, which they are not on raw features,
where E[x²] − E[x]² cancels. Sums over frames are kept in float64.

Written with the frame's quadratic form as one matrix product: with ξ = [x², x, 1],

    log w_k N(x | μ_k, σ²_k) = ξ · c_k,
    c_k = [−1/(2σ²_k), μ_k/σ²_k, log w_k − ½ Σ_d (log 2πσ²_kd + μ²_kd/σ²_kd)],

and the statistics of the E-step are Σ_t ξ_t p(k | x_t): the same ξ again.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

# Frames a tile: its [frames, components] matrix stays in the cache of one core.
TILE = 2048
# Smallest variance that products in float32 can be trusted with; the data's is 1. Narrow components ten standard
# deviations out cost digits even so: some 0.03 nats a frame of training's likelihoods, nothing of scores.
SMALLEST_VARIANCE = 1e-5
# With so few dimensions, evaluating all in float64 costs next to nothing.
_FEW_DIMENSIONS = 16


def _fastest_exponential() -> tuple[np.ufunc, float]:
    """Return an exponential function of float32 and the logarithm of its base.

    `exp2` takes 60 % of the time of `exp` where NumPy has it for the processor's widest vectors, as it
    always has `exp`; elsewhere it computes one value at a time.
    """
    try:
        from numpy.lib.introspect import opt_func_info
    except ImportError:  # NumPy 1
        return np.exp, 1.0
    versions = opt_func_info(func_name="^exp2?$", signature="float32")
    current = [versions.get(name, {}).get("ff", {}).get("current", "") for name in ("exp", "exp2")]
    if current[0] != current[1] or not current[0] or current[0].startswith("baseline"):
        return np.exp, 1.0
    return np.exp2, math.log(2)


_EXPONENTIAL, _LOG_BASE = _fastest_exponential()


class _Range(NamedTuple):
    """Which shares float32 takes as they come, without a shift that makes each frame's largest 1.

    Attributes
    ----------
    lowest : float32
        The least logarithm of a share, to `_EXPONENTIAL`'s base; smaller ones are raised to it. Below
        float32's normal numbers, arithmetic takes ten times as long.
    totals : tuple of float
        Sums of a frame's shares: the lower bound so far above the least share that 512 of it are
        nothing to float32, the upper one such that the inverse is a normal number.
    """

    lowest: np.float32
    totals: tuple[float, float]

    @classmethod
    def of(cls, lowest: float, highest: float) -> _Range:
        return cls(np.float32(lowest / _LOG_BASE), (math.exp(lowest + 25), math.exp(highest)))


_FOR_SCORES = _Range.of(-80, 75)
# Shares are multiplied by the inverse of totals, and the products shall be normal numbers as well.
_FOR_STATISTICS = _Range.of(-50, 60)
# Stands for the logarithm of 0.
_LEAST = float(np.finfo(np.float32).min) / 4


@dataclass(frozen=True)
class Parameters:
    """A mixture with `K` components over `D` dimensions; float64.

    Attributes
    ----------
    weights : array [K]
        Sum to 1.
    means, variances : array [K, D]
    """

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.means.shape[0]

    @property
    def n_dims(self) -> int:
        """Number of dimensions of a frame."""
        return self.means.shape[1]


@dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of some frames; sums of these are those of all the frames.

    Attributes
    ----------
    sums : array [2 D + 1, K], float64
        Σ_t [x_t², x_t, 1] p(k | x_t).
    log_likelihood : float
        Σ_t log p(x_t), in nats.
    n_frames : int
    """

    sums: np.ndarray
    log_likelihood: float
    n_frames: int

    @classmethod
    def zero(cls, n_components: int, n_dims: int) -> Statistics:
        """Return the statistics of no frame."""
        return cls(np.zeros((2 * n_dims + 1, n_components)), 0.0, 0)

    def __add__(self, other: Statistics) -> Statistics:
        if self.sums.shape != other.sums.shape:
            raise ValueError(f"statistics of shapes {self.sums.shape} and {other.sums.shape} do not add up")
        return Statistics(
            self.sums + other.sums, self.log_likelihood + other.log_likelihood, self.n_frames + other.n_frames
        )

    @property
    def occupancy(self) -> np.ndarray:
        """Frames a component accounts for, Σ_t p(k | x_t); array [K]."""
        return self.sums[-1]


class Standardisation:
    """The shift and scale of each dimension; ``(x - mean) / scale`` is the standardised frame.

    Parameters
    ----------
    mean, scale : array [D]
        Rounded to float32, with which arithmetic on float32 frames is quick; the means only where that moves
        them by less than a hundredth of the scale, as it does not for values of 10⁶ that differ by 0.01.
    """

    def __init__(self, mean: np.ndarray, scale: np.ndarray):
        rounded = mean.astype(np.float32)
        self.mean = rounded if (np.abs(rounded - mean) <= 0.01 * scale).all() else mean.astype(np.float64)
        self.scale = scale.astype(np.float32)

    @classmethod
    def of_mixture(cls, parameters: Parameters) -> Standardisation:
        """Return the standardisation of data that are distributed as the mixture."""
        mean = parameters.weights @ parameters.means
        variance = parameters.weights @ (parameters.variances + (parameters.means - mean) ** 2)
        return cls(mean, np.sqrt(variance))

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Return the standardised frames, array [n, D], float32."""
        standardised = frames - self.mean
        standardised /= self.scale
        return standardised.astype(np.float32, copy=False)

    def forward(self, parameters: Parameters) -> Parameters:
        """Return the mixture of standardised frames, given that of raw ones."""
        mean, scale = self.mean.astype(np.float64), self.scale.astype(np.float64)
        return Parameters(parameters.weights, (parameters.means - mean) / scale, parameters.variances / scale**2)

    def backward(self, parameters: Parameters) -> Parameters:
        """Return the mixture of raw frames, given that of standardised ones."""
        mean, scale = self.mean.astype(np.float64), self.scale.astype(np.float64)
        return Parameters(parameters.weights, parameters.means * scale + mean, parameters.variances * scale**2)

    @property
    def log_volume(self) -> float:
        """Σ_d log scale_d: what a log-likelihood loses on the way back to raw frames, in nats."""
        return float(np.log(self.scale, dtype=np.float64).sum())


def coefficients(parameters: Parameters) -> np.ndarray:
    """Return the matrix [2 D + 1, K] whose product with [x², x, 1] is log w_k N(x | μ_k, σ²_k)."""
    precisions = 1.0 / parameters.variances
    constant = -0.5 * (np.log(2 * np.pi * parameters.variances) + parameters.means**2 * precisions).sum(axis=1)
    with np.errstate(divide="ignore"):  # a weight of 0 is a component that no frame chooses
        constant += np.log(parameters.weights)
    constant = np.maximum(constant, _LEAST)  # −inf times 0 would be NaN in the product
    return np.vstack([-0.5 * precisions.T, (parameters.means * precisions).T, constant])


def _reference(parameters: Parameters) -> np.ndarray:
    """Return the coefficients, array [2 D + 1], of a logarithm that is near the mixture's own at most frames.

    That is the standard normal density, of which standardised frames have mean and variance, raised
    by what the mixture's log-density exceeds it on average where frames lie around the components'
    means as their variances say.
    """
    n_dims = parameters.n_dims
    used = parameters.weights > 0
    gains = np.log(parameters.weights, where=used, out=np.zeros(len(used)))
    gains -= 0.5 * np.log(parameters.variances).sum(axis=1)
    constant = parameters.weights @ gains - 0.5 * n_dims * np.log(2 * np.pi)
    return np.concatenate([np.full(n_dims, -0.5), np.zeros(n_dims), [constant]])


class Kernel:
    """A mixture made ready to be evaluated on raw frames.

    Parameters
    ----------
    parameters : Parameters
        The mixture of standardised frames.
    standard : Standardisation
    """

    def __init__(self, parameters: Parameters, standard: Standardisation):
        self._shape = parameters.means.shape
        self._raw = standard.backward(parameters)
        # Logarithms are taken relative to a reference: nearly all exponentials are then numbers of float32
        # without looking for each frame's largest first, which took a tenth of the time.
        reference = _reference(parameters)
        self._matrix = ((coefficients(parameters) - reference[:, None]) / _LOG_BASE).astype(np.float32)
        self._reference = reference.astype(np.float32)
        self._mean, self._inverse_scale = standard.mean, 1 / standard.scale
        self._log_volume = standard.log_volume

    @classmethod
    def of_raw(cls, parameters: Parameters) -> Kernel:
        """Return the kernel of a mixture of raw frames."""
        standard = Standardisation.of_mixture(parameters)
        return cls(standard.forward(parameters), standard)

    def log_likelihoods(self, frames: np.ndarray) -> np.ndarray:
        """Return log p(x_t) of each frame, in nats.

        Float32 products decide how the components share a frame; the value of the likeliest is then
        taken in float64, without which narrow components cost digits (10⁻³ nats a frame). Frames of
        few dimensions, as fusions have them, are evaluated in float64 altogether.

        Parameters
        ----------
        frames : array [n, D]

        Returns
        -------
        array [n], float64
        """
        means, precisions, constants = self._exact
        result = np.empty(len(frames))
        if frames.shape[1] <= _FEW_DIMENSIONS:
            for start in range(0, len(frames), TILE):
                some = frames[start : start + TILE]
                joint = np.tile(constants, (len(some), 1))
                for d in range(frames.shape[1]):
                    joint -= 0.5 * (some[:, d, None] - means[:, d]) ** 2 * precisions[:, d]
                largest = joint.max(axis=1)
                result[start : start + TILE] = largest + np.log(np.exp(joint - largest[:, None]).sum(axis=1))
            return result
        for start in range(0, len(frames), TILE):
            some = frames[start : start + TILE]
            tile = self._evaluate(some, _FOR_SCORES)
            likeliest = tile.shares.argmax(axis=1)
            relative = tile.totals / np.take_along_axis(tile.shares, likeliest[:, None], axis=1)[:, 0]
            difference = some - means[likeliest]
            distances = np.einsum("nd,nd,nd->n", difference, difference, precisions[likeliest])
            result[start : start + TILE] = constants[likeliest] - 0.5 * distances + np.log(relative, dtype=np.float64)
        return result

    @cached_property
    def _exact(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
            # Dividing ξ by the totals normalises the responsibilities at a quarter of the cost.
            weighted = np.multiply(tile.xi, (1 / tile.totals)[:, None], out=work.weighted[: len(tile.xi)])
            sums += np.matmul(weighted.T, tile.shares, out=work.sums)
            log_likelihood += (tile.shifts + np.log(tile.totals, dtype=np.float64) - self._log_volume).sum()
        return Statistics(sums, float(log_likelihood), len(frames))

    def _evaluate(self, frames: np.ndarray, usual: _Range) -> _Tile:
        n, n_dims = frames.shape
        work = _workspace(*self._shape)
        xi, joint = work.xi[:n], work.joint[:n]
        z = work.frames[:n]
        # Float64 frames are rounded to float32 only after their mean is off.
        np.subtract(frames, self._mean, out=z, casting="same_kind")
        z *= self._inverse_scale
        xi[:, n_dims:-1] = z
        np.multiply(z, z, out=xi[:, :n_dims])
        np.matmul(xi, self._matrix, out=joint)
        with np.errstate(over="ignore"):
            totals = _exponentials(joint, work.ones, usual.lowest)
        shifts = (xi @ self._reference).astype(np.float64)
        unusual = np.flatnonzero((totals < usual.totals[0]) | ~(totals <= usual.totals[1]))
        if len(unusual):
            again = xi[unusual] @ self._matrix
            largest = again.max(axis=1)
            again -= largest[:, None]
            totals[unusual] = _exponentials(again, work.ones, usual.lowest)
            joint[unusual] = again
            shifts[unusual] += _LOG_BASE * largest
        return _Tile(xi, joint, totals, shifts)


def _exponentials(joint: np.ndarray, ones: np.ndarray, lowest: np.float32) -> np.ndarray:
    """Replace logarithms, array [n, K], by what they are of; return the sums over the components, array [n]."""
    # Against a row of it: NumPy compares two arrays twice as fast as an array and a number.
    np.maximum(joint, np.full(joint.shape[1], lowest), out=joint)
    _EXPONENTIAL(joint, out=joint)
    return joint @ ones


class _Tile(NamedTuple):
    """A mixture evaluated on one tile of `n` frames; the first two are overwritten by the next tile.

    Attributes
    ----------
    xi : array [n, 2 D + 1]
    shares : array [n, K]
        p(k | x_t), up to the factor of each frame that `totals` holds.
    totals : array [n]
        Sum over the components of `shares`.
    shifts : array [n], float64
        Logarithm of that factor: log p(x_t) of the standardised frame is log total + shift.
    """

    xi: np.ndarray
    shares: np.ndarray
    totals: np.ndarray
    shifts: np.ndarray


class _Workspace:
    """The arrays that one thread needs over and over for tiles of frames."""

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


def update(
    statistics: Statistics, previous: Parameters, floor: float, regularisation: np.ndarray | float = 0.0
) -> Parameters:
    """Return the parameters that maximise the expected log-likelihood (the M-step).

    Parameters
    ----------
    statistics : Statistics
        Of all frames, standardised.
    previous : Parameters
        A component with less than a tenth of a frame keeps its mean and variance from here: its own
        statistics are noise. Its weight falls to what the statistics say.
    floor : float
        Smallest variance, relative to each dimension's variance over the data (which is 1 here);
        never below `SMALLEST_VARIANCE`.
    regularisation : array [D] or float
        Added to every variance, as scikit-learn's `reg_covar`.
    """
    n_dims = previous.n_dims
    n = np.maximum(statistics.occupancy, 0.0)  # differences of sums round below 0
    starved = n < 0.1
    safe = np.where(starved, 1.0, n)
    means = (statistics.sums[n_dims:-1] / safe).T
    variances = (statistics.sums[:n_dims] / safe).T - means**2
    variances = np.maximum(variances, 0.0) + regularisation
    parameters = Parameters(
        n / n.sum(),
        np.where(starved[:, None], previous.means, means),
        np.where(starved[:, None], previous.variances, variances),
    )
    return floored(parameters, floor)


def floored(parameters: Parameters, floor: float) -> Parameters:
    """Return a mixture of standardised frames with no variance below the floor of `update`."""
    return replace(parameters, variances=np.maximum(parameters.variances, max(floor, SMALLEST_VARIANCE)))


def seeds(sample: np.ndarray, n_components: int, rng: np.random.Generator) -> Parameters:
    """Return a mixture to start from: k-means++ seeds among the frames of a sample.

    Each further mean is drawn with a probability proportional to the squared distance to the nearest
    mean so far (D. Arthur and S. Vassilvitskii, SODA 2007). All components get the same weight and
    the same variance, which is what is left of the sample's around its nearest means.

    Parameters
    ----------
    sample : array [n, D]
        Standardised frames, n ≥ 1.
    """
    n, n_dims = sample.shape
    norms = np.einsum("nd,nd->n", sample, sample)
    chosen: list[int] = []
    distance = np.full(n, np.inf)
    cumulative = np.arange(1.0, n + 1)  # the first one: any frame, one as likely as another
    for _ in range(n_components):
        # Where all distances are 0 (fewer different frames than components), any frame will do.
        chosen.append(
            min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")), n - 1)
            if cumulative[-1] > 0
            else int(rng.integers(n))
        )
        latest = sample[chosen[-1]]
        np.minimum(distance, np.maximum(norms - 2 * sample @ latest + latest @ latest, 0.0), out=distance)
        cumulative = np.cumsum(distance)
    variance = max(float(distance.mean()) / n_dims, 1e-2)
    return Parameters(
        np.full(n_components, 1.0 / n_components),
        sample[chosen].astype(np.float64),
        np.full((n_components, n_dims), variance),
    )
