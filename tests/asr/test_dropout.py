"""Dropout: what torch's promises, drawn in another way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asr.dropout import Dropout, SharedDropout, dropout, replace_dropout


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_the_share_and_the_mean_are_right(probability: float) -> None:
    torch.manual_seed(0)
    draws = dropout(torch.ones(1000, 401), probability, True)
    # Five standard errors of 401,000 draws.
    error = 5 * (probability * (1 - probability) / draws.numel()) ** 0.5
    assert abs(float((draws == 0).float().mean()) - probability) < error
    assert abs(float(draws.mean()) - 1) < error / (1 - probability)
    kept = draws[draws != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - probability)), rtol=1e-4, atol=0)


def test_draws_are_independent() -> None:
    torch.manual_seed(0)
    kept = (dropout(torch.ones(400, 400), 0.3, True) != 0).double()
    # Four draws share a random number, so neighbours up to three apart are what could go together.
    for apart in (1, 2, 3, 4, 400):
        pair = torch.stack([kept.flatten()[apart:], kept.flatten()[:-apart]])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 5 / 400
    lanes = kept.flatten().view(-1, 4).mean(dim=0)
    assert float((lanes - 0.7).abs().max()) < 5 * (0.21 / 40_000) ** 0.5


@pytest.mark.parametrize("size", [(0,), (1,), (2, 3), (5, 7, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_gradients_pass_where_values_did(size: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.ones(size, dtype=dtype, requires_grad=True)
    out = dropout(x, 0.4, True)
    out.sum().backward()
    assert out.dtype == dtype
    assert torch.equal(x.grad, out.detach())  # type: ignore[arg-type]


@pytest.mark.parametrize("probability", [0.0, 1e-9, 1 - 1e-9, 1.0])
def test_the_ends_are_finite(probability: float) -> None:
    out = dropout(torch.ones(10_000), probability, True)
    assert bool(out.isfinite().all())
    if probability in (0, 1):
        assert torch.equal(out, torch.full_like(out, 1 - probability))


def test_one_seed_gives_one_draw_and_evaluation_none() -> None:
    layer = Dropout(0.5)
    torch.manual_seed(3)
    one = layer(torch.ones(50))
    torch.manual_seed(3)
    assert torch.equal(layer(torch.ones(50)), one)
    assert torch.equal(layer.eval()(torch.ones(50)), torch.ones(50))


def test_a_models_own_are_replaced_in_place() -> None:
    shared = nn.Dropout(0.2)
    model = nn.Sequential(shared, nn.Sequential(shared, nn.Dropout1d(0.1)))
    before = [type(module) for module in model.modules()]
    replace_dropout(model)
    assert [type(module) for module in model.modules()] == [
        Dropout if kind is nn.Dropout else kind for kind in before
    ]
    assert model[0] is shared
    assert shared.p == 0.2


def test_a_shared_mask_is_one_for_all_frames() -> None:
    torch.manual_seed(0)
    out = SharedDropout(0.5)(torch.ones(3, 20, 8))
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert set(out.unique().tolist()) == {0.0, 2.0}
