"""KenLM's binary format (version 5, probing hash tables), read and written without KenLM.

Layout, little-endian: a header with test values, the vocabulary as a hash table, the unigrams by
word number, one hash table for each longer order, and the words as strings. Two floats carry a
flag in their sign: a probability is positive where the n-gram extends to the left, a backoff of +0
marks an n-gram that extends to the right. The same ARPA file gives the same bytes as
`build_binary probing`.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lm.arpa import read_arpa
from lm.errors import InputError
from lm.kneser_ney import UNK, BackoffModel, NGramTable

MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"
"""First bytes of every such file."""
ANY_MAGIC = MAGIC[: MAGIC.index(b" format")]
"""First bytes of those of any version, and of unfinished ones."""

_PROBING_MULTIPLIER = np.float32(1.5)
"""Hash buckets per entry; build_binary's default."""
_MASK = (1 << 64) - 1
COMBINE = np.uint64(8978948897894561157)
SALT = np.uint64(17894857484156487943)
"""Of the hash of an n-gram."""
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
        InputError: the ARPA file cannot be read, or misses n-grams that its longer ones begin with.
    """
    binary = Path(binary)
    data = to_binary(read_arpa(arpa), str(arpa))
    partial = binary.with_name(binary.name + ".partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, binary)
    finally:
        partial.unlink(missing_ok=True)


def to_binary(model: BackoffModel, name: str = "the model") -> bytes:
    """The bytes of a kenlm binary; needs order 2 or more.

    Raises:
        InputError: the beginning of some n-gram is no n-gram itself.
    """
    found = to_probing(model, name)
    longer = [int(np.count_nonzero(table["key"])) for table in (*found.middle, found.longest)]
    counts = [len(model.tables[0].words), *longer]
    fixed = _FIXED.pack(found.order, float(_PROBING_MULTIPLIER), 0, True, 0)
    header = (_SANITY + fixed + struct.pack(f"<{found.order}Q", *counts)).ljust(
        _header_size(found.order), b"\0"
    )
    hashes = np.array([_murmur(word.encode()) for word in found.words[1:]], np.uint64)
    vocabulary = np.zeros(_buckets(counts[0], float(_PROBING_MULTIPLIER)), _WORD)
    keys, places, _ = _spread(hashes, len(vocabulary))
    vocabulary["key"] = keys
    vocabulary["number"][places] = np.arange(1, len(found.words))
    lookup = struct.pack("<II", 0, len(found.words)) + vocabulary.tobytes()
    unigrams = np.zeros(counts[0] + 1, _UNIGRAM)
    unigrams[: len(found.words)] = found.unigrams
    tables = [table.tobytes() for table in (*found.middle, found.longest)]
    strings = b"".join(word.encode() + b"\0" for word in found.words)
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


def to_probing(model: BackoffModel, name: str = "the model") -> ProbingModel:
    """The tables of a kenlm binary, without the way through its bytes.

    N-grams that longer ones end with but the model lacks, as SRILM leaves them out, are added as kenlm does it:
    with the probability that backing off gives them, and nothing to back off to.

    Raises:
        InputError: the order is 1, an n-gram comes twice, or its beginning is no n-gram itself.
    """
    if model.order < 2:
        raise InputError(f"{name} has order 1; orders from 2 are read. Build a longer one.")
    unigrams = np.zeros(len(model.vocabulary), _UNIGRAM)
    unigrams[UNK] = (-100.0, 0.0)  # kenlm's probability of <unk> where the model has none
    middle: list[NDArray[np.void]] = []
    keys, places, size = np.zeros(0, np.uint64), model.tables[0].words[:, 0], len(model.vocabulary)
    for table, longer in pairwise(_with_endings(model.tables)):
        rows = np.full(size, -1)  # by bucket, of words by number
        rows[places] = np.arange(len(places))
        begins = _rows_of(longer.words[:, :-1], keys, rows)
        ends = _rows_of(longer.words[:, 1:], keys, rows)
        alone = np.flatnonzero((begins < 0) | (ends < 0))
        if len(alone):
            raise InputError(
                f"{name}: a part of {_text(model, longer, alone[0])!r} is no n-gram of the model. "
                "Prune it so that what n-grams begin with stays, or build it again."
            )
        added = np.isnan(longer.log10_prob)
        longer.log10_prob[added] = table.log10_prob[ends[added]] + table.log10_backoff[begins[added]]
        target = unigrams
        if table is not model.tables[0]:
            target = np.zeros(size, _MIDDLE)
            target["key"] = keys
            middle.append(target)
        target["prob"][places], target["backoff"][places] = _signed(table, begins, ends)
        hashes = _hashes(longer.words)
        keys, places, twice = _spread(hashes, _buckets(len(hashes), float(_PROBING_MULTIPLIER)))
        if twice >= 0:
            raise InputError(f"{name}: {_text(model, longer, twice)!r} comes twice. Make the file again.")
        size = len(keys)
    longest = np.zeros(size, _LONGEST)
    longest["key"] = keys
    longest["prob"][places] = -np.abs(model.tables[-1].log10_prob)
    return ProbingModel(list(model.vocabulary), unigrams, middle, longest)


def parse_binary(data: bytes | mmap.mmap, name: str) -> ProbingModel:
    """The tables of a kenlm binary.

    Raises:
        InputError: it is not of the kind ``probing``, was made without its words, or lacks some of them.
    """
    order, multiplier, kind, has_words, _ = _FIXED.unpack_from(data, len(_SANITY))
    if kind != 0:
        raise InputError(
            f"language model {name} is a kenlm binary of another kind than probing. Give the ARPA file it was "
            "made from, or make it with `build_binary probing`."
        )
    wordless = InputError(f"language model {name} holds no words. Give the ARPA file it was made from.")
    if not has_words:
        raise wordless
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
    if data[at : at + 6] != b"<unk>\0":
        raise wordless
    words = data[at:].decode("utf-8", "replace").rstrip("\0").split("\0")
    if len(words) < counts[0]:
        raise InputError(f"language model {name}: damaged or cut short. Copy or build it again.")
    return ProbingModel(words, unigrams[: len(words)], middle, longest)


def check_binary(path: str | Path) -> None:
    """Refuse a damaged binary, whose tables would be searched for ever.

    The header is checked for all kinds, the vocabulary and the places of things for probing
    files. Changed weights cannot be seen: only a checksum finds those.

    Raises:
        InputError: the file is cut short or damaged.
    """
    path = Path(path)
    size = path.stat().st_size
    versioned = MAGIC[: MAGIC.index(b"5")]
    damaged = InputError(f"language model {path}: damaged or cut short. Copy or build it again.")
    with path.open("rb") as file:
        head = file.read(len(_SANITY) + _FIXED.size + 8 * 16)
        if head.startswith(versioned) and not MAGIC.startswith(head[: len(MAGIC)]):
            raise InputError(
                f"language model {path} is a kenlm binary of another version than 5. Give the ARPA file it was made "
                "from, or make it again with `build_binary probing` of today's kenlm."
            )
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


def _with_endings(tables: Sequence[NGramTable]) -> list[NGramTable]:
    """The tables, and in them the n-grams that longer ones end with and they lack; of those the probability is NaN."""
    found = list(tables)
    for at in range(len(found) - 2, 0, -1):  # the longest first: what is added has an ending too
        table, ends = found[at], found[at + 1].words[:, 1:]
        missing = np.unique(ends[~np.isin(_hashes(ends), _hashes(table.words))], axis=0)
        if len(missing):
            nothing = np.zeros(len(missing), np.float32)
            found[at] = NGramTable(
                words=np.concatenate([table.words, missing]),
                log10_prob=np.concatenate([table.log10_prob, nothing + np.nan]),
                log10_backoff=np.concatenate([table.log10_backoff, nothing]),
            )
    return found


def _signed(
    table: NGramTable, begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights with kenlm's flags, of rows that begin and rows that end longer n-grams."""
    left, right = np.zeros(len(table.words), np.bool_), np.zeros(len(table.words), np.bool_)
    left[ends], right[begins] = True, True
    prob = table.log10_prob.astype(np.float32)
    backoff = table.log10_backoff.astype(np.float32)
    plain = -np.abs(prob) if table.words.shape[1] > 1 else prob  # a unigram's 0 stays +0 in kenlm
    zero = np.where(right, np.float32(0.0), np.float32(-0.0))
    return np.where(left, np.abs(prob), plain), np.where(backoff == 0, zero, backoff)


