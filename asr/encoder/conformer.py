"""A conformer on filterbanks, small enough to train from scratch on two CPU cores.

Conformer (Gulati et al. 2020) with rotary positions (Su et al. 2021), layer norm in the
convolution module, so that no statistic crosses utterances, and stochastic depth.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.dropout import SharedDropout
from asr.encoder.base import Alter, Encoder, EncoderOutput, Frames, check_layers
from asr.encoder.convolution import depthwise_convolution, plane_convolution
from asr.features import (
    HOP_SAMPLES,
    RANGE_DB,
    WINDOW_SAMPLES,
    Filterbank,
    frame_mask,
    spec_augment,
    stack_frames,
)
from asr.frames import FrameGrid
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ConformerConfig:
    """Size and regularisation of the conformer."""

    num_bins: int = 80
    """Mel bins."""
    range_db: float = RANGE_DB
    """Energies farther than this below an utterance's loudest are raised to there; 0 leaves them."""
    width: int = 176
    """Model width D (conformer-S: Gulati et al. 2020, table 1: 144)."""
    num_layers: int = 8
    num_heads: int = 4
    ff_mult: int = 4
    """Width of the feed-forward layers in units of D."""
    kernel: int = 15
    """Frames of the depthwise convolution, odd; 15 frames are 0.6 s."""
    stem_channels: int = 32
    """Channels of the two stride-2 convolutions that bring 100 frames per second to 25."""
    dropout: float = 0.1
    layer_drop: float = 0.0
    """Probability of skipping the last layer in training; earlier layers proportionally less."""
    freq_masks: int = 2
    freq_width: int = 20
    """Widest masked band in mel bins."""
    time_masks_per_s: float = 1.0
    time_width: int = 20
    """Longest masked stretch in frames of 10 ms."""

    def __post_init__(self) -> None:
        for name in ("width", "num_layers", "num_heads", "ff_mult", "kernel", "stem_channels"):
            if getattr(self, name) < 1:
                raise InputError(f"encoder.{name} is {getattr(self, name)}. Give a number from 1.")
        for name in ("range_db", "freq_masks", "freq_width", "time_masks_per_s", "time_width"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"encoder.{name} is {getattr(self, name)}. Give a number from 0.")
        if self.num_bins < 7:
            raise InputError(
                f"encoder.num_bins is {self.num_bins}; the two strided convolutions need 7. Give more."
            )
        if self.width % (2 * self.num_heads):
            raise InputError(
                f"encoder.width {self.width} is no multiple of twice encoder.num_heads {self.num_heads}. Change one."
            )
        if self.kernel % 2 == 0:
            raise InputError(f"encoder.kernel is {self.kernel}. Give an odd number of frames.")
        for name in ("dropout", "layer_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"encoder.{name} is {getattr(self, name)}. Give a probability below 1.")


class ConformerEncoder(Encoder):
    """Filterbank, two strided convolutions (4x), then conformer layers; 25 frames per second."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.settings = config
        self.width = config.width
        self.num_layers = config.num_layers
        # Two 3-wide convolutions with stride 2 see 3 and 7 filterbank frames.
        self.grid = FrameGrid(hop_samples=4 * HOP_SAMPLES, window_samples=WINDOW_SAMPLES + 6 * HOP_SAMPLES)
        self.num_bins = config.num_bins
        self.feature_width = config.num_bins * (self.grid.hop_samples // HOP_SAMPLES)
        self.filterbank = Filterbank(config.num_bins, config.range_db)
        channels = config.stem_channels
        self.stem1 = nn.Conv2d(1, channels, 3, stride=2)
        self.stem2 = nn.Conv2d(channels, channels, 3, stride=2)
        bins = ((config.num_bins - 1) // 2 - 1) // 2
        self.project = nn.Linear(channels * bins, config.width)
        self.dropout = SharedDropout(config.dropout)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_layers))

    def forward(self, waveforms: Tensor, num_samples: Tensor, keep: Collection[int] = ()) -> EncoderOutput:
        return self.encode(self.embed(waveforms, num_samples, self._mask if self.training else None), keep)

    def embed(self, waveforms: Tensor, num_samples: Tensor, alter: Alter | None = None) -> Frames:
        features, num_frames = self.filterbank(waveforms, num_samples)
        if features.shape[1] < 7:
            features = F.pad(features, (0, 0, 0, 7 - features.shape[1]))
        x = alter(features, num_frames) if alter else features
        x = F.silu(plane_convolution(x, self.stem1))  # (N, T', F) -> (N, C, T'/2, F/2)
        x = F.silu(self.stem2(x))  # (N, C, T'/4, F/4)
        x = x.transpose(1, 2).flatten(2)  # (N, T, C * F/4)
        stacked = stack_frames(features, self.grid, x.shape[1])
        num_frames = (((num_frames - 1) // 2 - 1) // 2).clamp(min=0)
        return Frames(self.dropout(self.project(x)), num_frames, features=stacked, raw=stacked)

    def encode(self, frames: Frames, keep: Collection[int] = ()) -> EncoderOutput:
        x = frames.hidden
        mask, unseen, rotary = self._places(frames)
        layers: dict[int, Tensor] = {}
        for number, layer in enumerate(self.layers, start=1):
            drop = self.settings.layer_drop * number / self.num_layers
            if not (self.training and drop and torch.rand(()).item() < drop):
                x = layer(x, mask[..., None], unseen, rotary)
            if number in keep:
                layers[number] = x
        return EncoderOutput(x, frames.num_frames, layers)

    def attentions(self, waveforms: Tensor, num_samples: Tensor) -> tuple[list[Tensor], Tensor]:
        frames = self.embed(waveforms, num_samples)
        mask, unseen, rotary = self._places(frames)
        x, found = frames.hidden, []
        for layer in self.layers:
            assert isinstance(layer, ConformerLayer)
            found.append(layer.attention.weigh(x + 0.5 * layer.feed_forward1(x), unseen, rotary)[0])
            x = layer(x, mask[..., None], unseen, rotary)
        return found, frames.num_frames

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)

    def keep_layers(self, count: int) -> None:
        check_layers(count, self.num_layers)
        del self.layers[count:]
        self.num_layers = count
        self.settings = replace(self.settings, num_layers=count)

    @property
    def layer_drop(self) -> float:
        return self.settings.layer_drop

    def _places(self, frames: Frames) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Valid frames (N, T), what keeps attention off the others (N, 1, 1, T), and the rotary table."""
        length = frames.hidden.shape[1]
        mask = frame_mask(frames.num_frames, length)
        # Finite, so that a row without one valid key is no NaN; such an utterance has no valid frame anyway.
        unseen = (~mask * -1e4)[:, None, None, :]
        return mask, unseen, rotary_table(length, self.width // self.settings.num_heads, mask.device)

    def _mask(self, features: Tensor, num_frames: Tensor) -> Tensor:
        """SpecAugment, as the settings say."""
        return spec_augment(
            features,
            num_frames,
            freq_masks=self.settings.freq_masks,
            freq_width=self.mask_scale * self.settings.freq_width,
            time_masks_per_s=self.mask_scale * self.settings.time_masks_per_s,
            time_width=self.settings.time_width,
        )

    def config(self) -> dict[str, Any]:
        return {"kind": "conformer", **asdict(self.settings)}


class ConformerLayer(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, layer norm."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        width = config.width
        self.feed_forward1 = FeedForward(width, config.ff_mult, config.dropout)
        self.attention = Attention(width, config.num_heads, config.dropout)
        self.convolution = Convolution(width, config.kernel, config.dropout)
        self.feed_forward2 = FeedForward(width, config.ff_mult, config.dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor, unseen: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """One layer: ``x`` (N, T, D), ``mask`` (N, T, 1), ``unseen`` (N, 1, 1, T)."""
        x = x + 0.5 * self.feed_forward1(x)
        x = x + self.attention(x, unseen, rotary)
        x = x + self.convolution(x, mask)
        x = x + 0.5 * self.feed_forward2(x)
        out: Tensor = self.norm(x)
        return out


class FeedForward(nn.Module):
    """Layer norm, widen, SiLU, narrow."""

    def __init__(self, width: int, mult: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, mult * width)
        self.narrow = nn.Linear(mult * width, width)
        self.dropout = SharedDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D)."""
        out: Tensor = self.dropout(self.narrow(self.dropout(F.silu(self.widen(self.norm(x))))))
        return out


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = SharedDropout(dropout)

    def forward(self, x: Tensor, unseen: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """(N, T, D) -> (N, T, D); ``unseen`` is added to the scores, 0 or very low, (N, 1, 1, T)."""
        weights, value = self.weigh(x, unseen, rotary)
        seen = weights.to(value.dtype) @ value
        out: Tensor = self.dropout(self.out(seen.transpose(1, 2).reshape(x.shape)))
        return out

    def weigh(self, x: Tensor, unseen: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Attention weights (N, H, T, T), and the values (N, H, T, E) that they weigh."""
        batch, length, width = x.shape
        qkv = self.query_key_value(self.norm(x)).view(batch, length, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (N, T, 3, H, E) -> 3 x (N, H, T, E)
        # Two plain products: the fused kernel's way back took a quarter of a training step on a CPU.
        query = rotate(query, rotary) * (width // self.num_heads) ** -0.5
        scores = query @ rotate(key, rotary).transpose(-1, -2) + unseen  # (N, H, T, T)
        return scores.softmax(dim=-1), value


class Convolution(nn.Module):
    """Gated pointwise, depthwise over time, layer norm, SiLU, pointwise."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.depthwise_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.dropout = SharedDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D); padding is zeroed so that the convolution cannot see it."""
        x = F.glu(self.gate(self.norm(x)), dim=-1) * mask
        x = depthwise_convolution(x, self.depthwise)
        out: Tensor = self.dropout(self.out(F.silu(self.depthwise_norm(x))))
        return out


def rotary_table(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions, (length, size) each (Su et al. 2021, sec. 3.2)."""
    rates = 10_000.0 ** (-torch.arange(0, size, 2, device=device, dtype=torch.float32) / size)
    angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * rates
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair of channels by its position's angle, (..., T, E) -> (..., T, E)."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)
