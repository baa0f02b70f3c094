"""What an ELAN file says, with a time for every annotation of every tier."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from lxml import etree

from asr.formats.clean import milliseconds
from asr.formats.eaf.times import Times, place_references
from asr.formats.files import read_bytes
from asr.formats.tiernames import PREFIX, speaker_of
from asr.names import shown
from lm.errors import InputError

CHECKSUM = f"{PREFIX}:checksum"
"""Name of the document property with the `checksum` of what this toolkit wrote."""

Content = tuple[str, str, Iterable[tuple[int, int, str]]]
"""A tier's name and participant, and start, end (milliseconds) and value of its annotations, by time."""


@dataclass(kw_only=True)
class EafAnnotation:
    """One annotation; seconds of the file's own time, ``end`` not before ``start``."""

    id: str
    start: float
    end: float
    value: str
    parent: str | None = None
    """Id of the annotation it depends on; of a time-aligned child, the parent that holds its middle."""
    interpolated: bool = False
    """No one set these times: they were shared out between known ones."""


@dataclass(frozen=True, kw_only=True)
class EafTier:
    """One tier; its annotations by start time."""

    id: str
    parent: str = ""
    participant: str = ""
    annotator: str = ""
    language: str = ""
    annotations: tuple[EafAnnotation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EafMedia:
    """A recording that the file names, as it names it."""

    url: str
    relative_url: str = ""
    origin_s: float = 0.0
    """Where in the recording the file's time 0 lies, in seconds; see `asr.formats.eaf.media.origin_of`."""


@dataclass(frozen=True, kw_only=True)
class EafDocument:
    """The tiers, media and properties of an ELAN file, in its order."""

    path: Path
    tiers: tuple[EafTier, ...]
    media: tuple[EafMedia, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)

    def tier(self, name: str) -> EafTier:
        """The tier of that name.

        Raises:
            InputError: there is none; the message names the nearest, or all.
        """
        for tier in self.tiers:
            if tier.id == name:
                return tier
        names = [tier.id for tier in self.tiers]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(map(repr, names)) or 'none'}."
        raise InputError(f"{shown(self.path)} has no tier {name!r}. {hint}")


def read_eaf(path: str | Path) -> EafDocument:
    """Read an ELAN file of any version and maker.

    Dependent tiers get times: a symbolic association has its parent's, symbolic subdivisions
    share it evenly, time slots without a value lie evenly between their neighbours.

    Raises:
        InputError: unreadable, not XML, with a DOCTYPE, not ELAN's, or with a reference that leads nowhere.
    """
    path = Path(path)
    return document_from(parse(read_bytes(path), shown(path)), path)


def is_own(document: EafDocument) -> bool:
    """Whether an ELAN file says what this toolkit wrote into it, nothing added, corrected or removed."""
    return document.properties.get(CHECKSUM, "").strip() == checksum(
        (
            tier.id,
            tier.participant,
            ((milliseconds(each.start), milliseconds(each.end), each.value) for each in tier.annotations),
        )
        for tier in document.tiers
    )


def checksum(tiers: Iterable[Content]) -> str:
    """The checksum of what tiers say, however ELAN orders and numbers them when it saves the file."""
    digest = hashlib.sha256()
    for name, participant, rows in sorted(tiers, key=itemgetter(0)):
        digest.update(repr((name, participant)).encode())
        for row in rows:
            digest.update(repr(row).encode())
    return digest.hexdigest()


def speaker_in(tier: EafTier) -> str:
    """The speaker of a tier: its participant, or the one that the name of an utterance tier of ours carries.

    What this toolkit wrote without a participant has no speaker; its name then only tells lanes apart.
    """
    return tier.participant or ("" if tier.annotator == PREFIX else speaker_of(tier.id) or "")


def untimed(document: EafDocument, tiers: Container[str]) -> tuple[list[EafAnnotation], list[EafAnnotation]]:
    """The annotations of some tiers whose times no one set, in two parts.

    The first have no place in the recording at all: they depend on nothing and have no start or no end, or they
    depend on such a one. The second lie somewhere within an annotation that has its times.
    """
    found = [(tier, each) for tier in document.tiers for each in tier.annotations if each.interpolated]
    lost = {each.id for tier, each in found if not tier.parent}
    more = lost
    while more:
        more = {each.id for _, each in found if each.parent in more} - lost
        lost |= more
    asked = [each for tier, each in found if tier.id in tiers]
    return [each for each in asked if each.id in lost], [each for each in asked if each.id not in lost]


def parse(data: bytes, where: str) -> etree._Element:
    """The root of an ELAN file, with nothing expanded and nothing fetched.

    Raises:
        InputError: not XML, with a DOCTYPE, or not ELAN's.
    """
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InputError(
            f"{where} is not whole XML: {' '.join(str(error).split())}. Save it again in ELAN."
        ) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise InputError(f"{where} has a DOCTYPE, which no ELAN file has. Remove it if you trust the file.")
    if root.tag != "ANNOTATION_DOCUMENT":
        raise InputError(
            f"{where} begins with <{root.tag}>, not <ANNOTATION_DOCUMENT>. Give an ELAN .eaf file."
        )
    return root


