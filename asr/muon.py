"""Muon: momentum whose update of each matrix is made orthogonal (Jordan et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; they bring singular values close to 1 in few steps, not exactly to 1."""
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised and brought to the size of AdamW's updates (Liu et al. 2025).

    As ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``, but in the precision that the hardware
    computes (torch's is bfloat16 always, twenty times slower on a CPU that emulates it), and with
    matrices of one shape in one product.

    Args:
        params: matrices.
        lr: of the size that suits AdamW.
        weight_decay: decoupled, times ``lr``.
        momentum: share of the running gradient that is kept.
        precision: of the iteration.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.precision = precision
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(
                        f"Muon takes matrices; got a parameter of shape {tuple(parameter.shape)}. "
                        "Give it to another optimizer."
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Any]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(tuple(parameter.shape), []).append(parameter)
            for shape, parameters in shapes.items():
                grads = [parameter.grad for parameter in parameters]
                running = [self._momentum(parameter) for parameter in parameters]
                torch._foreach_lerp_(running, grads, 1 - group["momentum"])
                updates = torch._foreach_lerp(grads, running, group["momentum"])
                orthogonal = orthogonalise(torch.stack(updates).to(self.precision))
                size = 0.2 * math.sqrt(max(shape))
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(
                    parameters, orthogonal.to(parameters[0].dtype).unbind(), alpha=-group["lr"] * size
                )
        return loss

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        running: Tensor = state["momentum_buffer"]
        return running


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring the singular values of each matrix near 1 by Newton and Schulz's iteration, (K, M, N) -> (K, M, N)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    # No singular value is greater than the Frobenius norm, and the iteration needs them below 1.
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    # Squares of singular values need float32's digits.
    short = x.shape[1] * 2 <= x.shape[2] and x.dtype in (torch.float32, torch.float64)
    x = _through_gram(x) if short else _iterated(x)
    return x.mT if tall else x


def _iterated(x: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _through_gram(x: Tensor) -> Tensor:
    """The same where a matrix is at least twice as long as high: every step is a product of small matrices.

    A step multiplies x by a polynomial p of its Gram matrix g, and so g by p twice; x itself waits for the
    product of all of them. Half the time on a CPU.
    """
    a, b, c = COEFFICIENTS
    gram = x @ x.mT
    whole = torch.eye(gram.shape[1], dtype=x.dtype, device=x.device).expand_as(gram)
    for step in range(ITERATIONS):
        rest = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # p without its constant
        whole = torch.baddbmm(whole, rest, whole, beta=a)
        if step + 1 < ITERATIONS:
            half = torch.baddbmm(gram, rest, gram, beta=a)
            gram = torch.baddbmm(half, half, rest, beta=a)
    return whole @ x
