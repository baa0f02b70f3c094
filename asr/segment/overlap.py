"""Segments that share sound where speech was cut, and the place between them that their emissions agree on.

A cut that falls into speech leaves each side half a word, and no context to guess the rest from. So neighbours that
touch are encoded with some of each other's sound, and what both say of it decides where one ends and the next
begins: in the longest pause that they hear, between words if one is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from asr.arrays import FloatArray
from asr.frames import FrameGrid, samples_to_seconds, seconds_to_samples
from asr.segment.build import SegmenterConfig
from asr.segment.fixed import FixedConfig
from asr.segment.limits import SHORTEST_SEGMENT_S
from asr.segment.pauses import pauses_of
from asr.segment.sound import Segment, Speech
from asr.tokenizer import silent_labels
from lm.errors import InputError

SHORTEST_S = 0.2
"""Less is shorter than two frames of some encoders."""


def check_overlap(overlap_s: float, max_segment_s: float) -> None:
    """Refuse an overlap that is too short to choose a place in, or leaves too little besides.

    Raises:
        InputError: it is neither 0 nor between 0.2 s and half of the longest segment.
    """
    if overlap_s and not SHORTEST_S <= overlap_s <= max_segment_s / 2:
        raise InputError(
            f"the overlap must be 0 or between {SHORTEST_S} s and half of the longest segment "
            f"({max_segment_s / 2:g} s); got {overlap_s}."
        )


def default_overlap(config: SegmenterConfig) -> float:
    """A fifth of the longest segment for even windows, whose cuts fall anywhere; the others cut in pauses: 0.

    Windows of a second are left as they are: no segmenter makes shorter ones.
    """
    fifth = min(config.max_segment_s / 5, config.max_segment_s - SHORTEST_SEGMENT_S)
    return fifth if isinstance(config, FixedConfig) and fifth >= SHORTEST_S else 0.0


def overlapping(speech: Iterable[Speech], grid: FrameGrid, overlap_s: float) -> Iterator[Speech]:
    """The same segments, those that touch reaching into each other by half of ``overlap_s``.

    Args:
        speech: in order, disjoint.
        grid: of the encoder. A segment begins on a frame of the one that it overlaps, so that their frames coincide.
        overlap_s: sound that two neighbours share; less where one of them is shorter.
    """
    half, stride = seconds_to_samples(overlap_s / 2), grid.hop_samples * grid.per_window
    held: Speech | None = None
    for segment, waveform in speech:
        if held is None or held[0].end != segment.start:
            if held is not None:
                yield held
            held = segment, waveform
            continue
        before, sound = held
        origin, cut = seconds_to_samples(before.start), seconds_to_samples(segment.start)
        strides = max(0, -((origin + half - cut) // stride))  # rounded up: no more than half
        start = origin + strides * stride
        shared = waveform[:half]
        yield (
            Segment(before.start, samples_to_seconds(cut + len(shared))),
            np.concatenate([sound, shared]),
        )
        held = (
            Segment(samples_to_seconds(start), segment.end),
            np.concatenate([sound[start - origin :], waveform]),
        )
    if held is not None:
        yield held


class Joiner:
    """Parts segments that overlap, by their emissions."""

    def __init__(self, grid: FrameGrid, surfaces: Sequence[str]) -> None:
        """
        Args:
            grid: where the emissions lie in time.
            surfaces: the text that each label writes.
        """
        self._grid = grid
        self._silent = silent_labels(surfaces)
        self._opens = np.array([surface.startswith(" ") for surface in surfaces])

    def part(
        self, left: tuple[Segment, FloatArray], right: tuple[Segment, FloatArray]
    ) -> tuple[tuple[Segment, FloatArray], tuple[Segment, FloatArray]]:
        """Two segments with their emissions, (T, C) and (U, C), that share sound; each without the other's.

        One that is too short for the encoder has no frames.

        In what they share the probabilities of both count, each the more the further it is from its own edge.
        """
        hop = self._grid.hop_samples
        origin = seconds_to_samples(left[0].start)
        shift = (seconds_to_samples(right[0].start) - origin) // hop
        before, after = left[1], right[1][max(0, -shift) :]
        shift = max(0, shift)
        size = min(len(before) - shift, len(after))
        place = shift if len(after) else len(before)
        if size > 0:
            weight = (np.arange(size, dtype=np.float32)[:, None] + 0.5) / size
            shared = np.logaddexp(
                before[shift : shift + size] + np.log1p(-weight), after[:size] + np.log(weight)
            )
            cut = max(self._pause(shared), int(not shift))  # the left one keeps a frame
            before = np.concatenate([before[:shift], shared[:cut]])
            after = np.concatenate([shared[cut:], after[size:]])
            place = shift + cut
        border = min(samples_to_seconds(origin + place * hop), right[0].end)
        return (Segment(left[0].start, border), before), (Segment(border, right[0].end), after)

    def _pause(self, emissions: FloatArray) -> int:
        """The frame to part at: in the middle of the longest pause, of one between words if there is any."""
        best = emissions.argmax(axis=1)
        quiet = np.isin(best, self._silent)
        pauses = pauses_of(~quiet)
        # Sentence pieces may follow each other without a pause.
        opening = self._opens[best] & ~quiet & np.concatenate([[False], best[1:] != best[:-1]])
        pauses += [(place, place) for place in np.flatnonzero(opening).tolist()]
        if not pauses:
            return int(np.logaddexp.reduce(emissions[:, self._silent], axis=1).argmax())

        def worth(start: int, end: int) -> tuple[bool, int, int]:
            between_words = bool(self._opens[best[start : end + 1]].any())
            return between_words, end - start, -abs(start + end - len(best))

        start, end = max(pauses, key=lambda pause: worth(*pause))
        return (start + end) // 2
