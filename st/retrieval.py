"""How well speech finds its text by distance: what a lower training loss cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from st.transport import TransportConfig, sinkhorn_divergence

SHARED = TransportConfig(normalise=True)
"""One distance for all models, whatever they were trained with."""


@dataclass(frozen=True)
class Retrieval:
    """Of every utterance, its distance to every text."""

    distances: Tensor
    """(N, N): row n is utterance n, column n its own text."""

    @property
    def first(self) -> float:
        """Share of the utterances to which no text lies nearer than their own."""
        others = self.distances.clone()
        others.fill_diagonal_(torch.inf)
        return float((self.distances.diagonal() < others.amin(dim=1)).double().mean())

    @property
    def own(self) -> float:
        """Mean distance to the own text."""
        return float(self.distances.diagonal().mean())

    @property
    def other(self) -> float:
        """Mean distance to the texts of others."""
        size = len(self.distances)
        return float((self.distances.sum() - self.distances.diagonal().sum()) / max(1, size * (size - 1)))


@torch.inference_mode()
def retrieve(
    speech: Sequence[Tensor], texts: Sequence[Tensor], config: TransportConfig = SHARED, *, batch: int = 32
) -> Retrieval:
    """Compare every utterance with every text.

    Args:
        speech: states (T, D) of each utterance.
        texts: states (L, D) of its text.
        batch: texts that are compared at once.
    """
    size = len(speech)
    distances = torch.empty(size, size)
    num_labels = torch.tensor([len(text) for text in texts])
    padded = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
    for row, states in enumerate(speech):
        for first in range(0, size, batch):
            lengths = num_labels[first : first + batch]
            together = states.expand(len(lengths), *states.shape)
            longest = int(lengths.max())
            distances[row, first : first + batch] = sinkhorn_divergence(
                together,
                padded[first : first + batch, :longest],
                torch.full_like(lengths, len(states)),
                lengths,
                config,
            )
    return Retrieval(distances)
