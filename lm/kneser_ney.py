"""Interpolated modified Kneser-Ney estimation, as KenLM's lmplz does it.

Chen and Goodman 1998, sections 3 and 4.1, in the form of Heafield et al. 2013. For an n-gram
``c w`` (context ``c``, word ``w``) with adjusted count ``a``:

    p(w | c) = (a(c w) - D(a(c w))) / sum_v a(c v)  +  gamma(c) p(w | c without its first word)
    gamma(c) = (sum_j D_j n_j(c) + mass of the pruned) / sum_v a(c v)

``a`` is the count for the highest order and for n-grams that begin with ``<s>``, and the number
of different words to the left for the others. ``n_j(c)`` counts the words after ``c`` with
``a = j`` (3: three or more). Below the unigrams lies the uniform distribution over the
vocabulary, ``<unk>`` and ``</s>`` included and ``<s>`` not.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lm.corpus import SPECIALS
from lm.errors import InputError

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""Discounts of an order whose counts of counts allow no estimate (lmplz --discount_fallback)."""

MAX_ORDER = 6
"""Longest n-gram that kenlm reads unless it was compiled for more."""

UNK, BOS, EOS = range(3)

Ints = NDArray[np.int64]
Words = NDArray[np.int32]
"""Numbers of words: a vocabulary has no two thousand million."""
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class NGramTable:
    """All n-grams of one order: of an estimate in suffix order (last word first), of a file in its own.

    ``words`` (n-grams, order) are indices into the vocabulary; the rest is (n-grams,), log10.
    """

    words: NDArray[np.integer]
    log10_prob: NDArray[np.floating]
    log10_backoff: NDArray[np.floating]
    """0 where no longer n-gram continues this one."""


@dataclass(frozen=True, kw_only=True)
class BackoffModel:
    """An n-gram model as ARPA holds it; ``tables[k - 1]`` are the n-grams of k words."""

    vocabulary: tuple[str, ...]
    tables: tuple[NGramTable, ...]
    discounts: tuple[tuple[float, float, float], ...]
    """D1, D2, D3+ of each order."""

    @property
    def order(self) -> int:
        """Words in the longest n-gram."""
        return len(self.tables)


@dataclass(kw_only=True)
class _Counts:
    """N-grams of one order before smoothing; rows in suffix order."""

    words: Words  # (rows, order)
    adjusted: Ints
    raw: Ints
    pruned: Bools
    context: Ints  # row of the first order-1 words in the table below; 0 for unigrams
    suffix: Ints  # row of the last order-1 words in the table below; 0 for unigrams


def estimate(
    sentences: Iterable[Sequence[str]],
    order: int,
    *,
    prune: Sequence[int] = (0,),
    fallback: Sequence[float] | None = FALLBACK_DISCOUNTS,
    interpolate_unigrams: bool = True,
) -> BackoffModel:
    """Estimate a model from tokenised sentences.

    Args:
        order: words in the longest n-gram, 2 or more.
        prune: n-grams of k words that occur ``prune[k - 1]`` times or fewer are left out; the
            last value holds for all longer ones.
        fallback: discounts for orders where the estimate fails; None makes that an error.
        interpolate_unigrams: mix unigrams with the uniform distribution, so that ``<unk>`` gets
            one word's share of the freed mass; otherwise ``<unk>`` gets all of it, and an estimate
            that would leave some word nothing counts as failed.
    Raises:
        InputError: no text, a reserved token in it, impossible options, or too little text to
            estimate discounts while ``fallback`` is None.
    """
    thresholds = check_options(order, prune, fallback)
    ids, vocabulary, lengths = _index(sentences)
    rows = _windows(ids, lengths, order)
    rows = rows[np.lexsort(rows.T)]  # suffix order: lexsort's last key, the last word, leads
    levels = _count(rows, order, len(vocabulary), thresholds)
    discounts = tuple(
        _discount(
            _counts_for_discount(levels, n, rows[-1]), n, fallback, interpolated=n > 1 or interpolate_unigrams
        )
        for n in range(1, order + 1)
    )
    tables = _interpolate(levels, discounts, interpolate_unigrams)
    return BackoffModel(vocabulary=vocabulary, tables=tables, discounts=discounts)


