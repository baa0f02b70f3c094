"""Utterances and words laid out for tiers: whole milliseconds, no overlap, words inside their utterance."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from asr.formats.clean import milliseconds, one_line
from asr.transcript import Transcript, TranscriptSegment

ROUNDING_MS = 10
"""Neighbours that overlap by so little stay in one tier: tables round their times."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """One utterance or word in its place; milliseconds, ``end`` after ``start``."""

    start: int
    end: int
    text: str
    confidence: float
    words: tuple[Box, ...] = ()
    translation: str = ""
    """Of an utterance that has one."""


class Utterances:
    """A speaker's utterances by time, each laid out when its turn comes: those of hours are never held at once."""

    def __init__(self, speaker: str, segments: Sequence[TranscriptSegment], limit: int) -> None:
        spans = []
        for segment in segments:
            start, end = milliseconds(segment.start), milliseconds(segment.end)
            spans.append((start, min(end, limit) if start < limit else end))
        room = [max(1, len(segment.words)) for segment in segments]
        self.speaker = speaker
        self._segments = segments
        self._places = _without_overlap(spans, room, low=0, high=None)
        self.end = self._places[-1][1] if self._places else 0
        """Where the last one ends."""
        self.num_words = sum(len(segment.words) for segment in segments)
        self.num_translated = sum(bool(one_line(segment.translation)) for segment in segments)

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Box]:
        for segment, (start, end) in zip(self._segments, self._places, strict=True):
            yield Box(
                start=start,
                end=end,
                text=one_line(segment.text),
                confidence=segment.confidence,
                words=_words(segment, start, end),
                translation=one_line(segment.translation),
            )

    def words(self) -> Iterator[Box]:
        """The words of all."""
        for utterance in self:
            yield from utterance.words


def lay_out(transcript: Transcript) -> dict[str, Utterances]:
    """The utterances of each speaker, by time, such that a tier can hold them.

    ELAN and Praat allow neither overlap nor empty intervals in a tier. Of one speaker's utterances
    that overlap by more than a rounding, the later goes into a further lane. Starts are kept where
    they can be; what has no length gets a millisecond (an utterance one for each of its words). An
    utterance that begins in the recording also ends in it.

    Returns:
        by a name for their tiers: the speaker, and for a further lane the speaker with a number.
    """
    limit = milliseconds(transcript.duration)
    lanes: dict[str, list[list[TranscriptSegment]]] = {}
    for segment in sorted(transcript.segments, key=lambda each: each.start):
        found = lanes.setdefault(one_line(segment.speaker), [])
        latest = milliseconds(segment.start) + ROUNDING_MS
        free = next((lane for lane in found if milliseconds(lane[-1].end) <= latest), None)
        if free is None:
            found.append(free := [])
        free.append(segment)
    layout: dict[str, Utterances] = {}
    for speaker, found in (lanes or {"": [[]]}).items():
        names = itertools.chain([speaker], _further_names(speaker, taken=lanes))
        for lane, name in zip(found, names, strict=False):
            layout[name] = Utterances(speaker, lane, limit)
    return layout


def _further_names(speaker: str, taken: Container[str]) -> Iterator[str]:
    for number in itertools.count(2):
        name = f"{speaker} {number}" if speaker else str(number)
        if name not in taken:
            yield name


def is_translated(layout: Mapping[str, Utterances]) -> bool:
    """Whether any utterance of any speaker has a translation; then every speaker has a tier for them."""
    return any(utterances.num_translated for utterances in layout.values())


def _words(segment: TranscriptSegment, start: int, end: int) -> tuple[Box, ...]:
    words = sorted(segment.words, key=lambda each: each.start)
    spans = [(milliseconds(word.start), milliseconds(word.end)) for word in words]
    places = _without_overlap(spans, [1] * len(words), low=start, high=end)
    return tuple(
        Box(start=first, end=last, text=one_line(word.text), confidence=word.confidence)
        for word, (first, last) in zip(words, places, strict=True)
    )


def _without_overlap(
    spans: Sequence[tuple[int, int]], room: Sequence[int], *, low: int, high: int | None
) -> list[tuple[int, int]]:
    """The spans (by start) moved as little as it takes to lie apart, each with its room, in [low, high]."""
    starts, earliest = [], low
    for (start, _), need in zip(spans, room, strict=True):
        starts.append(max(start, earliest))
        earliest = starts[-1] + need
    if high is not None:
        assert high - low >= sum(room)
        latest = high
        for index in reversed(range(len(starts))):  # push back those that left no room before the end
            starts[index] = latest = min(starts[index], latest - room[index])
    places = []
    for index, ((_, end), need) in enumerate(zip(spans, room, strict=True)):
        bound = starts[index + 1] if index + 1 < len(starts) else high
        end = max(end, starts[index] + need)
        places.append((starts[index], end if bound is None else min(end, bound)))
    return places
