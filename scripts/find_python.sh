# Sourced by scripts that run the suite: sets PYTHON, unless it is given, to python3 of the active environment, else to
# that of the checkout's .venv, else to python3.

if [ -z "${PYTHON:-}" ]; then
    PYTHON=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin/python
    if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] || [ ! -x "$PYTHON" ]; then PYTHON=python3; fi
fi
if ! command -v "$PYTHON" > /dev/null; then
    echo "${0##*/}: PYTHON=$PYTHON: no such program; give the Python that has the requirements" >&2
    exit 2
fi
