#!/usr/bin/env bash
# Mini, translated: synthetic speech in Guarani, Maori and Southern Quechua to English text, from the
# recogniser of egs/mini. For showing and testing; it says nothing about real speech. The corpus lies
# in the repository.
set -euo pipefail
cd "$(dirname "$0")"
stage=1 stop_stage=5
. ./path.sh
. "$ROOT/egs/parse_options.sh"
manifest=../mini/data/manifest.tsv

if at 1 "text translator, of the corpus's sentences and more from its grammars; packed as it is bundled"; then
    python local/more_texts.py "$manifest" 12000 data/texts.tsv
    python -m recipes.train_mt conf/mt.yaml source_from=../mini/model
    python -m recipes.pack exp/mt --card local/model_card.md --out exp/packed
fi
if at 2 "speech translator"; then python -m recipes.train_st conf/st.yaml; fi
if at 3 "translate test: end to end, and the cascade"; then
    python -m recipes.decode_st exp/st "$manifest" --split test --out exp/test.st.tsv
    python -m recipes.decode_ctc ../mini/model "$manifest" --split test --lm ../mini/model/lm --out exp/test.heard.tsv
    python -m recipes.decode_st exp/mt "$manifest" --split test --texts exp/test.heard.tsv --out exp/test.cascade.tsv
fi
if at 4 "score"; then
    loquela score --translation --reference "$manifest" --split test --train-manifest "$manifest" \
        --hypothesis exp/test.st.tsv --against exp/test.cascade.tsv
fi
if at 5 "translate the demo recording: end to end, and the cascade"; then
    for way in "--model exp/st" "--model ../mini/model --cascade exp/packed"; do
        read -ra models <<<"$way"
        loquela translate ../mini/demo/talk.ogg "${models[@]}" --format eaf,srt,json --out exp/demo --overwrite
        loquela score --translation --recording-level --reference ../mini/demo/talk.reference.tsv --hypothesis exp/demo/talk.json
    done
fi
