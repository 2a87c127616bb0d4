"""Model files: pickled scikit-learn mixtures that this suite reads without scikit-learn."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from countermeasure import records
from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole
from countermeasure.gmm.mixture import Parameters
from countermeasure.lists.pickles import dump, read_estimator
from countermeasure.lists.provenance import Source, combined_sha256

PathLike = str | os.PathLike[str]

BONAFIDE_FILE = "bon.gmm"
SPOOF_FILE = "sp.gmm"
# Features and scores stay far below it; the squares of larger values do not fit into float32.
_LARGEST = 1e18
# The estimator's attribute that holds the model's record; scikit-learn ignores it.
_RECORD = "countermeasure_"
# The arrays of a fitted estimator and their numbers of axes.
_ARRAYS = {"weights_": 1, "means_": 2, "covariances_": 2}


@dataclass(frozen=True)
class TrainingRecord:
    """The data, settings and versions of a model's training; no entry is set for models of other programs.

    Attributes
    ----------
    columns : list of str or None
        Names of the columns of a fusion.
    data_sha256 : list of str
        SHA-256 of each list.
    options : dict
        Those of the training, see `TrainingOptions` and `LogisticOptions`.
    start_sha256 : list of str or None
        SHA-256 of the models that were continued from.
    training_id : str
        Identifies data and options; the same for both models.
    inputs : list of Source or None
        What the record of each list said; None for a list without one.
    versions : dict of str to str
    label : str or None
        The model's class.
    n_files, n_frames : int or None
        Recordings and rows of that class.
    """

    format: int | None = None
    columns: list[str] | None = None
    data_sha256: list[str] = field(default_factory=list)
    options: dict[str, int | float | str] = field(default_factory=dict)
    start_sha256: list[str] | None = None
    training_id: str = ""
    inputs: list[Source | None] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    label: str | None = None
    n_files: int | None = None
    n_frames: int | None = None

    @property
    def is_logistic(self) -> bool:
        """Whether the two Gaussians express a logistic regression."""
        return self.options.get("method") == "logistic"


@dataclass(frozen=True)
class Model:
    """A trained mixture.

    Attributes
    ----------
    parameters : Parameters
        In the features' own units.
    n_iter : int
        Passes over the data.
    lower_bound : float
        Mean log-likelihood per frame of the training data, in nats; -inf if the file does not state it.
    converged : bool
    history : tuple of float
        Mean log-likelihood per frame of each pass.
    record : TrainingRecord
    sha256 : str
        SHA-256 of the file that the model was read from; empty for a new model.
    """

    parameters: Parameters
    n_iter: int = 0
    lower_bound: float = float("-inf")
    converged: bool = False
    history: tuple[float, ...] = ()
    record: TrainingRecord = TrainingRecord()
    sha256: str = field(default="", compare=False)


class Pair(NamedTuple):
    """The two models of one training."""

    bonafide: Model
    spoof: Model

    @property
    def record(self) -> TrainingRecord:
        """Record of the bona fide model; all but its class and numbers holds for both."""
        return self.bonafide.record

    @property
    def sha256(self) -> str:
        """SHA-256 over those of both files; identifies the pair."""
        return combined_sha256(model.sha256 for model in self)


def write_pair(folder: PathLike, bonafide: Model, spoof: Model) -> None:
    """Write the two models of a training into a folder; existing models are replaced when both are complete.

    Each is a pickled, fitted `sklearn.mixture.GaussianMixture`. Equal models give equal bytes under the same version of
    scikit-learn.

    Raises
    ------
    InputError
        If `read_model` would refuse one of them; the folder stays as it was.
    """
    bonafide_path, spoof_path = model_files(folder)
    _check(bonafide_path, bonafide)
    _check(spoof_path, spoof)
    with replace_when_whole(bonafide_path) as bonafide_file, replace_when_whole(spoof_path) as spoof_file:
        _dump(bonafide, bonafide_file)
        _dump(spoof, spoof_file)


def _check(path: PathLike, model: Model) -> None:
    try:
        _check_parameters(model.parameters)
        records.checked(TrainingRecord, asdict(model.record))
    except ValueError as error:
        more = ", or change --reg_covar" if "reg_covar" in model.record.options else ""
        raise InputError(f"{path}: is not written, since {error}; look at the data{more}") from None


def _dump(model: Model, file: IO[bytes]) -> None:
    from sklearn.mixture import GaussianMixture

    p = model.parameters
    options = model.record.options
    estimator = GaussianMixture(
        p.n_components,
        covariance_type="diag",
        reg_covar=options.get("reg_covar", 0.0),
        random_state=options.get("seed"),
        **{name: options[name] for name in ("tol", "max_iter") if name in options},
    )
    estimator.weights_ = p.weights
    estimator.means_ = p.means
    estimator.covariances_ = p.variances
    estimator.precisions_ = 1.0 / p.variances
    estimator.precisions_cholesky_ = np.sqrt(estimator.precisions_)
    estimator.converged_ = bool(model.converged)
    estimator.n_iter_ = int(model.n_iter)
    estimator.lower_bound_ = float(model.lower_bound)
    estimator.lower_bounds_ = [float(value) for value in model.history]
    estimator.n_features_in_ = p.n_dims
    setattr(estimator, _RECORD, asdict(model.record))
    dump(estimator, file)


def read_model(path: PathLike) -> Model:
    """Read a model of this suite or of scikit-learn alone.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds anything but a fitted mixture with diagonal covariances.
    """
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such file; train the models first")
    digest, state = read_estimator(path)
    kind = str(state.get("covariance_type"))
    if kind != "diag":
        raise InputError(f"{path}: a mixture with covariance_type={kind[:20]!r}; this suite's are 'diag'")
    if "means_" not in state:
        raise InputError(f"{path}: a mixture that was never fitted; train it first")
    entries, history = state.get(_RECORD, {}), state.get("lower_bounds_")
    if isinstance(entries, dict):  # older models have None for what is missing
        entries = {name: value for name, value in entries.items() if value is not None}
    try:
        arrays = (_array(state, name, n_axes) for name, n_axes in _ARRAYS.items())
        parameters = Parameters(*arrays)
        _check_parameters(parameters)
        record = records.checked(TrainingRecord, entries)
    except ValueError as error:
        raise InputError(f"{path}: {error}; the file is damaged, copy or train the model again") from None
    return Model(
        parameters,
        int(_number(state.get("n_iter_"))),
        _number(state.get("lower_bound_")) or float("-inf"),
        state.get("converged_") is True,
        tuple(map(_number, history)) if isinstance(history, list) else (),
        record,
        digest,
    )


def _number(value: Any) -> float:
    """Return a number that is only displayed; 0 if it is missing or odd."""
    return float(value) if type(value) in (int, float) and abs(value) < _LARGEST else 0.0


def _array(state: dict[str, Any], name: str, n_axes: int) -> np.ndarray:
    array = state.get(name)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != n_axes or not array.size:
        raise ValueError(f"{name} is not a {n_axes}-dimensional array of numbers")
    with np.errstate(over="ignore"):
        return array.astype(np.float64)


def _check_parameters(p: Parameters) -> None:
    """Raise ValueError if a mixture's arrays do not fit together or hold impossible values."""
    if p.means.shape != p.variances.shape or len(p.weights) != len(p.means):
        raise ValueError("its arrays differ in shape")
    if not all(np.isfinite(array).all() for array in (p.weights, p.means, p.variances)):
        raise ValueError("it holds NaN or infinite values")
    if (p.weights < 0).any() or not math.isclose(p.weights.sum(), 1, abs_tol=1e-3):
        raise ValueError("its weights do not sum to 1")
    if (abs(p.means) > _LARGEST).any() or (p.variances > _LARGEST).any() or (p.variances < 1 / _LARGEST).any():
        raise ValueError("a mean or a variance is larger or smaller than any feature's")


