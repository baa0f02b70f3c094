"""Filterbanks: muted pauses do not flatten speech, padding and what is beyond an utterance change nothing."""

from __future__ import annotations

import math

import pytest
import torch

from asr.features import RANGE_DB, Filterbank, stack_frames, standardise
from asr.frames import FrameGrid


def spoken(seconds: float = 2.0) -> torch.Tensor:
    """Noise whose level moves by 20 dB several times a second, (S,)."""
    generator = torch.Generator().manual_seed(0)
    clock = torch.arange(int(16_000 * seconds)) / 16_000
    level = 10 ** (torch.sin(2 * math.pi * 4 * clock) / 2 - 1)
    return level * torch.randn(len(clock), generator=generator)


def test_a_muted_pause_leaves_speech_its_variance() -> None:
    speech = spoken()
    muted = torch.cat([speech, torch.zeros(32_000)])
    deviations = {}
    for range_db in (0.0, RANGE_DB):
        features, _ = Filterbank(range_db=range_db)(muted[None], torch.tensor([len(muted)]))
        deviations[range_db] = float(features[0, :190].std(dim=0).mean())
    assert deviations[0.0] < 0.3
    assert deviations[RANGE_DB] > 2 * deviations[0.0]


def test_what_is_within_the_range_is_left_alone() -> None:
    speech = spoken()
    features = [
        Filterbank(range_db=range_db)(speech[None], torch.tensor([len(speech)]))[0]
        for range_db in (0.0, 200.0)
    ]
    torch.testing.assert_close(*features)


@pytest.mark.parametrize("range_db", [0.0, RANGE_DB])
def test_a_loud_neighbour_in_the_batch_changes_nothing(range_db: float) -> None:
    short, loud = spoken(1.0), 5 * spoken(2.0)
    batch = torch.stack([torch.nn.functional.pad(short, (0, 16_000)), loud])
    filterbank = Filterbank(range_db=range_db)
    together, num_frames = filterbank(batch, torch.tensor([16_000, 32_000]))
    alone, _ = filterbank(short[None], torch.tensor([16_000]))
    frames = int(num_frames[0])
    torch.testing.assert_close(together[0, :frames], alone[0, :frames], atol=1e-5, rtol=0)
    assert not together[0, frames:].any()


def test_frames_in_the_middle_are_stacked() -> None:
    """Of a window of seven frames the middle four; the last is repeated past the end."""
    frames = torch.arange(12.0)[None, :, None]  # (1, T', 1)
    grid = FrameGrid(hop_samples=640, window_samples=1360)
    assert stack_frames(frames, grid, 3)[0].tolist() == [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 11, 11]]
    assert stack_frames(frames, FrameGrid(hop_samples=320, window_samples=400), 2)[0].tolist() == [
        [0, 1],
        [2, 3],
    ]


@pytest.mark.parametrize("unbiased", [False, True])
def test_an_utterance_is_standardised_over_its_own_part(unbiased: bool) -> None:
    values = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0)) * 4 + 1
    found = standardise(values, torch.tensor([30, 12]), unbiased=unbiased)
    own = values[1, :12]
    expected = (own - own.mean(dim=0)) / own.std(dim=0, correction=int(unbiased))
    torch.testing.assert_close(found[1, :12], expected, atol=1e-5, rtol=0)
    assert not found[1, 12:].any()
