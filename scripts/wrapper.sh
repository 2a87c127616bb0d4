# What preprocess.sh, train.sh and test.sh share; sourced by them, never run by itself: finds Python and the folders,
# and runs gmm_run.py.

set -e
unset CDPATH
wrapper=$(basename "$0")
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

for argument in "$@"; do
    case $argument in -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    esac
done

if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$scripts/.venv/bin/python" ]; then
        PYTHON=$scripts/.venv/bin/python
    fi
fi
if ! command -v "$PYTHON" > /dev/null; then
    echo "$wrapper: PYTHON=$PYTHON: no such program; give the Python that has the requirements" >&2
    exit 2
fi
export LA=${LA:-$scripts/LA} WORK=${WORK:-$scripts}
exec "$PYTHON" "$scripts/gmm_run.py" "${wrapper%.sh}" "$@"
