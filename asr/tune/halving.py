"""Settings that were really decoded, and successive halving over them (Jamieson and Talwalkar 2016)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from asr.decode import BeamSearchConfig, Decoder, EmissionArray, Hypothesis, LanguageModel, decode_all
from asr.tune.pool import Base, Pool, Weights, errors, hotword_distance, with_value

MakeDecoder = Callable[[LanguageModel, BeamSearchConfig], Decoder]


@dataclass(frozen=True)
class Setting:
    """Weights of the search with one of the language models."""

    arm: str
    names: tuple[str, ...]
    weights: Weights

    @property
    def named(self) -> dict[str, float]:
        """The weights by name."""
        return dict(zip(self.names, self.weights, strict=True))

    def __str__(self) -> str:
        return f"{self.arm}: " + ", ".join(f"{name} {value:g}" for name, value in self.named.items())


@dataclass(frozen=True)
class Outcome:
    """What a setting made of an utterance."""

    word_errors: int
    character_errors: int
    hypothesis: Hypothesis


class Runs:
    """Settings that were decoded, each on the utterances that it was tried on so far."""

    def __init__(
        self,
        emissions: Sequence[EmissionArray],
        references: Sequence[str],
        arms: Mapping[str, LanguageModel],
        make_decoder: MakeDecoder,
        base: Base,
    ) -> None:
        self._emissions = emissions
        self._references = references
        self._arms = arms
        self._make_decoder = make_decoder
        self._base = base
        self.outcomes: dict[Setting, dict[int, Outcome]] = {}
        """Of each setting by utterance, in the order in which they were first decoded."""
        self.everything = range(len(emissions))
        self.num_words = [len(reference.split()) for reference in references]
        self.num_characters = [len(reference) for reference in references]

    def decode(
        self, setting: Setting, utterances: Sequence[int], pool: Pool | None = None, nbest: int = 1
    ) -> None:
        """Decode what of ``utterances`` the setting was not tried on.

        Args:
            pool: takes the texts of the n-best lists.
        """
        known = self.outcomes.setdefault(setting, {})
        new = [utterance for utterance in utterances if utterance not in known]
        if not new:
            return
        config = self._base.configured(setting.named)
        config = replace(config, num_hypotheses=min(nbest, config.beam_width))
        model = self._arms[setting.arm]
        by_pieces = model.piece is not None and config.piece_weight > 0
        decoder = self._make_decoder(model, config)
        found = decode_all(decoder, [self._emissions[utterance] for utterance in new])
        for utterance, hypotheses in zip(new, found, strict=True):
            if pool is not None:
                for each in hypotheses:
                    pool.add(utterance, each.text, each.ctc_score, each.written, by_pieces=by_pieces)
            wrong = errors(self._references[utterance], hypotheses[0].text)
            known[utterance] = Outcome(*wrong, hypotheses[0])

    def errors(self, setting: Setting, utterances: Sequence[int]) -> tuple[int, int]:
        """Word and character errors on these utterances."""
        found = [self.outcomes[setting][utterance] for utterance in utterances]
        return sum(each.word_errors for each in found), sum(each.character_errors for each in found)

    def order(self, setting: Setting, utterances: Sequence[int]) -> tuple[tuple[int, int], float]:
        """By what settings are sorted, the best first."""
        return self.errors(setting, utterances), hotword_distance(setting.names, setting.weights)

    def rates(self, setting: Setting) -> tuple[float, float]:
        """WER and CER on the utterances that it was tried on."""
        known = list(self.outcomes[setting])
        return self.as_rates(self.errors(setting, known), known)

    def as_rates(
        self, wrong: tuple[int, int], utterances: Sequence[int] | None = None
    ) -> tuple[float, float]:
        """Errors as rates of the words and characters of some utterances, or of all."""
        places = self.everything if utterances is None else utterances
        words = sum(self.num_words[place] for place in places)
        characters = sum(self.num_characters[place] for place in places)
        return wrong[0] / max(1, words), wrong[1] / max(1, characters)

    def whole(self) -> list[Setting]:
        """Settings that were decoded on everything."""
        return [setting for setting, known in self.outcomes.items() if len(known) == len(self.everything)]

    def firsts(self) -> dict[str, Setting]:
        """Of these the best with each language model, the best of all first."""
        found: dict[str, Setting] = {}
        for setting in sorted(self.whole(), key=lambda setting: self.order(setting, self.everything)):
            found.setdefault(setting.arm, setting)
        return found

    def try_hotwords(self, own: Mapping[str, Sequence[float]]) -> None:
        """Where the best has hotwords do nothing, decode all with their first weight too, which wins if no worse.

        Args:
            own: the caller's values of some weights.
        """
        for setting in self.firsts().values():
            if setting.named.get("hotword_weight") == 0:
                axis = setting.names.index("hotword_weight")
                weights = with_value(setting.weights, axis, self._base.first(setting.names, own)[axis])
                self.decode(replace(setting, weights=weights), self.everything)


def halve(runs: Runs, settings: Sequence[Setting], report: Callable[[str], None]) -> None:
    """Decode settings on a quarter of dev, the better half of them on a half, the better half of those on all.

    The best of each language model goes on whatever the others do, so that in the end the models are compared and
    not the first quarter. What was decoded is not decoded again.

    Args:
        settings: none twice.
        report: receives a line for each round.
    """
    left = list(settings)
    for stride in (4, 2, 1):
        utterances = runs.everything[::stride]
        for setting in left:
            runs.decode(setting, utterances)
        left.sort(key=lambda setting: runs.order(setting, utterances))
        report(f"{len(left)} settings on {len(utterances)} utterances; best {left[0]}")
        firsts = {setting.arm: setting for setting in reversed(left)}
        left = [
            setting
            for place, setting in enumerate(left)
            if place < (len(left) + 1) // 2 or setting == firsts[setting.arm]
        ]
