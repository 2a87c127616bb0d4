"""The results for programs: JSON and CSV. Rates are fractions."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from countermeasure import __version__
from countermeasure.evaluation.study import Group, Study, SystemResult, signature

_POINTS = ("eer", "min_tdcf_2019", "min_tdcf_revisited", "min_dcf")
_COLUMNS = [
    "system",
    "kind",
    "group",
    "n_bonafide",
    "n_spoof",
    *(f"{name}{part}" for name in _POINTS for part in ("", "_low", "_high", "_threshold", "_p_miss", "_p_fa")),
    "actual_dcf",
    "cllr",
    "sha256",
    "suite",
]


def to_json(study: Study) -> str:
    """Return everything as one JSON object."""
    content = {
        "suite": __version__,
        "legacy": study.legacy,
        "costs": asdict(study.costs),
        "asv": asdict(study.asv) if study.asv else None,
        "systems": [_system(system, study) for system in study.systems],
        "comparisons": [asdict(comparison) for comparison in study.comparisons],
        "notes": list(study.notes),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(study: Study) -> str:
    """Return a line for each system's groups, the pooled one last."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for system in study.systems:
        for group in (*system.attacks, *system.speakers, system.pooled):
            writer.writerow(_line(system, group))
    return out.getvalue()


def _system(system: SystemResult, study: Study) -> dict[str, Any]:
    return {
        "name": system.name,
        "cm_score": system.scores.path,
        "sha256": system.scores.sha256,
        "signature": signature(system, study),
        "pooled": asdict(system.pooled),
        "attacks": [asdict(group) for group in system.attacks],
        "speakers": [asdict(group) for group in system.speakers],
        "threshold_from": [asdict(applied) for applied in system.applied],
        "resampling": asdict(system.resampling) if system.resampling else None,
    }


def _line(system: SystemResult, group: Group) -> dict[str, Any]:
    line: dict[str, Any] = {
        "system": system.name,
        "kind": group.kind,
        "group": group.name,
        "n_bonafide": group.n_bonafide,
        "n_spoof": group.n_spoof,
        "sha256": system.scores.sha256,
        "suite": __version__,
    }
    if group.evaluation is None:
        return line
    line |= {"actual_dcf": group.evaluation.actual_dcf, "cllr": group.evaluation.cllr}
    for name in _POINTS:
        point, interval = getattr(group.evaluation, name), group.intervals.get(name)
        if point:
            line |= {name: point.value, f"{name}_threshold": point.threshold}
            line |= {f"{name}_p_miss": point.p_miss, f"{name}_p_fa": point.p_fa}
        if interval:
            line |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return line
