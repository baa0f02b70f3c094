"""The beam search, compiled: texts, prefixes and language-model histories as rows of arrays.

What is searched. For emissions of T frames the score of a text y is

    log p_CTC(y | x) + lm_weight W(y) + char_weight C(y) + word_bonus |y| + H(y)

(see `BeamSearchConfig` for W and C). log p_CTC sums all paths of labels that write y, as far as the
beam kept them: paths are merged as soon as they write the same text with the same last label,
which is all that CTC, the language models and the hotwords can tell apart. Two label rows that write
the same text (sentence pieces) meet in one text at the end. Without pruning every text has its exact
score.

Pieces. An n-gram of sentence pieces scores rows of labels, not texts: each label that writes something is one
token, one that writes nothing (the blank, labels of languages) is none, and the sentence's end is scored after the
last. With P(r) the natural-log probability of a row r by it, log p_CTC above is replaced by

    log sum over the rows r that write y of p_CTC(r | x) exp(piece_weight P(r))

where p_CTC(r | x) sums the paths of r that the beam kept. A row that ends in a boundary writes the text without it,
but is scored by P with it, and a boundary before the first word or after another one counts too: what the label
adds to the text may be nothing, but it is said. So prefixes are rows of such labels here, with the last label of
any kind: before the end, paths are merged only where their rows differ in nothing but labels that write nothing. What
is returned as log p_CTC is the sum without P; the rest of the above is the language models' part.

Hotwords. H(y) sums the weight of each phrase h times the places in y where its words stand one after
the other; places may overlap. As long as y is not finished it is ranked by H of what is closed by a
boundary, plus a promise: of all beginnings q of `` h `` (h between two boundaries, so |q| < |h| + 2) that
`` y``, a boundary before it, ends with, the greatest weight(h) (|q| - 1) / (|h| + 1), or 0 where that is
negative. The promise grows by an equal share with each character of the phrase and its last boundary,
belongs to the text as it stands, and so is gone once the spelling leaves the phrase; it is in no score
that is returned. Both are read off an Aho-Corasick automaton over characters (Aho and Corasick 1975).
Its state follows from the text, so what is merged is in the same state. A phrase of a writing without spaces
(`asr.decode.hotwords.spelled`) is looked for without its boundaries: it counts in the midst of words too, and what
begins like it is promised weight(h) |q| / |h|.

Closed vocabulary. Where it is asked for, only texts whose words are all known to the word model or stand
in a hotword have a score. A path ends where its open word begins like no such word, or is none when a
boundary closes it. If no text of the last beam is without an unfinished word, its texts lose that word:
each has the log p_CTC of all paths that write it and the beginning of any word after it, and is scored
as if it ended there (its rows by P as if they ended before the first label of that word). If no path is possible
at all, there is the empty text with a score of minus infinity.

Functions that the inner loop calls are inlined, and what makes no array counts no references to them: handing dozens
of arrays to a call, each with its count, took half of the time.

numba compiles it on the user's machine without a C compiler, keeps what it compiled on disk, and
lets go of the interpreter's lock while it runs, so that threads decode side by side. A search holds
memory for what its beam has looked at. Its arrays serve the next search of the same thread: most of
the time of a first one goes to the system, for pages of memory that were never touched before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit, types
from numba.core.options import DefaultOptions
from numba.experimental import structref
from numpy.typing import NDArray

from lm.tables import NgramTables, States, begin, more_states, new_states, score, sentence_end

Function = TypeVar("Function", bound=Callable[..., object])


def _uncounted(function: Function) -> Function:
    """Compiles what makes no array: its caller holds all of them, so references to them need not be counted.

    Counting them, in steps that no two cores can take at once, took half of a search. A numba that has no option for
    it counts.
    """
    uncounted: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}
    compiled: Function = njit(nogil=True, cache=True, **uncounted)(function)
    return compiled


SPACE = 0
"""Number of the space among the characters that labels write."""
TEXTS, PREFIXES, WORD_STATES, CHAR_STATES, PIECE_STATES, WAYS, TEXT_SLOTS, WAY_SLOTS = range(8)
"""What a search counts: texts, prefixes, the models' histories, ways from prefix to prefix; and the slots of the
tables of texts and ways."""
FEWEST_SLOTS = 1024
"""That a table has; a power of two, as every number of slots."""
VALUE = (1 << 32) - 1
"""Lower half of an entry of a hash table."""
NOWHERE = -1
"""Place in the lexicon of a word that no known word begins like."""
NO_WORD, NEW_WORD = -1, -2
"""Numbers in the lexicon where no word ends, and where one does that only the hotwords know."""
UNHEARD = -1
"""Number in the piece model of a label that is no token of it."""
ENDS_BLANK, ENDS_LABEL, NEXT_BLANK, NEXT_LABEL, TOTAL, RANK, BIAS, FRAME = range(8)
"""Columns of a prefix, a cache line together: log-probabilities of its paths by how they end, now and after
this frame; their sum; what it is ranked by; the models' and hotwords' share of that; and the frame that its
next values are for."""


class Labels(NamedTuple):
    """What each label writes."""

    blank: int
    at: NDArray[np.int64]
    """Where each label's characters begin, (C + 1,)."""
    chars: NDArray[np.int32]
    """Numbers of the characters, one label's after the other's."""
    longest: int
    """Most characters of a label."""
    num_chars: int
    distinct: bool
    """The blank alone writes nothing, and no two write the same last character or prefixes are rows of labels: each
    prefix with an open word is reached from one other."""


