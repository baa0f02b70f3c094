"""Optimal transport: against the definition, geomloss, and what a distance must obey."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as strategies
from torch import Tensor

from lm.errors import InputError
from st.transport import TransportConfig, sinkhorn_divergence, soft_alignment, transport_plan

WIDE = TransportConfig(blur=0.5, position_weight=0.5, normalise=True, tolerance=1e-5)


def states(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lengths(*values: int) -> Tensor:
    return torch.tensor(values)


def spoken(num_texts: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Texts of 20 states, and speech that says each state four times with noise; the true places last."""
    text = states(num_texts, 20, 64, seed=seed)
    places = torch.arange(80) // 4
    speech = text[:, places] + 0.1 * states(num_texts, 80, 64, seed=seed + 1)
    return speech, text, lengths(*[80] * num_texts), lengths(*[20] * num_texts), places


def by_definition(x: Tensor, y: Tensor, blur: float, position_weight: float) -> Tensor:
    """Debiased divergence of one unpadded pair in float64: Sinkhorn's iterations, 3,000 of them."""

    def placed(states: Tensor) -> Tensor:
        place = torch.arange(len(states)).double() / max(1, len(states) - 1)
        return torch.cat([states.double(), position_weight * place[:, None]], dim=1)

    def cost(x: Tensor, y: Tensor) -> Tensor:
        costs = (x[:, None] - y[None]).square().sum(dim=2) / 2
        with torch.no_grad():
            f, g, epsilon = torch.zeros(len(x)).double(), torch.zeros(len(y)).double(), blur**2
            for _ in range(3000):
                f = -epsilon * (torch.logsumexp((g - costs) / epsilon, dim=1) - torch.tensor(len(y)).log())
                g = -epsilon * (
                    torch.logsumexp((f[:, None] - costs) / epsilon, dim=0) - torch.tensor(len(x)).log()
                )
            plan = ((f[:, None] + g - costs) / epsilon).exp() / len(x) / len(y)
            value = f.mean() + g.mean()
        return value + (plan * costs).sum() - (plan * costs).sum().detach()

    x, y = placed(x), placed(y)
    return cost(x, y) - cost(x, x) / 2 - cost(y, y) / 2


@pytest.mark.parametrize(("blur", "normalise"), [(0.5, True), (0.2, True), (2.0, False)])
def test_value_and_gradient_are_those_of_the_definition(blur: float, normalise: bool) -> None:
    x, y = states(2, 9, 6), states(2, 5, 6, seed=1)
    if normalise:
        x, y = (torch.nn.functional.normalize(each, dim=2) for each in (x, y))
    x.requires_grad_()
    y.requires_grad_()
    config = TransportConfig(blur=blur, position_weight=0.7, tolerance=1e-5)
    found = sinkhorn_divergence(x, y, lengths(9, 9), lengths(5, 5), config)
    expected = torch.stack([by_definition(x[n], y[n], blur, 0.7) for n in range(2)])
    assert found.detach().tolist() == pytest.approx(expected.detach().tolist(), abs=2e-5)
    ours = torch.autograd.grad(found.sum(), (x, y))
    theirs = torch.autograd.grad(expected.sum(), (x, y))
    for our, their in zip(ours, theirs, strict=True):
        assert torch.allclose(our, their, atol=2e-4 * float(their.abs().max()))


def test_it_equals_geomloss() -> None:
    geomloss = pytest.importorskip("geomloss")
    x = torch.nn.functional.normalize(states(3, 40, 16), dim=2)
    y = torch.nn.functional.normalize(states(3, 15, 16, seed=1), dim=2)
    found = sinkhorn_divergence(x, y, lengths(40, 40, 40), lengths(15, 15, 15), WIDE)
    place = [torch.linspace(0, 0.5, size)[None, :, None].expand(3, size, 1) for size in (40, 15)]
    theirs = geomloss.SamplesLoss("sinkhorn", p=2, blur=0.5, scaling=0.95, backend="tensorized")(
        torch.cat([x, place[0]], dim=2), torch.cat([y, place[1]], dim=2)
    )
    assert found.tolist() == pytest.approx(theirs.tolist(), abs=1e-4)


