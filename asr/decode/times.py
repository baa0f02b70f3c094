"""Where the words of a text lie in the emissions: Viterbi forced alignment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from asr.best_path import advance, trace
from asr.decode.hypothesis import FloatArray

MAX_STRETCH_FRAMES = 2
"""A word grows into the gap on either side by at most this. CTC puts a label's one frame somewhere
inside its sound, so the sound begins before the first label and ends after the last; a longer gap is a
pause, which belongs to no word."""
IMPOSSIBLE = -1e4
"""Log-probability of a label that has none, beside the frame's best."""
NO_LINES = np.zeros(1, dtype=np.int32), np.zeros(0, dtype=np.float32)
"""All labels are said: `asr.best_path` passes over none."""


def align_labels(emissions: FloatArray, labels: Sequence[int], blank: int) -> npt.NDArray[np.int64]:
    """Frames of each label on the most probable path that writes ``labels`` (Viterbi over the CTC lattice).

    Args:
        emissions: natural-log probabilities, (T, C).
        labels: labels without blanks, L of them.
    Returns:
        First frame and one past the last frame of each label, (L, 2).
    Raises:
        ValueError: there are fewer frames than labels and repeats need.
    """
    num_labels = len(labels)
    needed = num_labels + sum(one == other for one, other in pairwise(labels))
    if len(emissions) < needed:
        raise ValueError(
            f"`emissions` has {len(emissions)} frames; {num_labels} labels with their repeats need {needed}."
        )
    frames = np.zeros((num_labels, 2), dtype=np.int64)
    if num_labels == 0:
        return frames
    columns = np.array(labels, dtype=np.int32)
    rests = np.full(num_labels + 1, blank, dtype=np.int32)
    direct = np.zeros(num_labels, dtype=np.float32)
    direct[1:][columns[1:] == columns[:-1]] = -np.inf
    # Less each frame's best, so that nothing is lost to float32; and a floor instead of -inf: paths through an
    # impossible label are bad, but still one is the best.
    tops = np.maximum(emissions.max(axis=1, keepdims=True), IMPOSSIBLE)
    relative = np.maximum(emissions - tops, IMPOSSIBLE, dtype=np.float32, order="C")
    at_rest, at_label = (np.full(num_labels + 1, -np.inf, dtype=np.float32) for _ in range(2))
    at_rest[0] = 0.0
    from_rest, from_label = (
        np.empty((len(emissions), places), dtype=np.uint8) for places in (num_labels + 1, num_labels)
    )
    bounds, costs = NO_LINES
    advance(relative, columns, rests, direct, bounds, costs, at_rest, at_label, from_rest, from_label)
    in_label = bool(at_label[-1] >= at_rest[-1])
    trace(from_rest, from_label, bounds, 0, 0, num_labels - in_label, in_label, frames)
    return frames


def words_of_labels(labels: Sequence[int], surfaces: Sequence[str]) -> list[tuple[str, int, int]]:
    """Words that a row of labels writes, each with its first label's place and one past its last's.

    >>> words_of_labels([0, 1, 2, 0], ("a", "b", " "))
    [('ab', 0, 2), ('a', 3, 4)]
    """
    words: list[tuple[str, int, int]] = []
    is_open = False
    for place, label in enumerate(labels):
        surface = surfaces[label]
        if surface.startswith(" "):
            is_open = False
        letters = surface.removeprefix(" ")
        if not letters:
            continue
        if is_open:
            text, first, _ = words[-1]
            words[-1] = (text + letters, first, place + 1)
        else:
            words.append((letters, place, place + 1))
            is_open = True
    return words


def word_frames(
    words: Sequence[tuple[str, int, int]], frames: npt.NDArray[np.int64], num_frames: int
) -> list[tuple[int, int]]:
    """First frame and one past the last of each word.

    From the word's first label to its last, and then half the gap to each neighbour (the whole gap to
    the ends of the utterance), up to `MAX_STRETCH_FRAMES`. Spans never overlap.

    Args:
        words: from `words_of_labels`.
        frames: from `align_labels`, (L, 2).
    """
    inner = [(int(frames[first, 0]), int(frames[last - 1, 1])) for _, first, last in words]
    spans = []
    for place, (start, end) in enumerate(inner):
        before = (start - inner[place - 1][1]) // 2 if place else start
        after = (inner[place + 1][0] - end + 1) // 2 if place + 1 < len(inner) else num_frames - end
        spans.append((start - min(before, MAX_STRETCH_FRAMES), end + min(after, MAX_STRETCH_FRAMES)))
    return spans
