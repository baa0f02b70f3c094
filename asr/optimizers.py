"""What moves the weights, and how far."""

from __future__ import annotations

import math
from typing import Any

import torch

from asr.muon import Muon
from asr.task import Task
from asr.trainer_config import TrainerConfig


def learning_rate(config: TrainerConfig, update: int) -> float:
    """Tri-stage schedule: linear rise, hold, exponential decay; ``update`` counts from 0."""
    rise = max(1, round(config.warmup * config.updates))
    hold = round(config.hold * config.updates)
    if update < rise:
        return config.lr * (update + 1) / rise
    decay = max(1, config.updates - rise - hold)
    done = min(1.0, max(0, update - rise - hold) / decay)
    return config.lr * math.exp(math.log(config.final_lr_scale) * done)


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the hardware computes bfloat16; on a CPU that emulates it, it is 20 times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def build_optimizers(
    task: Task[Any], config: TrainerConfig, precision: torch.dtype
) -> list[torch.optim.Optimizer]:
    """AdamW for every parameter that learns, or Muon for the hidden matrices and AdamW for the rest.

    Args:
        precision: of Muon's products.
    """
    learning = [parameter for parameter in task.model.parameters() if parameter.requires_grad]
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer == "muon":
        heads = {id(parameter) for parameter in task.head_parameters()}
        hidden = [p for p in learning if p.ndim == 2 and id(p) not in heads]
        taken = {id(parameter) for parameter in hidden}
        learning = [p for p in learning if id(p) not in taken]
        if hidden:
            optimizers.append(
                Muon(hidden, lr=config.lr, weight_decay=config.weight_decay, precision=precision)
            )
    # Weight decay pulls matrices, not biases and norms.
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if groups := [group for group in groups if group["params"]]:
        betas = (config.beta1, config.beta2)
        optimizers.append(torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True))
    return optimizers
