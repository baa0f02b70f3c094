"""Altering filterbanks in time, frequency and magnitude, for a model to put right (TERA, Liu et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from asr.features import frame_mask
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AlterConfig:
    """How much is altered; the defaults are those of s3prl's TERA, in its 10 ms frames."""

    time_share: float = 0.15
    """Frames that the altered spans cover, at most: spans may overlap."""
    time_width: int = 7
    """Frames in a span."""
    zero_share: float = 0.8
    """Utterances whose spans are zeroed."""
    swap_share: float = 0.1
    """Utterances whose spans are replaced by other frames of the same utterance; the rest are left alone."""
    frequency_share: float = 0.2
    """Widest zeroed band, as a share of the bins; its width is drawn from 0 up."""
    noise_probability: float = 0.15
    """Batches to which noise is added."""
    noise_level: float = 0.2
    """Deviation of the noise; the features have 1."""

    def __post_init__(self) -> None:
        for name in ("time_share", "zero_share", "swap_share", "frequency_share", "noise_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"alter.{name} is {getattr(self, name)}. Give a share from 0 to 1.")
        if self.zero_share + self.swap_share > 1:
            raise InputError("alter.zero_share and alter.swap_share make more than 1 together. Lower one.")
        if not 0 <= self.noise_level < math.inf:
            raise InputError(f"alter.noise_level is {self.noise_level}. Give a deviation from 0.")
        if self.time_width < 1:
            raise InputError(f"alter.time_width is {self.time_width}. Give a number of frames from 1.")

    @property
    def alters(self) -> bool:
        """Whether there is ever anything to put right."""
        spans = self.time_share > 0 and self.zero_share + self.swap_share > 0
        return spans or self.frequency_share > 0 or self.noise_probability * self.noise_level > 0


class Alteration:
    """One batch's alteration, and what it altered: called by the encoder on its way to the layers."""

    def __init__(self, config: AlterConfig) -> None:
        self.config = config
        self.original: Tensor
        """The features as they came, (N, T', F)."""
        self.altered: Tensor
        """Where a model has something to put right, (N, T', F) bool; never on padding."""

    def __call__(self, features: Tensor, num_frames: Tensor) -> Tensor:
        """Alter (N, T', F); `original` and `altered` then tell what was done."""
        config = self.config
        batch, length, bins = features.shape
        device = features.device
        valid = frame_mask(num_frames, length)
        self.original = features

        # Time: so many starts that the spans would cover the share if none overlapped.
        width = min(config.time_width, max(1, int(num_frames.min())))
        starts = (num_frames - width + 1).clamp(min=1)
        count = (num_frames * config.time_share / width + torch.rand(batch, device=device)).floor()
        most = max(1, int(count.max()))
        first = (torch.rand(batch, most, device=device) * starts[:, None]).long()
        axis = torch.arange(length, device=device)
        wanted = frame_mask(count, most)
        inside = (axis >= first[..., None]) & (axis < first[..., None] + width) & wanted[..., None]
        spans = inside.any(dim=1) & valid  # (N, T')
        policy = torch.rand(batch, device=device)[:, None]
        zeroed = spans & (policy < config.zero_share)
        swapped = spans & (policy >= config.zero_share) & (policy < config.zero_share + config.swap_share)
        elsewhere = (torch.rand(batch, length, device=device) * num_frames[:, None]).long()
        others = features.gather(1, elsewhere[..., None].expand(-1, -1, bins))
        altered = torch.where(swapped[..., None], others, features).masked_fill(zeroed[..., None], 0.0)

        # Frequency: one band of each utterance, over all its frames.
        band = (torch.rand(batch, 1, device=device) * (config.frequency_share * bins + 1)).floor()
        low = (torch.rand(batch, 1, device=device) * (bins - band + 1)).floor()
        axis = torch.arange(bins, device=device)
        hidden = ((axis >= low) & (axis < low + band))[:, None, :] & valid[..., None]
        altered = altered.masked_fill(hidden, 0.0)

        # Magnitude: the whole batch or none of it.
        self.altered = spans[..., None] | hidden
        if torch.rand(()).item() < config.noise_probability:
            altered = altered + config.noise_level * torch.randn_like(altered) * valid[..., None]
            self.altered = valid[..., None].expand_as(features)
        return altered
