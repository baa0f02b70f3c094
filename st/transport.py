"""Optimal transport between the states of two encoders: the distance, its plan, the alignment in it.

`sinkhorn_divergence` is what training lowers; to look at what goes where, and when each word is said:
`soft_alignment(transport_plan(x, y, x_lengths, y_lengths))`.

The distance is the debiased Sinkhorn divergence (Feydy et al. 2019) between the uniform measures on
two padded sequences, with one more coordinate for the position (Le et al. 2023, sec. 3.2).

Where the blur is small against the distances, as between unnormalised states, Sinkhorn's iterations
need tens of thousands of rounds. Here the blur is lowered in steps, and each step is solved by
Newton's method on the dual of the shorter side (its Hessian is as large as the text), with a damping
that grows where a step fails. Potentials are kept inside the costs, so that what is exponentiated
is small: kernel form where it matters, the log domain where it would underflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asr.features import frame_mask
from lm.errors import InputError

NOWHERE = 1e30
"""Cost of moving mass to a place that is padding."""
LARGEST = 1e14
"""Length of a state beyond which costs would not be small beside `NOWHERE`, or no numbers at all."""
SMALLEST = -35.0
"""Exponents below this are raised to it: numbers that float32 still holds at full speed."""


@dataclass(frozen=True, kw_only=True)
class TransportConfig:
    """The distance; the values are those of Le et al. 2023.

    Normalised or not is another distance: states that leave a layer norm lie ``sqrt(D)`` from the
    origin, where the position hardly counts and this blur hardly blurs.
    """

    blur: float = 0.05
    """Length below which states are not told apart; the entropy's weight is its square."""
    position_weight: float = 1.0
    """Length of the coordinate that goes from 0 at the first state to this at the last."""
    normalise: bool = False
    """Divide each state by its length first."""
    tolerance: float = 1e-3
    """Share of the mass that may be out of place when the iteration ends."""
    max_steps: int = 200
    """Newton steps at one blur before the iteration ends anyway."""

    def __post_init__(self) -> None:
        for name, sound, wanted in (
            # Beyond, float32 has no digits left for the distances.
            ("blur", 1e-6 <= self.blur <= 100, "a length from 1e-6 to 100"),
            ("position_weight", 0 <= self.position_weight < math.inf, "a length from 0"),
            ("tolerance", 0 < self.tolerance < 1, "a share between 0 and 1"),
            ("max_steps", self.max_steps >= 1, "a number from 1"),
        ):
            if not sound:
                raise InputError(f"transport.{name} is {getattr(self, name)}. Give {wanted}.")


@dataclass(frozen=True)
class Plan:
    """A solved transport problem."""

    cost: Tensor
    """The entropic cost: the dual's value, (N,)."""
    mass: Tensor
    """How much goes from each state to each, (N, S, T); padding moves nothing."""


def sinkhorn_divergence(
    x: Tensor, y: Tensor, x_lengths: Tensor, y_lengths: Tensor, config: TransportConfig | None = None
) -> Tensor:
    """Distance of each pair of sequences, (N,): at least 0, and 0 for equal sets.

    In float32 whatever the encoder's precision, or float64 for states that are.

    Its gradient is that of the plans held fixed, which is exact where they are optimal (the envelope
    theorem): the iterations are not differentiated through.

    Args:
        x: states, padded with anything finite, (N, S, D).
        y: states, padded with anything finite, (N, T, D).
        x_lengths: states of each sequence, (N,).
        y_lengths: (N,).
    Raises:
        ValueError: shapes that do not belong together, an empty sequence, or states that are no numbers or too large.
    """
    config = config or TransportConfig()
    x, y, a, b = _measures(x, y, x_lengths, y_lengths, config)
    distances: Tensor = _Divergence.apply(x, y, a, b, config)  # type: ignore[no-untyped-call]
    return distances


