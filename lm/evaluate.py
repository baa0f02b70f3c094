"""How well a language model foresees a text: perplexity and unknown words."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lm.corpus import Splitter, characters_of, normalised, repeated, words_of
from lm.errors import InputError
from lm.folder import LanguageModel
from lm.ngram import NgramModel


@dataclass(frozen=True, kw_only=True)
class WordScore:
    """The word model on a text; ends of sentences count as tokens, as in kenlm's `query`."""

    order: int
    perplexity: float
    """Unknown words included, each at p(<unk>): comparable only under the same vocabulary."""
    perplexity_known: float
    """Unknown words left out."""
    bits_per_character: float | None
    """Of the open vocabulary: unknown words are spelled by the character model; None without one."""
    unknown_tokens: int
    unknown_token_rate: float
    """Of the words, ends of sentences not counted."""
    unknown_types: int
    unknown_type_rate: float
    unknown_most_frequent: list[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class CharacterScore:
    """The character model on a text; the end of a sentence counts as one character."""

    order: int
    perplexity: float
    bits_per_character: float
    unknown_characters: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class PieceScore:
    """The piece model on a text as its tokenizer splits it; the end of a sentence counts as one piece."""

    order: int
    perplexity: float
    bits_per_character: float
    """Comparable with the character model's: of characters with spaces, the end of a sentence as one."""
    unknown_pieces: dict[str, int]
    """What no piece writes among them."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate` found."""

    sentences: int
    words: int
    characters: int
    """Spaces included, ends of sentences not."""
    repeated_sentences: int
    """Copies of an earlier sentence of the same text."""
    training_sentences: int | None
    """Sentences that the model was trained on (a leak, or formulas); None where unknown."""
    word: WordScore | None
    character: CharacterScore | None
    piece: PieceScore | None = None
    """None also where nothing was given that splits the text into pieces."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def evaluate(
    model: LanguageModel, sentences: Sequence[str], *, top: int = 10, splitter: Splitter | None = None
) -> Evaluation:
    """Score a text that has been normalised by the model's own policy.

    Args:
        top: how many of the most frequent unknown words to name.
        splitter: splits the text for the piece model.
    Raises:
        InputError: there is no sentence, or the splitter's pieces are not the model's.
    """
    if not sentences:
        raise InputError(
            "text: no sentence in it. Give text with at least one sentence that the text policy keeps."
        )
    if model.piece and splitter and model.pieces and model.pieces != splitter.pieces:
        raise InputError(
            f"language model {model.path} has n-grams of another tokenizer's pieces. "
            "Give the tokenizer that it was built with."
        )
    return Evaluation(
        sentences=len(sentences),
        words=sum(len(words_of(sentence)) for sentence in sentences),
        characters=sum(len(characters_of(sentence)) for sentence in sentences),
        repeated_sentences=repeated(sentences),
        training_sentences=sum(s in model.training for s in sentences) if model.training else None,
        word=_score_words(model, model.word, sentences, top) if model.word else None,
        character=_score_characters(model.character, sentences) if model.character else None,
        piece=_score_pieces(model.piece, sentences, splitter) if model.piece and splitter else None,
    )


def warn_of_training(model: LanguageModel, texts: Iterable[str], policy: Callable[[str], str]) -> None:
    """Say on standard error how many of some texts the model was trained on, if any.

    Args:
        policy: the model's, which the texts are not under yet.
    """
    if model.training is not None:
        sentences = normalised(texts, policy)
        warn_of_seen(model, sum(sentence in model.training for sentence in sentences), len(sentences))


def warn_of_seen(model: LanguageModel, seen: int, total: int) -> None:
    """The same of sentences that were counted, as `evaluate` does."""
    if seen:
        print(
            f"warning: {seen} of {total} sentences are in the training text of {model.path}; "
            "the figures flatter the model",
            file=sys.stderr,
            flush=True,
        )


def _score_words(model: LanguageModel, words: NgramModel, sentences: Sequence[str], top: int) -> WordScore:
    total = known = 0.0
    num_tokens = num_characters = 0
    seen: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for sentence in sentences:
        tokens = words_of(sentence)
        seen.update(tokens)
        num_tokens += len(tokens) + 1
        num_characters += len(characters_of(sentence)) + 1
        for token, log_prob in zip([*tokens, None], words.log_probs(tokens), strict=True):
            total += log_prob
            if token is None or token in words:
                known += log_prob
            else:
                unknown[token] += 1
    spelled = sum(count * model.spelling_log_prob(token) for token, count in unknown.items())
    num_unknown = unknown.total()
    return WordScore(
        order=words.order,
        perplexity=math.exp(-total / num_tokens),
        perplexity_known=math.exp(-known / (num_tokens - num_unknown)),
        bits_per_character=-(total + spelled) / num_characters / math.log(2) if model.character else None,
        unknown_tokens=num_unknown,
        unknown_token_rate=num_unknown / max(seen.total(), 1),
        unknown_types=len(unknown),
        unknown_type_rate=len(unknown) / max(len(seen), 1),
        unknown_most_frequent=sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:top],
    )


def _score_characters(model: NgramModel, sentences: Sequence[str]) -> CharacterScore:
    total, num_tokens, unknown = _score_tokens(model, map(characters_of, sentences))
    return CharacterScore(
        order=model.order,
        perplexity=math.exp(-total / num_tokens),
        bits_per_character=-total / num_tokens / math.log(2),
        unknown_characters=unknown,
    )


def _score_pieces(model: NgramModel, sentences: Sequence[str], splitter: Splitter) -> PieceScore:
    total, num_tokens, unknown = _score_tokens(model, map(splitter.split, sentences))
    num_characters = sum(len(characters_of(sentence)) + 1 for sentence in sentences)
    return PieceScore(
        order=model.order,
        perplexity=math.exp(-total / num_tokens),
        bits_per_character=-total / num_characters / math.log(2),
        unknown_pieces=unknown,
    )


def _score_tokens(model: NgramModel, sentences: Iterable[Sequence[str]]) -> tuple[float, int, dict[str, int]]:
    """Natural log-probability of sentences, their tokens with an end for each, and the unknown ones counted."""
    total, num_tokens = 0.0, 0
    unknown: Counter[str] = Counter()
    for tokens in sentences:
        total += sum(model.log_probs(tokens))
        num_tokens += len(tokens) + 1
        unknown.update(token for token in tokens if token not in model)
    return total, num_tokens, dict(sorted(unknown.items()))