def document_from(root: etree._Element, path: Path) -> EafDocument:
    """The document that a parsed ELAN file holds; ``path`` is for messages and for finding media."""
    where = shown(path)
    times = Times(root, where)
    constraints = {
        _attribute(each, "LINGUISTIC_TYPE_ID", where): each.get("CONSTRAINTS", "").replace(" ", "_")
        for each in root.iterfind("LINGUISTIC_TYPE")
    }
    annotations: dict[str, EafAnnotation] = {}
    tiers: list[tuple[etree._Element, list[EafAnnotation]]] = []
    references: list[tuple[str, list[tuple[EafAnnotation, str]]]] = []
    for tier in root.iterfind("TIER"):
        tier_annotations, tier_references = [], []
        aligned = tier.findall("ANNOTATION/ALIGNABLE_ANNOTATION")
        spans = times.of_tier(
            [tuple(_attribute(each, f"TIME_SLOT_REF{n}", where) for n in "12") for each in aligned]
        )
        for each, (start, end, guessed) in zip(aligned, spans, strict=True):
            tier_annotations.append(
                EafAnnotation(
                    id=_attribute(each, "ANNOTATION_ID", where),
                    start=start,
                    end=max(start, end),
                    value=each.findtext("ANNOTATION_VALUE") or "",
                    interpolated=guessed,
                )
            )
        for each in tier.iterfind("ANNOTATION/REF_ANNOTATION"):
            annotation = EafAnnotation(
                id=_attribute(each, "ANNOTATION_ID", where),
                start=0.0,
                end=0.0,
                value=each.findtext("ANNOTATION_VALUE") or "",
                parent=_attribute(each, "ANNOTATION_REF", where),
            )
            tier_annotations.append(annotation)
            tier_references.append((annotation, each.get("PREVIOUS_ANNOTATION", "")))
        for annotation in tier_annotations:
            if annotation.id in annotations:
                raise InputError(
                    f"{where}: the annotation id {annotation.id!r} occurs twice. Mend the file in ELAN."
                )
            annotations[annotation.id] = annotation
        tiers.append((tier, tier_annotations))
        references.append((constraints.get(tier.get("LINGUISTIC_TYPE_REF", ""), ""), tier_references))
    place_references(annotations, references, where)
    return EafDocument(
        path=path,
        tiers=_tiers(tiers, where),
        media=tuple(
            EafMedia(
                url=each.get("MEDIA_URL", ""),
                relative_url=each.get("RELATIVE_MEDIA_URL", ""),
                origin_s=_origin(each, where),
            )
            for each in root.iterfind("HEADER/MEDIA_DESCRIPTOR")
        ),
        properties={each.get("NAME", ""): each.text or "" for each in root.iterfind("HEADER/PROPERTY")},
    )


def _tiers(found: list[tuple[etree._Element, list[EafAnnotation]]], where: str) -> tuple[EafTier, ...]:
    tiers: dict[str, EafTier] = {}
    for element, members in found:
        name = _attribute(element, "TIER_ID", where)
        if name in tiers:
            raise InputError(f"{where}: two tiers are named {name!r}. Rename one in ELAN.")
        tiers[name] = EafTier(
            id=name,
            parent=element.get("PARENT_REF", ""),
            participant=element.get("PARTICIPANT", ""),
            annotator=element.get("ANNOTATOR", ""),
            language=element.get("LANG_REF", ""),
            annotations=tuple(sorted(members, key=lambda each: each.start)),
        )
    for tier in tiers.values():
        if tier.parent and tier.parent not in tiers:
            raise InputError(f"{where}: tier {tier.id!r} depends on {tier.parent!r}, which is not there.")
        if tier.parent:
            _find_parents(tier.annotations, tiers[tier.parent].annotations)
    return tuple(tiers.values())


def _find_parents(children: tuple[EafAnnotation, ...], parents: tuple[EafAnnotation, ...]) -> None:
    """Set the parent of time-aligned children, which name none: the one that holds their middle."""
    index = 0
    for child in children:
        middle = (child.start + child.end) / 2
        if child.parent is None:
            while index < len(parents) and parents[index].end <= middle:
                index += 1
            if index < len(parents) and parents[index].start <= middle:
                child.parent = parents[index].id


def _origin(descriptor: etree._Element, where: str) -> float:
    value = descriptor.get("TIME_ORIGIN", "0").strip()
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", value):
        raise InputError(
            f"{where}, line {descriptor.sourceline}: TIME_ORIGIN is {value[:20]!r}. Give whole milliseconds."
        )
    return int(value) / 1000


def _attribute(element: etree._Element, name: str, where: str) -> str:
    value = element.get(name)
    if value is None:
        raise InputError(
            f"{where}, line {element.sourceline}: <{element.tag}> has no {name}. Mend the file in ELAN."
        )
    return value
