"""The detector with its ring buffer, and even windows: no speech lost, no second counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from asr.arrays import FloatArray
from asr.segment import EnergyConfig, VadConfig, split_energy, split_fixed, split_speech
from asr.segment.speech import split_voiced
from tests.asr.segment.sounds import RATE, check, lay, peak, silence, speech


def test_speech_is_found_and_kept_whole() -> None:
    waveform = lay(silence(2), speech(3), silence(3), speech(1.5, 1), silence(2))
    found = list(split_speech([waveform]))
    check(waveform, found, 20)
    assert len(found) == 2
    for (segment, _), (start, end) in zip(found, [(2, 5), (8, 9.5)], strict=True):
        assert start - 0.7 < segment.start <= start
        assert end <= segment.end < end + 0.9


@pytest.mark.parametrize("tail", [0.0, 0.013, 0.1])
def test_speech_that_is_open_at_the_end_is_not_lost(tail: float) -> None:
    waveform = lay(silence(1), speech(2), silence(tail))
    found = list(split_speech([waveform]))
    check(waveform, found, 20)
    assert [segment.end for segment, _ in found] == [len(waveform) / RATE]


@pytest.mark.parametrize("seconds", [20.0, 20.01, 20.1, 20.29, 20.31, 40.2])
def test_no_sound_is_lost_where_speech_is_open_at_the_end_and_a_little_too_long(seconds: float) -> None:
    waveform = speech(seconds)
    found = list(split_voiced([waveform], lambda frames: iter([True] * len(frames)), VadConfig()))
    check(waveform, found, 20)
    assert sum(segment.duration for segment, _ in found) == len(waveform) / RATE


def test_short_pauses_join_and_long_ones_part() -> None:
    waveform = lay(speech(2), silence(0.45), speech(2, 1), silence(2.5), speech(2, 2), silence(1))
    assert [round(s.duration) for s, _ in split_speech([waveform])] == [5, 3]
    apart = list(split_speech([waveform], VadConfig(max_segment_s=4)))
    check(waveform, apart, 4)
    # What would be too long together is parted in the pause, which the two share.
    assert len(apart) == 3
    assert 2.0 < apart[0][0].end <= apart[1][0].start < 2.45


def test_long_speech_is_cut_at_the_quietest_place() -> None:
    waveform = speech(30)
    dip = slice(round(17.0 * RATE), round(17.12 * RATE))
    waveform[dip] *= 0.05  # too short for a pause
    found = list(split_speech([waveform]))
    check(waveform, found, 20)
    assert 17.0 < found[0][0].end < 17.12
    assert found[1][0].start == found[0][0].end
    assert found[0][0].start < 0.3
    assert found[-1][0].end == 30.0


def test_speech_without_end_is_cut_into_pieces_that_touch() -> None:
    rng = np.random.default_rng(0)
    waveform = (0.1 * rng.standard_normal(70 * RATE)).astype(np.float32)
    found = list(split_speech([waveform], VadConfig(max_segment_s=10)))
    check(waveform, found, 10)
    assert found[-1][0].end == 70.0
    assert all(one.end == other.start for (one, _), (other, _) in pairwise(found))
    assert min(segment.duration for segment, _ in found[:-1]) >= 6


MIXED = lay(
    silence(0.7), speech(7), silence(0.6), speech(2.5, 1), silence(1.3), speech(0.6, 2), silence(0.321)
)


@given(strategies.lists(strategies.integers(1, 60_000), min_size=1, max_size=20))
@settings(max_examples=15, deadline=None)
def test_segments_do_not_depend_on_the_chunks(sizes: list[int]) -> None:
    config = VadConfig(max_segment_s=3)
    pieces = np.split(MIXED, [place for place in np.cumsum(sizes) if place < len(MIXED)])
    expected = list(split_speech([MIXED], config))
    check(MIXED, expected, 3)
    assert len(expected) >= 4
    found = list(split_speech(pieces, config))
    assert [segment for segment, _ in found] == [segment for segment, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("frame_ms", [10, 20, 30])
@pytest.mark.parametrize("keep_s", [0.0, 1.0])
def test_every_setting_accounts_for_every_second(frame_ms: int, keep_s: float) -> None:
    config = VadConfig(frame_ms=frame_ms, keep_s=keep_s, max_segment_s=3, merge_gap_s=0.2)
    found = list(split_speech([MIXED], config))
    check(MIXED, found, 3)
    assert found


def test_an_hour_of_digital_silence_has_no_speech() -> None:
    # Two pulses a second at the last bit: what some recorders write where nothing is plugged in.
    minute = np.zeros(60 * RATE, np.float32)
    assert list(split_speech(minute for _ in range(60))) == []
    minute[::8000] = 1 / 32768
    assert list(split_speech([minute])) == []


def test_a_click_is_no_speech() -> None:
    waveform = silence(3)
    waveform[RATE : RATE + 800] = speech(0.05)
    assert list(split_speech([waveform])) == []


def test_nothing_and_almost_nothing_are_silence() -> None:
    assert list(split_speech([])) == []
    assert list(split_speech([np.zeros(0, np.float32)])) == []
    assert list(split_speech([silence(0.01)])) == []


def test_segments_come_as_soon_as_they_are_closed() -> None:
    given_s = 0

    def seconds() -> Iterator[FloatArray]:
        nonlocal given_s
        for piece in [speech(3), silence(6), speech(3, 1)]:
            for at in range(0, len(piece), RATE):
                given_s += 1
                yield piece[at : at + RATE]

    next(split_speech(seconds()))
    assert given_s <= 6


def test_long_recordings_need_no_more_memory_than_short_ones() -> None:
    pattern = lay(speech(25), silence(5))
    assert peak(split_speech, pattern, 20, 20) < 1.1 * peak(split_speech, pattern, 2, 20)


def test_fixed_windows_cover_everything_evenly() -> None:
    for seconds, lengths in [(50, [20, 15, 15]), (40, [20, 20]), (21, [10.5, 10.5]), (7, [7]), (0, [])]:
        waveform = silence(seconds)
        found = list(split_fixed(np.array_split(waveform, 7), 20.0))
        check(waveform, found, 20)
        assert [segment.duration for segment, _ in found] == lengths


@pytest.mark.parametrize(
    "wrong", [{"frame_ms": 25}, {"mode": 4}, {"padding_ms": 10}, {"end_ratio": 1.0}, {"max_segment_s": 0.5}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VadConfig(**wrong)  # type: ignore[arg-type]


# --- energy -----------------------------------------------------------------------------------------------


def test_energy_finds_a_whistle_that_is_no_voice() -> None:
    whistle = (0.05 * np.sin(2 * np.pi * 1800 * np.arange(3 * RATE) / RATE)).astype(np.float32)
    waveform = lay(silence(3), whistle, silence(3))
    found = list(split_energy([waveform]))
    check(waveform, found, 20)
    assert len(found) == 1
    assert 2.3 < found[0][0].start <= 3.0
    assert 6.0 <= found[0][0].end < 6.9


def test_the_noise_floor_rises_to_a_noise_that_stays_and_falls_at_once() -> None:
    noise = (0.005 * np.random.default_rng(0).standard_normal(30 * RATE)).astype(np.float32)  # -46 dB
    waveform = lay(silence(2), noise, speech(3), noise, silence(3), (0.3 * speech(2, 1)), silence(1))
    found = list(split_energy([waveform]))
    check(waveform, found, 20)
    spoken = [(segment.start, segment.end) for segment, _ in found]
    assert any(start <= 32 and end >= 35 and start > 20 for start, end in spoken), spoken
    assert spoken[-1][0] <= 68 < 70 <= spoken[-1][1]


@pytest.mark.parametrize("wrong", [{"margin_db": 0.0}, {"rise_db_per_s": -1.0}, {"lowest_floor_db": -20.0}])
def test_an_impossible_floor_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EnergyConfig(**wrong)  # type: ignore[arg-type]
