"""Where output frames lie, from the kernels and strides of the convolutions that make them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from torch import Tensor, nn

from asr.frames import FrameGrid


def convolution_grid(kernels: Collection[int], strides: Collection[int]) -> FrameGrid:
    """Frames of a stack of unpadded convolutions over samples.

    >>> convolution_grid([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2])
    FrameGrid(hop_samples=320, window_samples=400, pad_samples=0, per_window=1)
    """
    hop = window = 1
    for kernel, stride in zip(kernels, strides, strict=True):
        window += (kernel - 1) * hop
        hop *= stride
    return FrameGrid(hop_samples=hop, window_samples=window)


def strided(grid: FrameGrid, conv: nn.Conv1d) -> FrameGrid:
    """``grid`` after one more convolution, over frames."""
    return FrameGrid(
        hop_samples=grid.hop_samples * conv.stride[0],
        window_samples=grid.window_samples + (conv.kernel_size[0] - 1) * grid.hop_samples,
        pad_samples=grid.pad_samples + int(conv.padding[0]) * grid.hop_samples,
    )


Size = TypeVar("Size", int, Tensor)


def strided_length(size: Size, conv: nn.Conv1d) -> Size:
    """Frames that ``conv`` makes of ``size`` frames."""
    return (size + 2 * int(conv.padding[0]) - conv.kernel_size[0]) // conv.stride[0] + 1


def first_convolution(layer: nn.Module) -> nn.Conv1d:
    return next(module for module in layer.modules() if isinstance(module, nn.Conv1d))


def count_frames(grid: FrameGrid, num_samples: Tensor) -> Tensor:
    """`FrameGrid.num_frames` of each utterance, (N,) int64."""
    padded = num_samples.long() + 2 * grid.pad_samples
    return ((padded - grid.window_samples) // grid.hop_samples + 1).clamp(min=0)
