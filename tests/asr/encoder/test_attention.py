"""Attention in training: torch's own values but for what dropout draws."""

from __future__ import annotations

import pytest
import torch

from asr.encoder import attention
from asr.encoder.attention import NAME, attend
from tests.asr.encoder.tiny import tiny_encoder


@pytest.mark.parametrize("mask", ["none", "where", "added"])
def test_values_and_gradients_without_what_is_dropped_are_those_of_torch(
    mask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 7, 4, requires_grad=True) for _ in range(3))
    where = torch.ones(2, 1, 7, 7, dtype=torch.bool)
    where[1, :, :, 4:] = False
    added = torch.zeros(2, 1, 7, 7).masked_fill(~where, -1e9)
    given = {"none": None, "where": where, "added": added}[mask]
    monkeypatch.setattr(attention, "drop", lambda weights, probability, training: weights)
    ours, weights = attend(torch.nn.Identity(), query, key, value, given, dropout=0.1, scaling=0.3)
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, given, scale=0.3).transpose(
        1, 2
    )
    assert weights is None
    torch.testing.assert_close(ours, theirs)
    toward = torch.randn_like(theirs)
    for one, other in zip(
        torch.autograd.grad(ours, (query, key, value), toward),
        torch.autograd.grad(theirs, (query, key, value), toward),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_an_utterance_without_frames_gives_no_nan() -> None:
    vectors = torch.randn(1, 1, 3, 4)
    nowhere = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    assert attend(torch.nn.Identity(), vectors, vectors, vectors, nowhere, dropout=0.5)[0].isfinite().all()


@pytest.mark.parametrize("name", ["wav2vec2 base", "wav2vec2 large", "hubert base"])
def test_encoders_of_transformers_drop_by_it_in_training_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny_encoder(name, attention_dropout=0.5)
    assert encoder.model.config._attn_implementation == NAME
    dropped: list[float] = []
    monkeypatch.setattr(attention, "drop", lambda weights, share, training: dropped.append(share) or weights)
    wave, size = torch.randn(1, 8000), torch.tensor([8000])
    encoder.eval()(wave, size)
    assert not dropped
    encoder.train()(wave, size)
    assert set(dropped) == {0.5}
