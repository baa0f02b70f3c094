"""Convolutions over frames side by side: torch's own values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asr.encoder.convolution import (
    depthwise_convolution,
    long_convolution,
    plane_convolution,
    quicken_long_convolutions,
    strided_convolution,
)


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
    agree(ours, theirs, [frames, *conv.parameters()])


@pytest.mark.parametrize("length", [15, 23])
@pytest.mark.parametrize("padding", [0, 7])
def test_a_depthwise_convolution_is_torchs(length: int, padding: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(6, 6, 15, padding=padding, groups=6)
    frames = torch.randn(3, length, 6, requires_grad=True)
    theirs = conv(frames.transpose(1, 2)).transpose(1, 2)
    agree(depthwise_convolution(frames, conv), theirs, [frames, *conv.parameters()])


@pytest.mark.parametrize("size", [(3, 3), (7, 80), (8, 81), (24, 10)], ids=str)
def test_a_convolution_of_a_plane_is_torchs(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 5, 3, stride=2)
    plane = torch.randn(2, *size, requires_grad=True)
    agree(plane_convolution(plane, conv), conv(plane[:, None]), [plane, *conv.parameters()])


@pytest.mark.parametrize("length", [1, 31, 100, 301])
@pytest.mark.parametrize(("width", "groups"), [(128, 4), (33, 1), (32, 8)], ids=str)
def test_a_long_convolution_is_torchs(length: int, width: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(8, 16, width, padding=width // 2, groups=groups)
    frames = torch.randn(3, 8, length, requires_grad=True)
    theirs = conv(frames)
    agree(long_convolution(frames, conv.weight, conv.bias), theirs, [frames, *conv.parameters()])
    model = nn.Sequential(conv)
    quicken_long_convolutions(model)
    assert torch.equal(model(frames), long_convolution(frames, conv.weight, conv.bias))


def test_padding_does_not_reach_a_long_convolution_and_bfloat16_is_torchs() -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(8, 8, 128, padding=64, groups=4)
    frames = torch.randn(1, 8, 150)
    alone = long_convolution(frames, conv.weight, conv.bias)[..., :150]
    padded = long_convolution(nn.functional.pad(frames, (0, 300)), conv.weight, conv.bias)[..., :150]
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(long_convolution(frames, conv.weight, conv.bias), conv(frames))


@pytest.mark.parametrize("setting", [{"stride": 2}, {"dilation": 2}, {"padding": 0}, {"kernel_size": 31}])
def test_other_convolutions_stay_as_they_are(setting: dict[str, int]) -> None:
    conv = nn.Conv1d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 64, "padding": 32, **setting})
    quicken_long_convolutions(conv)
    assert conv._conv_forward is not long_convolution


def agree(ours: torch.Tensor, theirs: torch.Tensor, learned: list[torch.Tensor]) -> None:
    """The same values and gradients."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    toward = torch.randn_like(theirs)
    for one, other in zip(
        torch.autograd.grad(ours, learned, toward), torch.autograd.grad(theirs, learned, toward), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * max(1.0, float(other.abs().max())))
