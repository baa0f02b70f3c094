"""Low-rank adapters on an encoder's projections (Hu et al. 2022): the only module that knows peft.

A large encoder is fine-tuned on a small GPU by learning two thin matrices beside each frozen one;
what is saved is the sum, a plain encoder that needs peft no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from asr.encoder.base import Encoder
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """Which layers are adapted, and how much."""

    rank: int = 0
    """Columns of the thin matrices; 0 turns adapters off and the whole encoder learns."""
    alpha: int = 16
    """The adapters' output is scaled by ``alpha / rank``."""
    dropout: float = 0.05
    targets: tuple[str, ...] = ()
    """Last parts of the names of the layers; empty takes the attention's projections (WavLM: `FEED_FORWARD`)."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise InputError(f"lora.rank is {self.rank}. Give a number from 0, which turns adapters off.")
        if self.alpha < 1:
            raise InputError(
                f"lora.alpha is {self.alpha}. Give a number from 1: by 0 no adapter would be heard."
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"lora.dropout is {self.dropout}. Give a probability below 1.")


PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj", "linear_q", "linear_k", "linear_v", "linear_out",
               "query_key_value")  # fmt: skip
"""Names of attention's projections in the encoders of the toolkit."""
BYPASSED = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}
"""Layers whose weights a kind of encoder hands to torch without calling them: an adapter beside one is never heard."""
FEED_FORWARD = ("intermediate_dense", "output_dense")
"""What is adapted where attention cannot be."""


def add_adapters(encoder: Encoder, settings: LoraSettings) -> None:
    """Freeze an encoder but what `Encoder.changed_layers` names, and put adapters beside its projections, in place.

    Raises:
        InputError: peft is not installed, or the encoder has no layer of those names, or does not call it.
    """
    try:
        import peft
    except ImportError as error:
        raise InputError("lora.rank needs peft. Install it: pip install 'loquela[lora]'.") from error
    kind = encoder.config()["kind"] if isinstance(encoder, Encoder) else ""  # or the decoder of an MT model
    bypassed = BYPASSED.get(kind, ())
    if deaf := [name for name in settings.targets if name in bypassed]:
        raise InputError(
            f"lora.targets {', '.join(deaf)}: an encoder of kind {kind} computes its attention past these layers, and "
            f"an adapter beside one would change nothing. Give lora.targets=[{', '.join(FEED_FORWARD)}], or none."
        )
    wanted = settings.targets or (FEED_FORWARD if bypassed else PROJECTIONS)
    names = [
        name
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in wanted
    ]
    if not names:
        found = sorted(
            {n.rpartition(".")[2] for n, module in encoder.named_modules() if isinstance(module, nn.Linear)}
        )
        raise InputError(
            f"lora.targets {', '.join(wanted)}: the encoder has no such layer. Choose of {', '.join(found)}."
        )
    config = peft.LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=names
    )
    encoder.requires_grad_(False)
    peft.inject_adapter_in_model(config, encoder)
    for layer in encoder.changed_layers() if isinstance(encoder, Encoder) else ():
        layer.requires_grad_(True)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Weights of a model with each adapter added to the layer it stands beside, by the layers' own names."""
    state = dict(model.state_dict())
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        layer: Any = module
        own = f"{name}.base_layer."
        for key in [key for key in state if key.startswith(f"{name}.")]:
            value = state.pop(key)
            if key == f"{own}weight":
                for adapter in layer.active_adapters:
                    value = value + layer.get_delta_weight(adapter)
            if key.startswith(own):
                state[f"{name}.{key.removeprefix(own)}"] = value
    return state
