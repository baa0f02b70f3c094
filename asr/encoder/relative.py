"""Wav2Vec2-BERT's self-attention with relative keys (Shaw et al. 2018), in a fraction of the time."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RelativeKeyAttention(nn.Module):
    """transformers' `Wav2Vec2BertSelfAttention` of the kind ``relative_key``: the same weights, the same values.

    Theirs looks up an embedding for every pair of frames and multiplies each with its query, T x T x E
    products. There are few distinct distances: here the query meets each of them once, and the
    results are spread out over the pairs.
    """

    def __init__(self, theirs: Any) -> None:
        super().__init__()
        self.num_heads: int = theirs.num_heads
        self.left: int = theirs.left_max_position_embeddings
        self.right: int = theirs.right_max_position_embeddings
        self.linear_q: nn.Linear = theirs.linear_q
        self.linear_k: nn.Linear = theirs.linear_k
        self.linear_v: nn.Linear = theirs.linear_v
        self.linear_out: nn.Linear = theirs.linear_out
        self.dropout: nn.Dropout = theirs.dropout
        self.distance_embedding: nn.Embedding = theirs.distance_embedding

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **unused: object
    ) -> tuple[Tensor, Tensor]:
        """(N, T, D) -> (N, T, D), and the weights (N, H, T, T).

        Args:
            attention_mask: true on, or 0 at, keys that may be seen.
        """
        batch, length, width = hidden_states.shape
        query, key, value = (
            linear(hidden_states).view(batch, length, self.num_heads, -1).transpose(1, 2)
            for linear in (self.linear_q, self.linear_k, self.linear_v)
        )  # 3 x (N, H, T, E)
        query = query * query.shape[-1] ** -0.5
        scores = query @ key.transpose(-1, -2)  # (N, H, T, T)
        by_distance = query @ self.distance_embedding.weight.to(query.dtype).T  # (N, H, T, left + 1 + right)
        scores = scores + spread(by_distance, self.left, self.right)
        if attention_mask is not None:
            if attention_mask.dtype == torch.bool:
                scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
            else:
                scores = scores + attention_mask
        weights = self.dropout(scores.softmax(dim=-1).to(value.dtype))
        attended = (weights @ value).transpose(1, 2).reshape(batch, length, width)
        return self.linear_out(attended), weights


def spread(by_distance: Tensor, left: int, right: int) -> Tensor:
    """Scores by distance as scores by key, (..., T, left + 1 + right) -> (..., T, T).

    The score of query i and key j is that of the distance j - i, or of the nearest there is.

    >>> spread(torch.tensor([[0, 1, 2], [3, 4, 5]]), left=1, right=1)
    tensor([[1, 2],
            [3, 4]])
    """
    *lead, length, _ = by_distance.shape
    # Every distance from -(T - 1) to T - 1 gets a column: the farthest are cut or repeated.
    first, last = max(0, left - length + 1), left + min(right, length - 1)
    columns = [
        by_distance[..., :1].expand(*lead, length, max(0, length - 1 - left)),
        by_distance[..., first : last + 1],
        by_distance[..., -1:].expand(*lead, length, max(0, length - 1 - right)),
    ]
    full = torch.cat(columns, dim=-1)  # (..., T, 2 T - 1)
    # One column more, and rows read one column less wide: each begins one place further to the left.
    flat = F.pad(full, (0, 1)).flatten(-2)  # (..., 2 T T)
    rows = F.pad(flat, (0, length - 1)).view(*lead, length + 1, 2 * length - 1)
    return rows[..., :length, length - 1 :]
