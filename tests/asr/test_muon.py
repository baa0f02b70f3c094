"""Muon against torch's own, and which parameters it gets."""

from __future__ import annotations

import pytest
import torch

from asr.muon import COEFFICIENTS, ITERATIONS, Muon, orthogonalise
from asr.optimizers import build_optimizers
from asr.trainer_config import TrainerConfig


def test_singular_values_come_near_one() -> None:
    matrices = torch.randn(3, 12, 30, generator=torch.manual_seed(0))
    for shaped in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalise(shaped))
        assert values.min() > 0.5
        assert values.max() < 1.3


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16), (16, 31), (16, 32)])
@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-6, 0.0])
def test_a_long_matrix_takes_the_same_steps_through_its_gram_matrix(
    shape: tuple[int, int], smallest: float
) -> None:
    parts = torch.linalg.svd(torch.randn(2, *shape, generator=torch.manual_seed(2)), full_matrices=False)
    values = torch.linspace(1, smallest, min(shape)) ** 3
    matrices = (parts.U * values) @ parts.Vh

    # In 64 bits, by the iteration as it is written down.
    x = matrices.double()
    x = x / torch.linalg.matrix_norm(x, keepdim=True)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        x = a * x + (b * x @ x.mT + c * (x @ x.mT) @ (x @ x.mT)) @ x

    torch.testing.assert_close(orthogonalise(matrices).double(), x, atol=1e-3, rtol=0)


def test_steps_agree_with_torchs_muon() -> None:
    draw = torch.manual_seed(1)
    shapes = [(8, 24), (8, 24), (24, 8), (16, 16)]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]
    theirs = [torch.nn.Parameter(each.detach().clone()) for each in ours]
    optimizer = Muon(ours, lr=1e-2, weight_decay=0.1, precision=torch.bfloat16)
    peer = torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=draw)
            other.grad = one.grad.clone()
        optimizer.step()
        peer.step()
    for one, other in zip(ours, theirs, strict=True):
        # An update is 0.2 x 0.01 an element; bfloat16 rounds it to about a hundredth.
        torch.testing.assert_close(one, other, atol=2e-4, rtol=0)


def test_a_matrix_without_gradient_stays() -> None:
    still, moving = (torch.nn.Parameter(torch.ones(4, 4)) for _ in range(2))
    moving.grad = torch.eye(4)
    Muon([still, moving], lr=0.1, weight_decay=0.1).step()
    assert torch.equal(still, torch.ones(4, 4))
    assert not torch.equal(moving, torch.ones(4, 4))


def test_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="takes matrices"):
        Muon([torch.nn.Parameter(torch.ones(4))], lr=0.1)


class HeadedTask:
    """A model with a matrix, a convolution, a norm and an output layer."""

    def __init__(self) -> None:
        self.head = torch.nn.Linear(4, 2)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(4, 4), torch.nn.Conv1d(4, 4, 3), torch.nn.LayerNorm(4), self.head
        )

    def head_parameters(self) -> list[torch.nn.Parameter]:
        return list(self.head.parameters())


@pytest.mark.parametrize(("name", "matrices"), [("adamw", []), ("muon", ["0.weight"])])
def test_muon_gets_the_hidden_matrices_and_nothing_is_left_out(name: str, matrices: list[str]) -> None:
    task = HeadedTask()
    config = TrainerConfig(optimizer=name)  # type: ignore[arg-type]
    optimizers = build_optimizers(task, config, torch.float32)  # type: ignore[arg-type]
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    held = [[names[id(p)] for group in each.param_groups for p in group["params"]] for each in optimizers]
    assert sorted(name for row in held for name in row) == sorted(names.values())
    assert [row for row, each in zip(held, optimizers, strict=True) if isinstance(each, Muon)] == (
        [matrices] if matrices else []
    )


def test_weight_decay_pulls_matrices_alone_and_betas_are_in_their_order() -> None:
    config = TrainerConfig(weight_decay=0.3, beta1=0.8, beta2=0.95)
    (adamw,) = build_optimizers(HeadedTask(), config, torch.float32)  # type: ignore[arg-type]
    matrices, rest = adamw.param_groups
    assert {parameter.ndim for parameter in matrices["params"]} == {2, 3}
    assert {parameter.ndim for parameter in rest["params"]} == {1}
    assert (matrices["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)
    assert matrices["betas"] == rest["betas"] == (0.8, 0.95)
