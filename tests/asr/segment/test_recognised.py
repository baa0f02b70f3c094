"""The pauses of a recogniser: where its best label is no letter, however the stream is cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies

from asr.arrays import FloatArray
from asr.audio import load
from asr.encoder.conformer import ConformerConfig, ConformerEncoder
from asr.model import CTCModel, load_model
from asr.segment import CtcDacConfig, CtcHybridConfig, SegmenterConfig, build_segmenter
from asr.segment.pauses import pauses_of
from asr.segment.recognised import recognised_track
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from tests.asr.segment.sounds import RATE, check, peak

MINI = Path(__file__).parents[3] / "egs" / "mini"


def untrained(per_frame: int = 1) -> CTCModel:
    """Nonsense, in which letters, blanks and word boundaries follow each other."""
    torch.manual_seed(1)
    encoder = ConformerEncoder(
        ConformerConfig(width=32, num_layers=1, num_heads=2, stem_channels=8, kernel=7)
    )
    tokenizer = character_tokenizer(["abc d"], TextPolicy()).with_languages(["xyz"])
    return CTCModel(encoder, tokenizer, per_frame=per_frame).eval()


def noise(samples: int) -> FloatArray:
    return (0.1 * np.random.default_rng(samples).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("per_frame", [1, 2])
def test_a_frame_is_voiced_whose_best_label_writes_a_letter(per_frame: int) -> None:
    model = untrained(per_frame)
    waveform = noise(3 * RATE)
    track = recognised_track(model)
    voiced = np.concatenate(list(track([waveform])))
    (emissions,) = model.emissions([waveform])
    best = emissions.argmax(axis=1)
    assert {0, 1, model.tokenizer.languages["xyz"]} & set(best.tolist())
    # Behind the last frame that the recording fills come some of zeros.
    np.testing.assert_array_equal(voiced[: len(best) - per_frame], np.isin(best, [2, 3, 4, 5])[:-per_frame])
    assert 0 < voiced.mean() < 1
    assert track.grid.start_s(len(voiced)) >= 3


@settings(max_examples=10, deadline=None)
@given(
    samples=strategies.integers(1, 6 * RATE),
    cuts=strategies.lists(strategies.integers(1, 3 * RATE), max_size=4),
)
def test_the_track_does_not_depend_on_the_chunks(samples: int, cuts: list[int]) -> None:
    track = recognised_track(untrained(), window_s=1.5, step_s=1.0)
    waveform = noise(samples)
    pieces = np.split(waveform, [place for place in np.cumsum(cuts) if place < samples])
    np.testing.assert_array_equal(
        np.concatenate(list(track(pieces))), np.concatenate(list(track([waveform])))
    )


def test_a_talk_is_cut_in_its_pauses() -> None:
    model = load_model(MINI / "model")
    talk = load(MINI / "demo" / "talk.ogg", duration_s=30.0)
    track = recognised_track(model)
    voiced = np.concatenate(list(track([talk]))) >= 0.5
    pauses = [tuple(map(track.grid.start_s, pause)) for pause in pauses_of(voiced)]
    configs: list[SegmenterConfig] = [
        CtcDacConfig(max_segment_s=8),
        CtcHybridConfig(min_segment_s=4, max_segment_s=8),
    ]
    for config in configs:
        found = list(build_segmenter(config, recogniser=model)([talk]))
        check(talk, found, 8)
        assert len(found) >= 4
        # All that is heard without cutting is in a segment, and each cut lies where nothing is heard.
        for frame in np.flatnonzero(voiced).tolist():
            middle = (track.grid.start_s(frame) + track.grid.start_s(frame + 1)) / 2
            assert any(segment.start <= middle <= segment.end for segment, _ in found)
        for (one, _), (other, _) in pairwise(found):
            assert any(start <= one.end <= other.start <= end for start, end in pauses)


def test_a_recogniser_that_hears_nothing_finds_no_segment() -> None:
    deaf = untrained()
    with torch.no_grad():
        deaf.head.bias[0] += 100
    for waveform in (noise(30 * RATE), np.zeros(0, np.float32), noise(1)):
        assert list(build_segmenter(CtcDacConfig(), recogniser=deaf)([waveform])) == []


def test_a_long_recording_needs_no_more_memory_than_a_short_one() -> None:
    model = untrained()
    segmenter = build_segmenter(CtcHybridConfig(min_segment_s=3, max_segment_s=6), recogniser=model)
    pattern = noise(10 * RATE)
    assert peak(segmenter, pattern, 12, 6) < 1.2 * peak(segmenter, pattern, 4, 6)


def test_without_a_recogniser_there_is_a_clear_error() -> None:
    with pytest.raises(InputError, match="from a recogniser, and there is none"):
        build_segmenter(CtcDacConfig())
    with pytest.raises(InputError, match="asr/segment/model: it holds a segmenter, not a recogniser"):
        build_segmenter(CtcDacConfig(), Path(__file__).parents[3] / "asr" / "segment" / "model")
