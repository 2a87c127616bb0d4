"""Versions: two numbers are compared, the others are only recorded.

Finished or unfinished work with other numbers than these is made again, and Dask workers with other numbers are
refused. The releases of the suite and its libraries are recorded for information: they change rounding at most.
"""

from __future__ import annotations

from collections.abc import Mapping

from countermeasure import __version__

# Raised when lists, models or checkpoints written before cannot be used any more.
FORMAT = 1
# Raised when a feature type that exists gives other numbers than before, by more than rounding.
FEATURES = 1

COMPARED = {"format": str(FORMAT), "features": str(FEATURES)}
_LIBRARIES = ("numpy", "spafe")


def current() -> dict[str, str]:
    """Return the versions to record: those compared, the suite's, and of its libraries those installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes 0.07 s, and not all scripts record

    found = {**COMPARED, "countermeasure": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # none is needed to tell what was computed
            continue
    return found


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Say in which compared numbers recorded versions differ from others; a number that is not recorded is 1."""
    pairs = {name: (found.get(name, "1"), wanted.get(name, "1")) for name in COMPARED}
    return [f"{name} {before}, now {now}" for name, (before, now) in pairs.items() if before != now]
