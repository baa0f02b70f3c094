"""Fine-tune an encoder with CTC, or train one from scratch: ``python -m recipes.finetune_ctc CONFIG key=value ...``.

Reads a manifest, builds the tokenizer from its training split, trains, and leaves in the
experiment folder: the resolved ``config.yaml``, ``model/`` (the best weights on dev),
``checkpoints/`` (to resume from), ``history.jsonl`` and ``tensorboard/``. Run again, it goes on
from the last whole checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from asr.cli import guarded
from asr.config import load_config, save_config
from asr.ctc import CtcConfig, CtcTask, trainable
from asr.joint import JointConfig, JointTask
from asr.mixing import warn_of_lost_groups
from asr.recipe import CorpusConfig, RecogniserConfig, announce, build_recogniser, transcribed_rows
from asr.trainer import Trainer, TrainerConfig
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(CorpusConfig, RecogniserConfig):
    """Everything that a run follows from."""

    exp: Path
    ctc: CtcConfig = field(default_factory=CtcConfig)
    joint: JointConfig = field(default_factory=JointConfig)
    """A self-supervised loss on the same audio, for training on pseudo-labels."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def finetune(config: FinetuneConfig) -> dict[str, float]:
    """Train; returns the best evaluation on dev."""
    torch.manual_seed(config.trainer.seed)

    # Manifest: only rows with a text can be learned from or scored.
    given, dev = transcribed_rows(config)

    # Model: its labels are those of the training texts alone.
    model = build_recogniser(config, given, dev)
    train, reasons = trainable(model, given, config.ctc.augment)
    for reason in reasons:
        print(f"left out {reason}", file=sys.stderr)
    if not train:
        raise InputError(f"manifest {config.manifest}: no training utterance is left. See the reasons above.")
    warn_of_lost_groups(given, train, config.ctc.mix.levels)
    announce(train, dev, model.tokenizer, model)

    # Batches, loss, optimiser, checkpoints: the trainer's loop.
    seed = config.trainer.seed
    if config.joint.weight:
        task: CtcTask = JointTask(model, train, dev, config.ctc, seed, config.joint)
    else:
        task = CtcTask(model, train, dev, config.ctc, seed)
    trainer = Trainer(task, config.trainer, config.exp)
    # Written only now: an experiment of other settings would have been refused.
    config.exp.mkdir(parents=True, exist_ok=True)
    save_config(config, config.exp / "config.yaml")
    model.tokenizer.save(config.exp / "tokenizer.json")
    return trainer.run()


def main() -> int:
    """Parse, train, print the best evaluation."""
    parser = argparse.ArgumentParser(prog="python -m recipes.finetune_ctc", description=__doc__)
    parser.add_argument("config", help="YAML file, as egs/mini/conf/ctc.yaml")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to change, as trainer.lr=1e-4"
    )
    args = parser.parse_args()
    best = finetune(load_config(FinetuneConfig, args.config, args.overrides))
    print("best on dev: " + ", ".join(f"{name} {value:.4g}" for name, value in best.items()))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
