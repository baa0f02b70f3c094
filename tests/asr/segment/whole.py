"""The segmenters' own cutters on a whole track at once, with frames of a second, so that lengths are frames."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from asr.frames import SAMPLE_RATE, FrameGrid
from asr.segment.hybrid import CtcDacConfig, CtcHybridConfig, DividedConfig, WalkedConfig, pause_cutter
from asr.segment.pauses import Span
from asr.segment.shas import PdacConfig, PstrmConfig, PthrConfig, track_cutter

SECONDS = FrameGrid(hop_samples=SAMPLE_RATE, window_samples=SAMPLE_RATE)


def voiced_outside(pauses: Iterable[Span], num_frames: int) -> NDArray[np.bool_]:
    """A decision for each frame, (T,): no in a pause, yes elsewhere."""
    voiced = np.ones(num_frames, np.bool_)
    for start, end in pauses:
        voiced[start:end] = False
    return voiced


def divide_at_pauses(
    pauses: Iterable[Span], num_frames: int, *, max_frames: int, min_pause_frames: int = 0
) -> list[Span]:
    """What `dac` makes of frames that are voiced but for the pauses."""
    config = CtcDacConfig(max_segment_s=max_frames, min_pause_s=min_pause_frames, keep_s=0)
    return _cut_at_pauses(pauses, num_frames, config)


def cut_along(
    pauses: Iterable[Span], num_frames: int, *, min_frames: int, max_frames: int, min_pause_frames: int
) -> list[Span]:
    """What `hybrid` makes of them."""
    config = CtcHybridConfig(
        min_segment_s=min_frames, max_segment_s=max_frames, min_pause_s=min_pause_frames, keep_s=0
    )
    return _cut_at_pauses(pauses, num_frames, config)


def cut_track(
    probabilities: NDArray[np.generic], config: PdacConfig | PstrmConfig | PthrConfig
) -> list[Span]:
    """What `pdac`, `pstrm` or `pthr` makes of a track (T,)."""
    cutter, smooth = track_cutter(config, SECONDS)
    values = smooth(probabilities) if smooth else probabilities
    return [*cutter.feed(values), *cutter.finish()]


def _cut_at_pauses(
    pauses: Iterable[Span], num_frames: int, config: DividedConfig | WalkedConfig
) -> list[Span]:
    cutter = pause_cutter(config, SECONDS)
    return [*cutter.feed(voiced_outside(pauses, num_frames)), *cutter.finish()]
