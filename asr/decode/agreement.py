"""How many texts of a beam, by their probability, have a word at its place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asr.decode.engine import SPACE, Labels
from asr.decode.hypothesis import Finished


def word_shares(finished: Finished, posteriors: Sequence[float], place: int, labels: Labels) -> list[float]:
    """Probability mass of the texts that have each word of one of them at its place.

    Places are compared by the alignment with the fewest edits between the two word sequences.

    Args:
        posteriors: of the texts, (K,).
        place: of the text asked about.
        labels: what they write.
    """
    masses = _masses(finished.labels, finished.at, np.array(posteriors), place, labels)
    return np.minimum(1.0, masses).tolist()  # type: ignore[no-any-return]


@njit(nogil=True, cache=True)
def _masses(
    rows: NDArray[np.int32],
    at: NDArray[np.int64],
    posteriors: NDArray[np.float64],
    place: int,
    labels: Labels,
) -> NDArray[np.float64]:
    """See `word_shares`."""
    chars, words, word_at = _words(rows, at, labels)
    own = words[word_at[place] : word_at[place + 1]]
    masses = np.full(len(own), posteriors[place])
    for text in range(len(at) - 1):
        if text != place:
            other = words[word_at[text] : word_at[text + 1]]
            masses[_shared(chars, own, other)] += posteriors[text]
    return masses


@njit(nogil=True, cache=True)
def _words(
    rows: NDArray[np.int32], at: NDArray[np.int64], labels: Labels
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Characters of all texts without spaces; where each word begins and ends in them, (words, 2); and where each
    text's words begin among the words."""
    size = 0
    for label in rows:
        size += labels.at[label + 1] - labels.at[label]
    chars, words = np.empty(size, np.int32), np.empty((size, 2), np.int64)
    word_at = np.zeros(len(at), np.int64)
    filled = count = 0
    for text in range(len(at) - 1):
        is_open = False
        for label in rows[at[text] : at[text + 1]]:
            for char in labels.chars[labels.at[label] : labels.at[label + 1]]:
                if char == SPACE:
                    is_open = False
                    continue
                if not is_open:
                    words[count, 0] = filled
                    count += 1
                    is_open = True
                chars[filled] = char
                filled += 1
                words[count - 1, 1] = filled
        word_at[text + 1] = count
    return chars, words, word_at


@njit(nogil=True, cache=True)
def _equal(chars: NDArray[np.int32], word: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    length, step = word[1] - word[0], 0
    if length == other[1] - other[0]:
        while step < length and chars[word[0] + step] == chars[other[0] + step]:
            step += 1
    return bool(step == length)


@njit(nogil=True, cache=True)
def _shared(
    chars: NDArray[np.int32], words: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of ``words`` keep their place in a minimal edit alignment with ``other``."""
    kept = np.zeros(len(words), np.bool_)
    low, last, other_last = 0, len(words), len(other)
    while low < min(last, other_last) and _equal(chars, words[low], other[low]):
        kept[low] = True
        low += 1
    while low < min(last, other_last) and _equal(chars, words[last - 1], other[other_last - 1]):
        last, other_last = last - 1, other_last - 1
        kept[last] = True
    if low in (last, other_last):
        return kept
    # costs[i, j]: fewest edits between the first i and the first j words of what is left.
    costs = np.empty((last - low + 1, other_last - low + 1), np.int64)
    costs[0] = np.arange(other_last - low + 1)
    for i in range(1, last - low + 1):
        costs[i, 0] = i
        for j in range(1, other_last - low + 1):
            differ = not _equal(chars, words[low + i - 1], other[low + j - 1])
            costs[i, j] = min(costs[i - 1, j - 1] + differ, costs[i - 1, j] + 1, costs[i, j - 1] + 1)
    i, j = last - low, other_last - low
    while i and j:
        same = _equal(chars, words[low + i - 1], other[low + j - 1])
        if costs[i, j] == costs[i - 1, j - 1] + (not same):
            i, j = i - 1, j - 1
            kept[low + i] = same
        elif costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return kept
