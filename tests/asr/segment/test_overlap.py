"""Segments that share sound: which, how much, and that what is parted again keeps words whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from asr.arrays import FloatArray
from asr.audio import load
from asr.decode import GreedyDecoder
from asr.frames import FrameGrid, samples_to_seconds
from asr.model import load_model
from asr.segment import FixedConfig, HybridConfig, OwnSegments, Segment, VadConfig, settings_for, split_fixed
from asr.segment.overlap import Joiner, default_overlap, overlapping
from asr.segment.recognised import recognised_track
from asr.segment.sound import Speech
from asr.transcribe import TranscribeConfig, Transcriber
from lm.errors import InputError
from tests.asr.segment.sounds import RATE

MINI = Path(__file__).parents[3] / "egs" / "mini"
SURFACES = ("", " ", "a", "b", "c")
GRID = FrameGrid(hop_samples=320, window_samples=1040, pad_samples=200, per_window=2)
HOP = 320
WORDS = strategies.lists(
    strategies.tuples(
        strategies.lists(strategies.integers(2, 4), min_size=1, max_size=5), strategies.integers(1, 6)
    ),
    min_size=10,
    max_size=60,
)


def spoken(words: list[tuple[list[int], int]], spaced: bool) -> FloatArray:
    """A label for each frame, held for a hop: letters parted by a blank, words by a longer pause, perhaps a space."""
    labels: list[int] = [0] * 8
    for letters, pause in words:
        for letter in letters:
            labels += [letter, 0]
        labels += [0] * pause + [1 if spaced else 0] + [0] * pause
    return np.repeat(np.array(labels, np.float32), HOP)


def hear(waveform: FloatArray, edge: int = 4) -> FloatArray:
    """Emissions (T, C) that read the labels of `spoken`, and something else near both ends of the waveform."""
    labels = waveform[::HOP][: GRID.num_frames(len(waveform))].astype(int)
    for place in (slice(0, edge), slice(max(0, len(labels) - edge), None)):
        labels[place] = 3
    probabilities = np.full((len(labels), len(SURFACES)), 0.02, np.float32)
    probabilities[np.arange(len(labels)), labels] = 0.92
    return np.log(probabilities)


def joined(speech: Iterator[Speech]) -> list[tuple[Segment, FloatArray]]:
    """What is heard in segments, those that overlap parted one after the other."""
    joiner = Joiner(GRID, SURFACES)
    found: list[tuple[Segment, FloatArray]] = []
    for segment, waveform in speech:
        heard = segment, hear(waveform)
        if found and segment.start < found[-1][0].end:
            found[-1], heard = joiner.part(found[-1], heard)
        found.append(heard)
    return found


@settings(max_examples=60, deadline=None)
@given(words=WORDS, spaced=strategies.booleans(), pad=strategies.integers(0, 3 * HOP))
def test_words_stay_whole_where_windows_cut_them(
    words: list[tuple[list[int], int]], spaced: bool, pad: int
) -> None:
    # Silence at both ends: there the encoder has no neighbour, and hears what it should not.
    waveform = np.concatenate([spoken(words, spaced), np.zeros(4 * HOP + pad, np.float32)])
    decoder = GreedyDecoder(SURFACES, 0)

    def read(emissions: FloatArray) -> str:
        return decoder.decode(emissions)[0].text

    found = joined(overlapping(split_fixed([waveform], 1.0), GRID, 0.8))
    truth = hear(waveform)
    size = sum(len(emissions) for _, emissions in found)
    assert len(truth) - 2 * GRID.per_window <= size <= len(truth)
    between = " " if spaced else ""
    texts = [read(emissions) for _, emissions in found]
    assert between.join(text for text in texts if text) == read(truth[:size])


@settings(max_examples=60, deadline=None)
@given(
    lengths=strategies.lists(strategies.integers(1, 2 * RATE), min_size=1, max_size=8),
    gaps=strategies.lists(strategies.sampled_from([0, 0, 1, RATE]), min_size=8, max_size=8),
    overlap_s=strategies.floats(0.2, 3),
)
def test_only_segments_that_touch_share_sound(lengths: list[int], gaps: list[int], overlap_s: float) -> None:
    waveform = np.random.default_rng(1).standard_normal(sum(lengths) + sum(gaps)).astype(np.float32)
    places: list[tuple[int, int]] = []
    at = 0
    for length, gap in zip(lengths, gaps, strict=False):
        places.append((at + gap, at + gap + length))
        at = places[-1][1]
    own = [
        (Segment(samples_to_seconds(one), samples_to_seconds(two)), waveform[one:two]) for one, two in places
    ]
    found = list(overlapping(own, GRID, overlap_s))
    assert len(found) == len(own)
    for number, ((segment, samples), (one, two)) in enumerate(zip(found, places, strict=True)):
        first, last = round(segment.start * RATE), round(segment.end * RATE)
        np.testing.assert_array_equal(samples, waveform[first:last])
        touches_before = number > 0 and places[number - 1][1] == one
        touches_after = number + 1 < len(places) and places[number + 1][0] == two
        assert (first == one) or touches_before
        assert one - overlap_s / 2 * RATE - 1 <= first <= one
        assert two <= last <= two + overlap_s / 2 * RATE + 1
        assert last == two or touches_after
        if touches_before:
            before = round(found[number - 1][0].start * RATE)
            assert (first - before) % (HOP * GRID.per_window) == 0
    parted = joined(iter(found))
    assert [segment.end for segment, _ in parted[-1:]] == [places[-1][1] / RATE]
    for (left, emissions), (right, _) in pairwise(parted):
        assert left.start <= left.end <= right.start <= right.end
        assert len(emissions) <= GRID.num_frames(round(left.duration * RATE)) + 2 * GRID.per_window


def heard_as(*labels: int) -> FloatArray:
    """Emissions (T, C) of these labels, a frame each."""
    return np.log(
        np.full((len(labels), len(SURFACES)), 0.02) + 0.9 * np.eye(len(SURFACES))[list(labels)]
    ).astype(np.float32)


def parted(
    left: FloatArray, right: FloatArray, surfaces: tuple[str, ...] = SURFACES
) -> tuple[list[int], list[int]]:
    """Labels of two that lie over each other, once they are parted."""
    span = Segment(0, len(left) * HOP / RATE)
    (one, before), (other, after) = Joiner(GRID, surfaces).part((span, left), (span, right))
    assert (one.end, one.start, other.end) == (other.start, span.start, span.end)
    assert one.end == len(before) * HOP / RATE
    return before.argmax(axis=1).tolist(), after.argmax(axis=1).tolist()


def test_a_space_between_words_counts_more_than_a_longer_pause_within_one() -> None:
    emissions = heard_as(2, 0, 0, 0, 0, 3, 1, 2, 0, 3)
    assert parted(emissions, emissions) == ([2, 0, 0, 0, 0, 3], [1, 2, 0, 3])


def test_the_longest_pause_counts_where_no_word_ends() -> None:
    emissions = heard_as(2, 0, 3, 0, 0, 0, 4, 0, 2)
    assert parted(emissions, emissions) == ([2, 0, 3, 0], [0, 0, 4, 0, 2])
    letters = heard_as(2, 3, 4, 2)
    letters[2, 0] = -1.0  # where a pause is likeliest
    assert parted(letters, letters) == ([2, 3], [4, 2])


def test_sentence_pieces_that_follow_each_other_are_parted_where_one_opens_a_word() -> None:
    surfaces = ("", " ka", "ta", " ma", "no")
    emissions = heard_as(1, 0, 2, 3, 4, 4, 0, 4)
    assert parted(emissions, emissions, surfaces) == ([1, 0, 2], [3, 4, 4, 0, 4])
    # Held for two frames, it opens once.
    assert parted(*(2 * [heard_as(1, 2, 3, 3)]), surfaces) == ([1, 2], [3, 3])


def test_each_is_believed_where_it_is_far_from_its_edge() -> None:
    left = heard_as(2, 0, 0, 1, 3, 3, 1, 3)  # a space that it hears at its end alone
    right = heard_as(4, 1, 4, 1, 0, 0, 2, 2)
    before, after = parted(left, right)
    assert (before, after) == ([2, 0, 0], [1, 0, 0, 2, 2])


def test_the_left_one_keeps_a_frame() -> None:
    emissions = heard_as(1, 2, 3, 2)
    assert parted(emissions, emissions) == ([1], [2, 3, 2])


def test_what_they_share_is_taken_off_the_longest_segment_alone() -> None:
    hybrid = HybridConfig(min_segment_s=6, max_segment_s=14)
    config = TranscribeConfig(segmenter="hybrid", segments=hybrid, overlap_s=4)
    assert config.cutting() == HybridConfig(min_segment_s=6, max_segment_s=10)
    usual = TranscribeConfig(
        segmenter="hybrid", segments=settings_for("hybrid", max_segment_s=4), overlap_s=1.9
    )
    cut = usual.cutting()
    assert isinstance(cut, HybridConfig)
    assert (cut.max_segment_s, cut.min_segment_s) == pytest.approx(
        (2.1, 1.785)
    )  # nobody asked for the shortest
    kept = TranscribeConfig(
        segmenter="hybrid", segments=settings_for("hybrid", max_segment_s=10, keep_s=1.0), overlap_s=3
    )
    cut = kept.cutting()
    assert isinstance(cut, HybridConfig)
    assert (cut.max_segment_s, cut.min_segment_s, cut.keep_s) == pytest.approx((7, 4.76, 1))
    with pytest.raises(InputError, match=r"segmenter hybrid with an overlap of 7 s: `min_segment_s`"):
        TranscribeConfig(segmenter="hybrid", segments=replace(hybrid, min_segment_s=8), overlap_s=7)
    with pytest.raises(InputError, match=r"vad with an overlap of 0\.5 s: `max_segment_s`.* got 0\.5"):
        TranscribeConfig(segments=VadConfig(max_segment_s=1), overlap_s=0.5)
    for longest, overlap_s in ((1.0, 0.0), (1.1, 0.0), (1.25, 0.25), (1.5, 0.3), (20.0, 4.0)):
        even = TranscribeConfig(segmenter="fixed", segments=FixedConfig(max_segment_s=longest))
        assert even.overlap == pytest.approx(overlap_s)
        assert even.cutting().max_segment_s == pytest.approx(longest - overlap_s)


def test_an_overlap_says_what_it_may_be() -> None:
    for wrong in (0.1, -1.0, 11.0):
        with pytest.raises(InputError, match=r"between 0\.2 s and half"):
            TranscribeConfig(overlap_s=wrong)
    own = OwnSegments(path=Path("a.tsv"), recordings={"": [Segment(0, 1)]})
    with pytest.raises(InputError, match="keep their borders"):
        TranscribeConfig(own=own, overlap_s=2)
    assert TranscribeConfig(own=own).overlap == 0
    assert (
        default_overlap(FixedConfig(max_segment_s=10))
        == TranscribeConfig(segmenter="fixed", segments=FixedConfig(max_segment_s=10)).overlap
        == 2
    )
    assert default_overlap(VadConfig()) == TranscribeConfig().overlap == 0


def test_even_windows_of_a_talk_are_parted_where_no_letter_is_heard() -> None:
    model = load_model(MINI / "model")
    decoder = GreedyDecoder(model.tokenizer.surfaces, model.tokenizer.blank)
    talk = load(MINI / "demo" / "talk.ogg", duration_s=40.0)
    even = TranscribeConfig(segmenter="fixed", segments=FixedConfig(max_segment_s=5))

    def cut(config: TranscribeConfig) -> list[Segment]:
        groups = Transcriber(model, decoder, config, {}).encoded(Path("talk.ogg"), [talk])
        return [segment for group in groups for segment, _ in group]

    track = recognised_track(model)
    voiced = np.concatenate(list(track([talk]))) >= 0.5

    def in_words(segments: list[Segment]) -> int:
        frames = [round(segment.end / track.grid.frame_s) for segment in segments[:-1]]
        return int(voiced[frames].sum())

    shared = cut(even)
    assert (shared[0].start, shared[-1].end) == (0, 40)
    assert all(left.end == right.start for left, right in pairwise(shared))
    assert max(segment.duration for segment in shared) <= 5
    assert in_words(shared) == 0 < in_words(cut(replace(even, overlap_s=0.0)))
