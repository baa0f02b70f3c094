#!/usr/bin/env bash
# What pretraining buys when labels are few: an encoder from scratch, pretrained on other languages,
# pretrained on the target's own audio, or on the one and then the other; then CTC on 10 minutes,
# an hour or all of the target's labels, several seeds, the same number of updates for every arm.
# --killkan, --mboshi and --storybooks are the corpora's folders; --target is killkan or mboshi.
set -euo pipefail
cd "$(dirname "$0")"
stage=1 stop_stage=4
target=killkan
killkan=../../../shared/corpora/killkan
mboshi=../../../shared/corpora/mboshi
storybooks=../../../shared/corpora/storybooks
arms="none wrong source source_target target"
labels="10 60 all"
seeds="1 2 3"
updates=3000          # of pretraining; going on takes half as many again
. ./path.sh
. "$ROOT/egs/parse_options.sh"
case $target in
killkan) other=mboshi ;;
mboshi) other=killkan ;;
*)
    echo "run.sh: --target is '$target'. Give killkan or mboshi." >&2
    exit 2
    ;;
esac
exp=exp/$target

pretrain() { # EXP MANIFEST UPDATES SETTING...
    local to=$1 manifest=$2 number=$3
    shift 3
    python -m recipes.pretrain conf/pretrain.yaml exp="$to" manifest="$manifest" trainer.updates="$number" "$@"
}

encoder_of() { # ARM: setting of the fine-tuning's encoder
    local source
    case $1 in
    none) return ;;
    wrong) source=$exp/pretrain/wrong ;;
    *) source=$exp/pretrain/$1 ;;
    esac
    printf 'encoder={kind: saved, source: %s}' "$source"
}

if at 1 "import; source languages in one manifest; labels of some minutes"; then
    loquela corpus import --form manifest "$killkan/manifest.tsv" --out data/killkan.tsv
    loquela corpus import --form manifest "$storybooks/manifest.tsv" --out data/storybooks.tsv
    # Mboshi's published dev is the test; dev is carved from its training sessions.
    loquela corpus import --form manifest "$mboshi/manifest.tsv" --out data/mboshi.published.tsv
    python ../mboshi/local/carve_dev.py data/mboshi.published.tsv data/mboshi.tsv
    loquela corpus join "$other=data/$other.tsv" storybooks=data/storybooks.tsv --out "data/source.$target.tsv"
    loquela corpus join "$target=data/$target.tsv" --out "data/target.$target.tsv"
    for minutes in $labels; do
        python local/subset.py "data/$target.tsv" "$minutes" "data/$target.$minutes.tsv"
    done
fi
if at 2 "pretrain the encoders that the arms share"; then
    half=$((updates / 2))
    pretrain "$exp/pretrain/source" "data/source.$target.tsv" "$updates"
    on="encoder={kind: saved, source: $exp/pretrain/source}"
    pretrain "$exp/pretrain/source_target" "data/target.$target.tsv" "$half" "$on" trainer.lr=1e-3
    # The control: as many updates more, without the target's audio.
    pretrain "$exp/pretrain/wrong" "data/source.$target.tsv" "$half" "$on" trainer.lr=1e-3
    pretrain "$exp/pretrain/target" "data/target.$target.tsv" "$((updates + half))"
fi
if at 3 "fine-tune every arm on every amount of labels with every seed"; then
    for minutes in $labels; do
        for arm in $arms; do
            for seed in $seeds; do
                run=$exp/$arm/$minutes.$seed
                mapfile -t encoder < <(encoder_of "$arm")
                python -m recipes.finetune_ctc conf/finetune.yaml manifest="data/$target.$minutes.tsv" \
                    exp="$run" trainer.seed="$seed" "${encoder[@]}"
                python -m recipes.decode_ctc "$run" "data/$target.tsv" --split test --out "$run/test.tsv"
            done
        done
    done
fi
if at 4 "score: every arm, and against none"; then
    python local/table.py "$exp" "data/$target.tsv" --arms "$arms" --labels "$labels" --seeds "$seeds"
fi
