"""Random spans stay inside their utterance and hide the share they should."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies

from asr.encoder.masking import span_mask
from lm.errors import InputError
from tests.asr.encoder.tiny import tiny_encoder


@settings(max_examples=60, deadline=None)
@given(
    lengths=strategies.lists(strategies.integers(0, 60), min_size=1, max_size=4),
    probability=strategies.floats(0, 1),
    span=strategies.integers(1, 12),
    min_spans=strategies.integers(0, 3),
)
def test_spans_stay_inside_their_utterance(
    lengths: list[int], probability: float, span: int, min_spans: int
) -> None:
    size = max(lengths) + 5
    mask = span_mask(lengths, size, probability=probability, span=span, min_spans=min_spans)
    assert mask.shape == (len(lengths), size)
    for row, length in zip(mask, lengths, strict=True):
        assert not row[length:].any()
        hidden = int(row.sum())
        assert hidden == 0 if length < span else hidden >= (span if min_spans else 0)
        # Every stretch of hidden frames is at least one span long.
        edges = torch.diff(row.int(), prepend=torch.zeros(1), append=torch.zeros(1)).nonzero().flatten()
        assert all(end - start >= span for start, end in edges.reshape(-1, 2).tolist())


def test_the_expected_number_of_spans_is_drawn() -> None:
    torch.manual_seed(0)
    mask = span_mask([200] * 2000, 200, probability=0.05, span=1)
    assert abs(mask.float().mean().item() - 0.05) < 0.002
    torch.manual_seed(0)
    assert torch.equal(mask, span_mask([200] * 2000, 200, probability=0.05, span=1))


@pytest.mark.parametrize(
    "setting",
    [{"mask_time_length": 0}, {"mask_time_prob": 2.0}, {"mask_feature_prob": -0.1}, {"layerdrop": 1.5}],
)
def test_settings_of_masks_out_of_bounds_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(setting))} is .*Give a number from"):
        tiny_encoder("wav2vec2 base", **setting)
