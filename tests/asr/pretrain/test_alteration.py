"""What is altered for TERA: shares of the utterances, and nothing of the padding."""

from __future__ import annotations

from dataclasses import replace

import torch

from asr.pretrain.alteration import Alteration, AlterConfig


def test_shares_of_the_utterances_are_zeroed_and_swapped() -> None:
    torch.manual_seed(1)
    features = torch.randn(200, 30, 8)
    config = AlterConfig(
        time_share=0.5, zero_share=0.5, swap_share=0.3, frequency_share=0.0, noise_probability=0.0
    )
    alteration = Alteration(config)
    found = alteration(features, torch.full((200,), 30))
    spans = alteration.altered[..., 0]
    assert spans.any(dim=1).all()
    changed = (found != features).any(dim=2)
    assert torch.equal(changed & spans, changed)
    silent = (found == 0).all(dim=2)
    zeroed, swapped = ((changed & kind).any(dim=1).float().mean() for kind in (silent, ~silent))
    # Within three deviations of the shares.
    assert 0.39 < zeroed < 0.61
    assert 0.20 < swapped < 0.40


def test_what_is_swapped_are_other_frames_of_the_same_utterance() -> None:
    torch.manual_seed(1)
    features = torch.arange(1.0, 7.0)[:, None, None] * 100 + torch.arange(30.0)[None, :, None].expand(
        6, 30, 8
    )
    config = AlterConfig(
        time_share=0.5, zero_share=0.0, swap_share=1.0, frequency_share=0.0, noise_probability=0.0
    )
    num_frames = torch.tensor([30, 30, 25, 20, 15, 12])
    found = Alteration(config)(features, num_frames)
    assert not torch.equal(found, features)
    for own, before, frames in zip(found, features, num_frames.tolist(), strict=True):
        assert set(own[:frames, 0].tolist()) <= set(before[:frames, 0].tolist())


def test_padding_is_never_altered() -> None:
    torch.manual_seed(1)
    num_frames = torch.tensor([30, 20, 10, 5])
    config = AlterConfig(time_share=0.5, swap_share=0.2, frequency_share=1.0, noise_probability=1.0)
    padding = torch.arange(30) >= num_frames[:, None]
    for noise_probability in (0.0, 1.0):
        alteration = Alteration(replace(config, noise_probability=noise_probability))
        features = torch.ones(4, 30, 8)
        found = alteration(features, num_frames)
        assert torch.equal(found[padding], features[padding])
        assert not alteration.altered[padding].any()
        assert alteration.altered.any()
