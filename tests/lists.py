"""Lists with the record that stands beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from countermeasure import files
from countermeasure.lists import provenance
from countermeasure.lists.pickles import ListWriter


def write_described(
    path: Path,
    values: Sequence[np.ndarray | None],
    labels: Iterable[str | None],
    index: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a list and a record that belongs to it, but for changes in the record and in its index."""
    with ListWriter(path) as out:
        for value, label in zip(values, labels, strict=True):
            out.append(value, label)
    record = provenance.Record(
        kind="features",
        split="train",
        feature={"type": "mfcc"},
        sampling_rate=16000,
        dtype="float32",
        protocol_sha256="",
        audio_sha256="",
        list_sha256=files.sha256(path),
        versions={},
        utterances=[f"U{i}" for i in range(len(values))],
        speakers=[None] * len(values),
        n_frames=[0 if value is None else len(value) for value in values],
        index=replace(out.index(), **(index or {})),
    )
    provenance.write(path, replace(record, **changes))
    return path
