"""Best-path decoding."""

from __future__ import annotations

import numpy as np

from asr.decode.confidence import acoustic_confidences, blank_confidence, mean_confidence
from asr.decode.hypothesis import EmissionArray, Hypothesis, WordSpan, check_emissions, check_surfaces
from asr.decode.times import word_frames, words_of_labels


class GreedyDecoder:
    """The most probable label of every frame, repeats merged, blanks removed (Graves et al. 2006, sec. 3.2).

    The score is the path's log-probability. A word's confidence is the geometric mean of its labels'
    posteriors (see `asr.decode.confidence`); its frames are those of its labels, stretched into the
    gaps as `asr.decode.times` says.
    """

    def __init__(self, surfaces: tuple[str, ...], blank: int) -> None:
        check_surfaces(surfaces, blank)
        self._surfaces = surfaces
        self._blank = blank

    def decode(self, emissions: EmissionArray) -> list[Hypothesis]:
        """One hypothesis; see `Decoder.decode`."""
        check_emissions(emissions, len(self._surfaces))
        path = emissions.argmax(axis=1)  # (T, C) -> (T,)
        changes = np.flatnonzero(np.diff(path, prepend=-1))
        ends = np.append(changes, len(path))[1:]
        spoken = path[changes] != self._blank
        labels = path[changes][spoken].tolist()
        frames = np.stack([changes[spoken], ends[spoken]], axis=1)  # (L, 2)
        score = float(emissions.max(axis=1).sum(dtype=np.float64)) if len(path) else 0.0
        words = words_of_labels(labels, self._surfaces)
        if not words:
            return [Hypothesis("", (), score, blank_confidence(emissions, self._blank), score)]
        confidences = acoustic_confidences(emissions, labels, frames, words, self._surfaces)
        spans = word_frames(words, frames, len(path))
        return [
            Hypothesis(
                text=" ".join(text for text, _, _ in words),
                words=tuple(
                    WordSpan(text, start, end, confidence)
                    for (text, _, _), (start, end), confidence in zip(words, spans, confidences, strict=True)
                ),
                score=score,
                confidence=mean_confidence(confidences),
                ctc_score=score,
            )
        ]
