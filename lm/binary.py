"""KenLM's binary format (version 5, probing hash tables), written without KenLM's build_binary.

The kenlm wheel reads binaries but cannot make them. Layout, little-endian: a header with test
values, the vocabulary as a hash table, the unigrams by word number, one hash table for each
longer order, and the words as strings. Two floats carry a flag in their sign: a probability is
positive where the n-gram extends to the left, a backoff of +0 marks an n-gram that extends to the
right. The same ARPA file gives the same bytes as `build_binary probing`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lm.arpa import ArpaModel, read_arpa
from lm.errors import InputError

MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"
"""First bytes of every such file."""

_PROBING_MULTIPLIER = np.float32(1.5)
"""Hash buckets per entry; build_binary's default."""
_MASK = (1 << 64) - 1
_MIDDLE = np.dtype([("key", "<u8"), ("prob", "<f4"), ("backoff", "<f4")])
_LONGEST = np.dtype([("key", "<u8"), ("prob", "<f4")])
_WORD = np.dtype([("key", "<u8"), ("number", "<u4")])
_UNIGRAM = np.dtype([("prob", "<f4"), ("backoff", "<f4")])
_SANITY = struct.pack("<56s3f3IQ", MAGIC, 0.0, 1.0, -0.5, 1, 0xFFFFFFFF, 0, 1)
_FIXED = struct.Struct(
    "<B3xfI?3xI"
)  # order, buckets per entry, kind of model (0: probing), has words, version


