"""The XML of a transcript's tiers, for a new ELAN file or to be put into one that exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from asr.formats.layout import Box, is_translated, lay_out
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
    """Elements to be written, each as text without indentation; tiers are lists of lines."""

    slots: list[tuple[int, str]] = field(default_factory=list)
    """TIME_SLOT elements with their time in milliseconds, in order of time."""
    tiers: list[list[str]] = field(default_factory=list)
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
    new = NewTiers(last_annotation=first_annotation - 1)
    type_names = {
        kind: _free_type(f"{PREFIX}-{kind}", stereotype, types) for kind, stereotype in ours.items()
    }
    for kind, stereotype in ours.items():
        if type_names[kind] not in types:
            new.types.append(_type(type_names[kind], stereotype))
    missing = [each for each in dict.fromkeys(ours.values()) if each and each not in stereotypes]
    new.constraints = [constraint(each) for each in missing]

    suffixes = {speaker: speaker if len(layout) > 1 else "" for speaker in layout}
    kinds = (UTTERANCE, UTTERANCE + CONFIDENCE, WORD, WORD + CONFIDENCE, *([TRANSLATION] * translated))
    run = _free_run(kinds, suffixes.values(), taken)
    slots = _Slots(first_slot)
    for speaker, utterances in layout.items():
        names = {kind: tier_name(kind, suffixes[speaker], run) for kind in kinds}
        words = [word for utterance in utterances for word in utterance.words]
        for kind, parent, boxes in ((UTTERANCE, "", list(utterances)), (WORD, names[UTTERANCE], words)):
            first = new.last_annotation + 1
            aligned = [_aligned(first + index, slots, box) for index, box in enumerate(boxes)]
            first += len(boxes)
            sure = [
                _reference(first + index, index + new.last_annotation + 1, f"{box.confidence:.3f}")
                for index, box in enumerate(boxes)
            ]
            parents = range(new.last_annotation + 1, first)
            new.last_annotation += 2 * len(boxes)
            new.tiers.append(_tier(names[kind], type_names[kind], parent, speaker, language, aligned))
            if kind == UTTERANCE and translated:
                pairs = [(each, box) for each, box in zip(parents, boxes, strict=True) if box.translation]
                first = new.last_annotation + 1
                references = [
                    _reference(first + index, each, box.translation)
                    for index, (each, box) in enumerate(pairs)
                ]
                new.last_annotation += len(pairs)
                new.tiers.append(
                    _tier(
                        names[TRANSLATION],
                        type_names[TRANSLATION],
                        names[UTTERANCE],
                        speaker,
                        translation_language,
                        references,
                    )
                )
            new.tiers.append(
                _tier(names[kind + CONFIDENCE], type_names["confidence"], names[kind], speaker, "", sure)
            )
    new.slots = sorted(slots.made, key=lambda slot: slot[0])
    return new


def constraint(stereotype: str) -> str:
    """The CONSTRAINT element of a stereotype."""
    return (
        f"<CONSTRAINT DESCRIPTION={quoteattr(CONSTRAINTS[stereotype])} STEREOTYPE={quoteattr(stereotype)}/>"
    )


class _Slots:
    """Makes time slots; every annotation has two of its own, as ELAN gives it."""

    def __init__(self, first: int) -> None:
        self.made: list[tuple[int, str]] = []
        self._next = first

    def at(self, ms: int) -> str:
        name = f"ts{self._next}"
        self._next += 1
        self.made.append((ms, f'<TIME_SLOT TIME_SLOT_ID="{name}" TIME_VALUE="{ms}"/>'))
        return name


def _aligned(number: int, slots: _Slots, box: Box) -> list[str]:
    start, end = slots.at(box.start), slots.at(box.end)
    return _annotation(
        f'ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="{start}" TIME_SLOT_REF2="{end}"',
        box.text,
    )


def _reference(number: int, parent: int, value: str) -> list[str]:
    return _annotation(f'REF_ANNOTATION ANNOTATION_ID="a{number}" ANNOTATION_REF="a{parent}"', value)


def _annotation(opening: str, value: str) -> list[str]:
    return [
        "    <ANNOTATION>",
        f"        <{opening}>",
        f"            <ANNOTATION_VALUE>{escape(value)}</ANNOTATION_VALUE>",
        f"        </{opening.split()[0]}>",
        "    </ANNOTATION>",
    ]


def _tier(
    name: str, type_name: str, parent: str, speaker: str, language: str, annotations: list[list[str]]
) -> list[str]:
    attributes = {
        "ANNOTATOR": PREFIX,
        "LANG_REF": language,
        "LINGUISTIC_TYPE_REF": type_name,
        "PARENT_REF": parent,
        "PARTICIPANT": speaker,
        "TIER_ID": name,
    }
    written = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items() if value)
    if not annotations:
        return [f"<TIER {written}/>"]
    return [f"<TIER {written}>", *(line for annotation in annotations for line in annotation), "</TIER>"]


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
