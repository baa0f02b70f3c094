"""What every speech encoder of the toolkit promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from asr.frames import FrameGrid
from lm.errors import InputError

Alter = Callable[[Tensor, Tensor], Tensor]
"""A change to normalised filterbanks: (N, T', num_bins) and the valid frames (N,) -> (N, T', num_bins)."""


@dataclass(frozen=True)
class Frames:
    """A batch in front of the layers."""

    hidden: Tensor
    """What enters the layers, (N, T, D)."""
    num_frames: Tensor
    """Valid frames of each utterance at the layers' rate, (N,), int64."""
    features: Tensor
    """What ``hidden`` was made of, normalised and unaltered, (N, T, F): the convolutional features, or
    filterbanks stacked to the layers' rate."""
    raw: Tensor
    """The same before they were normalised, where the normalisation is a layer of the network."""


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
    mask_scale: float = 1.0
    """Strength of the masking in training, from 0 (none) to 1 (as configured); the task sets it."""
    feature_width: int
    """Size F of a feature vector in front of the layers."""
    shortened: bool = False
    """Whether an adapter after the layers makes frames fewer than theirs, `grid` being its own."""
    unused_mask: Tensor | None = None
    """The vector (D,) that a published model brings for masked frames, where its configuration masks none."""
    num_bins: int = 0
    """Mel bins of an encoder on filterbanks; 0 where it reads the waveform itself."""

    @abstractmethod
    def embed(self, waveforms: Tensor, num_samples: Tensor, alter: Alter | None = None) -> Frames:
        """The way to the layers, nothing masked; arguments as `forward`'s.

        Args:
            alter: changes the filterbanks on their way.
        Raises:
            InputError: ``alter`` is given and the encoder has no filterbanks.
        """

    @abstractmethod
    def encode(self, frames: Frames, keep: Collection[int] = ()) -> EncoderOutput:
        """The layers, from ``frames.hidden`` on; ``keep`` as in `forward`."""

    @abstractmethod
    def attentions(self, waveforms: Tensor, num_samples: Tensor) -> tuple[list[Tensor], Tensor]:
        """What each layer attends to: weights (N, H, T, T), rows summing to 1, and the valid frames (N,)."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The layers, first to last."""

    @abstractmethod
    def keep_layers(self, count: int) -> None:
        """Do without the layers after the first ``count``: where a lower layer is what is wanted.

        Raises:
            InputError: there are not as many, or what follows the layers needs the last one.
        """

    @property
    def layer_grid(self) -> FrameGrid:
        """Where the layers' own frames lie in time; `grid` is another where the encoder is `shortened`."""
        return self.grid

    @property
    @abstractmethod
    def layer_drop(self) -> float:
        """Probability that training leaves out a layer (the last one, where it grows with depth)."""

    @property
    def mask_embedding(self) -> nn.Parameter | None:
        """The vector (D,) that stands for masked frames, where the published model brings one."""
        return None

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

    def changed_layers(self) -> list[nn.Module]:
        """Layers whose learned weights were changed, by ``narrowband``: they learn on, whatever is frozen."""
        return []

    def freeze_features(self) -> None:
        """Stop training the convolutional feature extractor, where there is one; what was changed in it learns on."""


def check_layers(count: int, num_layers: int) -> None:
    """Refuse a number of layers that an encoder has not.

    Raises:
        InputError: ``count`` is no whole number from 1 to ``num_layers``.
    """
    if type(count) is not int or not 1 <= count <= num_layers:
        raise InputError(
            f"this encoder has {num_layers} layers; got {count!r}. Give a whole number from 1 to {num_layers}."
        )


def layers_hint(given: Collection[str]) -> str:
    """What else to do where ``given``, settings that weights do not fit, has a number of layers; empty elsewhere."""
    if {"num_layers", "num_hidden_layers"}.isdisjoint(given):
        return ""
    return " For the lower layers alone, set encoder.layers instead."