@torch.no_grad()
def entropic_costs(
    x: Tensor, y: Tensor, x_lengths: Tensor, y_lengths: Tensor, config: TransportConfig | None = None
) -> Tensor:
    """Cost of the plan from each ``x`` to its ``y``, (N,), entropy included: of many pairs, a divergence's other two
    terms (`self_costs`) need not be computed for each.

    Arguments and errors as `sinkhorn_divergence`'s.
    """
    config = config or TransportConfig()
    x, y, a, b = _measures(x, y, x_lengths, y_lengths, config)
    return _solve(_costs(x, y), a, b, config).cost


@torch.no_grad()
def self_costs(x: Tensor, x_lengths: Tensor, config: TransportConfig | None = None) -> Tensor:
    """The same from each ``x`` to itself, (N,): `sinkhorn_divergence` is the cost of a pair less the mean of both."""
    config = config or TransportConfig()
    x, _, a, _ = _measures(x, x, x_lengths, x_lengths, config)
    return _within(x, a, config).cost


@torch.no_grad()
def transport_plan(
    x: Tensor, y: Tensor, x_lengths: Tensor, y_lengths: Tensor, config: TransportConfig | None = None
) -> Tensor:
    """How much of each state of ``x`` goes to each of ``y``, (N, S, T); each plan sums to 1.

    Arguments and errors as `sinkhorn_divergence`'s.
    """
    config = config or TransportConfig()
    x, y, a, b = _measures(x, y, x_lengths, y_lengths, config)
    return _solve(_costs(x, y), a, b, config).mass


def soft_alignment(plan: Tensor) -> Tensor:
    """Where in ``y`` each state of ``x`` goes on average, from 0 to T - 1, (N, S); 0 for padding.

    Args:
        plan: of `transport_plan`, (N, S, T).
    """
    places = torch.arange(plan.shape[2], device=plan.device, dtype=plan.dtype)
    return (plan @ places) / plan.sum(dim=2).clamp(min=1e-12)


