"""Spans of frames or channels to hide in training (SpecAugment as wav2vec 2.0 does it)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def span_mask(
    lengths: Sequence[int], size: int, *, probability: float, span: int, min_spans: int = 0
) -> Tensor:
    """Random spans that never reach past an utterance's own length, (N, size) bool on the CPU.

    About ``probability * length / span`` spans start at different places, so overlaps make
    ``probability`` an upper bound of the hidden share. Lengths shorter than a span stay whole.
    Everything is drawn from torch's CPU generator: a run resumed from its state repeats exactly
    (transformers' own masking draws from numpy's, and refuses batches shorter than a span).

    Args:
        lengths: valid length of each utterance.
        size: padded length of the axis.
        span: length of one span.
        min_spans: at least so many spans where they fit.
    """
    mask = torch.zeros(len(lengths), size, dtype=torch.bool)
    for row, length in enumerate(lengths):
        starts = length - span + 1
        if starts < 1:
            continue
        # Rounds up or down at random, so that the expected number of spans is exact.
        count = int(probability * length / span + torch.rand(()).item())
        count = min(max(count, min_spans), starts, length // span)
        first = torch.randperm(starts)[:count]
        mask[row, (first[:, None] + torch.arange(span)).flatten()] = True
    return mask
