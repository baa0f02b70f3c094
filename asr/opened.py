"""A model on disk or on the hub, opened on a device, and the search that its language model was tuned for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch

from asr.card import CARD, own_folder
from asr.config import from_mapping
from asr.decode import BeamSearchConfig
from asr.decode.hotwords import HOTWORD_WEIGHT, weighed
from asr.model import CTCModel, load_model, own_language_model, published_model
from asr.names import shown
from lm.errors import InputError
from lm.folder import LanguageModel, Units
from lm.tables import LN10

WEIGHTS = {"word": "lm_weight", "character": "char_weight", "piece": "piece_weight"}
"""Setting of the beam search that weighs each unit's n-grams."""


def tuned_search(
    language_model: LanguageModel | None, overrides: Mapping[str, Any]
) -> tuple[LanguageModel | None, BeamSearchConfig | None]:
    """What to search with: the part of the language model that `loquela lm tune` chose, and its settings.

    Both None, for greedy decoding, where there is neither a model nor a setting.

    Args:
        overrides: settings that differ from the tuned ones. Besides those of `BeamSearchConfig`: ``units`` (``both``,
            ``word``, ``character`` or ``piece``), and ``hotword_weight``, of the hotwords whose own is None. A weight
            of a part that was not chosen brings it back; a closed vocabulary brings back the words, as a list.
    Raises:
        InputError: an unknown setting, a part that the language model lacks, or a weight of one.
    """
    if language_model is None and not overrides:
        return None, None
    _check_weights(language_model, overrides)
    values = {**((language_model.decoding if language_model else None) or {}), **overrides}
    units, weight = values.pop("units", "both"), values.pop("hotword_weight", HOTWORD_WEIGHT)
    if units not in get_args(Units):
        raise InputError(f"decoding option units must be one of {', '.join(get_args(Units))}; got {units!r}.")
    if language_model and units != "both" and "units" not in overrides:
        others = [name for unit, name in WEIGHTS.items() if unit != units and getattr(language_model, unit)]
        if any(map(overrides.get, others)) or (units != "word" and values.get("open_vocabulary") is False):
            units = "both"
            values.update({name: overrides.get(name, 0.0) for name in others})
    if values.get("hotwords"):
        values["hotwords"] = weighed(values["hotwords"], weight)
    config = from_mapping(BeamSearchConfig, values, "decoding.")
    return language_model.only(units) if language_model else None, config


def _check_weights(language_model: LanguageModel | None, overrides: Mapping[str, Any]) -> None:
    """Refuse a weight of n-grams that are not there, and a bonus that repays them."""
    if language_model is None:
        useless, lacks = [*WEIGHTS.values(), "word_bonus"], "there is no language model"
    else:
        useless = [name for unit, name in WEIGHTS.items() if getattr(language_model, unit) is None]
        lacks = f"language model {shown(language_model.path)} has no such n-grams"
    for name in filter(overrides.get, useless):
        raise InputError(
            f"decoding option {name} is {overrides[name]}, but {lacks}. Leave it out, or give one that has them."
        )


def device_named(name: str) -> str:
    """A device of torch's; ``auto`` is a GPU where there is one.

    Raises:
        InputError: it is no device, or there is none of that kind or number.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device {name!r} is none that torch knows. Give cpu, cuda or auto.") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError("there is no GPU that torch can use. Leave out the device, or give cpu.")
        if (device.index or 0) >= torch.cuda.device_count():
            raise InputError(
                f"device {name!r}: torch can use {torch.cuda.device_count()} GPU(s), numbered from 0. "
                "Give one of these, or cuda."
            )
    elif device.type != "cpu":
        try:
            torch.zeros(1, device=device).cpu()
        except Exception as error:  # each backend raises its own
            raise InputError(
                f"device {name!r} is none that torch can use here. Give cpu, cuda or auto."
            ) from error
    return name


@dataclass(frozen=True)
class OpenedModel:
    """A model ready for use, and the language model that belongs to it."""

    model: CTCModel
    source: str
    language_model: Path | None = None
    decoding: dict[str, Any] = field(default_factory=dict)
    """Settings of the beam search that came with a published language model."""


def open_model(name: str | Path, language: str = "", device: str = "auto") -> OpenedModel:
    """A model by folder or hub name.

    Args:
        language: for published models with adapters or a vocabulary for each language (MMS).
        device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.

    Raises:
        InputError: there is no such model, or a file of it is missing or altered.
    """
    device = device_named(device)
    path = Path(name)
    if folder := own_folder(path):
        return OpenedModel(load_model(folder, device), str(folder), own_language_model(folder))
    if path.is_dir() and not (path / "config.json").is_file():
        raise InputError(
            f"model {name}: neither {CARD} nor transformers' config.json in it. "
            "Give the folder that training wrote."
        )
    model, beside = published_model(name, language)
    model = model.to(device)
    if beside is None:
        return OpenedModel(model, str(name))
    # pyctcdecode's names for the same weights; it counts what is unknown in log10, and no spelling.
    decoding = {
        "lm_weight": beside.alpha,
        "word_bonus": beside.beta,
        "unknown_offset": beside.unk_score_offset * LN10,
        "spelling_weight": 0.0,
        "score_end": beside.score_boundary,
    }
    return OpenedModel(model, str(name), beside.model, decoding)
