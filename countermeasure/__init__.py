"""Detect spoofed speech with Gaussian mixture models (ASVspoof 2019 LA and its successors).

``extract``, ``read_list``, ``train``, ``score`` and ``Detector`` are described in docs/api.md.
"""

import importlib
import sys
from typing import TYPE_CHECKING

if sys.version_info < (3, 10):  # noqa: UP036  this file and the scripts are parsed by older ones, too
    program, found = sys.argv[0].rpartition("/")[2], sys.version.partition(" ")[0]
    sys.stderr.write(f"{program}: needs Python 3.10 or newer, and this is {found}; run it with a newer python3\n")
    sys.exit(2)

__version__ = "1.0.0"

if TYPE_CHECKING:
    from countermeasure.stages.api import Detector, extract, read_list, score, train

__all__ = ["Detector", "__version__", "extract", "read_list", "score", "train"]


def __getattr__(name):  # type: ignore[no-untyped-def]
    """Import the suite's functions when they are asked for: scripts that only show their help do without."""
    if name in __all__:
        return getattr(importlib.import_module("countermeasure.stages.api"), name)
    raise AttributeError("module 'countermeasure' has no attribute " + repr(name))
