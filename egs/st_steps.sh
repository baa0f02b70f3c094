# shellcheck shell=bash
# Steps that the recipes of translation share. Text translator: exp/mt; encoders: exp/ARM; speech
# translators: exp/st/ARM/SEED.

pretrain_arms() { # RECOGNISER: every arm goes on from it, as many updates each
    python -m recipes.train_st conf/st.yaml exp=exp/ce target=text recogniser="$1" decoder_from="''" \
        target_tokenizer.num_pieces=300 trainer.lr=3.0e-4
    python -m recipes.pretrain_siamese conf/pretrain.yaml exp=exp/ctc recogniser="$1" siamese.weight=0
    python -m recipes.pretrain_siamese conf/pretrain.yaml exp=exp/ot recogniser="$1"
    python -m recipes.pretrain_siamese conf/pretrain.yaml exp=exp/shuffled recogniser="$1" siamese.shuffled=true
}

train_arms() { # ARMS SEEDS: a speech translator from each arm's encoder, with each seed
    local arm seed begin
    for seed in $2; do
        for arm in $1; do
            case $arm in
            random) begin=() ;;
            ce) begin=(encoder.kind=saved encoder.source=exp/ce) ;;
            distilled) begin=(recogniser=exp/ot distil.teacher=exp/mt) ;;
            *) begin=(recogniser="exp/$arm") ;;
            esac
            python -m recipes.train_st conf/st.yaml exp="exp/st/$arm/$seed" trainer.seed="$seed" "${begin[@]}"
        done
    done
}

cascade() { # RECOGNISER MANIFEST SPLIT: of what is recognised, and of the true transcripts
    python -m recipes.decode_ctc "$1" "$2" --split "$3" --lm "$1/lm" --out exp/cascade/heard.tsv
    python -m recipes.decode_st exp/mt "$2" --split "$3" --texts exp/cascade/heard.tsv --out "exp/cascade/$3.tsv"
    python -m recipes.decode_st exp/mt "$2" --split "$3" --out exp/cascade/gold.tsv
}

decode_arms() { # ARMS SEEDS MANIFEST SPLIT
    local arm seed
    for arm in $1; do
        for seed in $2; do
            python -m recipes.decode_st "exp/st/$arm/$seed" "$3" --split "$4" --out "exp/st/$arm/$seed/$4.tsv"
        done
    done
}

score_arms() { # ARMS SEEDS MANIFEST SPLIT: each with each seed, against CTC with the same seed
    local arm seed against
    for arm in $1; do
        for seed in $2; do
            against=()
            if [[ $arm != ctc ]]; then against=(--against "exp/st/ctc/$seed/$4.tsv"); fi
            loquela score --translation --reference "$3" --split "$4" --train-manifest "$3" \
                --hypothesis "exp/st/$arm/$seed/$4.tsv" "${against[@]}" | tee "exp/st/$arm/$seed/$4.score.txt"
        done
    done
}

retrieval() { # RECOGNISER MANIFEST SPLIT...: before, by CTC alone, with OT, and with the texts of others
    local recogniser=$1 manifest=$2 arm split
    shift 2
    for split in "$@"; do
        for arm in "$recogniser" exp/ctc exp/ot exp/shuffled; do
            echo "$arm $split, text encoder of exp/mt: $(python -m recipes.retrieve "$arm" "$manifest" --split "$split" --text-from exp/mt)"
        done
        for arm in ctc ot shuffled; do
            echo "$arm $split, its own: $(python -m recipes.retrieve "exp/$arm" "$manifest" --split "$split")"
        done
    done | tee exp/retrieval.txt
}