class _Divergence(torch.autograd.Function):
    """Value and gradient in one pass: the plans are at hand, and need not be kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, a: Tensor, b: Tensor, config: TransportConfig) -> Tensor:
        across, within_x, within_y = (
            _solve(_costs(x, y), a, b, config),
            _within(x, a, config),
            _within(y, b, config),
        )
        # d/dx of sum P_ij |x_i - y_j|^2 / 2, less half of the same within x, where both ends move.
        ctx.save_for_backward(within_x.mass @ x - across.mass @ y, within_y.mass @ y - across.mass.mT @ x)
        return across.cost - (within_x.cost + within_y.cost) / 2

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        for_x, for_y = ctx.saved_tensors
        grad = grads[0][:, None, None]
        return grad * for_x, grad * for_y, None, None, None


def _measures(
    x: Tensor, y: Tensor, x_lengths: Tensor, y_lengths: Tensor, config: TransportConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points with their positions, padding at the origin, and weights that sum to 1 over what is real."""
    if x.ndim != 3 or y.ndim != 3 or len(x) != len(y) or x.shape[2] != y.shape[2]:
        raise ValueError(
            f"`x` must be (N, S, D) and `y` (N, T, D); got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    masks = []
    for name, states, lengths in (("x", x, x_lengths), ("y", y, y_lengths)):
        if lengths.shape != (len(states),) or int(lengths.min()) < 1 or int(lengths.max()) > states.shape[1]:
            raise ValueError(
                f"`{name}_lengths` must hold {len(states)} numbers from 1 to {states.shape[1]}; "
                f"got {lengths.tolist()}. A sequence without states has no distance: leave it out."
            )
        mask = frame_mask(lengths, states.shape[1])  # (N, S)
        # NaN passes no comparison, and what is too large for the square of its length is infinite.
        sound = states.detach().to(torch.promote_types(states.dtype, torch.float32)).norm(dim=2) < LARGEST
        broken = (~sound & mask).any(dim=1)
        if bool(broken.any()):
            raise ValueError(
                f"`{name}` has states that are no numbers, or too large to be compared, in sequence "
                f"{int(broken.nonzero()[0, 0])} of the batch. "
                "The encoder has diverged: lower the learning rate, or look at that recording."
            )
        masks.append(mask)
    points = [
        _placed(states.to(torch.promote_types(states.dtype, torch.float32)), mask, lengths, config)
        for states, mask, lengths in zip((x, y), masks, (x_lengths, y_lengths), strict=True)
    ]
    # Distances stay when both are moved alike, and float32 has more digits for them near the origin.
    weights = [mask.to(points[0].dtype) / mask.sum(dim=1, keepdim=True) for mask in masks]
    centre = (points[0].detach() * weights[0][..., None]).sum(dim=1, keepdim=True)
    x, y = ((each - centre) * mask[..., None] for each, mask in zip(points, masks, strict=True))
    return x, y, weights[0], weights[1]


def _placed(states: Tensor, mask: Tensor, lengths: Tensor, config: TransportConfig) -> Tensor:
    # Padding must be finite even where its gradient is 0, or 0 times infinity would spread.
    states = states.masked_fill(~mask[..., None], 0.0)
    if config.normalise:
        states = states / states.norm(dim=2, keepdim=True).clamp(min=1e-8)
    steps = torch.arange(states.shape[1], device=states.device) / (lengths - 1).clamp(min=1)[:, None]
    place = config.position_weight * steps.to(states.dtype)  # (N, S)
    return torch.cat([states, place[..., None]], dim=2)


def _costs(x: Tensor, y: Tensor) -> Tensor:
    """Half the squared distances, (N, S, T)."""
    products = torch.bmm(x, y.mT)
    return ((x.square().sum(dim=2)[:, :, None] + y.square().sum(dim=2)[:, None]) / 2 - products).clamp_(min=0)


def _solve(costs: Tensor, a: Tensor, b: Tensor, config: TransportConfig) -> Plan:
    """The entropic plan from weights ``a`` to ``b``."""
    if costs.shape[1] < costs.shape[2]:
        plan = _solve(costs.mT.contiguous(), b, a, config)
        return Plan(plan.cost, plan.mass.mT)
    problem = _Problem(costs, a, b, config)
    # Each epsilon is a quarter of the one before, and each is solved well before the next: near the end,
    # mass that is out of place is moved one entry a step, at the beginning all of it at once. Every problem
    # begins where its own costs ask for it, so that its neighbours in the batch change nothing.
    last = config.blur**2
    costs = costs * (a > 0)[..., None] * (b > 0)[:, None]
    levels = (costs.amax(dim=(1, 2)).clamp(min=last) / last).log().div(math.log(4)).ceil().sub(1).clamp(min=0)
    for level in range(int(levels.max()), -1, -1):
        problem.solve(last * 4 ** levels.clamp(max=level), config.tolerance * (1 if level == 0 else 2))
    return problem.plan()


class _Problem:
    """Newton's method on the dual of the columns; the rows' potentials are always optimal for them.

    With ``q_ij`` the share of row i that goes to column j, the dual's gradient is what the columns lack,
    ``b - sum_i a_i q_ij``, and its negative Hessian ``(diag(sum_i a_i q_ij) - q' diag(a) q) / epsilon``.
    """

    def __init__(self, costs: Tensor, a: Tensor, b: Tensor, config: TransportConfig) -> None:
        self.max_steps = config.max_steps
        self.a, self.b = a, b
        self.real = b > 0
        self.log_b = b.log().masked_fill(~self.real, 0.0)
        self.residual = costs.masked_fill(~self.real[:, None], NOWHERE)
        """The costs less both potentials."""
        self.rows, self.columns = torch.zeros_like(a), torch.zeros_like(b)
        self.damping = torch.full_like(b[:, :1], 1.0)
        self.shares = costs

    def solve(self, epsilon: Tensor, tolerance: float) -> None:
        """Improve the potentials for ``epsilon`` (N,) until the mass out of place is below ``tolerance``."""
        self.shares, rows = self._rows(self.residual, epsilon)
        self._move(rows, None)
        for _ in range(self.max_steps):
            given = torch.bmm(self.a[:, None], self.shares)[:, 0]  # (N, T)
            lacking = (self.b - given) * self.real
            open_ = lacking.abs().sum(dim=1) >= tolerance  # (N,)
            if not bool(open_.any()):
                break
            step = self._step(given, lacking) * epsilon[:, None]
            shares, rows = self._rows(self.residual - step[:, None], epsilon)
            gain = (self.a * rows).sum(dim=1) + (self.b * step).sum(dim=1)
            hoped = (lacking * step).sum(dim=1)
            better, good = open_ & (gain >= 0.1 * hoped), gain >= 0.4 * hoped
            damping = torch.where(
                better[:, None],
                torch.where(good[:, None], 0.3 * self.damping, self.damping),
                4 * self.damping,
            ).clamp_(1e-6, 16.0)
            # What is solved waits for its neighbours unchanged.
            self.damping = torch.where(open_[:, None], damping, self.damping)
            self.shares = torch.where(better[:, None, None], shares, self.shares)
            self._move(rows * better[:, None], step * better[:, None])

    def plan(self) -> Plan:
        """What was found."""
        mass = self.a[..., None] * self.shares * self.real[:, None]
        cost = (self.a.double() * self.rows.double()).sum(1) + (self.b.double() * self.columns.double()).sum(
            1
        )
        return Plan(cost.to(mass.dtype), mass)

    def _step(self, given: Tensor, lacking: Tensor) -> Tensor:
        """Newton's step over epsilon."""
        # A little more on the diagonal: potentials may all grow alike, and so may those of any part of the
        # plan that has no mass in common with the rest.
        diagonal = given + (self.damping + 1e-6) * self.b + ~self.real
        weighted = self.a.sqrt()[..., None] * self.shares
        curvature = torch.diag_embed(diagonal) - torch.bmm(weighted.mT, weighted)
        factor, failed = torch.linalg.cholesky_ex(curvature)
        step = torch.cholesky_solve(lacking[..., None], factor)[..., 0] * self.real
        return torch.where((failed == 0)[:, None], step, lacking / diagonal)

    def _rows(self, residual: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of each row, and what its potential gains."""
        exponents = torch.addcmul(self.log_b[:, None], residual, -1 / epsilon[:, None, None])  # (N, S, T)
        top = exponents.amax(dim=2, keepdim=True)
        kernel = exponents.sub_(top).clamp_(min=SMALLEST).exp_()
        sums = kernel.sum(dim=2, keepdim=True)
        return kernel.div_(sums), -epsilon[:, None] * (top + sums.log())[..., 0]

    def _move(self, rows: Tensor, columns: Tensor | None) -> None:
        self.rows = self.rows + rows
        self.residual = self.residual - rows[..., None]
        if columns is not None:
            self.columns = self.columns + columns
            self.residual = self.residual - columns[:, None]


def _within(x: Tensor, a: Tensor, config: TransportConfig) -> Plan:
    """The plan from a measure to itself: one potential, whose averaged updates converge in a few rounds."""
    epsilon = config.blur**2
    costs = _costs(x, x)
    costs.diagonal(dim1=1, dim2=2).zero_()
    real = a > 0
    log_a = a.log().masked_fill(~real, -NOWHERE)
    # In units of epsilon. Begin where every state stays at home, as it does when all lie far apart.
    potential = log_a / -2
    scaled = costs.div_(-epsilon)
    for _ in range(config.max_steps):
        update = -torch.logsumexp(scaled + (log_a + potential)[:, None], dim=2)
        # The share of a state's mass that is out of place.
        open_ = ((potential - update).abs() * real).amax(dim=1) >= config.tolerance  # (N,)
        if not bool(open_.any()):
            break
        potential = torch.where(open_[:, None], (potential + update) / 2, potential)
    potential = potential.masked_fill(~real, 0.0)
    mass = scaled.add_(potential[:, None]).add_(potential[..., None]).exp_() * a[..., None] * a[:, None]
    # The dual's value; the last term is 0 where the mass is exactly 1.
    cost = 2 * (a.double() * potential.double()).sum(dim=1) - (mass.sum(dim=(1, 2), dtype=torch.float64) - 1)
    return Plan((epsilon * cost).to(mass.dtype), mass)
