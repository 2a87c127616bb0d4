"""What tests of training share: a list of two classes, and models as scikit-learn loads them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from countermeasure.gmm.models import Model, model_files, write_pair
from countermeasure.lists.pickles import ListWriter
from countermeasure.options import TrainingOptions

SMALL = TrainingOptions(n_components=8, max_iter=15)
LABELS = ("bonafide", "spoof")


def make_items() -> list[tuple[np.ndarray, str]]:
    """Return 60 recordings, sorted by class as the real protocol is, with other statistics in each class."""
    rng = np.random.default_rng(0)
    found = []
    for label, centre in zip(LABELS, (3.0, -2.0), strict=True):
        for n in rng.integers(5, 60, size=30):
            means = rng.choice([centre, centre + 2, centre - 1], size=(n, 1))
            found.append((((means + rng.normal(size=(n, 4))) * [1, 10, 0.01, 5] + 100).astype(np.float32), label))
    return found


def write_list(path: Path, items: Iterable[tuple[np.ndarray, str | None]]) -> Path:
    """Write a list without a record."""
    with ListWriter(path) as out:
        for item in items:
            out.append(*item)
    return path


def frames_of(items: Iterable[tuple[np.ndarray, str]], label: str) -> np.ndarray:
    """Return all frames of a class."""
    return np.concatenate([array for array, own in items if own == label]).astype(np.float64)


def write_model(path: Path, model: Model) -> None:
    """Write one model, under any name, as `write_pair` writes two."""
    with TemporaryDirectory() as folder:
        write_pair(folder, model, model)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model_files(folder)[0].read_bytes())


def contents(folder: Path) -> list[bytes]:
    """Return the bytes of a folder's two models."""
    return [path.read_bytes() for path in model_files(folder)]


def loaded(folder: Path) -> list:
    """Return a folder's two models as anybody with scikit-learn has them."""
    return [pickle.loads(content) for content in contents(folder)]
