"""How well a recording was cut: its boundaries against a reference's, the words that were hit, the lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from asr.segment.sound import Segment

MARGIN_S = 0.05
"""A cut this near to either end of a word leaves it whole: words in time are no better known than a frame or two."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Boundaries that were found, those that there are, and the pairs of both. Counts add up with ``+``."""

    right: int = 0
    found: int = 0
    wanted: int = 0

    @property
    def precision(self) -> float:
        """Share of the found ones that are right; 0 where none was found."""
        return self.right / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the wanted ones that were found; 0 where there are none."""
        return self.right / self.wanted if self.wanted else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        both = self.found + self.wanted
        return 2 * self.right / both if both else 0.0

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.right + other.right, self.found + other.found, self.wanted + other.wanted)


@dataclass(frozen=True, slots=True)
class WordsHit:
    """What segments did to words. Counts add up with ``+``."""

    words: int = 0
    cut: int = 0
    """With the start or the end of a segment inside."""
    lost: int = 0
    """Whole, and for the most part in no segment."""

    @property
    def cut_share(self) -> float:
        """Share of the words that were cut."""
        return self.cut / self.words if self.words else 0.0

    @property
    def lost_share(self) -> float:
        """Share of the words that are in no segment."""
        return self.lost / self.words if self.words else 0.0

    def __add__(self, other: WordsHit) -> WordsHit:
        return WordsHit(self.words + other.words, self.cut + other.cut, self.lost + other.lost)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Distribution of the lengths of segments, in seconds."""

    count: int
    mean: float
    median: float
    low: float
    """The fifth percentile."""
    high: float
    """The ninety-fifth."""
    longest: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the reference's segments was kept, and what else was. Seconds, which add up with ``+``."""

    wanted: float = 0.0
    kept: float = 0.0
    """Of the reference's segments."""
    found: float = 0.0

    @property
    def lost_share(self) -> float:
        """Share of the reference's time that is in no segment."""
        return 1 - self.kept / self.wanted if self.wanted else 0.0

    @property
    def idle_share(self) -> float:
        """Share of the segments' time that is in none of the reference's."""
        return 1 - self.kept / self.found if self.found else 0.0

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(self.wanted + other.wanted, self.kept + other.kept, self.found + other.found)


def match_boundaries(
    reference: Sequence[Segment], found: Sequence[Segment], *, tolerance_s: float
) -> Matches:
    """Starts with starts and ends with ends, each with at most one, as many as possible within the tolerance.

    A cut between two segments that touch is an end and a start, on both sides alike.
    """
    return _match([each.start for each in reference], [each.start for each in found], tolerance_s) + _match(
        [each.end for each in reference], [each.end for each in found], tolerance_s
    )


def _match(wanted: Sequence[float], found: Sequence[float], tolerance_s: float) -> Matches:
    wanted, found = sorted(wanted), sorted(found)
    right = place = 0
    for time in wanted:
        # On a line the earliest that still fits is never the worse partner.
        while place < len(found) and found[place] < time - tolerance_s - 1e-9:
            place += 1
        if place < len(found) and found[place] <= time + tolerance_s + 1e-9:
            right += 1
            place += 1
    return Matches(right, len(found), len(wanted))


def hit_words(words: Sequence[Segment], found: Sequence[Segment], *, margin_s: float = MARGIN_S) -> WordsHit:
    """Words in time that segments cut or leave out.

    Args:
        words: where each word lies.
        margin_s: how far from both ends of a word a cut must lie to count.
    """
    cuts = np.sort([time for each in found for time in (each.start, each.end)])
    spans = merged(found)
    starts, ends = (np.array([getattr(each, side) for each in spans]) for side in ("start", "end"))
    cut = lost = 0
    for word in words:
        first = np.searchsorted(cuts, word.start + margin_s, "right")
        if first < len(cuts) and cuts[first] < word.end - margin_s:
            cut += 1
            continue
        overlap = np.minimum(ends, word.end) - np.maximum(starts, word.start) if spans else np.zeros(1)
        lost += float(overlap.clip(0).sum()) < word.duration / 2
    return WordsHit(len(words), cut, lost)


def lengths(found: Sequence[Segment]) -> Lengths:
    """Distribution of the segments' lengths; zeros where there are none."""
    values = np.array([each.duration for each in found])
    if not len(values):
        return Lengths(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    low, middle, high = np.percentile(values, [5, 50, 95]).tolist()
    return Lengths(len(values), float(values.mean()), middle, low, high, float(values.max()))


def covered(reference: Sequence[Segment], found: Sequence[Segment]) -> Coverage:
    """Seconds of the reference, of the segments, and of both."""
    ours, theirs = merged(reference), merged(found)
    kept, place = 0.0, 0
    for segment in ours:
        while place < len(theirs) and theirs[place].end <= segment.start:
            place += 1
        for other in theirs[place:]:
            if other.start >= segment.end:
                break
            kept += min(segment.end, other.end) - max(segment.start, other.start)
    return Coverage(sum(each.duration for each in ours), kept, sum(each.duration for each in theirs))


def merged(segments: Sequence[Segment]) -> list[Segment]:
    """The same time in segments that do not overlap, in order."""

    def join(spans: list[Segment], segment: Segment) -> list[Segment]:
        if spans and segment.start <= spans[-1].end:
            spans[-1] = Segment(spans[-1].start, max(spans[-1].end, segment.end))
        else:
            spans.append(segment)
        return spans

    return reduce(join, sorted(segments, key=lambda each: each.start), [])
