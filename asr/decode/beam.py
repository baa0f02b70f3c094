"""CTC prefix beam search with n-gram fusion: the compiled search and what is told of its findings."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from asr.decode.confidence import (
    acoustic_confidences,
    blank_confidence,
    combine,
    hypothesis_posteriors,
    mean_confidence,
    word_posteriors,
)
from asr.decode.config import BeamSearchConfig
from asr.decode.engine import new_workspace, search
from asr.decode.fusion import LanguageModel
from asr.decode.hypothesis import FloatArray, Hypothesis, WordSpan, check_emissions, check_surfaces
from asr.decode.lexicon import Models
from asr.decode.times import align_all, word_frames, words_of_labels


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
    ) -> None:
        check_surfaces(surfaces, blank)
        self._surfaces = surfaces
        self._blank = blank
        self._config = config
        self._models = Models(surfaces, blank, language_model, config)
        self._local = threading.local()

    def decode(self, emissions: FloatArray) -> list[Hypothesis]:
        """The n-best list; see `Decoder.decode`."""
        check_emissions(emissions, len(self._surfaces))
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
        finished = [
            _Finished(rows[low:high].tolist(), *scores)
            for (low, high), scores in zip(pairwise(at.tolist()), parts.tolist(), strict=True)
        ]
        posteriors = hypothesis_posteriors([text.score for text in finished])
        words = [words_of_labels(text.labels, self._surfaces) for text in finished]
        spoken = [
            ([word for word, _, _ in row], posterior)
            for row, posterior in zip(words, posteriors, strict=True)
        ]
        nbest = finished[: self._config.num_hypotheses]
        alignments = align_all(emissions, [text.labels for text in nbest], self._blank)
        hypotheses = []
        for place, (text, frames) in enumerate(zip(nbest, alignments, strict=True)):
            others = spoken[:place] + spoken[place + 1 :]
            shares = word_posteriors(spoken[place][0], others, posteriors[place])
            hypotheses.append(
                self._hypothesis(emissions, text, words[place], frames, shares, posteriors[place])
            )
        return hypotheses

    def _hypothesis(
        self,
        emissions: FloatArray,
        text: _Finished,
        words: list[tuple[str, int, int]],
        frames: npt.NDArray[np.int64],
        shares: list[float],
        posterior: float,
    ) -> Hypothesis:
        if not words:
            confidence = combine(posterior, blank_confidence(emissions, self._blank))
            return Hypothesis("", (), text.score, confidence, text.ctc_score, text.model_score)
        acoustic = acoustic_confidences(emissions, text.labels, frames, words, self._surfaces)
        confidences = [combine(share, own) for share, own in zip(shares, acoustic, strict=True)]
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


@dataclass(frozen=True)
class _Finished:
    """A text of the last beam."""

    labels: list[int]
    """One row of labels that writes the text, without blanks."""
    ctc_score: float
    model_score: float
    """Of the language models and the word bonus together."""
    hotword_score: float

    @property
    def score(self) -> float:
        return self.ctc_score + self.model_score + self.hotword_score
