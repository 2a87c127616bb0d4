#!/usr/bin/env bash
# From a folder of recordings, sorted into bonafide/ and spoof/, to the EER and to models that decide, in six commands.
#
#   bash examples/own_data/run.sh ~/recordings            results in ./own_data
#   bash examples/own_data/run.sh ~/recordings results
#
# Environment: PYTHON (default: the active environment's, else .venv's of the checkout, else python3); TRAIN_OPTIONS:
# options of gmm_train.py.

set -euo pipefail
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }
if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
    usage
    exit 0
fi
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    usage >&2
    exit 2
fi
suite=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$suite/scripts/find_python.sh"
recordings=$1 results=${2:-own_data}

"$PYTHON" "$suite/examples/own_data/make_lists.py" "$recordings" --output_path "$results"
"$PYTHON" "$suite/gmm_data_processing.py" --data_split train --ftype lfcc \
    --data_path "$recordings" --label_path "$results/train.csv" --output_path "$results"
"$PYTHON" "$suite/gmm_data_processing.py" --data_split eval --ftype lfcc \
    --data_path "$recordings" --label_path "$results/test.csv" --output_path "$results"
"$PYTHON" "$suite/gmm_train.py" --data_path "$results/train-lfcc.pkl" --model_path "$results/lfcc" \
    ${TRAIN_OPTIONS:---n_components 64}
"$PYTHON" "$suite/gmm_test.py" --data_path "$results/eval-lfcc.pkl" --label_path "$results/test.csv" \
    --model_path_bon "$results/lfcc/bon.gmm" --model_path_sp "$results/lfcc/sp.gmm" --output_path "$results/scores.txt"
"$PYTHON" "$suite/gmm_calibrate.py" --cm_score "$results/scores.txt" --model_path "$results/lfcc"
