"""The text decoder: writes a text label by label while it looks at what an encoder found."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import cast

import torch
from torch import Tensor, nn

from asr.dropout import Dropout
from asr.features import frame_mask
from st.layers import Attention, Embedding, FeedForward, check_sizes


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Size of a decoder; the small one of Le et al. 2023 has 6 layers."""

    width: int = 256
    layers: int = 3
    heads: int = 4
    inner: int = 1024
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_sizes("decoder", **asdict(self))


@dataclass
class Cache:
    """What a search keeps: keys and values of the memory, once for each utterance, and of each beam's labels."""

    memory: list[tuple[Tensor, Tensor]]
    """Of each layer, (N, H, T, d) each."""
    mask: Tensor
    """Where the memory is real, (N, 1, 1, T)."""
    own: list[tuple[Tensor, Tensor]]
    """Of each layer, (N K, H, L, d) each."""

    def reorder(self, beams: Tensor) -> None:
        """Go on with these rows, (N' K,): K of each utterance that is not done, in the order of utterances."""
        size = len(self.own[0][0])
        if len(beams) < size:
            width = size // len(self.mask)
            utterances = beams[::width] // width
            self.memory = [(keys[utterances], values[utterances]) for keys, values in self.memory]
            self.mask = self.mask[utterances]
        # Whole rows: a copy that indexing makes number by number, and much slower.
        self.own = [(keys.index_select(0, beams), values.index_select(0, beams)) for keys, values in self.own]

    @property
    def length(self) -> int:
        """Labels written so far."""
        return self.own[0][0].shape[2]


class TextDecoder(nn.Module):
    """Transformer decoder; its output layer is its embedding, transposed (Press and Wolf 2017)."""

    longest = sys.maxsize
    """Labels of a text that it can write."""

    def __init__(self, num_labels: int, memory_width: int, config: DecoderConfig) -> None:
        """
        Args:
            memory_width: of the encoder's states; others than ``config.width`` are projected.
        """
        super().__init__()
        self.config = config
        self.bridge = nn.Identity() if memory_width == config.width else nn.Linear(memory_width, config.width)
        self.embedding = Embedding(num_labels, config.width, config.dropout)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    @torch.no_grad()
    def look_through(self, bridge: nn.Linear) -> None:
        """See memories as ``bridge`` would show them: it is multiplied into what looks at them.

        Args:
            bridge: from the memory's width to this decoder's.
        """
        if isinstance(self.bridge, nn.Linear):
            self.bridge.load_state_dict(bridge.state_dict())
            return
        for layer in self._blocks:
            weight, bias = layer.looking.key_value.weight, layer.looking.key_value.bias
            bias.add_(weight @ bridge.bias)
            weight.copy_(weight @ bridge.weight)

    def forward(self, labels: Tensor, memory: Tensor, num_frames: Tensor) -> Tensor:
        """Logits of the label after each, (N, L, C).

        Args:
            labels: what is written before each place, (N, L); padding at the end changes nothing before it.
            memory: states of the encoder, (N, T, D).
            num_frames: (N,).
        """
        memory = self.bridge(memory)
        mask = frame_mask(num_frames.clamp(min=1), memory.shape[1])[:, None, None]
        hidden = self.embedding(labels)
        for layer in self._blocks:
            hidden = layer(hidden, layer.looking.keys_values(memory), mask)
        return self._logits(hidden)

    def begin(self, memory: Tensor, num_frames: Tensor, beams: int) -> Cache:
        """A cache for ``beams`` texts of each utterance; arguments as `forward`'s."""
        memory = self.bridge(memory)
        mask = frame_mask(num_frames.clamp(min=1), memory.shape[1])[:, None, None]
        seen = [layer.looking.keys_values(memory) for layer in self._blocks]
        nothing = seen[0][0].new_zeros(len(memory) * beams, self.config.heads, 0, seen[0][0].shape[3])
        return Cache(seen, mask, [(nothing, nothing) for _ in self.layers])

    def step(self, labels: Tensor, cache: Cache) -> Tensor:
        """Log-probabilities of the next label, (N K, C), after each beam's last one (N K,); the cache grows."""
        hidden = self.embedding(labels[:, None], start=cache.length)  # (N K, 1, D)
        for number, layer in enumerate(self._blocks):
            hidden, cache.own[number] = layer.step(
                hidden, cache.memory[number], cache.mask, cache.own[number]
            )
        return self._logits(hidden)[:, 0].float().log_softmax(dim=-1)

    @property
    def _blocks(self) -> list[_Layer]:
        return [cast(_Layer, layer) for layer in self.layers]

    def _logits(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(self.norm(hidden), self.embedding.labels.weight)


class _Layer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, config.dropout)
        self.looking_norm = nn.LayerNorm(config.width)
        self.looking = Attention(config.width, config.heads, config.dropout)
        self.inner_norm = nn.LayerNorm(config.width)
        self.inner = FeedForward(config.width, config.inner, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(self, hidden: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        normed = self.attention_norm(hidden)
        found = self.attention(normed, *self.attention.keys_values(normed), causal=True)
        hidden = hidden + self.dropout(found)
        hidden = hidden + self.dropout(self.looking(self.looking_norm(hidden), *memory, mask))
        return self._inner(hidden)

    def step(
        self, hidden: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor, own: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        normed = self.attention_norm(hidden)
        new = self.attention.keys_values(normed)
        own = (torch.cat([own[0], new[0]], dim=2), torch.cat([own[1], new[1]], dim=2))
        hidden = hidden + self.attention(normed, *own)
        # The beams of an utterance look at one memory: as places of one text, not as texts with copies of it.
        looking = self.looking_norm(hidden)
        together = looking.view(len(mask), -1, looking.shape[2])  # (N, K, D)
        hidden = hidden + self.looking(together, *memory, mask).reshape(looking.shape)
        return self._inner(hidden), own

    def _inner(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.dropout(self.inner(self.inner_norm(hidden)))
        return out
