#!/usr/bin/env bash
# Train a base model of each type and, with two types or more, their frame-level and file-level fusions.
#
#   ./train.sh mfcc lfcc silence             (default: mfcc)
#   RUN=small TRAIN_OPTIONS="--n_components 64" ./train.sh mfcc lfcc
#   RUN=logistic ENSEMBLE_OPTIONS="--method logistic" FILELEVEL_OPTIONS="--method logistic" ./train.sh mfcc lfcc
#
# Needs the lists of preprocess.sh. silence takes part in file-level fusion only. Models of other settings are not
# replaced: RUN=NAME keeps a run apart from others, RESTART=1 trains again. FUSION=always also fuses a single type.
# Environment: WORK, RUN, RESTART, FUSION, JOBS, DASK, PYTHON, TRAIN_OPTIONS, ENSEMBLE_OPTIONS, FILELEVEL_OPTIONS;
# LA is not needed. See gmm_run.py -h.

source "$(dirname "${BASH_SOURCE[0]}")/scripts/wrapper.sh"
