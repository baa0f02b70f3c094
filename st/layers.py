"""Transformer layers of the text side: pre-norm, as in Le et al. 2023, with caches for the search."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.dropout import Dropout, dropout
from lm.errors import InputError


def check_sizes(part: str, *, width: int, layers: int, heads: int, inner: int, dropout: float) -> None:
    """Refuse sizes that no transformer can have.

    Args:
        part: ``decoder``, or what else the configuration is of.
    Raises:
        InputError: a size below 1, a dropout that is no share, or heads that do not part the width.
    """
    for name, size in (("width", width), ("layers", layers), ("heads", heads), ("inner", inner)):
        if size < 1:
            raise InputError(f"the {part}'s {name} is {size}. Give a number from 1.")
    if not 0 <= dropout < 1:
        raise InputError(f"the {part}'s dropout is {dropout}. Give a share from 0 to below 1.")
    if width % heads:
        raise InputError(
            f"the {part}'s width is {width}, which its {heads} heads cannot share. Give a multiple of {heads}."
        )


def positions(start: int, size: int, width: int, like: Tensor) -> Tensor:
    """Sinusoids of places ``start`` to ``start + size - 1`` (Vaswani et al. 2017, sec. 3.5), (size, width).

    Computed, not learned: no text is too long for them.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=like.device) * (-math.log(10_000.0) / max(1, half - 1)))
    angles = torch.arange(start, start + size, device=like.device)[:, None] * rates
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    return F.pad(waves, (0, width - 2 * half)).to(like.dtype)


class Embedding(nn.Module):
    """Labels and their places as vectors."""

    def __init__(self, num_labels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.labels = nn.Embedding(num_labels, width)
        nn.init.normal_(self.labels.weight, std=width**-0.5)
        self.dropout = Dropout(dropout)

    def forward(self, labels: Tensor, start: int = 0) -> Tensor:
        """(N, L) -> (N, L, D); ``start`` is the place of the first label."""
        vectors = self.labels(labels) * math.sqrt(self.width)
        embedded: Tensor = self.dropout(vectors + positions(start, labels.shape[1], self.width, vectors))
        return embedded


class Attention(nn.Module):
    """Multi-head attention whose keys and values may be made once and used often."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> keys and values, (N, H, T, D / H) each."""
        keys, values = self.key_value(memory).chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(
        self,
        hidden: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Tensor:
        """What each of ``hidden`` (N, L, D) finds; ``mask`` is True where it may look, broadcast to (N, H, L, T)."""
        query = self._split(self.query(hidden))
        drop = self.dropout if self.training else 0.0
        if drop and hidden.device.type == "cpu":  # torch has no fused kernel there, and draws slowly
            if causal:
                mask = torch.ones(query.shape[2], keys.shape[2], dtype=torch.bool).tril()
            scores = query * query.shape[-1] ** -0.5 @ keys.transpose(-1, -2)
            if mask is not None:
                scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
            found = dropout(scores.softmax(dim=-1).to(values.dtype), drop, True) @ values
        else:
            found = F.scaled_dot_product_attention(
                query, keys, values, attn_mask=mask, dropout_p=drop, is_causal=causal
            )
        out: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return out

    def _split(self, vectors: Tensor) -> Tensor:
        batch, length, width = vectors.shape
        return vectors.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, inner), nn.GELU(), Dropout(dropout), nn.Linear(inner, width))
