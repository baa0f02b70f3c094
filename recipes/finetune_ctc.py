"""Fine-tune an encoder with CTC, train one from scratch, or go on from a recogniser (``recogniser``):
``python -m recipes.finetune_ctc CONFIG key=value ...``.

Reads a manifest, builds the tokenizer from its training split, trains, and leaves in the
experiment folder: the resolved ``config.yaml``, ``model/`` (the best weights on dev),
``checkpoints/`` (to resume from), ``history.jsonl`` and ``tensorboard/``. Run again, it goes on
from the last whole checkpoint.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from asr.cli import guarded
from asr.ctc import CtcConfig, CtcTask
from asr.joint import JointConfig, JointTask
from asr.manifest import languages_of_all
from asr.recipe import announce, run_recipe, train_task
from asr.recogniser import RecogniserConfig, build_recogniser
from asr.trainer_config import TrainerConfig
from asr.training_rows import CorpusConfig, trainable_rows, transcribed_rows


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

    # Model: the labels of a new one are those of the training texts alone.
    model = build_recogniser(config, given, dev)
    model.languages = languages_of_all(given)
    train = trainable_rows(model, given, config.ctc, config.manifest)
    announce(train, dev, model.tokenizer, model)

    # Batches, loss, optimiser, checkpoints: the trainer's loop.
    seed = config.trainer.seed
    if config.joint.weight:
        source = {} if config.recogniser else config.encoder
        task: CtcTask = JointTask(model, train, dev, config.ctc, seed, config.joint, source)
    else:
        task = CtcTask(model, train, dev, config.ctc, seed)
    return train_task(task, config, model.tokenizer)


def main() -> int:
    """Parse, train, print the best evaluation."""
    return run_recipe("finetune_ctc", __doc__, FinetuneConfig, finetune, example="egs/mini/conf/ctc.yaml")


if __name__ == "__main__":
    sys.exit(guarded(main))
