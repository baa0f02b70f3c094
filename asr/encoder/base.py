"""What every speech encoder of the toolkit promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from asr.frames import FrameGrid


@dataclass(frozen=True)
class EncoderOutput:
    """Hidden states of a batch; frames past an utterance's own are padding."""

    hidden: Tensor
    """Output of the last layer, (N, T, D)."""
    num_frames: Tensor
    """Valid frames of each utterance, (N,), int64."""
    layers: dict[int, Tensor] = field(default_factory=dict)
    """Outputs of the layers that were asked for, (N, T, D) each; layer 1 is the first."""


class Encoder(nn.Module, ABC):
    """Waveforms in, hidden states out; features, normalisation and masking live inside.

    Padding never changes a result: an utterance gives the same hidden states alone and in a
    batch of 16 (float32, 1e-4).
    """

    grid: FrameGrid
    """Where output frames lie in time."""
    width: int
    """Size D of a hidden state."""
    num_layers: int

    @abstractmethod
    def forward(self, waveforms: Tensor, num_samples: Tensor, keep: Collection[int] = ()) -> EncoderOutput:
        """Encode a batch.

        Args:
            waveforms: mono audio at 16 kHz in [-1, 1], zero-padded at the end, (N, S) float32.
            num_samples: samples of each utterance before padding, (N,).
            keep: numbers of the layers whose outputs to return too (1 is the first).
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `build_encoder` needs to make this encoder again, without its weights; JSON values."""

    def freeze_features(self) -> None:
        """Stop training the convolutional feature extractor, where there is one."""
