"""What versions mean: which numbers are compared, and which are only written down.

Two things can make finished or half-finished work useless, and each has a number here: the format of
lists, models and checkpoints, and the definition of the features. Work whose two numbers are this
suite's is kept and continued; other work is made again, and Dask workers with other numbers are
refused. The suite's release and its libraries' are recorded beside them for information, and are
never compared: an upgrade of NumPy rounds differently at most.
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
    """Say in which compared numbers recorded versions differ from others; nothing where they do not.

    What records neither number was written before there were any, which is the same as 1.
    """
    pairs = {name: (found.get(name, "1"), wanted.get(name, "1")) for name in COMPARED}
    return [f"{name} {before}, now {now}" for name, (before, now) in pairs.items() if before != now]
