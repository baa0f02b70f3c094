"""CTC prefix beam search with n-gram fusion."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

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
from asr.decode.fusion import Fusion, LanguageModel, TextState
from asr.decode.hypothesis import FloatArray, Hypothesis, WordSpan, check_emissions, check_surfaces
from asr.decode.times import align_all, word_frames, words_of_labels

IMPOSSIBLE = -math.inf


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
        self._fusion = Fusion(language_model, config)

    def decode(self, emissions: FloatArray) -> list[Hypothesis]:
        """The n-best list; see `Decoder.decode`."""
        check_emissions(emissions, len(self._surfaces))
        root = self._fusion.root()
        with _collector_paused():
            finished = self._finish(self._search(emissions, root))
            _release(root)
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
            return Hypothesis("", (), text.score, confidence, text.ctc_score)
        acoustic = acoustic_confidences(emissions, text.labels, frames, words, self._surfaces)
        confidences = [combine(share, own) for share, own in zip(shares, acoustic, strict=True)]
        spans = word_frames(words, frames, len(emissions))
        return Hypothesis(
            text=" ".join(word for word, _, _ in words),
            words=tuple(
                WordSpan(word, start, end, confidence)
                for (word, _, _), (start, end), confidence in zip(words, spans, confidences, strict=True)
            ),
            score=text.score,
            confidence=mean_confidence(confidences),
            ctc_score=text.ctc_score,
        )

    def _search(self, emissions: FloatArray, empty: TextState) -> list[_Prefix]:
        """Prefixes alive after the last frame, in any order."""
        config, blank = self._config, self._blank
        threshold, width = config.beam_threshold, config.beam_width
        root = _Prefix(None, -1, empty)
        root.ends_blank = root.total = root.score = 0.0
        root.children = {}
        beam = [root]
        silent = 0.0  # log-probability of the blanks since the last frame with something to try
        best_score = 0.0
        by_score = attrgetter("score")
        for t, (labels, logps) in enumerate(self._candidates(emissions)):
            row = emissions[t].tolist()
            if not labels:
                silent += row[blank]
                continue
            if silent:
                self._stay_silent(beam, silent)
                best_score += silent
                silent = 0.0
            pairs = list(zip(labels, logps, strict=True))
            # No extension is worth making that starts below what the best prefix reaches anyhow.
            cutoff = best_score + max(row[blank], logps[0]) - threshold
            stay = row[blank]
            for prefix in beam:
                prefix.frame = t
                prefix.next_blank = prefix.total + stay
                prefix.next_label = prefix.ends_label + row[prefix.label] if prefix.label >= 0 else IMPOSSIBLE
            touched = beam.copy()
            for prefix in beam:
                score, total, last, children = prefix.score, prefix.total, prefix.label, prefix.children
                for label, logp in pairs:
                    if score + logp < cutoff:
                        break
                    # A label repeated without a blank between is the same label, not a second one.
                    value = (prefix.ends_blank if label == last else total) + logp
                    if value == IMPOSSIBLE:
                        continue
                    child = children.get(label)
                    if child is None:
                        child = children[label] = self._extend(prefix, label)
                    if child.frame != t:
                        child.frame = t
                        child.next_blank = IMPOSSIBLE
                        child.next_label = value
                        touched.append(child)
                    else:
                        child.next_label = _log_add(child.next_label, value)
            best_score = IMPOSSIBLE
            for prefix in touched:
                one = prefix.ends_blank = prefix.next_blank
                other = prefix.ends_label = prefix.next_label
                if one == IMPOSSIBLE:
                    total = other
                elif other == IMPOSSIBLE:
                    total = one
                elif one > other:
                    total = one + math.log1p(math.exp(other - one))
                else:
                    total = other + math.log1p(math.exp(one - other))
                prefix.total = total
                score = prefix.score = total + prefix.bias
                if score > best_score:
                    best_score = score
            lowest = best_score - threshold
            beam = [prefix for prefix in touched if prefix.score >= lowest and prefix.total > IMPOSSIBLE]
            if len(beam) > width:
                beam.sort(key=by_score, reverse=True)
                del beam[width:]
            for prefix in beam:
                if prefix.children is _NO_CHILDREN:
                    prefix.children = {}
            if not beam:  # every path is impossible: emissions of -inf
                return [root]
        if silent:
            self._stay_silent(beam, silent)
        return beam

    def _candidates(self, emissions: FloatArray) -> list[tuple[list[int], list[float]]]:
        """Labels to try in each frame and their log-probabilities, likeliest first; never the blank."""
        if not len(emissions):
            return []
        tried = emissions.copy()
        tried[:, self._blank] = IMPOSSIBLE
        lowest = emissions.max(axis=1, keepdims=True) - self._config.label_threshold
        counts = ((tried >= lowest) & (tried > IMPOSSIBLE)).sum(axis=1)  # (T, C) -> (T,)
        counts = np.minimum(counts, self._config.max_labels).tolist()
        order = np.argsort(-tried, axis=1, kind="stable")[:, : max(counts)]
        values = np.take_along_axis(tried, order, axis=1)
        return [
            (labels[:count].tolist(), logps[:count].tolist()) if count else ([], [])
            for labels, logps, count in zip(order, values, counts, strict=True)
        ]

    def _extend(self, prefix: _Prefix, label: int) -> _Prefix:
        state = self._fusion.extend(prefix.state, self._surfaces[label])
        if state.prefixes is None:
            state.prefixes = {}
        found: _Prefix | None = state.prefixes.get(label)
        if found is None:
            found = state.prefixes[label] = _Prefix(prefix, label, state)
        return found

    @staticmethod
    def _stay_silent(beam: list[_Prefix], logp: float) -> None:
        for prefix in beam:
            prefix.total = prefix.ends_blank = prefix.total + logp
            prefix.ends_label = IMPOSSIBLE
            prefix.score += logp

    def _finish(self, beam: list[_Prefix]) -> list[_Finished]:
        """The texts of the beam with their scores as whole utterances, best first."""
        finished: dict[int, _Finished] = {}
        for prefix in sorted(beam, key=attrgetter("total"), reverse=True):
            state = prefix.state
            if state.char == " " and state.parent:
                state = state.parent  # "a " is the text "a"
            text = finished.get(id(state))
            if text is None:
                finished[id(state)] = _Finished(state, prefix.labels, prefix.total)
            else:
                text.ctc_score = _log_add(text.ctc_score, prefix.total)
        texts = list(finished.values())
        for text in texts:
            text.score = text.ctc_score + self._fusion.final(text.state)
        return sorted(texts, key=lambda text: (-text.score, text.labels))


class _Finished:
    """A text of the last beam."""

    __slots__ = ("ctc_score", "labels", "score", "state")

    def __init__(self, state: TextState, labels: list[int], ctc_score: float) -> None:
        self.state = state
        self.labels = labels
        """One row of labels that writes the text, without blanks."""
        self.ctc_score = ctc_score
        self.score = 0.0


class _Prefix:
    """A text with the label that was written last: all that CTC must know to go on from it."""

    __slots__ = ("bias", "children", "ends_blank", "ends_label", "frame", "label", "next_blank", "next_label",
                 "parent", "score", "state", "total")  # fmt: skip

    def __init__(self, parent: _Prefix | None, label: int, state: TextState) -> None:
        self.parent = parent
        self.label = label
        self.state = state
        self.bias = state.bias
        self.children = _NO_CHILDREN
        self.frame = -1
        """The frame that `next_blank` and `next_label` are for."""
        self.ends_blank = self.ends_label = self.total = self.score = IMPOSSIBLE
        self.next_blank = self.next_label = IMPOSSIBLE

    @property
    def labels(self) -> list[int]:
        """Labels from the first to the last."""
        labels = []
        prefix = self
        while prefix.parent is not None:
            labels.append(prefix.label)
            prefix = prefix.parent
        return labels[::-1]


_NO_CHILDREN: dict[int, _Prefix] = {}
"""Shared by the prefixes that were never extended: they are most, and a dict each costs time."""


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep Python's cycle collector from walking the growing search tree again and again.

    That walk takes two thirds of the time of a decoding. `_release` unties the tree's cycles, so
    nothing is left for the collector.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _release(root: TextState) -> None:
    """Untie the tree so that its memory is freed at once."""
    stack = [root]
    while stack:
        state = stack.pop()
        for prefix in (state.prefixes or {}).values():
            prefix.children = prefix.parent = None
        stack.extend((state.children or {}).values())
        state.children = state.prefixes = state.parent = None


def _log_add(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    if one < other:
        one, other = other, one
    if other == IMPOSSIBLE:
        return one
    return one + math.log1p(math.exp(other - one))
