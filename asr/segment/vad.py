"""Voiced or not, frame by frame, by webrtcvad: the only module that knows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from asr.arrays import FloatArray
from asr.frames import SAMPLE_RATE, FrameGrid
from asr.segment.sound import Speech
from asr.segment.speech import Decide, Framer, SpeechConfig, split_voiced
from lm.errors import InputError

SILENT_PEAK = 1
"""A frame whose 16-bit samples stay within this is digital silence and never shown to the detector."""


@dataclass(frozen=True, kw_only=True)
class VadConfig(SpeechConfig):
    """Voice activity detection with a ring buffer, as in IndicWav2Vec's curation (mode 2, 30 ms, 300 ms)."""

    mode: int = 2
    """Aggressiveness of webrtcvad, 0 (keeps most) to 3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mode(self.mode)


def check_mode(mode: int) -> None:
    """Refuse an aggressiveness that webrtcvad has not."""
    if mode not in (0, 1, 2, 3):
        raise InputError(f"`mode` must be 0, 1, 2 or 3; got {mode}.")


def split_speech(chunks: Iterable[FloatArray], config: VadConfig | None = None) -> Iterator[Speech]:
    """Each stretch of speech with its samples, as soon as its end is certain.

    Args:
        chunks: a waveform at 16 kHz in consecutive pieces of any length, each (S,).
        config: the detector's settings.
    Yields:
        segments in order, disjoint, none longer than ``max_segment_s``; samples (S,).
    """
    config = config or VadConfig()
    return split_voiced(chunks, webrtc(config.mode), config)


class VadTrack:
    """webrtcvad's decisions without any smoothing, on a grid of touching frames: where the pauses are."""

    def __init__(self, mode: int, frame_ms: int) -> None:
        size = frame_ms * SAMPLE_RATE // 1000
        self.grid = FrameGrid(hop_samples=size, window_samples=size)
        self._mode = mode

    def __call__(self, chunks: Iterable[FloatArray]) -> Iterator[NDArray[np.bool_]]:
        """Decisions (T,) for the frames that each chunk completes; at the end one for what is left."""
        framer, decide = Framer(self.grid.hop_samples), webrtc(self._mode)
        for chunk in chunks:
            yield np.fromiter(decide(framer.feed(chunk)), np.bool_)
        yield np.fromiter(decide(framer.finish()[0]), np.bool_)


def webrtc(mode: int) -> Decide:
    """A detector that begins anew: it remembers the frames before."""
    detector = webrtcvad.Vad(mode)

    def decide(frames: FloatArray) -> Iterator[bool]:
        # Loudness beyond full scale is clipped here only, for a detector of 16-bit samples.
        integers = np.clip(np.rint(frames * 32768), -32768, 32767).astype(np.int16)
        silent = (np.abs(frames).max(axis=1, initial=0) * 32768 <= SILENT_PEAK).tolist()
        raw = integers.tobytes()
        width = 2 * frames.shape[1]
        for index, skip in enumerate(silent):
            yield not skip and detector.is_speech(raw[index * width : (index + 1) * width], SAMPLE_RATE)

    return decide
