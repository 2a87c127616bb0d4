#!/usr/bin/env bash
# Score dev and eval with every model that train.sh made for these types, calibrate the models on dev, and show the
# results in one table with advice on which system to use.
#
#   ./test.sh mfcc lfcc silence              (default: mfcc)
#   LA=/mnt/LA RUN=small ./test.sh mfcc lfcc
#
# Score files go to output/. The table has min t-DCF where $LA holds the ASV scores.
# Environment: LA, WORK, RUN, FUSION, JOBS, DASK, PYTHON; EVALUATION_OPTIONS: options of score_eval.py; see
# gmm_run.py -h.

source "$(dirname "${BASH_SOURCE[0]}")/scripts/wrapper.sh"
