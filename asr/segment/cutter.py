"""Stretches of speech put together where the pause is short, and cut where they are too long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asr.frames import seconds_to_samples
from asr.segment.sound import Sound, Speech

SMOOTHING_S = 0.05
"""Width over which energy is averaged before the quietest place is sought."""
STEP_SAMPLES = 80
"""Places tried for a cut: every 5 ms."""


@dataclass(frozen=True)
class Event:
    """What a detector knows after a frame, in samples from the beginning."""

    now: int
    """End of the frame."""
    start: int | None = None
    """Where speech began that is open, or that this frame closed."""
    end: int | None = None
    """Where it ended; its own start when it was no speech after all."""
    last: bool = False
    """The recording ends here."""


class Cutter:
    """Puts neighbouring speech together and cuts what is too long, one event at a time.

    What lies between the segments is silence: no second is lost, none is given twice.
    """

    def __init__(
        self,
        sound: Sound,
        *,
        keep_s: float,
        merge_gap_s: float,
        max_segment_s: float,
        search_ratio: float,
        ring_s: float,
    ) -> None:
        self._sound = sound
        self._keep = seconds_to_samples(keep_s)
        self._gap = seconds_to_samples(merge_gap_s)
        self._max = seconds_to_samples(max_segment_s)
        self._search = seconds_to_samples(max_segment_s * search_ratio)
        self._ring = seconds_to_samples(ring_s)
        # Speech that begins is seen a ring buffer late: until then a segment waits to be joined.
        self._wait = max(self._gap, 2 * self._keep) + self._ring
        self._held: tuple[int, int] | None = None  # a segment's start and the end of its last speech
        self._floor = 0  # end of the last segment given

    def advance(self, event: Event) -> Iterator[Speech]:
        """The segments that this event makes certain."""
        start, end = event.start, event.end
        if start is None or start == end:
            if self._held and event.now - self._held[1] > self._wait:
                yield self._give()
            if not self._held:
                self._sound.drop_before(event.now - self._ring - self._keep)
            return
        reach = event.now if end is None else end
        if self._held and not self._joins(start, reach):
            yield self._give(before=start)
        # Joined speech is held by its first start; the rest begins where the last cut left it.
        begin = self._held[0] if self._held else max(self._floor, start - self._keep)
        # Speech ends with a ring buffer of silence, unless the recording does: what exceeds the maximum by less
        # needs no cut.
        while reach - begin > self._max + (0 if event.last else self._ring):
            cut = self._quietest(begin)
            yield self._sound.take(begin, cut)
            begin = self._floor = cut
        if end is not None:
            self._held = (begin, min(end, begin + self._max))

    def finish(self) -> Iterator[Speech]:
        """The segment that is still held at the end of the recording."""
        if self._held:
            yield self._give()

    def _joins(self, start: int, reach: int) -> bool:
        """Whether speech from ``start`` to ``reach`` continues the segment that is held."""
        assert self._held is not None
        begin, end = self._held
        return start - end < self._gap and reach + self._keep - begin <= self._max

    def _give(self, before: int | None = None) -> Speech:
        """The held segment; it shares the pause with speech that begins at ``before``."""
        assert self._held is not None
        begin, speech_end = self._held
        end = min(speech_end + self._keep, self._sound.end, begin + self._max)
        if before is not None and end > before - self._keep:
            end = max(speech_end, min(end, (speech_end + before) // 2))
        self._held = None
        self._floor = end
        return self._sound.take(begin, end)

    def _quietest(self, begin: int) -> int:
        """The place of lowest smoothed energy in the last part of the longest segment from ``begin``."""
        half = seconds_to_samples(SMOOTHING_S / 2)
        first = begin + self._max - self._search
        samples = self._sound.between(first - half, begin + self._max)
        energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
        places = np.arange(half, len(samples) - half, STEP_SAMPLES)
        smoothed = energy[places + half] - energy[places - half]
        # Of equally quiet places the last: the longer segment has more context.
        last = len(places) - 1 - int(np.argmin(smoothed[::-1]))
        return first - half + int(places[last])
