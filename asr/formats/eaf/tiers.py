"""The XML of a transcript's tiers, for a new ELAN file or to be put into one that exists."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from xml.sax.saxutils import escape, quoteattr

from asr.formats.eaf.document import Content
from asr.formats.layout import Box, Utterances, is_translated, lay_out
from asr.formats.tiernames import CONFIDENCE, PREFIX, TRANSLATION, UTTERANCE, WORD, tier_name
from asr.transcript import Transcript

CONSTRAINTS = {
    "Time_Subdivision": "Time subdivision of parent annotation's time interval, "
    "no time gaps allowed within this interval",
    "Symbolic_Subdivision": "Symbolic subdivision of a parent annotation. "
    "Annotations refering to the same parent are ordered",
    "Symbolic_Association": "1-1 association with a parent annotation",
    "Included_In": "Time alignable annotations within the parent annotation's time interval, "
    "gaps are allowed",
}
"""ELAN's stereotypes with its own descriptions, letter for letter."""

_TYPES = {UTTERANCE: "", WORD: "Included_In", CONFIDENCE.strip("-"): "Symbolic_Association"}
"""Linguistic types of our tiers (the prefix comes before) and their stereotypes."""
_TRANSLATED_TYPES = _TYPES | {TRANSLATION: "Symbolic_Association"}
"""Those of a transcript with translations."""


@dataclass(kw_only=True)
class NewTiers:
    """Elements to be written, as text without indentation, made when their turn comes."""

    slots: Iterator[tuple[int, str]]
    """TIME_SLOT elements with their time in milliseconds, in order of time."""
    tiers: list[Iterator[str]] = field(default_factory=list)
    """Each tier's lines."""
    contents: list[Content] = field(default_factory=list)
    """What each tier says, for its checksum."""
    types: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    last_annotation: int = 0
    """The number in the highest annotation id used."""


def make_tiers(
    transcript: Transcript,
    *,
    first_annotation: int = 1,
    first_slot: int = 1,
    taken: Collection[str] = (),
    types: Mapping[str, str] | None = None,
    stereotypes: Collection[str] = (),
    language: str = "",
    translation_language: str = "",
) -> NewTiers:
    """The tiers of a transcript: utterances, words included in them, and a confidence for each of both.

    Where some utterance has a translation, each speaker has a tier of them too: one annotation
    under each utterance that has one, as language documentation places them.

    Args:
        first_annotation, first_slot: numbers from which ids are free.
        taken: names of tiers that exist; ours get a run number when they would clash.
        types: linguistic types that exist with their stereotypes ("" for none).
        stereotypes: CONSTRAINT elements that exist.
        language: id of a LANGUAGE element for the texts.
        translation_language: id of one for the translations.
    """
    layout = lay_out(transcript)
    translated = is_translated(layout)
    ours = _TRANSLATED_TYPES if translated else _TYPES
    types = types or {}
    new = NewTiers(slots=_slots(layout.values(), first_slot))
    type_names = {
        kind: _free_type(f"{PREFIX}-{kind}", stereotype, types) for kind, stereotype in ours.items()
    }
    for kind, stereotype in ours.items():
        if type_names[kind] not in types:
            new.types.append(_type(type_names[kind], stereotype))
    missing = [each for each in dict.fromkeys(ours.values()) if each and each not in stereotypes]
    new.constraints = [constraint(each) for each in missing]

    suffixes = {lane: lane if len(layout) > 1 else "" for lane in layout}
    kinds = (UTTERANCE, UTTERANCE + CONFIDENCE, WORD, WORD + CONFIDENCE, *([TRANSLATION] * translated))
    run = _free_run(kinds, suffixes.values(), taken)
    number, slot = first_annotation, first_slot
    for lane, utterances in layout.items():
        names = {kind: tier_name(kind, suffixes[lane], run) for kind in kinds}
        speaker = utterances.speaker
        for kind, parent, count, boxes in (
            (UTTERANCE, "", len(utterances), utterances.__iter__),
            (WORD, names[UTTERANCE], utterances.num_words, utterances.words),
        ):
            parents, sure = number, number + count
            number += 2 * count
            aligned = _aligned(parents, slot, boxes())
            slot += 2 * count
            new.tiers.append(_tier(names[kind], type_names[kind], parent, speaker, language, aligned))
            new.contents.append((names[kind], speaker, _rows(boxes(), lambda box: box.text)))
            if kind == UTTERANCE and translated:
                new.tiers.append(
                    _tier(
                        names[TRANSLATION],
                        type_names[TRANSLATION],
                        names[UTTERANCE],
                        speaker,
                        translation_language,
                        _references(number, parents, (box.translation for box in boxes())),
                    )
                )
                number += utterances.num_translated
                spoken = (box for box in boxes() if box.translation)
                new.contents.append((names[TRANSLATION], speaker, _rows(spoken, lambda box: box.translation)))
            confidences = _references(sure, parents, map(_confidence, boxes()))
            new.tiers.append(
                _tier(
                    names[kind + CONFIDENCE], type_names["confidence"], names[kind], speaker, "", confidences
                )
            )
            new.contents.append((names[kind + CONFIDENCE], speaker, _rows(boxes(), _confidence)))
    new.last_annotation = number - 1
    return new


