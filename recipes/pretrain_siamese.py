"""Pre-train a speech encoder for translation, with CTC and optimal transport: ``python -m recipes.pretrain_siamese``.

Le et al. 2023. Leaves what recipes.finetune_ctc leaves: a recogniser, which recipes.train_st begins with; the text
encoder lies beside it, for recipes.retrieve. With siamese.weight=0 it is CTC alone, the paper's baseline. The other
baseline, cross-entropy, is recipes.train_st with target=text. Run again, it goes on from the last whole checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from asr.card import model_folder
from asr.cli import guarded
from asr.config import load_config, save_config
from asr.ctc import CtcConfig, trainable
from asr.mixing import warn_of_lost_groups
from asr.model import load_model
from asr.recipe import (
    CorpusConfig,
    RecogniserConfig,
    announce,
    build_recogniser,
    make_recogniser,
    transcribed_rows,
)
from asr.trainer import Trainer, TrainerConfig
from lm.errors import InputError
from st.model import TextTranslator, load_translator
from st.siamese import SiameseConfig, SiameseTask


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(CorpusConfig, RecogniserConfig):
    """Everything that a run follows from; with siamese.text_from, the labels are those of that model."""

    exp: Path
    recogniser: str = ""
    """Folder of a recogniser to begin with: encoder, output layer and labels. Empty makes them of the rest."""
    ctc: CtcConfig = field(default_factory=CtcConfig)
    siamese: SiameseConfig = field(default_factory=SiameseConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def pretrain(config: PretrainConfig) -> dict[str, float]:
    """Train; returns the best evaluation on dev."""
    torch.manual_seed(config.trainer.seed)
    given, dev = transcribed_rows(config)
    if config.recogniser:
        model = load_model(model_folder(config.recogniser)).train()
    elif config.siamese.text_from:
        text = load_translator(config.siamese.text_from)
        if not isinstance(text, TextTranslator):
            raise InputError(
                f"siamese.text_from {config.siamese.text_from} translates speech. Give one of text."
            )
        model = make_recogniser(config, text.source)
    else:
        model = build_recogniser(config, given, dev)
    train, reasons = trainable(model, given, config.ctc.augment)
    for reason in reasons:
        print(f"left out {reason}", file=sys.stderr)
    if not train:
        raise InputError(f"manifest {config.manifest}: no training utterance is left. See the reasons above.")
    warn_of_lost_groups(given, train, config.ctc.mix.levels)
    task = SiameseTask(model, train, dev, config.ctc, config.trainer.seed, config.siamese)
    announce(train, dev, model.tokenizer, task.model)

    trainer = Trainer(task, config.trainer, config.exp)
    # Written only now: an experiment of other settings would have been refused.
    config.exp.mkdir(parents=True, exist_ok=True)
    save_config(config, config.exp / "config.yaml")
    model.tokenizer.save(config.exp / "tokenizer.json")
    return trainer.run()


def main() -> int:
    """Parse, train, print the best evaluation."""
    parser = argparse.ArgumentParser(prog="python -m recipes.pretrain_siamese", description=__doc__)
    parser.add_argument("config", help="YAML file, as egs/killkan_es/conf/siamese.yaml")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to change, as siamese.weight=0"
    )
    args = parser.parse_args()
    best = pretrain(load_config(PretrainConfig, args.config, args.overrides))
    print("best on dev: " + ", ".join(f"{name} {value:.4g}" for name, value in best.items()))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
