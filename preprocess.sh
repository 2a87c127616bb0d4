#!/usr/bin/env bash
# Extract feature lists: data/{train,dev,eval}/{split}-{type}.pkl for each type.
#
#   ./preprocess.sh mfcc lfcc silence        (default: mfcc)
#   LA=/mnt/LA JOBS=4 ./preprocess.sh mfcc
#
# gmm_data_processing.py -h lists the types. Environment: LA, WORK, JOBS, DASK, PYTHON.

source "$(dirname "${BASH_SOURCE[0]}")/scripts/wrapper.sh"

wanted=("${types[@]}" "${silence[@]}")
for split in train dev eval; do
    step "extracting features ($split): ${wanted[*]}" gmm_data_processing.py \
        --data_split "$split" --data_path "$LA/ASVspoof2019_LA_$split/flac" --label_path "$(protocol "$split")" \
        --output_path "$work/data/$split" --ftype "${wanted[@]}" "${jobs[@]}"
done