def _text(model: BackoffModel, table: NGramTable, row: int) -> str:
    return " ".join(model.vocabulary[word] for word in table.words[row])


@njit(nogil=True, cache=True)
def _hashes(words: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Of each n-gram (N, n), from its last word to its first."""
    found = np.empty(len(words), np.uint64)
    for row in range(len(words)):
        key = np.uint64(words[row, -1])
        for place in range(words.shape[1] - 2, -1, -1):
            key = (key * COMBINE) ^ (np.uint64(1 + words[row, place]) * SALT)
        found[row] = key
    return found


@njit(nogil=True, cache=True)
def _spread(hashes: NDArray[np.uint64], size: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], int]:
    """Enter keys into a table of ``size`` buckets: the table, the bucket of each, and a row that comes twice or -1.

    Linear probing; key 0 marks an empty bucket.
    """
    keys = np.zeros(size, np.uint64)
    places = np.empty(len(hashes), np.int64)
    twice = -1
    for row in range(len(hashes)):
        at = np.int64(hashes[row] % np.uint64(size))
        while keys[at] != 0:
            if keys[at] == hashes[row]:
                twice = row
            at = at + 1 if at + 1 < size else 0
        keys[at] = hashes[row]
        places[row] = at
    return keys, places, twice


@njit(nogil=True, cache=True, inline="always")
def find(keys: NDArray[np.uint64], low: int, size: int, key: int) -> int:
    """Place of a key in the table of ``size`` buckets that begins at ``low``, or -1."""
    at = np.int64(key % np.uint64(size))
    while True:
        found = keys[low + at]
        if found == key:
            return low + at
        if found == 0:
            return -1
        at += 1
        if at == size:
            at = 0


@njit(nogil=True, cache=True)
def _rows_of(
    words: NDArray[np.int64], keys: NDArray[np.uint64], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Row of each n-gram (N, n) in the table of its order, or -1; ``rows`` has them by bucket, of words by number."""
    found = np.empty(len(words), np.int64)
    hashes = _hashes(words)
    for row in range(len(words)):
        at = np.int64(words[row, 0])
        if words.shape[1] > 1:
            at = find(keys, 0, len(keys), hashes[row])
        found[row] = rows[at] if at >= 0 else -1
    return found


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
