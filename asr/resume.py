"""Which checkpoint a training goes on from, and what of the training has changed since."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from asr.checkpoint import all_checkpoints, checkpoint_of, is_whole
from asr.fingerprint import CHANGEABLE, Differences, described, differences
from asr.sharding import divided
from asr.watchdog import Watch, collapsed
from lm.errors import InputError


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from."""

    folder: Path
    state: dict[str, Any]
    """What it says beside its tensors."""
    changed: Differences
    """Settings that are others now, all of those that may be."""
    until: list[Path]
    """Whole checkpoints up to this one, oldest first."""
    collapsed: list[Path]
    """Those after it, of a model that had collapsed."""


def find_checkpoint(
    exp: Path,
    fingerprint: Mapping[str, Any],
    usual: Mapping[str, Any],
    watches: Sequence[Watch],
    say: Callable[[str], None],
) -> Found | None:
    """The last whole checkpoint of an experiment; after a collapse, the last one before it. None where there is none.

    Args:
        fingerprint: what a checkpoint must have been trained with.
        usual: what its settings are where nothing is said.
        say: told of checkpoints that are passed over.
    Raises:
        InputError: it comes from another training, none is whole, or this one had collapsed from its beginning.
    """
    there = all_checkpoints(exp / "checkpoints")
    if not there:
        return None
    whole = [folder for folder in there if is_whole(folder)]
    if not whole:
        raise InputError(
            f"{exp / 'checkpoints'} holds no whole checkpoint: of {', '.join(each.name for each in there)} files are "
            f"missing or altered. Copy them again, or remove them and {exp / 'model'} to begin anew."
        )
    folder = whole[-1]
    if damaged := [each.name for each in there if each > folder]:
        say(
            f"passed over in {exp / 'checkpoints'}: {', '.join(damaged)}, of which files are missing or altered"
        )
    state, changed = _read(folder, fingerprint, usual)
    if refused := {name: pair for name, pair in changed.items() if not name.endswith(CHANGEABLE)}:
        raise InputError(
            f"{exp} holds checkpoints of a training with other settings: {described(refused)}. "
            "Give another exp, or remove its checkpoints to begin anew."
        )
    if collapsed(watches, state["history"]):
        folder = checkpoint_of(exp / "checkpoints", state.get("sound", 0))
        if folder not in whole:
            raise InputError(
                f"{exp} holds a training that had collapsed, and no checkpoint from before. "
                "Give another exp, or remove its checkpoints to begin anew."
            )
        state, changed = _read(folder, fingerprint, usual)
        say(f"going back to update {state['update']}, before the collapse")
    place = whole.index(folder) + 1
    return Found(folder, state, changed, whole[:place], whole[place:])


def _read(
    folder: Path, fingerprint: Mapping[str, Any], usual: Mapping[str, Any]
) -> tuple[dict[str, Any], Differences]:
    """What a checkpoint says, and what of its settings is another now."""
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    theirs = state.pop("fingerprint")
    # What an earlier version did not note is as it was.
    noted = {name: theirs.get(name, value) for name, value in fingerprint.items()}
    return state, differences(noted, fingerprint, usual)


def load_optimizers(folder: Path, optimizers: Sequence[torch.optim.Optimizer]) -> bool:
    """Give optimisers the state that a checkpoint holds, divided as what they move; whether it is of these weights."""
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    moved = [[p for group in each.param_groups for p in group["params"]] for each in optimizers]
    for name, value in load_file(folder / "optimizer.safetensors").items():
        number, index, key = name.split(".", 2)
        like = next(iter(moved[int(number)][int(index) :]), None)
        if like is None or (value.ndim and value.shape != like.shape):
            return False
        states[int(number)].setdefault(int(index), {})[key] = divided(value, like)
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return True


def optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The state of optimisers by name, as `load_optimizers` reads it."""
    return {
        f"{number}.{index}.{name}": value
        for number, each in enumerate(optimizers)
        for index, values in each.state_dict()["state"].items()
        for name, value in values.items()
    }
