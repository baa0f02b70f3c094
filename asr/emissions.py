"""Emissions of many waveforms: of a manifest's utterances, or of whatever comes in groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from asr.arrays import FloatArray
from asr.audio import load
from asr.batches import epoch_batches, prefetch
from asr.frames import samples_to_seconds
from asr.manifest import Utterance
from asr.memory import is_lack_of_memory
from asr.model import CTCModel
from lm.errors import InputError

Item = TypeVar("Item")
Made = TypeVar("Made")


def utterance_emissions(
    model: CTCModel, utterances: Sequence[Utterance], *, batch_s: float = 0.0
) -> Iterator[tuple[Utterance, FloatArray | InputError]]:
    """Log-probabilities (T, C) of each utterance, or why its audio gives none; as `encoded_utterances`."""
    return encoded_utterances(model.emissions, model, utterances, batch_s=batch_s)


def encoded_utterances(
    encode: Callable[[Sequence[FloatArray]], list[Made]],
    model: CTCModel,
    utterances: Sequence[Utterance],
    *,
    batch_s: float = 0.0,
) -> Iterator[tuple[Utterance, Made | InputError]]:
    """What ``encode`` makes of each utterance, or why its audio gives nothing.

    Args:
        encode: one result for each of its waveforms (S,).
        model: whose encoder it uses.
        batch_s: most seconds in a batch; 0 is `CTCModel.batch_seconds`'s choice.
    Yields:
        each utterance once, in batches of like lengths.
    """
    limit = model.batch_seconds(batch_s)
    order = epoch_batches([u.duration_s for u in utterances], batch_s=limit, seed=0, epoch=0, jitter=0.0)

    def read(indices: list[int]) -> list[tuple[Utterance, FloatArray | InputError]]:
        rows: list[tuple[Utterance, FloatArray | InputError]] = []
        for utterance in (utterances[index] for index in indices):
            try:
                waveform = load(utterance.audio, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
                if not model.grid.num_frames(len(waveform)):
                    raise InputError(
                        f"{utterance.id}: {utterance.duration_s} s is too short for one frame. Leave it out."
                    )
                rows.append((utterance, waveform))
            except InputError as error:
                rows.append((utterance, error))
        return rows

    groups = (
        (rows, [waveform for _, waveform in rows if not isinstance(waveform, InputError)])
        for rows in prefetch(iter(order), read)
    )
    for rows, found in encode_groups(encode, groups, on_cpu=model.on_cpu):
        made = iter(found)
        for utterance, waveform in rows:
            if isinstance(waveform, InputError):
                yield utterance, waveform
            elif (result := next(made)) is not None:
                yield utterance, result
            else:
                remedy = "Cut it into shorter ones, leave it out, or take a machine with more."
                yield utterance, too_much(utterance.id, len(waveform), remedy)


def too_much(name: str, num_samples: int, remedy: str) -> InputError:
    """What to say of a waveform that does not fit into memory alone."""
    return InputError(
        f"{name}: there is not enough memory for its {samples_to_seconds(num_samples):.1f} s. {remedy}"
    )


def encode_groups(
    encode: Callable[[Sequence[FloatArray]], list[Made]],
    groups: Iterable[tuple[Item, Sequence[FloatArray]]],
    *,
    on_cpu: bool,
) -> Iterator[tuple[Item, list[Made | None]]]:
    """What ``encode`` makes of the waveforms of each group, in order.

    Where a group does not fit into memory, its waveforms go through the encoder one by one, and nothing else beside
    them; None stands for one that does not fit even so.

    On a CPU as many groups are encoded at once as torch has threads, each on one thread: the small
    operations of an encoder leave most of a second core idle, and what one utterance leaves another
    takes. What comes out does not depend on it.

    Args:
        encode: one result for each of its waveforms.
        groups: anything, with waveforms (S,) of like lengths that go through the encoder together.
        on_cpu: whether ``encode`` computes there.
    """

    threads = torch.get_num_threads() if on_cpu else 1
    places = _Places(threads)

    def attempt(waveforms: Sequence[FloatArray], taken: int) -> list[Made] | None:
        with places.taken(taken):
            try:
                return encode(waveforms)
            except (MemoryError, RuntimeError) as error:
                if not is_lack_of_memory(error):
                    raise
        # Only here, where the error is forgotten, is what its frames held free.
        torch.cuda.empty_cache()
        return None

    def emit(group: tuple[Item, Sequence[FloatArray]]) -> tuple[Item, list[Made | None]]:
        item, waveforms = group
        if not waveforms:
            return item, []
        if (made := attempt(waveforms, 1)) is not None:
            return item, [*made]
        alone = (attempt([waveform], threads) for waveform in waveforms)
        return item, [each[0] if each else None for each in alone]

    return prefetch(iter(groups), emit, threads=threads)


class _Places:
    """Lets each of some threads have a place, or one of them all places."""

    def __init__(self, number: int) -> None:
        self._free = threading.Semaphore(number)
        self._entrance = threading.Lock()

    @contextmanager
    def taken(self, number: int) -> Iterator[None]:
        """Have so many places, once they are free."""
        with self._entrance:  # two that want all would wait for each other's
            for _ in range(number):
                self._free.acquire()
        try:
            yield
        finally:
            self._free.release(number)
