"""From spans in frames to segments with their samples, on a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr.arrays import FloatArray
from asr.frames import FrameGrid, seconds_to_samples
from asr.segment.pauses import FrameCutter, Span
from asr.segment.sound import Sound, Speech, pieces


class Track(Protocol):
    """One value for each frame of a recording: decisions, or probabilities from 0 to 1."""

    @property
    def grid(self) -> FrameGrid:
        """Where the frames lie in time."""

    def __call__(self, chunks: Iterable[FloatArray]) -> Iterator[NDArray[np.generic]]:
        """Values (T,) in order, in portions of any size.

        Args:
            chunks: the recording in pieces (S,) of at most a second. What was taken of them is kept
                until its values are given: a track should not run far ahead.
        """


Smooth = Callable[[NDArray[np.generic]], NDArray[np.generic]]


def split_frames(
    chunks: Iterable[FloatArray],
    track: Track,
    cutter: FrameCutter,
    *,
    keep_s: float,
    smooth: Smooth | None = None,
) -> Iterator[Speech]:
    """Segments where ``cutter`` says, as soon as they are certain.

    Args:
        keep_s: sound kept on both sides of a span; neighbours share a shorter pause.
        smooth: what becomes of the track's values before they are cut.
    """
    sound = Sound()

    def heard() -> Iterator[FloatArray]:
        for piece in pieces(chunks):
            sound.append(piece)
            yield piece

    giver = _Giver(sound, track.grid, keep_s)
    for values in track(heard()):
        for span in cutter.feed(smooth(values) if smooth else values):
            yield from giver.add(span)
        yield from giver.advance(cutter.floor)
    for span in cutter.finish():
        yield from giver.add(span)
    yield from giver.finish()


class _Giver:
    """Holds a segment until it is known how much of the pause after it is its own."""

    def __init__(self, sound: Sound, grid: FrameGrid, keep_s: float) -> None:
        self._sound = sound
        self._grid = grid
        self._keep = seconds_to_samples(keep_s)
        self._held: tuple[int, int] | None = None  # start with the sound kept, end of the span

    def add(self, span: Span) -> Iterator[Speech]:
        """The segment that was held, now that the next span is known."""
        start, end = (self._sample(frame) for frame in span)
        if start >= self._sound.end:  # the last frame, of which the sound ends before its hop begins
            return
        floor = self._sound.start
        if self._held:
            floor = max(self._held[1], min(self._held[1] + self._keep, (self._held[1] + start) // 2))
            yield self._give(floor)
        end = min(end, self._sound.end)  # the last frame is filled up with zeros
        self._held = max(floor, start - self._keep), end

    def advance(self, frame: int) -> Iterator[Speech]:
        """The segment that is held, if no span from ``frame`` on can touch it; what is past is forgotten."""
        start = min(self._sample(frame), self._sound.end)
        if self._held and start >= self._held[1] + 2 * self._keep:
            yield self._give(self._held[1] + self._keep)
        if not self._held:
            self._sound.drop_before(start - self._keep)

    def finish(self) -> Iterator[Speech]:
        """The last segment."""
        if self._held:
            yield self._give(min(self._held[1] + self._keep, self._sound.end))

    def _give(self, end: int) -> Speech:
        assert self._held is not None
        start, self._held = self._held[0], None
        return self._sound.take(start, end)

    def _sample(self, frame: int) -> int:
        """Where the hop of a frame begins. The first one begins with the recording, if it pads before it."""
        return max(0, seconds_to_samples(self._grid.start_s(frame)))
