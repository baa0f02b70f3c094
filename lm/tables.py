"""An n-gram model in arrays, for compiled code: what a kenlm binary holds, asked without kenlm.

A model is three kinds of tables (Heafield 2011, "probing"): unigrams by
word number, a hash table for each longer order, and one for the longest. Scores equal kenlm's.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lm.arpa import read_arpa
from lm.binary import ANY_MAGIC, COMBINE, SALT, ProbingModel, check_binary, find, parse_binary, to_probing
from lm.kneser_ney import BackoffModel

LN10 = math.log(10)
"""kenlm and ARPA files speak log10, everything outside natural logarithms."""
UNKNOWN = 0
"""Number of ``<unk>`` in every model."""
IMPOSSIBLE = 100
"""Negative log10 probability of what a model says cannot be; kenlm's of an ``<unk>`` that it lacks."""


class NgramTables(NamedTuple):
    """The arrays of a model; log10 as kenlm keeps them, flags in the signs of zeros included."""

    order: int
    start: int
    """Number of ``<s>``."""
    end: int
    """Number of ``</s>``."""
    prob: NDArray[np.float32]
    """Of each unigram, negative where no longer n-gram ends with it."""
    backoff: NDArray[np.float32]
    middle_key: NDArray[np.uint64]
    """Hash tables of the orders 2 to ``order - 1``, one after the other."""
    middle_prob: NDArray[np.float32]
    middle_backoff: NDArray[np.float32]
    middle_at: NDArray[np.int64]
    """Where each order's table begins, and where the last one ends."""
    longest_key: NDArray[np.uint64]
    longest_prob: NDArray[np.float32]


def no_tables() -> NgramTables:
    """Stands for a model that there is none of."""
    none32, none64 = np.zeros(1, np.float32), np.zeros(1, np.uint64)
    return NgramTables(0, 0, 0, none32, none32, none64, none32, none32, np.zeros(1, np.int64), none64, none32)


def load_tables(path: str | Path) -> tuple[NgramTables, list[str]]:
    """Tables and words, by number, of an ARPA file or a kenlm binary.

    Raises:
        InputError: it cannot be read, or the binary is of another version or kind than probing, or without its words.
    """
    path = Path(path)
    with path.open("rb") as file:
        is_binary = file.read(len(ANY_MAGIC)) == ANY_MAGIC
    if is_binary:
        check_binary(path)
        with path.open("rb") as file:
            # Closed with the last array that looks into it.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _columns(parse_binary(data, str(path)))
    return make_tables(read_arpa(path), f"language model {path}")


def make_tables(model: BackoffModel, name: str) -> tuple[NgramTables, list[str]]:
    """Tables and words, by number, of a model that was estimated or read.

    Raises:
        InputError: its order is 1, or it lacks a part of one of its n-grams; the message begins with ``name``.
    """
    return _columns(to_probing(model, name))


def _columns(found: ProbingModel) -> tuple[NgramTables, list[str]]:
    """Copies, for nothing of a file may be held when it is closed."""
    numbers = {word: number for number, word in enumerate(found.words)}
    middle = found.middle
    tables = NgramTables(
        order=found.order,
        start=numbers.get("<s>", UNKNOWN),
        end=numbers.get("</s>", UNKNOWN),
        prob=_possible(found.unigrams["prob"]),
        backoff=found.unigrams["backoff"].copy(),
        middle_key=np.concatenate([t["key"] for t in middle]) if middle else np.zeros(1, np.uint64),
        middle_prob=_possible(np.concatenate([t["prob"] for t in middle]))
        if middle
        else np.zeros(1, np.float32),
        middle_backoff=np.concatenate([t["backoff"] for t in middle]) if middle else np.zeros(1, np.float32),
        middle_at=np.cumsum([0, *(len(table) for table in middle)]).astype(np.int64),
        longest_key=found.longest["key"].copy(),
        longest_prob=_possible(found.longest["prob"]),
    )
    return tables, found.words


def _possible(prob: NDArray[np.float32]) -> NDArray[np.float32]:
    """A copy in which nothing is impossible: a weight of 0 times minus infinity is no number."""
    return np.clip(prob, -IMPOSSIBLE, IMPOSSIBLE)


