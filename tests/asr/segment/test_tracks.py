"""Cutting tracks of probabilities: as the definitions say, nothing probable lost, the same on a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from numpy.typing import NDArray

from asr.segment.pauses import Span
from asr.segment.shas import PdacConfig, PstrmConfig, PthrConfig, track_cutter
from asr.segment.tracks import MovingAverage
from tests.asr.segment.whole import SECONDS, cut_track


def pdac(threshold: float, shortest: int, longest: int) -> PdacConfig:
    """Lengths in frames, which are seconds here; with no sound kept around."""
    return PdacConfig(threshold=threshold, min_segment_s=shortest, max_segment_s=longest, keep_s=0)


def pstrm(threshold: float, shortest: int, longest: int) -> PstrmConfig:
    """The same."""
    return PstrmConfig(threshold=threshold, min_segment_s=shortest, max_segment_s=longest, keep_s=0)


def pthr(threshold: float, shortest: int, longest: int, *, rise: int = 0, fall: int = 0) -> PthrConfig:
    """The same, with the track itself for its average."""
    return PthrConfig(
        threshold=threshold,
        min_segment_s=shortest,
        max_segment_s=longest,
        rise_s=rise,
        fall_s=fall,
        average_s=0,
        keep_s=0,
    )


TRACKS = strategies.lists(
    strategies.tuples(
        strategies.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.8, 1.0]), strategies.integers(1, 4)
    ),
    max_size=25,
).map(lambda runs: [value for value, length in runs for _ in range(length)])
LENGTHS = strategies.tuples(strategies.integers(0, 4), strategies.integers(3, 14)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)
THRESHOLDS = strategies.sampled_from([0.3, 0.5, 0.55])


def trimmed(track: list[float], start: int, end: int, threshold: float) -> Span | None:
    """A span from its first to its last probable frame."""
    inside = [place for place in range(start, end) if track[place] >= threshold]
    return (inside[0], inside[-1] + 1) if inside else None


def stretches(track: list[float], threshold: float, silence: int) -> list[Span]:
    """What lies between silences of at least ``silence`` frames."""
    found: list[Span] = []
    for place, value in enumerate(track):
        if value >= threshold:
            if found and place - found[-1][1] < silence:
                found[-1] = (found[-1][0], place + 1)
            else:
                found.append((place, place + 1))
    return found


def divided(track: list[float], span: Span, threshold: float, shortest: int, longest: int) -> list[Span]:
    """pDAC as SHAS tells it, but that a probable frame at a split is kept and the longest segment holds."""
    start, end = span
    if end - start < longest:
        return [span]

    def halves(split: int) -> tuple[Span | None, Span | None]:
        right = split if track[split] >= threshold else split + 1
        return trimmed(track, start, split, threshold), trimmed(track, right, end, threshold)

    by_probability = sorted(range(start, end), key=lambda place: track[place])
    for least in (shortest, 0):  # the shortest length yields where no frame leaves enough
        for split in by_probability:
            left, right = halves(split)
            if left and right and left[1] - left[0] > least and right[1] - right[0] > least:
                return divided(track, left, threshold, shortest, longest) + divided(
                    track, right, threshold, shortest, longest
                )
    raise AssertionError("two frames can be parted")


def walked(track: list[float], span: Span, threshold: float, shortest: int, longest: int) -> list[Span]:
    """pSTRM as SHAS's repository has it, without the frames that it drops."""
    found: list[Span] = []
    rest: Span | None = span
    while rest is not None:
        start, end = rest[0], min(rest[0] + longest, rest[1])
        after = end
        if end - start > shortest:
            lowest = min(range(start + shortest, end), key=lambda place: track[place])
            if track[lowest] < threshold:
                end = after = lowest
        chunk = trimmed(track, start, end, threshold)
        assert chunk is not None
        found.append(chunk)
        rest = trimmed(track, after, rest[1], threshold)
    return found


def by_threshold(
    track: list[float], threshold: float, shortest: int, longest: int, rise: int, fall: int
) -> list[Span]:
    """pTHR as its repository has it, without the frame that it drops at each end."""

    def least(length: int) -> float:
        if length < max(1, shortest):
            return 0.0
        low = threshold * min(1.0, (length - shortest) / rise) if rise else threshold
        return low + (threshold * max(0.0, (length - (longest - fall)) / fall) if fall else 0.0)

    found: list[Span] = []
    place = 0
    while place < len(track):
        if track[place] < threshold:
            place += 1
            continue
        end = place
        while end < len(track) and end - place < longest and track[end] >= least(end - place):
            end += 1
        found.append((place, end))
        place = end
    return found


