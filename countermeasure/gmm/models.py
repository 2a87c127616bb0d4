"""Model files: pickled scikit-learn mixtures that this suite reads without scikit-learn."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from countermeasure import records, versions
from countermeasure.errors import InputError
from countermeasure.files import replace_when_whole, sha256
from countermeasure.gmm.mixture import Parameters
from countermeasure.lists.pickles import dump, read_estimator
from countermeasure.lists.provenance import Source, combined_sha256

BONAFIDE_FILE = "bon.gmm"
SPOOF_FILE = "sp.gmm"
# Features and scores stay far inside of it; float32 squares beyond it do not.
_RANGE = 1e18
# The attribute of the estimator that tells what the model was made of; scikit-learn ignores it.
_RECORD = "countermeasure_"


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
        Mean log-likelihood a frame of the training data, in nats; -inf where a file does not say.
    converged : bool
    history : tuple of float
        Mean log-likelihood a frame of each pass.
    record : dict
        What the model was made of; empty for a model that was made elsewhere.
    sha256 : str
        Of the file that the model was read from; empty for one that was not read.
    """

    parameters: Parameters
    n_iter: int = 0
    lower_bound: float = float("-inf")
    converged: bool = False
    history: tuple[float, ...] = ()
    record: dict[str, Any] = field(default_factory=dict)
    sha256: str = field(default="", compare=False)

    @property
    def columns(self) -> list[str] | None:
        """Names of the score lists a fusion model was trained on; None where it does not say."""
        return self.record.get("columns")


class Pair(NamedTuple):
    """The two models of one training."""

    bonafide: Model
    spoof: Model

    @property
    def record(self) -> dict[str, Any]:
        """What both were made of; empty for models that were made elsewhere."""
        return self.bonafide.record

    @property
    def sha256(self) -> str:
        """Over those of the two files: stands for these models and no others."""
        return combined_sha256(model.sha256 for model in self)


def write_model(path: str | os.PathLike[str], model: Model) -> None:
    """Write a model as a pickled, fitted `sklearn.mixture.GaussianMixture`.

    Equal models give equal bytes, with one version of scikit-learn.

    Raises
    ------
    InputError
        When `read_model` would refuse it.
    """
    _check(path, model)
    with replace_when_whole(path) as file:
        _dump(model, file)


def write_pair(folder: str | os.PathLike[str], bonafide: Model, spoof: Model) -> None:
    """Write the two models of a training into a folder: neither takes its name before both are whole.

    Raises
    ------
    InputError
        When `read_model` would refuse one of them; what is in the folder stays there.
    """
    bonafide_path, spoof_path = model_files(folder)
    _check(bonafide_path, bonafide)
    _check(spoof_path, spoof)
    with replace_when_whole(bonafide_path) as bonafide_file, replace_when_whole(spoof_path) as spoof_file:
        _dump(bonafide, bonafide_file)
        _dump(spoof, spoof_file)


def _check(path: str | os.PathLike[str], model: Model) -> None:
    p = model.parameters
    with np.errstate(divide="ignore", invalid="ignore"):
        problem = _problem(p.weights, p.means, p.variances, np.sqrt(1 / p.variances)) or _record_problem(model.record)
    if problem:
        raise InputError(f"{path}: is not written, since {problem}; look at the data, or change --reg_covar")


