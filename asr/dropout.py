"""Dropout that a CPU draws in little time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 2**16
"""Of 16 random bits: the probability of a draw is a multiple of one in these."""


class Dropout(nn.Dropout):
    """torch's, by `dropout`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        return dropout(input, self.p, self.training)


class SharedDropout(nn.Module):
    """Dropout with one mask for all frames of an utterance (Gal and Ghahramani 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D)."""
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        return x * (x.new_empty(x.shape[0], 1, x.shape[2]).bernoulli_(keep) / keep)


def dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """``F.dropout``; on a CPU with four draws from each random number of 64 bits.

    torch draws one number for every element, in a single thread but on Intel: a third of a training step of a
    small transformer on an AMD.
    """
    if not training or probability == 0:
        return x
    if x.device.type != "cpu" or not 0 < probability < 1:
        return F.dropout(x, probability, training)
    dropped = min(STEPS - 1, max(1, round(probability * STEPS)))
    numbers = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    kept = numbers.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - STEPS // 2
    return x * kept.to(x.dtype).mul_(STEPS / (STEPS - dropped))


def replace_dropout(model: nn.Module) -> None:
    """Let every ``nn.Dropout`` of a model draw by `dropout`."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = Dropout
