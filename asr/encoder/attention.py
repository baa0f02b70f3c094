"""The attention of transformers' encoders in training on a CPU, with dropout that is drawn in little time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from asr.dropout import dropout as drop

NAME = "sdpa_quick_dropout"
"""By which transformers knows it."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """transformers' fused attention; with dropout on a CPU, where torch fuses nothing either, its parts.

    Args:
        query, key, value: (N, H, T, D).
        attention_mask: where to look, or what to add to the scores, (N, 1, T, T).
        scaling: of the scores, 1 / sqrt(D) if none.
    Returns:
        (N, T, H, D), and no weights.
    """
    if dropout == 0 or query.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        found: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return found
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(-1, -2)
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights = drop(scores.softmax(dim=-1), dropout, training=True)
    return (weights @ value).transpose(1, 2).contiguous(), None


def quicken_attention(model: Any) -> None:
    """Let a model of transformers that uses its fused attention use `attend`."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
