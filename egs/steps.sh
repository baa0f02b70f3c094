# shellcheck shell=bash
# Steps that the corpora's recipes share; each takes the experiment folder and the manifest.

tune_decoder() { # EXP MANIFEST: weights for words, for characters and for both, on dev; the best is saved
    loquela lm tune --model "$1" --lm "$1/lm" --manifest "$2" --table "$1/tune.tsv" | tee "$1/tune.json"
}

decode_splits() { # EXP MANIFEST SPLIT...: greedy, each language model alone, both
    local exp=$1 manifest=$2 split units
    shift 2
    for split in "$@"; do
        python -m recipes.decode_ctc "$exp" "$manifest" --split "$split" --out "$exp/$split.greedy.tsv"
        for units in word character both; do
            python -m recipes.decode_ctc "$exp" "$manifest" --split "$split" --lm "$exp/lm" \
                --units "$units" --tuned "$exp/tune.json" --out "$exp/$split.$units.tsv"
        done
    done
}

score_splits() { # EXP MANIFEST SPLIT...: each system, those with a language model against greedy
    local exp=$1 manifest=$2 split units
    shift 2
    for split in "$@"; do
        loquela score --reference "$manifest" --split "$split" --policy "$exp/tokenizer.json" \
            --hypothesis "$exp/$split.greedy.tsv"
        for units in word character both; do
            loquela score --reference "$manifest" --split "$split" --policy "$exp/tokenizer.json" \
                --hypothesis "$exp/$split.$units.tsv" --against "$exp/$split.greedy.tsv"
        done
    done
}
