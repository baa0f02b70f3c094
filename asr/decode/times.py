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
    return align_all([emissions], [labels], blank)[0]


def align_all(
    emissions: Sequence[FloatArray], rows: Sequence[Sequence[int]], blank: int
) -> list[npt.NDArray[np.int64]]:
    """`align_labels` for many rows of labels at once: numpy's calls, not its sums, are what takes time.

    Args:
        emissions: natural-log probabilities of each row's utterance, (T, C); rows may share one.
        rows: K rows of labels without blanks.
    Raises:
        ValueError: there are fewer frames than a row needs.
    """
    num_frames = np.array([len(each) for each in emissions])
    for labels, frames in zip(rows, num_frames.tolist(), strict=True):
        needed = len(labels) + sum(one == other for one, other in pairwise(labels))
        if frames < needed:
            raise ValueError(
                f"`emissions` has {frames} frames; {len(labels)} labels with their repeats need {needed}."
            )
    lengths = np.array([len(labels) for labels in rows])
    longest = lengths.max(initial=0)
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
    utterances = list({id(each): each for each in emissions}.values())
    floored = np.zeros((num_frames.max(), len(utterances), utterances[0].shape[1]))  # (T, U, C)
    for place, each in enumerate(utterances):
        np.maximum(each, -1e9, out=floored[: len(each), place])
    place_of = {id(each): place for place, each in enumerate(utterances)}
    # From states to where they are in a frame of all utterances.
    states += np.array([place_of[id(each)] * floored.shape[2] for each in emissions])[:, None]
    last_frames: dict[int, list[int]] = {}
    for place, frames in enumerate(num_frames.tolist()):
        last_frames.setdefault(frames - 1, []).append(place)
    came_from = np.zeros((len(floored), *states.shape), dtype=np.int8)  # how many states back
    best = np.full(states.shape, -np.inf)
    best[:, :2] = floored[0].take(states[:, :2])
    ends = best.copy()
    one_back, two_back = np.full_like(best, -np.inf), np.full_like(best, -np.inf)
    for t in range(1, len(floored)):
        one_back[:, 1:] = best[:, :-1]
        np.add(best[:, :-2], penalty[:, 2:], out=two_back[:, 2:])
        better = one_back > best
        np.maximum(best, one_back, out=best)
        came_from[t] = np.where(two_back > best, 2, better)
        np.maximum(best, two_back, out=best)
        best += floored[t].take(states)
        if t in last_frames:
            ends[last_frames[t]] = best[last_frames[t]]
    for place, frames in enumerate(num_frames):
        came_from[frames:, place] = 0  # an utterance that is over waits for the others
    # Back from the last label or the blank after it.
    every_row = np.arange(len(rows))
    state = 2 * lengths
    before = np.maximum(state - 1, 0)
    state = np.where(ends[every_row, before] >= ends[every_row, state], before, state)
    path = np.empty((len(floored), len(rows)), dtype=np.int64)
    for t in range(len(floored) - 1, -1, -1):
        path[t] = state
        state = state - came_from[t, every_row, state]
    return [_stays(path[:frames, place], lengths[place]) for place, frames in enumerate(num_frames)]


def _stays(path: npt.NDArray[np.int64], num_labels: int) -> npt.NDArray[np.int64]:
    """First frame and one past the last frame of each label on a path of states, which never goes back, (L, 2)."""
    states = 2 * np.arange(num_labels) + 1
    sides = [np.searchsorted(path, states, "left"), np.searchsorted(path, states, "right")]
    return np.stack(sides, axis=1)


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
