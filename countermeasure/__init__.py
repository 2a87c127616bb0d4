"""Detect spoofed speech with Gaussian mixture models (ASVspoof 2019 LA and its successors)."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036  this file and the scripts are parsed by older ones, too
    program, found = sys.argv[0].rpartition("/")[2], sys.version.partition(" ")[0]
    sys.stderr.write(f"{program}: needs Python 3.10 or newer, and this is {found}; run it with a newer python3\n")
    sys.exit(2)

__version__ = "1.0.0"
