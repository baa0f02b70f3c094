"""Encoders kept in folders of ours: written by pretraining, read as the beginning of another training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from asr.card import WEIGHTS, check_files, model_folder, read_card, write_card, write_model_folder
from asr.checkpoint import write_tensors
from asr.encoder.base import Encoder, layers_hint
from lm.errors import InputError

OBJECTIVE = "objective.safetensors"
PREFIXES = {
    "encoder": "",
    "recogniser": "encoder.",
    "segmenter": "encoder.",
    "speech translator": "recogniser.encoder.",
}
"""What the names of the encoder's weights begin with in each kind of folder."""


@dataclass(frozen=True, kw_only=True)
class SavedConfig:
    """An encoder that some training has written."""

    source: Path
    """Experiment or model folder of ours."""
    shrink: bool = False
    """Its matrices at the size of new ones: see `load_saved_weights`."""


def save_encoder(
    encoder: Encoder, folder: str | Path, *, facts: Mapping[str, Any], objective: Mapping[str, Tensor]
) -> None:
    """Write an encoder, whole or not at all; a folder that exists is replaced.

    Args:
        facts: how it came about.
        objective: weights of the layers that pretraining needs beside it, to go on with.
    """
    with write_model_folder(folder) as partial:
        write_tensors(encoder.state_dict(), partial / WEIGHTS)
        write_tensors(objective, partial / OBJECTIVE)
        write_card(
            partial, (WEIGHTS, OBJECTIVE), holds="encoder", encoder=encoder.config(), facts=dict(facts)
        )


def saved_config(source: str | Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration of the encoder in an experiment or model folder of ours, with some settings changed.

    Args:
        changes: a conformer's settings; of the other kinds fields of transformers' configuration, by themselves
            or in ``config``, and what else `asr.encoder.pretrained` takes.
    Raises:
        InputError: the folder is none or holds no speech encoder, or ``narrowband`` is to change, which weights are
            adapted to once.
    """
    config: dict[str, Any] = _open(source)[1]["encoder"]
    if config["kind"] == "conformer":
        return {**config, **changes}
    if "narrowband" in changes and changes["narrowband"] != config.get("narrowband", False):
        raise InputError(
            f"encoder {source}: narrowband is {config.get('narrowband', False)} since its training began. "
            "Set it where a published encoder is read."
        )
    own = ("config", "preprocessor", "gradient_checkpointing", "narrowband")
    changed = {**config, **{name: value for name, value in changes.items() if name in own}}
    for name in own[:2]:
        changed[name] = {**config.get(name, {}), **changes.get(name, {})}
    changed["config"] |= {name: value for name, value in changes.items() if name not in own}
    return changed


def load_saved_weights(
    encoder: Encoder, source: str | Path, changes: Mapping[str, Any], *, shrink: bool = False
) -> None:
    """Give an encoder the weights of a folder of ours, whatever of `PREFIXES` it holds; layers besides are left out.

    Args:
        encoder: a new one.
        changes: those that `saved_config` was given; for messages.
        shrink: scale each matrix down to the size that it has in the new encoder, where it has grown. A step of
            Muon is of one size whatever the matrix, so that one which training made large learns slowly; the
            directions, which are what was learned, stay (after Ash and Adams 2020, who shrink and perturb).
    Raises:
        InputError: the folder holds no speech encoder, a file is missing or altered, or the weights are of another
            architecture.
    """
    folder, card = _open(source)
    check_files(folder, card)
    tensors = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
    prefix = PREFIXES[_holds(card)]
    tensors = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    own = encoder.state_dict()
    given = [name for name in changes if name != "config"] + [*changes.get("config", {})]
    among = f" among {', '.join(given)}" if given else ""
    for name in sorted(own.keys() | tensors.keys()):
        theirs, ours = tensors.get(name), own.get(name)
        if theirs is None or ours is None or theirs.shape != ours.shape:
            raise InputError(
                f"encoder {source}: its {name} is {_shape(theirs)}, and by the settings would be {_shape(ours)}. "
                f"Leave out the settings of size{among}: they come from the folder."
                f"{layers_hint(given)}"
            )
    if shrink:
        tensors = {
            name: value * (_size(own[name]) / _size(value)).clamp(max=1) if value.ndim == 2 else value
            for name, value in tensors.items()
        }
    encoder.load_state_dict(tensors)


def _open(source: str | Path) -> tuple[Path, dict[str, Any]]:
    """Model folder and card of what has a speech encoder.

    Raises:
        InputError: it has none.
    """
    folder = model_folder(source)
    card = read_card(folder)
    if _holds(card) not in PREFIXES:
        raise InputError(
            f"{source} holds a {_holds(card)}, which has no speech encoder. "
            "Give the folder of a pretraining, a recogniser, a speech translator or a segmenter."
        )
    return folder, card


def _holds(card: Mapping[str, Any]) -> str:
    return str(card.get("holds", "recogniser"))


def _size(matrix: Tensor) -> Tensor:
    """Root of the mean square, above 0."""
    return matrix.float().square().mean().sqrt().clamp(min=1e-12)


def saved_objective(source: str | Path) -> dict[str, Tensor]:
    """Weights of the objective's layers in a pretraining folder; empty where there are none."""
    path = model_folder(source) / OBJECTIVE
    return dict(load_file(path)) if path.is_file() else {}


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"of shape {tuple(tensor.shape)}"
