#!/usr/bin/env bash
# Set up .venv where it is missing and run the tests; arguments go to pytest.
#
#   ./run_tests.sh
#   ./run_tests.sh -k mixture
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
exec .venv/bin/python -m pytest "$@"
