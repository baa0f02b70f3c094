"""CTC prefix beam search with n-gram fusion: a search and what is told of its findings."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from asr.decode.confidence import (
    acoustic_confidences,
    blank_confidence,
    calibrated,
    combine,
    hypothesis_posteriors,
    mean_confidence,
    word_posteriors,
)
from asr.decode.config import BeamSearchConfig
from asr.decode.engine import new_workspace, search
from asr.decode.fusion import LanguageModel
from asr.decode.hypothesis import (
    Finished,
    FloatArray,
    Hypothesis,
    WordSpan,
    check_emissions,
    check_surfaces,
    written_words,
)
from asr.decode.lexicon import Models
from asr.decode.times import align_labels, word_frames, words_of_labels


class BeamDecoder:
    """Prefix beam search (Graves 2012; Hannun et al. 2014) under the score of `BeamSearchConfig`.

    The probability of a text sums all its paths that the beam kept: paths are merged whenever they
    write the same text, also when sentence pieces cut it differently. Without pruning the score of
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
    ) -> None:
        """
        Args:
            device: of the engine ``torch``: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.
        """
        check_surfaces(surfaces, blank)
        self._surfaces = surfaces
        self._blank = blank
        self._config = config
        self._models = Models(surfaces, blank, language_model, config)
        self._search: Search
        if config.engine == "torch":
            from asr.decode.torch_engine import TorchSearch  # torch takes a second to import

            self._search = TorchSearch(self._models, device)
        else:
            self._search = CompiledSearch(self._models)

    def decode(self, emissions: FloatArray) -> list[Hypothesis]:
        """The n-best list; see `Decoder.decode`."""
        return self.decode_all([emissions])[0]

    def decode_all(self, emissions: Sequence[FloatArray]) -> list[list[Hypothesis]]:
        """The n-best list of each utterance; see `BatchDecoder.decode_all`."""
        for each in emissions:
            check_emissions(each, len(self._surfaces))
        found = self._search(emissions)
        return [self._hypotheses(each, texts) for each, texts in zip(emissions, found, strict=True)]

    def _hypotheses(self, emissions: FloatArray, finished: list[Finished]) -> list[Hypothesis]:
        posteriors = hypothesis_posteriors([text.score for text in finished])
        spoken = [
            (written_words(map(self._surfaces.__getitem__, text.labels)), posterior)
            for text, posterior in zip(finished, posteriors, strict=True)
        ]
        hypotheses = []
        for place, text in enumerate(finished[: self._config.num_hypotheses]):
            others = spoken[:place] + spoken[place + 1 :]
            shares = word_posteriors(spoken[place][0], others, posteriors[place])
            words = words_of_labels(text.labels, self._surfaces)
            frames = align_labels(emissions, text.labels, self._blank)
            hypotheses.append(self._hypothesis(emissions, text, words, frames, shares, posteriors[place]))
        return hypotheses

    def _hypothesis(
        self,
        emissions: FloatArray,
        text: Finished,
        words: list[tuple[str, int, int]],
        frames: npt.NDArray[np.int64],
        shares: list[float],
        posterior: float,
    ) -> Hypothesis:
        if not words:
            confidence = combine(posterior, blank_confidence(emissions, self._blank))
            return Hypothesis("", (), text.score, confidence, text.ctc_score, text.model_score)
        acoustic = acoustic_confidences(emissions, text.labels, frames, words, self._surfaces)
        scale, shift = self._config.confidence_scale, self._config.confidence_shift
        confidences = [
            calibrated(combine(share, own), scale, shift) for share, own in zip(shares, acoustic, strict=True)
        ]
        spans = word_frames(words, frames, len(emissions))
        word_score = self._config.word_bonus * len(words)
        return Hypothesis(
            text=" ".join(word for word, _, _ in words),
            words=tuple(
                WordSpan(word, start, end, confidence)
                for (word, _, _), (start, end), confidence in zip(words, spans, confidences, strict=True)
            ),
            score=text.score,
            confidence=mean_confidence(confidences),
            ctc_score=text.ctc_score,
            lm_score=text.model_score - word_score if self._models.any_model else 0.0,
            word_score=word_score,
            hotword_score=text.hotword_score,
        )


class Search(Protocol):
    """One of the engines."""

    def __call__(self, emissions: Sequence[FloatArray]) -> list[list[Finished]]:
        """Texts of each utterance's last beam, best first; at least one.

        Args:
            emissions: of each utterance, natural-log probabilities without NaN, (T, C).
        """
        ...


class CompiledSearch:
    """The engine ``cpu``: one utterance after the other; threads search side by side."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._local = threading.local()

    def __call__(self, emissions: Sequence[FloatArray]) -> list[list[Finished]]:
        """See `Search`."""
        return [self._search(each) for each in emissions]

    def _search(self, emissions: FloatArray) -> list[Finished]:
        models = self._models
        workspace = getattr(self._local, "workspace", None) or new_workspace(models.word, models.character)
        rows, at, parts, self._local.workspace = search(
            np.ascontiguousarray(emissions, dtype=np.float32),
            models.labels,
            models.lexicon,
            models.hotwords,
            models.word,
            models.character,
            models.char_number,
            models.settings,
            workspace,
        )
        return [
            Finished(rows[low:high].tolist(), *scores)
            for (low, high), scores in zip(pairwise(at.tolist()), parts.tolist(), strict=True)
        ]
