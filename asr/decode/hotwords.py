"""Words and phrases that a user expects: their file, and their automaton for the search."""

from __future__ import annotations

import math
import unicodedata
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asr.decode.engine import SPACE, Hotwords
from asr.decode.hypothesis import written
from asr.text import WITHOUT_SPACES
from lm.errors import InputError

HOTWORD_WEIGHT = 4.0
"""Weight of a phrase that is given none; 10 in pyctcdecode. On simulated emissions, 60 words that the language
models had never seen came back in 92 to 94 of 100 places (28 to 31 without), and not one of 200 more that
nobody said was written. At 6 there were up to 8 false ones for 124 true, at 10 up to 63."""


def read_hotwords(path: str | Path) -> dict[str, float | None]:
    """Phrases of a UTF-8 text file, in NFC, and their weights: one a line, perhaps with a tab and its weight after it.

    A line without a weight gives None, for `weighed`. Empty lines are passed over, and so is a line that says what
    another has said already.

    Raises:
        InputError: the file cannot be read or has no phrase; a line has a weight that is none, or none but a
            weight, or another weight than an earlier line with the same phrase.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"hotwords {path}: {error.strerror}. Give the path of a text file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"hotwords {path}: not UTF-8. Save the file as UTF-8 text.") from error
    hotwords: dict[str, float | None] = {}
    said: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"hotwords {path}, line {number}"
        phrase, tab, own = line.partition("\t")
        phrase = written(phrase)
        if not phrase:
            raise InputError(f"{where}: no phrase before the tab. Write phrase, tab, weight.")
        try:
            value = float(own) if tab else None
        except ValueError:
            value = math.nan
        if value is not None and not math.isfinite(value):
            raise InputError(f"{where}: {own!r} is no weight. Write phrase, tab, a number.")
        if hotwords.setdefault(phrase, value) != value:
            raise InputError(
                f"{where}: {phrase!r} {_weighs(value)}, but {_weighs(hotwords[phrase])} in line {said[phrase]}. "
                "Keep one of the lines."
            )
        said.setdefault(phrase, number)
    if not hotwords:
        raise InputError(f"hotwords {path}: no phrase in it. Write one a line, or leave out the file.")
    return hotwords


def weighed(hotwords: Mapping[str, float | None], weight: float = HOTWORD_WEIGHT) -> dict[str, float]:
    """The hotwords, those without a weight of their own with this one.

    Raises:
        InputError: they are no mapping.
    """
    if not isinstance(hotwords, Mapping):
        raise InputError(
            f"decoding option hotwords must be phrases and their weights; got {hotwords!r}. "
            "Write hotwords={phrase: 4}, or give the phrases in a file."
        )
    return {phrase: weight if own is None else own for phrase, own in hotwords.items()}


def _weighs(weight: float | None) -> str:
    return "has no weight" if weight is None else f"weighs {weight:g}"


def spelled(phrase: str) -> str:
    """What is looked for in a text between boundaries: the phrase between two, so that it is whole words.

    A phrase whose letters are all of writings that put no spaces between words has none.

    >>> spelled("kay pacha"), spelled("北京")
    (' kay pacha ', '北京')
    """
    letters = [char for char in phrase if unicodedata.category(char)[0] == "L"]
    unspaced = bool(letters) and all(WITHOUT_SPACES.fullmatch(char) for char in letters)
    return phrase if unspaced else f" {phrase} "


def occurrences(phrase: str, text: str) -> int:
    """Places in a text where the search counts a phrase, both with single spaces; they may overlap.

    >>> occurrences("a b a", "a b a b a"), occurrences("a", "aa"), occurrences("北", "北北")
    (2, 0, 2)
    """
    wanted, text = spelled(phrase), f" {text} "
    if wanted not in text:
        return 0
    return sum(text.startswith(wanted, at) for at in range(len(text)))


def make_hotwords(hotwords: Mapping[str, float], numbers: Mapping[str, int]) -> Hotwords:
    """The automaton that finds the phrases as `spelled` (Aho and Corasick 1975).

    What a phrase is worth at each step of its spelling is said in `asr.decode.engine`.

    Args:
        hotwords: phrases, with single spaces, and their weights.
        numbers: of the characters that labels write, those of the phrases among them.
    """
    children: list[dict[int, int]] = [{}]
    gain, promise = [0.0], [0.0]
    for phrase, weight in hotwords.items():
        # A boundary after a phrase is the next one's before. The one before is there already, and no step.
        path = [numbers[char] for char in spelled(phrase)]
        begun = path[0] == SPACE
        node = 0
        for place, char in enumerate(path, start=1):
            child = children[node].get(char)
            if child is None:
                child = children[node][char] = len(children)
                children.append({})
                gain.append(0.0)
                promise.append(0.0)
            node = child
            if place < len(path):
                promise[node] = max(promise[node], weight * (place - begun) / (len(path) - begun))
        gain[node] += weight
    # Every character that no phrase has leads back to node 0, from column 0.
    column = np.zeros(len(numbers), np.int32)
    used = sorted({char for node in children for char in node})
    column[used] = np.arange(1, len(used) + 1)
    next_node = np.zeros((len(children), len(used) + 1), np.int32)
    # Nodes with shorter beginnings first. Where a node has no child, it goes where the longest beginning goes
    # that its text ends with, itself excepted.
    shorter = [0] * len(children)
    waiting = deque([0])
    while waiting:
        node = waiting.popleft()
        if node:
            next_node[node] = next_node[shorter[node]]
            gain[node] += gain[shorter[node]]
            promise[node] = max(promise[node], promise[shorter[node]])
        for char, child in children[node].items():
            shorter[child] = int(next_node[node, column[char]])
            next_node[node, column[char]] = child
            waiting.append(child)
    gains = np.array(gain, np.float64)
    return Hotwords(
        column=column,
        next=next_node,
        gain=gains,
        promise=np.array(promise, np.float64),
        closing=gains[next_node[:, column[SPACE]]],
        start=children[0].get(SPACE, 0),
    )


def steepest(hotwords: Hotwords, length: int, *, within_word: bool = False) -> float:
    """Most that gain and promise together grow by with up to ``length`` characters.

    That is more than a phrase's share of each where phrases begin or end with others, which then gain at once.
    """
    space = hotwords.column[SPACE]
    closing = space if within_word and space else -1  # column 0 is of letters, too
    most = reached = hotwords.promise
    for _ in range(length):
        reached = _greatest_after(hotwords.next, hotwords.gain + reached, closing)
        most = np.maximum(most, reached)
    return float((most - hotwords.promise).max())


@njit(nogil=True, cache=True)
def _greatest_after(
    next_node: NDArray[np.int32], values: NDArray[np.float64], left_out: int
) -> NDArray[np.float64]:
    """Of each node the greatest value among those one character on, but for a column's; (nodes,).

    Compiled: an alphabet of thousands makes tables that numpy would copy eightfold.
    """
    greatest = np.full(len(values), -np.inf)
    for node in range(len(values)):
        for column in range(next_node.shape[1]):
            if column != left_out:
                greatest[node] = max(greatest[node], values[next_node[node, column]])
    return greatest
