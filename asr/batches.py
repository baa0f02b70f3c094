"""Length-bucketed batches by total seconds, in an order that follows from the seed alone."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.errors import InputError

Item = TypeVar("Item")
Made = TypeVar("Made")

SUBSTITUTES = 10
"""Rows that are tried in place of a batch of which nothing can be used."""


def epoch_batches(
    durations_s: Sequence[float], *, batch_s: float, seed: int, epoch: int, jitter: float = 0.1
) -> list[list[int]]:
    """Indices of one epoch, in batches of alike lengths whose padded total is at most ``batch_s``.

    The order depends on nothing but the arguments, so a resumed run skips to its batch.

    Args:
        durations_s: seconds of each utterance.
        batch_s: most seconds in a batch, padding included; a longer utterance is a batch alone.
        jitter: relative noise on the lengths before sorting, so that batches differ by epoch.
    """
    generator = np.random.default_rng([seed, epoch])
    lengths = np.asarray(durations_s, dtype=np.float64)
    order = np.argsort(lengths * generator.uniform(1 - jitter, 1 + jitter, len(lengths)), kind="stable")
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0.0
    for index in order.tolist():
        longest = max(longest, float(lengths[index]))
        if batch and longest * (len(batch) + 1) > batch_s:
            batches.append(batch)
            batch, longest = [], float(lengths[index])
        batch.append(index)
    if batch:
        batches.append(batch)
    return [batches[place] for place in generator.permutation(len(batches))]


def joined(
    durations_s: Sequence[float], *, probability: float, max_s: float, pause_s: float, seed: int, epoch: int
) -> list[tuple[int, ...]]:
    """Every utterance once, some alone and some in rows that will be laid end to end.

    A model that has only heard single sentences loses words in a segment that holds several.

    Args:
        durations_s: seconds of each utterance.
        probability: that an utterance begins a row rather than standing alone.
        max_s: longest row; each row draws its own length below it.
        pause_s: seconds to reckon with between two utterances.
    """
    generator = np.random.default_rng([seed, epoch, 1])
    waiting = generator.permutation(len(durations_s)).tolist()
    rows: list[tuple[int, ...]] = []
    while waiting:
        row = [waiting.pop()]
        length = durations_s[row[0]]
        wanted = generator.uniform(0, max_s) if generator.random() < probability else 0.0
        while waiting and length + pause_s + durations_s[waiting[-1]] <= wanted:
            row.append(waiting.pop())
            length += pause_s + durations_s[row[-1]]
        rows.append(tuple(row))
    return rows


def padded(rows: Sequence[NDArray[Any]]) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as one tensor (N, longest), zeros at their ends, and their lengths (N,).

    Filled by numpy: a torch operation in a loading thread brings threads of its own, which fight
    with the training's for the cores.
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    batch = np.zeros((len(rows), lengths.max(initial=0)), dtype=rows[0].dtype)
    for place, row in zip(batch, rows, strict=True):
        place[: len(row)] = row
    return torch.from_numpy(batch), torch.from_numpy(lengths)


def usable(items: Sequence[Item], make: Callable[[Item], Made], others: Iterable[Item]) -> list[Made]:
    """What can be made of a batch's items; where that is nothing, of the first of the others that can be used.

    One bad file must not stop hours of training, and must not pass unseen: it is told on stderr. Each process
    needs a batch for every update, and a batch may be one bad file alone.

    Args:
        others: as `substitutes` gives them; a plan may have any of them alone in a batch.
    Raises:
        InputError: none of all these can be used.
    """

    def tried(some: Iterable[Item]) -> Iterator[Made]:
        for item in some:
            try:
                yield make(item)
            except InputError as error:
                print(f"left out of this batch: {error}", file=sys.stderr)

    made = list(tried(items)) or list(islice(tried(others), 1))
    if not made:
        raise InputError(
            "nothing of a batch can be used, nor anything in its place; see above. Run `loquela corpus check`."
        )
    return made


def substitutes(num_rows: int, seed: Sequence[int]) -> Iterator[int]:
    """A few rows from anywhere, since a bad one's neighbours are often of the same bad file.

    Args:
        seed: of whatever is drawn for the row whose place they take.
    """
    yield from np.random.default_rng([*seed, 1]).permutation(num_rows)[:SUBSTITUTES].tolist()


def unsound(ids: Sequence[str], waveforms: Tensor) -> str:
    """Which audio of a batch has samples that are not numbers, and the remedy; empty where none has.

    Args:
        waveforms: of these utterances, (N, S).
    """
    for name, row in zip(ids, waveforms, strict=True):
        if not bool(torch.isfinite(row).all()):
            return f"The audio of {name} has samples that are not numbers. Run `loquela corpus check`."
    return ""


def in_rows(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of ``size``, in order; the last one may be shorter."""
    left = iter(items)
    while row := list(islice(left, size)):
        yield row


def prefetch_rows(items: Iterable[Item], make: Callable[[list[Item]], Made], size: int) -> Iterator[Made]:
    """`prefetch` of `in_rows`, one row ahead; a row that is not full when the reader stops is given up."""
    stopped = threading.Event()

    def going() -> Iterator[Item]:
        for item in items:
            if stopped.is_set():
                return
            yield item

    return prefetch(in_rows(going(), size), make, ahead=1, stopped=stopped)


def prefetch(
    items: Iterator[Item],
    make: Callable[[Item], Made],
    *,
    threads: int = 1,
    ahead: int = 4,
    stopped: threading.Event | None = None,
) -> Iterator[Made]:
    """``map(make, items)`` in order, made by threads up to ``ahead`` items before they are asked for.

    Threads, not processes: decoding and resampling release the interpreter's lock, and nothing
    needs to be pickled or forked. In each of them torch computes on one thread.

    Args:
        stopped: set when the reader stops.
    """
    pending: queue.Queue[Future[Made] | None] = queue.Queue(maxsize=ahead)
    stopped = stopped or threading.Event()
    with ThreadPoolExecutor(threads, initializer=_on_one_thread) as pool:

        def put(future: Future[Made] | None) -> None:
            while not stopped.is_set():
                try:
                    pending.put(future, timeout=0.1)
                    return
                except queue.Full:
                    continue

        def submit() -> None:
            try:
                for item in items:
                    if stopped.is_set():
                        return
                    put(pool.submit(make, item))
            except BaseException as error:  # raised where the items are asked for
                failed: Future[Made] = Future()
                failed.set_exception(error)
                put(failed)
            finally:
                # What was not asked for shuts its files and threads now, and not when it is forgotten.
                if isinstance(items, Generator):
                    items.close()
                put(None)

        feeder = threading.Thread(target=submit, daemon=True)
        feeder.start()
        try:
            while (future := pending.get()) is not None:
                yield future.result()
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            feeder.join()


_THREADS = threading.Lock()


def _on_one_thread() -> None:
    """Let torch compute on one thread in the calling one, which has others beside it, and as before in all others."""
    with _THREADS:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        # It holds for this thread and for those to come; one of these takes the latter back.
        restorer = threading.Thread(target=torch.set_num_threads, args=(before,))
        restorer.start()
        restorer.join()
