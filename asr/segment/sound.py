"""A stretch of a recording, and the part of a stream that may still be needed for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from asr.arrays import FloatArray
from asr.frames import SAMPLE_RATE, samples_to_seconds


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording in seconds; both ends fall on samples at 16 kHz."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


Speech = tuple[Segment, FloatArray]
"""A segment with its own samples, (S,)."""

Segmenter = Callable[[Iterable[FloatArray]], Iterator[Speech]]
"""Consecutive chunks of a waveform at 16 kHz, each (S,) of any length, to segments as soon as they are certain."""


def pieces(chunks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """The same samples in copies of at most a second.

    A copy does not keep the caller's chunk in memory, and a huge chunk costs no huge arrays.
    """
    for chunk in chunks:
        for at in range(0, len(chunk), SAMPLE_RATE):
            yield np.array(chunk[at : at + SAMPLE_RATE], dtype=np.float32)


class Sound:
    """The part of the stream that may still be needed, addressed by place in the recording, in samples."""

    def __init__(self) -> None:
        self._pieces: deque[FloatArray] = deque()
        self.start = 0
        self.end = 0

    def append(self, samples: FloatArray) -> None:
        """Add what comes next; (S,)."""
        self._pieces.append(samples)
        self.end += len(samples)

    def between(self, start: int, end: int) -> FloatArray:
        """Samples from ``start`` to before ``end``, which must be there still."""
        assert self.start <= start <= end <= self.end, "sound was dropped too early"
        parts = []
        place = self.start
        for piece in self._pieces:
            parts.append(piece[max(0, start - place) : max(0, end - place)])
            place += len(piece)
            if place >= end:
                break
        return np.concatenate(parts)

    def drop_before(self, place: int) -> None:
        """Forget whole pieces that end by ``place``."""
        while self._pieces and self.start + len(self._pieces[0]) <= place:
            self.start += len(self._pieces.popleft())

    def take(self, start: int, end: int) -> Speech:
        """A segment with its samples; what lies before its end is forgotten."""
        samples = self.between(start, end)
        self.drop_before(end)
        if self.start < end:
            self._pieces[0] = self._pieces[0][end - self.start :]
            self.start = end
        return Segment(samples_to_seconds(start), samples_to_seconds(end)), samples
