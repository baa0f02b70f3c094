"""Small models and emissions for the tests of decoding."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from asr.decode import BeamSearchConfig, EmissionArray, plain_text
from asr.decode.fusion import components
from lm.tables import NgramTables, load_tables

LETTERS = ("", "a", " ", "b")
PIECES = ("", "a", " a", "ab", "b", " ")
WITH_SPECIAL = ("a", "", "", " ")  # label 2 is no blank but writes nothing
EVERYTHING = BeamSearchConfig(
    beam_width=10**9,
    beam_threshold=math.inf,
    label_threshold=math.inf,
    max_labels=10**9,
    num_hypotheses=10**9,
    lm_weight=0.7,
    char_weight=0.4,
    piece_weight=0.8,
    word_bonus=0.9,
    unknown_offset=-0.3,
    spelling_weight=0.6,
)
"""A search that leaves nothing out."""


@dataclass(frozen=True)
class ToyModel:
    """What `lm.folder.LanguageModel` is to the decoder."""

    word: ToyNgram | None = None
    character: ToyNgram | None = None
    vocabulary: tuple[str, ...] = ()
    characters: frozenset[str] = frozenset("ab")
    piece: ToyNgram | None = None
    pieces: tuple[str, ...] = ()

    @property
    def speller(self) -> ToyNgram | None:
        """All letters alike where there is no character model."""
        return self.character


class ToyNgram:
    """A bigram model with made-up numbers for pairs and a fixed price for whatever it has not seen."""

    order = 2

    def __init__(self, tokens: Iterable[str], seed: int, unknown: float = -6.0) -> None:
        self.tokens = tuple(tokens)
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(len(self.tokens) + 1, len(self.tokens) + 1))
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        self._rows = rows
        self._unknown = unknown

    def __contains__(self, token: str) -> bool:
        return token in self.tokens

    @cached_property
    def tables(self) -> tuple[NgramTables, list[str]]:
        """The same numbers as an ARPA file gives them: what follows the start or an unknown token are unigrams."""

        def line(logp: float, *words: str) -> str:
            return f"{logp / math.log(10):.9f}\t{' '.join(words)}\t0\n"

        after = [*self.tokens, "</s>"]
        unigrams = [line(self._unknown, "<unk>"), line(-99, "<s>")]
        unigrams += [line(logp, word) for word, logp in zip(after, self._rows[-1], strict=True)]
        bigrams = [
            line(logp, word, then).removesuffix("\t0\n") + "\n"
            for word, row in zip(self.tokens, self._rows, strict=False)
            for then, logp in zip(after, row, strict=True)
        ]
        parts = [
            "\\data\\\n", f"ngram 1={len(unigrams)}\n", f"ngram 2={len(bigrams)}\n",
            "\n\\1-grams:\n", *unigrams, "\n\\2-grams:\n", *bigrams, "\n\\end\\\n",
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "toy.arpa")
            path.write_text("".join(parts), encoding="utf-8")
            return load_tables(path)

    def log_probs(self, tokens: Iterable[str]) -> list[float]:
        before, found = len(self.tokens), []
        for token in tokens:
            known = token in self.tokens
            place = self.tokens.index(token) if known else len(self.tokens)
            found.append(float(self._rows[before, place]) if known else self._unknown)
            before = place
        return [*found, float(self._rows[before, -1])]


def random_emissions(num_frames: int, num_labels: int, seed: int, sharpness: float = 1.0) -> EmissionArray:
    """Normalised log-probabilities, (T, C)."""
    logits = sharpness * np.random.default_rng(seed).normal(size=(num_frames, num_labels))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def every_text(emissions: EmissionArray, surfaces: tuple[str, ...], blank: int) -> dict[str, float]:
    """log p_CTC of every text by its definition: the sum over all paths that write it."""
    masses: dict[str, float] = {}
    for row, mass in every_row(emissions, blank).items():
        text = _text(row, surfaces)
        masses[text] = masses.get(text, 0.0) + mass
    return {text: math.log(mass) for text, mass in masses.items()}


def every_row(emissions: EmissionArray, blank: int) -> dict[tuple[int, ...], float]:
    """Probability of every row of labels without blanks by its definition: the sum over all its paths."""
    masses: dict[tuple[int, ...], float] = {}
    num_frames, num_labels = emissions.shape
    frames = np.arange(num_frames)
    for path in product(range(num_labels), repeat=num_frames):
        labels = [label for place, label in enumerate(path) if place == 0 or label != path[place - 1]]
        row = tuple(label for label in labels if label != blank)
        probability = math.exp(float(emissions[frames, list(path)].astype(np.float64).sum()))
        masses[row] = masses.get(row, 0.0) + probability
    return {row: mass for row, mass in masses.items() if mass > 0}


def _text(row: Iterable[int], surfaces: tuple[str, ...]) -> str:
    return plain_text(surfaces[label] for label in row)


@dataclass(frozen=True)
class Parts:
    """A text and what its score is made of, by definition."""

    text: str
    ctc_score: float
    lm_score: float
    word_score: float
    hotword_score: float

    @property
    def score(self) -> float:
        return self.ctc_score + self.lm_score + self.word_score + self.hotword_score


def hotword_score(text: str, hotwords: dict[str, float]) -> float:
    """The weight of each phrase times the places where its words, or its Thai letters, stand one after the other."""
    words = text.split()
    total = 0.0
    for phrase, weight in hotwords.items():
        if set(phrase) <= set("กข "):
            total += weight * sum(text.startswith(phrase, at) for at in range(len(text)))
            continue
        wanted = phrase.split()
        total += weight * sum(words[at : at + len(wanted)] == wanted for at in range(len(words)))
    return total


def best_texts(
    emissions: EmissionArray,
    surfaces: tuple[str, ...],
    blank: int,
    model: ToyModel | None,
    config: BeamSearchConfig,
) -> list[Parts]:
    """What the beam search finds without pruning, by trying all paths: the n-best list."""
    rows = every_row(emissions, blank)
    kept = {row: row for row in rows}
    if not config.open_vocabulary:
        kept = _in_vocabulary(rows, surfaces, model, config)
    masses: dict[str, float] = {}
    said: dict[str, float] = {}  # the same with the piece model's score of each row
    for row, scored in kept.items():
        text = _text(scored, surfaces)
        piece = piece_score(model.piece, scored, surfaces, config.score_end) if model and model.piece else 0.0
        masses[text] = masses.get(text, 0.0) + rows[row]
        said[text] = said.get(text, 0.0) + rows[row] * math.exp(config.piece_weight * piece)
    found = []
    for text, mass in masses.items():
        count = len(text.split())
        without_bonus = math.log(said[text] / mass)
        if model:
            parts = components(replace(model, piece=None), text, score_end=config.score_end)
            without_bonus += parts.total(config) - config.word_bonus * count
        hot = hotword_score(text, config.hotwords)
        found.append(Parts(text, math.log(mass), without_bonus, config.word_bonus * count, hot))
    return sorted(found, key=lambda each: -each.score)[: config.num_hypotheses]


def piece_score(model: ToyNgram, row: Iterable[int], surfaces: tuple[str, ...], score_end: bool) -> float:
    """Log-probability of a row of labels: those that write something, and the end."""
    found = model.log_probs(surfaces[label].replace(" ", "▁") for label in row if surfaces[label])
    return sum(found if score_end else found[:-1])


def _in_vocabulary(
    rows: Iterable[tuple[int, ...]],
    surfaces: tuple[str, ...],
    model: ToyModel | None,
    config: BeamSearchConfig,
) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Rows that write known words; where there are none, rows and what is left of them without an unfinished word."""
    vocabulary = {word for phrase in config.hotwords for word in phrase.split()}
    vocabulary |= set(model.word.tokens) if model and model.word else set()
    whole: dict[tuple[int, ...], tuple[int, ...]] = {}
    cut: dict[tuple[int, ...], tuple[int, ...]] = {}
    for row in rows:
        words = _text(row, surfaces).split()
        if vocabulary.issuperset(words):
            whole[row] = row
        elif (
            vocabulary.issuperset(words[:-1])
            and not "".join(surfaces[label] for label in row).endswith(" ")
            and any(word.startswith(words[-1]) for word in vocabulary)
        ):
            before = [row[:at] for at in range(len(row)) if _text(row[:at], surfaces).split() == words[:-1]]
            cut[row] = max(before, key=len)
    return whole or cut


