"""How well speech finds its text by distance: what a lower training loss cannot show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from st.transport import TransportConfig, entropic_costs, self_costs

SHARED = TransportConfig(normalise=True)
"""One distance for all models, whatever they were trained with."""


@dataclass(frozen=True)
class Retrieval:
    """Of every utterance, its distance to every text."""

    distances: Tensor
    """(N, N): row n is utterance n, column n its own text."""
    labels: Sequence[Sequence[int]] = ()
    """Of each text: those with the same ones are one text, and none of them another's. Empty takes all as different."""

    @cached_property
    def num_texts(self) -> int:
        """Different texts."""
        return len(set(self._numbers.tolist()))

    @property
    def chance(self) -> float:
        """The share that would be right by chance: equal texts lie equally far, so one of the different ones."""
        return 1 / max(1, self.num_texts)

    @property
    def first(self) -> float:
        """Share of the utterances to which no other text lies as near as their own."""
        others = self.distances.masked_fill(~self._others, torch.inf)
        return float((self.distances.diagonal() < others.amin(dim=1)).double().mean())

    @property
    def own(self) -> float:
        """Mean distance to the own text."""
        return float(self.distances.diagonal().mean())

    @property
    def other(self) -> float:
        """Mean distance to other texts."""
        return float(self.distances[self._others].sum() / self._others.sum().clamp(min=1))

    @cached_property
    def _numbers(self) -> Tensor:
        """Of each text, that of the first one that says the same, (N,)."""
        if not self.labels:
            return torch.arange(len(self.distances))
        first: dict[tuple[int, ...], int] = {}
        return torch.tensor([first.setdefault(tuple(text), place) for place, text in enumerate(self.labels)])

    @cached_property
    def _others(self) -> Tensor:
        """Where a column is another text than the row's own, (N, N)."""
        return self._numbers[:, None] != self._numbers


@torch.inference_mode()
def retrieve(
    speech: Sequence[Tensor],
    texts: Sequence[Tensor],
    config: TransportConfig = SHARED,
    *,
    labels: Sequence[Sequence[int]] = (),
    batch: int = 32,
) -> Retrieval:
    """Compare every utterance with every text.

    Args:
        speech: states (T, D) of each utterance.
        texts: states (L, D) of its text.
        labels: of its text, by which it is told from others; as `Retrieval.labels`.
        batch: texts that are compared at once.
    """
    size = len(speech)
    distances = torch.empty(size, size)
    order = sorted(range(size), key=lambda index: len(texts[index]))
    groups = []
    for first in range(0, size, batch):
        places = order[first : first + batch]
        lengths = torch.tensor([len(texts[place]) for place in places])
        together = torch.nn.utils.rnn.pad_sequence([texts[place] for place in places], batch_first=True)
        groups.append((places, together, lengths, self_costs(together, lengths, config)))
    for row, states in enumerate(speech):
        alone = self_costs(states[None], torch.tensor([len(states)]), config)
        for places, together, lengths, within in groups:
            own = states.expand(len(places), *states.shape)
            across = entropic_costs(own, together, torch.full_like(lengths, len(states)), lengths, config)
            distances[row, places] = across - (within + alone) / 2
    return Retrieval(distances, labels)
