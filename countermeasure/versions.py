"""Versions: two numbers are compared, the others are only recorded.

Lists and models of other format or feature versions are not reused, and Dask workers with others are refused. The
releases of the suite and its libraries are recorded for information, since they change rounding at most.
"""

from __future__ import annotations

from collections.abc import Mapping

from countermeasure import __version__

# Increased when lists, models or checkpoints written before cannot be used any more.
FORMAT = 1
# Increased when the values of an existing feature type change by more than rounding.
FEATURES = 1

COMPARED = {"format": str(FORMAT), "features": str(FEATURES)}
_LIBRARIES = ("numpy", "scipy")


def current() -> dict[str, str]:
    """Return the versions to record: those compared, the suite's, and those of the libraries that compute."""
    from importlib.metadata import version  # takes 0.07 s, and not all scripts record

    return {**COMPARED, "countermeasure": __version__, **{name: version(name) for name in _LIBRARIES}}


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Describe how recorded versions differ in the compared numbers; a missing number counts as 1."""
    pairs = {name: (found.get(name, "1"), wanted.get(name, "1")) for name in COMPARED}
    return [f"{name} {before}, now {now}" for name, (before, now) in pairs.items() if before != now]
