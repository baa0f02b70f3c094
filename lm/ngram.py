"""An n-gram model that scores one token after another; the decoder's compiled search asks its tables itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lm.errors import InputError
from lm.kneser_ney import BackoffModel
from lm.tables import UNKNOWN, NgramTables, advance, load_tables, make_tables, sentence_log_probs

State = tuple[int, ...]
"""What a model remembers of the history: numbers of the words that can still matter, the latest first. Equal where no
future score can differ."""


class NgramModel:
    """An n-gram model in memory.

    Tokens that the model does not know score as ``<unk>``. States are values: `score` returns a
    new one, and two histories whose states are equal score alike from then on, so a beam search
    may merge them.
    """

    def __init__(self, tables: NgramTables, words: list[str], path: Path) -> None:
        """
        Args:
            words: by number.
            path: the file it was read from, for messages and for other tools.
        """
        self.tables = tables, words
        self.path = path
        self.counts: NDArray[np.int64] | None = None
        """How often each token, by number, stands in the text it was made from; None where unknown."""

    @classmethod
    def load(cls, path: str | Path) -> NgramModel:
        """Read an ARPA file (gzipped or not) or a kenlm binary.

        Raises:
            InputError: the file is missing, is neither, is cut short or damaged, its order is 1, or the binary is of
                another kind than probing or without its words.
        """
        path = Path(path)
        try:
            if path.stat().st_size == 0:
                raise InputError(f"language model {path} is empty. Copy or build it again.")
            return cls(*load_tables(path), path)
        except OSError as error:
            raise InputError(
                f"language model {path}: {error.strerror}. Give an .arpa file or a kenlm binary."
            ) from error

    @classmethod
    def of(cls, model: BackoffModel, name: str) -> NgramModel:
        """A model that was estimated here, under a name in place of a file's."""
        return cls(*make_tables(model, name), Path(name))

    @property
    def order(self) -> int:
        """Words in the longest n-gram."""
        return self.tables[0].order

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every token with a unigram, and ``<unk>``."""
        return tuple(self.tables[1])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.tables[1])}

    def __contains__(self, token: str) -> bool:
        return self._number(token) != UNKNOWN

    def _number(self, token: str) -> int:
        return self._numbers.get(token, UNKNOWN)

    def start(self) -> State:
        """State at the start of a sentence, after ``<s>``."""
        return (self.tables[0].start,)

    def empty(self) -> State:
        """State that knows nothing of what came before."""
        return ()

    def score(self, state: State, token: str) -> tuple[State, float]:
        """The state after ``token``, and the natural log p(token | state)."""
        after, log_prob = advance(self.tables[0], np.array(state, np.int32), self._number(token))
        return tuple(after.tolist()), log_prob

    def end(self, state: State) -> float:
        """Natural log p(</s> | state)."""
        return self.score(state, "</s>")[1]

    def log_probs(self, tokens: Iterable[str]) -> list[float]:
        """Natural log probability of each token of a sentence, then of its end."""
        number = self._numbers.get
        numbers = np.array([number(token, UNKNOWN) for token in tokens], np.int64)
        found: list[float] = sentence_log_probs(self.tables[0], numbers).tolist()
        return found
