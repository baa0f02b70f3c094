"""Cutting a recording where nobody speaks: the only module that knows webrtcvad.

A recogniser wants pieces of some seconds, cut in pauses. Everything here works on a stream of
chunks in bounded memory, and gives the same segments however the stream is cut into chunks.
What lies between the segments is silence: no second is lost, none is given twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from asr.frames import SAMPLE_RATE, samples_to_seconds, seconds_to_samples
from lm.errors import InputError

FloatArray = NDArray[np.float32]

SILENT_PEAK = 1
"""A frame whose 16-bit samples stay within this is digital silence and never shown to the detector."""
SMOOTHING_S = 0.05
"""Width over which energy is averaged before the quietest place is sought."""
STEP_SAMPLES = 80
"""Places tried for a cut: every 5 ms."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording in seconds; both ends fall on samples at 16 kHz."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class VadConfig:
    """Voice activity detection with a ring buffer, as in IndicWav2Vec's curation (mode 2, 30 ms, 300 ms).

    The detector hears too little at soft beginnings and ends, and what it misses is lost for
    good, while silence handed to the recogniser costs only time; so speech begins here when half
    of the ring buffer is voiced (there: nine tenths), and sound is kept on both sides.
    """

    mode: int = 2
    """Aggressiveness of webrtcvad, 0 (keeps most) to 3."""
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
        if self.frame_ms not in (10, 20, 30):
            raise InputError(f"`frame_ms` must be 10, 20 or 30; got {self.frame_ms}.")
        if self.mode not in (0, 1, 2, 3):
            raise InputError(f"`mode` must be 0, 1, 2 or 3; got {self.mode}.")
        if self.padding_ms < self.frame_ms:
            raise InputError(f"`padding_ms` must hold a frame of {self.frame_ms} ms; got {self.padding_ms}.")
        if not (0 < self.start_ratio < 1 and 0 < self.end_ratio < 1 and 0 < self.search_ratio < 1):
            raise InputError("`start_ratio`, `end_ratio` and `search_ratio` must lie between 0 and 1.")
        if not 1 <= self.max_segment_s <= 3600:
            raise InputError(
                f"`max_segment_s`, the longest segment, must be between 1 and 3600 s; got {self.max_segment_s}."
            )


def split_speech(
    chunks: Iterable[FloatArray], config: VadConfig | None = None
) -> Iterator[tuple[Segment, FloatArray]]:
    """Each stretch of speech with its samples, as soon as its end is certain.

    Args:
        chunks: a waveform at 16 kHz in consecutive pieces of any length, each (S,).
        config: the detector's settings.
    Yields:
        segments in order, disjoint, none longer than ``max_segment_s``; samples (S,).
    """
    config = config or VadConfig()
    sound = _Sound()
    cutter = _Cutter(config, sound)
    detector = _Detector(config)
    for piece in _pieces(chunks):
        sound.append(piece)
        for event in detector.feed(piece):
            yield from cutter.advance(event)
    for event in detector.finish():
        yield from cutter.advance(event)
    yield from cutter.finish()