class Lexicon(NamedTuple):
    """Known words as a tree of characters; node 0 is the root."""

    at: NDArray[np.int64]
    """Where each node's children begin, (nodes + 1,)."""
    char: NDArray[np.int32]
    child: NDArray[np.int32]
    word: NDArray[np.int32]
    """Number of the word that ends at a node, or `NO_WORD` or `NEW_WORD`."""
    best: NDArray[np.float64]
    """Natural log-probability of the likeliest word of the model, by itself, that begins so."""


class Hotwords(NamedTuple):
    """Phrases, most between boundaries, as an automaton over characters; without hotwords node 0 and nothing else."""

    column: NDArray[np.int32]
    """Column of each character in ``next``."""
    next: NDArray[np.int32]
    """Node one character on from each, (nodes, columns)."""
    gain: NDArray[np.float64]
    """Weights of the phrases that end at a node."""
    promise: NDArray[np.float64]
    """Share of the weight of a phrase that has begun at a node."""
    closing: NDArray[np.float64]
    """Gain of the node that a boundary after this one leads to."""
    start: int
    """Node of an empty text: a boundary."""


class Settings(NamedTuple):
    """`BeamSearchConfig` and what follows from the models."""

    lm_weight: float
    char_weight: float
    piece_weight: float
    word_bonus: float
    unknown_offset: float
    spelling_weight: float
    uniform: float
    """Natural log-probability of a character where no character model says it."""
    unknown: float
    """Natural log-probability of ``<unk>`` by itself."""
    score_end: bool
    beam_width: int
    beam_threshold: float
    label_threshold: float
    max_labels: int
    hotword_step: float
    """Most that the hotwords' gain and promise grow by with one label."""
    letter_step: float
    """The same with a label that closes no word."""
    has_word: bool
    has_char: bool
    has_piece: bool
    has_hotwords: bool
    closed: bool
    """Only words of the lexicon are written."""


class Known(NamedTuple):
    """What a search asks about labels and texts: one configuration's, the same for every utterance."""

    labels: Labels
    lexicon: Lexicon
    hotwords: Hotwords
    word: NgramTables
    character: NgramTables
    char_number: NDArray[np.int32]
    """Number in the character model of each character that labels write."""
    piece: NgramTables
    piece_number: NDArray[np.int32]
    """Number in the piece model of each label, or `UNHEARD`."""
    settings: Settings


class Tree(NamedTuple):
    """Everything the search has looked at: texts (nodes), and texts, or with a piece model rows of labels that write
    something, with their last label (prefixes)."""

    # Of each text: its parent, the character it adds, its open word's place in the lexicon, whether a word
    # is open, and the histories of the two models.
    parent: NDArray[np.int32]
    char: NDArray[np.int32]
    place: NDArray[np.int32]
    open: NDArray[np.bool_]
    history: NDArray[np.int32]
    spelt: NDArray[np.int32]
    # Weighted score of the closed words and all characters; of the open word's spelling; and the first with
    # an estimate for the open word.
    score: NDArray[np.float64]
    spelling: NDArray[np.float64]
    bias: NDArray[np.float64]
    # Of each text that a prefix has: the hotwords' node, and the weight of those finished. A label's inner
    # characters have none: a search without hotwords, which never comes here, must not pay for them.
    node: NDArray[np.int32]
    gain: NDArray[np.float64]
    newest: NDArray[np.int32]
    """Prefix of each text that was met last, or -1."""
    # Of each prefix: the one it goes on from, its last label, its text, and another of the same text or -1.
    previous: NDArray[np.int32]
    label: NDArray[np.int32]
    text: NDArray[np.int32]
    same: NDArray[np.int32]
    value: NDArray[np.float64]
    """What each prefix is worth, (prefixes, 8)."""
    clock: NDArray[np.int64]
    """Searches that have used these arrays, (1,); this one's number marks its entries in the tables."""
    # Hash tables of keys and values. A value's upper half says which search wrote it, so that nothing needs to be
    # cleared. A search begins with a small table and goes on in one of twice as many slots when it is half full:
    # what is looked up at random should lie close together. The table of n slots is the rows from n to 2 n.
    texts: NDArray[np.int64]
    """(text, character) -> text."""
    nexts: NDArray[np.int64]
    """(prefix, label) -> prefix."""


class Said(NamedTuple):
    """What the piece model makes of each prefix. Apart from the tree: two more arrays there cost every search 6 %."""

    row: NDArray[np.int32]
    """Number of its row of labels that write something: the first prefix that has it."""
    history: NDArray[np.int32]
    score: NDArray[np.float64]
    """Weighted."""


class Workspace(NamedTuple):
    """What a search writes into, to be used again by the next."""

    tree: Tree
    word_states: States
    char_states: States
    piece_states: States
    said: Said


@structref.register
class _SearcherType(types.StructRef):
    """numba's type of a `Searcher`."""


