#!/usr/bin/env bash
# Set up .venv where it is missing and run the tests, in a process a core; arguments go to pytest.
#
#   ./run_tests.sh
#   ./run_tests.sh -n 0 -k mixture           in one process
#
# Tests on real recordings look for them in ../shared/data and are skipped, saying so, where it is missing.

set -euo pipefail
unset CDPATH
if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    echo "The arguments of pytest: .venv/bin/python -m pytest --help"
    exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/setup_environment.sh
# A file's tests share a process, since they share what they work on.
exec .venv/bin/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile "$@"
