# Sourced by demo.sh and run_tests.sh: makes .venv where it is missing, with the project's requirements.
#
#   PYTHON  the interpreter to make .venv with (default: python3); needs Python 3.10 or newer

works() { .venv/bin/python -c 'import pip' > /dev/null 2>&1; }
# The stamp is the requirements that were installed, written last: nothing is asked of the network when they still are.
is_stamped() { cmp -s requirements.txt .venv/requirements.txt; }

check_python() {
    if ! command -v "$1" > /dev/null; then
        echo "${0##*/}: needs Python 3.10 or newer, and there is no $1; set PYTHON=/path/to/python3" >&2
        exit 2
    fi
    if ! "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
        echo "${0##*/}: needs Python 3.10 or newer, but $1 is $("$1" --version 2>&1); set PYTHON=/path/to/python3" >&2
        exit 2
    fi
}

# Let one run at a time go on, until descriptor 9 is closed: the lock belongs to it, whoever takes it. Python takes it,
# for macOS has no program that does.
lock() {
    exec 9< scripts/setup_environment.sh
    "$1" -c '
import sys
try:
    import fcntl
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("waiting for another run that is making .venv", file=sys.stderr, flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
except (ImportError, OSError):  # a system, or a file system, without such locks
    pass
'
}

if ! is_stamped || ! works; then
    if works; then
        lock .venv/bin/python
    else
        check_python "${PYTHON:-python3}"
        lock "${PYTHON:-python3}"
    fi
    if ! works; then # missing, or left half made
        if [ -e .venv ] || [ -L .venv ]; then mv .venv ".venv.unusable.$$"; fi
        "${PYTHON:-python3}" -m venv .venv || true
        works || {
            echo "${0##*/}: could not make .venv; on Debian and Ubuntu: apt-get install python3-venv" >&2
            exit 1
        }
    fi
    if ! is_stamped; then
        echo "installing the requirements into .venv" >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
        cp requirements.txt .venv/requirements.txt
    fi
    exec 9<&-
fi
