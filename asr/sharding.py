"""Weights, gradients and optimiser state divided among processes (FSDP2), for encoders too large for one GPU."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from asr.encoder.base import Encoder
from lm.errors import InputError


def shard(model: nn.Module, processes: int, device: torch.device) -> None:
    """Divide a model, in place: each layer of its encoder is gathered only while it is computed.

    Raises:
        InputError: there is one process only, or layers are dropped at random: each process draws for its
            own batch, and one that dropped a layer would wait for those that did not.
    """
    if processes == 1:
        raise InputError(
            "trainer.shard divides a model among processes, and there is one. Start several: "
            "accelerate launch --multi_gpu --num_processes 2 -m recipes.NAME CONFIG "
            "(on CPUs with ACCELERATE_USE_CPU=true in front of it; --cpu starts one)."
        )
    encoders = [module for module in model.modules() if isinstance(module, Encoder)]
    if any(encoder.layer_drop for encoder in encoders):
        raise InputError(
            "trainer.shard needs every layer in every process. Set encoder.layer_drop=0 "
            "(encoder.config.layerdrop=0 for a published encoder)."
        )
    mesh = init_device_mesh(device.type, (processes,))
    model.to(device)
    for encoder in encoders:
        for layer in encoder.blocks():
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def local(tensor: Tensor) -> Tensor:
    """This process's part of a divided tensor; any other tensor as it is."""
    part: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return part


def whole(tensor: Tensor) -> Tensor:
    """All of a divided tensor; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divided(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor divided as ``like`` is; every process must hold the same one."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor  # such as a count of steps
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def divided_state(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`divided` of each tensor of a state, by name."""
    return {name: divided(value, like[name]) for name, value in state.items()}
