"""Where a recogniser hears letters, on a recording of any length: what lies between are pauses."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.arrays import FloatArray
from asr.opened import open_model
from asr.segment.windowed import WindowedTrack
from asr.tokenizer import silent_labels
from lm.errors import InputError

if TYPE_CHECKING:
    import torch

    from asr.model import CTCModel


def recognised_track(model: CTCModel, *, window_s: float = 12.0, step_s: float = 10.0) -> WindowedTrack:
    """1 where the best label is a letter, 0 where it is the blank, the word boundary or a silent label.

    Windows as in SHAS's repository: 10 s with a second of context on both sides.
    """
    silent = silent_labels(model.tokenizer.surfaces)

    def hear(samples: FloatArray) -> NDArray[np.bool_]:
        (emissions,) = model.emissions([samples])  # (T, C)
        return ~np.isin(emissions.argmax(axis=1), silent)

    return WindowedTrack(hear, model.grid, window_s=window_s, step_s=step_s)


def load_track(source: str | Path, device: str | torch.device = "cpu") -> WindowedTrack:
    """The track of a recogniser.

    Args:
        source: its folder or hub name.
    Raises:
        InputError: none is named, or there is no such.
    """
    if not source:
        raise InputError(
            "ctc-dac and ctc-hybrid take the pauses from a recogniser, and there is none. "
            "Give its folder as --segmenter-model, or choose dac or hybrid."
        )
    return _track(str(source), str(device))


@lru_cache(maxsize=4)
def _track(source: str, device: str) -> WindowedTrack:
    return recognised_track(open_model(source, device=device).model)
