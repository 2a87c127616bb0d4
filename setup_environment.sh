# Sourced by demo.sh and run_tests.sh: makes .venv where it is missing, with the project's requirements.
#
#   PYTHON  the interpreter to make .venv with (default: python3); needs Python 3.10 or newer

PYTHON=${PYTHON:-python3}
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$0: needs Python 3.10 or newer, but $PYTHON is $("$PYTHON" --version 2>&1); set PYTHON=/path/to/python3" >&2
    exit 2
fi
works() { .venv/bin/python -c 'import pip' > /dev/null 2>&1; }
if ! works; then # missing, or left half made
    rm -rf .venv
    "$PYTHON" -m venv .venv || true
    works || {
        echo "$0: could not make .venv; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    }
fi
# The stamp is the requirements that were installed: nothing is asked of the network when they still are.
if ! cmp -s requirements.txt .venv/requirements.txt; then
    echo "installing the requirements into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt .venv/requirements.txt
fi
