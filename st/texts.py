"""From texts to translated texts: what a cascade asks of an MT model, and our own behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from asr.batches import in_rows, padded
from lm.errors import InputError
from st.model import END, Memory, TextTranslator
from st.search import TranslationHypothesis, TranslationSearchConfig, translate

BATCH = 16
"""Texts that are translated together."""
UNREADABLE = 0.3
"""Share of texts that an MT model cannot read above which it is the wrong model."""
FEW = 20
"""Characters of a text below which it is not judged alone: a name, or a cough, is no other language."""


@dataclass(frozen=True)
class Scored:
    """A translation."""

    text: str
    score: float
    """Log-probability for each label, the closing one's included."""
    cut: bool = False
    """It was closed by the limit of labels."""


class TextToText(Protocol):
    """Anything that translates texts."""

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target, empty where they are not known."""
        ...

    def unknown(self, text: str) -> tuple[int, int]:
        """Characters or pieces of a text that the model cannot read, and how many there are."""
        ...

    def translate(self, texts: Sequence[str]) -> list[Scored]:
        """The best translation of each; that of an empty text is empty."""
        ...


class Legibility:
    """How much an MT model can read of the texts of a recording or a split.

    One text in other letters is no reason to lose the rest, so each is judged for itself, and the model by all.
    """

    def __init__(self, texts: TextToText, name: str | Path) -> None:
        """
        Args:
            name: what to call the model.
        """
        self.texts = texts
        self.name = name
        self.unknown = self.total = self.unread = 0

    def reads(self, text: str) -> bool:
        """Whether the model can read enough of a text to translate it; the text is counted."""
        unknown, total = self.texts.unknown(text)
        self.unknown += unknown
        self.total += total
        enough = len(text) < FEW or unknown <= UNREADABLE * total
        self.unread += not enough
        return enough

    def check(self, source: str) -> None:
        """Judge the model.

        Args:
            source: where the texts are from.
        Raises:
            InputError: it cannot read enough of all that were counted.
        """
        if self.unknown > UNREADABLE * self.total:
            raise InputError(
                f"{source}: MT model {self.name} cannot read {self.unknown / self.total:.0%} of the transcripts: it is "
                "for another language or script. Give one that was trained on such transcripts."
            )


class OwnTranslator:
    """A text translator of ours."""

    def __init__(
        self,
        model: TextTranslator,
        config: TranslationSearchConfig | None = None,
        *,
        language: str = "",
        written: str = "",
    ) -> None:
        """
        Args:
            language: of the texts, for a model that tells several apart.
            written: key of the text policy that wrote them, where a recogniser did.
        """
        self.model = model
        self.config = config or TranslationSearchConfig()
        self.language = language
        self.written = written

    @property
    def languages(self) -> tuple[str, str]:
        """Those of the corpus that it was trained on."""
        return self.model.languages

    def unknown(self, text: str) -> tuple[int, int]:
        """Characters that have no label, and all."""
        source = self.model.source
        letters = source.policy.of_written(self.written)(text).replace(" ", "")
        return source.unknown([letters]).total(), len(letters)

    def translate(self, texts: Sequence[str]) -> list[Scored]:
        """The best translation of each."""
        labels = [self.model.source.encode(text, self.language, written=self.written) for text in texts]
        found = []
        for best, *_ in translate_labels(self.model, labels, self.config):
            # The search compares texts under a length penalty; the closing label is one of them.
            score = best.score * (len(best.labels) + 1) ** (self.config.length_penalty - 1)
            found.append(Scored(self.model.tokenizer.decode(best.labels), score, best.cut))
        return found


def translate_labels(
    model: TextTranslator, labels: Sequence[Sequence[int]], config: TranslationSearchConfig
) -> list[list[TranslationHypothesis]]:
    """Translations of each text, best first; that of an empty one is empty."""
    found: dict[int, list[TranslationHypothesis]] = {}
    for places, memory in _memories(model, labels):
        found.update(zip(places, translate(model.decoder, memory, config), strict=True))
    return [found[place] for place in range(len(labels))]


def text_memories(model: TextTranslator, labels: Sequence[Sequence[int]]) -> list[Memory]:
    """What the decoder looks at of each text; of an empty one, an empty memory."""
    found: dict[int, Memory] = {}
    for places, memory in _memories(model, labels):
        found.update(zip(places, memory.apart(), strict=True))
    return [found[place] for place in range(len(labels))]


def _memories(model: TextTranslator, labels: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Memory]]:
    """Of a few texts at once where they stand, and what the decoder looks at."""
    device = model.decoder.embedding.labels.weight.device
    # Alike lengths together, so that little is padding.
    for places in in_rows(sorted(range(len(labels)), key=lambda place: len(labels[place])), BATCH):
        # An empty text stands in the batch with a label that nothing looks at.
        batch, _ = padded([np.asarray(labels[place] or [END], dtype=np.int64) for place in places])
        sizes = torch.tensor([len(labels[place]) for place in places])
        with torch.inference_mode():
            memory = model.memory(batch.to(device), sizes.to(device))
        yield places, memory


def refuse_ctc_score(name: str | Path, search: TranslationSearchConfig) -> None:
    """Refuse, for a text translator, a search that asks for a CTC score.

    Raises:
        InputError: it does.
    """
    if search.ctc_weight:
        raise InputError(
            f"ctc_weight is {search.ctc_weight:g}, and MT model {name} translates text, which has no CTC layer. "
            "Leave it out."
        )
