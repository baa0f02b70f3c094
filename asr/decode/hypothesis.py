"""What a decoder returns, and what it promises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from asr.names import composed

EmissionArray = npt.NDArray[np.floating[Any]]
"""Of any precision; `asr.arrays.FloatArray` is of 32 bits."""


@dataclass(frozen=True)
class WordSpan:
    """One word and the frames it covers."""

    text: str
    start_frame: int
    end_frame: int
    """One past the last frame; greater than ``start_frame``, at most the next word's start."""
    confidence: float
    """Estimated probability that the word is right, 0 to 1."""


@dataclass(frozen=True)
class Hypothesis:
    """One reading of an utterance."""

    text: str
    """Words separated by single spaces."""
    words: tuple[WordSpan, ...]
    """None of a text that was not to be timed."""
    score: float
    """What the decoder ranked by, natural log."""
    confidence: float
    """Geometric mean of the words' confidences; of the blank's posterior where there is no word. Of a text that was not
    to be timed, its share of the beam's probability."""
    ctc_score: float = 0.0
    """Natural log of p(text | audio) as far as the search summed it, without any language model. With the
    three parts below, each with its weight in it, it makes up ``score``."""
    lm_score: float = 0.0
    """What the language models add."""
    word_score: float = 0.0
    """What the word bonus adds."""
    hotword_score: float = 0.0
    """What the hotwords in the text add."""
    written: tuple[str, ...] = ()
    """What each label writes of a row that writes the text: the likeliest after a search with n-grams of pieces, which
    keeps rows apart; else the first that was met."""


@dataclass(frozen=True)
class Finished:
    """The texts of a search's last beam, best first; at least one."""

    labels: npt.NDArray[np.int32]
    """For each a row of labels that writes it, without blanks; one row after the other."""
    at: npt.NDArray[np.int64]
    """Where each row begins, (K + 1,)."""
    parts: npt.NDArray[np.float64]
    """What each is ranked by the sum of, natural log, (K, 3): the CTC's; that of the language models and the
    word bonus; that of the hotwords."""

    def row(self, place: int) -> list[int]:
        """The labels of one text."""
        row: list[int] = self.labels[self.at[place] : self.at[place + 1]].tolist()
        return row


class Decoder(Protocol):
    """Turns the emissions of one utterance into hypotheses."""

    def decode(self, emissions: EmissionArray) -> list[Hypothesis]:
        """Hypotheses, best first; at least one, whose text may be empty.

        Args:
            emissions: natural-log probabilities of the utterance's own frames, without padding, (T, C).
        Raises:
            ValueError: ``emissions`` is not (T, C) with one column per label, or holds NaN.
        """
        ...


@runtime_checkable
class BatchDecoder(Decoder, Protocol):
    """A decoder that takes many utterances at once."""

    def decode_all(self, emissions: Sequence[EmissionArray]) -> list[list[Hypothesis]]:
        """`Decoder.decode` of each utterance; what an utterance gives does not depend on the others."""
        ...


def decode_all(decoder: Decoder, emissions: Sequence[EmissionArray]) -> list[list[Hypothesis]]:
    """Hypotheses of many utterances, decoded together where the decoder can."""
    if isinstance(decoder, BatchDecoder):
        return decoder.decode_all(emissions)
    return [decoder.decode(each) for each in emissions]


def check_surfaces(surfaces: tuple[str, ...], blank: int) -> None:
    """Refuse a label table that a decoder cannot spell words with.

    Raises:
        ValueError: ``blank`` is no label or writes text; a surface has a space after its first character.
    """
    if not 0 <= blank < len(surfaces):
        raise ValueError(f"`blank` must be a label, 0 to {len(surfaces) - 1}; got {blank}.")
    if surfaces[blank]:
        raise ValueError(f"the surface of the blank, label {blank}, must be empty; got {surfaces[blank]!r}.")
    for label, surface in enumerate(surfaces):
        if " " in surface[1:]:
            raise ValueError(
                f"label {label} writes {surface!r}; a space may only come first. "
                "Train the tokenizer so that no piece crosses a word boundary."
            )


def check_emissions(emissions: EmissionArray, num_labels: int) -> None:
    """Refuse what is not one utterance's log-probabilities.

    Raises:
        TypeError: no array of numpy's.
        ValueError: wrong axes or number of labels, or NaN.
    """
    if not isinstance(emissions, np.ndarray):
        raise TypeError(
            f"`emissions` must be an array of numpy's; got {type(emissions).__name__}. "
            "Give emissions.cpu().numpy()."
        )
    if emissions.ndim != 2 or emissions.shape[1] != num_labels:
        raise ValueError(
            f"`emissions` must be (T, C) with C = {num_labels} labels; got {tuple(emissions.shape)}. "
            "Pass one utterance at a time."
        )
    if np.isnan(emissions).any():
        raise ValueError("`emissions` holds NaN. The model or the audio given to it is at fault.")


def plain_text(surfaces: Iterable[str]) -> str:
    """Text that a row of surfaces writes: joined, single spaces, none at the ends.

    >>> plain_text([" ", "a", "b", " ", " ", "c", " "])
    'ab c'
    """
    return " ".join(word for word in "".join(surfaces).split(" ") if word)


def written(phrase: str) -> str:
    """A phrase that a user gives as it is expected: in NFC, single spaces. What is written alike is one phrase."""
    return composed(plain_text(phrase))
