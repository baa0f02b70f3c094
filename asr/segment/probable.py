"""Where to cut a stretch, given how probable it is that each frame lies in a segment: pDAC, pSTRM, pTHR.

All three give spans ``(start, end)`` in frames: sorted, disjoint, none longer than the limit, and
with every frame of at least ``threshold`` in one. `asr.segment.tracks` cuts a stream by them.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr.segment.pauses import Span

Probabilities = NDArray[np.float64]


class Rule(Protocol):
    """How a stretch that begins with a frame above the threshold is cut."""

    def settle(self, values: Probabilities, last: bool) -> tuple[list[Span], int]:
        """Spans that are certain, and the number of frames with which nothing more will be done.

        Args:
            values: probabilities, (T,).
            last: the stretch ends with them; all are then settled.
        """


class Pdac:
    """Probabilistic divide and conquer (SHAS: Tsiamas et al. 2022, algorithm 1).

    A piece of ``max_frames`` or more is split at the frame of lowest probability (of equals the
    first) that leaves more than ``min_frames`` on both sides once they are trimmed to frames of at least
    ``threshold``. Where the original loses sound or length we keep both: a frame above the threshold
    at which a piece is split goes to the right side, and where no frame leaves enough, the
    shortest length yields: the piece is split at its lowest frame.
    """

    def __init__(self, *, threshold: float, min_frames: int, max_frames: int, horizon: int = 0) -> None:
        self._threshold = threshold
        self._min = min_frames
        self._max = max_frames
        self._horizon = horizon

    def settle(self, values: Probabilities, last: bool) -> tuple[list[Span], int]:
        if last:
            return self._divide(values), len(values)
        if not self._horizon or len(values) < self._horizon:
            return [], 0
        # The lowest frame far from both ends: where divide and conquer on all of it would begin.
        half = self._horizon // 2
        cut = half + int(np.argmin(values[half : self._horizon]))
        before = int(np.flatnonzero(values[:cut] >= self._threshold)[-1]) + 1
        return self._divide(values[:before]), cut

    def _divide(self, values: Probabilities) -> list[Span]:
        speech = values >= self._threshold
        places = np.arange(len(values))
        # For a split at frame t: where the left side ends, and where the right side begins.
        ends = np.concatenate([[0], np.maximum.accumulate(np.where(speech, places + 1, 0))[:-1]])
        starts = np.minimum.accumulate(np.where(speech, places, len(values))[::-1])[::-1]
        found: list[Span] = []
        waiting = [(0, len(values))]
        while waiting:
            start, end = waiting.pop()
            if end - start < self._max:
                found.append((start, end))
                continue
            inside = slice(start + 1, end)
            enough = (ends[inside] - start > self._min) & (end - starts[inside] > self._min)
            lowest = values[inside] if not enough.any() else np.where(enough, values[inside], np.inf)
            split = start + 1 + int(np.argmin(lowest))
            waiting += [(int(starts[split]), end), (start, int(ends[split]))]
        return found


class Pstrm:
    """The streaming variant of SHAS's repository: in each chunk of ``max_frames``, at its lowest frame.

    The frame of lowest probability (of equals the first) after ``min_frames`` is the cut if it is
    below ``threshold``; else the whole chunk is a segment. The last chunk is cut alike.
    """

    def __init__(self, *, threshold: float, min_frames: int, max_frames: int) -> None:
        self._threshold = threshold
        self._min = min_frames
        self._max = max_frames

    def settle(self, values: Probabilities, last: bool) -> tuple[list[Span], int]:
        speech = np.flatnonzero(values >= self._threshold)
        found: list[Span] = []
        start = 0
        # Before the end is known, a chunk is whole when speech goes on after it.
        while start < len(values) and (last or speech[-1] >= start + self._max):
            chunk = values[start : start + self._max]
            span, cut = self._span(chunk)
            found.append((start, start + span))
            after = int(np.searchsorted(speech, start + cut))
            start = int(speech[after]) if after < len(speech) else len(values)
        return found, start

    def _span(self, chunk: Probabilities) -> tuple[int, int]:
        """Length of the segment that a chunk begins with, and the frame from which the next is sought."""
        if len(chunk) > self._min:
            cut = self._min + int(np.argmin(chunk[self._min :]))
            if chunk[cut] < self._threshold:
                return int(np.flatnonzero(chunk[:cut] >= self._threshold)[-1]) + 1, cut
        return len(chunk), len(chunk)


class Pthr:
    """A threshold that depends on the segment's length (Fukuda et al. 2023, arXiv 2304.12659).

    A segment begins with a frame of at least ``threshold`` and ends before the first that is below
    the curve: 0 up to ``min_frames``, from there in ``rise_frames`` up to ``threshold``, and in the last
    ``fall_frames`` before ``max_frames`` up to twice that, so that long segments end at shallower dips.
    """

    def __init__(
        self, *, threshold: float, min_frames: int, max_frames: int, rise_frames: int, fall_frames: int
    ) -> None:
        self._threshold = threshold
        curve = np.full(max_frames, threshold)
        rise = np.arange(max_frames) - min_frames
        if rise_frames:
            curve = curve * np.clip(rise / rise_frames, 0, 1)
        if fall_frames:
            late = np.arange(max_frames) - (max_frames - fall_frames)
            curve = curve + threshold * np.clip(late / fall_frames, 0, 1)
        curve[: max(1, min_frames)] = 0.0  # a segment has a frame, also where the late rise begins with it
        self._curve = curve

    def settle(self, values: Probabilities, last: bool) -> tuple[list[Span], int]:
        found: list[Span] = []
        start = 0
        speech = np.flatnonzero(values >= self._threshold)
        while start < len(values):
            part = values[start : start + len(self._curve)]
            below = np.flatnonzero(part < self._curve[: len(part)])
            if not len(below) and len(part) < len(self._curve) and not last:
                break
            end = start + (int(below[0]) if len(below) else len(part))
            found.append((start, end))
            after = int(np.searchsorted(speech, end))
            start = int(speech[after]) if after < len(speech) else len(values)
        return found, start
