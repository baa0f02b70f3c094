"""Every segmenter on every kind of sound: order, lengths, own samples, the same however the stream is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from asr.arrays import FloatArray
from asr.frames import FrameGrid
from asr.segment import (
    SEGMENTERS,
    CtcDacConfig,
    CtcHybridConfig,
    DacConfig,
    EnergyConfig,
    FixedConfig,
    HybridConfig,
    PdacConfig,
    PstrmConfig,
    PthrConfig,
    SegmenterConfig,
    VadConfig,
    build_segmenter,
    settings_for,
    split_probabilities,
)
from lm.errors import InputError
from tests.asr.segment.sounds import RATE, SOUNDS, check, lay, peak, silence, speech


class Loudness:
    """A classifier or recogniser in its form: probabilities from windows that overlap, given a few at a time."""

    grid = FrameGrid(hop_samples=320, window_samples=400)

    def __call__(self, chunks: Iterable[FloatArray]) -> Iterator[FloatArray]:
        rest = np.zeros(0, np.float32)
        for chunk in chunks:
            rest = np.concatenate([rest, chunk])
            count = self.grid.num_frames(len(rest))
            yield np.array([self._probable(rest[320 * t : 320 * t + 400]) for t in range(count)], np.float32)
            rest = rest[320 * count :]

    def _probable(self, window: FloatArray) -> float:
        return float(np.clip(np.sqrt(np.square(window, dtype=np.float64).mean()) / 0.06, 0, 1))


CONFIGS: list[SegmenterConfig] = [
    VadConfig(),
    FixedConfig(),
    EnergyConfig(),
    DacConfig(max_segment_s=8.0),
    DacConfig(),
    HybridConfig(min_segment_s=3.0, max_segment_s=8.0),
    HybridConfig(),
    CtcDacConfig(max_segment_s=8.0),
    CtcDacConfig(),
    CtcHybridConfig(min_segment_s=3.0, max_segment_s=8.0),
    CtcHybridConfig(),
    PdacConfig(max_segment_s=6.0, horizon_s=24.0),
    PdacConfig(),
    PstrmConfig(max_segment_s=6.0, keep_s=0.1),
    PstrmConfig(),
    PthrConfig(max_segment_s=6.0),
    PthrConfig(),
]


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda config: f"{type(config).__name__}{config.max_segment_s}"
)
def test_segments_are_in_order_disjoint_short_enough_and_hold_their_samples(
    config: SegmenterConfig, sound: str
) -> None:
    waveform = SOUNDS[sound]()
    segmenter = build_segmenter(config, Loudness())
    whole = list(segmenter([waveform]))
    check(waveform, whole, config.max_segment_s)
    if sound in ("nothing", "digital silence") and not isinstance(config, FixedConfig):
        assert whole == []
    # webrtcvad takes a sound that does not change for noise, a vowel too: `energy` is for those.
    steady = sound == "a vowel without end" and isinstance(config, VadConfig)
    if sound in ("music", "a vowel without end", "clipped noise", "talk") and not steady:
        assert whole
    # Chunks of any size: one odd, so that no frame and no piece ends with a chunk.
    for size in (997, 50_001):
        chunks = [waveform[at : at + size] for at in range(0, len(waveform), size)]
        found = list(segmenter(chunks))
        assert [segment for segment, _ in found] == [segment for segment, _ in whole]
        for (_, one), (_, other) in zip(found, whole, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda config: f"{type(config).__name__}{config.max_segment_s}"
)
@given(strategies.lists(strategies.integers(1, 200_000), min_size=1, max_size=8))
@settings(max_examples=3, deadline=None)
def test_segments_do_not_depend_on_the_chunks(config: SegmenterConfig, sizes: list[int]) -> None:
    waveform = lay(silence(0.7), speech(7), silence(0.6), speech(2.5, 1), silence(9), speech(0.6, 2))
    segmenter = build_segmenter(config, Loudness())
    pieces = np.split(waveform, [place for place in np.cumsum(sizes) if place < len(waveform)])
    assert [segment for segment, _ in segmenter(pieces)] == [segment for segment, _ in segmenter([waveform])]


def test_every_segmenter_has_a_name_and_a_case_here() -> None:
    assert {type(config) for config in CONFIGS} == set(SEGMENTERS.values())


TALK = lay(
    silence(1), speech(3), silence(0.4), speech(4, 1), silence(0.9), speech(2, 2), silence(0.3), speech(3, 3)
)
"""Speech at 1-4, 4.4-8.4, 9.3-11.3 and 11.6-14.6 s."""


def test_divide_and_conquer_cuts_at_the_longest_pause_first() -> None:
    found = [segment for segment, _ in build_segmenter(DacConfig(max_segment_s=9))([TALK])]
    # It hears something in the first frames of all, as it always does.
    first, second = found[-2:]
    assert first.start < 1.0
    assert 8.4 <= first.end < second.start < 9.3
    assert second.end == len(TALK) / RATE
    whole = [segment for segment, _ in build_segmenter(DacConfig())([TALK])]
    assert len(whole) == 1
    assert whole[0].start <= 1.0
    assert whole[0].end == len(TALK) / RATE


def test_divide_and_conquer_leaves_no_crumbs_in_speech_without_breaths() -> None:
    waveform = lay(*[part for place in range(60) for part in (speech(0.4, place), silence(0.04))])
    segmenter = build_segmenter(CtcDacConfig(max_segment_s=10), Loudness())
    found = [segment for segment, _ in segmenter([waveform])]
    assert len(found) <= 4
    assert min(segment.duration for segment in found) > 5
    as_published = build_segmenter(CtcDacConfig(max_segment_s=10, min_pause_s=0), Loudness())
    assert len(list(as_published([waveform]))) > 20


def test_the_hybrid_walks_to_the_longest_pause_between_its_lengths() -> None:
    segmenter = build_segmenter(HybridConfig(min_segment_s=2, max_segment_s=8))
    found = [segment for segment, _ in segmenter([TALK])]
    # In 3 to 9 s lie the pause at 4 s and the first part of that at 8.4 s.
    assert 3.9 < found[0].end < found[1].start < 8.5
    assert found[-1].end == len(TALK) / RATE


@pytest.mark.parametrize(
    "config", [PdacConfig(max_segment_s=6), PstrmConfig(max_segment_s=6), PthrConfig(max_segment_s=6)]
)
def test_nothing_probable_is_lost_from_the_sound(config: PdacConfig | PstrmConfig | PthrConfig) -> None:
    track = Loudness()
    probable = np.concatenate(list(track([TALK]))) >= 0.5
    assert probable.any()
    inside = np.zeros(len(TALK), np.bool_)
    for segment, _ in split_probabilities([TALK], track, config):
        inside[round(segment.start * RATE) : round(segment.end * RATE)] = True
    for frame in np.flatnonzero(probable):
        first, last = (round(track.grid.start_s(frame + side) * RATE) for side in (0, 1))
        assert inside[first:last].all()


def test_neighbours_share_a_pause_that_is_too_short_for_both() -> None:
    waveform = lay(speech(2), silence(0.08), speech(2, 1))
    config = PstrmConfig(max_segment_s=3.0, keep_s=0.1)
    found = list(split_probabilities([waveform], Loudness(), config))
    check(waveform, found, 3)
    assert 1.9 < found[0][0].end == found[1][0].start < 2.15


@pytest.mark.parametrize(
    "config",
    [
        EnergyConfig(),
        DacConfig(),
        HybridConfig(),
        CtcDacConfig(),
        CtcHybridConfig(),
        PdacConfig(horizon_s=72),
        PstrmConfig(),
        PthrConfig(),
    ],
)
def test_long_recordings_need_no_more_memory_than_short_ones(config: SegmenterConfig) -> None:
    pattern = lay(speech(25), silence(5))
    segmenter, longest_s = build_segmenter(config, Loudness()), config.max_segment_s
    assert peak(segmenter, pattern, 10, longest_s) < 1.2 * peak(segmenter, pattern, 4, longest_s)


@pytest.mark.parametrize(
    "config",
    [
        DacConfig(),
        HybridConfig(),
        CtcDacConfig(),
        CtcHybridConfig(),
        PdacConfig(),
        PstrmConfig(),
        PthrConfig(),
        EnergyConfig(),
    ],
)
def test_a_long_silence_is_not_kept_and_what_was_said_before_it_comes(config: SegmenterConfig) -> None:
    given_s = 0

    def seconds() -> Iterator[FloatArray]:
        nonlocal given_s
        for piece in [speech(3), *[silence(1)] * 600]:
            for at in range(0, len(piece), RATE):
                given_s += 1
                yield piece[at : at + RATE]

    next(build_segmenter(config, Loudness())(seconds()))
    assert given_s <= 4 + config.max_segment_s


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (DacConfig, {"max_segment_s": 0.5}),
        (DacConfig, {"keep_s": 9.0}),
        (HybridConfig, {"min_segment_s": 20.0}),
        (HybridConfig, {"min_pause_s": -1.0}),
        (DacConfig, {"min_pause_s": -1.0}),
        (HybridConfig, {"frame_ms": 25}),
        (VadConfig, {"merge_gap_s": -1.0}),
        (PdacConfig, {"threshold": 0.0}),
        (CtcDacConfig, {"keep_s": 9.0}),
        (CtcHybridConfig, {"min_pause_s": -1.0}),
        (PdacConfig, {"horizon_s": 20.0}),
        (PdacConfig, {"max_segment_s": 200.0}),
        (PthrConfig, {"fall_s": -1.0}),
        (FixedConfig, {"max_segment_s": float("nan")}),
    ],
)
def test_impossible_settings_are_refused(kind: type[SegmenterConfig], wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)  # type: ignore[arg-type]


def test_settings_by_name_take_the_limit_of_anothers_and_shrink_the_shortest() -> None:
    assert settings_for("fixed", VadConfig(max_segment_s=7)) == FixedConfig(max_segment_s=7)
    assert settings_for("vad", VadConfig(mode=3)) == VadConfig(mode=3)
    assert settings_for("hybrid", max_segment_s=10.0) == HybridConfig(min_segment_s=8.5, max_segment_s=10.0)
    assert settings_for("hybrid", max_segment_s=30.0, mode=None) == HybridConfig(max_segment_s=30.0)
    short = settings_for("ctc-hybrid", max_segment_s=1.0)  # less the sound that is kept, there is 0.6 s
    assert isinstance(short, CtcHybridConfig)
    assert short.min_segment_s == pytest.approx(0.51)
    with pytest.raises(ValueError, match="Did you mean 'hybrid'"):
        settings_for("hybrd")
    with pytest.raises(ValueError, match="fixed has no setting 'mode'"):
        settings_for("fixed", mode=1)
    with pytest.raises(ValueError, match="ctc-dac has no setting 'mode'"):
        settings_for("ctc-dac", mode=1)
    with pytest.raises(ValueError, match="`padding_ms` must be a whole number"):
        settings_for("vad", padding_ms=300.5)
    with pytest.raises(ValueError, match="`max_segment_s`, the longest segment"):
        settings_for("hybrid", max_segment_s=0.0)


def test_without_a_track_the_packaged_classifier_is_heard() -> None:
    waveform = lay(silence(1), speech(3), silence(2), speech(2, 1), silence(1))
    found = list(build_segmenter(PdacConfig())([waveform]))
    check(waveform, found, PdacConfig().max_segment_s)
    assert found
    with pytest.raises(InputError, match="no-such-folder"):
        build_segmenter(PdacConfig(), "no-such-folder")
