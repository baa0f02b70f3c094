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
from typing import Any, Literal

import torch

from asr.cli import guarded
from asr.config import load_config, save_config
from asr.ctc import CtcConfig, CtcTask, trainable
from asr.encoder import build_encoder
from asr.encoder.lora import LoraSettings, add_adapters
from asr.joint import JointConfig, JointTask
from asr.manifest import read_manifest, total_hours, with_text
from asr.mixing import warn_of_lost_groups
from asr.model import CTCModel
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer, character_tokenizer, code_point, piece_tokenizer
from asr.trainer import Trainer, TrainerConfig
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """Labels of the model."""

    unit: Literal["character", "piece"] = "character"
    num_pieces: int = 256
    """Labels of a sentencepiece tokenizer, the blank included."""
    min_count: int = 1
    """Characters rarer than this in the training texts get no label."""
    language_labels: bool = False
    """Open every text with a silent label of its language (the manifest's column), so that the model tells
    languages apart that share an alphabet."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything that a run follows from."""

    manifest: Path
    exp: Path
    corpus: str = ""
    """Folder that relative audio paths start from; the manifest's own when empty."""
    train_split: str = "train"
    dev_split: str = "dev"
    languages: tuple[str, ...] = ()
    """Train on these alone; empty takes all. Dev keeps every language."""
    max_duration_s: float = 30.0
    """Longer training utterances are left out."""
    policy: TextPolicy = field(default_factory=TextPolicy)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    encoder: dict[str, Any] = field(default_factory=lambda: {"kind": "conformer"})
    """Kind and settings of the encoder: a conformer from scratch, or a checkpoint by name."""
    freeze_features: bool = True
    """Keep a pretrained convolutional feature extractor as it is (wav2vec 2.0 always does)."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Low-rank adapters instead of the whole encoder, for large ones on small GPUs."""
    head_dropout: float = 0.1
    emissions_per_frame: int = 1
    """Times that the output layer emits for each frame of the encoder; 2 where 25 frames a second are too few
    for fast speech."""
    ctc: CtcConfig = field(default_factory=CtcConfig)
    joint: JointConfig = field(default_factory=JointConfig)
    """A self-supervised loss on the same audio, for training on pseudo-labels."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def finetune(config: FinetuneConfig) -> dict[str, float]:
    """Train; returns the best evaluation on dev."""
    torch.manual_seed(config.trainer.seed)

    # Manifest: only rows with a text can be learned from or scored.
    train = with_text(read_manifest(config.manifest, split=config.train_split, corpus=config.corpus))
    dev = with_text(read_manifest(config.manifest, split=config.dev_split, corpus=config.corpus))
    train = [utterance for utterance in train if utterance.duration_s <= config.max_duration_s]
    if config.languages:
        train = [utterance for utterance in train if utterance.language in config.languages]
    if not train or not dev:
        raise InputError(
            f"manifest {config.manifest}: {len(train)} training and {len(dev)} dev rows with text. Both are needed."
        )

    # Tokenizer: from the training texts alone.
    texts = [utterance.text for utterance in train]
    tokenizer = make_tokenizer(config, texts)
    if config.tokenizer.language_labels:
        tokenizer = tokenizer.with_languages(utterance.language for utterance in train)
    unseen = tokenizer.unknown(utterance.text for utterance in dev)
    for char, count in unseen.most_common():
        print(f"dev has {count} x {code_point(char)}, which training never saw", file=sys.stderr)

    # Model.
    model = CTCModel(
        build_encoder(config.encoder),
        tokenizer,
        dropout=config.head_dropout,
        per_frame=config.emissions_per_frame,
    )
    if config.freeze_features:
        model.encoder.freeze_features()
    if config.lora.rank:
        add_adapters(model.encoder, config.lora)
    given = train
    train, reasons = trainable(model, given, config.ctc.augment)
    for reason in reasons:
        print(f"left out {reason}", file=sys.stderr)
    if not train:
        raise InputError(f"manifest {config.manifest}: no training utterance is left. See the reasons above.")
    warn_of_lost_groups(given, train, config.ctc.mix.levels)
    sizes = [(parameter.numel() / 1e6, parameter.requires_grad) for parameter in model.parameters()]
    print(
        f"{len(train)} training utterances, {total_hours(train):.2f} h; {len(dev)} dev; "
        f"{len(tokenizer)} labels ({''.join(tokenizer.surfaces[:40])}); "
        f"{sum(size for size, _ in sizes):.1f} M parameters, {sum(s for s, learns in sizes if learns):.1f} M learn",
        file=sys.stderr,
    )

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
    tokenizer.save(config.exp / "tokenizer.json")
    return trainer.run()


def make_tokenizer(config: FinetuneConfig, texts: list[str]) -> Tokenizer:
    """The tokenizer that the configuration asks for."""
    if config.tokenizer.unit == "piece":
        return piece_tokenizer(texts, config.policy, num_pieces=config.tokenizer.num_pieces)
    return character_tokenizer(texts, config.policy, min_count=config.tokenizer.min_count)


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