def peaky_emissions(
    labels: Iterable[tuple[int, int]], num_frames: int, num_labels: int, peak: float = 0.95
) -> EmissionArray:
    """Blank (label 0) at 0.99 everywhere but where (frame, label) says so, at ``peak``."""
    probabilities = np.full((num_frames, num_labels), 0.01 / (num_labels - 1))
    probabilities[:, 0] = 0.99
    for frame, label in labels:
        probabilities[frame] = (1 - peak) / (num_labels - 1)
        probabilities[frame, label] = peak
    return np.log(probabilities).astype(np.float32)


def toy_model(kind: str) -> ToyModel:
    """A word model, a character model, "both", a piece model, it and words, or "all", over the letters a and b."""
    words = ToyNgram(("a", "ab", "b"), seed=1) if "word" in kind or kind in ("both", "all") else None
    characters = ToyNgram(("a", "b", "▁"), seed=2) if kind in ("character", "both", "all") else None
    # "b" is unknown to it.
    pieces = ToyNgram(("a", "▁a", "ab", "▁"), seed=3) if "piece" in kind or kind == "all" else None
    vocabulary = ("<unk>", "<s>", "</s>", "a", "ab", "b") if kind == "word+vocabulary" else ()
    return ToyModel(word=words, character=characters, vocabulary=vocabulary, piece=pieces)
