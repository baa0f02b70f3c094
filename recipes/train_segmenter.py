"""Train a segmenter (SHAS): ``python -m recipes.train_segmenter CONFIG key=value ...``.

Reads a manifest whose rows are the segments of long recordings (`audio`, `offset_s`, `duration_s`), and leaves in
the experiment folder ``model/``, which `loquela segment` and `loquela transcribe` take as ``--segmenter-model``.
Run again, it goes on from the last whole checkpoint.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from asr.cli import guarded
from asr.encoder import build_encoder
from asr.manifest import read_manifest
from asr.recipe import run_recipe, train_task
from asr.segment.classifier import FrameClassifier
from asr.segment.task import SegmenterTask, WindowConfig, recordings, refuse_shared
from asr.trainer_config import TrainerConfig
from asr.training_rows import SplitsConfig
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """What stands on the encoder."""

    layer: int = 0
    """Layer of the encoder that is listened to, the further ones being left out (SHAS: 15 of XLS-R 300M); 0 for
    all of them."""
    frozen: bool = True
    """Leave the encoder as it is; a small one from scratch must learn."""
    num_layers: int = 1
    """Transformer layers (SHAS: 1 for one language, 2 for several)."""
    num_heads: int = 8
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name, least in {"layer": 0, "num_layers": 0, "num_heads": 1}.items():
            if getattr(self, name) < least:
                raise InputError(f"classifier.{name} is {getattr(self, name)}. Give a number from {least}.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"classifier.dropout is {self.dropout}. Give a probability below 1.")


@dataclass(frozen=True, kw_only=True)
class SegmenterRecipe(SplitsConfig):
    """Everything that a run follows from."""

    exp: Path
    encoder: dict[str, Any] = field(default_factory=lambda: {"kind": "conformer"})
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def train_segmenter(config: SegmenterRecipe) -> dict[str, float]:
    """Train; returns the best evaluation on dev."""
    torch.manual_seed(config.trainer.seed)

    # Manifest: where the segments lie in their recordings; texts do not matter.
    splits = (config.train_split, config.dev_split)
    refuse_shared(read_manifest(config.manifest, corpus=config.corpus), splits)
    train, dev = (recordings(config.rows(split), config.windows.shortest_s) for split in splits)

    # Model: an encoder up to the wanted layer, and a classifier of its frames.
    encoder = build_encoder(config.encoder)
    settings = config.classifier
    if settings.layer:
        encoder.keep_layers(settings.layer)
    model = FrameClassifier(
        encoder,
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        dropout=settings.dropout,
        frozen=settings.frozen,
    )

    # Batches, loss, optimiser, checkpoints: the trainer's loop.
    task = SegmenterTask(model, train, dev, config.windows, config.trainer.seed)
    hours = sum(each.whole.duration_s for each in train) / 3600
    sizes = [parameter.numel() / 1e6 for parameter in model.parameters()]
    print(
        f"{len(train)} recordings, {hours:.2f} h, {task.speech_share:.1%} of it in segments; {len(dev)} dev; "
        f"{sum(sizes):.2f} M parameters",
        file=sys.stderr,
    )
    return train_task(task, config)


def main() -> int:
    """Parse, train, print the best evaluation."""
    return run_recipe(
        "train_segmenter",
        __doc__,
        SegmenterRecipe,
        train_segmenter,
        example="egs/longform/conf/segmenter.yaml",
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
