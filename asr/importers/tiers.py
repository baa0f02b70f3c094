"""Choosing among tiers and joining those that run in parallel; for ELAN and Praat alike."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from asr.importers.base import Document, ImportConfig, Reading, matches
from asr.names import shown
from lm.errors import InputError


class Timed(Protocol):
    """A labelled stretch of time, in seconds."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


T = TypeVar("T", bound=Timed)


def choose_tiers(
    counts: Mapping[str, int], candidates: Sequence[str], patterns: Sequence[str], where: str
) -> list[str]:
    """Tiers to take the transcript from, in the files' order.

    Args:
        counts: annotations with text of every tier of all files.
        candidates: tiers that may be meant when no pattern is given.
        patterns: what the user asked for.
        where: the source, for messages.
    Raises:
        InputError: nothing fits the patterns, or several candidates and no pattern to choose by.
    """
    listing = ", ".join(f"{name!r} ({count})" for name, count in counts.items()) or "none"
    if patterns:
        chosen = [name for name in counts if matches(name, patterns)]
        if not chosen:
            raise InputError(
                f"{where} has no tier {' or '.join(map(repr, patterns))}. Tiers (annotations): {listing}."
            )
        return chosen
    filled = [name for name in candidates if counts[name]]
    if len(filled) != 1:
        found = (
            "no tier that holds annotations"
            if not filled
            else f"{len(filled)} tiers that may be the transcript"
        )
        raise InputError(
            f"{where} has {found}. Choose with --tier NAME or PATTERN. Tiers (annotations): {listing}."
        )
    return filled


def with_tiers(
    documents: Mapping[Path, Document],
    names_of: Callable[[Document], Sequence[str]],
    chosen: Sequence[str],
    config: ImportConfig,
    reading: Reading,
) -> Iterator[tuple[Path, Document]]:
    """The files that have a tier that is wanted; why others are left out, and what is lacking, goes into ``reading``.

    Args:
        names_of: the tiers of one.
        chosen: what `choose_tiers` took, where the user names none.
    """
    for path, document in documents.items():
        names = names_of(document)
        if problem := _lacking(names, config.tiers or chosen, path):
            reading.problems.append(problem)
            continue
        note = _lacking(names, config.translation_tiers, path) if config.translation_tiers else ""
        if note:
            reading.notes.append(f"{note} Its utterances have no translation.")
        yield path, document


class Timeline(Generic[T]):
    """Stretches of time, laid out so that those near another are found without a look at all of them."""

    def __init__(self, stretches: Iterable[T]) -> None:
        self._stretches = sorted(stretches, key=lambda each: each.start)
        self._starts = [each.start for each in self._stretches]
        self._reach = list(accumulate((each.end for each in self._stretches), max))

    def best_overlap(self, span: Timed) -> T | None:
        """The (first) one that shares most time with ``span``: at least half of the shorter of the two."""
        best, best_shared = None, 0.0
        near = slice(bisect_right(self._reach, span.start), bisect_left(self._starts, span.end))
        for other in self._stretches[near]:
            shared = min(span.end, other.end) - max(span.start, other.start)
            if shared > best_shared and shared >= 0.5 * min(span.end - span.start, other.end - other.start):
                best, best_shared = other, shared
        return best


def _lacking(names: Sequence[str], wanted: Sequence[str], where: Path) -> str:
    """What to say of a file of whose tiers none is wanted; "" of the others.

    Args:
        names: its tiers.
        wanted: names and shell patterns.
    """
    if any(matches(name, wanted) for name in names):
        return ""
    has = ", ".join(map(repr, names)) or "none"
    return f"{shown(where)} has no tier {' or '.join(map(repr, wanted))} (it has {has}). Name that one, too."
