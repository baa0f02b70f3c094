"""Choose the decoder's weights on dev: fewest word errors, then fewest character errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from asr.decode import BeamSearchConfig, Decoder, FloatArray, LanguageModel
from asr.decode.fusion import components
from asr.edits import error_counts
from lm.errors import InputError

Weights = tuple[float, ...]
MakeDecoder = Callable[[BeamSearchConfig], Decoder]

GRID: dict[str, tuple[float, ...]] = {
    "lm_weight": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5),
    "char_weight": (0.0, 0.25, 0.5, 0.75, 1.0),
    "word_bonus": (-2.0, 0.0, 2.0, 4.0),
    "unknown_offset": (-6.0, -2.0, 2.0, 6.0),
    "spelling_weight": (0.0, 0.5, 1.0),
}
"""First values tried of each weight; every combination is scored."""
NOT_NEGATIVE = frozenset({"lm_weight", "char_weight", "spelling_weight"})
MAX_EXTENSIONS = 4
"""How often a grid grows beyond its edge, one step each time."""


@dataclass(frozen=True)
class Trial:
    """One setting and how it did on dev."""

    weights: dict[str, float]
    wer: float
    """Word errors per reference word."""
    cer: float
    """Character errors per reference character, spaces included."""
    decoded: bool
    """True where the beam search ran with these weights; false where n-best lists were only ranked anew."""


@dataclass(frozen=True)
class TuneResult:
    """The best setting and everything that was tried."""

    config: BeamSearchConfig
    """The chosen settings, those that were not tuned as they came."""
    wer: float
    cer: float
    trials: tuple[Trial, ...]
    """In the order in which they were tried."""
    edges: tuple[str, ...]
    """Weights whose best value still lies on the edge of what was tried; the true best may lie beyond."""


def tune(
    emissions: Sequence[FloatArray],
    references: Sequence[str],
    make_decoder: MakeDecoder,
    language_model: LanguageModel,
    *,
    start: BeamSearchConfig | None = None,
    grid: Mapping[str, Sequence[float]] | None = None,
    nbest: int = 64,
    max_rounds: int = 5,
    report: Callable[[str], None] = lambda line: None,
) -> TuneResult:
    """Tune the weights of the beam search.

    Decoding is dear and ranking cheap. Each round decodes dev with the weights so far, adds what it
    found to a pool of texts per utterance, and looks for the weights that rank the pool best: over
    the whole grid, then by ever smaller steps around its optimum. Rounds end when the weights settle.
    Only settings that were really decoded can be chosen. The same input gives the same result.

    Args:
        emissions: natural-log probabilities of each dev utterance, (T, C) each.
        references: their texts, under the text policy of the model.
        make_decoder: builds the decoder to be tuned, with the same ``language_model``.
        language_model: what the texts are scored by when they are ranked anew.
        start: settings of the first round and of everything that is not tuned.
        grid: first values of each weight; `GRID` without the weights that have no effect.
        nbest: texts that each decoding adds for an utterance, at most the beam width.
        max_rounds: decodings of dev at most.
        report: receives a line of progress for each decoding.
    Raises:
        InputError: no dev utterance, no reference word, or unequal numbers of emissions and texts.
    """
    if len(emissions) != len(references):
        raise InputError(
            f"{len(emissions)} utterances for {len(references)} reference texts. Give one text for each."
        )
    if not any(reference.split() for reference in references):
        raise InputError("the dev utterances have no reference text. Tune on utterances with transcripts.")
    start = start or BeamSearchConfig()
    tried = {name: tuple(sorted(values)) for name, values in (grid or default_grid(language_model)).items()}
    pool = Pool(references, language_model, score_end=start.score_end)
    trials: list[Trial] = []
    decoded: dict[Weights, Trial] = {}
    names = tuple(tried)
    config, edges = start, tuple[str, ...]()
    edges_of: dict[Weights, tuple[str, ...]] = {}
    for round_ in range(1, max_rounds + 1):
        key = _key(config, names)
        if key in decoded:
            break
        edges_of[key] = edges
        trial = _decode(config, names, emissions, references, make_decoder, pool, nbest)
        decoded[key] = trial
        trials.append(trial)
        report(f"round {round_}: WER {trial.wer:.2%}, CER {trial.cer:.2%} at {_shown(trial.weights)}")
        search = _Search(pool, config, tried)
        search.run()
        trials += search.trials
        config, edges = _reweighted(config, dict(zip(names, search.best, strict=True))), search.edges
    key, best = min(decoded.items(), key=lambda item: (item[1].wer, item[1].cer))
    return TuneResult(
        config=_reweighted(start, best.weights),
        wer=best.wer,
        cer=best.cer,
        trials=tuple(trials),
        edges=edges_of[key],
    )


def default_grid(language_model: LanguageModel) -> dict[str, tuple[float, ...]]:
    """`GRID` without the weights that ``language_model`` leaves without effect."""
    useless: set[str] = set()
    if language_model.word is None:
        useless |= {"lm_weight", "unknown_offset", "spelling_weight"}
    if language_model.character is None:
        useless |= {"char_weight"}
    return {name: values for name, values in GRID.items() if name not in useless}


class Pool:
    """Texts found for each utterance, with the parts of their scores and their errors."""

    def __init__(self, references: Sequence[str], language_model: LanguageModel, *, score_end: bool) -> None:
        self._references = references
        self._language_model = language_model
        self._score_end = score_end
        self._texts: list[dict[str, int]] = [{} for _ in references]
        self._parts: list[list[list[float]]] = [[] for _ in references]
        self._errors: list[list[tuple[int, int]]] = [[] for _ in references]
        self.num_words = sum(len(reference.split()) for reference in references)
        self.num_characters = sum(len(reference) for reference in references)

    def add(self, utterance: int, text: str, ctc_score: float) -> None:
        """Keep ``text``; of two log p_CTC for one text the higher, whose beam lost less, counts."""
        place = self._texts[utterance].get(text)
        if place is not None:
            parts = self._parts[utterance][place]
            parts[0] = max(parts[0], ctc_score)
            return
        self._texts[utterance][text] = len(self._parts[utterance])
        found = components(self._language_model, text, score_end=self._score_end)
        self._parts[utterance].append(
            [ctc_score, found.word, found.num_unknown, found.spelling, found.character, found.num_words]
        )
        self._errors[utterance].append(errors(self._references[utterance], text))

    def arrays(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Parts of the scores (6, U, K) and errors (U, K, 2), filled up with texts of score -inf."""
        most = max(len(row) for row in self._parts)
        parts = np.zeros((6, len(self._parts), most))
        parts[0] = -np.inf
        wrong = np.zeros((len(self._parts), most, 2), dtype=np.int64)
        for utterance, (row, counts) in enumerate(zip(self._parts, self._errors, strict=True)):
            parts[:, utterance, : len(row)] = np.array(row).T
            wrong[utterance, : len(row)] = counts
        return parts, wrong


