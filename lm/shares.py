"""What part of a text each token of an n-gram model is.

Unigrams do not say it: those of a Kneser-Ney model are shares of different neighbours, so that a rare sign in many
places counts a hundredfold, and a frequent one in a fixed expression as nothing.
"""

from __future__ import annotations

from collections.abc import Set

import numpy as np
from numpy.typing import NDArray

from lm.corpus import SPECIALS
from lm.tables import NgramTables, walk

MAX_ENTRIES = 4_000_000
"""Histories times tokens that are looked at: some seconds, and 200 MB."""
STEPS = 30
"""Tokens that a text is followed for; letters have forgotten long before where they began."""

Shares = NDArray[np.float64]


def counted_shares(counts: NDArray[np.int64], tokens: list[str], silent: Set[str]) -> Shares | None:
    """Of tokens that were counted when the model was made; None where all counts are 0.

    Args:
        silent: tokens that do not count.
    """
    return _normalised(counts.astype(np.float64), tokens, silent)


def walked_shares(tables: NgramTables, tokens: list[str], silent: Set[str]) -> Shares | None:
    """Of the texts that the model itself would write, endlessly; None where it has more than `MAX_ENTRIES`.

    For tokens as few as letters: every history is met.
    """
    numbers = np.array([n for n, token in enumerate(tokens) if token not in SPECIALS], np.int64)
    after, log_prob, end = walk(tables, numbers, MAX_ENTRIES // (len(numbers) + 1))
    if not len(after):
        return None
    likeliest = np.maximum(log_prob.max(axis=1), end)
    chance, ends = np.exp(log_prob - likeliest[:, None]), np.exp(end - likeliest)
    total = chance.sum(axis=1) + ends  # less than 1 of <unk>, or the file's own mistakes
    chance /= total[:, None]
    ends /= total
    mass = np.full(len(ends), 1 / len(ends))
    for _ in range(STEPS):
        found = np.bincount(after.ravel(), (mass[:, None] * chance).ravel(), len(mass))
        found[0] += mass @ ends  # another sentence begins
        mass = (mass + found) / 2  # half stays, or texts in which tokens take turns would never settle
    shares = np.zeros(len(tokens))
    shares[numbers] = mass @ chance
    return _normalised(shares, tokens, silent)


def unigram_shares(tables: NgramTables, tokens: list[str], silent: Set[str]) -> Shares:
    """Of the unigrams' probability: an estimate, and a poor one for letters."""
    chances = 10.0 ** -np.abs(tables.prob.astype(np.float64))
    found = _normalised(chances, tokens, silent)
    if found is None:  # it says of none that it is likely
        found = _normalised(np.ones(len(tokens)), tokens, silent)
    return np.zeros(len(tokens)) if found is None else found


def _normalised(amounts: Shares, tokens: list[str], silent: Set[str]) -> Shares | None:
    found = np.where([token not in silent for token in tokens], amounts, 0.0)
    return found / found.sum() if found.any() else None