def check(track: list[float], spans: list[Span], threshold: float, longest: int) -> None:
    """What holds for all three: order, lengths, every probable frame in a span."""
    assert all(0 <= start < end <= len(track) for start, end in spans)
    assert all(end - start <= longest for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    inside = {place for start, end in spans for place in range(start, end)}
    assert inside >= {place for place, value in enumerate(track) if value >= threshold}


@given(TRACKS, THRESHOLDS, LENGTHS)
@settings(max_examples=400)
def test_pdac_is_what_its_definition_says(
    track: list[float], threshold: float, lengths: tuple[int, int]
) -> None:
    shortest, longest = lengths
    spans = cut_track(np.array(track), pdac(threshold, shortest, longest))
    check(track, spans, threshold, longest - 1)
    assert all(min(track[start], track[end - 1]) >= threshold for start, end in spans)
    assert spans == [
        span
        for stretch in stretches(track, threshold, longest)
        for span in divided(track, stretch, threshold, shortest, longest)
    ]


@given(TRACKS, THRESHOLDS, LENGTHS)
@settings(max_examples=400)
def test_pstrm_is_what_its_definition_says(
    track: list[float], threshold: float, lengths: tuple[int, int]
) -> None:
    shortest, longest = lengths
    spans = cut_track(np.array(track), pstrm(threshold, shortest, longest))
    check(track, spans, threshold, longest)
    assert all(min(track[start], track[end - 1]) >= threshold for start, end in spans)
    assert spans == [
        span
        for stretch in stretches(track, threshold, longest)
        for span in walked(track, stretch, threshold, shortest, longest)
    ]


@given(TRACKS, THRESHOLDS, LENGTHS, strategies.integers(0, 4), strategies.integers(0, 6))
@settings(max_examples=400)
def test_pthr_is_what_its_definition_says(
    track: list[float], threshold: float, lengths: tuple[int, int], rise: int, fall: int
) -> None:
    shortest, longest = lengths
    spans = cut_track(np.array(track), pthr(threshold, shortest, longest, rise=rise, fall=fall))
    check(track, spans, threshold, longest)
    # None is shorter than the least, unless the recording ends.
    assert all(end - start >= min(shortest, len(track) - start) for start, end in spans)
    assert spans == by_threshold(track, threshold, shortest, longest, rise, fall)


CONFIGS = {
    "pdac": pdac(0.5, 1, 8),
    "pdac with a horizon": replace(pdac(0.5, 1, 5), horizon_s=20),
    "pstrm": pstrm(0.5, 2, 8),
    "pthr": pthr(0.5, 2, 8, rise=1, fall=2),
}


@pytest.mark.parametrize("name", CONFIGS)
@given(TRACKS, strategies.lists(strategies.integers(0, 90), max_size=6))
@settings(max_examples=150)
def test_portions_do_not_matter(name: str, track: list[float], places: list[int]) -> None:
    (whole, _), (portioned, _) = (track_cutter(CONFIGS[name], SECONDS) for _ in range(2))
    values = np.array(track, np.float32)
    expected = [*whole.feed(values), *whole.finish()]
    check(track, expected, 0.5, 8)
    found: list[Span] = []
    for part in np.split(values, sorted(place for place in places if place < len(values))):
        floor = portioned.floor
        spans = list(portioned.feed(part))
        assert all(start >= floor for start, _ in spans)
        found += spans
    assert [*found, *portioned.finish()] == expected


@pytest.mark.parametrize(("name", "most"), [("pdac with a horizon", 20), ("pstrm", 17), ("pthr", 8)])
def test_what_is_held_does_not_grow_with_the_track(name: str, most: int) -> None:
    cutter, _ = track_cutter(CONFIGS[name], SECONDS)
    rng = np.random.default_rng(0)
    for heard in range(1, 3000):
        list(cutter.feed(rng.uniform(0.2, 1.0, 1)))
        assert heard - cutter.floor <= most


@given(TRACKS, strategies.integers(1, 6), strategies.integers(0, 60))
def test_the_moving_average_looks_back_and_portions_do_not_matter(
    track: list[float], frames: int, place: int
) -> None:
    values = np.array(track)
    expected = [np.mean(values[max(0, end - frames) : end]) for end in range(1, len(values) + 1)]
    average = MovingAverage(frames)
    parts = [average(values[:place]), average(values[place:])]
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-12)
    np.testing.assert_array_equal(np.concatenate(parts), MovingAverage(frames)(values))


@pytest.mark.parametrize("rule", [pdac, pstrm, pthr])
def test_a_track_below_the_threshold_has_no_segment(
    rule: Callable[[float, int, int], PdacConfig | PstrmConfig | PthrConfig],
) -> None:
    for track in (np.zeros(0), np.full(100, 0.4)):
        assert cut_track(track, rule(0.5, 2, 20)) == []


def test_a_piece_whose_every_split_leaves_an_island_is_still_cut_and_kept() -> None:
    # SHAS issue 4: there the piece stays too long, or in strict mode the island is dropped.
    track = np.array([0.9, *[0.1] * 7, 0.9])
    assert cut_track(track, pdac(0.5, 2, 9)) == [(0, 1), (8, 9)]


def test_an_endless_certain_track_is_cut_by_length_with_nothing_between() -> None:
    track = np.ones(1000)
    for spans in (
        cut_track(track, pdac(0.5, 10, 101)),
        cut_track(track, pstrm(0.5, 10, 100)),
        cut_track(track, pthr(0.5, 10, 100)),
    ):
        check(track.tolist(), spans, 0.5, 100)
        assert all(one[1] == other[0] for one, other in pairwise(spans))
    assert cut_track(track, pstrm(0.5, 10, 100)) == [(start, start + 100) for start in range(0, 1000, 100)]


@pytest.mark.parametrize(
    "track", [np.array([0.5, np.nan]), np.array([1.5]), np.zeros((2, 3)), np.array([-0.1])]
)
def test_what_is_no_probability_is_refused(track: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        cut_track(track, pdac(0.5, 1, 8))
