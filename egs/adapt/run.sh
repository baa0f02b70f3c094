#!/usr/bin/env bash
# What pretraining buys when labels are few: an encoder from scratch, pretrained on other languages,
# pretrained on the target's own audio, or on the one and then the other; then CTC on 10 minutes,
# an hour or all of the target's labels, several seeds, the same number of updates for every arm.
# Then what pseudo-labels add, and what labels of another language do, however they are mixed; last, a recogniser of the
# other language as the beginning: of the corpus's own, longer recipe, and of few labels.
# Stages 9 and 12 need a recogniser of the other language: Kichwa's ships, Mboshi's is trained by ../mboshi/run.sh.
# --killkan, --mboshi and --storybooks are the corpora's folders (see egs/killkan, egs/mboshi and egs/longform); --target is killkan or mboshi.
set -euo pipefail
cd "$(dirname "$0")"
stage=1 stop_stage=13
target=killkan
killkan=../../../shared/corpora/killkan
mboshi=../../../shared/corpora/mboshi
storybooks=../../../shared/corpora/storybooks
arms="none wrong source source_target target"
labels="10 60 all"
seeds="1 2 3"
updates=2000          # of pretraining; going on takes half as many again
teacher=target        # the arm that labels what has no labels
gold="10 60"          # minutes of labels that stages 5 and 12 begin with; stage 5 wants them in --labels
keep=0.7              # share of the pseudo-labels that the student learns from, the surest
mixes="proportional temperature uniform skill"
mixed=10              # minutes of labels that stage 7 mixes with the other language's; stage 8 wants them in --labels
recogniser=           # of another language, that stages 9 and 12 begin with (default: what ../OTHER trained, or ships)
scratch=              # recogniser that stage 11 compares with (default: what ../TARGET trained, or ships)
. ./path.sh
. "$ROOT/egs/parse_options.sh"
. "$ROOT/egs/corpus.sh"
case $target in
killkan) other=mboshi ;;
mboshi) other=killkan ;;
*)
    echo "run.sh: --target is '$target'. Give killkan or mboshi." >&2
    exit 2
    ;;
esac
exp=exp/$target

model_of() { # CORPUS: what its recipe trained, or what ships; nothing where neither is there
    local each
    for each in "../$1/exp/ctc" "../$1/model"; do
        # An experiment that was stopped early is a folder without a model.
        if [[ -f $each/model/loquela.json || -f $each/loquela.json ]]; then
            echo "$each"
            return
        fi
    done
}

need_model() { # MODEL OPTION CORPUS STAGE: said at the start, as the stage comes after hours of training
    if [[ -z $1 ]] && runs "$4"; then
        echo "run.sh: stage $4 needs a recogniser of $3, and ../$3 has none. Run ../$3/run.sh first, give --$2, or leave" \
            "that stage out (--stage, --stop_stage)." >&2
        exit 2
    fi
}

recogniser=${recogniser:-$(model_of "$other")}
scratch=${scratch:-$(model_of "$target")}
need_model "$recogniser" recogniser "$other" 9
need_model "$recogniser" recogniser "$other" 12
need_model "$scratch" scratch "$target" 11

pretrain() { # EXP MANIFEST UPDATES SETTING...
    local to=$1 manifest=$2 number=$3
    shift 3
    python -m recipes.pretrain conf/pretrain.yaml exp="$to" manifest="$manifest" trainer.updates="$number" "$@"
}

train_arms() { # ARMS LABELS: every arm on every amount of labels with every seed
    local minutes arm seed run encoder
    for minutes in $2; do
        for arm in $1; do
            for seed in $seeds; do
                run=$exp/$arm/$minutes.$seed
                mapfile -t encoder < <(encoder_of "$arm")
                python -m recipes.finetune_ctc conf/finetune.yaml manifest="data/$target.$minutes.tsv" \
                    exp="$run" trainer.seed="$seed" "${encoder[@]}"
                python -m recipes.decode_ctc "$run" "data/$target.tsv" --split test --out "$run/test.tsv"
            done
        done
    done
}

encoder_of() { # ARM: settings of the fine-tuning's beginning; shrunk, for what pretraining made large learns slowly
    case $1 in
    none) ;;
    fresh) echo encoder.width=176 ;;    # the recognisers' width
    other) printf '%s\n' "encoder={kind: saved, source: $recogniser, shrink: true}" "head_from=$recogniser" ;;
    *) echo "encoder={kind: saved, source: $exp/pretrain/$1, shrink: true}" ;;
    esac
}

gold_last() { # FROM TO MINUTES SEED: 200 updates more on the gold labels alone
    python -m recipes.finetune_ctc conf/finetune.yaml trainer.seed="$4" manifest="data/$target.$3.tsv" \
        exp="$2" "encoder={kind: saved, source: $1}" trainer.updates=200 trainer.lr=5e-4 ctc.mask_start=0
    python -m recipes.decode_ctc "$2" "data/$target.tsv" --split test --out "$2/test.tsv"
}

if at 1 "import; source languages in one manifest; labels of some minutes"; then
    import_corpus "$killkan/manifest.tsv" data/killkan.tsv
    import_corpus "$storybooks/manifest.tsv" data/storybooks.tsv
    # Mboshi's published dev is the test; dev is carved from its training sessions.
    import_corpus "$mboshi/manifest.tsv" data/mboshi.published.tsv
    python ../mboshi/local/carve_dev.py data/mboshi.published.tsv data/mboshi.tsv
    loquela corpus join --overwrite "$other=data/$other.tsv" storybooks=data/storybooks.tsv --out "data/source.$target.tsv"
    loquela corpus join --overwrite "$target=data/$target.tsv" --out "data/target.$target.tsv"
    for minutes in $(tr ' ' '\n' <<<"$labels $gold $mixed" | sort -u); do
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
    train_arms "$arms" "$labels"
