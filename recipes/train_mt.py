"""Train a small text translator on the texts of a manifest: ``python -m recipes.train_mt CONFIG key=value ...``.

From transcripts to translations; for cascades, and as a beginning for the decoder of recipes.train_st and the
text encoder of recipes.pretrain_siamese. ``source_from`` takes the source labels of a recogniser, so that
both read the same. Run again, it goes on from the last whole checkpoint.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from asr.card import model_folder
from asr.cli import guarded
from asr.ctc import encoded
from asr.manifest import normalised_text
from asr.model import load_model
from asr.recipe import announce, run_recipe, train_task
from asr.recogniser import TokenizerConfig, build_tokenizer
from asr.text import TextPolicy
from asr.trainer_config import TrainerConfig
from asr.training_rows import CorpusConfig, say_left_out
from lm.errors import InputError
from st.decoder import DecoderConfig
from st.languages import language_pair
from st.model import TextTranslator
from st.mt import MtConfig, TextTranslationTask
from st.recipe import TargetConfig, check_written, translated_rows
from st.text_encoder import TextEncoderConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig(CorpusConfig, TargetConfig):
    """Everything that a run follows from."""

    exp: Path
    max_duration_s: float = math.inf
    """Longer training utterances are left out; of their texts alone, none need be."""
    policy: TextPolicy = field(default_factory=TextPolicy)
    """Of the transcripts."""
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    source_from: str = ""
    """Folder of a recogniser whose labels to read; empty makes them of the transcripts."""
    encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    mt: MtConfig = field(default_factory=MtConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def train(config: TrainConfig) -> dict[str, float]:
    """Train; returns the best evaluation on dev."""
    torch.manual_seed(config.trainer.seed)
    rows, dev = translated_rows(config, need_text=True)
    if config.source_from:
        source = load_model(model_folder(config.source_from)).tokenizer
        check_written(f"source_from {config.source_from}", source, rows, dev)
    else:
        texts = [[normalised_text(row, config.policy) for row in part] for part in (rows, dev)]
        languages = (row.language for row in rows)
        source = build_tokenizer(config.tokenizer, config.policy, *texts, languages=languages)
    translations = [[config.target_policy(row.translation) for row in part] for part in (rows, dev)]
    target = build_tokenizer(config.target_tokenizer, config.target_policy, *translations)
    parts = {config.train_split: rows, config.dev_split: dev}
    rows, dev = ([row for row in part if encoded(source, row)] for part in (rows, dev))
    for (name, part), left in zip(parts.items(), (rows, dev), strict=True):
        say_left_out(name, part, left, "whose text no label writes")
    if not rows or not dev:
        raise InputError(f"manifest {config.manifest}: nothing of its texts is left after normalisation.")
    model = TextTranslator(source, target, config.encoder, config.decoder)
    model.languages = language_pair(rows)
    announce(rows, dev, target, model)

    task = TextTranslationTask(model, rows, dev, config.mt, config.trainer.seed)
    return train_task(task, config)


def main() -> int:
    """Parse, train, print the best evaluation."""
    return run_recipe("train_mt", __doc__, TrainConfig, train, example="egs/killkan_es/conf/mt.yaml")


if __name__ == "__main__":
    sys.exit(guarded(main))
