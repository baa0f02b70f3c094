"""Losses of the decoder, in float32 whatever the model's precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asr.batches import padded
from asr.features import frame_mask
from st.model import END


def framed(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """What the decoder reads and what it is to write.

    Returns:
        the texts opened by `END` (N, L), the same texts closed by it (N, L), padded with it, and the
        lengths with it (N,).

    >>> framed([[3, 4], [5]])[:2]
    (tensor([[0, 3, 4],
            [0, 5, 0]]), tensor([[3, 4, 0],
            [5, 0, 0]]))
    """
    closed, lengths = padded([np.asarray([*text, END], dtype=np.int64) for text in texts])
    read = torch.cat([torch.full_like(closed[:, :1], END), closed[:, :-1]], dim=1)
    return read, closed, lengths


def smoothed_cross_entropy(logits: Tensor, wanted: Tensor, lengths: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2016, sec. 7), summed over each text, (N,).

    Args:
        logits: (N, L, C).
        wanted: (N, L).
        lengths: labels of each text, (N,).
        smoothing: share of the mass that goes to all labels alike.
    """
    losses = F.cross_entropy(
        logits.float().transpose(1, 2), wanted, reduction="none", label_smoothing=smoothing
    )  # (N, L)
    return (losses * frame_mask(lengths, losses.shape[1])).sum(dim=1)


def distillation(logits: Tensor, labels: Tensor, shares: Tensor, lengths: Tensor) -> Tensor:
    """Cross-entropy with a teacher's most probable labels (Kim and Rush 2016, sec. 3.1), (N,).

    Least where the student gives each label the teacher's share.

    Args:
        logits: the student's, (N, L, C).
        labels: the teacher's best of each place, (N, L, K).
        shares: their probabilities, summing to 1 over K, (N, L, K).
        lengths: labels of each text, (N,).
    """
    found = logits.float().log_softmax(dim=-1).gather(2, labels)  # (N, L, C) -> (N, L, K)
    losses = -(shares * found).sum(dim=2)
    return (losses * frame_mask(lengths, losses.shape[1])).sum(dim=1)
