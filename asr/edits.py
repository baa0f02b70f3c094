"""Levenshtein alignment: which edits turn one sequence of tokens into another."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_BLOCK = 1024  # columns of the edit matrix kept at once; bounds the memory of an hour-long text


@dataclass(frozen=True, slots=True)
class Counts:
    """The edits that turn a reference into a hypothesis. Counts of parts add up with ``+``."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    correct: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def length(self) -> int:
        """Tokens of the reference."""
        return self.substitutions + self.deletions + self.correct

    @property
    def rate(self) -> float:
        """Errors per reference token: 0 when both sides are empty, infinite when only the reference is."""
        if self.length:
            return self.errors / self.length
        return float("inf") if self.errors else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.correct + other.correct,
        )

    @classmethod
    def of(cls, operations: str) -> Counts:
        """Count the letters that `edit_operations` gives."""
        return cls(*(operations.count(letter) for letter in "SDIC"))


def error_counts(reference: Sequence[str], hypothesis: Sequence[str]) -> Counts:
    """Substitutions, deletions, insertions and correct tokens of an alignment with the fewest errors.

    Args:
        reference: tokens: a list of words, or a string, which is a sequence of characters.
        hypothesis: tokens of the same kind.

    >>> error_counts("kayman shamuy wawki".split(), "kayman wawki".split())
    Counts(substitutions=0, deletions=1, insertions=0, correct=2)
    """
    return Counts.of(edit_operations(reference, hypothesis))


def num_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """The errors of `error_counts` without saying which: in a fraction of its time.

    >>> num_errors("kitten", "sitting")
    3
    """
    head, tail = _alike(reference, hypothesis)
    reference = reference[head : len(reference) - tail]
    hypothesis = hypothesis[head : len(hypothesis) - tail]
    hits = _hits(reference, hypothesis)
    full = (1 << len(reference)) - 1
    plus, minus = full, 0
    for first in range(0, len(hypothesis), _BLOCK):
        plus, minus = _columns((plus, minus), hits[first : first + _BLOCK], full)[-1]
    return len(hypothesis) + plus.bit_count() - minus.bit_count()


def edit_operations(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    """One letter for each step of an alignment with the fewest errors: C, S, D or I.

    Only the number of errors is unique. Where several alignments share it, the one taken is
    found from the end, a deletion before an insertion before a substitution, which is jiwer's
    choice too; sclite, which weighs a substitution 4 and the others 3, may split the same total
    otherwise.

    The edit matrix is kept as the bits of its vertical differences (Myers 1999; Hyyrö 2003), a
    column of it in two integers, so that a step costs a few operations on whole columns: two
    texts of 2,000 words take a hundredth of a second.

    >>> edit_operations("kitten", "sitting")
    'SCCCSCI'
    """
    head, tail = _alike(reference, hypothesis)
    middle = _trace(reference[head : len(reference) - tail], hypothesis[head : len(hypothesis) - tail])
    return "C" * head + middle + "C" * tail


def _alike(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[int, int]:
    """How many tokens at the beginning, and how many at the end beyond those, are the same."""
    shared = min(len(reference), len(hypothesis))
    head = 0
    while head < shared and reference[head] == hypothesis[head]:
        head += 1
    tail = 0
    while tail < shared - head and reference[-1 - tail] == hypothesis[-1 - tail]:
        tail += 1
    return head, tail


def _hits(reference: Sequence[str], hypothesis: Sequence[str]) -> list[int]:
    """Of each token of the hypothesis, the bits of the reference positions that hold it."""
    places: dict[str, int] = {}
    for position, token in enumerate(reference):
        places[token] = places.get(token, 0) | 1 << position
    return [places.get(token, 0) for token in hypothesis]


def _trace(reference: Sequence[str], hypothesis: Sequence[str]) -> str:
    if not reference or not hypothesis:
        return "D" * len(reference) + "I" * len(hypothesis)
    hits = _hits(reference, hypothesis)
    full = (1 << len(reference)) - 1
    # Forward: only the first column of each block is kept; backward, each block is made again.
    firsts = list(range(0, len(hits), _BLOCK))
    states = [(full, 0)]
    for first in firsts[:-1]:
        states.append(_columns(states[-1], hits[first : first + _BLOCK], full)[-1])
    row, column = len(reference), len(hypothesis)
    steps: list[str] = []
    for first, state in zip(reversed(firsts), reversed(states), strict=True):
        columns = _columns(state, hits[first:column], full)
        while row and column > first:
            if columns[column - first][0] >> (row - 1) & 1:  # one more than the cell above
                steps.append("D")
                row -= 1
                continue
            column -= 1
            if columns[column - first][1] >> (row - 1) & 1:  # left cell is one less than the diagonal
                steps.append("I")
            else:
                row -= 1
                steps.append("C" if reference[row] == hypothesis[column] else "S")
        if not row:
            break
    return "D" * row + "I" * column + "".join(reversed(steps))


def _columns(state: tuple[int, int], hits: Sequence[int], full: int) -> list[tuple[int, int]]:
    """The columns after each token of a block, ``state`` first.

    Bit i of a column's two integers says that the cell of reference position i is one more, or
    one less, than the cell above it.
    """
    plus, minus = state
    columns = [state]
    for hit in hits:
        diagonal = ((((hit & plus) + plus) ^ plus) | hit | minus) & full  # same value as the diagonal cell
        across_plus = (minus | (full ^ (diagonal | plus))) << 1 | 1
        across_minus = (diagonal & plus) << 1
        plus = (across_minus | ~(diagonal | across_plus)) & full
        minus = across_plus & diagonal
        columns.append((plus, minus))
    return columns


def edit_rows(reference: Sequence[str], hypothesis: Sequence[str], operations: str) -> tuple[str, str, str]:
    """Reference, hypothesis and edits as three rows whose columns line up on a terminal.

    >>> words, heard = "ari kayman shamuychik".split(), "ari kay man shamuychik".split()
    >>> for row in edit_rows(words, heard, edit_operations(words, heard)):
    ...     print(row)
    ari *** kayman shamuychik
    ari kay man    shamuychik
        I   S
    """
    said, heard = iter(reference), iter(hypothesis)
    rows: tuple[list[str], list[str], list[str]] = ([], [], [])
    for operation in operations:
        cells = (
            None if operation == "I" else next(said),
            None if operation == "D" else next(heard),
            "" if operation == "C" else operation,
        )
        width = max(_display_width(cell) for cell in cells if cell is not None)
        for row, cell in zip(rows, cells, strict=True):
            # A gap is as wide as the word it stands for, so that the eye finds it.
            row.append("*" * width if cell is None else cell + " " * (width - _display_width(cell)))
    return (" ".join(rows[0]).rstrip(), " ".join(rows[1]).rstrip(), " ".join(rows[2]).rstrip())


def _display_width(text: str) -> int:
    """Columns of a terminal: combining marks take none, wide characters two."""
    bases = [c for c in text if unicodedata.category(c) not in ("Mn", "Me")]
    return len(bases) + sum(unicodedata.east_asian_width(c) in "WF" for c in bases)
