"""Telling the true code of a masked frame from those of other masked frames of the same utterance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.features import frame_mask


def masked_places(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Where the masked frames of each utterance are.

    Args:
        mask: (N, T) bool.
    Returns:
        places (N, M), each utterance's masked frames in order and then anything; how many, (N,).
    """
    num_masked = mask.sum(dim=1)
    places = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    return places[:, : int(num_masked.max())], num_masked


def sample_negatives(num_masked: Tensor, num_negatives: int) -> Tensor:
    """For each masked frame, others of its utterance, drawn uniformly with replacement.

    Args:
        num_masked: masked frames of each utterance, (N,).
    Returns:
        numbers among the masked frames, (N, M, num_negatives); a frame's own is never among them, nor
        one past the utterance's last, where it has two or more.
    """
    batch, most = len(num_masked), int(num_masked.max())
    others = (num_masked - 1).clamp(min=1)[:, None, None]
    drawn = torch.rand(batch, most, num_negatives, device=num_masked.device)
    negatives = (drawn * others).long().clamp(max=most - 1)
    own = torch.arange(most, device=num_masked.device)[None, :, None]
    # The frame's own number is stepped over, so that each other one is equally likely.
    return (negatives + (negatives >= own)).clamp(max=most - 1)


def contrastive_loss(
    context: Tensor, targets: Tensor, codes: Tensor, num_masked: Tensor, negatives: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each masked frame's own code among its negatives (Baevski et al. 2020, eq. 3).

    The similarities of all pairs of masked frames come from one matrix product, and the negatives'
    are picked from it; gathering the vectors themselves would take ``num_negatives`` times the memory.

    Args:
        context: what the layers say of the masked frames, (N, M, D).
        targets: their quantised features, (N, M, D).
        codes: their codes, (N, M, G); a negative with the same codes as the target is left out.
        num_masked: (N,).
        negatives: see `sample_negatives`, (N, M, K).
        temperature: kappa of the paper.
    Returns:
        sum of the loss over all masked frames, and for how many the true code was the most similar.
    """
    with torch.autocast(context.device.type, enabled=False):
        similarity = F.normalize(context.float(), dim=-1) @ F.normalize(targets.float(), dim=-1).mT
        same = (codes[:, :, None] == codes[:, None, :]).all(dim=-1)  # (N, M, M)
        others = similarity.masked_fill(same, -torch.inf).gather(2, negatives)  # (N, M, K)
        true = similarity.diagonal(dim1=1, dim2=2)  # (N, M)
        logits = torch.cat([true[..., None], others], dim=-1) / temperature
        loss = -logits.log_softmax(dim=-1)[..., 0]
        counted = frame_mask(num_masked, context.shape[1])
        # A frame all of whose negatives were left out would count as right without being so.
        right = (true > others.amax(dim=-1)) & counted & torch.isfinite(others).any(dim=-1)
        return loss.masked_fill(~counted, 0.0).sum(), right.sum()
