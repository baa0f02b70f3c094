"""Where the words of a text lie in the emissions: Viterbi forced alignment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from asr.decode.hypothesis import FloatArray

MAX_STRETCH_FRAMES = 2
"""A word grows into the gap on either side by at most this. CTC puts a label's one frame somewhere
inside its sound, so the sound begins before the first label and ends after the last; a longer gap is a
pause, which belongs to no word."""


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
    return align_all(emissions, [labels], blank)[0]


def align_all(
    emissions: FloatArray, rows: Sequence[Sequence[int]], blank: int
) -> list[npt.NDArray[np.int64]]:
    """`align_labels` for many rows of labels at once: numpy's calls, not its sums, are what takes time.

    Args:
        emissions: natural-log probabilities of one utterance, (T, C).
        rows: K rows of labels without blanks.
    Raises:
        ValueError: there are fewer frames than a row needs.
    """
    num_frames = len(emissions)
    for labels in rows:
        needed = len(labels) + sum(one == other for one, other in pairwise(labels))
        if num_frames < needed:
            raise ValueError(
                f"`emissions` has {num_frames} frames; {len(labels)} labels with their repeats need {needed}."
            )
    longest = max(len(labels) for labels in rows)
    if longest == 0:
        return [np.zeros((0, 2), dtype=np.int64) for _ in rows]
    # States of a row: blank, label, blank, label, ..., blank. Rows end in states that lead nowhere.
    states = np.full((len(rows), 2 * longest + 1), blank)  # (K, S)
    for row, labels in zip(states, rows, strict=True):
        row[1 : 2 * len(labels) : 2] = labels
    # A label may follow the label before it directly unless the two are the same.
    penalty = np.zeros(states.shape)
    penalty[:, ::2] = penalty[:, 1] = -np.inf
    penalty[:, 3::2][states[:, 3::2] == states[:, 1:-2:2]] = -np.inf
    # A floor instead of -inf: paths through an impossible label are bad, but still one is the best.
    floored = np.maximum(emissions.astype(np.float64), -1e9)  # (T, C)
    came_from = np.zeros((num_frames, *states.shape), dtype=np.int8)  # how many states back
    best = np.full(states.shape, -np.inf)
    best[:, :2] = floored[0][states[:, :2]]
    one_back, two_back = np.full_like(best, -np.inf), np.full_like(best, -np.inf)
    for t in range(1, num_frames):
        one_back[:, 1:] = best[:, :-1]
        np.add(best[:, :-2], penalty[:, 2:], out=two_back[:, 2:])
        better = one_back > best
        np.maximum(best, one_back, out=best)
        came_from[t] = np.where(two_back > best, 2, better)
        np.maximum(best, two_back, out=best)
        best += floored[t][states]
    return [
        _trace_back(came_from[:, place], scores, len(labels))
        for place, (labels, scores) in enumerate(zip(rows, best, strict=True))
    ]


def _trace_back(
    came_from: npt.NDArray[np.int8], scores: npt.NDArray[np.float64], num_labels: int
) -> npt.NDArray[np.int64]:
    frames = np.zeros((num_labels, 2), dtype=np.int64)
    if num_labels == 0:
        return frames
    state = 2 * num_labels
    if scores[state - 1] >= scores[state]:
        state -= 1
    for t in range(len(came_from) - 1, -1, -1):
        if state % 2:
            label = state // 2
            frames[label, 0] = t
            frames[label, 1] = max(frames[label, 1], t + 1)
        state -= int(came_from[t, state])
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
