"""Sentences for a language model: from files, as words, as characters, as pieces."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lm.errors import InputError

PIECE_SPACE = "▁"
"""Token of the word boundary in a character model, and the beginning of a word's first piece (U+2581, as in
sentencepiece)."""

SPECIALS = ("<unk>", "<s>", "</s>")
"""Tokens that a model holds besides the text's own, and that no text may hold."""

_HASH_BYTES = 6
"""48 bits: two different sentences of a million share a hash with probability 0.002."""


def read_sentences(paths: Iterable[str | Path]) -> Iterator[str]:
    """Lines of text files, one sentence each, as they are; empty lines are left out.

    Raises:
        InputError: a file is missing, is not UTF-8, or holds a zero byte.
    """
    for path in map(Path, paths):
        try:
            with path.open(encoding="utf-8-sig", newline="\n") as lines:
                for number, line in enumerate(lines, start=1):
                    if "\0" in line:
                        raise InputError(
                            f"text {path}, line {number}: a zero byte. Give UTF-8 text, not a binary file."
                        )
                    if line.strip():
                        yield line.strip()
        except OSError as error:
            raise InputError(
                f"text {path}: {error.strerror}. Give UTF-8 text files with one sentence a line."
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(f"text {path} is not UTF-8 ({error.reason}). Save it as UTF-8.") from error


def normalised(sentences: Iterable[str], policy: Callable[[str], str] | None) -> list[str]:
    """Sentences under a text policy, with single spaces; those that it empties are left out."""
    texts = (" ".join((policy(sentence) if policy else sentence).split()) for sentence in sentences)
    return [text for text in texts if text]


def words_of(sentence: str) -> list[str]:
    """Tokens of a word model.

    >>> words_of("imanalla  mashi")
    ['imanalla', 'mashi']
    """
    return sentence.split()


def characters_of(sentence: str) -> list[str]:
    """Tokens of a character model: one per code point, a space becomes `PIECE_SPACE`.

    >>> characters_of("ña ni")
    ['ñ', 'a', '▁', 'n', 'i']
    """
    return [PIECE_SPACE if character == " " else character for character in " ".join(sentence.split())]


def piece_of(written: str) -> str:
    """Token of a piece model for the piece that writes this.

    >>> piece_of(" ma")
    '▁ma'
    """
    return written.replace(" ", PIECE_SPACE)


@dataclass(frozen=True)
class Splitter:
    """How a recogniser cuts texts into its sentence pieces."""

    pieces: tuple[str, ...]
    """All that it has, sorted, as `piece_of` writes them."""
    split: Callable[[str], list[str]]
    """Pieces of a sentence, and between them what none writes, as it is."""


def alphabet_of(sentences: Iterable[str]) -> str:
    """Characters that occur, sorted by code point; the space among them."""
    return "".join(sorted({character for sentence in sentences for character in sentence}))


@dataclass(frozen=True)
class SentenceSet:
    """Hashes of training sentences, enough to say whether a text was among them."""

    hashes: frozenset[bytes]

    @classmethod
    def of(cls, sentences: Iterable[str]) -> SentenceSet:
        """The set of some sentences, compared whole after normalisation."""
        return cls(frozenset(map(_hash, sentences)))

    def __contains__(self, sentence: str) -> bool:
        return _hash(sentence) in self.hashes

    def to_bytes(self) -> bytes:
        """The hashes, sorted, end to end."""
        return b"".join(sorted(self.hashes))

    @classmethod
    def from_bytes(cls, data: bytes) -> SentenceSet:
        """The inverse of `to_bytes`."""
        return cls(frozenset(data[at : at + _HASH_BYTES] for at in range(0, len(data), _HASH_BYTES)))


def repeated(sentences: Iterable[str]) -> int:
    """Sentences that are copies of an earlier one.

    >>> repeated(["a", "b", "a", "a"])
    2
    """
    counts = Counter(sentences)
    return counts.total() - len(counts)


def _hash(sentence: str) -> bytes:
    return hashlib.blake2b(sentence.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()
