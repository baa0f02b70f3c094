"""The conformer and its features give an utterance the same result alone and in company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr.encoder.conformer import ConformerConfig, ConformerEncoder, rotary_table, rotate
from asr.features import Filterbank, spec_augment
from asr.model import CTCModel
from lm.errors import InputError


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_padding_changes_no_emission(tiny_model: CTCModel, batch: int) -> None:
    generator = np.random.default_rng(3)
    waveforms = [
        generator.standard_normal(n).astype(np.float32) * 0.1 for n in generator.integers(3_000, 40_000, 16)
    ]
    alone = [tiny_model.emissions([waveform])[0] for waveform in waveforms]
    for first in range(0, 16, batch):
        together = tiny_model.emissions(waveforms[first : first + batch])
        for one, other in zip(alone[first : first + batch], together, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_frame_counts_follow_from_the_strides(tiny_model: CTCModel) -> None:
    for samples in (1_360, 1_999, 2_000, 16_000, 16_001, 33_333):
        emissions = tiny_model.emissions([np.ones(samples, np.float32)])[0]
        assert len(emissions) == tiny_model.encoder.grid.num_frames(samples)


def test_audio_shorter_than_a_frame_gives_no_frame(tiny_model: CTCModel) -> None:
    short, long = tiny_model.emissions([np.ones(160, np.float32), np.ones(16_000, np.float32)])
    assert short.shape == (0, 8)
    assert np.isfinite(long).all()


def test_emissions_are_log_probabilities(tiny_model: CTCModel) -> None:
    emissions = tiny_model.emissions([np.random.default_rng(0).standard_normal(8_000).astype(np.float32)])[0]
    np.testing.assert_allclose(np.exp(emissions).sum(axis=1), 1, atol=1e-5)


def test_filterbank_of_a_tone_peaks_at_its_pitch() -> None:
    bank = Filterbank(80)
    clock = torch.arange(16_000) / 16_000
    loudest = {}
    for hertz in (500.0, 1_000.0, 3_000.0):
        frames = (0.5 * torch.sin(2 * torch.pi * hertz * clock)).unfold(0, 400, 160)
        power = torch.fft.rfft((frames - frames.mean(-1, keepdim=True)) * bank.window, n=512).abs().square()
        loudest[hertz] = int((power @ bank.weights).mean(0).argmax())
        centre = 1127 * np.log1p(hertz / 700)
        low, high = (1127 * np.log1p(edge / 700) for edge in (20.0, 8_000.0))
        assert abs(loudest[hertz] - ((centre - low) / (high - low) * 81 - 1)) <= 1
    assert len(set(loudest.values())) == 3


def test_features_have_zero_mean_and_unit_variance_over_valid_frames() -> None:
    noise = torch.randn(2, 16_000, generator=torch.manual_seed(0))
    features, num_frames = Filterbank()(noise, torch.tensor([16_000, 8_000]))
    assert num_frames.tolist() == [98, 48]
    for row, frames in zip(features, num_frames.tolist(), strict=True):
        assert row[:frames].mean(0).abs().max() < 1e-4
        assert (row[:frames].std(0, correction=0) - 1).abs().max() < 0.05
        assert not row[frames:].any()


def test_level_does_not_change_the_features() -> None:
    noise = 0.1 * torch.randn(1, 16_000, generator=torch.manual_seed(0))
    quiet, loud = (Filterbank()(noise * gain, torch.tensor([16_000]))[0] for gain in (0.5, 2.0))
    torch.testing.assert_close(quiet, loud, atol=1e-3, rtol=0)


def test_digital_silence_stays_finite(tiny_model: CTCModel) -> None:
    assert np.isfinite(tiny_model.emissions([np.zeros(16_000, np.float32)])[0]).all()


def test_spec_augment_masks_the_share_it_says() -> None:
    torch.manual_seed(0)
    features, frames = torch.ones(400, 500, 80), torch.full((400,), 500)
    options = {"freq_masks": 0, "freq_width": 0, "time_masks_per_s": 0.4, "time_width": 20}
    masked = spec_augment(features, frames, **options)  # type: ignore[arg-type]
    # 5 s times 0.4 masks of mean width 10 frames (about 10.0 whole frames), hardly overlapping.
    assert 1 - masked.mean().item() == pytest.approx(2 * 10 / 500, rel=0.08)
    assert not spec_augment(
        features, frames, freq_masks=2, freq_width=20, time_masks_per_s=0, time_width=0
    ).all()


def test_rotary_attention_sees_distances_alone() -> None:
    query, key = torch.randn(2, 1, 8, generator=torch.manual_seed(0)).unbind()
    table = rotary_table(32, 8, torch.device("cpu"))
    products = rotate(query.expand(32, 8), table) @ rotate(key.expand(32, 8), table).T
    torch.testing.assert_close(products[0, 5], products[20, 25], atol=1e-4, rtol=0)
    assert not torch.isclose(products[0, 5], products[0, 6], atol=1e-3)


def test_a_configuration_makes_the_same_encoder_again() -> None:
    encoder = ConformerEncoder(ConformerConfig(width=32, num_layers=1, num_heads=2))
    values = encoder.config()
    assert values.pop("kind") == "conformer"
    assert ConformerConfig(**values) == encoder.settings


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("num_heads", 0, "from 1"),
        ("num_layers", 0, "from 1"),
        ("width", 0, "from 1"),
        ("num_bins", 6, "need 7"),
        ("freq_masks", -1, "from 0"),
    ],
)
def test_a_size_of_nothing_is_refused(name: str, value: int, least: str) -> None:
    with pytest.raises(InputError, match=rf"encoder\.{name} is {value}.* {least}"):
        ConformerConfig(**{name: value})  # type: ignore[arg-type]


def test_seven_bins_are_enough() -> None:
    encoder = ConformerEncoder(ConformerConfig(num_bins=7, width=16, num_layers=1, num_heads=2)).eval()
    assert torch.isfinite(encoder(torch.randn(1, 16_000), torch.tensor([16_000])).hidden).all()
