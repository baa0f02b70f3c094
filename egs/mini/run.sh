#!/usr/bin/env bash
# Mini, from nothing to a scored recogniser: synthetic speech in three languages (Guarani, Maori,
# Southern Quechua), 29 minutes of training audio. For showing and testing; it says nothing about
# how well real speech is recognised. Stage 1 alone needs espeak-ng (apt-get install espeak-ng);
# the corpus lies in the repository, so the other stages do without.
set -euo pipefail
cd "$(dirname "$0")"
stage=2 stop_stage=9
seed=1
exp=exp/ctc
data=data
. ./path.sh
. "$ROOT/egs/parse_options.sh"

if at 1 "make the corpus again from the seed"; then
    python local/make_corpus.py --out . --seed "$seed"
fi
if at 2 "check"; then
    loquela corpus check "$data/manifest.tsv"
    loquela corpus stats "$data/manifest.tsv"
fi
if at 3 "train"; then
    python -m recipes.finetune_ctc conf/ctc.yaml manifest="$data/manifest.tsv" exp="$exp" trainer.seed="$seed"
fi
if at 4 "language model"; then
    loquela lm build --manifest "$data/manifest.tsv" --split train --policy "$exp/tokenizer.json" \
        --word-order 3 --character-order 5 --character-prune 0 0 0 1 --binary --out "$exp/lm" --overwrite
    loquela lm eval --lm "$exp/lm" --manifest "$data/manifest.tsv" --split dev
fi
if at 5 "tune the decoder on dev"; then
    loquela lm tune --model "$exp" --lm "$exp/lm" --manifest "$data/manifest.tsv" --table "$exp/tune.tsv"
fi
if at 6 "decode test"; then
    python -m recipes.decode_ctc "$exp" "$data/manifest.tsv" --split test --out "$exp/test.greedy.tsv"
    python -m recipes.decode_ctc "$exp" "$data/manifest.tsv" --split test --lm "$exp/lm" --out "$exp/test.lm.tsv"
fi
if at 7 "score"; then
    loquela score --reference "$data/manifest.tsv" --split test --hypothesis "$exp/test.greedy.tsv" --policy "$exp/tokenizer.json"
    loquela score --reference "$data/manifest.tsv" --split test --hypothesis "$exp/test.lm.tsv" --policy "$exp/tokenizer.json" \
        --against "$exp/test.greedy.tsv" --by language
fi
if at 8 "pack the model"; then
    python -m recipes.pack "$exp" --lm "$exp/lm" --card local/model_card.md --out "$exp/packed"
fi
if at 9 "transcribe the demo recording with the packed model"; then
    loquela transcribe demo/talk.ogg --model "$exp/packed" --format eaf,srt,json --out "$exp/demo" --overwrite
    loquela score --reference demo/talk.reference.tsv --hypothesis "$exp/demo/talk.json" --recording-level --policy "$exp/tokenizer.json"
fi
