"""Losses of the decoder, by definition."""

from __future__ import annotations

import pytest
import torch

from st.loss import distillation, framed, smoothed_cross_entropy


def test_texts_are_opened_and_closed() -> None:
    read, wanted, lengths = framed([[3, 4], [], [5]])
    assert read.tolist() == [[0, 3, 4], [0, 0, 0], [0, 5, 0]]
    assert wanted.tolist() == [[3, 4, 0], [0, 0, 0], [5, 0, 0]]
    assert lengths.tolist() == [3, 1, 2]


def test_smoothing_is_the_mean_over_all_labels() -> None:
    logits = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    wanted, lengths = torch.tensor([[2, 1, 0]]), torch.tensor([2])
    log_probs = logits.log_softmax(dim=-1)[0]
    expected = sum(
        -(0.9 * log_probs[place, wanted[0, place]] + 0.1 * log_probs[place].mean()) for place in (0, 1)
    )
    assert float(smoothed_cross_entropy(logits, wanted, lengths, 0.1)) == pytest.approx(
        float(expected), abs=1e-6
    )


def test_distillation_is_least_where_the_student_agrees() -> None:
    teacher = torch.tensor([0.7, 0.2, 0.1])
    labels, lengths = torch.tensor([[[0, 1, 2]]]), torch.tensor([1])
    shares = teacher.view(1, 1, 3)
    logits = teacher.log().view(1, 1, 3).clone().requires_grad_()
    loss = distillation(logits, labels, shares, lengths)
    assert float(loss.detach()) == pytest.approx(float(-(teacher * teacher.log()).sum()), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.abs().max() < 1e-6


def test_padding_costs_nothing() -> None:
    logits = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    wanted, lengths = torch.zeros(2, 5, dtype=torch.long), torch.tensor([5, 2])
    changed = logits.clone()
    changed[1, 2:] = 100.0
    for smoothing in (0.0, 0.1):
        before = smoothed_cross_entropy(logits, wanted, lengths, smoothing)
        assert torch.equal(before, smoothed_cross_entropy(changed, wanted, lengths, smoothing))
