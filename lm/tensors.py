"""An n-gram model in tensors: many histories are asked at once, on any device, and no number is looked at.

A history is a row of integers, one of tensors (..., width), so that a search can gather it like its other
numbers. Both forms of a model answer as `lm.tables` does, in float64. Nothing here depends on the values in a
tensor: the same kernels run for every history, and may be captured as a CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.tables import LN10, NgramTables, walk

DENSE_ENTRIES = 1 << 24
"""Most entries of a table with a row for every state and a column for every symbol: 270 MB for an n-gram."""
_COMBINE, _SALT = 8978948897894561157, 17894857484156487943 - (1 << 64)
"""Factors of kenlm's hash (`lm.tables`); int64 wraps as uint64 does."""


class TensorNgram(Protocol):
    """An n-gram model over symbols; natural logs in float64."""

    start: Tensor
    """History of a sentence's beginning, (width,)."""

    def score(self, history: Tensor, symbol: Tensor) -> tuple[Tensor, Tensor]:
        """History after a symbol, (..., width), and log p(symbol | history), (...).

        Args:
            history: (..., width).
            symbol: (...); one more than the last symbol leaves the history as it is, at a price of 0.
        """
        ...

    def end(self, history: Tensor) -> Tensor:
        """Log p(</s> | history), (...)."""
        ...


