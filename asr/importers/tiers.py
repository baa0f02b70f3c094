"""Files that have the wanted tiers, and joining tiers that run in parallel; for ELAN and Praat alike."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from asr.formats.choose import matches
from asr.formats.tiernames import translation_of
from asr.importers.base import Document, ImportConfig, Reading
from asr.names import shown


class Timed(Protocol):
    """A labelled stretch of time, in seconds."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


T = TypeVar("T", bound=Timed)


def translations_for(tier: str, config: ImportConfig) -> tuple[str, ...]:
    """Names and patterns of the tiers that translate one: those that the user names, or ours below ours."""
    ours = translation_of(tier)
    return config.translation_tiers or ((ours,) if ours else ())


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
        chosen: what `asr.formats.choose.choose_tiers` took, where the user names none.
    """
    lacking: list[str] = []
    for path, document in documents.items():
        names = names_of(document)
        if problem := _lacking(names, config.tiers or chosen, path):
            reading.problems.append(problem)
            continue
        if config.translation_tiers and (note := _lacking(names, config.translation_tiers, path)):
            lacking.append(note)
        yield path, document
    if lacking:
        others = f", nor have those of {len(lacking) - 1} other file(s)" if len(lacking) > 1 else ""
        reading.notes.append(f"{lacking[0]} Its utterances have no translation{others}.")


class Timeline(Generic[T]):
    """Stretches of time, laid out so that those near another are found without a look at all of them.

    Args:
        several: they are of several tiers, so that those of another speaker may be among them.
    """

    def __init__(self, stretches: Iterable[T], *, several: bool = False) -> None:
        self._several = several
        self._stretches = sorted(stretches, key=lambda each: each.start)
        self._starts = [each.start for each in self._stretches]
        self._reach = list(accumulate((each.end for each in self._stretches), max))

    def best_overlap(self, span: Timed) -> T | None:
        """The one that shares most time with ``span``, at least half of the shorter of the two.

        Of several tiers it shares half of the longer: a word that is said into another's long
        turn does not take that one's. Of two that share equally it is the shorter, then the first.
        """
        best, best_key = None, (0.0, 0.0)
        longer_or_shorter = max if self._several else min
        near = slice(bisect_right(self._reach, span.start), bisect_left(self._starts, span.end))
        for other in self._stretches[near]:
            shared = min(span.end, other.end) - max(span.start, other.start)
            length = longer_or_shorter(span.end - span.start, other.end - other.start)
            key = (shared, other.start - other.end)
            if key > best_key and shared >= 0.5 * length:
                best, best_key = other, key
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
