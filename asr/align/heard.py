"""What a model hears in a recording, kept on disk, and when."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from asr.align.spool import Spool
from asr.align.texts import Columns
from asr.frames import FrameGrid
from asr.segment import Segment
from asr.transcribe import Encoded


class HeardRecording(Spool):
    """The emissions of a recording's segments one after the other, with a frame of silence between two.

    A segment ends where a pause was cut out: without that frame a label at its end and the same label at the next
    one's beginning would be one.
    """

    def __init__(self, columns: Columns, grid: FrameGrid) -> None:
        super().__init__(len(columns))
        self._columns = columns
        self._grid = grid
        self._firsts: list[int] = []
        self._segments: list[Segment] = []

    def listen(self, encoded: Iterable[tuple[Segment, Encoded | None]]) -> None:
        """Add segments in order; those too short for a frame say nothing."""
        for segment, given in encoded:
            if given is None:
                continue
            if self._segments:
                self.append(self._columns.pause())
            self._firsts.append(len(self))
            self._segments.append(segment)
            self.append(self._columns.take(given.emissions))

    def span(self, first: int, last: int) -> tuple[float, float]:
        """Seconds from the start of frame ``first`` to the end of the frame before ``last``."""
        return self._second(first, 0), self._second(last - 1, 1)

    @property
    def stretches(self) -> tuple[tuple[float, float], ...]:
        """Start and end of each segment in seconds."""
        return tuple((segment.start, segment.end) for segment in self._segments)

    def _second(self, frame: int, hops: int) -> float:
        place = max(0, bisect_right(self._firsts, frame) - 1)
        segment = self._segments[place]
        second = segment.start + self._grid.start_s(frame - self._firsts[place] + hops)
        return min(max(second, segment.start), segment.end)
