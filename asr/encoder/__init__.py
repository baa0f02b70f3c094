"""Speech encoders: the only rooms that know how one is made."""

from __future__ import annotations

from typing import Any

from asr.encoder.base import Encoder, EncoderOutput
from asr.encoder.conformer import ConformerConfig, ConformerEncoder
from asr.encoder.saved import load_saved_weights, saved_config
from lm.errors import InputError

__all__ = ["Encoder", "EncoderOutput", "build_encoder"]


def build_encoder(config: dict[str, Any]) -> Encoder:
    """Make an encoder of its configuration, with fresh weights unless it names a checkpoint.

    Args:
        config: ``kind`` and that kind's own settings: ``conformer`` (see `ConformerConfig`), a kind of
            transformers' (see `asr.encoder.pretrained`), or ``saved`` with the ``source``, an experiment
            or model folder of ours, and perhaps ``shrink`` (see `load_saved_weights`); its settings are changed
            by the others that are given.
    Raises:
        InputError: unknown kind or setting, or weights that do not fit.
    """
    from asr.config import from_mapping

    if config.get("kind") == "saved":
        changes = {name: value for name, value in config.items() if name not in ("kind", "source", "shrink")}
        if not config.get("source"):
            raise InputError("encoder saved: `source` is missing. Give the folder that training wrote.")
        encoder = build_encoder(saved_config(config["source"], changes))
        load_saved_weights(encoder, config["source"], shrink=bool(config.get("shrink", False)))
        return encoder
    settings = {name: value for name, value in config.items() if name != "kind"}
    if config.get("kind", "conformer") == "conformer":
        return ConformerEncoder(from_mapping(ConformerConfig, settings, "encoder."))
    # transformers takes seconds to import; a conformer does not need it.
    from asr.encoder.pretrained import build_transformers_encoder

    return build_transformers_encoder(config)
