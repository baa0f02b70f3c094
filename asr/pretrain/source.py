"""The objective beside an encoder, with the weights that its source was pretrained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from asr.encoder import Encoder
from asr.encoder.saved import saved_objective
from asr.pretrain.objectives import ObjectiveConfig, PretrainModel, sized_for
from lm.errors import InputError


def with_objective(
    encoder: Encoder, config: ObjectiveConfig, source: Mapping[str, Any], inside: str = ""
) -> PretrainModel:
    """An encoder with its objective, of the sizes and with the weights that the encoder's source brings.

    Args:
        source: the settings that the encoder was built of; empty begins with new layers and quantiser.
        inside: of the configuration, where the objective's settings are, for messages: ``joint.``, or its top.
    Raises:
        InputError: the source was pretrained with another objective.
    """
    found = source_objective(source, config.kind)
    model = PretrainModel(encoder, sized_for(config, found))
    if not found:
        return model
    own = model.objective.state_dict()
    # The vector of masked frames is there or not as the encoder masks its own: it tells of no objective.
    for name in sorted((own.keys() | found.keys()) - {"own_mask"}):
        ours, theirs = own.get(name), found.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            has = "none" if theirs is None else str(tuple(theirs.shape))
            wants = "none" if ours is None else str(tuple(ours.shape))
            raise InputError(
                f"{source['source']} was pretrained with another objective: for {name} it has {has}, "
                f"{inside}objective.kind={config.kind} with these settings wants {wants}. "
                f"Give its own {inside}objective.kind, or set {inside}fresh_objective=true."
            )
    model.objective.load_state_dict({name: found.get(name, value) for name, value in own.items()})
    return model


def source_objective(source: Mapping[str, Any], kind: str) -> dict[str, Tensor]:
    """Weights that an encoder's source was pretrained with, beside its own; empty where it brings none."""
    if source.get("kind") == "saved":
        return saved_objective(source.get("source", ""))
    if source.get("kind") == "pretrained" and kind == "wav2vec2":
        from asr.encoder.pretrained import published_objective

        return published_objective(source.get("source", ""))
    return {}
