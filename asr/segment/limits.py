"""Lengths that a segment may have, checked alike for every segmenter, and counted in frames."""

from __future__ import annotations

from asr.frames import FrameGrid, seconds_to_samples
from lm.errors import InputError

SHORTEST_SEGMENT_S, LONGEST_SEGMENT_S = 1, 3600
"""Between these a longest segment may be."""


def check_limit(max_segment_s: float) -> None:
    """Refuse a longest segment that no recogniser takes.

    Raises:
        InputError: it is not between 1 and 3600 s.
    """
    if not SHORTEST_SEGMENT_S <= max_segment_s <= LONGEST_SEGMENT_S:
        raise InputError(
            f"`max_segment_s`, the longest segment, must be between {SHORTEST_SEGMENT_S} and {LONGEST_SEGMENT_S} s; "
            f"got {max_segment_s:g}."
        )


def check_lengths(min_segment_s: float, max_segment_s: float, keep_s: float) -> None:
    """Refuse lengths between which there is no room to choose a place.

    Raises:
        InputError: they are out of order, or the sound that is kept fills the longest segment.
    """
    check_limit(max_segment_s)
    if not 0 <= keep_s <= max_segment_s / 4:
        raise InputError(
            f"`keep_s` must be between 0 and a quarter of `max_segment_s` ({max_segment_s:g}); got {keep_s:g}."
        )
    if not 0 <= min_segment_s < max_segment_s - 2 * keep_s:
        raise InputError(
            "`min_segment_s` must be at least 0 and less than `max_segment_s` without `keep_s` on both sides "
            f"({max_segment_s - 2 * keep_s:g}); got {min_segment_s:g}."
        )


def check_min_pause(min_pause_s: float) -> None:
    """Refuse a negative shortest pause."""
    if not min_pause_s >= 0:
        raise InputError(f"`min_pause_s` must be at least 0; got {min_pause_s}.")


def frames_in(seconds: float, grid: FrameGrid) -> int:
    """Whole frames that fit into ``seconds``, each as long as the grid's hop.

    >>> frames_in(0.2, FrameGrid(hop_samples=320, window_samples=400))
    10
    """
    hops = FrameGrid(hop_samples=grid.hop_samples, window_samples=grid.hop_samples)
    return hops.num_frames(seconds_to_samples(seconds))
