# Sourced by demo.sh and run_tests.sh: makes .venv with the project's requirements if it is missing.
#
#   PYTHON  the interpreter to make .venv with (default: python3); needs Python 3.10 or newer

works() { .venv/bin/python -c 'import pip' > /dev/null 2>&1; }

if ! works; then # missing or incomplete
    python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null; then
        echo "${0##*/}: needs Python 3.10 or newer, which $python is not; set PYTHON=/path/to/python3" >&2
        exit 2
    fi
    if [ -e .venv ] || [ -L .venv ]; then mv .venv ".venv.unusable.$$"; fi
    "$python" -m venv .venv || true
    works || {
        echo "${0##*/}: could not make .venv; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    }
fi
# The copy holds the requirements that were installed: without a change, nothing is downloaded.
if ! cmp -s requirements.txt .venv/requirements.txt; then
    echo "installing the requirements into .venv" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt .venv/requirements.txt
fi
