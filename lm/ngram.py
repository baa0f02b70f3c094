"""An n-gram model that scores one token after another; the only module that knows kenlm."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import kenlm

from lm.arpa import GZIP_MAGIC, open_arpa, read_counts, read_unigrams
from lm.binary import MAGIC, check_binary, read_binary_vocabulary
from lm.errors import InputError
from lm.tables import LN10, NgramTables, load_tables

State = Any
"""What a model remembers of the history (kenlm.State): hashable; equal where no future score can differ."""


class NgramModel:
    """An n-gram model in memory.

    Tokens that the model does not know score as ``<unk>``. States are values: `score` returns a
    new one, and two histories whose states are equal score alike from then on, so a beam search
    may merge them.
    """

    def __init__(self, model: Any, path: Path) -> None:
        self._model = model
        self._base_score = model.BaseScore
        self.path = path

    @classmethod
    def load(cls, path: str | Path) -> NgramModel:
        """Read an ARPA file (gzipped or not) or a kenlm binary.

        Raises:
            InputError: the file is missing, is neither, is cut short or damaged, or its order is
                1 or beyond what kenlm was compiled for.
        """
        path = Path(path)
        head = _head(path)
        if head.startswith(MAGIC[:40]):
            check_binary(path)
            return cls(_open(path, path), path)
        _check_arpa(path, read_counts(path))
        if not head.startswith(GZIP_MAGIC):
            return cls(_open(path, path), path)
        # A wheel compiled without zlib cannot read gzip; after loading, kenlm needs no file.
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder, "model.arpa")
            with open_arpa(path) as lines, plain.open("w", encoding="utf-8", newline="\n") as out:
                for line in lines:
                    out.write(line)
            return cls(_open(plain, path), path)

    def __reduce__(self) -> tuple[Any, ...]:
        return NgramModel.load, (self.path,)

    @property
    def order(self) -> int:
        """Words in the longest n-gram."""
        return int(self._model.order)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every token with a unigram, ``<unk>``, ``<s>`` and ``</s>`` included; read from the file.

        Raises:
            InputError: a binary was made without its words.
        """
        if _head(self.path).startswith(MAGIC[:40]):
            return tuple(read_binary_vocabulary(self.path))
        return tuple(read_unigrams(self.path))

    @cached_property
    def tables(self) -> tuple[NgramTables, list[str]]:
        """The model in arrays, for compiled code, and its words by number.

        Raises:
            InputError: a binary of another kind than probing, or without its words.
        """
        return load_tables(self.path)

    def __contains__(self, token: str) -> bool:
        return bool(token in self._model)

    def start(self) -> State:
        """State at the start of a sentence, after ``<s>``."""
        state = kenlm.State()
        self._model.BeginSentenceWrite(state)
        return state

    def empty(self) -> State:
        """State that knows nothing of what came before."""
        state = kenlm.State()
        self._model.NullContextWrite(state)
        return state

    def score(self, state: State, token: str) -> tuple[State, float]:
        """The state after ``token``, and the natural log p(token | state)."""
        after = kenlm.State()
        return after, self._base_score(state, token, after) * LN10

    def end(self, state: State) -> float:
        """Natural log p(</s> | state)."""
        return self.score(state, "</s>")[1]

    def log_probs(self, tokens: Iterable[str]) -> list[float]:
        """Natural log probability of each token of a sentence, then of its end."""
        state, scores = self.start(), []
        for token in tokens:
            state, log_prob = self.score(state, token)
            scores.append(log_prob)
        return [*scores, self.end(state)]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        raise InputError(
            f"language model {path}: {error.strerror}. Give an .arpa file or a kenlm binary."
        ) from error
    if not head:
        raise InputError(f"language model {path} is empty. Copy or build it again.")
    return head


def _check_arpa(path: Path, counts: list[int]) -> None:
    """Refuse a header whose counts the file cannot hold: kenlm would first ask for the memory."""
    size = path.stat().st_size
    if _head(path).startswith(GZIP_MAGIC):
        size *= 1032  # deflate's best
    if len(counts) < 2:
        raise InputError(f"language model {path} has order 1; kenlm reads 2 and more. Build a longer one.")
    if sum(counts) > size // 4:
        raise InputError(
            f"language model {path}: too short for its {sum(counts)} n-grams. Copy or build it again."
        )


def _open(path: Path, shown: Path) -> Any:
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(os.fsencode(path), config)
    except (
        OSError,
        RuntimeError,
        MemoryError,
        UnicodeDecodeError,
    ) as error:  # the last: kenlm quotes broken UTF-8
        text = " ".join(str(error).split())
        order = re.search(r"has order (\d+) but KenLM was compiled to support up to (\d+)", text)
        if order:
            raise InputError(
                f"language model {shown} has order {order[1]}, and kenlm here reads up to {order[2]}. "
                f"Build it with order {order[2]}, or compile kenlm with MAX_ORDER={order[1]} set."
            ) from error
        # Cannot read model 'FILE' (SOURCE:LINE in FUNCTION threw TYPE because `CONDITION'. REASON Byte: NUMBER)
        reason = re.sub(r"^Cannot read model .*?' \(", "", text)
        reason = re.sub(
            r"^\S+:\d+ in .*? threw [\w:]+(?: because `.*?'(?=\. |\.?$))?[. ]*|( Byte: \d+)?\)?$", "", reason
        )
        if "Expected tab" in reason:
            raise InputError(
                f"language model {shown}: spaces where ARPA files have tabs between the parts of a line "
                f"({reason}). Write a tab after the probability, and one before the backoff weight."
            ) from error
        raise InputError(
            f"language model {shown}: kenlm cannot read it ({reason[:300].rstrip('. ')}). Copy or build it again."
        ) from error