def arpa_to_binary(arpa: str | Path, binary: str | Path) -> None:
    """Write the binary form of an ARPA file, whole or not at all.

    Raises:
        InputError: the ARPA file cannot be read, or misses n-grams that its longer ones need.
    """
    binary = Path(binary)
    data = to_binary(read_arpa(arpa), str(arpa))
    partial = binary.with_name(binary.name + ".partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, binary)
    finally:
        partial.unlink(missing_ok=True)


def to_binary(model: ArpaModel, name: str = "the model") -> bytes:
    """The bytes of a kenlm binary; needs order 2 or more.

    Raises:
        InputError: the end or the beginning of some n-gram is no n-gram itself.
    """
    order = model.order
    if order < 2:
        raise InputError(f"{name}: kenlm holds models of 2 words or more, this has 1. Build a longer one.")
    words = ["<unk>", *(word for (word,) in model.grams[0] if word not in ("<unk>", "<UNK>"))]
    numbers = {word: number for number, word in enumerate(words)} | {"<UNK>": 0}
    counts = [len(grams) for grams in model.grams]
    right, left = _extensions(model, name)

    vocabulary = _table(_WORD, counts[0], ((_murmur(word.encode()), (numbers[word],)) for word in words[1:]))
    unigrams = np.zeros(counts[0] + 1, _UNIGRAM)
    unigrams[0] = (-100.0, 0.0)  # kenlm's probability of <unk> where the model has none
    for (word,), weights in model.grams[0].items():
        unigrams[numbers[word]] = _signed((word,), weights, left, right, unigram=True)
    tables: list[bytes] = []
    for grams in model.grams[1:-1]:
        entries = (
            (_key([numbers[word] for word in gram]), _signed(gram, weights, left, right))
            for gram, weights in grams.items()
        )
        tables.append(_table(_MIDDLE, len(grams), entries).tobytes())
    longest = (
        (_key([numbers[word] for word in gram]), (-abs(prob),)) for gram, (prob, _) in model.grams[-1].items()
    )
    tables.append(_table(_LONGEST, counts[-1], longest).tobytes())

    fixed = _FIXED.pack(order, float(_PROBING_MULTIPLIER), 0, True, 0)
    header = (_SANITY + fixed + struct.pack(f"<{order}Q", *counts)).ljust(_header_size(order), b"\0")
    lookup = struct.pack("<II", 0, len(words)) + vocabulary.tobytes()
    strings = b"".join(word.encode() + b"\0" for word in words)
    return b"".join([header, lookup, unigrams.tobytes(), *tables, strings])


@dataclass(frozen=True)
class ProbingModel:
    """The parts of a probing binary."""

    words: list[str]
    """By number; ``<unk>`` first."""
    unigrams: NDArray[np.void]
    middle: list[NDArray[np.void]]
    """Hash tables of the orders 2 to ``order - 1``."""
    longest: NDArray[np.void]

    @property
    def order(self) -> int:
        """Words in the longest n-gram."""
        return len(self.middle) + 2


def parse_binary(data: bytes, name: str) -> ProbingModel:
    """The tables of a kenlm binary.

    Raises:
        InputError: it is not of the kind ``probing``, or was made without its words.
    """
    order, multiplier, kind, has_words, _ = _FIXED.unpack_from(data, len(_SANITY))
    if kind != 0:
        raise InputError(
            f"language model {name} is a kenlm binary of another kind than probing. Give the ARPA file it was "
            "made from, or make it with `build_binary probing`."
        )
    if not has_words:
        raise InputError(f"language model {name} holds no words. Give the ARPA file it was made from.")
    counts = struct.unpack_from(f"<{order}Q", data, len(_SANITY) + _FIXED.size)
    at = _header_size(order) + 8 + _buckets(counts[0], multiplier) * _WORD.itemsize

    def table(dtype: np.dtype[np.void], size: int) -> NDArray[np.void]:
        nonlocal at
        found = np.frombuffer(data, dtype, size, at)
        at += size * dtype.itemsize
        return found

    unigrams = table(_UNIGRAM, counts[0] + 1)
    middle = [table(_MIDDLE, _buckets(count, multiplier)) for count in counts[1:-1]]
    longest = table(_LONGEST, _buckets(counts[-1], multiplier))
    words = data[at:].decode("utf-8", "replace").rstrip("\0").split("\0")
    return ProbingModel(words, unigrams[: len(words)], middle, longest)


def read_binary_vocabulary(path: str | Path) -> list[str]:
    """Words of a kenlm binary: the strings at its end, which begin with ``<unk>``.

    Raises:
        InputError: the file holds no words (made with `build_binary` without its vocabulary).
    """
    data = Path(path).read_bytes()
    at = data.find(b"<unk>\0")
    if at < 0:
        raise InputError(f"language model {path} holds no words. Give the ARPA file it was made from.")
    return data[at:].decode("utf-8", "replace").rstrip("\0").split("\0")


def check_binary(path: str | Path) -> None:
    """Refuse a damaged binary: kenlm believes what it maps, and would crash or search for ever.

    The header is checked for all kinds, the vocabulary and the places of things for probing
    files. Changed weights cannot be seen: only a checksum finds those.

    Raises:
        InputError: the file is cut short or damaged.
    """
    path = Path(path)
    size = path.stat().st_size
    damaged = InputError(f"language model {path}: damaged or cut short. Copy or build it again.")
    with path.open("rb") as file:
        head = file.read(len(_SANITY) + _FIXED.size + 8 * 16)
        try:
            order, multiplier, kind, _, _ = _FIXED.unpack_from(head, len(_SANITY))
            counts = struct.unpack_from(f"<{min(order, 16)}Q", head, len(_SANITY) + _FIXED.size)
        except struct.error:
            raise damaged from None
        if not head.startswith(_SANITY) or not 2 <= order <= 16 or not 1 < multiplier < 100 or kind > 5:
            raise damaged
        if any(count > size for count in counts):
            raise damaged
        if kind != 0:
            return
        start = _header_size(order)
        vocabulary = _buckets(counts[0], multiplier) * _WORD.itemsize
        middles = sum(_buckets(count, multiplier) for count in counts[1:-1]) * _MIDDLE.itemsize
        longest = _buckets(counts[-1], multiplier) * _LONGEST.itemsize
        words_at = start + 8 + vocabulary + (counts[0] + 1) * _UNIGRAM.itemsize + middles + longest
        if words_at > size:
            raise damaged
        file.seek(start)
        version, bound = struct.unpack("<II", file.read(8))
        table = np.frombuffer(file.read(vocabulary), _WORD)
        if version or bound > counts[0] + 1 or (table["number"] >= bound).any() or (table["key"] != 0).all():
            raise damaged
        file.seek(words_at)
        if size > words_at and file.read(6) != b"<unk>\0":
            raise damaged


def _extensions(model: ArpaModel, name: str) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """N-grams that begin a longer one, and n-grams that end one."""
    right: set[tuple[str, ...]] = set()
    left: set[tuple[str, ...]] = set()
    for lower, grams in zip(model.grams, model.grams[1:], strict=False):
        right.update(gram[:-1] for gram in grams)
        left.update(gram[1:] for gram in grams)
        missing = next((g for g in grams if g[:-1] not in lower or g[1:] not in lower), None)
        if missing:
            raise InputError(
                f"{name}: a part of {' '.join(missing)!r} is no n-gram of the model. "
                "Use the ARPA file as it is, or convert it with KenLM's build_binary."
            )
    return right, left


def _signed(
    gram: tuple[str, ...],
    weights: tuple[float, float],
    left: set[tuple[str, ...]],
    right: set[tuple[str, ...]],
    unigram: bool = False,
) -> tuple[float, float]:
    prob, backoff = weights
    if gram in left:
        prob = abs(prob)
    elif not unigram:  # a unigram's 0 stays +0 in kenlm, and so must here
        prob = -abs(prob)
    if backoff == 0:
        backoff = 0.0 if gram in right else -0.0
    return prob, backoff


def _key(numbers: list[int]) -> int:
    """Hash of an n-gram, from its last word to its first."""
    key = numbers[-1]
    for number in reversed(numbers[:-1]):
        key = (key * 8978948897894561157 & _MASK) ^ ((1 + number) * 17894857484156487943 & _MASK)
    return key


def _table(
    dtype: np.dtype[np.void], size: int, entries: Iterable[tuple[int, tuple[float, ...]]]
) -> NDArray[np.void]:
    """A hash table with linear probing; key 0 marks an empty bucket."""
    buckets = _buckets(size, float(_PROBING_MULTIPLIER))
    rows: list[tuple[float, ...] | None] = [None] * buckets
    for key, values in entries:
        at = key % buckets
        while rows[at] is not None:
            at = (at + 1) % buckets
        rows[at] = (key, *values)
    empty = (0,) * len(dtype.names or ())
    return np.array([row or empty for row in rows], dtype)


def _buckets(entries: int, multiplier: float) -> int:
    return max(entries + 1, int(np.float32(multiplier) * np.float32(entries)))


def _header_size(order: int) -> int:
    return -(-(len(_SANITY) + _FIXED.size + 8 * order) // 8) * 8


def _murmur(data: bytes) -> int:
    """MurmurHash64A with seed 0 (Austin Appleby, public domain): kenlm's hash of a word."""
    multiplier = 0xC6A4A7935BD1E995
    value = len(data) * multiplier & _MASK
    whole = len(data) - len(data) % 8
    for (block,) in struct.iter_unpack("<Q", data[:whole]):
        block = block * multiplier & _MASK
        block = (block ^ block >> 47) * multiplier & _MASK
        value = (value ^ block) * multiplier & _MASK
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * multiplier & _MASK
    value = (value ^ value >> 47) * multiplier & _MASK
    return value ^ value >> 47
