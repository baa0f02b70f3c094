"""Where the words of a text lie in the emissions: Viterbi forced alignment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from numba import njit

from asr.best_path import advance, trace
from asr.decode.hypothesis import EmissionArray

MAX_STRETCH_FRAMES = 2
"""A word grows into the gap on either side by at most this. CTC puts a label's one frame somewhere
inside its sound, so the sound begins before the first label and ends after the last; a longer gap is a
pause, which belongs to no word."""
IMPOSSIBLE = -1e4
"""Log-probability of a label that has none, beside the frame's best."""
STRIDE = 16
"""Frames after which the labels that are looked at move on."""
AFAR = -32.0
"""What the best path is first supposed to reach, beside the frames' best; the best of 30 s seldom ends lower."""


def align_labels(emissions: EmissionArray, labels: Sequence[int], blank: int) -> npt.NDArray[np.int64]:
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
    # Of another layout, or read-only, they would have it compiled anew.
    return _align(np.require(emissions, np.float32, ["C", "A", "W"]), np.array(labels, np.uint32), blank)


@njit(nogil=True, cache=True)
def _align(
    emissions: npt.NDArray[np.float32], labels: npt.NDArray[np.uint32], blank: int
) -> npt.NDArray[np.int64]:
    """See `align_labels`."""
    num_frames, num_labels = len(emissions), len(labels)
    frames = np.zeros((num_labels, 2), np.int64)
    if num_labels == 0:
        return frames
    # Less each frame's best, so that nothing is lost to float32; and a floor instead of -inf: paths through an
    # impossible label are bad, but still one is the best.
    relative = np.empty_like(emissions)
    for t in range(num_frames):
        top = np.float32(IMPOSSIBLE)
        for label in range(emissions.shape[1]):
            top = max(top, emissions[t, label])
        for label in range(emissions.shape[1]):
            relative[t, label] = max(emissions[t, label] - top, np.float32(IMPOSSIBLE))
    direct = np.zeros(num_labels, np.float32)
    for place in range(1, num_labels):
        if labels[place] == labels[place - 1]:
            direct[place] = -np.inf
    no_lines, no_costs = np.zeros(1, np.int32), np.zeros(0, np.float32)  # all labels are said
    from_rest = np.empty((num_frames, num_labels + 1), np.uint8)
    from_label = np.empty((num_frames, num_labels), np.uint8)
    at_rest, at_label = np.empty(num_labels + 1, np.float32), np.empty(num_labels + 1, np.float32)
    # A path only loses, so all of the best one lies above its end. What falls below an end that some path reaches is
    # no part of it and is left out; where none reaches as high as was supposed, less is.
    supposed = AFAR
    while True:
        at_rest[:] = at_label[:] = -np.inf
        at_rest[0] = 0.0
        first = last = 0
        for t in range(0, num_frames, STRIDE):
            stop = min(t + STRIDE, num_frames)
            while first < last and max(at_rest[first], at_label[first + 1]) < supposed:
                first += 1
            while first < last and max(at_rest[last], at_label[last]) < supposed:
                at_rest[last] = at_label[last] = -np.inf
                last -= 1
            at_label[first] = -np.inf
            last = min(last + stop - t, num_labels)
            advance(
                relative[t:stop], labels[first:last], blank, blank, direct[first:last], no_lines, no_costs,
                at_rest[first : last + 1], at_label[first : last + 1],
                from_rest[t:stop, first : last + 1], from_label[t:stop, first:last],
            )  # fmt: skip
        reached = max(at_rest[-1], at_label[-1])
        if not reached < supposed:
            break
        supposed = max(4 * supposed, reached)
    in_label = at_label[-1] >= at_rest[-1]
    trace(from_rest, from_label, no_lines, 0, 0, num_labels - in_label, in_label, frames)
    return frames


def words_of_labels(labels: Sequence[int], surfaces: Sequence[str]) -> list[tuple[str, int, int]]:
    """Words that a row of labels writes, each with its first label's place and one past its last's.

    >>> words_of_labels([0, 1, 2, 0], ("a", "b", " "))
    [('ab', 0, 2), ('a', 3, 4)]
    """
    words: list[tuple[str, int, int]] = []
    letters: list[str] = []
    first = last = 0
    for place, label in enumerate(labels):
        surface = surfaces[label]
        if surface[:1] == " ":
            surface = surface[1:]
            if letters:
                words.append(("".join(letters), first, last))
                letters = []
        if surface:
            if not letters:
                first = place
            letters.append(surface)
            last = place + 1
    if letters:
        words.append(("".join(letters), first, last))
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
    places = frames.tolist()
    inner = [(places[first][0], places[last - 1][1]) for _, first, last in words]
    spans = []
    for place, (start, end) in enumerate(inner):
        before = (start - inner[place - 1][1]) // 2 if place else start
        after = (inner[place + 1][0] - end + 1) // 2 if place + 1 < len(inner) else num_frames - end
        spans.append((start - min(before, MAX_STRETCH_FRAMES), end + min(after, MAX_STRETCH_FRAMES)))
    return spans