def unigram_after_unknown(tables: NgramTables) -> NDArray[np.float64]:
    """Natural log-probability of each word after an unknown one, where no longer n-gram can match, (V,)."""
    backoff = tables.backoff[UNKNOWN]
    extra = 0.0 if backoff == 0 and np.signbit(backoff) else float(backoff)
    found: NDArray[np.float64] = (extra - np.abs(tables.prob.astype(np.float64))) * LN10
    return found


class States(NamedTuple):
    """Histories met in one search, each with a number; equal histories have one number."""

    words: NDArray[np.int32]
    """The latest word first, (capacity, order)."""
    backoff: NDArray[np.float32]
    """Of the history's first one, two, ... words, (capacity, order)."""
    length: NDArray[np.int32]
    """Words that can still matter."""
    slots: NDArray[np.int32]
    """Hash table of numbers, -1 where empty; at least twice the capacity."""


@njit(nogil=True, cache=True)
def new_states(order: int, capacity: int) -> States:
    """Room for ``capacity`` histories."""
    width = max(1, order)
    slots = 64
    while slots < 2 * capacity:
        slots *= 2
    return States(
        np.zeros((capacity, width), np.int32),
        np.zeros((capacity, width), np.float32),
        np.zeros(capacity, np.int32),
        np.full(slots, -1, np.int32),
    )


@njit(nogil=True, cache=True)
def more_states(states: States, count: int, capacity: int) -> States:
    """The same histories in larger arrays."""
    larger = new_states(states.words.shape[1], capacity)
    for number in range(count):
        for place in range(states.words.shape[1]):
            larger.words[number, place] = states.words[number, place]
            larger.backoff[number, place] = states.backoff[number, place]
        larger.length[number] = states.length[number]
        at = _hash(larger, number) & (len(larger.slots) - 1)
        while larger.slots[at] >= 0:
            at = (at + 1) & (len(larger.slots) - 1)
        larger.slots[at] = number
    return larger


@njit(nogil=True, cache=True)
def begin(tables: NgramTables, states: States, count: int) -> int:
    """Put the history of a sentence's beginning in row ``count`` and return its number."""
    states.words[count, 0] = tables.start
    states.backoff[count, 0] = tables.backoff[tables.start]
    states.length[count] = 1
    return _number(states, count)


@njit(nogil=True, cache=True, inline="always")
def score(tables: NgramTables, states: States, count: int, state: int, word: int) -> tuple[int, float]:
    """Number of the history after ``word``, and natural log p(word | state).

    Where the number is ``count``, the history is new and its row is taken: the caller counts it.
    Row ``count`` must be free.
    """
    log_prob = _advance(tables, states, count, state, word)
    return _number(states, count), log_prob


@njit(nogil=True, cache=True)
def sentence_end(tables: NgramTables, states: States, count: int, state: int) -> float:
    """Natural log p(</s> | state); row ``count`` must be free, and stays so."""
    return _advance(tables, states, count, state, tables.end)


@njit(nogil=True, cache=True)
def sentence_log_probs(tables: NgramTables, words: NDArray[np.int64]) -> NDArray[np.float64]:
    """Natural log probability of each word of a sentence, then of its end, (W + 1,)."""
    states = new_states(tables.order, 2)
    found = np.zeros(len(words) + 1)
    begin(tables, states, 0)
    for place in range(len(words)):
        found[place] = _advance(tables, states, (place + 1) % 2, place % 2, words[place])
    found[-1] = _advance(tables, states, (len(words) + 1) % 2, len(words) % 2, tables.end)
    return found


@njit(nogil=True, cache=True)
def advance(tables: NgramTables, history: NDArray[np.int32], word: int) -> tuple[NDArray[np.int32], float]:
    """The words that can matter after ``word``, the latest first, and natural log p(word | history).

    Args:
        history: words that can matter before it, the latest first.
    """
    states = new_states(tables.order, 2)
    key = np.uint64(0)
    for place in range(len(history)):
        states.words[0, place] = history[place]
        if place == 0:
            key = np.uint64(history[0])
            states.backoff[0, 0] = tables.backoff[history[0]]
        else:
            key = (key * COMBINE) ^ ((np.uint64(1) + np.uint64(history[place])) * SALT)
            low, high = tables.middle_at[place - 1], tables.middle_at[place]
            states.backoff[0, place] = tables.middle_backoff[find(tables.middle_key, low, high - low, key)]
    states.length[0] = len(history)
    log_prob = _advance(tables, states, 1, 0, word)
    return states.words[1, : states.length[1]].copy(), log_prob