def ngram_tensors(tables: NgramTables, numbers: NDArray[np.int64], device: torch.device) -> TensorNgram:
    """The model over a few symbols, as an automaton where that is small enough.

    Args:
        numbers: in the model, of each symbol.
    """
    found = walk(tables, numbers, DENSE_ENTRIES // (len(numbers) + 1))
    if len(found[0]):
        return Automaton(*found, device)
    return HashedNgram(tables, device, numbers)


class Automaton:
    """A row for each history, a column for each symbol, and a last column for no symbol."""

    def __init__(
        self, after: NDArray[np.int32], log_prob: NDArray[np.float64], end: NDArray[np.float64],
        device: torch.device,
    ) -> None:  # fmt: skip
        """
        Args:
            after: history after each symbol, (H, V); history 0 is a sentence's beginning.
            log_prob: of each symbol, (H, V).
            end: log-probability of the sentence's end, (H,).
        """
        histories = len(after)
        self._after = torch.from_numpy(np.c_[after, np.arange(histories)]).to(device).flatten()
        self._log_prob = torch.from_numpy(np.c_[log_prob, np.zeros(histories)]).to(device).flatten()
        self._end = torch.from_numpy(end).to(device)
        self._columns = after.shape[1] + 1
        self.start = torch.zeros(1, dtype=torch.int64, device=device)

    def score(self, history: Tensor, symbol: Tensor) -> tuple[Tensor, Tensor]:
        """See `TensorNgram.score`."""
        at = history[..., 0] * self._columns + symbol
        return self._after[at][..., None], self._log_prob[at]

    def end(self, history: Tensor) -> Tensor:
        """See `TensorNgram.end`."""
        return self._end[history[..., 0]]


class HashedNgram:
    """kenlm's tables with their keys in order, for models with too many histories to lay out.

    A history is its words, the latest first, -1 where there is none, and the backoffs of its first one,
    two, ... words as the bits of float64.
    """

    def __init__(
        self, tables: NgramTables, device: torch.device, numbers: NDArray[np.int64] | None = None
    ) -> None:
        """
        Args:
            numbers: in the model, of each symbol; without it the symbols are the numbers themselves.
        """
        self._words = tables.order - 1
        self._unigrams = _Entries.of(tables.prob, tables.backoff, device)
        self._longer = []
        for low, high in zip(tables.middle_at[:-1], tables.middle_at[1:], strict=True):
            keys, probs = tables.middle_key[low:high], tables.middle_prob[low:high]
            self._longer.append(_Level.of(keys, probs, tables.middle_backoff[low:high], device))
        none = np.zeros_like(tables.longest_prob)
        self._longer.append(_Level.of(tables.longest_key, tables.longest_prob, none, device))
        self._numbers = None if numbers is None else torch.from_numpy(np.append(numbers, 0)).to(device)
        self._sentence_end = torch.tensor(tables.end, device=device)
        self._places = torch.arange(self._words, device=device)
        words = torch.full((self._words,), -1, device=device)
        words[0] = tables.start
        backoffs = torch.zeros(self._words, dtype=torch.float64, device=device)
        backoffs[0] = self._unigrams.backoff[tables.start]
        self.start = torch.cat([words, backoffs.view(torch.int64)])

    def score(self, history: Tensor, symbol: Tensor) -> tuple[Tensor, Tensor]:
        """See `TensorNgram.score`."""
        if self._numbers is None:
            return self._advance(history, symbol)
        after, log_prob = self._advance(history, self._numbers[symbol])
        is_none = symbol == len(self._numbers) - 1
        return torch.where(is_none[..., None], history, after), torch.where(is_none, 0.0, log_prob)

    def end(self, history: Tensor) -> Tensor:
        """See `TensorNgram.end`."""
        return self._advance(history, self._sentence_end.expand(history.shape[:-1]))[1]

    def _advance(self, history: Tensor, word: Tensor) -> tuple[Tensor, Tensor]:
        words, backoffs = history[..., : self._words], history[..., self._words :].view(torch.float64)
        total = self._unigrams.log_prob[word]
        going = self._unigrams.goes_on[word]
        length = self._unigrams.extends[word].to(torch.int64)  # words that can still matter
        after = [self._unigrams.backoff[word]]
        key = word
        for place, level in enumerate(self._longer):
            key = key * _COMBINE ^ (words[..., place] + 1) * _SALT
            at = torch.searchsorted(level.keys, key)
            hit = going & (level.keys[at] == key)
            # Where a longer n-gram is found, the shorter one needs no backoff.
            total = torch.where(hit, level.entries.log_prob[at], total + backoffs[..., place])
            if place + 1 < self._words:
                after.append(level.entries.backoff[at])
                length = torch.where(hit & level.entries.extends[at], place + 2, length)
                going = hit & level.entries.goes_on[at]
        kept = self._places < length[..., None]
        words = torch.where(kept, torch.cat([word[..., None], words[..., :-1]], dim=-1), -1)
        backoffs = torch.where(kept, torch.stack(after, dim=-1), 0.0)
        return torch.cat([words, backoffs.view(torch.int64)], dim=-1), total


@dataclass(frozen=True)
class _Entries:
    """What is known of n-grams."""

    log_prob: Tensor
    backoff: Tensor
    goes_on: Tensor
    """Some longer n-gram ends with it."""
    extends: Tensor
    """Some longer n-gram begins with it."""

    @classmethod
    def of(cls, prob: NDArray[np.float32], backoff: NDArray[np.float32], device: torch.device) -> _Entries:
        """From kenlm's log10, with its flags in the signs."""
        return cls(
            torch.from_numpy(-np.abs(prob.astype(np.float64)) * LN10).to(device),
            torch.from_numpy(backoff.astype(np.float64) * LN10).to(device),
            torch.from_numpy(~np.signbit(prob)).to(device),
            torch.from_numpy(~((backoff == 0) & np.signbit(backoff))).to(device),
        )


@dataclass(frozen=True)
class _Level:
    """The n-grams of one order."""

    keys: Tensor
    """In order; the last is no n-gram's, so that every search ends at an entry."""
    entries: _Entries

    @classmethod
    def of(
        cls, keys: NDArray[np.uint64], prob: NDArray[np.float32], backoff: NDArray[np.float32],
        device: torch.device,
    ) -> _Level:  # fmt: skip
        """From a hash table with key 0 in its empty slots."""
        signed = np.where(keys == 0, np.iinfo(np.int64).max, keys.view(np.int64))
        order = np.argsort(signed, kind="stable")
        # One empty slot is kept: a table of kenlm's always has some.
        order = order[: np.count_nonzero(keys) + 1]
        return cls(
            torch.from_numpy(signed[order]).to(device), _Entries.of(prob[order], backoff[order], device)
        )
