"""Batches: bounded, complete, and the same for the same seed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as strategies

from asr.batches import (
    SUBSTITUTES,
    epoch_batches,
    in_rows,
    joined,
    prefetch,
    prefetch_rows,
    substitutes,
    usable,
)
from lm.errors import InputError


@given(
    strategies.lists(strategies.floats(0.1, 30), min_size=1, max_size=60),
    strategies.floats(5, 60),
    strategies.integers(0, 5),
)
def test_every_utterance_is_in_one_batch_of_bounded_size(
    lengths: list[float], limit: float, epoch: int
) -> None:
    batches = epoch_batches(lengths, batch_s=limit, seed=1, epoch=epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= limit
    assert batches == epoch_batches(lengths, batch_s=limit, seed=1, epoch=epoch)


@given(
    strategies.lists(strategies.floats(0.1, 30), min_size=1, max_size=60),
    strategies.floats(0, 1),
    strategies.floats(1, 40),
)
def test_rows_hold_every_utterance_once_and_stay_short(
    lengths: list[float], share: float, most: float
) -> None:
    rows = joined(lengths, probability=share, max_s=most, pause_s=0.4, seed=1, epoch=0)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    for row in rows:
        assert len(row) == 1 or sum(lengths[index] for index in row) + 0.4 * (len(row) - 1) <= most


def test_no_row_is_joined_when_none_shall_be() -> None:
    rows = joined([1.0] * 50, probability=0, max_s=20, pause_s=0.4, seed=1, epoch=0)
    assert all(len(row) == 1 for row in rows)
    assert any(
        len(row) > 3 for row in joined([1.0] * 50, probability=0.5, max_s=20, pause_s=0.4, seed=1, epoch=0)
    )


def test_epochs_differ() -> None:
    lengths = [1 + index / 100 for index in range(100)]
    assert epoch_batches(lengths, batch_s=10, seed=1, epoch=0) != epoch_batches(
        lengths, batch_s=10, seed=1, epoch=1
    )


def test_prefetch_keeps_the_order() -> None:
    def slow(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * 2

    assert list(prefetch(iter(range(50)), slow, threads=4)) == [number * 2 for number in range(50)]


def test_prefetch_hands_on_an_error_where_it_happened() -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    made = prefetch(iter(range(10)), fail, threads=2)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(made)


def test_prefetch_stops_when_its_reader_does() -> None:
    made = prefetch(iter(range(10**9)), lambda number: number)
    assert next(made) == 0
    made.close()  # type: ignore[attr-defined]


def test_what_prefetch_did_not_ask_for_is_shut() -> None:
    shut = []

    def numbers() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            shut.append(True)

    items = numbers()  # held here, so that forgetting it shuts nothing
    made = prefetch(items, lambda number: number)
    assert next(made) == 0
    made.close()  # type: ignore[attr-defined]
    assert shut


def test_a_row_is_not_filled_when_its_reader_has_stopped() -> None:
    taken = []

    def slow() -> Iterator[int]:
        for number in range(100):
            time.sleep(0.02)
            taken.append(number)
            yield number

    made = prefetch_rows(slow(), sum, 10)
    assert next(made) == 45
    made.close()  # type: ignore[attr-defined]
    assert len(taken) < 19
    assert list(prefetch_rows(range(7), sum, 3)) == [3, 12, 6]


def test_what_is_made_beside_others_computes_on_one_thread_and_nothing_else_does() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1) as pool:

            def nested(_: int) -> list[int]:
                own = torch.get_num_threads()
                return [own, *prefetch(iter([0]), lambda _: torch.get_num_threads())]

            made = prefetch(iter(range(4)), nested, threads=2)
            assert list(made) == [[1, 1]] * 4
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_rows_are_full_but_the_last() -> None:
    assert list(in_rows(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_rows([], 3)) == []


def test_a_batch_of_bad_files_gives_way_to_the_first_good_one(capsys: pytest.CaptureFixture[str]) -> None:
    def read(number: int) -> int:
        if number < 5:
            raise InputError(f"{number}.wav is no audio.")
        return 10 * number

    never = (1 // 0 for _ in range(1))  # the others are not looked at where something can be used
    assert usable([3, 7, 8], read, never) == [70, 80]
    assert usable([1, 2], read, count(3)) == [50]
    printed = capsys.readouterr().err.splitlines()
    assert printed == [f"left out of this batch: {number}.wav is no audio." for number in (3, 1, 2, 3, 4)]
    with pytest.raises(InputError, match=r"nor anything in its place.*corpus check"):
        usable([1], read, [2, 3, 4])


def test_substitutes_follow_from_the_seed() -> None:
    drawn = list(substitutes(1000, [1, 2, 3]))
    assert drawn == list(substitutes(1000, [1, 2, 3])) != list(substitutes(1000, [1, 2, 4]))
    assert len(set(drawn)) == SUBSTITUTES
    assert max(drawn) - min(drawn) > 2 * SUBSTITUTES
    assert sorted(substitutes(3, [1, 2, 3])) == [0, 1, 2]
