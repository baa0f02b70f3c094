"""Segmenters by name and by configuration."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.segment.energy import EnergyConfig, split_energy
from asr.segment.fixed import FixedConfig, split_fixed
from asr.segment.framed import Track
from asr.segment.hybrid import (
    CtcDacConfig,
    CtcHybridConfig,
    DacConfig,
    HybridConfig,
    split_at_pauses,
)
from asr.segment.limits import check_limit
from asr.segment.shas import PdacConfig, PstrmConfig, PthrConfig, split_probabilities
from asr.segment.sound import Segmenter
from asr.segment.vad import VadConfig, VadTrack, split_speech
from lm.errors import InputError

if TYPE_CHECKING:
    import torch

    from asr.model import CTCModel

SegmenterConfig = (
    VadConfig
    | FixedConfig
    | EnergyConfig
    | DacConfig
    | HybridConfig
    | CtcDacConfig
    | CtcHybridConfig
    | PdacConfig
    | PstrmConfig
    | PthrConfig
)

SEGMENTERS: Mapping[str, type[SegmenterConfig]] = {
    "vad": VadConfig,
    "fixed": FixedConfig,
    "energy": EnergyConfig,
    "dac": DacConfig,
    "hybrid": HybridConfig,
    "ctc-dac": CtcDacConfig,
    "ctc-hybrid": CtcHybridConfig,
    "pdac": PdacConfig,
    "pstrm": PstrmConfig,
    "pthr": PthrConfig,
}
"""Name of a segmenter to its settings."""

CLASSIFIED = ("pdac", "pstrm", "pthr")
"""Those that cut the probabilities of a trained classifier."""

RECOGNISED = ("ctc-dac", "ctc-hybrid")
"""Those that cut where a recogniser hears no letter."""


def build_segmenter(
    config: SegmenterConfig,
    track: Track | str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    recogniser: CTCModel | None = None,
) -> Segmenter:
    """The segmenter of a configuration.

    Args:
        track: what those of `CLASSIFIED` and `RECOGNISED` cut: the folder of a classifier or of a recogniser, or
            anything of a track's form; empty for the classifier that comes with the package, or ``recogniser``.
        device: where the model of a folder computes.
        recogniser: one that is at hand.
    Raises:
        InputError: the folder is none, or there is no recogniser for one of `RECOGNISED`.
    """
    match config:
        case FixedConfig():
            return partial(split_fixed, max_segment_s=config.max_segment_s)
        case VadConfig():
            return partial(split_speech, config=config)
        case EnergyConfig():
            return partial(split_energy, config=config)
        case DacConfig() | HybridConfig():
            heard = VadTrack(config.mode, config.frame_ms)
            return partial(split_at_pauses, track=heard, config=config)
        case CtcDacConfig() | CtcHybridConfig():
            if track is None or isinstance(track, (str, Path)):
                from asr.segment import recognised

                if recogniser is not None and not track:
                    track = recognised.recognised_track(recogniser)
                else:
                    track = recognised.load_track(track or "", device)
            return partial(split_at_pauses, track=track, config=config)
        case PdacConfig() | PstrmConfig() | PthrConfig():
            if track is None or isinstance(track, (str, Path)):
                # torch takes a second to import; the other segmenters do without.
                from asr.segment.classified import load_track

                track = load_track(track or "", device)
            return partial(split_probabilities, track=track, config=config)


def settings_for(name: str, settings: SegmenterConfig | None = None, **changes: Any) -> SegmenterConfig:
    """A segmenter's settings by its name.

    Args:
        settings: if they are this segmenter's own, they are the ground; of another's, ``max_segment_s`` is.
        changes: fields by name; None leaves one as it is.
    Raises:
        InputError: there is no such segmenter, it has no such field, or one that counts is given a fraction.

    >>> settings_for("dac", max_segment_s=14.0).max_segment_s
    14.0
    """
    if name not in SEGMENTERS:
        near = difflib.get_close_matches(name, SEGMENTERS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"no segmenter {name!r}.{hint} Choose one of {', '.join(SEGMENTERS)}.")
    kind = SEGMENTERS[name]
    known = {field.name: field.default for field in fields(kind)}
    values: dict[str, Any] = dict(known)
    if settings is not None and type(settings) is kind:
        values = {field: getattr(settings, field) for field in known}
    elif settings is not None:
        changes = {"max_segment_s": settings.max_segment_s} | changes
    given = {field: value for field, value in changes.items() if value is not None}
    for field, value in given.items():
        if field not in known:
            raise InputError(f"segmenter {name} has no setting {field!r}, only {', '.join(known)}.")
        if isinstance(known[field], int) and not isinstance(value, int):
            raise InputError(f"`{field}` must be a whole number; got {value}.")
    if "min_segment_s" in known and "max_segment_s" in given:
        # A shortest segment that was made for longer ones shrinks with them, and leaves room for what is kept around.
        longest = given["max_segment_s"]
        check_limit(longest)
        shortest = values["min_segment_s"] * min(1.0, longest / values["max_segment_s"])
        room = longest - 2 * given.get("keep_s", values["keep_s"])
        given = {"min_segment_s": shortest if shortest < room else shortest * room / longest} | given
    return kind(**values | given)
