"""What a language model is to the decoder, and what a text is worth by it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from asr.decode.config import BeamSearchConfig
from lm.corpus import PIECE_SPACE, piece_of
from lm.tables import NgramTables

RESERVED = frozenset({"<unk>", "<s>", "</s>"})
"""Tokens of an n-gram model that are no words."""


class Ngram(Protocol):
    """An n-gram model as the decoder sees it; natural logs. `lm.ngram.NgramModel` is one."""

    def log_probs(self, tokens: Iterable[str]) -> list[float]:
        """Log-probability of each token of a sentence (that of <unk> where it is unseen), then of its end."""
        ...

    def __contains__(self, token: str) -> bool: ...

    @property
    def tables(self) -> tuple[NgramTables, list[str]]:
        """The same in arrays, for the compiled search, and its tokens by number."""
        ...


class LanguageModel(Protocol):
    """A word, a character and a piece model, or some of them. `lm.folder.LanguageModel` is one."""

    @property
    def word(self) -> Ngram | None:
        """Its tokens are words."""
        ...

    @property
    def character(self) -> Ngram | None:
        """Its tokens are single characters, the space as ``▁``."""
        ...

    @property
    def piece(self) -> Ngram | None:
        """Its tokens are the acoustic model's sentence pieces, spaces as ``▁``."""
        ...

    @property
    def pieces(self) -> tuple[str, ...]:
        """All pieces of the tokenizer that the piece model was made for; empty where unknown."""
        ...

    @property
    def speller(self) -> Ngram | None:
        """What spells unseen words: the character model, or another where there is none; None: all letters alike."""
        ...

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Words of the word model, to judge a half-written word by what it can become; may be empty."""
        ...

    @property
    def characters(self) -> frozenset[str]:
        """Characters of the text the models were made from, without the space; empty where unknown."""
        ...


@dataclass(frozen=True)
class Components:
    """What a text's language-model score is made of, unweighted; natural logs."""

    word: float
    """Word model, unseen words as <unk>, the sentence's end included where it is scored."""
    character: float
    """Character model over letters, boundaries and end."""
    spelling: float
    """Spelling of the unseen words, each with the boundary or end that follows it."""
    num_unknown: int
    num_words: int
    piece: float = 0.0
    """Piece model over the labels of one row that writes the text, and the end."""

    def total(self, config: BeamSearchConfig) -> float:
        """The terms that the search adds to log p_CTC (see `BeamSearchConfig`)."""
        word = self.word + config.unknown_offset * self.num_unknown + config.spelling_weight * self.spelling
        units = config.char_weight * self.character + config.piece_weight * self.piece
        return config.lm_weight * word + units + config.word_bonus * self.num_words


def components(
    model: LanguageModel,
    text: str,
    written: Sequence[str] = (),
    *,
    score_end: bool = True,
    asked: dict[tuple[str, int], list[float]] | None = None,
) -> Components:
    """What the score of a finished text is made of, computed from its definition.

    Args:
        text: words separated by single spaces.
        written: what each label of a row writes that writes the text, for the piece model. A text's score sums its
            rows (see `asr.decode.engine`); with one row alone, this is it.
        score_end: count the end of the sentence.
        asked: what n-gram models said of this text, to be handed from one language model to the next that shares them.
    """
    words = [word for word in text.split(" ") if word]
    asked = {} if asked is None else asked
    word_score = 0.0
    unknown = [False] * len(words)
    if model.word:
        word_score = _counted(_said(model.word, "words", words, asked), score_end)
        unknown = [word not in model.word for word in words]
    spelled = [0.0] * len(words)
    if model.character or any(unknown):
        spelled = _spellings(model, words, score_end, asked)
    character = 0.0
    if model.character:
        character = sum(spelled)
        if not words and score_end:
            character = model.character.log_probs([])[-1]
    return Components(
        word=word_score,
        character=character,
        spelling=sum(logp for logp, is_unknown in zip(spelled, unknown, strict=True) if is_unknown),
        num_unknown=sum(unknown),
        num_words=len(words),
        piece=row_log_prob(model.piece, written, score_end=score_end) if model.piece else 0.0,
    )


def row_log_prob(model: Ngram, written: Sequence[str], *, score_end: bool = True) -> float:
    """Log-probability of a row of labels by a piece model.

    Args:
        written: what each label writes.
        score_end: count the end of the sentence.
    """
    return _counted(model.log_probs(piece_of(surface) for surface in written if surface), score_end)


def _counted(log_probs: list[float], score_end: bool) -> float:
    return sum(log_probs if score_end else log_probs[:-1])


def _said(
    model: Ngram, units: str, tokens: Iterable[str], asked: dict[tuple[str, int], list[float]]
) -> list[float]:
    """Log-probabilities of a text's tokens by a model, which is asked once."""
    key = (units, id(model))
    if key not in asked:
        asked[key] = model.log_probs(tokens)
    return asked[key]


def _spellings(
    model: LanguageModel, words: list[str], score_end: bool, asked: dict[tuple[str, int], list[float]]
) -> list[float]:
    """Log-probability of each word's letters and of what follows them."""
    spelled = []
    speller = model.speller
    if not speller:
        size = max(2, len(model.characters) + 1) if model.characters else 30
        for place, word in enumerate(words):
            tokens = len(word) + (place + 1 < len(words) or score_end)
            spelled.append(-math.log(size) * tokens)
        return spelled
    log_probs = iter(_said(speller, "letters", PIECE_SPACE.join(words), asked))
    for place, word in enumerate(words):
        follows = place + 1 < len(words) or score_end
        spelled.append(sum(islice(log_probs, len(word) + follows)))
    return spelled
