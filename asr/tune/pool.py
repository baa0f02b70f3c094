"""Texts that decodings of dev found, and the weights that would rank them best."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from asr.decode import BeamSearchConfig, LanguageModel
from asr.decode.fusion import components, row_log_prob
from asr.decode.hotwords import HOTWORD_WEIGHT, occurrences, weighed
from asr.decode.hypothesis import plain_text
from asr.edits import num_errors

Weights = tuple[float, ...]

GRID: dict[str, tuple[float, ...]] = {
    "lm_weight": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5),
    "char_weight": (0.0, 0.25, 0.5, 0.75, 1.0),
    "piece_weight": (0.0, 0.25, 0.5, 0.75, 1.0),
    "word_bonus": (-2.0, 0.0, 2.0, 4.0),
    "unknown_offset": (-6.0, -2.0, 2.0, 6.0),
    "spelling_weight": (0.0, 0.5, 1.0),
    "hotword_weight": (0.0, 2.0, 4.0, 8.0),
}
"""First values tried of each weight; every combination is scored."""
NOT_NEGATIVE = frozenset({"lm_weight", "char_weight", "piece_weight", "spelling_weight", "hotword_weight"})
MAX_EXTENSIONS = 4
"""How often a grid grows beyond its edge, one step each time."""
PIECE = 4
"""Where the piece model's part is among those of a text's score."""


@dataclass(frozen=True)
class Base:
    """What weights are added to."""

    config: BeamSearchConfig
    """Everything that is not tuned, and the first values of what is."""
    hotwords: Mapping[str, float | None]
    """Phrases to expect, as the labels write them; those without a weight have the one that is tuned."""

    def configured(self, weights: Mapping[str, float]) -> BeamSearchConfig:
        """The settings with these weights."""
        hotwords = weighed(self.hotwords, weights.get("hotword_weight", HOTWORD_WEIGHT))
        fields = {name: value for name, value in weights.items() if name != "hotword_weight"}
        return replace(self.config, hotwords=hotwords, **fields)  # type: ignore[arg-type]  # names of float fields

    def first(self, names: Sequence[str], own: Mapping[str, Sequence[float]] | None = None) -> Weights:
        """First values of some weights, the nearest of the caller's own where there are any."""
        values = {name: float(getattr(self.config, name, HOTWORD_WEIGHT)) for name in names}
        nearest = {
            name: min(choices, key=lambda choice: abs(choice - values[name]))
            for name, choices in (own or {}).items()
            if name in values
        }
        return tuple((values | nearest).values())

    def occurrences(self, text: str) -> tuple[int, float]:
        """How often hotwords without a weight stand in a text, and the weights of the others that do."""
        if not self.hotwords:
            return 0, 0.0
        text, count, fixed = plain_text(text), 0, 0.0
        for phrase, weight in self.hotwords.items():
            times = occurrences(plain_text(phrase), text)
            count, fixed = (count + times, fixed) if weight is None else (count, fixed + times * weight)
        return count, fixed


def default_grid(
    language_model: LanguageModel, hotwords: Mapping[str, float | None] | None = None
) -> dict[str, tuple[float, ...]]:
    """`GRID` without the weights that have no effect with this language model and these hotwords."""
    useless: set[str] = set()
    if language_model.word is None:
        useless |= {"lm_weight", "unknown_offset", "spelling_weight"}
    if language_model.character is None:
        useless |= {"char_weight"}
    if language_model.piece is None:
        useless |= {"piece_weight"}
    if None not in (hotwords or {}).values():
        useless |= {"hotword_weight"}
    return {name: values for name, values in GRID.items() if name not in useless}


