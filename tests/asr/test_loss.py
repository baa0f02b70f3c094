"""Losses by their definition."""

from __future__ import annotations

from itertools import groupby, product

import pytest
import torch

from asr.frames import frames_needed
from asr.loss import blank_ratio, consistency_loss, ctc_loss


def test_ctc_loss_sums_every_path() -> None:
    emissions = torch.randn(4, 3, generator=torch.manual_seed(0)).log_softmax(dim=-1)
    paths = [p for p in product(range(3), repeat=4) if [k for k, _ in groupby(p) if k != 0] == [1, 2]]
    by_definition = -torch.stack([emissions[range(4), p].sum() for p in paths]).logsumexp(0)
    loss = ctc_loss(emissions[None], torch.tensor([4]), torch.tensor([[1, 2]]), torch.tensor([2]), blank=0)
    assert loss.item() == pytest.approx(by_definition.item(), abs=1e-5)


def test_padding_does_not_change_the_ctc_loss() -> None:
    emissions = torch.randn(2, 9, 5, generator=torch.manual_seed(0)).log_softmax(dim=-1)
    labels = torch.tensor([[1, 2, 3], [4, 4, 0]])
    frames, counts = torch.tensor([9, 6]), torch.tensor([3, 2])
    together = ctc_loss(emissions, frames, labels, counts, blank=0)
    alone = ctc_loss(emissions[1:, :6], frames[1:], labels[1:, :2], counts[1:], blank=0)
    torch.testing.assert_close(together[1:], alone)


def test_labels_that_their_frames_cannot_hold_teach_nothing_where_asked() -> None:
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels, frames, counts = torch.tensor([[1, 2, 3], [4, 4, 4]]), torch.tensor([4, 4]), torch.tensor([3, 3])
    loss = ctc_loss(logits.log_softmax(dim=-1), frames, labels, counts, blank=0, zero_infinity=True)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[1] == 0
    assert gradient[0].any()
    assert not gradient[1].any()
    assert ctc_loss(logits.log_softmax(dim=-1), frames, labels, counts, blank=0)[1] == torch.inf


def test_consistency_is_the_divergence_both_ways_over_valid_frames() -> None:
    views = torch.randn(2, 5, 4, generator=torch.manual_seed(0)).log_softmax(dim=-1)
    loss = consistency_loss(views, torch.tensor([3, 3]))
    first, second = views[0, :3], views[1, :3]
    torch.testing.assert_close(loss[0], (second.exp() * (second - first)).sum())
    torch.testing.assert_close(loss[1], (first.exp() * (first - second)).sum())


def test_equal_views_cost_nothing_and_the_target_is_held_fixed() -> None:
    view = torch.randn(1, 5, 4, generator=torch.manual_seed(0)).log_softmax(dim=-1)
    torch.testing.assert_close(consistency_loss(view.repeat(2, 1, 1), torch.tensor([5, 5])), torch.zeros(2))
    views = torch.randn(2, 5, 4, requires_grad=True)
    consistency_loss(views.log_softmax(-1), torch.tensor([5, 5]))[0].backward()
    assert views.grad is not None
    assert views.grad[0].any()
    assert not views.grad[1].any()
    with pytest.raises(ValueError, match="two views"):
        consistency_loss(view, torch.tensor([5]))


def test_frames_needed_counts_repeats() -> None:
    assert [frames_needed(labels) for labels in ([], [1], [1, 1], [1, 2, 2, 2])] == [0, 1, 3, 6]


def test_blank_ratio_ignores_padding() -> None:
    emissions = torch.full((1, 4, 2), -10.0)
    emissions[0, 0, 0] = emissions[0, 1, 1] = 0.0
    emissions[0, 2:, 0] = 0.0
    assert blank_ratio(emissions, torch.tensor([2]), blank=0) == 0.5
