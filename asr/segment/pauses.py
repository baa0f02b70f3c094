"""Where to cut, given where nobody speaks: by divide and conquer, and along the stream.

Both take a decision for each frame as it comes and give spans ``(start, end)`` in frames that begin
and end with a voiced frame, sorted, disjoint, none longer than the limit, with every voiced frame in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]
"""First frame, and the frame after the last."""


class FrameCutter(Protocol):
    """Values of frames in, spans out, in bounded memory."""

    @property
    def floor(self) -> int:
        """No span to come begins before this frame."""

    def feed(self, values: NDArray[np.generic]) -> Iterator[Span]:
        """Spans that the next frames (T,) make certain."""

    def finish(self) -> Iterator[Span]:
        """What is left at the end of the recording."""


def pauses_of(voiced: Sequence[bool] | NDArray[np.bool_]) -> list[Span]:
    """The runs of frames without voice.

    >>> pauses_of([False, True, True, False, False])
    [(0, 1), (3, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~np.asarray(voiced, np.bool_), [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@dataclass(eq=False)
class _Pause:
    """A pause between voiced frames."""

    start: int
    end: int
    left: int
    """Where the piece begins whose longest pause this is."""
    cut: bool | None = None
    """Whether it is cut; None while that depends on what comes."""


class PauseDivider:
    """Divide and conquer on a stream, with the outcome that it has on the whole.

    A piece that is too long is cut at its longest pause (of equals the first). So a pause is cut
    exactly when the piece between the nearest longer pauses on its two sides is too long: whatever
    holds it together must go first. That is known ``max_frames`` later at the latest.

    Where the longest pauses are equally long, as in speech without breaths, that peels off crumbs. So, from left
    to right, neighbours that fit into one piece are joined again, unless more than ``min_pause_frames`` parts them.

    Args:
        max_frames: longest piece. One without a pause is cut each ``max_frames``.
        min_pause_frames: only a longer pause keeps neighbours apart that fit into one piece.
    """

    def __init__(self, *, max_frames: int, min_pause_frames: int = 0) -> None:
        self._max = max_frames
        self._min_pause = min_pause_frames
        self._now = 0
        self._first: int | None = None  # the first voiced frame of all
        self._begin: int | None = None  # of the piece that is not certain yet
        self._held: Span | None = None  # the piece before it, which it may join
        self._voiced_end = 0  # the frame after the last voiced one
        self._open: _Pause | None = None  # the pause that lasts
        self._longer: list[_Pause] = []  # closed ones, each at least as long as all that follow it
        self._waiting: list[_Pause] = []  # in order of time, after `_begin`

    @property
    def floor(self) -> int:
        return self._held[0] if self._held else self._next

    @property
    def _next(self) -> int:
        """No piece to come begins before this frame."""
        return self._now if self._begin is None else self._begin

    def feed(self, values: NDArray[np.generic]) -> Iterator[Span]:
        for voiced in values.tolist():
            self._now += 1
            for piece in self._heard() if voiced else self._unheard():
                yield from self._join(piece)
        if self._held and not self._joins(self._held, (self._next, self._next + 1)):
            yield self._held
            self._held = None

    def finish(self) -> Iterator[Span]:
        for piece in self._rest():
            yield from self._join(piece)
        if self._held:
            yield self._held
            self._held = None

    def _join(self, piece: Span) -> Iterator[Span]:
        """The piece that was held, unless the next one continues it."""
        if self._held and self._joins(self._held, piece):
            self._held = self._held[0], piece[1]
            return
        if self._held:
            yield self._held
        self._held = piece

    def _joins(self, held: Span, piece: Span) -> bool:
        return piece[0] - held[1] <= self._min_pause and piece[1] - held[0] <= self._max

    def _rest(self) -> Iterator[Span]:
        """Pieces that the end of the recording makes certain."""
        if self._open in self._waiting:  # no voice follows it: it parts nothing
            self._waiting.pop()
        for pause in self._longer:
            if pause.cut is None:
                pause.cut = self._voiced_end - pause.left > self._max
        yield from self._settled()
        if self._begin is not None:
            yield from self._pieces(self._begin, self._voiced_end)
            self._begin = None

    def _heard(self) -> Iterator[Span]:
        place = self._now - 1
        self._voiced_end = self._now
        if self._first is None:
            self._first = place
        pause, self._open = self._open, None
        if pause is not None:
            self._longer.append(pause)
        if self._begin is None:
            self._begin = place
        for each in self._waiting:
            if each.cut is None:
                each.cut = True if self._now - each.left > self._max else None
            if each.cut is None:
                break  # what follows it begins later still
        yield from self._settled()
        if not self._waiting and self._now - self._begin > self._max:
            # Too long, and without a pause: one that comes cannot be nearer.
            yield self._begin, self._begin + self._max
            self._begin += self._max

    def _unheard(self) -> Iterator[Span]:
        if self._first is None:
            return
        place = self._now - 1
        pause = self._open = self._open or _Pause(place, place, self._first)
        pause.end = self._now
        while self._longer and self._longer[-1].end - self._longer[-1].start < self._now - pause.start:
            shorter = self._longer.pop()
            if shorter.cut is None:
                shorter.cut = pause.start - shorter.left > self._max
        pause.left = self._longer[-1].end if self._longer else self._first
        if pause.cut is None:
            if pause.end - pause.start == 1:
                self._waiting.append(pause)
            # If voice comes next, the piece around this pause is too long; if none comes, it ended here.
            if self._now + 1 - pause.left > self._max:
                pause.cut = True
        yield from self._settled()

    def _settled(self) -> Iterator[Span]:
        """Pieces that end at a pause before which nothing is in doubt."""
        while self._waiting and self._waiting[0].cut is not None:
            pause = self._waiting.pop(0)
            if pause.cut:
                assert self._begin is not None
                yield from self._pieces(self._begin, pause.start)
                self._begin = None if pause is self._open else pause.end

    def _pieces(self, start: int, end: int) -> Iterator[Span]:
        while end - start > self._max:
            yield start, start + self._max
            start += self._max
        yield start, end


class WindowCutter:
    """The streaming half of hybrid segmentation: one decision for each window, and none taken back.

    Args:
        min_frames: where the window begins in which a pause is sought, counted from the piece's start.
        max_frames: where it ends, and where the piece is cut if there is none.
        min_pause_frames: only a longer part of a pause in the window counts.
    """

    def __init__(self, *, min_frames: int, max_frames: int, min_pause_frames: int) -> None:
        self._min = min_frames
        self._max = max_frames
        self._min_pause = min_pause_frames
        self._start = 0  # of the window
        self._window: list[bool] = []  # from its first voiced frame

    @property
    def floor(self) -> int:
        return self._start

    def feed(self, values: NDArray[np.generic]) -> Iterator[Span]:
        for voiced in values.tolist():
            if not (voiced or self._window):
                self._start += 1
                continue
            self._window.append(bool(voiced))
            if len(self._window) == self._max:
                yield self._cut()

    def finish(self) -> Iterator[Span]:
        while self._window:  # the last one is cut as the others are, in its pauses after the shortest length
            yield self._cut()

    def _cut(self) -> Span:
        pauses = [(self._min + start, self._min + end) for start, end in pauses_of(self._window[self._min :])]
        long = [pause for pause in pauses if pause[1] - pause[0] > self._min_pause]
        size = len(self._window)
        start, end = max(long, key=lambda pause: pause[1] - pause[0], default=(size, size))
        # The pause may have begun before the window did.
        span = self._start, self._start + _last(self._window[:start]) + 1
        rest = self._window[end:]
        skip = rest.index(True) if True in rest else len(rest)
        self._start += end + skip
        self._window = rest[skip:]
        return span


def _last(window: list[bool]) -> int:
    """Place of the last voiced frame."""
    return len(window) - 1 - window[::-1].index(True)
