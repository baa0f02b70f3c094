"""A track of a recording of any length, from windows as long as those that a model was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from asr.arrays import FloatArray
from asr.frames import FrameGrid, seconds_to_samples
from asr.segment.sound import Sound


class WindowedTrack:
    """A `Track` of what a model says of windows that overlap: where several hear a frame, that is averaged.

    A window counts most for the frames in its middle: at its edges it knows only one side of a frame. All
    windows have one length, those at the beginning and the end of a recording too, unless it is shorter.
    """

    def __init__(
        self,
        hear: Callable[[FloatArray], NDArray[np.generic]],
        grid: FrameGrid,
        *,
        window_s: float,
        step_s: float,
    ) -> None:
        """
        Args:
            hear: samples (S,) to a value from 0 to 1 for each frame, (T,).
            grid: where these frames lie in time.
            window_s: length of a window; that of the training.
            step_s: from the start of one to that of the next.
        """
        self._hear = hear
        self._grid = grid
        self._stride = grid.hop_samples * grid.per_window
        # Windows begin on frames, so that all of them divide the recording alike.
        self._step = self._whole(step_s)
        self._window = self._whole(window_s)

    @property
    def grid(self) -> FrameGrid:
        """Where the frames lie in time."""
        return self._grid

    def __call__(self, chunks: Iterable[FloatArray]) -> Iterator[NDArray[np.float32]]:
        """Values (T,), in order; a frame's is given once no window to come reaches it."""
        sound = Sound()
        average = _Average()
        start = 0
        for chunk in chunks:
            sound.append(chunk)
            # A window that may be the last of the recording waits: the last one ends with the recording.
            while sound.end > start + self._window:
                self._add(sound, start, start + self._window, average)
                start += self._step
                # The last window begins at most one step before the next full one.
                done = start - self._step
                yield average.take(self._frame(done))
                sound.drop_before(done)
        if sound.end:
            last = max(0, sound.end - self._window)
            last = -(-last // self._stride) * self._stride
            self._add(sound, last, sound.end, average)
            yield average.take(None)

    def _add(self, sound: Sound, start: int, end: int, average: _Average) -> None:
        samples = sound.between(start, end)
        # Frames cover all samples: what no frame's field holds whole is filled up with zeros.
        frames = -(-len(samples) // self._stride)
        needed = (frames - 1) * self._stride + self._grid.window_samples - 2 * self._grid.pad_samples
        samples = np.pad(samples, (0, max(0, needed - len(samples))))
        average.add(self._frame(start), self._hear(samples).astype(np.float64))

    def _whole(self, seconds: float) -> int:
        """Samples in the whole strides of so many seconds."""
        return max(1, seconds_to_samples(seconds) // self._stride) * self._stride

    def _frame(self, sample: int) -> int:
        return sample // self._stride * self._grid.per_window


class _Average:
    """Weighted means of frames that overlapping windows give."""

    def __init__(self) -> None:
        self._place = 0  # of the first frame held
        self._sums: NDArray[np.float64] = np.zeros(0)
        self._weights: NDArray[np.float64] = np.zeros(0)

    def add(self, place: int, values: NDArray[np.float64]) -> None:
        """Take the frames (T,) of a window whose first one is ``place``."""
        end = place - self._place + len(values)
        grown = max(0, end - len(self._sums))
        self._sums = np.pad(self._sums, (0, grown))
        self._weights = np.pad(self._weights, (0, grown))
        places = np.arange(len(values)) + 0.5
        weights = np.minimum(places, len(values) - places)
        held = slice(place - self._place, end)
        self._sums[held] += weights * values
        self._weights[held] += weights

    def take(self, end: int | None) -> NDArray[np.float32]:
        """Means (T,) of the frames before ``end``, or of all; they are forgotten."""
        count = len(self._sums) if end is None else end - self._place
        means = self._sums[:count] / self._weights[:count]
        self._sums, self._weights = self._sums[count:], self._weights[count:]
        self._place += count
        return means.clip(0, 1).astype(np.float32)