class Searcher(structref.StructRefProxy):
    """What is known (`Known`) and one thread's `Workspace`, as compiled code holds them.

    Handing their hundred arrays over one by one, there and back, took a tenth of a search.
    """

    known: Known
    workspace: Workspace


structref.define_proxy(Searcher, _SearcherType, ["known", "workspace"])  # type: ignore[no-untyped-call]


@njit(nogil=True, cache=True)
def _empty(texts: int, prefixes: int) -> Tree:
    value = np.full((prefixes, 8), -np.inf, np.float64)
    return Tree(
        np.full(texts, -1, np.int32), np.zeros(texts, np.int32), np.zeros(texts, np.int32),
        np.zeros(texts, np.bool_), np.zeros(texts, np.int32), np.zeros(texts, np.int32),
        np.zeros(texts, np.float64), np.zeros(texts, np.float64), np.zeros(texts, np.float64),
        np.zeros(texts, np.int32), np.zeros(texts, np.float64), np.full(texts, -1, np.int32),
        np.full(prefixes, -1, np.int32), np.full(prefixes, -1, np.int32), np.zeros(prefixes, np.int32),
        np.full(prefixes, -1, np.int32), value, np.zeros(1, np.int64),
        np.zeros((2 * _slots_for(texts), 2), np.int64), np.zeros((2 * _slots_for(prefixes), 2), np.int64),
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _slots_for(entries: int) -> int:
    """Slots of a table that is at most half full."""
    slots = FEWEST_SLOTS
    while slots < 2 * entries:
        slots *= 2
    return slots


@njit(nogil=True, cache=True)
def new_searcher(known: Known) -> Searcher:
    """For one thread, with room for a few seconds of speech; a search makes more of it where it must."""
    workspace = Workspace(
        _empty(16384, 16384), new_states(known.word.order, 1024), new_states(known.character.order, 4096),
        new_states(known.piece.order, 1024), _no_said(1),
    )  # fmt: skip
    return Searcher(known, workspace)  # type: ignore[no-untyped-call]


@njit(nogil=True, cache=True)
def _no_said(prefixes: int) -> Said:
    return Said(np.zeros(prefixes, np.int32), np.zeros(prefixes, np.int32), np.zeros(prefixes, np.float64))


@_uncounted
def _clear(tree: Tree) -> None:
    """The empty text and nothing else."""
    tree.clock[0] += 1
    tree.parent[0] = tree.previous[0] = tree.label[0] = -1
    tree.char[0] = tree.place[0] = tree.history[0] = tree.spelt[0] = tree.node[0] = tree.text[0] = 0
    tree.open[0] = False
    tree.score[0] = tree.spelling[0] = tree.gain[0] = tree.bias[0] = 0.0
    tree.newest[0] = tree.same[0] = -1
    for column in range(8):
        tree.value[0, column] = -np.inf
    tree.value[0, ENDS_BLANK] = tree.value[0, TOTAL] = tree.value[0, RANK] = tree.value[0, BIAS] = 0.0


@njit(nogil=True, cache=True)
def _larger(tree: Tree, counts: NDArray[np.int64], texts: int, prefixes: int) -> Tree:
    """The same tree with room for more."""
    new = _empty(texts, prefixes)
    num_texts, num_prefixes = counts[TEXTS], counts[PREFIXES]
    # Plain loops: assigning slices would compile five seconds of checks of their shapes.
    for text in range(num_texts):
        new.parent[text] = tree.parent[text]
        new.char[text] = tree.char[text]
        new.place[text] = tree.place[text]
        new.open[text] = tree.open[text]
        new.history[text] = tree.history[text]
        new.spelt[text] = tree.spelt[text]
        new.node[text] = tree.node[text]
        new.score[text] = tree.score[text]
        new.spelling[text] = tree.spelling[text]
        new.gain[text] = tree.gain[text]
        new.bias[text] = tree.bias[text]
        new.newest[text] = tree.newest[text]
    for prefix in range(num_prefixes):
        new.previous[prefix] = tree.previous[prefix]
        new.label[prefix] = tree.label[prefix]
        new.text[prefix] = tree.text[prefix]
        new.same[prefix] = tree.same[prefix]
        for column in range(8):
            new.value[prefix, column] = tree.value[prefix, column]
    new.clock[0] = tree.clock[0]
    for at in range(counts[TEXT_SLOTS], 2 * counts[TEXT_SLOTS]):
        new.texts[at, 0], new.texts[at, 1] = tree.texts[at, 0], tree.texts[at, 1]
    for at in range(counts[WAY_SLOTS], 2 * counts[WAY_SLOTS]):
        new.nexts[at, 0], new.nexts[at, 1] = tree.nexts[at, 0], tree.nexts[at, 1]
    return new


@njit(nogil=True, cache=True)
def _more_said(said: Said, count: int, capacity: int) -> Said:
    """The same in larger arrays."""
    new = _no_said(capacity)
    for prefix in range(count):
        new.row[prefix] = said.row[prefix]
        new.history[prefix], new.score[prefix] = said.history[prefix], said.score[prefix]
    return new


@_uncounted
def _room(table: NDArray[np.int64], slots: int, entries: int, clock: int) -> int:
    """Slots with room for so many entries, to which those of this search were taken over."""
    more = max(slots, _slots_for(entries))
    if more > slots:
        for old in range(slots, 2 * slots):
            if table[old, 1] >> 32 == clock:
                at = _slot(table, more, table[old, 0], clock)
                table[at, 0], table[at, 1] = table[old, 0], table[old, 1]
    return more


@njit(nogil=True, cache=True, inline="always")
def _slot(table: NDArray[np.int64], slots: int, key: int, clock: int) -> int:
    """Where this search's entry of a key is, or the free slot where it belongs."""
    mask = slots - 1
    mixed = np.uint64(key) * np.uint64(11400714819323198485)
    at = slots + (np.int64(mixed >> np.uint64(33)) & mask)
    while table[at, 1] >> 32 == clock and table[at, 0] != key:
        at = slots + ((at + 1) & mask)
    return at


@njit(nogil=True, cache=True, inline="always")
def _step(lexicon: Lexicon, place: int, char: int) -> int:
    """The lexicon's node one character on."""
    if place < 0:
        return np.int64(NOWHERE)
    for child in range(lexicon.at[place], lexicon.at[place + 1]):
        if lexicon.char[child] == char:
            return np.int64(lexicon.child[child])
    return np.int64(NOWHERE)


@njit(nogil=True, cache=True, inline="always")
def _close(
    tree: Tree, lexicon: Lexicon, word_tables: NgramTables, word_states: States, num_words: int,
    settings: Settings, text: int, spelling: float,
) -> tuple[int, float]:  # fmt: skip
    """History after the open word of a text, and the word's weighted score."""
    history = np.int64(tree.history[text])
    if not settings.has_word:
        return history, settings.word_bonus
    place = tree.place[text]
    word = np.int64(lexicon.word[place]) if place >= 0 else np.int64(NO_WORD)
    after, log_prob = score(word_tables, word_states, num_words, history, max(word, 0))
    if word < 0:
        log_prob += settings.unknown_offset + settings.spelling_weight * spelling
    return after, settings.lm_weight * log_prob + settings.word_bonus


@njit(nogil=True, cache=True, inline="always")
def _write(
    tree: Tree, clock: int, counts: NDArray[np.int64], text: int, char: int, num_chars: int, lexicon: Lexicon,
    word_tables: NgramTables, word_states: States, char_tables: NgramTables, char_states: States,
    char_number: NDArray[np.int32], settings: Settings,
) -> int:  # fmt: skip
    """The text with one character more; for ``counts`` see `TEXTS`."""
    key = text * num_chars + char + 1
    at = _slot(tree.texts, counts[TEXT_SLOTS], key, clock)
    if tree.texts[at, 1] >> 32 == clock:
        return tree.texts[at, 1] & VALUE
    new = counts[TEXTS]
    counts[TEXTS] += 1
    tree.texts[at, 0], tree.texts[at, 1] = key, clock << 32 | new
    tree.parent[new] = text
    tree.char[new] = char
    tree.newest[new] = -1
    log_prob = settings.uniform
    total = tree.score[text]
    if settings.has_char:
        after, log_prob = score(
            char_tables,
            char_states,
            counts[CHAR_STATES],
            np.int64(tree.spelt[text]),
            np.int64(char_number[char]),
        )
        counts[CHAR_STATES] += after == counts[CHAR_STATES]
        tree.spelt[new] = after
        total += settings.char_weight * log_prob
    tree.open[new] = char != SPACE
    tree.place[new] = 0
    tree.spelling[new] = 0.0
    if char == SPACE:
        after, closed = _close(
            tree,
            lexicon,
            word_tables,
            word_states,
            counts[WORD_STATES],
            settings,
            text,
            tree.spelling[text] + log_prob,
        )
        counts[WORD_STATES] += settings.has_word and after == counts[WORD_STATES]
        tree.history[new] = after
        tree.score[new] = tree.bias[new] = total + closed
        return new
    tree.history[new] = tree.history[text]
    tree.score[new] = total
    spelling = tree.spelling[text] + log_prob
    tree.spelling[new] = spelling
    estimate = settings.word_bonus
    if settings.has_word:
        place = _step(lexicon, np.int64(tree.place[text]) if tree.open[text] else np.int64(0), char)
        tree.place[new] = place
        # The open word may become the likeliest known one that begins so, or an unseen one.
        worth = settings.unknown + settings.unknown_offset + settings.spelling_weight * spelling
        if place >= 0 and lexicon.best[place] > worth:
            worth = lexicon.best[place]
        estimate += settings.lm_weight * worth
    tree.bias[new] = total + estimate
    return new


@njit(nogil=True, cache=True, inline="always")
def _loss(tree: Tree, lexicon: Lexicon, labels: Labels, label: int, text: int, settings: Settings) -> float:
    """What an open word's estimate loses at least with a label that does not close it; never above 0."""
    at = labels.at[label]
    if not settings.has_word or at == labels.at[label + 1]:
        return 0.0
    worth = settings.unknown + settings.unknown_offset + settings.spelling_weight * tree.spelling[text]
    place = _step(lexicon, np.int64(tree.place[text]), np.int64(labels.chars[at]))
    if place >= 0 and lexicon.best[place] > worth:
        worth = lexicon.best[place]
    return tree.score[text] + settings.word_bonus + settings.lm_weight * worth - tree.bias[text]


@_uncounted
def _walk(lexicon: Lexicon, labels: Labels, label: int, place: int, is_open: bool) -> int:
    """Place in the lexicon after a label, `NOWHERE` where no word of a closed vocabulary goes on so."""
    for at in range(labels.at[label], labels.at[label + 1]):
        char = np.int64(labels.chars[at])
        if char != SPACE:
            place = _step(lexicon, place, char)
            if place < 0:
                return place
        elif is_open:
            if lexicon.word[place] == NO_WORD:
                return np.int64(NOWHERE)
            place = np.int64(0)
        is_open = char != SPACE
    return place


@_uncounted
def _reward(
    hotwords: Hotwords, labels: Labels, label: int, node: NDArray[np.int32], gain: NDArray[np.float64],
    before: int, is_open: bool, after: int,
) -> float:  # fmt: skip
    """Enter the hotwords' node and gain of the text after a label; its gain and promise."""
    now, total = np.int64(node[before]), gain[before]
    for at in range(labels.at[label], labels.at[label + 1]):
        char = labels.chars[at]
        if char != SPACE or is_open:
            now = np.int64(hotwords.next[now, hotwords.column[char]])
            total += hotwords.gain[now]
        is_open = char != SPACE
    node[after], gain[after] = now, total
    return total + hotwords.promise[now]


@_uncounted
def _say(
    tables: NgramTables, states: States, counts: NDArray[np.int64], history: int, piece: int
) -> tuple[int, float]:
    """History after a label, and its log-probability by the piece model."""
    if piece == UNHEARD:
        return history, 0.0
    after, log_prob = score(tables, states, counts[PIECE_STATES], history, piece)
    counts[PIECE_STATES] += after == counts[PIECE_STATES]
    return after, log_prob


@njit(nogil=True, cache=True)
def _log_add(one: float, other: float) -> float:
    if one < other:
        one, other = other, one
    if other < one - 40.0 or other == -np.inf:  # the first is beyond what a float64 holds
        return one
    return one + math.log1p(math.exp(other - one))


@_uncounted
def _greatest(values: NDArray[np.float64], count: int, wanted: int) -> float:
    """The ``wanted``-th greatest of the first ``count`` values, which are left in another order (quickselect)."""
    low, high, at = 0, count - 1, wanted - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if at <= right:
            high = right
        elif at >= left:
            low = left
        else:
            break
    return values[at]


@njit(nogil=True, cache=True)
def _order(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Places of the first ``count`` values from the greatest to the least; equal ones stay in order."""
    order = np.zeros(count, np.int64)
    for new in range(count):
        at = new
        while at > 0 and values[order[at - 1]] < values[new]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = new
    return order


@_uncounted
def _near(
    emissions: NDArray[np.float32], t: int, blank: int, settings: Settings, tried: NDArray[np.int32]
) -> int:
    """Enter the labels near the frame's best, the likeliest first, never the blank; how many there are."""
    row = emissions[t]
    num_labels = len(row)
    top = row[0]
    for label in range(1, num_labels):
        top = max(top, row[label])
    lowest = top - settings.label_threshold
    num_tried = 0
    for label in range(num_labels):
        log_prob = row[label]
        if label == blank or log_prob < lowest or log_prob == -np.inf:
            continue
        at = num_tried
        if at == len(tried):
            if log_prob <= row[tried[at - 1]]:
                continue
            at -= 1
        else:
            num_tried += 1
        while at > 0 and row[tried[at - 1]] < log_prob:
            tried[at] = tried[at - 1]
            at -= 1
        tried[at] = label
    return num_tried


@_uncounted
def _advance(
    emissions: NDArray[np.float32], t: int, tried: NDArray[np.int32], num_tried: int, within: NDArray[np.bool_],
    beam: NDArray[np.int32], size: int, best: float, touched: NDArray[np.int32], ranks: NDArray[np.float64],
    counts: NDArray[np.int64], clock: int, tree: Tree, said: Said, labels: Labels, lexicon: Lexicon,
    hotwords: Hotwords, word_tables: NgramTables, word_states: States, char_tables: NgramTables, char_states: States,
    char_number: NDArray[np.int32], piece_tables: NgramTables, piece_states: States, piece_number: NDArray[np.int32],
    settings: Settings,
) -> tuple[int, float]:  # fmt: skip
    """Enter the beam after a frame, for which there is room; its size, and what its best is ranked by."""
    row = emissions[t]
    stay = float(row[labels.blank])
    width = len(row) + 1
    value, label_of, text_of, nexts, is_open = tree.value, tree.label, tree.text, tree.nexts, tree.open
    # No extension is worth making that starts below what the best prefix reaches anyhow.
    cutoff = best + max(stay, float(row[tried[0]])) - settings.beam_threshold - settings.hotword_step
    reachable, worst = -np.inf, np.inf
    for index in range(size):
        prefix = beam[index]
        touched[index] = prefix
        value[prefix, FRAME] = t
        value[prefix, NEXT_BLANK] = value[prefix, TOTAL] + stay
        last = label_of[prefix]
        value[prefix, NEXT_LABEL] = value[prefix, ENDS_LABEL] + row[last] if last >= 0 else -np.inf
        stays = max(value[prefix, NEXT_BLANK], value[prefix, NEXT_LABEL]) + value[prefix, BIAS]
        reachable, worst = max(reachable, stays), min(worst, stays)
    # Nor one that comes to less than the beam, as it stands, will take: to less than its last, where it is full, or
    # too far from its best. Where several paths may meet, all are needed to know.
    floor = -np.inf
    if labels.distinct:
        floor = reachable - settings.beam_threshold
        if size >= settings.beam_width:
            floor = max(floor, worst)
        floor -= settings.letter_step
    num_touched = size
    for index in range(size):
        prefix = np.int64(beam[index])
        last = label_of[prefix]
        rank = value[prefix, RANK]
        # Rows of labels go apart where a model scores them.
        origin = np.int64(said.row[prefix]) if settings.has_piece else prefix
        for number in range(num_tried):
            label = np.int64(tried[number])
            log_prob = float(row[label])
            if rank + log_prob < cutoff:
                break
            alone = within[label] and is_open[text_of[prefix]]
            # A label repeated without a blank between is the same label, not a second one.
            reached = log_prob + value[prefix, ENDS_BLANK if label == last else TOTAL]
            if reached == -np.inf:
                continue
            key = origin * width + label + 1
            at = _slot(nexts, counts[WAY_SLOTS], key, clock)
            if nexts[at, 1] >> 32 == clock:
                child = nexts[at, 1] & VALUE
                if child == VALUE:  # leaves a closed vocabulary
                    continue
                if alone and value[child, FRAME] != t and reached + value[child, BIAS] < floor:
                    continue
            elif (
                alone
                and reached
                + value[prefix, BIAS]
                + _loss(tree, lexicon, labels, label, text_of[prefix], settings)
                < floor
            ):
                continue
            else:
                before = text = np.int64(text_of[prefix])
                if settings.closed:
                    entered = _walk(lexicon, labels, label, np.int64(tree.place[text]), is_open[text])
                    if entered < 0:
                        nexts[at, 0], nexts[at, 1] = key, clock << 32 | VALUE
                        counts[WAYS] += 1
                        continue
                for place in range(labels.at[label], labels.at[label + 1]):
                    char = np.int64(labels.chars[place])
                    if char == SPACE and not is_open[text]:
                        continue  # at a boundary already
                    text = _write(
                        tree, clock, counts, text, char, labels.num_chars, lexicon, word_tables, word_states,
                        char_tables, char_states, char_number, settings,
                    )  # fmt: skip
                if settings.closed:
                    tree.place[text] = entered
                child = np.int64(-1 if settings.has_piece else tree.newest[text])
                while child >= 0 and label_of[child] != label:
                    child = np.int64(tree.same[child])
                if child < 0:
                    child = counts[PREFIXES]
                    counts[PREFIXES] += 1
                    tree.same[child] = tree.newest[text]
                    tree.newest[text] = child
                    for column in range(BIAS):
                        value[child, column] = -np.inf
                    value[child, BIAS] = tree.bias[text]
                    if settings.has_hotwords:
                        value[child, BIAS] += _reward(
                            hotwords, labels, label, tree.node, tree.gain, before, is_open[before], text
                        )
                    if settings.has_piece:
                        said.row[child] = origin if piece_number[label] == UNHEARD else child
                        said.history[child], spoken = _say(
                            piece_tables, piece_states, counts, np.int64(said.history[prefix]),
                            np.int64(piece_number[label]),
                        )  # fmt: skip
                        said.score[child] = said.score[prefix] + settings.piece_weight * spoken
                        value[child, BIAS] += said.score[child]
                    value[child, FRAME] = -1
                    tree.previous[child] = prefix
                    label_of[child] = label
                    text_of[child] = text
                nexts[at, 0], nexts[at, 1] = key, clock << 32 | child
                counts[WAYS] += 1
            if value[child, FRAME] != t:
                value[child, FRAME] = t
                value[child, NEXT_BLANK] = -np.inf
                value[child, NEXT_LABEL] = reached
                touched[num_touched] = child
                num_touched += 1
            else:
                value[child, NEXT_LABEL] = _log_add(value[child, NEXT_LABEL], reached)

    best = -np.inf
    for index in range(num_touched):
        prefix = touched[index]
        value[prefix, ENDS_BLANK] = value[prefix, NEXT_BLANK]
        value[prefix, ENDS_LABEL] = value[prefix, NEXT_LABEL]
        total = _log_add(value[prefix, ENDS_BLANK], value[prefix, ENDS_LABEL])
        value[prefix, TOTAL] = total
        value[prefix, RANK] = total + value[prefix, BIAS]
        best = max(best, value[prefix, RANK])
    lowest_rank = best - settings.beam_threshold
    alive = 0
    for index in range(num_touched):
        prefix = touched[index]
        if value[prefix, RANK] >= lowest_rank and value[prefix, TOTAL] > -np.inf:
            touched[alive] = prefix
            ranks[alive] = value[prefix, RANK]
            alive += 1
    if alive > settings.beam_width:
        lowest_rank = _greatest(ranks, alive, settings.beam_width)
    size = np.int64(0)
    ties = settings.beam_width
    for index in range(alive):
        ties -= value[touched[index], RANK] > lowest_rank
    for index in range(alive):
        rank = value[touched[index], RANK]
        if rank > lowest_rank or (rank == lowest_rank and ties > 0):
            ties -= rank == lowest_rank
            beam[size] = touched[index]
            size += 1
    return size, best


@njit(nogil=True, cache=True)
def search(
    emissions: NDArray[np.float32], searcher: Searcher
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """Texts of the last beam.

    Args:
        emissions: natural-log probabilities without NaN, (T, C).
        searcher: of this thread; its workspace grows where it must.
    Returns:
        rows of labels, one after the other; where each text's begins and the last one ends; and log p_CTC, the
        weighted score of models and word bonus, and that of the hotwords, (texts, 3), sorted by their sum,
        best first.
    """
    num_frames, num_labels = emissions.shape
    labels, lexicon, hotwords, word_tables, char_tables, char_number, piece_tables, piece_number, settings = (
        searcher.known
    )
    tree, word_states, char_states, piece_states, said = searcher.workspace
    _clear(tree)
    clock = tree.clock[0]
    word_states.slots[:] = -1
    char_states.slots[:] = -1
    counts = np.zeros(8, np.int64)
    counts[TEXTS] = counts[PREFIXES] = 1
    counts[TEXT_SLOTS] = counts[WAY_SLOTS] = FEWEST_SLOTS
    if settings.has_word:
        tree.history[0] = begin(word_tables, word_states, 0)
        counts[WORD_STATES] = 1
    if settings.has_char:
        tree.spelt[0] = begin(char_tables, char_states, 0)
        counts[CHAR_STATES] = 1
    if settings.has_piece:
        piece_states.slots[:] = -1
        said.row[0], said.history[0], said.score[0] = 0, begin(piece_tables, piece_states, 0), 0.0
        counts[PIECE_STATES] = 1
    tree.node[0] = hotwords.start
    beam, touched, ranks = np.zeros(1024, np.int32), np.zeros(1024, np.int32), np.zeros(1024, np.float64)
    tried = np.zeros(min(settings.max_labels, num_labels), np.int32)
    within = np.ones(num_labels, np.bool_)  # labels that close no word
    for label in range(num_labels):
        for place in range(labels.at[label], labels.at[label + 1]):
            within[label] &= labels.chars[place] != SPACE
    size, silent, best = np.int64(1), 0.0, 0.0
    waited = False  # the last frame had nothing to try: whatever comes next comes after a blank

    for t in range(num_frames):
        num_tried = _near(emissions, t, labels.blank, settings, tried)
        if num_tried == 0:
            silent += float(emissions[t, labels.blank])
            waited = True
            continue
        if waited:
            for index in range(size):
                prefix = beam[index]
                tree.value[prefix, TOTAL] += silent
                tree.value[prefix, ENDS_BLANK] = tree.value[prefix, TOTAL]
                tree.value[prefix, ENDS_LABEL] = -np.inf
                tree.value[prefix, RANK] += silent
            best += silent
            silent = 0.0
            waited = False

        # Room for whatever this frame can add.
        new_prefixes = size * num_tried
        new_texts = new_prefixes * labels.longest
        ways = max(counts[PREFIXES], counts[WAYS]) + new_prefixes
        if counts[TEXTS] + new_texts > len(tree.parent) or ways > len(tree.label):
            tree = _larger(tree, counts, 2 * (counts[TEXTS] + new_texts), 2 * ways)
        counts[TEXT_SLOTS] = _room(tree.texts, counts[TEXT_SLOTS], counts[TEXTS] + new_texts, clock)
        counts[WAY_SLOTS] = _room(tree.nexts, counts[WAY_SLOTS], ways, clock)
        if size + new_prefixes > len(touched):
            larger = np.zeros(2 * (size + new_prefixes), np.int32)
            for index in range(size):
                larger[index] = beam[index]
            beam, touched, ranks = larger, np.zeros(len(larger), np.int32), np.zeros(len(larger), np.float64)
        if settings.has_word and counts[WORD_STATES] + new_texts >= len(word_states.length):
            word_states = more_states(word_states, counts[WORD_STATES], 2 * (counts[WORD_STATES] + new_texts))
        if settings.has_char and counts[CHAR_STATES] + new_texts >= len(char_states.length):
            char_states = more_states(char_states, counts[CHAR_STATES], 2 * (counts[CHAR_STATES] + new_texts))
        if settings.has_piece and counts[PREFIXES] + new_prefixes > len(said.history):
            said = _more_said(said, counts[PREFIXES], 2 * (counts[PREFIXES] + new_prefixes))
        if settings.has_piece and counts[PIECE_STATES] + new_prefixes >= len(piece_states.length):
            more = 2 * (counts[PIECE_STATES] + new_prefixes)
            piece_states = more_states(piece_states, counts[PIECE_STATES], more)

        size, best = _advance(
            emissions, t, tried, num_tried, within, beam, size, best, touched, ranks, counts, clock, tree, said, labels,
            lexicon, hotwords, word_tables, word_states, char_tables, char_states, char_number, piece_tables,
            piece_states, piece_number, settings,
        )  # fmt: skip
        if size == 0:  # every path is impossible: emissions of -inf
            tree.value[0, TOTAL] = -np.inf
            beam[0] = 0
            size = np.int64(1)
            break
    if silent == -np.inf:  # no path is possible to the end
        beam[0] = 0
        size = np.int64(1)
    for index in range(size):
        tree.value[beam[index], TOTAL] += silent
    searcher.workspace = Workspace(tree, word_states, char_states, piece_states, said)
    return _finish(searcher, counts, beam, size)


@njit(nogil=True, cache=True)
def _finish(
    searcher: Searcher, counts: NDArray[np.int64], beam: NDArray[np.int32], size: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """The texts of the beam with their scores as whole utterances, see `search`."""
    _, lexicon, hotwords, word_tables, char_tables, _, piece_tables, _, settings = searcher.known
    tree, word_states, char_states, piece_states, said = searcher.workspace
    totals, unfinished = np.zeros(size, np.float64), np.zeros(size, np.bool_)
    num_unfinished = 0
    for index in range(size):
        totals[index] = tree.value[beam[index], TOTAL]
        text = np.int64(tree.text[beam[index]])
        if settings.closed and tree.open[text] and lexicon.word[tree.place[text]] == NO_WORD:
            unfinished[index] = True
            num_unfinished += 1
    texts, spoken = np.zeros(size, np.int64), np.zeros(size, np.int64)
    sums, final = np.zeros(size, np.float64), np.zeros(size, np.float64)
    together = np.zeros(size, np.float64)  # what the piece model makes of a text's rows
    if settings.has_piece and counts[PIECE_STATES] + 2 > len(piece_states.length):
        piece_states = more_states(piece_states, counts[PIECE_STATES], counts[PIECE_STATES] + 64)
    found = 0
    for index in _order(totals, size):
        prefix = np.int64(beam[index])
        text = np.int64(tree.text[prefix])
        if unfinished[index]:
            if num_unfinished < size:
                continue
            # Back to before the open word: no label crosses a boundary, so some prefix ends there.
            while tree.open[text]:
                text = np.int64(tree.parent[text])
            while tree.open[tree.text[prefix]] and tree.text[prefix] != tree.parent[text]:
                prefix = np.int64(tree.previous[prefix])
        if tree.parent[text] >= 0 and tree.char[text] == SPACE:
            text = np.int64(tree.parent[text])  # "a " is the text "a"
        row = said.score[prefix] if settings.has_piece else 0.0
        if settings.has_piece and settings.score_end:
            history = np.int64(said.history[prefix])
            end = sentence_end(piece_tables, piece_states, counts[PIECE_STATES], history)
            row += settings.piece_weight * end
        same = -1
        for other in range(found):
            if texts[other] == text:
                same = other
        if same >= 0:
            both = _log_add(sums[same], totals[index])
            if settings.has_piece and both > -np.inf:
                together[same] = _log_add(sums[same] + together[same], totals[index] + row) - both
            sums[same] = both
        else:
            texts[found] = text
            spoken[found] = prefix
            sums[found] = totals[index]
            together[found] = row
            found += 1
    if settings.has_word and counts[WORD_STATES] + found + 2 > len(word_states.length):
        word_states = more_states(word_states, counts[WORD_STATES], counts[WORD_STATES] + found + 64)
    if settings.has_char and counts[CHAR_STATES] + 2 > len(char_states.length):
        char_states = more_states(char_states, counts[CHAR_STATES], counts[CHAR_STATES] + 64)
    models, gains = np.zeros(found, np.float64), np.zeros(found, np.float64)
    length = 0
    for number in range(found):
        text = texts[number]
        total, spelling = tree.score[text], tree.spelling[text]
        if settings.score_end:
            end = settings.uniform
            if settings.has_char:
                end = sentence_end(char_tables, char_states, counts[CHAR_STATES], np.int64(tree.spelt[text]))
                total += settings.char_weight * end
            spelling += end
        history = np.int64(tree.history[text])
        if tree.open[text]:
            history, closed = _close(
                tree, lexicon, word_tables, word_states, counts[WORD_STATES], settings, text, spelling
            )
            counts[WORD_STATES] += settings.has_word and history == counts[WORD_STATES]
            total += closed
        if settings.has_word and settings.score_end:
            total += settings.lm_weight * sentence_end(word_tables, word_states, counts[WORD_STATES], history)
        total += together[number]
        models[number] = total
        gains[number] = tree.gain[text]
        if tree.open[text]:  # the end is a boundary too
            gains[number] += hotwords.closing[tree.node[text]]
        final[number] = sums[number] + total + gains[number]
        prefix = spoken[number]
        while prefix > 0:
            length += 1
            prefix = np.int64(tree.previous[prefix])
    rows, at = np.zeros(length, np.int32), np.zeros(found + 1, np.int64)
    parts = np.zeros((found, 3), np.float64)
    filled = 0
    for place, number in enumerate(_order(final, found)):
        parts[place, 0], parts[place, 1], parts[place, 2] = sums[number], models[number], gains[number]
        prefix = spoken[number]
        while prefix > 0:
            filled += 1
            prefix = np.int64(tree.previous[prefix])
        back, prefix = filled, spoken[number]
        while prefix > 0:
            back -= 1
            rows[back] = tree.label[prefix]
            prefix = np.int64(tree.previous[prefix])
        at[place + 1] = filled
    searcher.workspace = Workspace(tree, word_states, char_states, piece_states, said)
    return rows, at, parts
