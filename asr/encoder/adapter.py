"""Adapters of one language, two thin layers after each of the encoder's (MMS; Pratap et al. 2024).

A large encoder learns a new language by these and its output layer alone: 2 of the 960 million parameters of MMS 1B.
Unlike low-rank adapters (`asr.encoder.lora`) they stay layers of their own, as in transformers, and need no package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2AttnAdapterLayer

from asr.encoder.base import Encoder
from asr.encoder.transformers_encoder import TransformersEncoder
from lm.errors import InputError


def learn_adapters_alone(encoder: Encoder, width: int, *, anew: bool) -> None:
    """Freeze an encoder but its adapters and what `Encoder.changed_layers` names, in place.

    Args:
        width: of the adapters; MMS has 16. An encoder without any gets new ones, which change nothing until they learn.
        anew: replace those that the encoder brings by new ones.
    Raises:
        InputError: the encoder's layers have no place for adapters, or it brings some of another width.
    """
    layers: list[Any] = encoder.blocks()
    if not isinstance(encoder, TransformersEncoder) or encoder.kind != "wav2vec2" or not _have_place(layers):
        raise InputError(
            "adapter_width: the encoder has no place for adapters after its layers. Those of kind wav2vec2 have, where "
            "do_stable_layer_norm is true, as in MMS and XLS-R. For others there is lora.rank."
        )
    settings = encoder.model.config
    brought = settings.adapter_attn_dim
    if brought not in (None, width):
        raise InputError(
            f"adapter_width is {width}, and the encoder's adapters are {brought} wide. Give {brought}."
        )
    settings.adapter_attn_dim = width
    encoder.requires_grad_(False)
    for layer in layers:
        if layer.adapter_layer is None or anew:
            new: Any = Wav2Vec2AttnAdapterLayer(settings)  # type: ignore[no-untyped-call]
            nn.init.zeros_(new.linear_2.weight)
            nn.init.zeros_(new.linear_2.bias)
            layer.adapter_layer = new
        layer.adapter_layer.requires_grad_(True)
    for layer in encoder.changed_layers():
        layer.requires_grad_(True)


def _have_place(layers: Sequence[nn.Module]) -> bool:
    return all(hasattr(layer, "adapter_layer") for layer in layers)