def errors(reference: str, text: str) -> tuple[int, int]:
    """Word and character errors of ``text``."""
    return error_counts(reference.split(), text.split()).errors, error_counts(reference, text).errors


class _Search:
    """The weights that rank a pool best: the grid, then smaller and smaller steps around its optimum."""

    def __init__(self, pool: Pool, config: BeamSearchConfig, grid: Mapping[str, tuple[float, ...]]) -> None:
        self._pool = pool
        self._parts, self._wrong = pool.arrays()
        self._rows = np.arange(len(self._wrong))
        self._fixed = config
        self._names = tuple(grid)
        self._grid = {name: list(values) for name, values in grid.items()}
        self._seen: dict[Weights, tuple[int, int]] = {}
        self.trials: list[Trial] = []
        self.best: Weights = _key(config, self._names)
        self.edges: tuple[str, ...] = ()

    def run(self) -> None:
        """Leaves `best`, `edges` and `trials`."""
        self._score(self.best)
        for weights in itertools.product(*self._grid.values()):
            self._consider(weights)
        self._extend()
        steps = [_smallest_gap(values) / 2 for values in self._grid.values()]
        for _ in range(3):
            self._descend(steps)
            steps = [step / 2 for step in steps]
        self.edges = self._edges()

    def _extend(self) -> None:
        """Grow the grid wherever its optimum lies on the edge, and look along the new values."""
        for _ in range(MAX_EXTENSIONS):
            edges = self._edges()
            if not edges:
                return
            for name in edges:
                axis, values = self._names.index(name), self._grid[name]
                low = self.best[axis] <= values[0]
                gap = _smallest_gap(values[:2] if low else values[-2:])
                value = values[0] - gap if low else values[-1] + gap
                if name in NOT_NEGATIVE:
                    value = max(0.0, value)
                values.insert(0 if low else len(values), value)
                # A new value of one weight together with every grid value of each other.
                self._consider(_with(self.best, axis, value))
                for other, choices in enumerate(self._grid.values()):
                    for choice in choices:
                        self._consider(_with(_with(self.best, axis, value), other, choice))

    def _descend(self, steps: Sequence[float]) -> None:
        """Move one weight at a time while that helps."""
        before = None
        while before != self.best:
            before = self.best
            for axis, step in enumerate(steps):
                for sign in (-1, 1):
                    value = round(self.best[axis] + sign * step, 4)
                    if value < 0 and self._names[axis] in NOT_NEGATIVE:
                        continue
                    self._consider(_with(self.best, axis, value))

    def _edges(self) -> tuple[str, ...]:
        """Weights at the first or last value of their grid or beyond; 0 is none where less is forbidden."""
        found = []
        for name, value in zip(self._names, self.best, strict=True):
            values = self._grid[name]
            if len(values) < 2 or (value == 0 and name in NOT_NEGATIVE):
                continue
            if value <= values[0] or value >= values[-1]:
                found.append(name)
        return tuple(found)

    def _consider(self, weights: Weights) -> None:
        if self._score(weights) < self._seen[self.best]:
            self.best = weights

    def _score(self, weights: Weights) -> tuple[int, int]:
        known = self._seen.get(weights)
        if known is not None:
            return known
        config = {name: getattr(self._fixed, name) for name in GRID} | dict(
            zip(self._names, weights, strict=True)
        )
        ctc, word, unknown, spelling, character, words = self._parts
        scores = (
            ctc
            + config["lm_weight"]
            * (word + config["unknown_offset"] * unknown + config["spelling_weight"] * spelling)
            + config["char_weight"] * character
            + config["word_bonus"] * words
        )  # (U, K)
        word_errors, character_errors = self._wrong[self._rows, scores.argmax(axis=1)].sum(axis=0).tolist()
        self._seen[weights] = (word_errors, character_errors)
        self.trials.append(
            Trial(
                weights=dict(zip(self._names, weights, strict=True)),
                wer=word_errors / self._pool.num_words,
                cer=character_errors / self._pool.num_characters,
                decoded=False,
            )
        )
        return word_errors, character_errors


