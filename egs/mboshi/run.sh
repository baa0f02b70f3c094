#!/usr/bin/env bash
# Mboshi-French (Godard et al. 2018): elicited Mboshi, 4.0 hours to train on, three speakers.
# From scratch, on its own training data alone. The published dev is the test here, and is
# selected on by nobody: stage 1 carves a dev split from the training sessions.
# --corpus is the folder that holds manifest.tsv and opus/: the sound of
# github.com/besacier/mboshi-french-parallel-corpus with a table of id, audio, duration_s, text,
# translation, speaker and split. The corpus has no licence, so nothing that is made of it is shipped.
set -euo pipefail
cd "$(dirname "$0")"
stage=1 stop_stage=8
corpus=../../../shared/corpora/mboshi
exp=exp/ctc
. ./path.sh
. "$ROOT/egs/parse_options.sh"
. "$ROOT/egs/corpus.sh"
. "$ROOT/egs/steps.sh"
manifest=data/manifest.tsv

if at 1 "import; carve dev from the training sessions"; then
    import_corpus "$corpus/manifest.tsv" data/published.tsv
    python local/carve_dev.py data/published.tsv "$manifest"
fi
if at 2 "check"; then
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
if at 6 "decode dev and the published dev (test here)"; then decode_splits "$exp" "$manifest" dev test; fi
if at 7 "score"; then score_splits "$exp" "$manifest" dev test; fi
if at 8 "transcribe one session to ELAN"; then
    # The sessions are cut into utterances; those of one, laid end to end, stand for a recording.
    python local/join_session.py "$manifest" "$exp/session"
    loquela transcribe "$exp/session/session.wav" --model "$exp" --lm "$exp/lm" \
        --format eaf,json --out "$exp/transcripts" --overwrite
    loquela score --recording-level --reference "$exp/session/manifest.tsv" \
        --policy "$exp/tokenizer.json" --hypothesis "$exp/transcripts/session.json"
fi
