"""Pre-train a speech encoder for translation, with CTC and optimal transport: ``python -m recipes.pretrain_siamese``.

Le et al. 2023. Leaves what recipes.finetune_ctc leaves: a recogniser, which recipes.train_st begins with; the text
encoder lies beside it, for recipes.retrieve. With siamese.weight=0 it is CTC alone, the paper's baseline. The other
baseline, cross-entropy, is recipes.train_st with target=text. Run again, it goes on from the last whole checkpoint.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from asr.card import own_folder
from asr.cli import guarded
from asr.ctc import CtcConfig
from asr.manifest import languages_of_all
from asr.recipe import announce, run_recipe, train_task
from asr.recogniser import RecogniserConfig, build_recogniser, make_recogniser
from asr.trainer_config import TrainerConfig
from asr.training_rows import CorpusConfig, trainable_rows, transcribed_rows
from lm.errors import InputError
from st.languages import refuse_other_code, refuse_other_languages
from st.model import TextTranslator, load_translator
from st.recipe import check_written
from st.siamese import SiameseConfig, SiameseTask


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(CorpusConfig, RecogniserConfig):
    """Everything that a run follows from; with a text translator of ours as siamese.text_from, the labels are its."""

    exp: Path
    ctc: CtcConfig = field(default_factory=CtcConfig)
    siamese: SiameseConfig = field(default_factory=SiameseConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def pretrain(config: PretrainConfig) -> dict[str, float]:
    """Train; returns the best evaluation on dev."""
    torch.manual_seed(config.trainer.seed)
    given, dev = transcribed_rows(config)
    labels = None
    name = f"siamese.text_from {config.siamese.text_from}"
    refuse_other_code("siamese.language", config.siamese.language, given, target=False)
    if config.siamese.text_from and own_folder(config.siamese.text_from):
        text = load_translator(config.siamese.text_from)
        if not isinstance(text, TextTranslator):
            raise InputError(f"{name} translates speech. Give one of text.")
        refuse_other_languages(name, text, given, target=False)
        labels = text.source
    if labels and not config.recogniser:
        check_written(name, labels, given, dev)
        model = make_recogniser(config, labels)
    else:
        model = build_recogniser(config, given, dev)
    model.languages = languages_of_all(given)
    train = trainable_rows(model, given, config.ctc, config.manifest)
    task = SiameseTask(model, train, dev, config.ctc, config.trainer.seed, config.siamese)
    announce(train, dev, model.tokenizer, task.model)
    return train_task(task, config, model.tokenizer)


def main() -> int:
    """Parse, train, print the best evaluation."""
    example = "egs/killkan_es/conf/pretrain.yaml"
    return run_recipe(
        "pretrain_siamese", __doc__, PretrainConfig, pretrain, example=example, change="siamese.weight=0"
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
