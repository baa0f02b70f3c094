"""Relative-key attention against transformers' own module, with its weights."""

from __future__ import annotations

import pytest
import torch
from transformers import Wav2Vec2BertConfig
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertSelfAttention

from asr.encoder.relative import RelativeKeyAttention, spread


@pytest.mark.parametrize("length", [1, 2, 5, 8, 9, 40])
def test_spread_is_a_look_up_of_the_clamped_distance(length: int) -> None:
    left, right = 7, 3
    by_distance = torch.randn(2, 3, length, left + 1 + right, generator=torch.manual_seed(length))
    places = torch.arange(length)
    distance = (places[None, :] - places[:, None]).clamp(-left, right) + left
    expected = by_distance.gather(-1, distance.expand(2, 3, length, length))
    assert torch.equal(spread(by_distance, left, right), expected)


@pytest.mark.parametrize("length", [3, 60])
def test_values_and_gradients_are_those_of_transformers(length: int) -> None:
    torch.manual_seed(0)
    config = Wav2Vec2BertConfig(
        hidden_size=24, num_attention_heads=3, left_max_position_embeddings=9, right_max_position_embeddings=4,
        attention_dropout=0.0, attn_implementation="eager",
    )  # fmt: skip
    theirs = Wav2Vec2BertSelfAttention(config)
    ours = RelativeKeyAttention(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    hidden = torch.randn(2, length, 24)
    seen = torch.ones(2, 1, 1, length, dtype=torch.bool)
    seen[1, ..., length - 1 :] = False
    results = []
    for module, mask in ((theirs, torch.where(seen, 0.0, torch.finfo(torch.float32).min)), (ours, seen)):
        theirs.zero_grad()
        out = module(hidden, attention_mask=mask)[0]
        out.square().sum().backward()
        grads = [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]
        results.append([out.detach(), *grads])
    assert len(results[0]) == len(results[1]) == 10
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
