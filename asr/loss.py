"""Losses of CTC training, in float32 and the log domain whatever the encoder's precision."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from asr.features import frame_mask


def ctc_loss(
    emissions: Tensor,
    num_frames: Tensor,
    labels: Tensor,
    num_labels: Tensor,
    blank: int,
    *,
    zero_infinity: bool = False,
) -> Tensor:
    """Negative log-probability of each label sequence (Graves et al. 2006), (N,).

    Args:
        emissions: log-probabilities, (N, T, C) float32.
        num_frames: valid frames, (N,).
        labels: padded with anything, (N, L).
        num_labels: (N,).
        zero_infinity: 0, and a gradient of 0, for labels that need more frames; infinity has gradients that are
            no numbers, which a mask on the loss does not keep out.
    """
    return F.ctc_loss(
        emissions.transpose(0, 1),
        labels,
        num_frames,
        num_labels,
        blank=blank,
        reduction="none",
        zero_infinity=zero_infinity,
    )


def consistency_loss(emissions: Tensor, num_frames: Tensor) -> Tensor:
    """Divergence between two masked views of the same utterances (Yao et al. 2025, CR-CTC, eq. 4).

    Each view is drawn towards the other's distributions, which are held fixed.

    Args:
        emissions: log-probabilities of the first views then of the second, (2 N, T, C) float32.
        num_frames: valid frames, (2 N,).
    Returns:
        sum over frames of both divergences, (2 N,).
    """
    if len(emissions) % 2:
        raise ValueError(
            f"`emissions` must hold two views of each utterance; got {len(emissions)} rows. Repeat the batch."
        )
    other = emissions.detach().roll(len(emissions) // 2, dims=0)
    divergence = (other.exp() * (other - emissions)).sum(dim=-1)  # (2 N, T, C) -> (2 N, T)
    return (divergence * frame_mask(num_frames, divergence.shape[1])).sum(dim=1)


def blank_ratio(emissions: Tensor, num_frames: Tensor, blank: int) -> float:
    """Share of valid frames whose best label is the blank; near 1 the model has collapsed."""
    mask = frame_mask(num_frames, emissions.shape[1])
    blanks = (emissions.argmax(dim=-1) == blank) & mask
    return float(blanks.sum() / mask.sum().clamp(min=1))
