"""Speech encoders: the only rooms that know how one is made."""

from __future__ import annotations

from typing import Any

from asr.encoder.base import Encoder, EncoderOutput
from asr.encoder.conformer import ConformerConfig, ConformerEncoder
from asr.encoder.saved import SavedConfig, load_saved_weights, saved_config
from lm.errors import InputError

__all__ = ["Encoder", "EncoderOutput", "build_encoder"]


def build_encoder(config: dict[str, Any]) -> Encoder:
    """Make an encoder of its configuration, with fresh weights unless it names a checkpoint.

    Args:
        config: ``kind`` and that kind's own settings: ``conformer`` (see `ConformerConfig`), a kind of
            transformers' (see `asr.encoder.pretrained`), or ``saved`` (see `SavedConfig`), whose settings are
            changed by the others that are given. Where weights are read, ``layers`` does without those after
            the first so many, which is quicker, and may over-fit less where labels are few.
    Raises:
        InputError: unknown kind or setting, weights that do not fit, or not as many layers.
    """
    from asr.config import from_mapping

    if config.get("kind") in ("pretrained", "saved") and "layers" in config:
        encoder = build_encoder({name: value for name, value in config.items() if name != "layers"})
        try:
            encoder.keep_layers(config["layers"])
        except InputError as error:
            raise InputError(f"encoder.layers: {error}") from error
        return encoder
    if config.get("kind") == "saved":
        own = {name: value for name, value in config.items() if name in ("source", "shrink")}
        saved = from_mapping(SavedConfig, own, "encoder.")
        changes = {name: value for name, value in config.items() if name not in ("kind", *own)}
        encoder = build_encoder(saved_config(saved.source, changes))
        load_saved_weights(encoder, saved.source, changes, shrink=saved.shrink)
        return encoder
    settings = {name: value for name, value in config.items() if name != "kind"}
    if config.get("kind", "conformer") == "conformer":
        return ConformerEncoder(from_mapping(ConformerConfig, settings, "encoder."))
    # transformers takes seconds to import; a conformer does not need it.
    from asr.encoder.pretrained import build_transformers_encoder

    return build_transformers_encoder(config)