fi
if at 4 "score: every arm, and against none"; then
    python local/table.py "$exp" "data/$target.tsv" --arms "$arms" --labels "$labels" --seeds "$seeds"
fi
if at 5 "self-training: the teacher with a language model of its few labels, a student, gold last"; then
    for minutes in $gold; do
        for seed in $seeds; do
            from=$exp/$teacher/$minutes.$seed
            to=$exp/student/$minutes.$seed
            mapfile -t encoder < <(encoder_of "$teacher")
            loquela lm build --manifest "data/$target.$minutes.tsv" --split train --policy "$from/tokenizer.json" \
                --word-order 2 --character-order 5 --out "$from/lm" --overwrite
            loquela lm tune --model "$from" --lm "$from/lm" --manifest "data/$target.$minutes.tsv"
            python -m recipes.decode_ctc "$from" "data/$target.$minutes.tsv" --split unlabelled --lm "$from/lm" \
                --out "$to/unlabelled.tsv"
            python -m recipes.pseudo_label "data/$target.$minutes.tsv" --hypothesis "$to/unlabelled.tsv" \
                --keep "$keep" --truth "data/$target.tsv" --policy "$from" --overwrite \
                --out "data/$target.$minutes.$seed.pseudo.tsv" | tee "$to/pseudo.json"
            python -m recipes.finetune_ctc conf/finetune.yaml trainer.seed="$seed" "${encoder[@]}" \
                manifest="data/$target.$minutes.$seed.pseudo.tsv" exp="$to/pseudo" \
                "ctc.mix={levels: [label], temperature: [0.5]}"
            gold_last "$to/pseudo" "$to" "$minutes" "$seed"
            # The control: as many updates more without pseudo-labels.
            gold_last "$from" "$exp/longer/$minutes.$seed" "$minutes" "$seed"
        done
    done
fi
if at 6 "score: students against teachers that were trained on as long"; then
    python local/table.py "$exp" "data/$target.tsv" --arms "longer $teacher student" --labels "$gold" \
        --seeds "$seeds" --base longer
fi
if at 7 "labels of another language beside $mixed minutes of the target's, mixed in four ways"; then
    loquela corpus join --overwrite "$target=data/$target.$mixed.tsv" "$other=data/$other.tsv" --out "data/mixed.$target.tsv"
    mapfile -t encoder < <(encoder_of "$teacher")
    for seed in $seeds; do
        for mix in $mixes; do
            case $mix in
            proportional) how="temperature: [1]" ;;
            temperature) how="temperature: [0.5]" ;;
            uniform) how="temperature: [0]" ;;
            skill) how="skill_eta: 0.5" ;;
            esac
            run=$exp/mixed.$mix/$mixed.$seed
            python -m recipes.finetune_ctc conf/finetune.yaml manifest="data/mixed.$target.tsv" exp="$run" \
                trainer.seed="$seed" "ctc.mix={levels: [corpus], $how}" tokenizer.language_labels=true "${encoder[@]}"
            python -m recipes.decode_ctc "$run" "data/$target.tsv" --split test --out "$run/test.tsv"
        done
    done
fi
if at 8 "score: the mixtures against the target alone"; then
    python local/table.py "$exp" "data/$target.tsv" --labels "$mixed" --seeds "$seeds" --base "$teacher" \
        --arms "$teacher mixed.${mixes// / mixed.}"
fi
if at 9 "the corpus's own recipe, on all labels, from the other corpus's recogniser"; then
    # Its encoder, and what it knows of the letters that both alphabets have.
    # Kichwa's sees two masked views of half as many utterances, which must agree; Mboshi's was not tried with it.
    agree=()
    [[ $target != killkan ]] || agree=(ctc.consistency_weight=0.2 ctc.consistency_start=0.1)
    python -m recipes.finetune_ctc "../$target/conf/ctc.yaml" manifest="data/$target.tsv" exp="$exp/adapted/all.1" \
        encoder.kind=saved encoder.source="$recogniser" encoder.shrink=true head_from="$recogniser" "${agree[@]}"
    python -m recipes.decode_ctc "$exp/adapted/all.1" "data/$target.tsv" --split test --out "$exp/adapted/all.1/test.tsv"
fi
if at 10 "the same again from there, with two views"; then
    more=7000
    [[ $target != killkan ]] || more=5000
    python -m recipes.finetune_ctc "../$target/conf/ctc.yaml" manifest="data/$target.tsv" exp="$exp/again/all.1" \
        encoder.kind=saved encoder.source="$exp/adapted/all.1" head_from="$exp/adapted/all.1" \
        ctc.consistency_weight=0.2 ctc.consistency_start=0.1 trainer.updates="$more"
    python -m recipes.decode_ctc "$exp/again/all.1" "data/$target.tsv" --split test --out "$exp/again/all.1/test.tsv"
fi
if at 11 "score: against the recipe from scratch"; then
    python -m recipes.decode_ctc "$scratch" "data/$target.tsv" --split test --out "$exp/scratch/all.1/test.tsv"
    python local/table.py "$exp" "data/$target.tsv" --arms "scratch adapted again" --labels all --seeds 1 \
        --base scratch
fi
if at 12 "few labels, from the other corpus's recogniser, and from scratch at its size"; then
    train_arms "fresh other" "$gold"
fi
if at 13 "score: the other corpus's recogniser against from scratch"; then
    python local/table.py "$exp" "data/$target.tsv" --arms "fresh other" --labels "$gold" --seeds "$seeds" --base fresh
fi