class Pool:
    """Texts found for each utterance, with the parts of their scores under each language model, and their errors.

    Whatever language model a text was found with, all of them rank it: log p_CTC is the same for all. A piece model
    is asked for one row of labels alone, where the search sums all that write the text; the others are mostly far
    less likely, and what is chosen in the end was decoded. It is the likeliest row where a search with pieces found the
    text; else the tokenizer's own, or whichever the search kept where that is not at hand.
    """

    def __init__(
        self,
        references: Sequence[str],
        arms: Mapping[str, LanguageModel],
        base: Base,
        split: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        """
        Args:
            split: the tokenizer's pieces of a text.
        """
        self._references = references
        self._arms = arms
        self._base = base
        self._split = split
        self._texts: list[dict[str, int]] = [{} for _ in references]
        self._ctc: list[list[float]] = [[] for _ in references]
        self._parts: dict[str, list[list[list[float]]]] = {arm: [[] for _ in references] for arm in arms}
        self._errors: list[list[tuple[int, int]]] = [[] for _ in references]

    def add(
        self,
        utterance: int,
        text: str,
        ctc_score: float,
        written: Sequence[str] = (),
        *,
        by_pieces: bool = False,
    ) -> None:
        """Keep ``text``; of two log p_CTC for one text the higher, whose beam lost less, counts.

        Args:
            written: what each label writes of a row of labels.
            by_pieces: it is the likeliest row, for a search with n-grams of pieces found it.
        """
        scores = self._ctc[utterance]
        place = self._texts[utterance].get(text)
        if place is not None:
            scores[place] = max(scores[place], ctc_score)
            if by_pieces:
                self._say_anew(utterance, place, written)
            return
        if self._split and not by_pieces:
            written = self._split(text)
        self._texts[utterance][text] = len(scores)
        scores.append(ctc_score)
        hot = self._base.occurrences(text)
        asked: dict[tuple[str, int], list[float]] = {}
        for arm, model in self._arms.items():
            found = components(model, text, written, score_end=self._base.config.score_end, asked=asked)
            parts = [found.word, found.num_unknown, found.spelling, found.character, found.piece]
            self._parts[arm][utterance].append([*parts, found.num_words, *hot])
        self._errors[utterance].append(errors(self._references[utterance], text))

    def _say_anew(self, utterance: int, place: int, written: Sequence[str]) -> None:
        for arm, model in self._arms.items():
            if model.piece:
                found = row_log_prob(model.piece, written, score_end=self._base.config.score_end)
                self._parts[arm][utterance][place][PIECE] = found

    def arrays(self, arm: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Parts of the scores (9, U, K) and errors (U, K, 2), filled up with texts of score -inf."""
        most = max(len(row) for row in self._ctc)
        parts = np.zeros((9, len(self._ctc), most))
        parts[0] = -np.inf
        wrong = np.zeros((len(self._ctc), most, 2), dtype=np.int64)
        for utterance, (scores, counts) in enumerate(zip(self._ctc, self._errors, strict=True)):
            parts[0, utterance, : len(scores)] = scores
            parts[1:, utterance, : len(scores)] = np.array(self._parts[arm][utterance]).T
            wrong[utterance, : len(scores)] = counts
        return parts, wrong


def rank(parts: npt.NDArray[np.float64], weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Scores of a pool's texts under some weights, (U, K).

    Args:
        parts: from `Pool.arrays`.
        weights: one for each name in `GRID`.
    """
    ctc, word, unknown, spelling, character, piece, words, hotwords, fixed = parts
    scores: npt.NDArray[np.float64] = (
        ctc
        + weights["lm_weight"]
        * (word + weights["unknown_offset"] * unknown + weights["spelling_weight"] * spelling)
        + weights["char_weight"] * character
        + weights["piece_weight"] * piece
        + weights["word_bonus"] * words
        + weights["hotword_weight"] * hotwords
        + fixed
    )
    return scores


def errors(reference: str, text: str) -> tuple[int, int]:
    """Word and character errors of ``text``."""
    return num_errors(reference.split(), text.split()), num_errors(reference, text)


def hotword_distance(names: Sequence[str], weights: Weights) -> float:
    """How far the weight of hotwords is from its default, for choosing among settings that make the same errors.

    Hotwords bear on few dev utterances or on none, where many weights tie. The first of them would be 0, with which
    hotwords do nothing.
    """
    return sum(
        abs(weight - HOTWORD_WEIGHT)
        for name, weight in zip(names, weights, strict=True)
        if name == "hotword_weight"
    )


class Ranking:
    """The weights that rank a pool best: the grid, then smaller and smaller steps around its optimum."""

    def __init__(
        self, pool: Pool, arm: str, first: Weights, base: Base, grid: Mapping[str, Sequence[float]]
    ) -> None:
        """
        Args:
            first: a setting to begin with.
            grid: first values of each weight.
        """
        self._parts, self._wrong = pool.arrays(arm)
        self._rows = np.arange(len(self._wrong))
        self._names = tuple(grid)
        self._fixed = dict(zip(GRID, base.first(tuple(GRID)), strict=True))
        self.grid = {name: list(values) for name, values in grid.items()}
        """Values of each weight, those it grew by among them."""
        self.tried: dict[Weights, tuple[int, int]] = {}
        """Word and character errors of every setting that was looked at, in order."""
        self.best = first
        self._score(first)
        for weights in itertools.product(*self.grid.values()):
            self._consider(weights)
        self._extend()
        steps = [_smallest_gap(values) / 2 for values in self.grid.values()]
        for _ in range(3):
            self._descend(steps)
            steps = [step / 2 for step in steps]

    def promising(self, count: int) -> list[Weights]:
        """The best settings, no two of which make the same number of errors: those mostly choose the same texts."""
        found: dict[tuple[int, int], Weights] = {}
        for weights in sorted(self.tried, key=self._order):
            found.setdefault(self.tried[weights], weights)
        return list(found.values())[:count]

    def edges(self, weights: Weights) -> tuple[str, ...]:
        """Weights at the first or last value of their grid or beyond; 0 is none where less is forbidden."""
        found = []
        for name, value in zip(self._names, weights, strict=True):
            values = self.grid[name]
            if len(values) < 2 or (value == 0 and name in NOT_NEGATIVE):
                continue
            if value <= values[0] or value >= values[-1]:
                found.append(name)
        return tuple(found)

    def _extend(self) -> None:
        """Grow the grid wherever its optimum lies on the edge, and look along the new values."""
        for _ in range(MAX_EXTENSIONS):
            edges = self.edges(self.best)
            if not edges:
                return
            for name in edges:
                axis, values = self._names.index(name), self.grid[name]
                low = self.best[axis] <= values[0]
                gap = _smallest_gap(values[:2] if low else values[-2:])
                value = values[0] - gap if low else values[-1] + gap
                if name in NOT_NEGATIVE:
                    value = max(0.0, value)
                values.insert(0 if low else len(values), value)
                # A new value of one weight together with every grid value of each other.
                self._consider(with_value(self.best, axis, value))
                for other, choices in enumerate(self.grid.values()):
                    for choice in choices:
                        self._consider(with_value(with_value(self.best, axis, value), other, choice))

    def _descend(self, steps: Sequence[float]) -> None:
        """Move one weight at a time while that helps."""
        before = None
        while before != self.best:
            before = self.best
            for axis, step in enumerate(steps):
                for sign in (-1, 1) if step else ():
                    value = round(self.best[axis] + sign * step, 4)
                    if value < 0 and self._names[axis] in NOT_NEGATIVE:
                        continue
                    self._consider(with_value(self.best, axis, value))

    def _consider(self, weights: Weights) -> None:
        if self._order(weights) < self._order(self.best):
            self.best = weights

    def _order(self, weights: Weights) -> tuple[tuple[int, int], float]:
        return self._score(weights), hotword_distance(self._names, weights)

    def _score(self, weights: Weights) -> tuple[int, int]:
        known = self.tried.get(weights)
        if known is not None:
            return known
        scores = rank(self._parts, self._fixed | dict(zip(self._names, weights, strict=True)))
        word_errors, character_errors = self._wrong[self._rows, scores.argmax(axis=1)].sum(axis=0).tolist()
        self.tried[weights] = (word_errors, character_errors)
        return word_errors, character_errors


def with_value(weights: Weights, axis: int, value: float) -> Weights:
    """Weights with one of them changed."""
    return (*weights[:axis], value, *weights[axis + 1 :])


def _smallest_gap(values: Sequence[float]) -> float:
    """Least distance of neighbours; 0 of a single value, which is fixed."""
    return min((high - low for low, high in itertools.pairwise(values)), default=0.0)
