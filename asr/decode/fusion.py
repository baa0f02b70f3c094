"""The language model's side of the beam search: what a text, whole or half-written, is worth."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from asr.decode.config import BeamSearchConfig

BOUNDARY = "▁"
"""How character models write the space between words."""
UNSEEN = "\ufffd"
"""A token that no model has seen: it stands for any unknown word."""
RESERVED = frozenset({"<unk>", "<s>", "</s>"})
"""Tokens of an n-gram model that are no words."""
MAX_CACHED = 400_000
"""Cached n-gram scores (about 100 bytes each) before the cache starts anew."""


class Ngram(Protocol):
    """An n-gram model as the decoder sees it; natural logs. `lm.ngram.NgramModel` is one."""

    def start(self) -> Any:
        """State before the first token of a sentence; states are hashable and compare by value."""
        ...

    def score(self, state: Any, token: str) -> tuple[Any, float]:
        """State after ``token`` and its log-probability (that of <unk> where it is unseen)."""
        ...

    def end(self, state: Any) -> float:
        """Log-probability of the sentence's end."""
        ...

    def __contains__(self, token: str) -> bool: ...


class LanguageModel(Protocol):
    """A word model, a character model, or both. `lm.folder.LanguageModel` is one."""

    @property
    def word(self) -> Ngram | None:
        """Its tokens are words."""
        ...

    @property
    def character(self) -> Ngram | None:
        """Its tokens are single characters, the space as ``▁``."""
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

    def total(self, config: BeamSearchConfig) -> float:
        """The terms that the search adds to log p_CTC (see `BeamSearchConfig`)."""
        word = self.word + config.unknown_offset * self.num_unknown + config.spelling_weight * self.spelling
        return (
            config.lm_weight * word + config.char_weight * self.character + config.word_bonus * self.num_words
        )


class CachedNgram:
    """An n-gram model whose states are small numbers and whose scores are remembered."""

    def __init__(self, model: Ngram) -> None:
        self._model = model
        self.clear()

    def clear(self) -> None:
        """Forget everything; numbers of states given out before mean nothing any more."""
        self._states: list[Any] = []
        self._numbers: dict[Hashable, int] = {}
        self._scores: dict[tuple[int, str], tuple[int, float, bool]] = {}
        self._ends: dict[int, float] = {}
        self.start = self._number(self._model.start())

    def trim(self) -> None:
        """Start anew once the cache has grown large. Call it between utterances."""
        if len(self._scores) > MAX_CACHED:
            self.clear()

    def score(self, state: int, token: str) -> tuple[int, float, bool]:
        """Next state, natural-log probability, and whether the model knows ``token``."""
        found = self._scores.get((state, token))
        if found is None:
            next_state, logp = self._model.score(self._states[state], token)
            found = (self._number(next_state), logp, token in self._model)
            self._scores[state, token] = found
        return found

    def end(self, state: int) -> float:
        """Log-probability of the sentence's end."""
        logp = self._ends.get(state)
        if logp is None:
            logp = self._ends[state] = self._model.end(self._states[state])
        return logp

    def _number(self, state: Any) -> int:
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
        return number


class TextState:
    """A text that may go on: one node of the tree of all texts the search has looked at.

    Texts are normalised: no space at the start, never two in a row. One text, one node.
    """

    __slots__ = ("bias", "char", "char_state", "children", "final", "history", "parent", "prefixes",
                 "score", "spelling", "word")  # fmt: skip

    def __init__(self, parent: TextState | None, char: str) -> None:
        self.parent = parent
        self.char = char
        self.children: dict[str, TextState] | None = None
        """Longer texts by the character they add; most nodes never get any."""
        self.prefixes: dict[int, Any] | None = None
        """The search's prefixes that write this text, by last label: pieces can spell it in many ways."""
        self.word = ""
        """The open word; empty at a boundary."""
        self.history = 0
        """State of the word model after the closed words."""
        self.char_state = 0
        self.score = 0.0
        """Weighted score of the closed words and of all characters."""
        self.spelling = 0.0
        """Log-probability of the open word's spelling so far."""
        self.bias = 0.0
        """`score` and an estimate for the open word: what the search ranks by."""
        self.final: float | None = None

    @property
    def text(self) -> str:
        """The text itself."""
        characters = []
        state: TextState | None = self
        while state is not None:
            characters.append(state.char)
            state = state.parent
        return "".join(reversed(characters))


