"""A track of probabilities, (T,), to spans, as it streams.

Of `Pdac` and `Pstrm` a silence as long as the longest segment parts what lies on its two sides: no segment could hold
it, so each stretch between such silences is cut as a talk of its own, and the stream need not be kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from asr.segment.pauses import Span
from asr.segment.probable import Probabilities, Rule


class MovingAverage:
    """The mean of each frame and those before it, ``frames`` in all; fewer at the beginning."""

    def __init__(self, frames: int) -> None:
        self._frames = max(1, frames)
        self._before: Probabilities = np.zeros(0)

    def __call__(self, values: NDArray[np.generic]) -> Probabilities:
        """Averages (T,) of the frames (T,) that follow those of the last call."""
        held = np.concatenate([self._before, values.astype(np.float64)])
        # A sum in one order for each frame: a chunk's border must not change the last digit.
        total, count = np.zeros(len(held)), np.zeros(len(held))
        for back in range(min(self._frames, len(held))):
            total[back:] += held[: len(held) - back]
            count[back:] += 1
        averages = np.minimum(total / np.maximum(count, 1), 1.0)[len(self._before) :]
        self._before = held[max(0, len(held) - self._frames + 1) :]
        return averages


class TrackCutter:
    """A rule on a stream of probabilities."""

    def __init__(self, rule: Rule, *, threshold: float, silence_frames: int = 0, horizon: int = 0) -> None:
        self._rule = rule
        self._threshold = threshold
        self._silence = silence_frames
        self._horizon = horizon
        self._held: Probabilities = np.zeros(0)
        self._place = 0  # of the first frame held

    @property
    def floor(self) -> int:
        """No span to come begins before this frame."""
        return self._place

    def feed(self, values: NDArray[np.generic]) -> Iterator[Span]:
        """Spans that the next probabilities (T,) make certain.

        Raises:
            ValueError: not (T,), or not all between 0 and 1.
        """
        track = np.asarray(values, np.float64)
        if track.ndim != 1 or not ((track >= 0) & (track <= 1)).all():
            raise ValueError(
                f"probabilities must be (T,) between 0 and 1; got {values.shape} of {values.dtype}. "
                "Apply the sigmoid, and fill what is NaN."
            )
        self._held = np.concatenate([self._held, track])
        yield from self._advance()

    def finish(self) -> Iterator[Span]:
        """What is left at the end of the recording."""
        self._skip()
        if len(self._held):
            yield from self._settle(len(self._held) if not self._silence else self._speech_end(), last=True)

    def _advance(self) -> Iterator[Span]:
        while True:
            self._skip()
            end = self._stretch_end()
            before = self._place
            yield from self._settle(end or len(self._held), last=bool(end))
            if self._place == before:
                return

    def _settle(self, size: int, *, last: bool) -> list[Span]:
        spans, settled = self._rule.settle(self._held[:size], last) if size else ([], 0)
        place = self._place
        self._drop(settled)
        return [(place + start, place + end) for start, end in spans]

    def _drop(self, count: int) -> None:
        self._held = self._held[count:]
        self._place += count

    def _skip(self) -> None:
        """Go on to the first frame that is probable enough."""
        speech = self._held >= self._threshold
        self._drop(int(np.argmax(speech)) if speech.any() else len(speech))

    def _stretch_end(self) -> int:
        """End of the speech before the first silence that parts; 0 while there is none."""
        if not self._silence or not len(self._held):
            return 0
        # Beyond the horizon nothing is known yet when the rule must decide, however the stream is cut.
        held = self._held[: self._horizon or None]
        speech = np.append(np.flatnonzero(held >= self._threshold), len(held))
        wide = np.flatnonzero(np.diff(speech) > self._silence)
        return int(speech[wide[0]]) + 1 if len(wide) else 0

    def _speech_end(self) -> int:
        return int(np.flatnonzero(self._held >= self._threshold)[-1]) + 1
