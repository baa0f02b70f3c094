"""Cutting in pauses: as the definitions say, no voice lost, and the same on a stream."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from asr.segment.pauses import (
    FrameCutter,
    PauseDivider,
    Span,
    WindowCutter,
    pauses_of,
)
from tests.asr.segment.whole import cut_along, divide_at_pauses, voiced_outside

VOICED = strategies.lists(
    strategies.tuples(strategies.booleans(), strategies.integers(1, 9)), max_size=25
).map(lambda runs: [voiced for voiced, length in runs for _ in range(length)])


def trimmed(voiced: list[bool], start: int, end: int) -> Span | None:
    """A span without the pauses at its ends."""
    inside = [place for place in range(start, end) if voiced[place]]
    return (inside[0], inside[-1] + 1) if inside else None


def divided(voiced: list[bool], start: int, end: int, longest: int) -> list[Span]:
    """Divide and conquer as it is told: cut at the longest pause until every piece fits."""
    span = trimmed(voiced, start, end)
    if span is None:
        return []
    start, end = span
    if end - start <= longest:
        return [span]
    pauses = [(start + a, start + b) for a, b in pauses_of(voiced[start:end])]
    if not pauses:
        return [(start, start + longest), *divided(voiced, start + longest, end, longest)]
    first, last = max(pauses, key=lambda pause: pause[1] - pause[0])  # of equals the first
    return divided(voiced, start, first, longest) + divided(voiced, last, end, longest)


def joined(spans: list[Span], longest: int, min_pause: int) -> list[Span]:
    """Neighbours that fit into one span put together, from left to right, where the pause is short."""
    found: list[Span] = []
    for start, end in spans:
        if found and start - found[-1][1] <= min_pause and end - found[-1][0] <= longest:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def walked(voiced: list[bool], shortest: int, longest: int, min_pause: int) -> list[Span]:
    """The streaming half as it is told: the longest pause of each window, else the window's end."""
    found: list[Span] = []
    start = 0
    while (rest := trimmed(voiced, start, len(voiced))) is not None:
        start = rest[0]
        end = min(start + longest, len(voiced))
        pauses = [
            (start + shortest + a, start + shortest + b) for a, b in pauses_of(voiced[start + shortest : end])
        ]
        pauses = [pause for pause in pauses if pause[1] - pause[0] > min_pause]
        cut, after = max(pauses, key=lambda pause: pause[1] - pause[0], default=(end, end))
        span = trimmed(voiced, start, cut)
        assert span is not None
        found.append(span)
        start = after
    return found


def check(voiced: list[bool], spans: list[Span], longest: int) -> None:
    """What holds for both: order, lengths, every voiced frame in a span, spans between voiced frames."""
    assert all(0 <= start < end <= len(voiced) for start, end in spans)
    assert all(end - start <= longest for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert all(voiced[start] and voiced[end - 1] for start, end in spans)
    inside = {place for start, end in spans for place in range(start, end)}
    assert inside >= {place for place, each in enumerate(voiced) if each}


@given(VOICED, strategies.integers(1, 30), strategies.integers(0, 6))
@settings(max_examples=400)
def test_division_is_what_its_definition_says(voiced: list[bool], longest: int, min_pause: int) -> None:
    spans = divide_at_pauses(pauses_of(voiced), len(voiced), max_frames=longest, min_pause_frames=min_pause)
    check(voiced, spans, longest)
    assert spans == joined(divided(voiced, 0, len(voiced), longest), longest, min_pause)


def test_division_of_a_stream_is_what_its_definition_says_in_3000_cases() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3000):
        voiced = rng.random(rng.integers(1, 80)) < rng.choice([0.2, 0.5, 0.8, 0.95])
        voiced = np.repeat(voiced, rng.choice([1, 1, 2, 5]))[:200]
        longest, min_pause = int(rng.integers(1, 25)), int(rng.integers(0, 7))
        cutter = PauseDivider(max_frames=longest, min_pause_frames=min_pause)
        spans: list[Span] = []
        for part in np.split(voiced, np.cumsum(rng.integers(1, 9, len(voiced)))):
            spans += cutter.feed(part)
        spans += cutter.finish()
        check(voiced.tolist(), spans, longest)
        assert spans == joined(divided(voiced.tolist(), 0, len(voiced), longest), longest, min_pause)


