#!/usr/bin/env bash
# Long recordings: which segmenter keeps words whole, and what it costs the recogniser. Killkan's chapters 18 (limits are
# chosen on it) and 19, stories in English and French that nobody cut, Mboshi sessions joined; stages 2 and 3 make the
# classifier that comes with the package.
# --corpora is the folder that holds killkan/ and mboshi/ (see egs/killkan and egs/mboshi), and storybooks/: the stories of
# github.com/global-asp/asp-audio with a table of id, audio, offset_s, duration_s, text, recording and notes.
set -euo pipefail
cd "$(dirname "$0")"
stage=1 stop_stage=8
corpora=../../../shared/corpora
data=data
segmenter=exp/segmenter
model=../killkan/model       # recogniser of Killkan
mboshi_model=                # recogniser of Mboshi, as ../mboshi/exp/ctc; without one, boundaries alone
. ./path.sh
. "$ROOT/egs/parse_options.sh"

evaluate() { # TABLE RECORDINGS... -- OPTION...
    local table=$1 recordings=()
    shift
    while (($#)) && [[ $1 != -- ]]; do recordings+=("$1"); shift; done
    python local/evaluate.py "${manifest:-$data/manifest.tsv}" --recordings "${recordings[@]}" \
        --segmenter-model "$segmenter/packed" --out "exp/$table.tsv" "${@:2}"
}

if at 1 "recordings with the places of their segments"; then
    python local/lay_recordings.py "$corpora" ../mini/data "$data"
fi
if at 2 "train the classifier of frames"; then
    python -m recipes.train_segmenter conf/segmenter.yaml manifest="$data/manifest.tsv" exp="$segmenter"
fi
if at 3 "pack it"; then
    python -m recipes.pack "$segmenter" --card local/model_card.md --out "$segmenter/packed"
fi
if at 4 "chapter 18: every segmenter with every setting; keep the best of each"; then
    evaluate ch18 ch18 -- --arms conf/arms.yaml --model "$model" --choose exp/chosen.yaml
    evaluate ch18_ctc ch18 -- --arms conf/arms_ctc.yaml --model "$model" --segmenter-model "$model" \
        --choose exp/chosen_ctc.yaml
    evaluate ch18_overlap ch18 -- --arms conf/arms_overlap.yaml --model "$model" --choose exp/chosen_overlap.yaml
fi
if at 5 "chapter 19, with those"; then
    evaluate ch19 ch19 -- --arms exp/chosen.yaml --model "$model"
    evaluate ch19_ctc ch19 -- --arms exp/chosen_ctc.yaml --model "$model" --segmenter-model "$model"
    evaluate ch19_overlap ch19 -- --arms exp/chosen_overlap.yaml --model "$model"
fi
if at 6 "stories and Mboshi, with those"; then
    evaluate stories en_ fr_ -- --arms exp/chosen.yaml
    manifest=$data/mboshi.tsv evaluate mboshi mboshi -- --arms exp/chosen.yaml ${mboshi_model:+--model "$mboshi_model"}
fi
if at 7 "go on from the recogniser, with its segments cut at random words too, and without"; then
    loquela corpus recut "$data/killkan.tsv" --split train --model "$model" --out "$data/killkan.recut.tsv" --overwrite
    loquela corpus join --overwrite cuts="$data/killkan.tsv" recut="$data/killkan.recut.tsv" --out "$data/killkan.both.tsv"
    for arm in plain=killkan recut=killkan.both; do
        exp=exp/${arm%%=*}
        python -m recipes.finetune_ctc conf/cuts.yaml manifest="$data/${arm#*=}.tsv" recogniser="$model" exp="$exp"
        python -m recipes.pack "$exp" --lm "$model/lm" --card ../killkan/local/model_card.md --out "$exp/packed"
    done
fi
if at 8 "chapter 19 with both"; then
    evaluate cuts ch19 -- --arms exp/chosen.yaml --model exp/recut/packed --against exp/plain/packed
fi