@njit(nogil=True, cache=True)
def walk(
    tables: NgramTables, words: NDArray[np.int64], limit: int
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """The model as an automaton over a few words: every history they lead to from a sentence's beginning, 0.

    Args:
        words: numbers of the V words.
        limit: most histories to look at.
    Returns:
        number of the history after each word, (H, V); natural log p(word | history), (H, V); and natural log
        p(</s> | history), (H,). No rows where there are more histories than ``limit``.
    """
    size = len(words)
    capacity = 1024 + size
    states = new_states(tables.order, capacity)
    after, log_prob = np.zeros((capacity, size), np.int32), np.zeros((capacity, size), np.float64)
    begin(tables, states, 0)
    count, number = 1, 0
    while number < count:
        if count > limit:
            return after[:0], log_prob[:0], np.zeros(0, np.float64)
        if count + size >= capacity:
            larger = 2 * (count + size)
            states = more_states(states, count, larger)
            more_after, more_log_prob = (
                np.zeros((larger, size), np.int32),
                np.zeros((larger, size), np.float64),
            )
            more_after[:number], more_log_prob[:number] = after[:number], log_prob[:number]
            after, log_prob, capacity = more_after, more_log_prob, larger
        for place in range(size):
            found, value = score(tables, states, count, number, words[place])
            after[number, place], log_prob[number, place] = found, value
            if found == count:
                count += 1
        number += 1
    end = np.zeros(count, np.float64)
    for number in range(count):
        end[number] = sentence_end(tables, states, count, number)
    return after[:count], log_prob[:count], end


@njit(nogil=True, cache=True, inline="always")
def _advance(tables: NgramTables, states: States, row: int, state: int, word: int) -> float:
    """Write the history after ``word`` into ``row``; natural log p(word | state)."""
    prob = tables.prob[word]
    alone = np.signbit(prob)
    words, backoff = states.words, states.backoff
    words[row, 0] = word
    backoff[row, 0] = tables.backoff[word]
    length = 1 if _extends(tables.backoff[word]) else 0
    total = -abs(float(prob))
    key = np.uint64(word)
    matched = 1
    history = states.length[state]
    for place in range(history):
        if alone:
            break
        key = (key * COMBINE) ^ ((np.uint64(1) + np.uint64(words[state, place])) * SALT)
        if matched + 1 == tables.order:
            at = find(tables.longest_key, np.int64(0), len(tables.longest_key), key)
            if at >= 0:
                total = -abs(float(tables.longest_prob[at]))
                matched += 1
            break
        low, high = tables.middle_at[matched - 1], tables.middle_at[matched]
        at = find(tables.middle_key, low, high - low, key)
        if at < 0:
            break
        prob = tables.middle_prob[at]
        alone = np.signbit(prob)
        total = -abs(float(prob))
        backoff[row, matched] = tables.middle_backoff[at]
        matched += 1
        if _extends(tables.middle_backoff[at]):
            length = matched
    for place in range(matched - 1, history):
        total += float(backoff[state, place])
    for place in range(1, length):
        words[row, place] = words[state, place - 1]
    states.length[row] = length
    return total * LN10


@njit(nogil=True, cache=True, inline="always")
def _extends(backoff: float) -> bool:
    """kenlm marks an n-gram that nothing longer begins with by a backoff of minus zero."""
    return not (backoff == 0 and np.signbit(backoff))


@njit(nogil=True, cache=True, inline="always")
def _hash(states: States, row: int) -> int:
    value = np.uint64(1469598103934665603)
    for place in range(states.length[row]):
        value = (value ^ np.uint64(states.words[row, place] + 1)) * np.uint64(1099511628211)
    value ^= value >> np.uint64(29)
    return np.int64(value & np.uint64(0x7FFFFFFF))


@njit(nogil=True, cache=True, inline="always")
def _number(states: States, row: int) -> int:
    """Number of the history in ``row``: that of an equal one, or the row's own, which is then entered."""
    mask = len(states.slots) - 1
    at = _hash(states, row) & mask
    length = states.length[row]
    while True:
        other = np.int64(states.slots[at])
        if other < 0:
            states.slots[at] = row
            return row
        if states.length[other] == length:
            same = True
            for place in range(length):
                if states.words[other, place] != states.words[row, place]:
                    same = False
                    break
            if same:
                return other
        at = (at + 1) & mask