def _decode(
    config: BeamSearchConfig,
    names: tuple[str, ...],
    emissions: Sequence[FloatArray],
    references: Sequence[str],
    make_decoder: MakeDecoder,
    pool: Pool,
    nbest: int,
) -> Trial:
    decoder = make_decoder(replace(config, num_hypotheses=min(nbest, config.beam_width)))
    word_errors = character_errors = 0
    for utterance, (frames, reference) in enumerate(zip(emissions, references, strict=True)):
        hypotheses = decoder.decode(frames)
        for hypothesis in hypotheses:
            pool.add(utterance, hypothesis.text, hypothesis.ctc_score)
        wrong = errors(reference, hypotheses[0].text)
        word_errors += wrong[0]
        character_errors += wrong[1]
    return Trial(
        weights=dict(zip(names, _key(config, names), strict=True)),
        wer=word_errors / pool.num_words,
        cer=character_errors / pool.num_characters,
        decoded=True,
    )


def _reweighted(config: BeamSearchConfig, weights: Mapping[str, float]) -> BeamSearchConfig:
    return replace(config, **weights)  # type: ignore[arg-type]  # the names are those of float fields


def _key(config: BeamSearchConfig, names: tuple[str, ...]) -> Weights:
    return tuple(float(getattr(config, name)) for name in names)


def _with(weights: Weights, axis: int, value: float) -> Weights:
    return (*weights[:axis], value, *weights[axis + 1 :])


def _smallest_gap(values: Sequence[float]) -> float:
    return min((high - low for low, high in itertools.pairwise(values)), default=0.0) or math.ulp(1.0)


def _shown(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in weights.items())
