"""How far attention looks: mean distance between a frame and what it attends to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from asr.encoder import Encoder
from asr.features import frame_mask


@torch.inference_mode()
def attention_spans(encoder: Encoder, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean distance in seconds, weighted by attention, of each layer and head, (L, H).

    Uniform attention over an utterance of T frames would give a third of its length.

    Args:
        batches: waveforms (N, S) and samples (N,).
    """
    total: Tensor | None = None
    frames = 0
    for waveforms, num_samples in batches:
        weights, num_frames = encoder.attentions(waveforms, num_samples)  # L x (N, H, T, T)
        length = weights[0].shape[-1]
        axis = torch.arange(length, device=weights[0].device)
        distance = (axis[:, None] - axis[None, :]).abs().float()
        valid = frame_mask(num_frames, length)[:, None, :]  # (N, 1, T)
        spans = torch.stack([((w.float() * distance).sum(dim=-1) * valid).sum(dim=(0, 2)) for w in weights])
        total = spans if total is None else total + spans
        frames += int(num_frames.sum())
    assert total is not None, "there is at least one batch"
    return total / max(1, frames) * encoder.layer_grid.frame_s
