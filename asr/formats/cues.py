"""Subtitle cues: segments cut at word times into pieces that can be read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from asr.formats.clean import one_line, span_ms
from asr.transcript import Transcript, TranscriptSegment

MAX_CUE_CHARACTERS = 84
"""Two lines of 42, the common limit of broadcasters."""
MAX_CUE_SECONDS = 7.0


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One subtitle; times in whole milliseconds, ``end`` after ``start``."""

    start: int
    end: int
    text: str
    speaker: str = ""


def make_cues(transcript: Transcript) -> list[Cue]:
    """The cues of a transcript by start time (WebVTT demands that order); those without text are left out.

    A segment without word times is one cue, however long: nothing says where to cut it.
    """
    cues = []
    for segment in transcript.segments:
        for start, end, text in _pieces(segment):
            first, last = span_ms(start, end)
            cues.append(Cue(start=first, end=last, text=one_line(text), speaker=one_line(segment.speaker)))
    return sorted((cue for cue in cues if cue.text.strip()), key=lambda cue: cue.start)


def _pieces(segment: TranscriptSegment) -> Iterator[tuple[float, float, str]]:
    if not segment.words or _fits(segment.text, segment.start, segment.end):
        yield segment.start, segment.end, segment.text
        return
    parts = _texts_of_words(segment)
    waiting = [(0, len(parts))]  # ranges of words, the next one last
    while waiting:
        first, last = waiting.pop()
        text = "".join(parts[first:last]).strip()
        start, end = segment.words[first].start, segment.words[last - 1].end
        if last - first == 1 or _fits(text, start, end):
            yield start, end, text
        else:
            middle = _cut(segment, parts, first, last)
            waiting += [(middle, last), (first, middle)]


def _fits(text: str, start: float, end: float) -> bool:
    return len(text) <= MAX_CUE_CHARACTERS and end - start <= MAX_CUE_SECONDS


def _cut(segment: TranscriptSegment, parts: list[str], first: int, last: int) -> int:
    """The word before which to cut: after the longest pause in the middle third, else nearest the middle."""
    length = sum(len(part) for part in parts[first:last])
    best, best_rank = first + 1, (-1.0, 0.0)
    before = 0
    for index in range(first + 1, last):
        before += len(parts[index - 1])
        distance = abs(before - length / 2)
        pause = max(0.0, segment.words[index].start - segment.words[index - 1].end)
        rank = (pause if distance <= length / 6 else -1.0, -distance)
        if index == first + 1 or rank > best_rank:
            best, best_rank = index, rank
    return best


def _texts_of_words(segment: TranscriptSegment) -> list[str]:
    """Each word with what follows it in the segment's text: its own spaces and punctuation are kept."""
    starts, cursor = [], 0
    for word in segment.words:
        at = segment.text.find(word.text, cursor)
        if at < 0:  # the words are not those of the text: all there is to show is the words
            return [word.text + " " for word in segment.words]
        starts.append(at)
        cursor = at + len(word.text)
    bounds = [0, *starts[1:], len(segment.text)]
    return [segment.text[a:b] for a, b in itertools.pairwise(bounds)]
