#!/usr/bin/env bash
# Killkan: Kichwa speech to Spanish text (Taguchi et al. 2024, CC BY 4.0), 3.3 hours to train on.
# What does the encoder's pre-training buy: none, cross-entropy, CTC, CTC + optimal transport
# (Le et al. 2023)? The last three go on from the recogniser of egs/killkan, as many updates each.
# --corpus is the folder that holds manifest.tsv, opus/ and recordings/: the clips and chapters of
# github.com/ctaguchi/killkan with a table of id, audio, duration_s, text, translation, split and
# recording (chNN@START-END).
set -euo pipefail
cd "$(dirname "$0")"
stage=1 stop_stage=9
corpus=../../../shared/corpora/killkan
recogniser=../killkan/model
lm=                   # language model of stages 6 and 9 (default: RECOGNISER/lm)
seeds="1 2 3"
arms="random ce ctc ot"
base=ctc              # the arm that stage 7 compares the others with
conf=conf
recording=ch19        # what stage 9 translates
. ./path.sh
. "$ROOT/egs/parse_options.sh"
. "$ROOT/egs/corpus.sh"
. "$ROOT/egs/st_steps.sh"
manifest=data/manifest.tsv
lm=${lm:-$recogniser/lm}
if runs 6 || runs 9; then need_lm "$recogniser" "$lm" "$manifest"; fi

if at 1 "import"; then
    import_corpus "$corpus/manifest.tsv" "$manifest"
fi
if at 2 "text translator: the cascade's second half, the first decoder and text encoder, the teacher"; then
    python -m recipes.train_mt "$conf/mt.yaml" source_from="$recogniser"
fi
if at 3 "pre-train the encoder: cross-entropy, CTC, CTC + OT, and OT with the texts of others (control)"; then
    pretrain_arms "$recogniser" "$seeds"
fi
if at 4 "train each arm with each seed"; then train_arms "$arms" "$seeds"; fi
if at 5 "the last arm again, learning from the text translator too"; then train_arms distilled "$seeds"; fi
if at 6 "cascade"; then cascade "$recogniser" "$lm" "$manifest" test; fi
if at 7 "translate and score"; then
    decode_arms "$arms distilled" "$seeds" "$manifest" test
    score_arms "$arms distilled" "$seeds" "$manifest" test
fi
if at 8 "does speech find its text?"; then retrieval "$recogniser" "$seeds" "$manifest" dev test; fi
if at 9 "translate a whole recording into the linguists' ELAN file"; then
    loquela translate "$corpus/recordings/$recording.ogg" "$corpus/recordings/$recording.eaf" \
        --model "$recogniser" --cascade exp/mt --lm "$lm" --format eaf,json,srt --out exp/translations --overwrite
fi
