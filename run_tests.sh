#!/usr/bin/env bash
# Make .venv if it is missing and run the tests, in one process per core; arguments are passed to pytest.
#
#   ./run_tests.sh
#   ./run_tests.sh -n 0 -k mixture           in one process
#
# Tests on real recordings look for them in ../shared/data and are skipped if it is missing.

set -euo pipefail
unset CDPATH
if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    echo "The arguments of pytest: .venv/bin/python -m pytest --help"
    exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/setup_environment.sh
# The tests of a file share fixtures, so they run in one process.
exec .venv/bin/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile "$@"
