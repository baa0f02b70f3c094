"""Convolutions over frames whose values lie side by side, (N, T, D).

torch's own take (N, D, T), and the layer norm after each turns that round and back. Here the norm reads
them as they are, and the windows of a convolution, cut where its stride ends, are matrices that are there
already.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.encoder.grids import strided_length
from asr.encoder.padding import masked_group_norm


def convolve(layer: nn.Module, hidden: Tensor, num_frames: Tensor) -> Tensor:
    """What a convolutional layer of transformers gives: convolution, perhaps a norm, activation.

    Args:
        layer: with ``conv``, ``activation`` and perhaps ``layer_norm``.
        hidden: (N, T, D).
        num_frames: valid frames of each utterance after the convolution, for a norm over time, (N,).
    Returns:
        (N, T', D').
    """
    assert isinstance(layer.conv, nn.Conv1d)
    hidden = strided_convolution(hidden, layer.conv)
    norm = getattr(layer, "layer_norm", None)
    if isinstance(norm, nn.GroupNorm):
        hidden = masked_group_norm(hidden, num_frames, norm)
    elif isinstance(norm, nn.Module):
        hidden = norm(hidden)
    out: Tensor = layer.activation(hidden)  # type: ignore[operator]
    return out


def strided_convolution(frames: Tensor, conv: nn.Conv1d) -> Tensor:
    """``conv``, which has neither padding nor dilation nor groups, of (N, T, D), as (N, T', D')."""
    width, stride = conv.kernel_size[0], conv.stride[0]
    num, _, wide = frames.shape
    size = strided_length(frames.shape[1], conv)
    weight = conv.weight.permute(2, 1, 0)  # (width, D, D')
    out = None
    tap = 0
    while tap < width:
        if tap + stride <= width:  # the frames from one window's beginning to the next's
            rows = frames[:, tap : tap + size * stride].reshape(num, size, stride * wide)
            block = weight[tap : tap + stride].flatten(0, 1)
            tap += stride
        else:
            rows = frames[:, tap : tap + (size - 1) * stride + 1 : stride]
            block = weight[tap]
            tap += 1
        block = block.expand(num, -1, -1)
        if out is not None:
            # In place, or every block would copy what the ones before it gave; and there autocast casts nothing.
            out = out.baddbmm_(rows.to(out.dtype), block.to(out.dtype))
        elif conv.bias is None:
            out = torch.bmm(rows, block)
        else:
            out = torch.baddbmm(conv.bias, rows, block)
    assert out is not None
    return out


def depthwise_convolution(frames: Tensor, conv: nn.Conv1d) -> Tensor:
    """``conv``, with a group for each channel and stride 1, of (N, T, D), as (N, T', D).

    In two dimensions, of which one is 1, torch takes a frame's values side by side as they are; in one it
    turns them round and back and takes ten times as long on a CPU.
    """
    plane = frames.transpose(1, 2)[:, :, None]  # (N, D, 1, T)
    padding = (0, int(conv.padding[0]))
    out = F.conv2d(plane, conv.weight[:, :, None], conv.bias, padding=padding, groups=conv.groups)
    return out[:, :, 0].transpose(1, 2)


LONG = 32
"""Taps from which a convolution is quicker by way of its spectrum on a CPU."""


def quicken_long_convolutions(model: nn.Module) -> None:
    """Let the convolutions that tell positions (of 128 frames, in groups) be computed by `long_convolution`."""
    for conv in model.modules():
        if isinstance(conv, nn.Conv1d) and (width := conv.kernel_size[0]) >= LONG:
            same = (conv.stride, conv.dilation, conv.padding) == ((1,), (1,), (width // 2,))
            if same and conv.padding_mode == "zeros":
                conv._conv_forward = long_convolution  # type: ignore[method-assign, assignment]


def long_convolution(frames: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution with stride 1 and half its width of zeros on both sides, as torch's to 1e-6 of the values.

    On a CPU and in float32 piece by piece by the Fourier transform (overlap-save): an eighth of the time for the
    positions of a small wav2vec 2.0, half of it for those of the large ones, and linear in the length. Pieces are as
    long as twice the kernel and begin at the same frames whatever follows, so padding changes nothing.

    Args:
        frames: (N, D, T).
        weight: (D', D / groups, width).
    Returns:
        (N, D', T), one more where the width is even.
    """
    num, wide, size = frames.shape
    made, channels, width = weight.shape
    groups = wide // channels
    if frames.device.type != "cpu" or frames.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return F.conv1d(frames, weight, bias, padding=width // 2, groups=groups)
    size += 1 - width % 2
    span = 2 * width
    step = span - width + 1
    pieces = -(-size // step)
    padded = F.pad(frames, (width // 2, pieces * step + width // 2 - size))
    spectra = torch.fft.rfft(padded.unfold(2, span, step).transpose(1, 2))  # (N, pieces, D, frequencies)
    spectra = spectra.reshape(num * pieces, groups, channels, -1).permute(3, 1, 0, 2)
    kernels = torch.fft.rfft(weight, span).view(groups, made // groups, channels, -1).permute(3, 0, 2, 1)
    # Convolutions of networks are correlations: the kernel is not turned round, so its spectrum is conjugate.
    found = torch.matmul(spectra, kernels.conj())  # (frequencies, groups, N pieces, D' / groups)
    found = found.permute(2, 1, 3, 0).reshape(num, pieces, made, -1)
    out: Tensor = torch.fft.irfft(found, span)[..., :step].transpose(1, 2).reshape(num, made, -1)[..., :size]
    return out if bias is None else out + bias[:, None]


def plane_convolution(plane: Tensor, conv: nn.Conv2d) -> Tensor:
    """``conv``, of one channel, 3 wide and with stride 2 both ways, of (N, T, F), as (N, C, T', F').

    The channels of the result lie side by side, as the next convolution reads them fastest.
    """
    rows, columns = ((size - 3) // 2 + 1 for size in plane.shape[1:])
    taps = [
        plane[:, row : row + 2 * rows - 1 : 2, column : column + 2 * columns - 1 : 2]
        for row in range(3)
        for column in range(3)
    ]
    return F.linear(torch.stack(taps, dim=-1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)
