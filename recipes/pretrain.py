"""Pretrain an encoder on audio without texts: ``python -m recipes.pretrain CONFIG key=value ...``.

From scratch, or going on from a published or an earlier encoder (continued pretraining): its
weights, and its quantiser where it has one, are taken; optimiser and schedule begin anew. Leaves
in the experiment folder what fine-tuning leaves, and in ``model/`` the encoder, which fine-tuning
takes with ``encoder: {kind: saved, source: EXP}``. Run again, it goes on from the last whole
checkpoint.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from asr.cli import guarded
from asr.encoder import build_encoder
from asr.manifest import total_hours
from asr.pretrain.objectives import ObjectiveConfig
from asr.pretrain.source import with_objective
from asr.pretrain.task import PretrainDataConfig, PretrainTask
from asr.recipe import run_recipe, train_task
from asr.recogniser import freeze_features, has_weights
from asr.trainer_config import TrainerConfig
from asr.training_rows import SplitsConfig


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(SplitsConfig):
    """Everything that a run follows from."""

    exp: Path
    encoder: dict[str, Any] = field(default_factory=lambda: {"kind": "conformer"})
    """From scratch: a kind and its settings. Going on: ``{kind: saved, source: EXP}``, or
    ``{kind: pretrained, source: facebook/wav2vec2-xls-r-300m}`` by hub name, folder or fairseq's .pt."""
    fresh_objective: bool = False
    """Begin with new heads and quantiser even where the source brings its own."""
    freeze_features: bool = False
    """Keep a pretrained convolutional feature extractor as it is; one from scratch learns."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    data: PretrainDataConfig = field(default_factory=PretrainDataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def pretrain(config: PretrainConfig) -> dict[str, float]:
    """Train; returns the best evaluation on dev."""
    torch.manual_seed(config.trainer.seed)

    # Manifest: texts do not matter.
    train = config.rows(config.train_split)
    dev = config.rows(config.dev_split)

    # Model: the encoder, and what the objective needs beside it, of the sizes that the source has.
    source = {} if config.fresh_objective else config.encoder
    model = with_objective(build_encoder(config.encoder), config.objective, source)
    config = replace(config, objective=model.objective.config)
    if config.freeze_features and has_weights(config.encoder):
        freeze_features(model.encoder)
    size = sum(parameter.numel() for parameter in model.encoder.parameters()) / 1e6
    print(
        f"{len(train)} training utterances, {total_hours(train):.2f} h; {len(dev)} dev; "
        f"{config.objective.kind}; encoder of {size:.1f} M parameters",
        file=sys.stderr,
    )

    # Batches, loss, optimiser, checkpoints: the trainer's loop.
    task = PretrainTask(model, train, dev, config.data, config.trainer.seed)
    return train_task(task, config)


def main() -> int:
    """Parse, train, print the best evaluation."""
    return run_recipe("pretrain", __doc__, PretrainConfig, pretrain, example="egs/adapt/conf/pretrain.yaml")


if __name__ == "__main__":
    sys.exit(guarded(main))
