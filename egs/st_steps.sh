# shellcheck shell=bash
# Steps that the recipes of translation share. Text translator: exp/mt; encoders: exp/ARM/SEED; speech
# translators: exp/st/ARM/SEED. $conf holds st.yaml and pretrain.yaml.
conf=${conf:-conf}

pretrain_arms() { # RECOGNISER SEEDS: every arm goes on from it, trained as pretrain.yaml says, with each seed
    local seed with trainer
    trainer=$(python -c 'import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))["trainer"]))' \
        "$conf/pretrain.yaml")
    for seed in $2; do
        with=(recogniser="$1" trainer.seed="$seed")
        python -m recipes.train_st "$conf/st.yaml" exp="exp/ce/$seed" trainer="$trainer" "${with[@]}" \
            target=text decoder_from="''" target_tokenizer.num_pieces=300 compress=false st.source_ctc_weight=0
        python -m recipes.pretrain_siamese "$conf/pretrain.yaml" exp="exp/ctc/$seed" "${with[@]}" siamese.weight=0
        python -m recipes.pretrain_siamese "$conf/pretrain.yaml" exp="exp/ot/$seed" "${with[@]}"
        python -m recipes.pretrain_siamese "$conf/pretrain.yaml" exp="exp/shuffled/$seed" "${with[@]}" siamese.shuffled=true
    done
}

train_arms() { # ARMS SEEDS: a speech translator from each arm's encoder, with each seed
    local arm seed begin
    for seed in $2; do
        for arm in $1; do
            case $arm in
            random) begin=() ;;
            ce) begin=(encoder.kind=saved encoder.source="exp/ce/$seed") ;;
            distilled) begin=(recogniser="exp/ot/$seed" distil.teacher=exp/mt) ;;
            *) begin=(recogniser="exp/$arm/$seed") ;;
            esac
            python -m recipes.train_st "$conf/st.yaml" exp="exp/st/$arm/$seed" trainer.seed="$seed" "${begin[@]}"
        done
    done
}

need_lm() { # RECOGNISER LM MANIFEST: said at the start, as the cascade comes after hours of training
    # A recogniser that is not there either is told by what loads it.
    [[ -d $1 && ! -e ${2/#\~\//$HOME/} ]] || return 0
    cat >&2 <<END
${0##*/}: language model $2: no such folder; the cascade decodes with it. Give another as --lm, leave the cascade out
(--stage, --stop_stage), or, after stage 1, build and tune one in $PWD:
    loquela lm build --manifest $3 --split train --policy $1 --out $2
    loquela lm tune --model $1 --lm $2 --manifest $3
END
    exit 2
}

cascade() { # RECOGNISER LM MANIFEST SPLIT: of what is recognised, and of the true transcripts
    python -m recipes.decode_ctc "$1" "$3" --split "$4" --lm "$2" --out exp/cascade/heard.tsv
    python -m recipes.decode_st exp/mt "$3" --split "$4" --texts exp/cascade/heard.tsv --out "exp/cascade/$4.tsv"
    python -m recipes.decode_st exp/mt "$3" --split "$4" --out exp/cascade/gold.tsv
}

decode_arms() { # ARMS SEEDS MANIFEST SPLIT
    local arm seed
    for arm in $1; do
        for seed in $2; do
            if [ ! -d "exp/st/$arm/$seed/model" ]; then
                echo "left out $arm/$seed: exp/st/$arm/$seed has no model" >&2
                continue
            fi
            python -m recipes.decode_st "exp/st/$arm/$seed" "$3" --split "$4" --out "exp/st/$arm/$seed/$4.tsv"
        done
    done
}

score_arms() { # ARMS SEEDS MANIFEST SPLIT: over the seeds, against $base; the cascade, against its own half
    local which
    for which in "" --unseen; do
        python "$ROOT/egs/st_table.py" exp/st "$3" --split "$4" --arms "$1" --seeds "$2" --base "${base:-ctc}" \
            ${which:+"$which"}
    done
    loquela score --translation --reference "$3" --split "$4" --train-manifest "$3" \
        --hypothesis "exp/cascade/$4.tsv" --against exp/cascade/gold.tsv
}

retrieval() { # RECOGNISER SEEDS MANIFEST SPLIT...: before, by CTC alone, with OT, and with the texts of others
    local recogniser=$1 seeds=$2 manifest=$3 arm seed split
    shift 3
    for split in "$@"; do
        find_texts "$recogniser" "$manifest" "$split" exp/mt
        for seed in $seeds; do
            for arm in ctc ot shuffled; do
                find_texts "exp/$arm/$seed" "$manifest" "$split" exp/mt
                find_texts "exp/$arm/$seed" "$manifest" "$split"
            done
        done
    done | tee exp/retrieval.txt
}

find_texts() { # MODEL MANIFEST SPLIT [TRANSLATOR]: by the text encoder of this, or the model's own
    local from=${4:-} found
    # Apart from `local` and `echo`, which would hide that it failed.
    found=$(python -m recipes.retrieve "$1" "$2" --split "$3" ${from:+--text-from "$from"})
    echo "$1 $3, text encoder of ${from:-its own}: $found"
}
