"""The text encoder: of an MT model, and of the Siamese pre-training, which drops it afterwards."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from torch import Tensor, nn

from asr.dropout import Dropout
from asr.encoder import EncoderOutput
from asr.features import frame_mask
from st.layers import Attention, Embedding, FeedForward, check_sizes


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """Size of a text encoder."""

    width: int = 256
    layers: int = 6
    heads: int = 4
    inner: int = 1024
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_sizes("text encoder", **asdict(self))


class TextEncoder(nn.Module):
    """Labels in, hidden states out; padding changes nothing."""

    def __init__(self, num_labels: int, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.embedding = Embedding(num_labels, config.width, config.dropout)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, labels: Tensor, num_labels: Tensor) -> EncoderOutput:
        """Encode a batch.

        Args:
            labels: padded with any label, (N, L).
            num_labels: at least 1 each, (N,).
        Returns:
            hidden states (N, L, D), and ``num_labels`` as their number of frames.
        """
        mask = frame_mask(num_labels, labels.shape[1])[:, None, None]  # (N, 1, 1, L)
        hidden = self.embedding(labels)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return EncoderOutput(self.norm(hidden), num_labels)


class _Layer(nn.Module):
    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, config.dropout)
        self.inner_norm = nn.LayerNorm(config.width)
        self.inner = FeedForward(config.width, config.inner, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        normed = self.attention_norm(hidden)
        keys, values = self.attention.keys_values(normed)
        hidden = hidden + self.dropout(self.attention(normed, keys, values, mask))
        out: Tensor = hidden + self.dropout(self.inner(self.inner_norm(hidden)))
        return out
