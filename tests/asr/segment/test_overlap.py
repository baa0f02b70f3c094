"""Segments that share sound: which, how much, and that what is parted again keeps words whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from asr.audio import load
from asr.decode import GreedyDecoder
from asr.frames import FrameGrid, samples_to_seconds
from asr.model import load_model
from asr.segment import FixedConfig, OwnSegments, Segment, VadConfig, split_fixed
from asr.segment.overlap import Joiner, default_overlap, overlapping
from asr.segment.recognised import recognised_track
from asr.segment.sound import Speech
from asr.transcribe import TranscribeConfig, Transcriber
from lm.errors import InputError
from tests.asr.segment.sounds import RATE, FloatArray, speech

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


def test_what_was_heard_before_a_recording_broke_off_is_kept() -> None:
    def breaking() -> Iterator[Speech]:
        yield Segment(0, 1), speech(1)
        yield Segment(1, 2), speech(1)
        raise InputError("broken")

    found: list[Speech] = []
    with pytest.raises(InputError, match="broken"):
        found.extend(overlapping(breaking(), GRID, 0.4))
    assert [(segment.start, segment.end) for segment, _ in found] == [(0, 1.2), (0.8, 2)]


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
