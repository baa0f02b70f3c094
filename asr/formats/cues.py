"""Subtitle cues: segments cut at word times into pieces that can be read."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from asr.formats.clean import one_line, span_ms
from asr.text import UNIT
from asr.transcript import Transcript, TranscriptSegment, Word

MAX_CUE_CHARACTERS = 84
"""Two lines of 42, the common limit of broadcasters."""
MAX_CUE_SECONDS = 7.0


@dataclass(frozen=True, kw_only=True)
class Cue:
    """One subtitle; times in whole milliseconds, ``end`` after ``start``; texts on one line each."""

    start: int
    end: int
    text: str
    speaker: str = ""
    translation: str = ""
    """The second line; "" for none."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines to be shown, none of them empty."""
        return (self.text, self.translation) if self.translation else (self.text,)


def make_cues(transcript: Transcript) -> list[Cue]:
    """The cues of a transcript by start time (WebVTT demands that order); those without text are left out.

    A segment without word times is one cue, however long: nothing says where to cut it. A
    translation is divided among the cues of its segment; without a text it is the text of one.
    """
    cues = []
    for segment in transcript.segments:
        translation = one_line(segment.translation)
        pieces = [(start, end, one_line(text)) for start, end, text in _pieces(segment)]
        pieces = [piece for piece in pieces if piece[2].strip()]
        if not pieces and translation.strip():
            pieces, translation = [(segment.start, segment.end, translation)], ""
        parts = _divided(translation, [len(text) for _, _, text in pieces])
        for (start, end, text), part in zip(pieces, parts, strict=True):
            first, last = span_ms(start, end)
            speaker = one_line(segment.speaker)
            cues.append(Cue(start=first, end=last, text=text, speaker=speaker, translation=part))
    return sorted(cues, key=lambda cue: cue.start)


def _divided(text: str, shares: Sequence[int]) -> list[str]:
    """The words of a text, in order, in as many parts as there are shares, and as long in proportion.

    No part is empty unless there are fewer words than parts.

    >>> _divided("one two three four", [30, 10])
    ['one two three', 'four']
    >>> _divided("one two", [98, 1, 1])
    ['one two', '', '']
    """
    if not text.strip():
        return [""] * len(shares)
    ends = [0, *(match.end() for match in UNIT.finditer(text))]
    least = 1 if len(ends) > len(shares) else 0  # words that each part must have
    bounds, share = [0], 0
    for number in range(1, len(shares)):
        share += shares[number - 1]
        wanted = ends[-1] * share / sum(shares)
        nearest = bisect_left(ends, wanted)
        if nearest > 0 and wanted - ends[nearest - 1] <= ends[nearest] - wanted:
            nearest -= 1
        most = len(ends) - 1 - least * (len(shares) - number)
        bounds.append(max(bounds[-1] + least, min(nearest, most)))
    bounds.append(len(ends) - 1)
    return [text[ends[a] : ends[b]].strip() for a, b in itertools.pairwise(bounds)]


def _pieces(segment: TranscriptSegment) -> Iterator[tuple[float, float, str]]:
    if not segment.words or _fits(segment.text, segment.start, segment.end):
        yield segment.start, segment.end, segment.text
        return
    words, parts = _divisible(segment.words, _texts_of_words(segment))
    waiting = [(0, len(parts))]  # ranges of words, the next one last
    while waiting:
        first, last = waiting.pop()
        text = "".join(parts[first:last]).strip()
        start, end = words[first].start, words[last - 1].end
        if last - first == 1 or _fits(text, start, end):
            yield start, end, text
        else:
            middle = _cut(words, parts, first, last)
            waiting += [(middle, last), (first, middle)]


def _divisible(words: Sequence[Word], parts: Sequence[str]) -> tuple[list[Word], list[str]]:
    """The words and their texts; one that is too much for a cue, of a writing without spaces, by its letters.

    Nothing says when each letter is spoken: they share the word's time evenly.
    """
    divided: list[Word] = []
    texts: list[str] = []
    for word, part in zip(words, parts, strict=True):
        ends: list[int] = []
        if not _fits(part.strip(), word.start, word.end) and len(UNIT.findall(word.text)) > 1:
            ends = [match.end() for match in UNIT.finditer(part)][:-1]
        step = (word.end - word.start) / (len(ends) + 1)
        times = [*(word.start + step * place for place in range(len(ends) + 1)), word.end]
        divided += [replace(word, start=start, end=end) for start, end in itertools.pairwise(times)]
        texts += [part[a:b] for a, b in itertools.pairwise([0, *ends, len(part)])]
    return divided, texts


def _fits(text: str, start: float, end: float) -> bool:
    return len(text) <= MAX_CUE_CHARACTERS and end - start <= MAX_CUE_SECONDS


def _cut(words: Sequence[Word], parts: list[str], first: int, last: int) -> int:
    """The word before which to cut: after the longest pause in the middle third, else nearest the middle."""
    length = sum(len(part) for part in parts[first:last])
    best, best_rank = first + 1, (-1.0, 0.0)
    before = 0
    for index in range(first + 1, last):
        before += len(parts[index - 1])
        distance = abs(before - length / 2)
        pause = max(0.0, words[index].start - words[index - 1].end)
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