def split_fixed(
    chunks: Iterable[FloatArray], max_segment_s: float = VadConfig.max_segment_s
) -> Iterator[tuple[Segment, FloatArray]]:
    """The whole recording in equal windows; the last two share what is left of both.

    For sound in which the detector fails. No window is longer than ``max_segment_s``, and none
    shorter than half of it unless the recording is.
    """
    size = seconds_to_samples(max_segment_s)
    sound = _Sound()
    for piece in _pieces(chunks):
        sound.append(piece)
        while sound.end - sound.start >= 2 * size:
            yield sound.take(sound.start, sound.start + size)
    left = sound.end - sound.start
    if left > size:
        yield sound.take(sound.start, sound.start + (left + 1) // 2)
    if left:
        yield sound.take(sound.start, sound.end)


def _pieces(chunks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """The same samples in copies of at most a second.

    A copy does not keep the caller's chunk in memory, and a huge chunk costs no huge arrays.
    """
    for chunk in chunks:
        for at in range(0, len(chunk), SAMPLE_RATE):
            yield np.array(chunk[at : at + SAMPLE_RATE], dtype=np.float32)


class _Sound:
    """The part of the stream that may still be needed, addressed by place in the recording."""

    def __init__(self) -> None:
        self._pieces: deque[FloatArray] = deque()
        self.start = 0
        self.end = 0

    def append(self, samples: FloatArray) -> None:
        self._pieces.append(samples)
        self.end += len(samples)

    def between(self, start: int, end: int) -> FloatArray:
        assert self.start <= start <= end <= self.end, "sound was dropped too early"
        parts = []
        place = self.start
        for piece in self._pieces:
            parts.append(piece[max(0, start - place) : max(0, end - place)])
            place += len(piece)
            if place >= end:
                break
        return np.concatenate(parts)

    def drop_before(self, place: int) -> None:
        while self._pieces and self.start + len(self._pieces[0]) <= place:
            self.start += len(self._pieces.popleft())

    def take(self, start: int, end: int) -> tuple[Segment, FloatArray]:
        """A segment with its samples; what lies before its end is forgotten."""
        samples = self.between(start, end)
        self.drop_before(end)
        if self.start < end:
            self._pieces[0] = self._pieces[0][end - self.start :]
            self.start = end
        return Segment(samples_to_seconds(start), samples_to_seconds(end)), samples


@dataclass(frozen=True)
class _Event:
    """What the detector knows after a frame, in samples from the beginning."""

    now: int
    """End of the frame."""
    start: int | None = None
    """Where speech began that is open, or that this frame closed."""
    end: int | None = None
    """Where it ended; its own start when it was no speech after all."""


class _Detector:
    """webrtcvad's decisions smoothed by a ring buffer; one event for each frame."""

    def __init__(self, config: VadConfig) -> None:
        self._vad = webrtcvad.Vad(config.mode)
        self._config = config
        self._size = config.frame_ms * SAMPLE_RATE // 1000
        self._length = config.padding_ms // config.frame_ms
        self._ring: deque[bool] = deque(maxlen=self._length)
        self._rest: FloatArray = np.zeros(0, np.float32)
        self._place = 0
        self._start: int | None = None
        self._voiced = 0

    def feed(self, samples: FloatArray) -> Iterator[_Event]:
        """Events of the frames that ``samples`` complete."""
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // self._size
        self._rest = samples[count * self._size :]
        for voiced in self._decisions(samples[: count * self._size].reshape(count, self._size)):
            self._place += self._size
            yield self._smoothed(voiced)

    def finish(self) -> Iterator[_Event]:
        """The last, incomplete frame; then speech that is still open ends with the recording."""
        if left := len(self._rest):
            padded = np.pad(self._rest, (0, self._size - left))
            voiced = next(self._decisions(padded[None]))
            self._place += left
            yield self._smoothed(voiced)
        if self._start is not None:
            yield self._closed()

    def _decisions(self, frames: FloatArray) -> Iterator[bool]:
        """Whether each frame is voiced; frames (T, size)."""
        # Loudness beyond full scale is clipped here only, for a detector of 16-bit samples.
        integers = np.clip(np.rint(frames * 32768), -32768, 32767).astype(np.int16)
        silent = (np.abs(frames).max(axis=1, initial=0) * 32768 <= SILENT_PEAK).tolist()
        raw = integers.tobytes()
        width = 2 * self._size
        for index, skip in enumerate(silent):
            yield not skip and self._vad.is_speech(raw[index * width : (index + 1) * width], SAMPLE_RATE)

    def _smoothed(self, voiced: bool) -> _Event:
        ring, config = self._ring, self._config
        ring.append(voiced)
        if self._start is None:
            if ring.count(True) > config.start_ratio * self._length:
                self._start = max(0, self._place - len(ring) * self._size)
                self._voiced = ring.count(True)
                ring.clear()
            return _Event(self._place, self._start)
        self._voiced += voiced
        if ring.count(False) > config.end_ratio * self._length:
            return self._closed()
        return _Event(self._place, self._start)

    def _closed(self) -> _Event:
        start, self._start = self._start, None
        self._ring.clear()
        speech = self._voiced * self._size >= self._config.min_speech_s * SAMPLE_RATE
        return _Event(self._place, start, self._place if speech else start)


class _Cutter:
    """Puts neighbouring speech together and cuts what is too long, one event at a time."""

    def __init__(self, config: VadConfig, sound: _Sound) -> None:
        self._sound = sound
        self._keep = seconds_to_samples(config.keep_s)
        self._gap = seconds_to_samples(config.merge_gap_s)
        self._max = seconds_to_samples(config.max_segment_s)
        self._search = seconds_to_samples(config.max_segment_s * config.search_ratio)
        self._ring = seconds_to_samples(config.padding_ms / 1000)
        # Speech that begins is seen a ring buffer late: until then a segment waits to be joined.
        self._wait = max(self._gap, 2 * self._keep) + self._ring
        self._held: tuple[int, int] | None = None  # a segment's start and the end of its last speech
        self._floor = 0  # end of the last segment given

    def advance(self, event: _Event) -> Iterator[tuple[Segment, FloatArray]]:
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
        # Speech ends with a ring buffer of silence: what exceeds the maximum by less needs no cut.
        while reach - begin > self._max + self._ring:
            cut = self._quietest(begin)
            yield self._sound.take(begin, cut)
            begin = self._floor = cut
        if end is not None:
            self._held = (begin, min(end, begin + self._max))

    def finish(self) -> Iterator[tuple[Segment, FloatArray]]:
        """The segment that is still held at the end of the recording."""
        if self._held:
            yield self._give()

    def _joins(self, start: int, reach: int) -> bool:
        """Whether speech from ``start`` to ``reach`` continues the segment that is held."""
        assert self._held is not None
        begin, end = self._held
        return start - end < self._gap and reach + self._keep - begin <= self._max

    def _give(self, before: int | None = None) -> tuple[Segment, FloatArray]:
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
