# What preprocess.sh, train.sh and test.sh share; sourced by them, never run by itself.
#
# Environment:
#   LA     place of the data set, in its own layout (default: LA beside the scripts)
#   WORK   place of data/ model/ ensemble/ experiment/ output/ (default: beside the scripts)
#   JOBS   number of processes or threads (default: one a core)
#   DASK   address of a Dask scheduler that computes instead, see docs/scale.md (default: none)
#   PYTHON (default: the active environment's, else .venv's where demo.sh has made it, else python3)

set -eo pipefail # without -u: bash before 4.4, macOS's among them, takes an empty array for an unset one
unset CDPATH
wrapper=$(basename "$0")
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

LA=$(absolute "${LA:-$scripts/LA}")
work=$(absolute "${WORK:-$scripts}")
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$scripts/.venv/bin/python" ]; then
        PYTHON=$scripts/.venv/bin/python
    fi
fi
jobs=()
[ -z "${JOBS:-}" ] || jobs=(--n_jobs "$JOBS")
[ -z "${DASK:-}" ] || jobs=(--dask "$DASK")

for argument in "$@"; do
    case $argument in -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    esac
done
[ $# -gt 0 ] || set -- mfcc

case $PYTHON in */*) PYTHON=$(absolute "$PYTHON") ;; esac
if ! command -v "$PYTHON" > /dev/null; then
    echo "$wrapper: PYTHON=$PYTHON: no such program; give the Python that has the requirements" >&2
    exit 2
fi
# From the scripts' folder: Python looks for modules in the current one first.
recipe=$(cd "$scripts" && "$PYTHON" -m countermeasure.stages.wrappers "$wrapper" types "$@") || exit $?
types=() # frame-level types, in alphabetical order
silence=() # empty, or the one word
for type in $recipe; do
    if [ "$type" = silence ]; then silence=(silence); else types+=("$type"); fi
done
joined=$(IFS=+; echo "${types[*]}")
ensemble=ensemble-$joined
filelevel=filelevel-$joined${silence:+"+silence"}

# step NAME SCRIPT ARGUMENT…: run a script; when it fails, end the chain and say where.
step() {
    local name=$1
    shift
    echo "== $name"
    "$PYTHON" "$scripts/$1" "${@:2}" || {
        local status=$?
        echo "$wrapper: stopped at: $name" >&2
        exit "$status"
    }
}

protocol() {
    local ending=trl
    [ "$1" != train ] || ending=trn
    echo "$LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.$1.$ending.txt"
}