def check_options(order: int, prune: Sequence[int], fallback: Sequence[float] | None) -> list[int]:
    """Pruning thresholds of every order, lowest first.

    Raises:
        InputError: the options contradict each other.
    """
    if not 2 <= order <= MAX_ORDER:
        raise InputError(f"order {order}: kenlm reads 2 to {MAX_ORDER}. Give an order between.")
    if not prune or len(prune) > order or any(threshold < 0 for threshold in prune):
        raise InputError(f"prune {list(prune)}: give 1 to {order} thresholds of 0 or more, one per order.")
    if any(low > high for low, high in pairwise(prune)):
        raise InputError(
            f"prune {list(prune)}: thresholds must not fall, or contexts of kept n-grams would go. Try 0 0 1."
        )
    if fallback is not None and (
        len(fallback) != 3 or any(not 0 <= d <= j for j, d in enumerate(fallback, 1))
    ):
        raise InputError(
            f"fallback discounts {list(fallback)}: give three, within 0..1, 0..2 and 0..3. Try 0.5 1 1.5."
        )
    return [*prune, *[prune[-1]] * (order - len(prune))]


def _index(sentences: Iterable[Sequence[str]]) -> tuple[Words, tuple[str, ...], Words]:
    """Word numbers of the whole text with ``</s>`` after each sentence; numbered as they first occur."""
    numbers: dict[str, int] = {word: number for number, word in enumerate(SPECIALS)}
    ids, lengths = array("i"), array("i")  # four bytes each: a text has millions
    for sentence in sentences:
        if not sentence:
            continue
        for word in sentence:
            number = numbers.setdefault(word, len(numbers))
            if number <= EOS:
                raise InputError(
                    f"text: {word} in {' '.join(sentence)[:60]!r} is reserved. Remove it from the text."
                )
            ids.append(number)
        ids.append(EOS)
        lengths.append(len(sentence) + 1)
    if not lengths:
        raise InputError(
            "text: no sentence in it. Give text with at least one sentence that the text policy keeps."
        )
    return np.frombuffer(ids, np.int32), tuple(numbers), np.frombuffer(lengths, np.int32)


def _windows(ids: Words, lengths: Words, order: int) -> Words:
    """The ``order`` words that end at each token, ``<s>`` before a sentence's start: (tokens, order)."""
    place = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # tokens since its start
    rows = np.full((len(ids), order), BOS, np.int32)
    for back in range(order):
        inside = place >= back
        rows[inside, order - 1 - back] = ids[np.flatnonzero(inside) - back]
    return rows


def _count(rows: Words, order: int, size: int, thresholds: Sequence[int]) -> list[_Counts]:
    """Adjusted and raw counts of every order, unigrams first.

    ``rows`` are in suffix order, where all occurrences of an n-gram are neighbours for every
    length at once: each order is a run-length count of the same rows.
    """
    levels: list[_Counts] = []
    keys: list[
        tuple[Ints, Ints]
    ] = []  # per order: sorted (context row, last word) as one number, and its rows
    below = np.zeros(len(rows), np.int64)  # row in the table below of each occurrence's suffix
    for n in range(1, order + 1):
        grams = rows[:, order - n :]
        starts = np.flatnonzero(np.r_[True, (grams[1:] != grams[:-1]).any(axis=1)])
        raw = np.diff(np.r_[starts, len(rows)])
        # An n-gram with <s> after its first word is padding, not text.
        valid = grams[starts, 1] != BOS if n > 1 else np.ones(len(starts), bool)
        words, raw, suffix = grams[starts][valid], raw[valid], below[starts][valid]
        if n == 1:  # <unk> and <s> never end an n-gram: rows of count 0 make row and word number agree
            words = np.concatenate([np.array([[UNK], [BOS]], np.int32), words])
            raw, suffix = np.r_[0, 0, raw], np.zeros(len(words), np.int64)
            assert len(words) == size
        else:
            left = levels[-1]  # how many different words stand left of each shorter n-gram
            left.adjusted = np.where(
                left.words[:, 0] == BOS, left.raw, np.bincount(suffix, minlength=len(left.raw))
            )
        context = _rows_of(words[:, :-1], keys, size)
        number = context * size + words[:, -1]
        by_number = np.argsort(number)
        keys.append((number[by_number], by_number))
        pruned = (raw <= thresholds[n - 1]) & (words[:, 0] > EOS if n == 1 else True)
        levels.append(
            _Counts(words=words, adjusted=raw, raw=raw, pruned=pruned, context=context, suffix=suffix)
        )
        row_of_run = np.cumsum(valid) - 1 + (2 if n == 1 else 0)
        below = np.repeat(row_of_run, np.diff(np.r_[starts, len(rows)]))
    return levels