def constraint(stereotype: str) -> str:
    """The CONSTRAINT element of a stereotype."""
    return (
        f"<CONSTRAINT DESCRIPTION={quoteattr(CONSTRAINTS[stereotype])} STEREOTYPE={quoteattr(stereotype)}/>"
    )


def _slots(layout: Iterable[Utterances], first: int) -> Iterator[tuple[int, str]]:
    """The time slots of all speakers; every annotation has two of its own, as ELAN gives it."""
    speakers = []
    for utterances in layout:
        speakers.append(_numbered(utterances, first))
        first += 2 * (len(utterances) + utterances.num_words)
    for ms, number in heapq.merge(*speakers, key=itemgetter(0)):
        yield ms, f'<TIME_SLOT TIME_SLOT_ID="ts{number}" TIME_VALUE="{ms}"/>'


def _numbered(utterances: Utterances, first: int) -> Iterator[tuple[int, int]]:
    """Times in order, each with its slot's number: of utterance 1, 2, ..., then of word 1, 2, ..."""
    word = first + 2 * len(utterances)
    for number, utterance in zip(itertools.count(first, 2), utterances):
        yield utterance.start, number
        for box in utterance.words:
            yield box.start, word
            yield box.end, word + 1
            word += 2
        yield utterance.end, number + 1


def _aligned(first: int, slot: int, boxes: Iterable[Box]) -> Iterator[list[str]]:
    """Annotations with times of their own, numbered from ``first``, with slots from ``slot``."""
    for index, box in enumerate(boxes):
        start = slot + 2 * index
        yield _annotation(
            f'ALIGNABLE_ANNOTATION ANNOTATION_ID="a{first + index}" '
            f'TIME_SLOT_REF1="ts{start}" TIME_SLOT_REF2="ts{start + 1}"',
            box.text,
        )


def _references(first: int, first_parent: int, values: Iterable[str]) -> Iterator[list[str]]:
    """Annotations numbered from ``first`` under those from ``first_parent``; none for an empty value."""
    number = itertools.count(first)
    for parent, value in enumerate(values, start=first_parent):
        if value:
            yield _annotation(
                f'REF_ANNOTATION ANNOTATION_ID="a{next(number)}" ANNOTATION_REF="a{parent}"', value
            )


def _confidence(box: Box) -> str:
    return f"{box.confidence:.3f}"


def _rows(boxes: Iterable[Box], value: Callable[[Box], str]) -> Iterator[tuple[int, int, str]]:
    return ((box.start, box.end, value(box)) for box in boxes)


def _annotation(opening: str, value: str) -> list[str]:
    return [
        "    <ANNOTATION>",
        f"        <{opening}>",
        f"            <ANNOTATION_VALUE>{escape(value)}</ANNOTATION_VALUE>",
        f"        </{opening.split()[0]}>",
        "    </ANNOTATION>",
    ]


def _tier(
    name: str, type_name: str, parent: str, speaker: str, language: str, annotations: Iterator[list[str]]
) -> Iterator[str]:
    attributes = {
        "ANNOTATOR": PREFIX,
        "LANG_REF": language,
        "LINGUISTIC_TYPE_REF": type_name,
        "PARENT_REF": parent,
        "PARTICIPANT": speaker,
        "TIER_ID": name,
    }
    written = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items() if value)
    first = next(annotations, None)
    if first is None:
        yield f"<TIER {written}/>"
        return
    yield f"<TIER {written}>"
    yield from first
    yield from itertools.chain.from_iterable(annotations)
    yield "</TIER>"


def _type(name: str, stereotype: str) -> str:
    constraints = f"CONSTRAINTS={quoteattr(stereotype)} " if stereotype else ""
    alignable = "false" if stereotype == "Symbolic_Association" else "true"
    return (
        f'<LINGUISTIC_TYPE {constraints}GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID={quoteattr(name)} '
        f'TIME_ALIGNABLE="{alignable}"/>'
    )


def _free_type(name: str, stereotype: str, types: Mapping[str, str]) -> str:
    """The name itself when it is free or means the same; else the name with a number."""
    number, free = 1, name
    while types.get(free, stereotype) != stereotype:
        number += 1
        free = f"{name}-{number}"
    return free


def _free_run(kinds: Collection[str], suffixes: Collection[str], taken: Collection[str]) -> int:
    """The first run number with which none of the tiers' names is taken."""
    run = 1
    while any(tier_name(kind, suffix, run) in taken for kind in kinds for suffix in suffixes):
        run += 1
    return run
