"""Choose the language model and the decoder's weights on dev: fewest word errors, then fewest character errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from asr.bootstrap import Comparison, paired_bootstrap
from asr.decode import BeamSearchConfig, EmissionArray, Hypothesis, LanguageModel
from asr.tune.halving import MakeDecoder, Runs, Setting, halve
from asr.tune.pool import GRID, NOT_NEGATIVE, Base, Pool, Ranking, default_grid
from lm.errors import InputError

__all__ = [
    "GRID",
    "ArmResult",
    "Edge",
    "MakeDecoder",
    "Trial",
    "TuneResult",
    "default_grid",
    "first_values",
    "tune",
]


@dataclass(frozen=True)
class Trial:
    """One setting and how it did on dev."""

    arm: str
    weights: dict[str, float]
    wer: float
    """Word errors per reference word, of the utterances that were decoded."""
    cer: float
    """Character errors per reference character, spaces included."""
    decoded: int
    """Utterances that were decoded with these weights; 0 where n-best lists of all were only ranked anew."""


@dataclass(frozen=True)
class Edge:
    """A weight whose best value lies on the edge of what was tried."""

    name: str
    value: float
    grid: tuple[float, ...]
    """What was tried, what it grew by among it."""

    def __str__(self) -> str:
        low = self.value <= self.grid[0]
        gap = self.grid[1] - self.grid[0] if low else self.grid[-1] - self.grid[-2]
        least = 0.0 if self.name in NOT_NEGATIVE else -math.inf
        steps = {max(least, self.value + (-gap if low else gap) * step) for step in (-1, 0, 1, 2, 4)}
        remedy = f"--grid {self.name}={','.join(f'{step:g}' for step in sorted(steps))}"
        return (
            f"{self.name} {self.value:g} lies on the edge of what was tried, {self.grid[0]:g} to {self.grid[-1]:g}: "
            f"the best may lie beyond. Tune again with {remedy}."
        )


@dataclass(frozen=True)
class ArmResult:
    """The best setting with one of the language models; it was decoded on all of dev."""

    weights: dict[str, float]
    config: BeamSearchConfig
    """With these weights, everything else as it came."""
    wer: float
    cer: float
    hypotheses: tuple[Hypothesis, ...]
    """The best reading of each utterance."""
    edges: tuple[Edge, ...]


@dataclass(frozen=True)
class TuneResult:
    """The best setting with each language model, which of them is best, and everything that was tried."""

    arms: dict[str, ArmResult]
    best: str
    """Name of the best."""
    against: dict[str, Comparison]
    """Word error rate of the best minus that of each other, by a paired bootstrap over utterances. Both were chosen
    on what they are compared on."""
    trials: tuple[Trial, ...]


def tune(
    emissions: Sequence[EmissionArray],
    references: Sequence[str],
    arms: Mapping[str, LanguageModel],
    make_decoder: MakeDecoder,
    *,
    start: BeamSearchConfig | None = None,
    grid: Mapping[str, Sequence[float]] | None = None,
    hotwords: Mapping[str, float | None] | None = None,
    split: Callable[[str], Sequence[str]] | None = None,
    nbest: int = 64,
    rounds: int = 2,
    candidates: int = 12,
    report: Callable[[str], None] = lambda line: None,
) -> TuneResult:
    """Tune the weights of the beam search for each language model and compare them.

    Decoding is dear and ranking cheap. Each round decodes dev with the weights so far, adds what it
    found to a pool of texts per utterance, and looks for the weights that rank the pool best: over
    the whole grid, then by ever smaller steps around its optimum. The most promising settings are then
    really decoded, by successive halving. Only settings that were decoded on all of dev can be chosen.
    Where hotwords' weights make the same errors, the one nearest the default is; 0, with which hotwords do
    nothing, only where its decoding makes fewer errors than with the default. The same input gives the same result.

    Args:
        emissions: natural-log probabilities of each dev utterance, (T, C) each.
        references: their texts, under the text policy of the model.
        arms: the language models to compare, by name.
        make_decoder: builds the decoder to be tuned.
        start: settings of everything that is not tuned, and first values of what is; of a weight in ``grid``, the
            nearest there.
        grid: first values of some weights in place of `GRID`'s; a single one fixes the weight.
        hotwords: phrases to expect, as the labels write them; the weight of those without one is tuned too.
        split: the tokenizer's pieces of a text, for texts that no search with n-grams of pieces finds.
        nbest: texts that each decoding adds for an utterance, at most the beam width.
        rounds: decodings of dev that fill the pool, with each language model.
        candidates: settings that go into the halving, of all language models together.
        report: receives lines of progress.
    Raises:
        InputError: no dev utterance, no reference word, unequal numbers of emissions and texts, or as `first_values`.
    """
    if len(emissions) != len(references):
        raise InputError(
            f"{len(emissions)} utterances for {len(references)} reference texts. Give one text for each."
        )
    if not any(reference.split() for reference in references):
        raise InputError("the dev utterances have no reference text. Tune on utterances with transcripts.")
    start = start or BeamSearchConfig()
    base = Base(start, hotwords or start.hotwords)
    grids = first_values(arms, base, grid or {})
    pool = Pool(references, arms, base, split)
    runs = Runs(emissions, references, arms, make_decoder, base)
    current = {
        arm: Setting(arm, tuple(values), base.first(tuple(values), grid or {}))
        for arm, values in grids.items()
    }
    rankings: dict[str, Ranking] = {}
    for round_ in range(1, rounds + 1):
        for setting in current.values():
            runs.decode(setting, runs.everything, pool, nbest)
            wer, cer = runs.rates(setting)
            report(f"round {round_}: WER {wer:.2%}, CER {cer:.2%} with {setting}")
        for arm, values in grids.items():
            rankings[arm] = Ranking(pool, arm, current[arm].weights, base, values)
            current[arm] = Setting(arm, tuple(values), rankings[arm].best)
    promising = [
        Setting(arm, tuple(grids[arm]), weights)
        for arm, ranking in rankings.items()
        for weights in ranking.promising(-(-candidates // len(arms)))
    ]
    halve(runs, promising, report)
    runs.try_hotwords(grid or {})
    return _result(runs, rankings, base)


def _result(runs: Runs, rankings: Mapping[str, Ranking], base: Base) -> TuneResult:
    """Of what was decoded on all of dev the best with each language model, and the best of those."""
    chosen = runs.firsts()
    best = next(iter(chosen))
    word_errors = {
        arm: [runs.outcomes[setting][utterance].word_errors for utterance in runs.everything]
        for arm, setting in chosen.items()
    }
    arms = {}
    for arm, ranking in rankings.items():
        setting = chosen[arm]
        wer, cer = runs.rates(setting)
        arms[arm] = ArmResult(
            weights=setting.named,
            config=base.configured(setting.named),
            wer=wer,
            cer=cer,
            hypotheses=tuple(runs.outcomes[setting][utterance].hypothesis for utterance in runs.everything),
            edges=tuple(
                Edge(name, setting.named[name], tuple(ranking.grid[name]))
                for name in ranking.edges(setting.weights)
            ),
        )
    trials = [
        Trial(arm, dict(zip(ranking.grid, weights, strict=True)), *runs.as_rates(wrong), decoded=0)
        for arm, ranking in rankings.items()
        for weights, wrong in ranking.tried.items()
    ]
    trials += [
        Trial(setting.arm, setting.named, *runs.rates(setting), decoded=len(known))
        for setting, known in runs.outcomes.items()
    ]
    return TuneResult(
        arms=arms,
        best=best,
        against={
            arm: paired_bootstrap(word_errors[best], word_errors[arm], runs.num_words)
            for arm in arms
            if arm != best
        },
        trials=tuple(trials),
    )


def first_values(
    arms: Mapping[str, LanguageModel], base: Base, own: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, tuple[float, ...]]]:
    """By language model, the first values of the weights that have an effect, the caller's own where there are any.

    `tune` asks for them; who has emissions to make for it asks before.

    Raises:
        InputError: a weight in ``own`` that has no effect, or a value that it cannot have.
    """
    grids = {
        arm: {
            name: tuple(sorted(set(own.get(name, values))))
            for name, values in default_grid(model, base.hotwords).items()
        }
        for arm, model in arms.items()
    }
    for name, values in own.items():
        if not any(name in grid for grid in grids.values()):
            raise InputError(f"{name} has no effect here, so it cannot be tuned. Leave it out of the grid.")
        for value in values:
            base.configured({name: value})  # which says what is wrong with it
    return grids
