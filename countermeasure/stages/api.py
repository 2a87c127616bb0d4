"""The functions of ``from countermeasure import ...``; each does what a script does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from countermeasure.errors import InputError
from countermeasure.features import features, types
from countermeasure.gmm.models import Pair, model_files
from countermeasure.lists.pickles import read_list
from countermeasure.options import TrainingOptions
from countermeasure.speech import audio
from countermeasure.stages import scoring, training
from countermeasure.stages.detection import Detector

__all__ = ["Detector", "extract", "read_list", "score", "train"]

PathLike = str | os.PathLike[str]
Features = NDArray[np.floating]


@overload
def extract(file: PathLike, ftype: str) -> Features: ...  # type: ignore[overload-overlap]  # a str is one type
@overload
def extract(file: PathLike, ftype: Sequence[str]) -> dict[str, Features]: ...
def extract(file: PathLike, ftype: str | Sequence[str]) -> Features | dict[str, Features]:
    """Compute features of a recording, as ``gmm_data_processing.py`` does.

    Parameters
    ----------
    file : path
        In any format that libsndfile reads; several channels are averaged.
    ftype : str or sequence of str
        A feature type, such as ``'mfcc'`` or ``'lfcc-25-cmvn'``, or several.

    Returns
    -------
    array [n_frames, 60], float32
        For ``'silence'`` [1, 2]. For several types a dict of type to array.

    Raises
    ------
    InputError
        If the file cannot be read or a type is unknown.
    """
    names = [ftype] if isinstance(ftype, str) else list(ftype)
    for name in names:
        types.get(name)  # raises for an unknown type
    recording = audio.read(file)
    try:
        by_type = features.extract(recording.signal, recording.rate, names)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return by_type[ftype] if isinstance(ftype, str) else by_type


def train(
    data_path: PathLike,
    model_path: PathLike,
    load_model_path: PathLike | None = None,
    n_jobs: int | None = None,
    restart: bool = False,
    **options: Any,
) -> Pair:
    """Train a base model on a feature list and write it into a folder, as ``gmm_train_recur.py`` does.

    Parameters
    ----------
    data_path, model_path, load_model_path, n_jobs, restart
        See `stages.training.train`.
    **options
        Those of `TrainingOptions`: ``n_components=64``, ``max_iter``, ``tol``, ``seed`` and so on.

    Returns
    -------
    Pair
        ``.bonafide`` and ``.spoof``, each with ``.parameters`` (weights, means, variances), ``.n_iter``,
        ``.lower_bound`` in nats per frame, and ``.converged``.

    Raises
    ------
    InputError
        If the list cannot be trained on, or the folder holds finished models of other settings.
    """
    return training.train(
        data_path, model_path, TrainingOptions(**options), load_model_path, n_jobs=n_jobs, restart=restart
    )


def score(
    data_path: PathLike, model_path: PathLike, label_path: PathLike, output_path: PathLike, n_jobs: int | None = None
) -> scoring.Eer | None:
    """Score a feature list with a base model and write a score file, as ``gmm_test.py`` does.

    Parameters
    ----------
    data_path, label_path, output_path, n_jobs
        See `stages.scoring.score_list`.
    model_path : path
        Folder with ``bon.gmm`` and ``sp.gmm``.

    Returns
    -------
    Eer or None
        ``.rate`` from 0 to 1, ``.threshold``, ``.n_bonafide`` and ``.n_spoof``; None without labels of both classes.

    Raises
    ------
    InputError
        If list, models and protocol do not fit together.
    """
    return scoring.score_list(data_path, *model_files(model_path), label_path, output_path, n_jobs=n_jobs)
