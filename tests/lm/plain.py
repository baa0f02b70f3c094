"""An n-gram model in dictionaries: slow, plain, and independent of kenlm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lm.arpa import read_arpa
from lm.folder import LanguageModel
from lm.kneser_ney import BackoffModel
from lm.ngram import State


@dataclass(frozen=True)
class PlainModel:
    """``grams[k - 1]`` maps k words to (log10 probability, log10 backoff weight)."""

    grams: tuple[dict[tuple[str, ...], tuple[float, float]], ...]

    @property
    def order(self) -> int:
        return len(self.grams)

    def log10_prob(self, history: Sequence[str], word: str) -> float:
        """log10 p(word | history) by the definition of backoff; unknown words are ``<unk>``."""
        known = [token if (token,) in self.grams[0] else "<unk>" for token in (*history, word)]
        gram = tuple(known[-self.order :])
        weight = 0.0
        while gram not in self.grams[len(gram) - 1]:
            if len(gram) == 1:
                return -math.inf  # not even <unk>
            context = gram[:-1]
            weight += self.grams[len(context) - 1].get(context, (0.0, 0.0))[1]
            gram = gram[1:]
        return weight + self.grams[len(gram) - 1][gram][0]


def plain(model: BackoffModel) -> PlainModel:
    return PlainModel(
        tuple(
            {
                tuple(model.vocabulary[word] for word in words): (float(p), float(b))
                for words, p, b in zip(table.words, table.log10_prob, table.log10_backoff, strict=True)
            }
            for table in model.tables
        )
    )


def read_plain(path: Path) -> PlainModel:
    return plain(read_arpa(path))


def open_word_log_prob(model: LanguageModel, state: State, word: str) -> tuple[State, float]:
    """The word model's state after ``word`` and its natural log-probability; of an unknown one with its spelling's."""
    assert model.word is not None
    after, log_prob = model.word.score(state, word)
    return after, log_prob + (0.0 if word in model.word else model.spelling_log_prob(word))
