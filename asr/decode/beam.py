"""CTC prefix beam search with n-gram fusion: a search and what is told of its findings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from asr.decode.agreement import word_shares
from asr.decode.confidence import (
    acoustic_confidences,
    blank_confidence,
    calibrated,
    combine,
    hypothesis_posteriors,
    mean_confidence,
)
from asr.decode.config import BeamSearchConfig
from asr.decode.engine import Searcher, new_searcher, search
from asr.decode.fusion import LanguageModel
from asr.decode.hypothesis import (
    EmissionArray,
    Finished,
    Hypothesis,
    WordSpan,
    check_emissions,
    check_surfaces,
    plain_text,
)
from asr.decode.lexicon import Models
from asr.decode.times import align_labels, word_frames, words_of_labels


class BeamDecoder:
    """Prefix beam search (Graves 2012; Hannun et al. 2014) under the score of `BeamSearchConfig`.

    The probability of a text sums all its paths that the beam kept: paths are merged whenever they
    write the same text, also when sentence pieces cut it differently (with n-grams of pieces, when the beam
    is finished). Without pruning the score of
    each text is exact. Word times come from a forced alignment of the finished text, so they do not
    depend on what the beam kept. A word's confidence joins its share of the beam's probability
    with its labels' posteriors (see `asr.decode.confidence`).
    """

    def __init__(
        self,
        surfaces: tuple[str, ...],
        blank: int,
        language_model: LanguageModel | None,
        config: BeamSearchConfig,
        device: str = "auto",
        threads: int = 1,
        timed: int = sys.maxsize,
    ) -> None:
        """
        Args:
            device: of the engine ``torch``: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.
            threads: utterances that `decode_all` searches side by side with the engine ``cpu``.
            timed: how many of an n-best list get their words in time, with confidences.
        """
        check_surfaces(surfaces, blank)
        self._surfaces = surfaces
        self._blank = blank
        self._config = config
        self._timed = timed
        self._models = Models(surfaces, blank, language_model, config)
        self._threads = 1 if config.engine == "torch" else threads
        self._search: Search
        if config.engine == "torch":
            from asr.decode.torch_engine import TorchSearch  # torch takes a second to import

            self._search = TorchSearch(self._models, device)
        else:
            self._search = CompiledSearch(self._models)

    def decode(self, emissions: EmissionArray) -> list[Hypothesis]:
        """The n-best list; see `Decoder.decode`."""
        return self.decode_all([emissions])[0]

    def decode_all(self, emissions: Sequence[EmissionArray]) -> list[list[Hypothesis]]:
        """The n-best list of each utterance; see `BatchDecoder.decode_all`."""
        if self._threads > 1 and len(emissions) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                return list(pool.map(self.decode, emissions))
        for each in emissions:
            check_emissions(each, len(self._surfaces))
        # An utterance's hypotheses are made before the next is searched, so that threads, which make them one after
        # the other, search meanwhile instead of waiting for one another.
        found = self._search(emissions)
        return [self._hypotheses(each, finished) for each, finished in zip(emissions, found, strict=True)]

    def _hypotheses(self, emissions: EmissionArray, finished: Finished) -> list[Hypothesis]:
        posteriors = hypothesis_posteriors(finished.parts.sum(axis=1).tolist())
        wanted = range(min(len(posteriors), self._config.num_hypotheses))
        return [self._hypothesis(emissions, finished, place, posteriors) for place in wanted]

    def _hypothesis(
        self, emissions: EmissionArray, finished: Finished, place: int, posteriors: list[float]
    ) -> Hypothesis:
        labels = finished.row(place)
        written = tuple([self._surfaces[label] for label in labels])
        text = plain_text(written)
        ctc_score, model_score, hotword_score = finished.parts[place].tolist()
        word_score = self._config.word_bonus * (text.count(" ") + 1) if text else 0.0
        words: tuple[WordSpan, ...] = ()
        confidence = posteriors[place]
        if text and place < self._timed:
            shares = word_shares(finished, posteriors, place, self._models.labels)
            words = self._words(emissions, labels, shares)
            confidence = mean_confidence([word.confidence for word in words])
        elif not text:
            confidence = combine(confidence, blank_confidence(emissions, self._blank))
        return Hypothesis(
            text=text,
            words=words,
            score=ctc_score + model_score + hotword_score,
            confidence=confidence,
            ctc_score=ctc_score,
            lm_score=model_score - word_score if self._models.any_model else 0.0,
            word_score=word_score,
            hotword_score=hotword_score,
            written=written,
        )

    def _words(
        self, emissions: EmissionArray, labels: list[int], shares: Sequence[float]
    ) -> tuple[WordSpan, ...]:
        """The words of a text in time.

        Args:
            shares: of the beam's probability that each has.
        """
        found = words_of_labels(labels, self._surfaces)
        frames = align_labels(emissions, labels, self._blank)
        acoustic = acoustic_confidences(emissions, labels, frames, found, self._surfaces)
        scale, shift = self._config.confidence_scale, self._config.confidence_shift
        spans = word_frames(found, frames, len(emissions))
        return tuple(
            WordSpan(word, start, end, calibrated(combine(share, own), scale, shift))
            for (word, _, _), (start, end), share, own in zip(found, spans, shares, acoustic, strict=True)
        )


class Search(Protocol):
    """One of the engines."""

    def __call__(self, emissions: Sequence[EmissionArray]) -> Iterable[Finished]:
        """Texts of each utterance's last beam.

        Args:
            emissions: of each utterance, natural-log probabilities without NaN, (T, C).
        """
        ...


class CompiledSearch:
    """The engine ``cpu``: one utterance after the other; threads search side by side."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._idle: list[Searcher] = []
        """As many as threads have searched at once."""

    def __reduce__(self) -> tuple[type[CompiledSearch], tuple[Models]]:
        """Without the searchers of this process."""
        return CompiledSearch, (self._models,)

    def __call__(self, emissions: Sequence[EmissionArray]) -> Iterator[Finished]:
        """See `Search`."""
        return map(self._search, emissions)

    def _search(self, emissions: EmissionArray) -> Finished:
        try:
            searcher = self._idle.pop()
        except IndexError:
            searcher = new_searcher(self._models.known)
        # Of another layout, or read-only, they would have it compiled anew.
        rows, at, parts = search(np.require(emissions, np.float32, ["C", "A", "W"]), searcher)
        self._idle.append(searcher)
        return Finished(rows, at, parts)