@given(VOICED, strategies.integers(0, 12), strategies.integers(1, 12), strategies.integers(0, 3))
@settings(max_examples=400)
def test_the_walk_is_what_its_definition_says(
    voiced: list[bool], shortest: int, room: int, min_pause: int
) -> None:
    longest = shortest + room
    spans = cut_along(
        pauses_of(voiced), len(voiced), min_frames=shortest, max_frames=longest, min_pause_frames=min_pause
    )
    check(voiced, spans, longest)
    assert spans == walked(voiced, shortest, longest, min_pause)


@given(VOICED, strategies.lists(strategies.integers(0, 200), max_size=6), strategies.integers(3, 20))
@settings(max_examples=200)
def test_portions_do_not_matter_and_spans_come_in_time(
    voiced: list[bool], places: list[int], longest: int
) -> None:
    values = np.array(voiced, np.bool_)

    def cutters() -> list[FrameCutter]:
        return [
            PauseDivider(max_frames=longest, min_pause_frames=3),
            WindowCutter(min_frames=longest // 2, max_frames=longest, min_pause_frames=1),
        ]

    for whole, portioned in zip(cutters(), cutters(), strict=True):
        expected = [*whole.feed(values), *whole.finish()]
        found: list[Span] = []
        heard = 0
        for part in np.split(values, sorted(place for place in places if place < len(values))):
            floor = portioned.floor
            spans = list(portioned.feed(part))
            assert all(start >= floor for start, _ in spans)
            found += spans
            heard += len(part)
            # A piece, that before it and the longest pause: what must be kept does not grow with the stream.
            assert heard - portioned.floor <= 3 * longest + 1
        assert [*found, *portioned.finish()] == expected


@pytest.mark.parametrize("voiced", [[], [False] * 50])
def test_where_nobody_speaks_there_is_no_span(voiced: list[bool]) -> None:
    pauses = pauses_of(voiced)
    assert divide_at_pauses(pauses, len(voiced), max_frames=10) == []
    assert cut_along(pauses, len(voiced), min_frames=5, max_frames=10, min_pause_frames=1) == []


def test_what_fits_is_not_divided_and_what_does_not_parts_at_its_longest_pause() -> None:
    pauses = [(3, 5), (10, 14), (20, 22)]
    assert divide_at_pauses(pauses, 30, max_frames=30) == [(0, 30)]
    assert divide_at_pauses(pauses, 30, max_frames=20) == [(0, 10), (14, 30)]
    assert divide_at_pauses(pauses, 30, max_frames=9) == [(0, 3), (5, 10), (14, 20), (22, 30)]
    assert divide_at_pauses([], 25, max_frames=10) == [(0, 10), (10, 20), (20, 25)]


def test_equally_long_pauses_leave_no_crumbs() -> None:
    breathless = [(place, place + 1) for place in range(10, 3500, 10)]
    crumbs = divide_at_pauses(breathless, 3500, max_frames=1280)
    assert len(crumbs) == 223
    assert divide_at_pauses(breathless, 3500, max_frames=1280, min_pause_frames=6) == [
        (0, 1280),
        (1281, 2220),
        (2221, 3500),
    ]
    # A longer pause parts what would fit.
    assert divide_at_pauses([(5, 12), (20, 21)], 40, max_frames=30, min_pause_frames=6) == [(0, 5), (12, 40)]


def test_the_walk_takes_the_longest_pause_in_the_window_and_else_its_end() -> None:
    pauses = [(2, 9), (12, 14), (16, 19)]  # the first and longest lies before the window
    assert cut_along(pauses, 40, min_frames=10, max_frames=20, min_pause_frames=1) == [
        (0, 16),
        (19, 39),
        (39, 40),
    ]


def test_pauses_and_voice_are_each_others_complement() -> None:
    voiced = voiced_outside([(0, 2), (5, 6)], 8)
    assert voiced.tolist() == [False, False, True, True, True, False, True, True]
    assert pauses_of(voiced) == [(0, 2), (5, 6)]
