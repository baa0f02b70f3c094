"""Average the last checkpoints of an experiment: ``python -m recipes.average EXP --last 5 --out DIR``.

The weights' mean over the last evaluations (Popel and Bojar 2018, sec. 4.10; Le et al. 2023 average 10). Train with
trainer.keep_checkpoints as large; the moving average that trainings ship by default does much the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from asr.card import model_folder
from asr.checkpoint import whole_checkpoints
from asr.cli import guarded
from asr.config import from_mapping, read_yaml
from asr.encoder.lora import LoraSettings, add_adapters, plain_state
from asr.model import CTCModel, load_model, save_model
from asr.names import given_path
from lm.errors import InputError
from st.hub.decoder import HubDecoder, HubDecoderSource
from st.model import SpeechTranslator, is_translator, load_translator, save_translator


def main() -> int:
    """Parse, average, write."""
    parser = argparse.ArgumentParser(prog="python -m recipes.average", description=__doc__)
    parser.add_argument("exp", type=given_path, help="experiment folder of a recogniser or translator")
    parser.add_argument("--last", type=int, default=5, help="how many checkpoints (default: 5)")
    parser.add_argument("--out", type=given_path, required=True, help="model folder to write")
    args = parser.parse_args()

    found = whole_checkpoints(args.exp / "checkpoints")[-args.last :]
    if args.last < 1 or len(found) < args.last:
        raise InputError(
            f"{args.exp} has {len(found)} whole checkpoints; --last is {args.last}. "
            "Give a number from 1 to that, or train with trainer.keep_checkpoints as large."
        )
    source = model_folder(args.exp)
    facts = {"averaged": [folder.name for folder in found], "of": str(args.exp)}
    weights = [folder / "weights.safetensors" for folder in found]
    settings = read_yaml(args.exp / "config.yaml")
    if is_translator(source):
        translator = load_translator(source)
        translator.load_state_dict(mean(as_trained(load_translator(source), settings), weights))
        save_translator(translator, args.out, facts=facts)
    else:
        recogniser = load_model(source)
        recogniser.load_state_dict(mean(as_trained(load_model(source), settings), weights))
        save_model(recogniser, args.out, facts=facts)
    print(f"mean of {', '.join(folder.name for folder in found)} -> {args.out}")
    return 0


def as_trained(model: nn.Module, settings: dict[str, Any]) -> nn.Module:
    """A plain model with the adapters that it was trained with, which its checkpoints keep apart.

    Args:
        settings: of the training.
    """
    recogniser = model.recogniser if isinstance(model, SpeechTranslator) else model
    lora = from_mapping(LoraSettings, settings.get("lora", {}))
    if lora.rank and isinstance(recogniser, CTCModel):
        add_adapters(recogniser.encoder, lora)
    if isinstance(model, SpeechTranslator) and isinstance(model.decoder, HubDecoder):
        hub = from_mapping(HubDecoderSource, settings["hub_decoder"])
        if hub.lora.rank:
            model.decoder.adapt(hub.lora)
    return model


def mean(model: nn.Module, paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of a model's weights, adapters added; each checkpoint's own, as products have no mean of factors."""
    total: dict[str, Tensor] = {}
    for path in paths:
        weights = load_file(path)
        if weights.keys() != model.state_dict().keys():
            raise InputError(
                "what was trained holds more than the model. Average what train_mt, train_st or finetune_ctc with "
                "joint.weight=0 left."
            )
        model.load_state_dict(weights)
        for name, value in plain_state(model).items():
            total[name] = total.get(name, 0) + value.double()
    own = plain_state(model)
    return {name: (value / len(paths)).to(own[name].dtype) for name, value in total.items()}


if __name__ == "__main__":
    sys.exit(guarded(main))
