"""Convolutions as products of matrices: torch's own values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asr.encoder.convolution import strided_convolution


@pytest.mark.parametrize(
    ("width", "stride"), [(10, 5), (3, 2), (2, 2), (1, 1), (3, 1), (7, 3), (2, 3)], ids=str
)
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch(width: int, stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(4, 6, width, stride, bias=bias)
    frames = torch.randn(3, 23, 4, requires_grad=True)
    theirs = conv(frames.transpose(1, 2)).transpose(1, 2)
    ours = strided_convolution(frames, conv)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    toward = torch.randn_like(theirs)
    learned = [frames, *conv.parameters()]
    for one, other in zip(
        torch.autograd.grad(ours, learned, toward), torch.autograd.grad(theirs, learned, toward), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
