"""Measure the recordings of a corpus, several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asr import audio
from lm.errors import InputError

MAX_JOBS = 8
"""More readers than this wait for the disk."""


def measure(
    paths: Iterable[Path],
    *,
    trust_header: bool = False,
    jobs: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Path, float | str]:
    """Seconds of each file, or the reason why it cannot be read.

    Args:
        trust_header: believe a header that gives a length, instead of decoding to the end.
        jobs: files at once; 0 is one per core, at most `MAX_JOBS`. Threads suffice: the decoders
            work outside the interpreter's lock.
        progress: called with the number of files done and the number of all.
    """

    def one(path: Path) -> float | str:
        try:
            promised = audio.probe(path).header_duration_s if trust_header else None
            return audio.measure(path) if promised is None else promised
        except InputError as error:
            return str(error)

    paths = list(dict.fromkeys(paths))
    lengths: dict[Path, float | str] = {}
    with ThreadPoolExecutor(max_workers=jobs or min(MAX_JOBS, os.cpu_count() or 1)) as pool:
        for path, length in zip(paths, pool.map(one, paths), strict=True):
            lengths[path] = length
            if progress is not None:
                progress(len(lengths), len(paths))
    return lengths
