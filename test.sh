#!/usr/bin/env bash
# Score dev and eval with every model that train.sh made for these types; show the eval results in one table.
#
#   ./test.sh mfcc lfcc silence              (default: mfcc)
#   LA=/mnt/LA ./test.sh mfcc
#
# Score files go to output/. The table has min t-DCF where $LA holds the ASV scores, else EER only; where the eval
# protocol has no labels (a blind set), there is no table.
# Environment: LA, WORK, JOBS, DASK, PYTHON; EVALUATION_OPTIONS: options of score_eval.py.

source "$(dirname "${BASH_SOURCE[0]}")/scripts/wrapper.sh"

if [ ${#types[@]} -eq 0 ]; then
    echo "$wrapper: silence has no base model; name the types that were trained" >&2
    exit 2
fi

# score NAME SCRIPT DATA_OPTION DATA SPLIT: score one split with the models of model/NAME.
score() {
    step "scoring ($5): $1" "$2" "$3" "$4" \
        --model_path_bon "$work/model/$1/bon.gmm" --model_path_sp "$work/model/$1/sp.gmm" \
        --label_path "$(protocol "$5")" --output_path "$work/output/$1-$5.txt" "${jobs[@]}"
}

if [ ${#types[@]} -gt 1 ]; then
    (cd "$scripts" && "$PYTHON" -m countermeasure.stages.wrappers "$wrapper" outdated "$work" "${types[@]}" "$ensemble")
fi

systems=("${types[@]}")
for split in dev eval; do
    for type in "${types[@]}"; do
        score "$type" gmm_test.py --data_path "$work/data/$split/$split-$type.pkl" "$split"
    done
    if [ ${#types[@]} -gt 1 ]; then
        score "$ensemble" gmm_ensemble_test.py --data_dir "$work/experiment/$joined/$split" "$split"
        score "$filelevel" gmm_filelevel_test.py --data_dir "$work/experiment/$filelevel/$split" "$split"
    fi
done
[ ${#types[@]} -eq 1 ] || systems+=("$ensemble" "$filelevel")

labels=$(protocol eval)
if [ -f "$labels" ] && ! grep -Eq '(bonafide|spoof)[[:space:]]*$' "$labels"; then
    echo "$wrapper: $labels is blind: the scores are in $work/output, and without labels there is no table" >&2
    exit 0
fi
asv_scores=$LA/ASVspoof2019_LA_asv_scores/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt
score_files=()
for system in "${systems[@]}"; do score_files+=("$work/output/$system-eval.txt"); done
evaluation=(--cm_score "${score_files[@]}" --name "${systems[@]}")
[ ! -f "$asv_scores" ] || evaluation+=(--asv_score "$asv_scores")
step "results on eval" score_eval.py "${evaluation[@]}" ${EVALUATION_OPTIONS:-}