def read_pair(bonafide_path: PathLike, spoof_path: PathLike) -> Pair:
    """Read the two models of one training.

    Raises
    ------
    InputError
        As `read_model`, and if the models are of different trainings or dimensions, or are swapped.
    """
    bonafide, spoof = read_model(bonafide_path), read_model(spoof_path)
    for model, path, label in ((bonafide, bonafide_path, "bonafide"), (spoof, spoof_path, "spoof")):
        if model.record.label not in (None, label):
            raise InputError(f"{path}: is a model of {model.record.label} speech, not of {label}; swap the two files")
    if bonafide.record.training_id != spoof.record.training_id:
        raise InputError(
            f"{bonafide_path} and {spoof_path} come from different trainings; give the two files of one model folder"
        )
    if bonafide.parameters.n_dims != spoof.parameters.n_dims:
        raise InputError(
            f"{bonafide_path} has {bonafide.parameters.n_dims} dimensions and {spoof_path} "
            f"{spoof.parameters.n_dims}; give the two files of one model folder"
        )
    return Pair(bonafide, spoof)


def model_files(model_path: PathLike) -> tuple[Path, Path]:
    """Return the paths of a folder's bona fide and spoof models."""
    return Path(model_path) / BONAFIDE_FILE, Path(model_path) / SPOOF_FILE


def has_models(model_path: PathLike) -> bool:
    """Tell whether a folder holds models."""
    return any(path.is_file() for path in model_files(model_path))
