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
from torch import Tensor

from asr.cli import guarded
from asr.encoder import build_encoder
from asr.encoder.saved import saved_objective
from asr.manifest import total_hours
from asr.pretrain.objectives import ObjectiveConfig, PretrainModel, sized_for
from asr.pretrain.task import PretrainDataConfig, PretrainTask
from asr.recipe import SplitsConfig, run_recipe, train_task
from asr.trainer import TrainerConfig
from lm.errors import InputError


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
    """Keep a pretrained convolutional feature extractor as it is."""
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
    found = {} if config.fresh_objective else source_objective(config)
    config = replace(config, objective=sized_for(config.objective, found))
    model = PretrainModel(build_encoder(config.encoder), config.objective)
    if config.freeze_features:
        model.encoder.freeze_features()
    if found:
        take_objective(model, found, config)
    size = sum(parameter.numel() for parameter in model.encoder.parameters()) / 1e6
    print(
        f"{len(train)} training utterances, {total_hours(train):.2f} h; {len(dev)} dev; "
        f"{config.objective.kind}; encoder of {size:.1f} M parameters",
        file=sys.stderr,
    )

    # Batches, loss, optimiser, checkpoints: the trainer's loop.
    task = PretrainTask(model, train, dev, config.data, config.trainer.seed)
    return train_task(task, config)


def source_objective(config: PretrainConfig) -> dict[str, Tensor]:
    """Weights that the encoder's source was pretrained with, beside its own; empty where it brings none."""
    source = config.encoder.get("source", "")
    if config.encoder.get("kind") == "saved":
        return saved_objective(source)
    if config.encoder.get("kind") == "pretrained" and config.objective.kind == "wav2vec2":
        from asr.encoder.pretrained import published_objective

        return published_objective(source)
    return {}


def take_objective(model: PretrainModel, found: dict[str, Tensor], config: PretrainConfig) -> None:
    """Give the objective the weights that its source was pretrained with.

    Raises:
        InputError: they are of another objective.
    """
    own = model.objective.state_dict()
    for name in sorted(own.keys() | found.keys()):
        ours, theirs = own.get(name), found.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            has = "none" if theirs is None else str(tuple(theirs.shape))
            wants = "none" if ours is None else str(tuple(ours.shape))
            raise InputError(
                f"{config.encoder['source']} was pretrained with another objective: for {name} it has {has}, "
                f"objective.kind={config.objective.kind} with these settings wants {wants}. "
                "Give its own objective.kind, or set fresh_objective=true."
            )
    model.objective.load_state_dict(found)


def main() -> int:
    """Parse, train, print the best evaluation."""
    return run_recipe("pretrain", __doc__, PretrainConfig, pretrain, example="egs/adapt/conf/pretrain.yaml")


if __name__ == "__main__":
    sys.exit(guarded(main))