def _rows_of(grams: Words, keys: Sequence[tuple[Ints, Ints]], size: int) -> Ints:
    """Row of each n-gram (rows, n) in the table of its order; 0 for empty ones."""
    found = np.zeros(len(grams), np.int64)
    for n in range(grams.shape[1]):
        numbers, row = keys[n]
        found = row[np.searchsorted(numbers, found * size + grams[:, n])]
    return found


def _counts_for_discount(levels: Sequence[_Counts], n: int, last: Words) -> Ints:
    """Adjusted counts of the n-grams, as lmplz sees them when it estimates discounts.

    lmplz counts the very last n-gram of each lower order (a suffix of ``last``, the last row in
    suffix order) by its raw count; we do as it does, so that both make the same model.
    """
    counts = levels[n - 1].adjusted
    if n < len(levels) and not (last[len(last) - n :][1:] == BOS).any():
        counts = np.r_[counts[:-1], levels[n - 1].raw[-1]]
    return counts


def _discount(
    counts: Ints, n: int, fallback: Sequence[float] | None, *, interpolated: bool
) -> tuple[float, float, float]:
    """D1, D2 and D3+ of the n-grams from their counts of counts (Chen and Goodman 1998, eq. 26).

    Args:
        interpolated: whether the order below has a share in each n-gram's probability. Where it has none, a
            discount must leave something of its count: without a count of 4, D3+ is 3, and whatever was seen
            three times would be impossible.
    """
    n1, n2, n3, n4 = (int((counts == j).sum()) for j in range(1, 5))
    if n1 and n2 and n3:
        # float32, as lmplz: a discount of exactly 0 is allowed, one of -1e-16 would not be
        s1, s2, s3, s4 = np.array([n1, n2, n3, n4], np.float32)
        y = s1 / np.float32(n1 + 2 * n2)
        ratios = (2 * y * s2 / s1, 3 * y * s3 / s2, 4 * y * s4 / s3)
        d1, d2, d3 = (float(np.float32(j) - ratio) for j, ratio in enumerate(ratios, 1))
        left = min(1 - d1, 2 - d2, 3 - d3)
        if min(d1, d2, d3) >= 0 and (left >= 0 if interpolated else left > 0):
            return d1, d2, d3
    if fallback is None:
        raise InputError(
            f"text: too small or too uniform to estimate the discounts of {n}-grams "
            f"({n1} seen once, {n2} twice, {n3} three times, {n4} four). Allow fallback discounts or give more text."
        )
    return fallback[0], fallback[1], fallback[2]


def _interpolate(
    levels: Sequence[_Counts], discounts: Sequence[tuple[float, float, float]], interpolate_unigrams: bool
) -> tuple[NGramTable, ...]:
    tables: list[NGramTable] = []
    lower = np.ones(1)  # probability of each n-gram of the order below, by row; then the uniform one
    gammas: list[Floats] = []
    probs: list[Floats] = []
    for k, level in enumerate(levels):
        amounts = np.array([0.0, *discounts[k]])
        contexts = len(levels[k - 1].words) if k else 1
        kept = np.where(level.pruned, 0, level.adjusted)
        total = np.bincount(level.context, level.adjusted, contexts)
        freed = np.bincount(level.context, amounts[np.minimum(kept, 3)] + level.adjusted - kept, contexts)
        gamma = np.divide(freed, total, out=np.ones(contexts), where=total > 0)
        own = (level.adjusted - amounts[np.minimum(level.adjusted, 3)]) / total[level.context]
        if k == 0:
            # <s> is no outcome: it takes no part in the uniform share.
            uniform = 1 / (int((~level.pruned).sum()) - 1)
            prob = own + gamma[0] * uniform if interpolate_unigrams else own
            if not interpolate_unigrams:
                prob[UNK] = gamma[0]
            prob[BOS] = 1.0
        else:
            prob = own + gamma[level.context] * lower[level.suffix]
        lower = prob
        probs.append(prob)
        gammas.append(gamma)
    for k, level in enumerate(levels):
        keep = ~level.pruned
        backoff = np.zeros(len(keep))
        if k + 1 < len(levels):
            continued = (level.words[:, -1] != EOS) & (level.words[:, -1] != UNK)
            backoff = np.where(continued, _log10(gammas[k + 1]), 0.0)
        tables.append(
            NGramTable(
                words=level.words[keep],
                log10_prob=np.minimum(_log10(probs[k][keep]), 0.0),
                log10_backoff=backoff[keep],
            )
        )
    return tuple(tables)


def _log10(values: Floats) -> Floats:
    """Logarithm with a floor of -99: kenlm refuses minus infinity."""
    return np.log10(np.maximum(values, 1e-99))
