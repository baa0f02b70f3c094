"""Waveform encoders on telephone speech: half the samples in front of a feature extractor made for all of them.

Of 8 kHz speech every second sample at 16 kHz says nothing new. Dropping them and halving one stride
keeps the hop at 20 ms and saves half of the extractor's first layer (Vieting et al. 2022). The
weights of the first two layers are adapted so that the encoder begins near where it was, and not at
speech played twice as fast.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.frames import FrameGrid
from lm.errors import InputError

TAPS = 63
ADAPTED = 2
"""Layers of the feature extractor, from the first, whose weights are adapted."""


def half_band() -> Tensor:
    """Low-pass filter at a quarter of the sampling rate, (TAPS,): a sinc under a Hann window."""
    place = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2
    kernel = (
        torch.sinc(place / 2) / 2 * torch.hann_window(TAPS + 2, periodic=False, dtype=torch.float64)[1:-1]
    )
    return (kernel / kernel.sum()).float()


def halve(waveforms: Tensor, kernel: Tensor) -> Tensor:
    """Every second sample of a low-passed waveform, (N, S) -> (N, (S + 1) // 2)."""
    return F.conv1d(waveforms[:, None], kernel[None, None], stride=2, padding=len(kernel) // 2)[:, 0]


def halved_strides(strides: list[int]) -> list[int]:
    """Strides of the extractor with the second layer's halved.

    Raises:
        InputError: the second layer's stride is odd.
    """
    if len(strides) < 2 or strides[1] % 2:
        raise InputError(
            f"encoder.narrowband halves the stride of the second convolution; the strides are {strides}. "
            "Use an encoder of the wav2vec 2.0 family, or resampled speech without narrowband."
        )
    return [strides[0], strides[1] // 2, *strides[2:]]


def adapt_weights(layers: Any) -> None:
    """Change the weights of the first two convolutions, in place, from 16 to 8 kHz input.

    The first filter keeps its shape in time: its taps are added in pairs, which is what they do to
    a signal without high frequencies. The second then finds its neighbours twice as far apart, and
    the one in the middle is taken as the mean of the two beside it.
    """
    first, second = layers[0].conv, layers[1].conv
    with torch.no_grad():
        taps = first.weight  # (D, 1, K)
        pairs = F.pad(taps, (0, taps.shape[-1] % 2)).unfold(-1, 2, 2).sum(dim=-1)
        first.weight.copy_(F.pad(pairs, (0, taps.shape[-1] - pairs.shape[-1])))
        weight = second.weight  # (D', D, K)
        adapted = torch.zeros_like(weight)
        for place in range(weight.shape[-1]):
            low, odd = divmod(place, 2)
            if odd:
                adapted[..., low] += weight[..., place] / 2
                adapted[..., low + 1] += weight[..., place] / 2
            else:
                adapted[..., low] += weight[..., place]
        second.weight.copy_(adapted)


def at_16_khz(grid: FrameGrid) -> FrameGrid:
    """A grid over 8 kHz samples as one over the 16 kHz samples that they are taken from.

    >>> at_16_khz(FrameGrid(hop_samples=160, window_samples=400)).frames_per_second
    50.0
    """
    return FrameGrid(hop_samples=2 * grid.hop_samples, window_samples=2 * grid.window_samples - 1)