@pytest.mark.parametrize("config", [WIDE, TransportConfig(), TransportConfig(normalise=True)])
def test_padding_changes_nothing(config: TransportConfig) -> None:
    x, y, *_ = spoken(4)
    x_lengths, y_lengths = lengths(80, 50, 33, 7), lengths(20, 20, 9, 2)
    x = x.masked_fill((torch.arange(80) >= x_lengths[:, None])[..., None], 1e4)
    y = y.masked_fill((torch.arange(20) >= y_lengths[:, None])[..., None], -1e4)
    x.requires_grad_()
    together = sinkhorn_divergence(x, y, x_lengths, y_lengths, config)
    gradient = torch.autograd.grad(together.sum(), x)[0]
    for n in range(4):
        alone_x = x[n : n + 1, : x_lengths[n]].detach().requires_grad_()
        alone = sinkhorn_divergence(
            alone_x, y[n : n + 1, : y_lengths[n]], x_lengths[n : n + 1], y_lengths[n : n + 1], config
        )
        assert float(together[n].detach()) == pytest.approx(float(alone.detach()), rel=1e-5, abs=1e-5)
        alone_gradient = torch.autograd.grad(alone.sum(), alone_x)[0][0]
        largest = float(alone_gradient.abs().max())
        assert torch.allclose(gradient[n, : x_lengths[n]], alone_gradient, atol=1e-3 * largest)
        assert not gradient[n, x_lengths[n] :].any()


@pytest.mark.parametrize("config", [WIDE, TransportConfig(), TransportConfig(normalise=True)])
def test_neighbours_of_other_scales_do_not_change_the_gradient(config: TransportConfig) -> None:
    x_lengths, y_lengths = lengths(60, 31, 15, 44, 52, 27), lengths(14, 9, 2, 12, 5, 14)
    scales = torch.tensor([0.1, 0.3, 0.5, 1, 2, 4])[:, None, None]
    x, y = (scales * states(6, 60, 32)).requires_grad_(), scales * states(6, 14, 32, seed=1)
    together = torch.autograd.grad(sinkhorn_divergence(x, y, x_lengths, y_lengths, config).sum(), x)[0]
    for n in range(6):
        near = x[n : n + 1, : x_lengths[n]], y[n : n + 1, : y_lengths[n]], x_lengths[n : n + 1]
        alone = torch.autograd.grad(sinkhorn_divergence(*near, y_lengths[n : n + 1], config).sum(), x)[0]
        assert float((together[n] - alone[n]).norm()) < 1e-4 * float(alone[n].norm())


