"""Measures of a segmentation, against their definitions on small cases."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, strategies

from asr.segment import Segment
from asr.segment.measure import covered, hit_words, lengths, match_boundaries, merged

TENTHS = strategies.integers(0, 60)


@strategies.composite
def segments(draw: strategies.DrawFn, most: int = 5) -> list[Segment]:
    """Disjoint segments in order, some of which touch; in tenths of a second."""
    places = sorted(draw(strategies.sets(TENTHS, max_size=2 * most)))
    return [Segment(low / 10, high / 10) for low, high in zip(places[::2], places[1::2], strict=False)]


def most_pairs(wanted: list[float], found: list[float], tolerance: float) -> int:
    """Largest one-to-one matching, by trying all."""
    if not wanted or not found:
        return 0
    first, rest = wanted[0], wanted[1:]
    best = most_pairs(rest, found, tolerance)
    for place, time in enumerate(found):
        if abs(time - first) <= tolerance + 1e-9:
            best = max(best, 1 + most_pairs(rest, found[:place] + found[place + 1 :], tolerance))
    return best


@given(segments(4), segments(4), strategies.sampled_from([0.0, 0.2, 0.5]))
def test_as_many_boundaries_are_matched_as_can_be(
    reference: list[Segment], found: list[Segment], tolerance: float
) -> None:
    got = match_boundaries(reference, found, tolerance_s=tolerance)
    assert got.right == sum(
        most_pairs(*([getattr(each, side) for each in row] for row in (reference, found)), tolerance)
        for side in ("start", "end")
    )
    assert (got.found, got.wanted) == (2 * len(found), 2 * len(reference))


def test_precision_recall_and_f1() -> None:
    reference = [Segment(0.0, 2.0), Segment(2.0, 4.0)]
    got = match_boundaries(
        reference, [Segment(0.1, 2.1), Segment(2.1, 3.0), Segment(3.0, 4.0)], tolerance_s=0.2
    )
    # Two ends within 0.2 s of one wanted end count once.
    assert (got.right, got.found, got.wanted) == (4, 6, 4)
    assert got.precision == pytest.approx(4 / 6)
    assert got.recall == 1
    assert got.f1 == pytest.approx(0.8)
    assert match_boundaries([], [], tolerance_s=0.2).f1 == 0


@given(segments(6), segments(4))
def test_words_are_cut_lost_or_kept(words: list[Segment], found: list[Segment]) -> None:
    got = hit_words(words, found, margin_s=0.05)
    cut = lost = 0
    for word in words:
        inside = [
            time
            for each in found
            for time in (each.start, each.end)
            if word.start + 0.05 < time < word.end - 0.05
        ]
        kept = sum(max(0.0, min(each.end, word.end) - max(each.start, word.start)) for each in found)
        cut += bool(inside)
        lost += not inside and kept < word.duration / 2
    assert (got.words, got.cut, got.lost) == (len(words), cut, lost)


@given(segments(), segments())
def test_coverage_is_that_of_every_tenth_of_a_second(reference: list[Segment], found: list[Segment]) -> None:
    def tenths(row: list[Segment]) -> set[int]:
        return {place for each in row for place in range(round(each.start * 10), round(each.end * 10))}

    got = covered(reference, found)
    ours, theirs = tenths(reference), tenths(found)
    assert got.wanted == pytest.approx(len(ours) / 10)
    assert got.found == pytest.approx(len(theirs) / 10)
    assert got.kept == pytest.approx(len(ours & theirs) / 10)


@given(strategies.lists(strategies.tuples(TENTHS, TENTHS).filter(lambda pair: pair[0] < pair[1]), max_size=6))
def test_merging_keeps_the_time_and_parts_what_does_not_touch(spans: list[tuple[int, int]]) -> None:
    got = merged([Segment(low / 10, high / 10) for low, high in spans])
    wanted = {place for low, high in spans for place in range(low, high)}
    assert {p for each in got for p in range(round(each.start * 10), round(each.end * 10))} == wanted
    assert all(one.end < other.start for one, other in combinations(got, 2))


def test_lengths() -> None:
    got = lengths([Segment(0, 1), Segment(1, 3), Segment(4, 7)])
    assert (got.count, got.mean, got.median, got.longest) == (3, 2, 2, 3)
    assert lengths([]).count == 0
