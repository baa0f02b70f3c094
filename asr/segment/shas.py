"""Segments from a track of probabilities, as a classifier of frames gives it (SHAS, Tsiamas et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from asr.arrays import FloatArray
from asr.frames import FrameGrid
from asr.segment.framed import Smooth, Track, split_frames
from asr.segment.limits import check_lengths, frames_in
from asr.segment.probable import Pdac, Pstrm, Pthr
from asr.segment.sound import Speech
from asr.segment.tracks import MovingAverage, TrackCutter
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class PdacConfig:
    """Probabilistic divide and conquer; defaults of SHAS's repository, where 14 to 18 s did well."""

    threshold: float = 0.5
    """Least probability with which a segment begins and ends."""
    min_segment_s: float = 0.2
    """A split must leave more than this on both sides, unless none does."""
    max_segment_s: float = 18.0
    """All segments are shorter, the sound kept on both sides included."""
    keep_s: float = 0.0
    """Sound kept before and after each segment."""
    horizon_s: float = 600.0
    """Divide and conquer needs all of a talk. Of a longer one the first part is divided off where it is least
    probable, so that no more than this is held in memory (38 MB); up to this, and between silences shorter than the
    longest segment, the outcome is the original's."""

    def __post_init__(self) -> None:
        _check(self.threshold, self.min_segment_s, self.max_segment_s, self.keep_s)
        if self.horizon_s < 4 * self.max_segment_s:
            raise InputError(
                f"`max_segment_s`, the longest segment, must be at most a quarter of `horizon_s` "
                f"({self.horizon_s / 4:g} s); got {self.max_segment_s}. Give a shorter one, or --segmenter pstrm."
            )


@dataclass(frozen=True, kw_only=True)
class PstrmConfig:
    """The streaming variant; defaults of SHAS's repository (branch experimental)."""

    threshold: float = 0.5
    """Least probability with which a segment begins and ends; below it a chunk is cut."""
    min_segment_s: float = 0.2
    """Where in each chunk the search for the least probable frame begins."""
    max_segment_s: float = 18.0
    """Length of a chunk, the sound kept on both sides included."""
    keep_s: float = 0.0
    """Sound kept before and after each segment."""

    def __post_init__(self) -> None:
        _check(self.threshold, self.min_segment_s, self.max_segment_s, self.keep_s)


@dataclass(frozen=True, kw_only=True)
class PthrConfig:
    """A threshold on the moving average; defaults of Fukuda et al. 2023's repository, tuned on MuST-C's dev."""

    threshold: float = 0.1
    """Least average with which a segment begins."""
    min_segment_s: float = 0.2
    """No segment ends before it is as long as this, unless the recording does."""
    max_segment_s: float = 28.0
    """Longest segment, the sound kept on both sides included."""
    rise_s: float = 0.4
    """Time after ``min_segment_s`` in which the threshold rises from 0."""
    fall_s: float = 4.0
    """Time before ``max_segment_s`` in which it rises to twice itself."""
    average_s: float = 0.1
    """Length of the moving average; 0 for none."""
    keep_s: float = 0.06
    """Sound kept before and after each segment."""

    def __post_init__(self) -> None:
        _check(self.threshold, self.min_segment_s, self.max_segment_s, self.keep_s)
        if min(self.rise_s, self.fall_s, self.average_s) < 0:
            raise InputError(
                "`rise_s`, `fall_s` and `average_s` must be at least 0; "
                f"got {self.rise_s}, {self.fall_s} and {self.average_s}."
            )


def split_probabilities(
    chunks: Iterable[FloatArray], track: Track, config: PdacConfig | PstrmConfig | PthrConfig
) -> Iterator[Speech]:
    """Segments where a track of probabilities is high, as soon as they are certain.

    Args:
        chunks: a waveform at 16 kHz in consecutive pieces of any length, each (S,).
        track: chunks to the probability that each frame lies in a segment, 0 to 1.
        config: its type says how the track is cut.
    Yields:
        segments in order, disjoint, none longer than ``max_segment_s``; samples (S,).
    """
    cutter, smooth = track_cutter(config, track.grid)
    return split_frames(chunks, track, cutter, keep_s=config.keep_s, smooth=smooth)


def track_cutter(
    config: PdacConfig | PstrmConfig | PthrConfig, grid: FrameGrid
) -> tuple[TrackCutter, Smooth | None]:
    """What cuts a track on that grid, and what becomes of its values before."""
    threshold = config.threshold
    shortest = frames_in(config.min_segment_s, grid)
    longest = frames_in(config.max_segment_s - 2 * config.keep_s, grid)
    if isinstance(config, PthrConfig):
        rule = Pthr(
            threshold=threshold,
            min_frames=shortest,
            max_frames=longest,
            rise_frames=frames_in(config.rise_s, grid),
            fall_frames=frames_in(config.fall_s, grid),
        )
        return TrackCutter(rule, threshold=threshold), MovingAverage(frames_in(config.average_s, grid))
    if isinstance(config, PstrmConfig):
        chunk = Pstrm(threshold=threshold, min_frames=shortest, max_frames=longest)
        return TrackCutter(chunk, threshold=threshold, silence_frames=longest), None
    horizon = frames_in(config.horizon_s, grid)
    divide = Pdac(threshold=threshold, min_frames=shortest, max_frames=longest, horizon=horizon)
    return TrackCutter(divide, threshold=threshold, silence_frames=longest, horizon=horizon), None


def _check(threshold: float, min_segment_s: float, max_segment_s: float, keep_s: float) -> None:
    if not 0 < threshold <= 1:
        raise InputError(f"`threshold` must be above 0 and at most 1; got {threshold}.")
    check_lengths(min_segment_s, max_segment_s, keep_s)
