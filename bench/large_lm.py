"""What a large language model costs to read: ``python -m bench.large_lm [--quick]``.

An ARPA file of a gigabyte, made here, and the kenlm binary of it, each read into the decoder.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.decode import BeamDecoder, BeamSearchConfig
from bench import common
from lm.binary import arpa_to_binary
from lm.folder import LanguageModel

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIZES = (600_000, 12_000_000, 17_000_000)
"""Words, pairs and triples of a model of a gigabyte."""
QUICK_SIZES = (60_000, 300_000, 600_000)
PROTOCOL = """
A word 3-gram of pseudo-words of four to eight letters. Each file is read by a process of its own, which then makes a
decoder and decodes 2 s of noise; memory is the peak of the process beyond what it has after its imports. One thread.
"""


@dataclass(frozen=True)
class Run:
    """One file, read."""

    mib: float
    held_mib: float
    """After the decoder is made."""
    load_s: float
    decoder_s: float


def main() -> int:
    """Measure and print."""
    args = common.parser(__doc__ or "").parse_args()
    machine = common.start("large language models", PROTOCOL, "numba")
    figures: dict[str, dict[str, float]] = {}
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        arpa, binary = Path(folder, "large.arpa"), Path(folder, "large.bin")
        write_large(arpa, *(QUICK_SIZES if args.quick else SIZES))
        began = time.perf_counter()
        common.alone(arpa_to_binary, arpa, binary)
        print(f"to a kenlm binary in {time.perf_counter() - began:.0f} s\n")
        for path in (arpa, binary):
            run = common.alone(read, path)
            size = path.stat().st_size / 1e6
            rows.append([path.suffix[1:], f"{size:.0f}", run.mib, run.held_mib, run.load_s, run.decoder_s])
            figures[path.suffix[1:]] = {"mb": round(size), **{k: round(v, 1) for k, v in vars(run).items()}}
    common.table(["file", "MB", "MiB at most", "MiB held", "reading s", "decoder s"], rows)
    common.finish({"large_lm": figures, "machine": machine})
    return 0


def read(path: Path) -> Run:
    """Read a model and decode with it."""
    surfaces = ("", " ", *LETTERS)
    before = common.memory_mib("VmRSS")
    began = time.perf_counter()
    model = LanguageModel.load(path)
    loaded = time.perf_counter()
    decoder = BeamDecoder(surfaces, 0, model, BeamSearchConfig(lm_weight=0.5))
    made = time.perf_counter()
    noise = np.random.default_rng(0).normal(size=(100, len(surfaces)))
    decoder.decode((noise - np.log(np.exp(noise).sum(1, keepdims=True))).astype(np.float32))
    return Run(
        common.memory_mib() - before, common.memory_mib("VmRSS") - before, loaded - began, made - loaded
    )


def write_large(path: Path, words: int, pairs: int, triples: int) -> None:
    """A model whose every n-gram has its parts: pairs and triples are walks from word to word."""
    draw = np.random.default_rng(0)
    letters = np.array(list(LETTERS))
    names: dict[str, None] = {}
    while len(names) < words:
        for spelled in letters[draw.integers(0, 26, (words, 8))]:
            names["".join(spelled[: draw.integers(4, 9)])] = None
            if len(names) == words:
                break
    known = list(names)
    each = pairs // words
    following = draw.integers(0, words - each, (words, each))
    following.sort(axis=1)
    following += np.arange(each)  # none comes twice
    counts = (words + 3, words * each, triples)

    def pairs_of() -> Iterator[tuple[int, int]]:
        for first in range(words):
            for second in following[first].tolist():
                yield first, second

    with path.open("w", encoding="utf-8") as out:
        out.write("\\data\\\n" + "".join(f"ngram {n}={count}\n" for n, count in enumerate(counts, 1)))
        out.write("\n\\1-grams:\n-6.1\t<unk>\n-99\t<s>\t-0.2\n-2.1\t</s>\n")
        out.writelines(
            f"-{5 + n % 97 / 100:.5f}\t{word}\t-{n % 31 / 100:.5f}\n" for n, word in enumerate(known)
        )
        out.write("\n\\2-grams:\n")
        for n, (first, second) in enumerate(pairs_of()):
            out.write(f"-{2 + n % 9973 / 1e4:.5f}\t{known[first]} {known[second]}\t-{n % 89 / 100:.5f}\n")
        out.write("\n\\3-grams:\n")
        left = triples
        for first, second in pairs_of():
            for third in following[second, : -(-triples // counts[1])].tolist():
                if left:
                    left -= 1
                    out.write(
                        f"-{1 + left % 9973 / 1e4:.5f}\t{known[first]} {known[second]} {known[third]}\n"
                    )
        out.write("\n\\end\\\n")


if __name__ == "__main__":
    sys.exit(main())
