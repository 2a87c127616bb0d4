#!/usr/bin/env bash
# Show the whole suite at work: features, training and testing of the three pipelines, on a small data set.
#
#   ./demo.sh                    on synthetic speech that it makes itself; needs only Python 3.10 or newer
#   LA=/mnt/LA ./demo.sh         the same on real data, in the layout of ASVspoof 2019 LA
#
# All output goes to demo_output/. Environment: LA, JOBS, PYTHON.

set -euo pipefail
unset CDPATH
case ${1:-} in
    "") ;;
    -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "${0##*/}: $1: takes no arguments; see ${0##*/} -h" >&2
        exit 2
        ;;
esac
if [ -n "${LA:-}" ]; then
    if [ ! -d "$LA" ]; then
        echo "${0##*/}: LA=$LA: no such folder; give the data set's, or leave LA out for synthetic speech" >&2
        exit 2
    fi
    LA=$(cd "$LA" && pwd)
fi
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/setup_environment.sh
export PYTHON=$PWD/.venv/bin/python WORK=$PWD/demo_output

if [ -z "${LA:-}" ]; then
    LA=$WORK/LA
    "$PYTHON" examples/demo_data/make_demo_data.py --output_path "$LA" ${JOBS:+--n_jobs "$JOBS"}
    about="on synthetic speech, which show that the pipelines work, but say nothing about real spoofs"
else
    about="on $LA"
fi
export LA EVALUATION_OPTIONS="--plot demo_output/plots"
if [ ! -d "$LA/ASVspoof2019_LA_asv_scores" ]; then
    EVALUATION_OPTIONS+=" --asv_score asvspoof2019-la-eval"
    about+="; t-DCF by the ASV rates of ASVspoof 2019 LA"
fi

./preprocess.sh mfcc lfcc silence
./train.sh mfcc lfcc silence
echo "Results $about"
./test.sh mfcc lfcc silence
