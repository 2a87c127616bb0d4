#!/usr/bin/env bash
# Train a base model of each type; with two types or more, their frame-level and file-level fusion, too.
#
#   ./train.sh mfcc lfcc silence             (default: mfcc)
#   TRAIN_OPTIONS="--n_components 64" ./train.sh mfcc lfcc
#   ENSEMBLE_OPTIONS="--method logistic" FILELEVEL_OPTIONS="--method logistic" ./train.sh mfcc lfcc
#
# Needs the lists of preprocess.sh. silence takes part in file-level fusion only.
# Environment: LA, WORK, JOBS, DASK, PYTHON; TRAIN_OPTIONS, ENSEMBLE_OPTIONS, FILELEVEL_OPTIONS: options of
# gmm_train_recur.py, gmm_ensemble_train.py and gmm_filelevel_train.py.

source "$(dirname "${BASH_SOURCE[0]}")/scripts/wrapper.sh"

# fill FOLDER FILE…: make FOLDER hold just links to the files; what is no link is somebody's own and is put aside.
fill() {
    local folder=$1 path own="" n=1
    shift
    if [ -L "$folder" ]; then rm "$folder"; fi
    for path in "$folder"/*; do
        if [ -L "$path" ]; then rm "$path"; elif [ -e "$path" ]; then own=$path; fi
    done
    if [ -f "$folder" ]; then own=$folder; fi
    if [ -n "$own" ]; then
        while [ -e "$folder.own-$n" ]; do n=$((n + 1)); done
        mv "$folder" "$folder.own-$n"
        echo "$wrapper: $folder is to hold links alone; ${own##*/} and what else is your own is in ${folder##*/}.own-$n now" >&2
    fi
    mkdir -p "$folder"
    ln -s "$@" "$folder/"
}

if [ ${#types[@]} -eq 0 ]; then
    echo "$wrapper: silence has no base model; name frame-level types with it, two or more for it to take part" >&2
    exit 2
fi
if [ ${#types[@]} -eq 1 ] && [ ${#silence[@]} -gt 0 ]; then
    echo "$wrapper: silence takes part in the file-level fusion of two types or more; training the base model alone" >&2
fi

for type in "${types[@]}"; do
    step "training the base model: $type" gmm_train_recur.py \
        --data_path "$work/data/train/train-$type.pkl" --model_path "$work/model/$type" \
        "${jobs[@]}" ${TRAIN_OPTIONS:-}
done
[ ${#types[@]} -gt 1 ] || exit 0

for split in train dev eval; do
    lists=()
    for type in "${types[@]}"; do
        step "frame scores ($split): $type" gmm_ensemble_preprocess.py \
            --data_split "$split" --data_path "$work/data/$split/$split-$type.pkl" \
            --model_path "$work/model/$type" --model_name "$type" --output_path "$work/ensemble/$type" "${jobs[@]}"
        for class in bon sp; do lists+=("$work/ensemble/$type/$split/$type-$class-$split.pkl"); done
    done
    fill "$work/experiment/$joined/$split" "${lists[@]}"
done
step "training the frame-level fusion: $ensemble" gmm_ensemble_train.py \
    --data_dir "$work/experiment/$joined/train" --model_path "$work/model/$ensemble" \
    "${jobs[@]}" ${ENSEMBLE_OPTIONS:-}

for split in train dev eval; do
    step "file scores ($split): $ensemble" gmm_filelevel_preprocess.py \
        --data_split "$split" --data_dir "$work/experiment/$joined/$split" \
        --model_path "$work/model/$ensemble" --model_name "$ensemble" \
        --output_path "$work/ensemble/$ensemble" "${jobs[@]}"
    lists=()
    for class in bon sp; do lists+=("$work/ensemble/$ensemble/$split/$ensemble-$class-$split-filelevel.pkl"); done
    for type in "${silence[@]}"; do lists+=("$work/data/$split/$split-$type.pkl"); done
    fill "$work/experiment/$filelevel/$split" "${lists[@]}"
done
step "training the file-level fusion: $filelevel" gmm_filelevel_train.py \
    --data_dir "$work/experiment/$filelevel/train" --model_path "$work/model/$filelevel" \
    "${jobs[@]}" ${FILELEVEL_OPTIONS:-}
