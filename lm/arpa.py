"""ARPA files: the text form of an n-gram model, written and read without kenlm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO, cast

import numpy as np

from lm.errors import InputError
from lm.kneser_ney import UNK, BackoffModel, NGramTable

DECIMALS = 5
"""Decimals written: log10 values are then within 5e-6."""

GZIP_MAGIC = b"\x1f\x8b"
_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    GZIP_MAGIC: gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
"""What each kind of compressed file begins with."""

_COUNT_LINE = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)\s*")
_MAX_LINE = 1 << 20
"""Longest line read, in characters: no n-gram is a megabyte, but a file without line ends may be."""

_MAX_BACKOFF = 1e30
"""Beyond it 32 bits hold no number."""


def write_arpa(model: BackoffModel, path: str | Path) -> None:
    """Write a model whole or not at all; a name that ends in ``.gz`` is compressed."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with _open_new(partial, compressed=path.suffix == ".gz") as out:
            out.write("\\data\\\n")
            out.writelines(f"ngram {n}={len(table.words)}\n" for n, table in enumerate(model.tables, 1))
            for n, table in enumerate(model.tables, 1):
                out.write(f"\n\\{n}-grams:\n")
                rows = zip(
                    table.words.tolist(), table.log10_prob.tolist(), table.log10_backoff.tolist(), strict=True
                )
                for words, prob, backoff in rows:
                    gram = " ".join([model.vocabulary[word] for word in words])
                    weight = f"\t{_number(backoff)}" if backoff and n < model.order else ""
                    out.write(f"{_number(prob)}\t{gram}{weight}\n")
            out.write("\n\\end\\\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_arpa(path: str | Path) -> BackoffModel:
    """Read a whole model; its weights in 32 bits, as kenlm keeps them, its n-grams in the file's order.

    Word 0 is ``<unk>``, which older tools write ``<UNK>``, also where the file has none.

    Raises:
        InputError: the file is missing or is not a whole ARPA file; names the line.
    """
    with open_arpa(path) as lines:
        reader = _Reader(lines, f"ARPA {path}")
        counts = reader.counts()
        numbers = {"<unk>": UNK}
        tables = [reader.unigrams(counts[0], len(counts) == 1, numbers)]
        vocabulary = tuple(numbers)
        numbers["<UNK>"] = UNK
        for n, count in enumerate(counts[1:], 2):
            tables.append(reader.longer(n, count, n == len(counts), numbers))
        reader.expect("\\end\\")
    return BackoffModel(vocabulary=vocabulary, tables=tuple(tables), discounts=())


def read_counts(path: str | Path) -> list[int]:
    """N-grams of each order, from the header.

    Raises:
        InputError: the file is missing or does not begin as an ARPA file does.
    """
    with open_arpa(path) as lines:
        return _Reader(lines, f"ARPA {path}").counts()


def read_unigrams(path: str | Path) -> dict[str, float]:
    """The words that have a unigram, in the file's order, and its log10 probability.

    Raises:
        InputError: as `read_arpa`, for the part that is read.
    """
    with open_arpa(path) as lines:
        reader = _Reader(lines, f"ARPA {path}")
        counts = reader.counts()
        return {word: prob for (word,), prob, _ in reader.section(1, counts[0], len(counts) == 1)}


@contextmanager
def open_arpa(path: str | Path) -> Iterator[TextIO]:
    """Open an ARPA file, compressed or not, for reading; its faults become `InputError`."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            begun = file.read(8)
        opened: Callable[..., Any] = next(
            (opened for magic, opened in _COMPRESSED.items() if begun.startswith(magic)), open
        )
        with opened(path, "rb") as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"ARPA {path} is not UTF-8 ({error.reason}). Make it again from UTF-8 text."
        ) from error
    except OSError as error:
        if error.strerror:
            raise InputError(f"ARPA {path}: {error.strerror}. Give an .arpa file that exists.") from error
        raise _broken(path, error) from error  # of gzip and bz2
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> InputError:
    return InputError(f"ARPA {path}: broken compressed file ({error}). Copy or make it again.")


class _Reader:
    """Walks an ARPA file; every complaint names the file, the line, and what to do."""

    def __init__(self, lines: TextIO, where: str) -> None:
        self.lines = lines
        self.where = where
        self.number = 0

    def fail(self, why: str) -> InputError:
        return InputError(f"{self.where}, line {self.number}: {why}. Copy or make the file again.")

    def line(self) -> str:
        """The next line that is not empty, without its end."""
        while True:
            line = self.lines.readline(_MAX_LINE)
            self.number += 1
            if not line:
                raise self.fail("the file ends too early")
            if line.strip(" \t\r\n"):
                return line.rstrip("\r\n")

    def expect(self, wanted: str) -> None:
        got = self.line()
        if got.strip() != wanted:
            raise self.fail(f"{got[:40]!r} where {wanted} should be")

    def counts(self) -> list[int]:
        line = self.line()
        while line.startswith("#"):
            line = self.line()
        if line.strip() != "\\data\\":
            raise InputError(
                f"{self.where}: begins with {line[:40]!r}, not \\data\\. Give an ARPA or kenlm binary file."
            )
        counts: list[int] = []
        while True:  # an empty line ends the counts
            line = self.lines.readline(_MAX_LINE)
            self.number += 1
            match = _COUNT_LINE.fullmatch(line.rstrip("\r\n"))
            if match is None:
                break
            if int(match[1]) != len(counts) + 1 or len(match[2]) > 12:
                raise self.fail(f"{line.strip()[:40]!r} is not the count of {len(counts) + 1}-grams")
            counts.append(int(match[2]))
        if not counts or line.strip():
            raise self.fail(f"{line.strip()[:40]!r} where the count of {len(counts) + 1}-grams should be")
        return counts

    def unigrams(self, count: int, last: bool, numbers: dict[str, int]) -> NGramTable:
        """The words with their weights; each gets the next of ``numbers``."""
        rows = _Rows(1)
        for (word,), prob, backoff in self.section(1, count, last):
            number = UNK if word in ("<unk>", "<UNK>") else len(numbers)
            if number and numbers.setdefault(word, number) != number:
                raise self.fail(f"{word[:40]!r} comes twice")
            rows.add((number,), prob, backoff)
        return rows.table()

    def longer(self, n: int, count: int, last: bool, numbers: Mapping[str, int]) -> NGramTable:
        """The n-grams of ``n`` words."""
        rows = _Rows(n)
        for words, prob, backoff in self.section(n, count, last):
            try:
                rows.add([numbers[word] for word in words], prob, backoff)
            except KeyError as error:
                raise self.fail(f"{error.args[0][:40]!r} is not among the unigrams") from None
        return rows.table()

    def section(self, n: int, count: int, last: bool) -> Iterator[tuple[list[str], float, float]]:
        """Words, log10 probability and log10 backoff of each n-gram."""
        self.expect(f"\\{n}-grams:")
        for _ in range(count):
            # kenlm wants a tab between the parts; other tools write spaces or tabs throughout.
            fields = self.line().replace("\t", " ").split(" ")
            if "" in fields:
                fields = [field for field in fields if field]
            try:
                prob = float(fields[0])
                backoff = float(fields[n + 1]) if len(fields) > n + 1 else 0.0
            except (ValueError, IndexError):
                raise self.fail(f"{' '.join(fields)[:40]!r} is not a probability and {n} words") from None
            # Some tools write a weight of 0 where no longer n-gram can follow.
            most = 0.0 if last else _MAX_BACKOFF
            if not n < len(fields) <= n + 2 or not prob <= 0 or not (abs(backoff) < most or backoff == 0):
                raise self.fail(f"{' '.join(fields)[:40]!r} is not a probability and {n} words")
            yield fields[1 : n + 1], prob, backoff


class _Rows:
    """N-grams as they are read: a model of a gigabyte must not become as many Python objects."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.words = array("i")
        self.prob = array("f")
        self.backoff = array("f")

    def add(self, words: Iterable[int], prob: float, backoff: float) -> None:
        self.words.extend(words)
        self.prob.append(prob)
        self.backoff.append(backoff)

    def table(self) -> NGramTable:
        words = np.frombuffer(self.words, np.int32).reshape(-1, self.order)
        weights = (np.frombuffer(each, np.float32) for each in (self.prob, self.backoff))
        return NGramTable(words=words, log10_prob=next(weights), log10_backoff=next(weights))


def _open_new(path: Path, compressed: bool) -> TextIO:
    # No time stamp: the same model gives the same bytes.
    raw = gzip.GzipFile(path, "wb", mtime=0) if compressed else path.open("wb")
    return io.TextIOWrapper(cast(IO[bytes], raw), encoding="utf-8", newline="\n")


def _number(value: float) -> str:
    """Shortest form within `DECIMALS`."""
    text = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
