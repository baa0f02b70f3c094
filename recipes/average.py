"""Average the last checkpoints of an experiment: ``python -m recipes.average EXP --last 5 --out DIR``.

The weights' mean over the last evaluations (Popel and Bojar 2018, sec. 4.10; Le et al. 2023 average 10). Train with
trainer.keep_checkpoints as large; the moving average that trainings ship by default does much the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from asr.card import model_folder
from asr.checkpoint import whole_checkpoints
from asr.cli import guarded
from asr.model import load_model, save_model
from lm.errors import InputError
from st.model import is_translator, load_translator, save_translator


def main() -> int:
    """Parse, average, write."""
    parser = argparse.ArgumentParser(prog="python -m recipes.average", description=__doc__)
    parser.add_argument("exp", type=Path, help="experiment folder of a recogniser or translator")
    parser.add_argument("--last", type=int, default=5, help="how many checkpoints (default: 5)")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    args = parser.parse_args()

    found = whole_checkpoints(args.exp / "checkpoints")[-args.last :]
    if args.last < 1 or len(found) < args.last:
        raise InputError(
            f"{args.exp} has {len(found)} whole checkpoints; --last is {args.last}. "
            "Give a number from 1 to that, or train with trainer.keep_checkpoints as large."
        )
    total = {name: value.double() for name, value in load_file(found[0] / "weights.safetensors").items()}
    for folder in found[1:]:
        for name, value in load_file(folder / "weights.safetensors").items():
            total[name] += value.double()
    source = model_folder(args.exp)
    facts = {"averaged": [folder.name for folder in found], "of": str(args.exp)}
    if is_translator(source):
        translator = load_translator(source)
        take(translator, total, len(found))
        save_translator(translator, args.out, facts=facts)
    else:
        recogniser = load_model(source)
        take(recogniser, total, len(found))
        save_model(recogniser, args.out, facts=facts)
    print(f"mean of {', '.join(folder.name for folder in found)} -> {args.out}")
    return 0


def take(model: nn.Module, total: dict[str, Tensor], count: int) -> None:
    """Give a model the mean of the weights whose sum is ``total``."""
    own = model.state_dict()
    if total.keys() != own.keys():
        raise InputError(
            "what was trained holds more than the model. Average what finetune_ctc, train_mt or train_st left."
        )
    model.load_state_dict({name: (value / count).to(own[name].dtype) for name, value in total.items()})


if __name__ == "__main__":
    sys.exit(guarded(main))
