"""From frames to sound, where the two end at different places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from asr.arrays import FloatArray
from asr.frames import FrameGrid
from asr.segment.framed import split_frames
from asr.segment.pauses import Span
from tests.asr.segment.sounds import silence

GRID = FrameGrid(hop_samples=640, window_samples=1360)


class Ones:
    """As many frames as begin in the sound, the last filled up with zeros, as `WindowedTrack` gives them."""

    grid = GRID

    def __call__(self, chunks: Iterable[FloatArray]) -> Iterator[NDArray[np.generic]]:
        length = sum(map(len, chunks))
        yield np.ones(-(-length // GRID.hop_samples))


class EachAlone:
    """Every frame is a span."""

    floor = 0

    def __init__(self) -> None:
        self.count = 0

    def feed(self, values: NDArray[np.generic]) -> Iterator[Span]:
        self.count = len(values)
        yield from ()

    def finish(self) -> Iterator[Span]:
        for frame in range(self.count):
            yield frame, frame + 1


@pytest.mark.parametrize("keep_s", [0.0, 0.05])
@pytest.mark.parametrize("rest", [0, 1, 200, 359, 360, 361, 639])
def test_a_frame_of_which_no_sound_is_left_ends_with_the_sound(rest: int, keep_s: float) -> None:
    sound = silence(4 * GRID.hop_samples / 16_000)
    sound = np.concatenate([sound, sound[:rest]])
    found = list(split_frames([sound], Ones(), EachAlone(), keep_s=keep_s))
    assert all(0 <= segment.start < segment.end for segment, _ in found)
    assert round(16_000 * found[-1][0].end) == len(sound)
