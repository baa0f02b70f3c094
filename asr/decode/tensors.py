"""What the search in tensors needs to know of labels, words and hotwords: `asr.decode.lexicon` on a device.

Everywhere the number after the last character stands for no character, and the label after the last for no
label: they leave a text as it is, so that all labels of all prefixes can be written in the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from asr.decode.engine import NO_WORD, SPACE, UNHEARD, Hotwords, Lexicon
from asr.decode.lexicon import Models
from lm.tensors import DENSE_ENTRIES, Automaton, HashedNgram, TensorNgram, ngram_tensors


class TensorLabels:
    """What each label writes: perhaps a boundary, then perhaps letters.

    A text is known by a polynomial of its characters modulo 2**64. Writing a string is a product and a sum.
    Among a million texts two share a number once in forty million times.
    """

    def __init__(self, models: Models, device: torch.device) -> None:
        labels, draw = models.labels, np.random.default_rng(0)
        low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
        codes = [int(code) for code in draw.integers(low, high, labels.num_chars)]
        base = int(draw.integers(low, high)) | 1
        self.none = len(labels.at) - 1
        spelled = [labels.chars[start:end].tolist() for start, end in pairwise(labels.at.tolist())]
        letters = [[char for char in chars if char != SPACE] for chars in [*spelled, []]]
        longest = max(map(len, letters))
        sums = []
        for chars in letters:
            total = 0
            for char in chars:
                total = total * base + codes[char]
            sums.append(_signed(total))
        self.boundary = (base, codes[SPACE])
        """Product and sum of a boundary."""

        def tensor(values: Sequence[object]) -> Tensor:
            return torch.tensor(values, device=device)

        self.spaced = tensor([SPACE in chars for chars in [*spelled, []]])
        """Which labels begin with a boundary, (C + 1,)."""
        self.lettered = tensor([bool(chars) for chars in letters])
        self.letters = tensor([[*chars, *[labels.num_chars] * (longest - len(chars))] for chars in letters])
        """Characters of each label after the boundary, (C + 1, most letters)."""
        self.factor = tensor([_signed(pow(base, len(chars), 1 << 64)) for chars in letters])
        self.sum = tensor(sums)
        drawn = [int(code) for code in draw.integers(low, high, self.none)]
        is_heard = [bool(chars) for chars in spelled]
        self.row_factor = tensor([base if heard else 1 for heard in is_heard] + [1])
        self.code = tensor([code if heard else 0 for code, heard in zip(drawn, is_heard, strict=True)] + [0])
        """Product and sum of a label in a row's number, which those that write nothing leave as it is, (C + 1,)."""
        heard = [label if piece != UNHEARD else self.none for label, piece in enumerate(models.piece_number)]
        self.piece = tensor([*heard, self.none])
        """Each label as the piece model's symbol, (C + 1,)."""


class TensorLexicon:
    """Known words as a tree; the node after the last is where no known word begins like the text."""

    def __init__(self, lexicon: Lexicon, num_chars: int, device: torch.device) -> None:
        nodes = len(lexicon.word)
        self.nowhere = nodes
        self._columns = num_chars + 1
        self.no_word = torch.from_numpy(np.append(lexicon.word == NO_WORD, True)).to(device)
        """Where no word ends."""
        known = np.append(np.maximum(lexicon.word, NO_WORD), NO_WORD).astype(np.int64)
        self.is_known = torch.from_numpy(known >= 0).to(device)
        """Where a word of the model ends."""
        self.word = torch.from_numpy(np.maximum(known, 0)).to(device)
        self.best = torch.from_numpy(np.append(lexicon.best, -np.inf)).to(device)
        parents = np.repeat(np.arange(nodes), np.diff(lexicon.at))
        edges = parents * self._columns + lexicon.char[: len(parents)]
        children = lexicon.child[: len(parents)].astype(np.int64)
        self._keys: Tensor | None = None
        if (nodes + 1) * self._columns <= DENSE_ENTRIES:
            table = np.full((nodes + 1) * self._columns, self.nowhere)
            table[edges] = children
            table[num_chars :: self._columns] = np.arange(nodes + 1)
            self._children = torch.from_numpy(table).to(device)
        else:
            order = np.argsort(edges)
            self._keys = torch.from_numpy(np.append(edges[order], np.iinfo(np.int64).max)).to(device)
            self._children = torch.from_numpy(np.append(children[order], self.nowhere)).to(device)

    def step(self, node: Tensor, char: Tensor) -> Tensor:
        """The node one character on."""
        key = node * self._columns + char
        if self._keys is None:
            return self._children[key]
        at = torch.searchsorted(self._keys, key)
        child = torch.where(self._keys[at] == key, self._children[at], self.nowhere)
        return torch.where(char == self._columns - 1, node, child)


class TensorHotwords:
    """The hotwords' automaton with a column for every character."""

    def __init__(self, hotwords: Hotwords, device: torch.device) -> None:
        nodes = len(hotwords.next)
        following = hotwords.next[:, hotwords.column].astype(np.int64)
        self._columns = following.shape[1] + 1
        self._next = torch.from_numpy(np.c_[following, np.arange(nodes)]).to(device).flatten()
        self._gain = torch.from_numpy(np.c_[hotwords.gain[following], np.zeros(nodes)]).to(device).flatten()
        self.promise = torch.from_numpy(hotwords.promise).to(device)
        self.start = hotwords.start

    def step(self, node: Tensor, char: Tensor) -> tuple[Tensor, Tensor]:
        """The node one character on, and the weight of the phrases that end there."""
        at = node * self._columns + char
        return self._next[at], self._gain[at]


class TensorModels:
    """All that one configuration knows, on a device."""

    def __init__(self, models: Models, device: torch.device) -> None:
        settings, num_chars = models.settings, models.labels.num_chars
        self.settings = settings
        self.labels = TensorLabels(models, device)
        self.lexicon = TensorLexicon(models.lexicon, num_chars, device)
        self.hotwords = TensorHotwords(models.hotwords, device)
        self.word = HashedNgram(models.word, device) if settings.has_word else None
        self.character: TensorNgram
        if settings.has_char:
            self.character = ngram_tensors(models.character, models.char_number.astype(np.int64), device)
        else:  # characters are equally likely where no model says otherwise
            even = np.full((1, num_chars), settings.uniform)
            self.character = Automaton(np.zeros((1, num_chars), np.int32), even, even[0, :1], device)
        self.piece: TensorNgram | None = None
        if settings.has_piece:
            numbers = np.maximum(models.piece_number, 0).astype(np.int64)
            self.piece = ngram_tensors(models.piece, numbers, device)


def _signed(value: int) -> int:
    """An integer modulo 2**64, as int64 writes it."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
