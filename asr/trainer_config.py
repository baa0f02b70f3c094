"""Settings of the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, how fast, how often."""

    updates: int = 20_000
    """Optimiser updates in all."""
    lr: float = 1e-3
    """Peak learning rate. Fine-tuning a pretrained encoder: 3e-5 to 3e-4 (XLS-R)."""
    warmup: float = 0.1
    """Share of the updates with a rising rate (tri-stage; wav2vec 2.0 fine-tuning: 0.1/0.4/0.5)."""
    hold: float = 0.4
    """Share of the updates at the peak; the rest decays exponentially."""
    final_lr_scale: float = 0.05
    """Last learning rate over the peak."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` makes the update of each hidden matrix orthogonal, at the size of AdamW's, so that ``lr`` means
    the same; AdamW keeps the output layer and the rest. From scratch it needs far fewer updates."""
    beta1: float = 0.9
    beta2: float = 0.98
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    """Largest gradient norm; steeper ones are scaled down. 0 scales none."""
    accumulate: int = 1
    """Batches per update, of each process; they weigh alike in it, whatever each of them holds."""
    loader_threads: int = 1
    freeze_updates: int = 0
    """Updates during which only the output layer learns (wav2vec 2.0 10 h: 10,000)."""
    ema_decay: float = 0.999
    """Decay of the averaged weights that are evaluated and shipped; 0 turns averaging off."""
    evaluate_every: int = 500
    keep_checkpoints: int = 2
    patience: int = 0
    """Evaluations without a better score before stopping early; 0 never stops early."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 where the hardware computes it, on a GPU or a CPU with AVX-512 BF16."""
    seed: int = 1
    shard: bool = False
    """Divide weights, gradients and optimiser state among the processes (FSDP2), for an encoder that one GPU
    cannot train (XLS-R 1B and 2B); each process otherwise holds all of them."""
    threads: int = 0
    """CPU threads; 0 leaves torch's own choice."""

    def __post_init__(self) -> None:
        for name in ("updates", "accumulate", "evaluate_every", "keep_checkpoints", "loader_threads"):
            if getattr(self, name) < 1:
                raise InputError(f"trainer.{name} is {getattr(self, name)}. Give a number from 1.")
        for name in ("seed", "clip_norm", "freeze_updates", "patience", "threads", "weight_decay"):
            if getattr(self, name) < 0:
                raise InputError(f"trainer.{name} is {getattr(self, name)}. Give a number from 0.")
        if self.seed >= 2**32:
            raise InputError(f"trainer.seed is {self.seed}. Give a number below 2**32.")
        if not self.lr > 0:
            raise InputError(f"trainer.lr is {self.lr}. Give a number above 0.")
        if not (self.warmup >= 0 and self.hold >= 0 and self.warmup + self.hold <= 1):
            raise InputError(
                f"trainer.warmup and trainer.hold are {self.warmup} and {self.hold}. They are shares of the updates, "
                "not numbers of them: give two that add up to at most 1."
            )
        if not 0 < self.final_lr_scale <= 1:
            raise InputError(
                f"trainer.final_lr_scale is {self.final_lr_scale}. Give a share above 0, at most 1."
            )
        if self.shard and self.optimizer == "muon":
            raise InputError("trainer.shard has no whole matrices for Muon. Set trainer.optimizer=adamw.")
        for name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"trainer.{name} is {getattr(self, name)}. Give a number from 0 to below 1.")
