"""Decisions for single frames, smoothed by a ring buffer into stretches of speech."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from asr.arrays import FloatArray
from asr.frames import SAMPLE_RATE
from asr.segment.cutter import Cutter, Event
from asr.segment.limits import check_limit
from asr.segment.sound import Sound, Speech, pieces
from lm.errors import InputError

Decide = Callable[[FloatArray], Iterator[bool]]
"""Frames (T, F) that follow those of the last call, to whether each is voiced."""


@dataclass(frozen=True, kw_only=True)
class SpeechConfig:
    """A ring buffer over frames, and what becomes of the speech it finds.

    A detector hears too little at soft beginnings and ends, and what it misses is lost for
    good, while silence handed to the recogniser costs only time; so speech begins here when half
    of the ring buffer is voiced (webrtcvad's example: nine tenths), and sound is kept on both sides.
    """

    frame_ms: int = 30
    """Length of one decision: 10, 20 or 30."""
    padding_ms: int = 300
    """Length of the ring buffer over which decisions are counted."""
    start_ratio: float = 0.5
    """Share of the ring buffer that must be voiced for speech to begin."""
    end_ratio: float = 0.9
    """Share of the ring buffer that must be unvoiced for speech to end."""
    keep_s: float = 0.3
    """Sound kept before and after the speech that was found."""
    min_speech_s: float = 0.15
    """Less voiced sound than this between two pauses is a click, not speech."""
    merge_gap_s: float = 0.5
    """Neighbours with a shorter pause between them become one segment, if not too long."""
    max_segment_s: float = 20.0
    """Longer speech is cut, at the quietest place of the window's last part."""
    search_ratio: float = 0.4
    """Share of ``max_segment_s``, counted from its end, in which that place is sought."""

    def __post_init__(self) -> None:
        check_frame(self.frame_ms)
        if self.padding_ms < self.frame_ms:
            raise InputError(f"`padding_ms` must hold a frame of {self.frame_ms} ms; got {self.padding_ms}.")
        if not (0 < self.start_ratio < 1 and 0 < self.end_ratio < 1 and 0 < self.search_ratio < 1):
            raise InputError("`start_ratio`, `end_ratio` and `search_ratio` must lie between 0 and 1.")
        if not min(self.keep_s, self.min_speech_s, self.merge_gap_s) >= 0:
            raise InputError(
                "`keep_s`, `min_speech_s` and `merge_gap_s` must be at least 0; "
                f"got {self.keep_s}, {self.min_speech_s} and {self.merge_gap_s}."
            )
        check_limit(self.max_segment_s)


def check_frame(frame_ms: int) -> None:
    """Refuse a frame that webrtcvad does not take."""
    if frame_ms not in (10, 20, 30):
        raise InputError(f"`frame_ms` must be 10, 20 or 30; got {frame_ms}.")


def split_voiced(chunks: Iterable[FloatArray], decide: Decide, config: SpeechConfig) -> Iterator[Speech]:
    """Each stretch of speech with its samples, as soon as its end is certain.

    Args:
        chunks: a waveform at 16 kHz in consecutive pieces of any length, each (S,).
        decide: which frames are voiced.
    Yields:
        segments in order, disjoint, none longer than ``max_segment_s``; samples (S,).
    """
    sound = Sound()
    cutter = Cutter(
        sound,
        keep_s=config.keep_s,
        merge_gap_s=config.merge_gap_s,
        max_segment_s=config.max_segment_s,
        search_ratio=config.search_ratio,
        ring_s=config.padding_ms / 1000,
    )
    detector = _Detector(decide, config)
    for piece in pieces(chunks):
        sound.append(piece)
        for event in detector.feed(piece):
            yield from cutter.advance(event)
    for event in detector.finish():
        yield from cutter.advance(event)
    yield from cutter.finish()


class Framer:
    """Cuts a stream into frames that touch."""

    def __init__(self, size: int) -> None:
        self.size = size
        """Samples of a frame."""
        self._rest: FloatArray = np.zeros(0, np.float32)

    def feed(self, samples: FloatArray) -> FloatArray:
        """The frames that ``samples`` complete, (T, size)."""
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // self.size
        self._rest = samples[count * self.size :]
        return samples[: count * self.size].reshape(count, self.size)

    def finish(self) -> tuple[FloatArray, int]:
        """The last, incomplete frame filled up with zeros, (1, size) or (0, size), and its true length."""
        left = len(self._rest)
        if not left:
            return np.zeros((0, self.size), np.float32), 0
        return np.pad(self._rest, (0, self.size - left))[None], left


class _Detector:
    """Decisions smoothed by a ring buffer; one event for each frame."""

    def __init__(self, decide: Decide, config: SpeechConfig) -> None:
        self._decide = decide
        self._config = config
        self._size = config.frame_ms * SAMPLE_RATE // 1000
        self._length = config.padding_ms // config.frame_ms
        self._ring: deque[bool] = deque(maxlen=self._length)
        self._framer = Framer(self._size)
        self._place = 0
        self._start: int | None = None
        self._voiced = 0

    def feed(self, samples: FloatArray) -> Iterator[Event]:
        """Events of the frames that ``samples`` complete."""
        for voiced in self._decide(self._framer.feed(samples)):
            self._place += self._size
            yield self._smoothed(voiced)

    def finish(self) -> Iterator[Event]:
        """The last, incomplete frame; then speech that is still open ends with the recording."""
        frames, left = self._framer.finish()
        for voiced in self._decide(frames):
            self._place += left
            yield self._smoothed(voiced)
        if self._start is not None:
            yield replace(self._closed(), last=True)

    def _smoothed(self, voiced: bool) -> Event:
        ring, config = self._ring, self._config
        ring.append(voiced)
        if self._start is None:
            if ring.count(True) > config.start_ratio * self._length:
                self._start = max(0, self._place - len(ring) * self._size)
                self._voiced = ring.count(True)
                ring.clear()
            return Event(self._place, self._start)
        self._voiced += voiced
        if ring.count(False) > config.end_ratio * self._length:
            return self._closed()
        return Event(self._place, self._start)

    def _closed(self) -> Event:
        start, self._start = self._start, None
        self._ring.clear()
        speech = self._voiced * self._size >= self._config.min_speech_s * SAMPLE_RATE
        return Event(self._place, start, self._place if speech else start)
