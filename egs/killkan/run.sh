#!/usr/bin/env bash
# Killkan: Ecuadorian Kichwa radio drama (Taguchi et al. 2024, CC BY 4.0), 3.4 hours to train on.
# From scratch, on its own training data alone. Chapters 1-17 train, 18 dev, 19 test.
# --corpus is the folder that holds manifest.tsv, opus/ and recordings/: the clips and chapters of
# github.com/ctaguchi/killkan with a table of id, audio, duration_s, text, translation, split and
# recording (chNN@START-END).
set -euo pipefail
cd "$(dirname "$0")"
stage=1 stop_stage=10
corpus=../../../shared/corpora/killkan
exp=exp/ctc
recording=ch19        # what stage 10 transcribes, beside the linguists' tiers
. ./path.sh
. "$ROOT/egs/parse_options.sh"
. "$ROOT/egs/corpus.sh"
. "$ROOT/egs/steps.sh"
manifest=data/manifest.tsv

if at 1 "import"; then
    import_corpus "$corpus/manifest.tsv" "$manifest"
fi
if at 2 "check"; then
    # What it finds (jingles shared by the splits, a few marks) is the corpus's own: see RESULTS.md.
    check_corpus "$manifest"
    loquela corpus stats "$manifest"
fi
if at 3 "train: tokenizer of the training split, conformer, CTC"; then
    python -m recipes.finetune_ctc conf/ctc.yaml manifest="$manifest" exp="$exp"
fi
if at 4 "language models of the training texts"; then
    loquela lm build --manifest "$manifest" --split train --policy "$exp/tokenizer.json" \
        --word-order 3 --character-order 6 --out "$exp/lm" --overwrite
    loquela lm eval --lm "$exp/lm" --manifest "$manifest" --split dev
fi
if at 5 "tune the decoder on dev"; then tune_decoder "$exp" "$manifest"; fi
if at 6 "decode dev and test"; then decode_splits "$exp" "$manifest" dev test; fi
if at 7 "score"; then score_splits "$exp" "$manifest" dev test; fi
if at 8 "pack the model with its language model"; then
    python -m recipes.pack "$exp" --lm "$exp/lm" --card local/model_card.md --out "$exp/packed"
fi
if at 9 "score what is packed"; then
    python -m recipes.decode_ctc "$exp/packed" "$manifest" --split test --lm "$exp/packed/lm" \
        --out "$exp/test.packed.tsv"
    loquela score --reference "$manifest" --split test --policy "$exp/tokenizer.json" \
        --hypothesis "$exp/test.packed.tsv"
fi
if at 10 "transcribe a whole recording into the linguists' ELAN file"; then
    loquela transcribe "$corpus/recordings/$recording.ogg" "$corpus/recordings/$recording.eaf" \
        --model "$exp/packed" --format eaf,json,TextGrid --out "$exp/transcripts" --overwrite
    loquela score --recording-level --reference "$corpus/recordings/$recording.eaf" --tier default \
        --policy "$exp/tokenizer.json" --hypothesis "$exp/transcripts/$recording.json"
fi
