"""Times of an ELAN file's annotations, where some time slots have none and dependents only a parent."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lxml import etree

from lm.errors import InputError

if TYPE_CHECKING:
    from asr.formats.eaf.document import EafAnnotation

_UNITS = {"milliseconds": (1, 1000), "PAL-frames": (1, 25), "NTSC-frames": (1001, 30000)}
"""Seconds in one unit of TIME_VALUE as a fraction, for each value that TIME_UNITS may have."""


class Times:
    """The time slots of a file, in seconds.

    Raises:
        InputError: a slot without id, a value that is no time, or a unit ELAN does not know.
    """

    def __init__(self, root: etree._Element, where: str) -> None:
        header = root.find("HEADER")
        unit = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
        if unit not in _UNITS:
            raise InputError(f"{where}: TIME_UNITS is {unit!r}. It must be one of {', '.join(_UNITS)}.")
        top, bottom = _UNITS[unit]
        self._where = where
        self._known: dict[str, float | None] = {}
        for slot in root.iterfind("TIME_ORDER/TIME_SLOT"):
            name, value = slot.get("TIME_SLOT_ID"), slot.get("TIME_VALUE")
            if not name or (
                value is not None and not (value.isascii() and value.isdigit() and len(value) < 13)
            ):
                raise InputError(
                    f"{where}, line {slot.sourceline}: the time slot {name!r} has the value {value!r}. "
                    "Give it an id and whole milliseconds."
                )
            self._known[name] = None if value is None else int(value) * top / bottom
        order = list(self._known)
        self._by_order = dict(zip(order, _filled([self._known[name] for name in order]), strict=True))

    def of_tier(self, spans: Sequence[tuple[str, ...]]) -> list[tuple[float, float, bool]]:
        """Start, end, and whether either was interpolated, of the annotations of one tier in its order.

        Slots without a value are shared by neighbours in the tier (a time subdivision is a
        chain), so the tier's own order says more than the order of all slots together.

        Args:
            spans: ids of the first and the last time slot of each annotation.
        """
        chain = list(dict.fromkeys(name for span in spans for name in span))
        for name in chain:
            if name not in self._known:
                raise InputError(
                    f"{self._where}: an annotation refers to the time slot {name!r}, which is not there."
                )
        values = [self._known[name] for name in chain]
        for edge in (0, -1):
            if chain and values[edge] is None:
                values[edge] = self._by_order[chain[edge]]
        times = dict(zip(chain, _filled(values), strict=True))
        return [
            (times[first], times[last], self._known[first] is None or self._known[last] is None)
            for first, last in spans
        ]


def place_references(
    annotations: dict[str, EafAnnotation],
    tiers: Sequence[tuple[str, list[tuple[EafAnnotation, str]]]],
    where: str,
) -> None:
    """Give annotations that refer to a parent their times, from the aligned ones down.

    Args:
        annotations: all of the file, by id; changed in place.
        tiers: of each tier its constraint and its referring annotations with the id of the previous one.
    Raises:
        InputError: a parent is missing, or annotations depend on each other in a circle.
    """
    children: dict[str, list[tuple[str, list[tuple[EafAnnotation, str]]]]] = {}
    waiting = 0
    for constraint, references in tiers:
        siblings: dict[str, list[tuple[EafAnnotation, str]]] = {}
        for annotation, previous in references:
            assert annotation.parent is not None
            siblings.setdefault(annotation.parent, []).append((annotation, previous))
        for parent, group in siblings.items():
            children.setdefault(parent, []).append((constraint, group))
            waiting += len(group)
            if parent not in annotations:
                raise InputError(
                    f"{where}: annotation {group[0][0].id!r} refers to {parent!r}, which is not there. "
                    "Mend the file in ELAN."
                )
    ready = deque(each for each in annotations.values() if each.parent is None)
    while ready:
        parent_annotation = ready.popleft()
        for constraint, group in children.get(parent_annotation.id, ()):
            ordered = _in_order(group)
            parts = len(ordered) if constraint == "Symbolic_Subdivision" else 1
            length = (parent_annotation.end - parent_annotation.start) / parts
            for index, annotation in enumerate(ordered):
                part = index if parts > 1 else 0
                annotation.start = parent_annotation.start + part * length
                annotation.end = parent_annotation.end if part == parts - 1 else annotation.start + length
                annotation.interpolated = parent_annotation.interpolated or parts > 1
                ready.append(annotation)
            waiting -= len(group)
    if waiting:
        raise InputError(
            f"{where}: {waiting} annotations refer to each other in a circle. Mend the file in ELAN."
        )


def _in_order(group: list[tuple[EafAnnotation, str]]) -> list[EafAnnotation]:
    """Siblings as PREVIOUS_ANNOTATION chains them; the chain may begin outside the group."""
    ids = {annotation.id for annotation, _ in group}
    following = {previous: annotation for annotation, previous in group if previous in ids}
    ordered: dict[str, EafAnnotation] = {}
    for annotation, previous in [*(pair for pair in group if pair[1] not in ids), *group]:
        del previous
        current: EafAnnotation | None = annotation
        while current is not None and current.id not in ordered:
            ordered[current.id] = current
            current = following.get(current.id)
    return list(ordered.values())


def _filled(values: list[float | None]) -> list[float]:
    """The values with every run of None spread evenly between its neighbours (edges repeat theirs)."""
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    if not known:
        return [0.0] * len(values)
    filled = [known[0][1]] * known[0][0]
    for (left, a), (right, b) in itertools.pairwise(known):
        filled += [a + (b - a) * step / (right - left) for step in range(right - left)]
    return filled + [known[-1][1]] * (len(values) - known[-1][0])
