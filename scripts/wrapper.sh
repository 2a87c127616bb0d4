# Sourced by preprocess.sh, train.sh and test.sh: finds Python and the folders, and runs gmm_run.py.

set -e
unset CDPATH
wrapper=$(basename "$0" .sh)
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

for argument in "$@"; do
    case $argument in -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    esac
done

source "$scripts/scripts/find_python.sh"
export LA=${LA:-$scripts/LA} WORK=${WORK:-$scripts}
exec "$PYTHON" "$scripts/gmm_run.py" "$wrapper" "$@"