def _dump(model: Model, file: IO[bytes]) -> None:
    from sklearn.mixture import GaussianMixture

    p = model.parameters
    options = model.record.get("options", {})
    estimator = GaussianMixture(
        n_components=p.n_components,
        covariance_type="diag",
        tol=options.get("tol", 1e-3),
        reg_covar=options.get("reg_covar", 0.0),
        max_iter=options.get("max_iter", 100),
        random_state=options.get("seed"),
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
    setattr(estimator, _RECORD, model.record)
    dump(estimator, file)


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read a model, this suite's or one that scikit-learn alone has written.

    Raises
    ------
    InputError
        When the file holds no fitted mixture with diagonal covariances, or one that is damaged.
    """
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such file; train the models first")
    digest, state = _read_state(path)
    kind = state.get("covariance_type")
    if type(kind) is not str or kind != "diag":
        raise InputError(f"{path}: a mixture with covariance_type={str(kind)[:20]!r}; this suite's are 'diag'")
    if "means_" not in state:
        raise InputError(f"{path}: a mixture that was never fitted; train it first")
    names = ("weights_", "means_", "covariances_", "precisions_cholesky_")
    arrays = [_in_float64(state.get(name)) for name in names]
    record = state.get(_RECORD, {})
    problem = _problem(*arrays) or _record_problem(record)
    if problem:
        raise InputError(f"{path}: {problem}; the file is damaged, copy or train the model again")
    weights, means, variances, _ = arrays
    history = state.get("lower_bounds_")
    return Model(
        Parameters(weights, means, variances),
        int(_number(state.get("n_iter_"))),
        _number(state.get("lower_bound_")) or float("-inf"),
        state.get("converged_") is True,
        tuple(map(_number, history)) if isinstance(history, list) else (),
        record,
        digest,
    )


def _read_state(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Return a file's SHA-256 and the estimator's attributes, both of the same contents."""
    digest = ""
    while digest != (now := sha256(path)):  # else it was replaced meanwhile
        digest, state = now, read_estimator(path)
    return digest, state


def check_range(means: np.ndarray, variances: np.ndarray, reg_covar: float, what: str) -> None:
    """Check that models of data of such means and variances, arrays [D], will be models to `read_model`.

    Parameters
    ----------
    means, variances : array [D]
    reg_covar : float
        What is added to the variances of components.
    what : str
        What the data are called in the message.

    Raises
    ------
    InputError
        When they would not, by whatever floor of variances; names the dimension.
    """
    # Components are narrower than the data by the floor of variances, and may lie far from their mean.
    smallest, largest = 1e5 / _RANGE, 1e-6 * _RANGE
    bad = ~((abs(means) < largest) & (variances + reg_covar < largest) & (variances > smallest))
    if bad.any():
        d = int(bad.argmax())
        added = f", --reg_covar {reg_covar:g}" if reg_covar else ""
        raise InputError(
            f"{what} have mean {means[d]:.3g} and variance {variances[d]:.3g} in dimension {d + 1}{added}; scale the "
            f"features to variances between {smallest:g} and {largest:g}, with what --reg_covar adds"
        )


def _in_float64(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    with np.errstate(over="ignore"):
        return value.astype(np.float64)


def _number(value: Any) -> float:
    """Return a number that nothing is computed from; 0 where it is none."""
    return float(value) if type(value) in (int, float) and abs(value) < _RANGE else 0.0


def _problem(weights: Any, means: Any, variances: Any, precisions_cholesky: Any) -> str | None:
    """Say what is wrong with a mixture's arrays; None where they fit together."""
    for name, array, n_axes in (
        ("weights_", weights, 1),
        ("means_", means, 2),
        ("covariances_", variances, 2),
        ("precisions_cholesky_", precisions_cholesky, 2),
    ):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != n_axes:
            return f"{name} is no {n_axes}-dimensional array of numbers"
        if not array.size or not np.isfinite(array).all():
            return f"{name} is empty or holds NaN or infinite values"
    if not means.shape == variances.shape == precisions_cholesky.shape or len(weights) != len(means):
        return "its arrays differ in shape"
    if (weights < 0).any() or abs(weights.sum() - 1) > 1e-3:
        return "its weights do not sum to 1"
    if (variances <= 0).any():
        return "a variance is not positive"
    if max(abs(means).max(), variances.max()) > _RANGE or variances.min() < 1 / _RANGE:
        return "a mean or a variance is larger or smaller than any feature's"
    with np.errstate(over="ignore"):
        if not np.allclose(precisions_cholesky**2 * variances, 1, atol=1e-3):
            return "its precisions are not those of its covariances"
    return None


@dataclass(frozen=True)
class _Record:
    """What a model says about itself, and of which type each value is; a model made elsewhere says nothing."""

    format: int | None = None
    columns: list[str] | None = None
    data_sha256: list[str] | None = None
    options: dict[str, int | float | str] | None = None
    start_sha256: list[str] | None = None
    training_id: str | None = None
    inputs: list[Source | None] | None = None
    versions: dict[str, str] | None = None
    label: Literal["bonafide", "spoof"] | None = None
    n_files: int | None = None
    n_frames: int | None = None


def check_record(record: Any) -> None:
    """Check what a model or a checkpoint says about itself; raises ValueError where a value has the wrong type."""
    records.checked(_Record, record)


def _record_problem(record: Any) -> str | None:
    try:
        check_record(record)
    except ValueError as error:
        return f"its record is wrong: {error}"
    return None


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Say how a training differs from the one asked for, as in "had 512 components, 64 are asked for"; '' where not.

    Parameters
    ----------
    found : dict
        The record of models or of a checkpoint; empty for models that were made elsewhere.
    wanted : dict
        That of the training that is asked for; what it does not hold is not compared.
    """
    if not found:
        return "were made elsewhere"
    told = []
    was, now = found.get("options") or {}, wanted["options"]
    before, after = (_METHODS[options.get("method", "gmm")] for options in (was, now))
    if before != after:
        told.append(f"was {before}, {after} is asked for")
    else:
        changed = [name for name in now if was.get(name) != now[name]]
        told += [
            f"had {was.get(name)} components, {now[name]} are asked for"
            if name == "n_components"
            else f"had {name} {was.get(name)}, {now[name]} is asked for"
            for name in changed
        ]
    if "data_sha256" in wanted and found.get("data_sha256") != wanted["data_sha256"]:
        types = [_feature_types(record) for record in (found, wanted)]
        is_told = all(types) and types[0] != types[1]
        told.append(f"was trained on {types[0]}, not {types[1]}" if is_told else "was trained on other data")
    if "columns" in wanted and found.get("columns") != wanted["columns"]:
        told.append(f"had the columns {', '.join(found.get('columns') or ['of no fusion'])}")
    if "start_sha256" in wanted and found.get("start_sha256") != wanted["start_sha256"]:
        told.append("was continued from other models" if found.get("start_sha256") else "was not continued from others")
    if others := versions.differences(found.get("versions") or {}, wanted.get("versions") or versions.COMPARED):
        told.append(f"was made by another version of this suite: {', '.join(others)}")
    return "; ".join(told)


_METHODS = {"gmm": "a mixture", "logistic": "a logistic regression"}


def _feature_types(record: dict[str, Any]) -> str:
    return "+".join(source["feature"]["type"] for source in record.get("inputs") or [] if source)


def read_pair(bonafide_path: str | os.PathLike[str], spoof_path: str | os.PathLike[str]) -> Pair:
    """Read the two models of one training.

    Raises
    ------
    InputError
        As `read_model`; and when the two do not belong together: other dimensions, another training,
        or the wrong way round.
    """
    bonafide, spoof = read_model(bonafide_path), read_model(spoof_path)
    for model, path, label in ((bonafide, bonafide_path, "bonafide"), (spoof, spoof_path, "spoof")):
        if (model.record.get("label") or label) != label:
            raise InputError(
                f"{path}: is a model of {model.record['label']} speech, not of {label}; swap the two files"
            )
    if bonafide.record.get("training_id") != spoof.record.get("training_id"):
        raise InputError(
            f"{bonafide_path} and {spoof_path} come from different trainings; give the two files of one model folder"
        )
    if bonafide.parameters.n_dims != spoof.parameters.n_dims:
        raise InputError(
            f"{bonafide_path} has {bonafide.parameters.n_dims} dimensions and {spoof_path} "
            f"{spoof.parameters.n_dims}; give the two files of one model folder"
        )
    return Pair(bonafide, spoof)


def model_files(model_path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Return the paths of a folder's bona fide and spoof models."""
    return Path(model_path) / BONAFIDE_FILE, Path(model_path) / SPOOF_FILE


def has_models(model_path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds models."""
    return any(path.is_file() for path in model_files(model_path))
