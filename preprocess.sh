#!/usr/bin/env bash
# Extract feature lists: data/{train,dev,eval}/{split}-{type}.pkl for each type.
#
#   ./preprocess.sh mfcc lfcc silence        (default: mfcc)
#   LA=/mnt/LA JOBS=4 ./preprocess.sh mfcc
#
# gmm_data_processing.py -h lists the types. Environment: LA, WORK, JOBS, DASK, PYTHON; see gmm_run.py -h.

source "$(dirname "${BASH_SOURCE[0]}")/scripts/wrapper.sh"