class Fusion:
    """Scores texts as they grow, under one configuration.

    An open word is estimated, so that the search does not find out only at its end what it is worth:
    by the best unigram among the vocabulary's words that begin so, or by its spelling as an unseen
    word, whichever is more. The estimate gives way to the exact score when the word closes, so it
    steers pruning and never changes the score of a finished text.
    """

    def __init__(self, model: LanguageModel | None, config: BeamSearchConfig) -> None:
        self._config = config
        self._word = CachedNgram(model.word) if model and model.word and config.lm_weight else None
        # The character model also spells unseen words, so it may be needed at char_weight 0.
        wanted = config.char_weight > 0 or (self._word is not None and config.spelling_weight > 0)
        self._character = CachedNgram(model.character) if model and model.character and wanted else None
        size = max(2, len(model.characters) + 1) if model and model.characters else 30
        self._uniform = -math.log(size)
        self._unknown_unigram = 0.0
        self._best_unigrams: dict[str, float] = {}
        if self._word and model:
            self._unknown_unigram = self._unigram(UNSEEN)
            self._best_unigrams = self._best_by_beginning(model.vocabulary)

    def root(self) -> TextState:
        """The empty text."""
        for ngram in (self._word, self._character):
            if ngram:
                ngram.trim()
        state = TextState(None, "")
        state.history = self._word.start if self._word else 0
        state.char_state = self._character.start if self._character else 0
        return state

    def extend(self, state: TextState, surface: str) -> TextState:
        """The text with ``surface`` written after it."""
        for char in surface:
            if char == " " and not state.word:
                continue  # at a boundary already
            if state.children is None:
                state.children = {}
            found = state.children.get(char)
            if found is None:
                found = state.children[char] = self._child(state, char)
            state = found
        return state

    def final(self, state: TextState) -> float:
        """Weighted score of the text as a whole utterance; ``state`` must not end in a boundary."""
        if state.final is None:
            score, spelling = state.score, state.spelling
            if self._character:
                end = self._character.end(state.char_state) if self._config.score_end else 0.0
                score += self._config.char_weight * end
                spelling += end
            elif self._config.score_end:
                spelling += self._uniform
            history = state.history
            if state.word:
                history, closed = self._close(history, state.word, spelling)
                score += closed
            if self._word and self._config.score_end:
                score += self._config.lm_weight * self._word.end(history)
            state.final = score
        return state.final

    def _child(self, state: TextState, char: str) -> TextState:
        config = self._config
        child = TextState(state, char)
        score = state.score
        logp = self._uniform
        if self._character:
            child.char_state, logp, _ = self._character.score(
                state.char_state, BOUNDARY if char == " " else char
            )
            score += config.char_weight * logp
        if char == " ":
            child.history, closed = self._close(state.history, state.word, state.spelling + logp)
            child.score = child.bias = score + closed
            return child
        child.history = state.history
        child.word = word = state.word + char
        child.score = score
        child.spelling = spelling = state.spelling + logp
        estimate = config.word_bonus
        if self._word:
            unseen = self._unknown_unigram + config.unknown_offset + config.spelling_weight * spelling
            if self._best_unigrams:
                estimate += config.lm_weight * max(unseen, self._best_unigrams.get(word, unseen))
            elif self._character:
                # The word may turn out to be a known one: its spelling costs about as much as the word.
                estimate += config.lm_weight * spelling
        child.bias = score + estimate
        return child

    def _close(self, history: int, word: str, spelling: float) -> tuple[int, float]:
        if not self._word:
            return history, self._config.word_bonus
        config = self._config
        history, logp, known = self._word.score(history, word)
        if not known:
            logp += config.unknown_offset + config.spelling_weight * spelling
        return history, config.lm_weight * logp + config.word_bonus

    def _unigram(self, word: str) -> float:
        # After an unseen word no n-gram matches, so the score is the unigram's.
        assert self._word
        return self._word.score(self._word.score(self._word.start, UNSEEN)[0], word)[1]

    def _best_by_beginning(self, vocabulary: Iterable[str]) -> dict[str, float]:
        best: dict[str, float] = {}
        for word in vocabulary:
            if word in RESERVED:
                continue
            logp = self._unigram(word)
            for length in range(1, len(word) + 1):
                beginning = word[:length]
                if best.get(beginning, -math.inf) < logp:
                    best[beginning] = logp
        return best


def components(model: LanguageModel, text: str, *, score_end: bool = True) -> Components:
    """What the score of a finished text is made of, computed from its definition.

    Args:
        text: words separated by single spaces.
        score_end: count the end of the sentence.
    """
    words = [word for word in text.split(" ") if word]
    spelled = _spellings(model, words, score_end)
    word_score = 0.0
    unknown = [False] * len(words)
    if model.word:
        state = model.word.start()
        for place, word in enumerate(words):
            state, logp = model.word.score(state, word)
            word_score += logp
            unknown[place] = word not in model.word
        if score_end:
            word_score += model.word.end(state)
    character = 0.0
    if model.character:
        character = sum(spelled)
        if not words and score_end:
            character = model.character.end(model.character.start())
    return Components(
        word=word_score,
        character=character,
        spelling=sum(logp for logp, is_unknown in zip(spelled, unknown, strict=True) if is_unknown),
        num_unknown=sum(unknown),
        num_words=len(words),
    )


def _spellings(model: LanguageModel, words: list[str], score_end: bool) -> list[float]:
    """Log-probability of each word's letters and of what follows them."""
    spelled = []
    if not model.character:
        size = max(2, len(model.characters) + 1) if model.characters else 30
        for place, word in enumerate(words):
            tokens = len(word) + (place + 1 < len(words) or score_end)
            spelled.append(-math.log(size) * tokens)
        return spelled
    state = model.character.start()
    for place, word in enumerate(words):
        total = 0.0
        for char in word:
            state, logp = model.character.score(state, char)
            total += logp
        if place + 1 < len(words):
            state, logp = model.character.score(state, BOUNDARY)
            total += logp
        elif score_end:
            total += model.character.end(state)
        spelled.append(total)
    return spelled
