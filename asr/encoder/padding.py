"""Keeping padding out of modules that were written without a mask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from asr.features import frame_mask


def valid_frames(num_frames: Tensor, size: int) -> Tensor:
    """True where a frame belongs to its utterance, (N, size).

    An utterance without frames keeps one, so that no attention row is empty (its softmax would
    be NaN); the caller reports its length as 0.
    """
    return frame_mask(num_frames.clamp(min=1), size)


class Padding:
    """Which frames of the batch in hand are real, for modules whose forward takes no mask.

    Stage 0 is the frame rate of the layers; stage k the rate after the k-th adapter layer.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def __deepcopy__(self, memo: dict[int, Any]) -> Padding:
        """Itself: the hooks of a copied encoder go on asking the one that they were made with."""
        return self

    def __reduce__(self) -> tuple[type[Padding], tuple[()]]:
        """A new one: its masks are of this process's threads."""
        return Padding, ()

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

        # A function of this function could not be pickled.
        conv.register_forward_pre_hook(partial(self._zero_padding, stage))

    def _zero_padding(self, stage: int, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if stage >= len(self.stages):
            return inputs
        return (inputs[0].masked_fill(~self.stages[stage][:, None, :], 0.0), *inputs[1:])


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of (N, D, T) whose training statistics leave padded frames out.

    Where several processes train, the running statistics wait for `share_statistics`.
    """

    def __init__(self, num_features: int, padding: Padding) -> None:
        super().__init__(num_features)
        self.padding = padding
        self.noted: Tensor | None = None
        """Mean and variance of the batch in hand, (2, D), that `share_statistics` is to share."""

    def take_noted(self) -> Tensor:
        """Mean and variance of the batch in hand, (2, D), once; NaN where this layer was dropped."""
        assert self.running_mean is not None
        noted, self.noted = self.noted, None
        return self.running_mean.new_full((2, self.num_features), torch.nan) if noted is None else noted

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        if not self.training or not self.padding.stages:
            return super().forward(input)
        valid = self.padding.stages[0]
        frames = input.transpose(1, 2)  # (N, D, T) -> (N, T, D)
        spoken = frames[valid]  # (frames of all utterances, D)
        if several_processes():
            with torch.no_grad():
                variance, mean = torch.var_mean(spoken.float(), dim=0)
                self.noted = torch.stack([mean, variance])
            normalised = F.batch_norm(spoken, None, None, self.weight, self.bias, training=True, eps=self.eps)
        else:
            normalised = super().forward(spoken)
        return (
            frames.new_zeros(frames.shape, dtype=normalised.dtype)
            .index_put((valid,), normalised)
            .transpose(1, 2)
        )


def several_processes() -> bool:
    """Whether this process trains with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@torch.no_grad()
def share_statistics(model: nn.Module) -> None:
    """Bring the running statistics to where one process would, after the batches of all, one after the other.

    Every process must call it after each of its batches. In the layers themselves it cannot be done: one that
    a process drops at random would leave the others waiting.
    """
    norms = [module for module in model.modules() if isinstance(module, MaskedBatchNorm)]
    if not (norms and several_processes()):
        return
    own = torch.cat([norm.take_noted().flatten() for norm in norms])
    found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(found, own)
    for of_process in found:
        parts = torch.split(of_process, [2 * norm.num_features for norm in norms])
        for norm, part in zip(norms, parts, strict=True):
            if part.isnan().any():
                continue  # the layer was dropped
            mean, variance = part.view(2, -1)
            for running, value in ((norm.running_mean, mean), (norm.running_var, variance)):
                assert running is not None
                assert norm.momentum is not None
                running.lerp_(value, norm.momentum)
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked += 1


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
