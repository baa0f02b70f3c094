"""The one place that converts between samples, frames and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Samples per second of every waveform inside the toolkit."""


def seconds_to_samples(seconds: float) -> int:
    """Samples in a span of ``seconds``, rounded to the nearest.

    >>> seconds_to_samples(0.5)
    8000
    """
    return round(seconds * SAMPLE_RATE)


def samples_to_seconds(samples: int) -> float:
    """Length in seconds of ``samples``.

    >>> samples_to_seconds(8000)
    0.5
    """
    return samples / SAMPLE_RATE


def frames_needed(labels: Sequence[object]) -> int:
    """Fewest frames with a CTC path: one per label, and a blank between equal neighbours.

    >>> frames_needed("allpa")
    6
    """
    return len(labels) + sum(left == right for left, right in pairwise(labels))


@dataclass(frozen=True, kw_only=True)
class FrameGrid:
    """Where an encoder's output frames lie in time; derived from its strides, never fitted.

    Frame ``t`` sees the samples ``[t * hop_samples - pad_samples, ... + window_samples)``; where several
    frames are made of each window, they divide the window's stride among themselves.
    """

    hop_samples: int
    """Samples between the starts of neighbouring frames: the product of the strides, over `per_window`."""

    window_samples: int
    """Receptive field of one frame of the convolutional stack (or filterbank and subsampling)."""

    pad_samples: int = 0
    """Samples of padding before the first frame; 0 for the wav2vec 2.0 stack."""

    per_window: int = 1
    """Frames made of each window."""

    def split(self, parts: int) -> FrameGrid:
        """The grid of ``parts`` frames for each of these.

        >>> FrameGrid(hop_samples=640, window_samples=1360).split(2).num_frames(1360)
        2
        """
        return replace(self, hop_samples=self.hop_samples // parts, per_window=self.per_window * parts)

    @property
    def frames_per_second(self) -> float:
        """Frames per second of audio."""
        return SAMPLE_RATE / self.hop_samples

    @property
    def frame_s(self) -> float:
        """Seconds between neighbouring frames."""
        return self.hop_samples / SAMPLE_RATE

    def num_frames(self, num_samples: int) -> int:
        """Frames that the encoder emits for ``num_samples`` (0 when the audio is too short).

        >>> FrameGrid(hop_samples=320, window_samples=400).num_frames(16_000)
        49
        """
        padded = num_samples + 2 * self.pad_samples
        stride = self.hop_samples * self.per_window
        return self.per_window * max(0, (padded - self.window_samples) // stride + 1)

    def start_s(self, frame: int) -> float:
        """Second at which ``frame``'s own hop begins: the hop-long middle of its receptive field.

        >>> FrameGrid(hop_samples=320, window_samples=400).start_s(0)
        0.0025
        """
        margin = (self.window_samples - self.hop_samples * self.per_window) / 2 - self.pad_samples
        return (frame * self.hop_samples + margin) / SAMPLE_RATE

    def middles_s(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        """Seconds at the middles of frames' own hops."""
        return self.start_s(0) + (frames + np.float64(0.5)) * self.frame_s

    def frames_at(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Frames in whose own hops these times lie, one that begins there before one that ends; before the first, < 0.

        >>> FrameGrid(hop_samples=320, window_samples=400).frames_at(np.array([0.0024, 0.0025, 0.0325]))
        array([-1,  0,  1])
        """
        places: NDArray[np.float64] = np.floor((seconds - self.start_s(0)) / self.frame_s + 1e-6)
        return places.astype(np.int64)
