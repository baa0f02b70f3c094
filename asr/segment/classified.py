"""The probabilities of a trained classifier of frames, on a recording of any length."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asr.arrays import FloatArray
from asr.segment.classifier import PACKAGED, FrameClassifier, load_classifier
from asr.segment.windowed import WindowedTrack
from lm.errors import InputError


def classified_track(
    model: FrameClassifier, *, window_s: float = 20.0, step_s: float = 10.0
) -> WindowedTrack:
    """The probability that each frame lies in a segment.

    Args:
        window_s: length of a window; that of the training.
        step_s: from one to the next: each frame is heard in two.
    """

    @torch.inference_mode()
    def hear(samples: FloatArray) -> NDArray[np.float64]:
        device = model.head.weight.device
        waveform = torch.from_numpy(samples)[None].to(device)
        odds, num_frames = model(waveform, torch.tensor([len(samples)], device=device))
        found: NDArray[np.float64] = odds[0, : int(num_frames)].double().sigmoid().cpu().numpy()
        return found

    return WindowedTrack(hear, model.grid, window_s=window_s, step_s=step_s)


def load_track(source: str | Path = "", device: str | torch.device = "cpu") -> WindowedTrack:
    """The track of a trained classifier.

    Args:
        source: folder of `recipes.train_segmenter`; empty for the one that comes with the package.
    Raises:
        InputError: there is none.
    """
    if not source and not PACKAGED.is_dir():
        raise InputError(
            "this copy of loquela has no segmenter model in asr/segment/model. Install it again, or name a trained one."
        )
    return _track(str(source or PACKAGED), str(device))


@lru_cache(maxsize=4)
def _track(source: str, device: str) -> WindowedTrack:
    return classified_track(load_classifier(source, device))
