"""Keeping padding out of modules that were written without a mask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


def valid_frames(num_frames: Tensor, size: int) -> Tensor:
    """True where a frame belongs to its utterance, (N, size).

    An utterance without frames keeps one, so that no attention row is empty (its softmax would
    be NaN); the caller reports its length as 0.
    """
    return torch.arange(size, device=num_frames.device) < num_frames.clamp(min=1)[:, None]


class Padding:
    """Which frames of the batch in hand are real, for modules whose forward takes no mask.

    Stage 0 is the frame rate of the layers; stage k the rate after the k-th adapter layer.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def stages(self) -> tuple[Tensor, ...]:
        """The masks (N, T) that this thread has set; batches may be encoded by several threads at once."""
        masks: tuple[Tensor, ...] = getattr(self._local, "stages", ())
        return masks

    def during(self, *stages: Tensor) -> AbstractContextManager[None]:
        """Set the (N, T) masks of the stages inside a ``with`` block."""
        return self._set(stages)

    @contextmanager
    def _set(self, stages: tuple[Tensor, ...]) -> Iterator[None]:
        before = self.stages
        self._local.stages = stages
        try:
            yield
        finally:
            self._local.stages = before

    def checkpoint_contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Contexts for `torch.utils.checkpoint`: the second pass sees the masks of the first.

        Without it a second batch between forward and backward would leave its own masks behind.
        """
        return nullcontext(), self._set(self.stages)

    def shield(self, conv: nn.Conv1d, stage: int = 0) -> None:
        """Zero the padded frames of the (N, D, T) input of ``conv``, as past the end of a lone utterance."""

        def zero_padding(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            if stage >= len(self.stages):
                return inputs
            return (inputs[0].masked_fill(~self.stages[stage][:, None, :], 0.0), *inputs[1:])

        conv.register_forward_pre_hook(zero_padding)


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of (N, D, T) whose training statistics leave padded frames out."""

    def __init__(self, num_features: int, padding: Padding) -> None:
        super().__init__(num_features)
        self.padding = padding

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        if not self.training or not self.padding.stages:
            return super().forward(input)
        valid = self.padding.stages[0]
        frames = input.transpose(1, 2)  # (N, D, T) -> (N, T, D)
        normalised = super().forward(frames[valid])  # (frames of all utterances, D)
        return (
            frames.new_zeros(frames.shape, dtype=normalised.dtype)
            .index_put((valid,), normalised)
            .transpose(1, 2)
        )


def masked_group_norm(input: Tensor, num_frames: Tensor, norm: nn.GroupNorm) -> Tensor:  # noqa: A002
    """``norm`` with one group per channel, its statistics over each utterance's own frames only.

    This is what makes the base models of the wav2vec 2.0 family independent of padding: their first
    convolution is normalised over the whole time axis.

    Args:
        input: (N, T, D).
        num_frames: valid frames of each utterance, (N,).
    """
    assert norm.num_groups == norm.num_channels
    valid = valid_frames(num_frames, input.shape[1])[..., None]  # (N, T, 1)
    count = valid.sum(dim=1, keepdim=True)
    frames = input.float()
    mean = frames.masked_fill(~valid, 0.0).sum(dim=1, keepdim=True) / count
    centred = (frames - mean).masked_fill(~valid, 0.0)
    variance = centred.square().sum(dim=1, keepdim=True) / count
    scale = (variance + norm.eps).rsqrt() * norm.weight.float()
    return (centred * scale + norm.bias.float()).to(input.dtype)
