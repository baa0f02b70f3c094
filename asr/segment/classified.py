"""The probabilities of a recording of any length, from windows as long as those of the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asr.frames import FrameGrid, seconds_to_samples
from asr.segment.classifier import PACKAGED, FrameClassifier, load_classifier
from asr.segment.sound import FloatArray, Sound
from lm.errors import InputError


class ClassifiedTrack:
    """A `Track` of a classifier: each frame is heard in several windows, and what they say is averaged.

    A window counts most for the frames in its middle: at its edges it knows only one side of a frame. All
    windows have one length, those at the beginning and the end of a recording too, unless it is shorter.
    """

    def __init__(self, model: FrameClassifier, *, window_s: float = 20.0, passes: int = 2) -> None:
        """
        Args:
            window_s: length of a window; that of the training.
            passes: windows that each frame lies in.
        """
        self._model = model
        self._grid = model.grid
        self._stride = model.grid.hop_samples * model.grid.per_window
        # Windows begin on frames, so that all of them divide the recording alike.
        self._step = max(1, seconds_to_samples(window_s / passes) // self._stride) * self._stride
        self._window = passes * self._step

    @property
    def grid(self) -> FrameGrid:
        """Where the frames lie in time."""
        return self._grid

    def __call__(self, chunks: Iterable[FloatArray]) -> Iterator[NDArray[np.float32]]:
        """Probabilities (T,), in order; a frame is given once no window to come reaches it."""
        sound = Sound()
        average = _Average(self._grid)
        start = 0
        for chunk in chunks:
            sound.append(chunk)
            # A window that may be the last of the recording waits: the last one ends with the recording.
            while sound.end > start + self._window:
                self._hear(sound, start, start + self._window, average)
                start += self._step
                # The last window begins at most one step before the next full one.
                done = start - self._step
                yield average.take(self._frame(done))
                sound.drop_before(done)
        if sound.end:
            last = max(0, sound.end - self._window)
            last = -(-last // self._stride) * self._stride
            self._hear(sound, last, sound.end, average)
            yield average.take(None)

    def _hear(self, sound: Sound, start: int, end: int, average: _Average) -> None:
        samples = sound.between(start, end)
        # Frames cover all samples: what no frame's field holds whole is filled up with zeros.
        frames = -(-len(samples) // self._stride)
        needed = (frames - 1) * self._stride + self._grid.window_samples - 2 * self._grid.pad_samples
        samples = np.pad(samples, (0, max(0, needed - len(samples))))
        average.add(self._frame(start), self._probabilities(samples))

    @torch.inference_mode()
    def _probabilities(self, samples: FloatArray) -> NDArray[np.float64]:
        device = self._model.head.weight.device
        waveform = torch.from_numpy(samples)[None].to(device)
        odds, num_frames = self._model(waveform, torch.tensor([len(samples)], device=device))
        found: NDArray[np.float64] = odds[0, : int(num_frames)].double().sigmoid().cpu().numpy()
        return found

    def _frame(self, sample: int) -> int:
        return sample // self._stride * self._grid.per_window


class _Average:
    """Weighted means of frames that overlapping windows give."""

    def __init__(self, grid: FrameGrid) -> None:
        self._grid = grid
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


def load_track(source: str | Path = "", device: str | torch.device = "cpu") -> ClassifiedTrack:
    """The track of a trained classifier.

    Args:
        source: folder of `recipes.train_segmenter`; empty for the one that comes with the package.
    Raises:
        InputError: there is none.
    """
    if not source and not PACKAGED.is_dir():
        raise InputError(
            "this copy of loquela has no segmenter model in asr/segment/model. Install it again, or name a trained one."
        )
    return _track(str(source or PACKAGED), str(device))


@lru_cache(maxsize=4)
def _track(source: str, device: str) -> ClassifiedTrack:
    return ClassifiedTrack(load_classifier(source, device))
