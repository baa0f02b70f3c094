"""Hybrid segmentation: pauses that a detector finds, chosen by the length of what lies between them.

The pauses are webrtcvad's, or a recogniser's: where it hears no letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from asr.arrays import FloatArray
from asr.frames import FrameGrid
from asr.segment.framed import Track, split_frames
from asr.segment.limits import check_lengths, check_min_pause, frames_in
from asr.segment.pauses import FrameCutter, PauseDivider, WindowCutter
from asr.segment.sound import Speech
from asr.segment.speech import check_frame
from asr.segment.vad import check_mode


@dataclass(frozen=True, kw_only=True)
class DetectedConfig:
    """Whose pauses are those of webrtcvad."""

    mode: int = 1
    """Aggressiveness of webrtcvad, 0 (keeps most) to 3."""
    frame_ms: int = 30
    """Length of one decision: 10, 20 or 30."""

    def __post_init__(self) -> None:
        check_frame(self.frame_ms)
        check_mode(self.mode)


@dataclass(frozen=True, kw_only=True)
class DividedConfig:
    """Divide and conquer at the longest pause (SRPOL: Potapczyk and Przybysz, IWSLT 2020).

    Defaults of the re-implementation in SHAS's repository (Tsiamas et al. 2022). A recording that
    fits into ``max_segment_s`` is not cut at all; there it always is, once.
    """

    max_segment_s: float = 26.0
    """Longest segment, the sound kept on both sides included; tuned on dev by SRPOL."""
    keep_s: float = 0.06
    """Sound kept before and after each segment; there before it only."""
    min_pause_s: float = 0.1
    """Neighbours that fit into one segment are joined again unless a longer pause parts them; there they never are,
    which leaves crumbs where no pause is longer than the others."""

    def __post_init__(self) -> None:
        check_lengths(0.0, self.max_segment_s, self.keep_s)
        check_min_pause(self.min_pause_s)


@dataclass(frozen=True, kw_only=True)
class DacConfig(DividedConfig, DetectedConfig):
    """With the pauses of webrtcvad."""

    def __post_init__(self) -> None:
        DividedConfig.__post_init__(self)
        DetectedConfig.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class CtcDacConfig(DividedConfig):
    """With the pauses of a recogniser (W2V-DAC of Tsiamas et al. 2022)."""

    keep_s: float = 0.2
    """Sound kept before and after each segment: speech begins before its first letter and ends after its last, by
    0.17 and 0.22 s on killkan's dev chapter (medians)."""
    min_pause_s: float = 0.2
    """Neighbours that fit into one segment are joined again unless a longer pause parts them: so much lies between the
    letters of one drawn-out sound."""


@dataclass(frozen=True, kw_only=True)
class WalkedConfig:
    """The longest pause between two lengths, while walking on (FBK: Gaido et al. 2021; Papi et al., IWSLT 2021)."""

    min_segment_s: float = 17.0
    """Where the search for a pause begins (FBK's choice at IWSLT 2021)."""
    max_segment_s: float = 20.0
    """Where it ends, and where speech is cut if there is none; the sound kept on both sides included."""
    min_pause_s: float = 0.2
    """Only a pause that goes on for longer within the window counts."""
    keep_s: float = 0.06
    """Sound kept before and after each segment; in SHAS's repository before it only."""

    def __post_init__(self) -> None:
        check_lengths(self.min_segment_s, self.max_segment_s, self.keep_s)
        check_min_pause(self.min_pause_s)


@dataclass(frozen=True, kw_only=True)
class HybridConfig(WalkedConfig, DetectedConfig):
    """With the pauses of webrtcvad."""

    def __post_init__(self) -> None:
        WalkedConfig.__post_init__(self)
        DetectedConfig.__post_init__(self)


@dataclass(frozen=True, kw_only=True)
class CtcHybridConfig(WalkedConfig):
    """With the pauses of a recogniser (W2V-STRM of Tsiamas et al. 2022)."""

    keep_s: float = 0.2
    """Sound kept before and after each segment: see `CtcDacConfig`."""


def split_at_pauses(
    chunks: Iterable[FloatArray], track: Track, config: DividedConfig | WalkedConfig
) -> Iterator[Speech]:
    """Speech cut at pauses that a track finds.

    Args:
        chunks: a waveform at 16 kHz in consecutive pieces of any length, each (S,).
        track: chunks to the decision, or the probability, that there is speech in each frame.
        config: its type says at which pauses.
    Yields:
        segments in order, disjoint, none longer than ``max_segment_s``; samples (S,).
    """
    return split_frames(
        chunks,
        track,
        pause_cutter(config, track.grid),
        keep_s=config.keep_s,
        smooth=lambda values: values.astype(np.float64) >= 0.5,
    )


def pause_cutter(config: DividedConfig | WalkedConfig, grid: FrameGrid) -> FrameCutter:
    """What cuts decisions on that grid."""
    longest = frames_in(config.max_segment_s - 2 * config.keep_s, grid)
    pause = frames_in(config.min_pause_s, grid)
    if isinstance(config, DividedConfig):
        return PauseDivider(max_frames=longest, min_pause_frames=pause)
    shortest = frames_in(config.min_segment_s, grid)
    return WindowCutter(min_frames=shortest, max_frames=longest, min_pause_frames=pause)