@given(
    seed=strategies.integers(0, 1000),
    sizes=strategies.tuples(strategies.integers(1, 30), strategies.integers(1, 30)),
    blur=strategies.sampled_from([0.05, 0.5, 5.0]),
    normalise=strategies.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_it_is_a_distance(seed: int, sizes: tuple[int, int], blur: float, normalise: bool) -> None:
    config = TransportConfig(blur=blur, normalise=normalise)
    x, y = states(1, sizes[0], 8, seed=seed), states(1, sizes[1], 8, seed=seed + 1)
    x_lengths, y_lengths = lengths(sizes[0]), lengths(sizes[1])
    there = float(sinkhorn_divergence(x, y, x_lengths, y_lengths, config))
    back = float(sinkhorn_divergence(y, x, y_lengths, x_lengths, config))
    # Up to what the solver leaves undone: with its own tolerance of 1e-3 it can be some 6e-5 off at a blur of 0.5.
    exact = replace(config, tolerance=1e-4)
    itself = float(sinkhorn_divergence(x, x, x_lengths, x_lengths, exact))
    assert there >= -1e-5
    assert there == pytest.approx(back, rel=1e-3, abs=1e-4)
    # The potentials grow with the square of the blur, and so does their rounding.
    assert itself == pytest.approx(0, abs=2e-5 * max(1, blur))


def test_a_small_blur_finds_the_best_assignment() -> None:
    x, y = 10 * states(1, 6, 32), 10 * states(1, 6, 32, seed=1)
    plan = transport_plan(x, y, lengths(6), lengths(6), TransportConfig(position_weight=0))[0]
    costs = torch.cdist(x[0], y[0]).square() / 2
    best = min(permutations(range(6)), key=lambda order: float(costs[range(6), order].sum()))
    assert plan.argmax(dim=1).tolist() == list(best)
    assert plan.sum(dim=1).tolist() == pytest.approx([1 / 6] * 6, abs=1e-4)
    assert plan.sum(dim=0).tolist() == pytest.approx([1 / 6] * 6, abs=1e-3)


@pytest.mark.parametrize("config", [TransportConfig(), TransportConfig(normalise=True), WIDE])
def test_the_alignment_is_the_true_one_padded_or_not(config: TransportConfig) -> None:
    speech, text, speech_lengths, text_lengths, places = spoken()
    speech = torch.nn.functional.pad(speech, (0, 0, 0, 20), value=7.0)
    text = torch.nn.functional.pad(text, (0, 0, 0, 5), value=-7.0)
    plan = transport_plan(speech, text, speech_lengths, text_lengths, config)
    assert not plan[:, 80:].any()
    assert not plan[:, :, 20:].any()
    assert torch.equal(plan[:, :80].argmax(dim=2), places.expand(3, 80))
    if config is not WIDE:
        assert torch.allclose(soft_alignment(plan)[:, :80], places.float().expand(3, 80), atol=0.1)


def test_descending_it_brings_two_sets_together() -> None:
    x, y = states(1, 12, 4).requires_grad_(), states(1, 12, 4, seed=1)
    config = TransportConfig(position_weight=0)
    for _ in range(60):
        loss = sinkhorn_divergence(x, y, lengths(12), lengths(12), config)
        x = (x - 6 * torch.autograd.grad(loss.sum(), x)[0]).detach().requires_grad_()
    assert float(loss.detach()) < 0.01


def test_sequences_of_one_state_are_squared_distances() -> None:
    x, y = states(3, 1, 5), states(3, 1, 5, seed=1)
    found = sinkhorn_divergence(x, y, lengths(1, 1, 1), lengths(1, 1, 1))
    assert found.tolist() == pytest.approx(((x - y).square().sum(dim=(1, 2)) / 2).tolist(), rel=1e-4)


def test_half_precision_is_lifted() -> None:
    x, y = states(1, 6, 4).bfloat16(), states(1, 4, 4, seed=1).bfloat16()
    found = sinkhorn_divergence(x, y, lengths(6), lengths(4))
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(
        float(sinkhorn_divergence(x.float(), y.float(), lengths(6), lengths(4)))
    )


@pytest.mark.parametrize(
    ("x", "y", "x_lengths", "y_lengths", "says"),
    [
        (states(2, 4, 3), states(2, 4, 5), lengths(4, 4), lengths(4, 4), r"\(2, 4, 3\) and \(2, 4, 5\)"),
        (states(2, 4, 3), states(2, 4, 3), lengths(4, 0), lengths(4, 4), "leave it out"),
        (states(2, 4, 3), states(2, 4, 3), lengths(4, 4), lengths(4, 5), "`y_lengths`.*from 1 to 4"),
        (
            states(2, 4, 3) * torch.tensor(float("nan")),
            states(2, 4, 3),
            lengths(4, 4),
            lengths(4, 4),
            "no numbers",
        ),
        (
            states(2, 4, 3),
            states(2, 4, 3) * 1e25,
            lengths(4, 4),
            lengths(4, 4),
            "`y`.*too large to be compared",
        ),
        (
            states(2, 4, 3) * 1e38,
            states(2, 4, 3),
            lengths(4, 4),
            lengths(4, 4),
            "`x`.*too large to be compared",
        ),
    ],
)
def test_what_has_no_distance_is_refused(
    x: Tensor, y: Tensor, x_lengths: Tensor, y_lengths: Tensor, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        sinkhorn_divergence(x, y, x_lengths, y_lengths)


def test_numbers_in_the_padding_may_be_none() -> None:
    x = states(1, 5, 3)
    x[0, 4] = float("nan")
    assert bool(torch.isfinite(sinkhorn_divergence(x, states(1, 4, 3), lengths(4), lengths(4))).all())


def test_large_states_have_a_distance() -> None:
    # Far beyond what any encoder makes, and still below where costs would not be numbers.
    x, y = states(1, 5, 3) * 1e12, states(1, 4, 3) * 1e12
    assert bool(torch.isfinite(sinkhorn_divergence(x, y, lengths(5), lengths(4))).all())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blur", 0.0), ("blur", -1.0), ("blur", float("nan")), ("blur", float("inf")),
        ("blur", 1e-25), ("blur", 1e6),
        ("position_weight", -0.1), ("position_weight", float("nan")),
        ("tolerance", 1.0), ("tolerance", float("nan")), ("max_steps", 0),
    ],
)  # fmt: skip
def test_settings_without_a_distance_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"transport\.{name} is {value}\. Give "):
        TransportConfig(**{name: value})  # type: ignore[arg-type]
