"""Speech encoders: the only rooms that know how one is made."""

from __future__ import annotations

from typing import Any

from asr.encoder.base import Encoder, EncoderOutput
from asr.encoder.conformer import ConformerConfig, ConformerEncoder

__all__ = ["Encoder", "EncoderOutput", "build_encoder"]


def build_encoder(config: dict[str, Any]) -> Encoder:
    """Make an encoder of its configuration, with fresh weights unless it names a checkpoint.

    Args:
        config: ``kind`` and that kind's own settings: ``conformer`` (see `ConformerConfig`), or a
            kind of transformers' (see `asr.encoder.pretrained`).
    Raises:
        InputError: unknown kind or setting.
    """
    from asr.config import from_mapping

    settings = {name: value for name, value in config.items() if name != "kind"}
    if config.get("kind", "conformer") == "conformer":
        return ConformerEncoder(from_mapping(ConformerConfig, settings, "encoder."))
    # transformers takes seconds to import; a conformer does not need it.
    from asr.encoder.pretrained import build_transformers_encoder

    return build_transformers_encoder(config)
