"""A transcript added to a linguist's ELAN file, of which no byte changes but one counter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.parsers import expat

from lxml import etree

from asr.formats.eaf.document import EafDocument, document_from, parse
from asr.formats.eaf.media import origin_of
from asr.formats.eaf.tiers import NewTiers, make_tiers
from asr.formats.files import read_bytes, write_whole
from asr.names import shown
from asr.transcript import Transcript
from lm.errors import InputError

_ORDER = (
    "LICENSE",
    "HEADER",
    "TIME_ORDER",
    "TIER",
    "LINGUISTIC_TYPE",
    "LOCALE",
    "LANGUAGE",
    "CONSTRAINT",
    "CONTROLLED_VOCABULARY",
    "LEXICON_REF",
    "REF_LINK_SET",
    "EXTERNAL_REF",
)
"""Children of ANNOTATION_DOCUMENT in the order that the schema of EAF 3.0 demands."""

_INDENT = "    "


def add_tiers(
    existing_eaf: str | Path, transcript: Transcript, out: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a copy of an ELAN file that has the transcript as further tiers.

    New text is put between the bytes that are there; taking it out gives the old file again.
    One thing changes, as ELAN needs it: the value of the property lastUsedAnnotationId (and
    an empty ``<TIME_ORDER/>`` is opened). Links to media stay as they are. Where the file's time 0
    lies later in the recording, times are counted from there, and what was said before has no place.

    Args:
        out: may be ``existing_eaf`` itself, with ``overwrite``.
    Raises:
        InputError: not an ELAN file, or ``out`` exists or cannot be written.
    """
    existing_eaf, out = Path(existing_eaf), Path(out)
    return write_whole(
        out, [with_tiers(read_bytes(existing_eaf), transcript, existing_eaf)], overwrite=overwrite
    )


def with_tiers(data: bytes, transcript: Transcript, path: Path) -> bytes:
    """The bytes of an ELAN file with the transcript's tiers put in; ``path`` is for messages.

    Raises:
        InputError: not an ELAN file we can read.
    """
    root = parse(data, shown(path))
    document = document_from(root, path)  # refuses what is broken before we build on it
    header = root.find("HEADER")
    if header is not None and header.get("TIME_UNITS", "milliseconds") != "milliseconds":
        raise InputError(
            f"{shown(path)} counts time in {header.get('TIME_UNITS')}. Open and save it in ELAN."
        )
    types = {each.get("LINGUISTIC_TYPE_ID", ""): each for each in root.iterfind("LINGUISTIC_TYPE")}
    last_annotation = max(
        _highest([each.id for tier in document.tiers for each in tier.annotations], "a"),
        _highest([document.properties.get("lastUsedAnnotationId", "").strip()], ""),
    )
    new = make_tiers(
        _from_origin(transcript, origin_of(document, transcript.audio)),
        first_annotation=last_annotation + 1,
        first_slot=_highest([slot.get("TIME_SLOT_ID", "") for slot in root.iter("TIME_SLOT")], "ts") + 1,
        taken={tier.id for tier in document.tiers},
        types={name: each.get("CONSTRAINTS", "") for name, each in types.items()},
        stereotypes={each.get("STEREOTYPE", "") for each in root.iterfind("CONSTRAINT")},
    )
    text, encoding, mark = _decoded(data, root, shown(path))
    edited = _apply(text.encode(), _edits(text.encode(), new, shown(path))).decode()
    # letters that an old encoding lacks are written as references; all old ones it has
    result = mark + edited.encode(encoding, errors="xmlcharrefreplace")
    after = document_from(parse(result, shown(path)), path)
    assert _content(after).items() >= _content(document).items()
    return result


def _from_origin(transcript: Transcript, origin_s: float) -> Transcript:
    """The transcript with times that begin at ``origin_s``, without what ends before."""
    if not origin_s:
        return transcript
    segments = []
    for each in transcript.segments:
        words = tuple(
            replace(word, start=max(0.0, word.start - origin_s), end=word.end - origin_s)
            for word in each.words
            if word.end > origin_s
        )
        if each.end > origin_s:
            start = max(0.0, each.start - origin_s)
            segments.append(replace(each, start=start, end=each.end - origin_s, words=words))
    return replace(transcript, segments=tuple(segments), duration=max(0.0, transcript.duration - origin_s))


def _content(document: EafDocument) -> dict[tuple[str, str], object]:
    """What a file says under each tier and annotation id, apart from times that were shared out."""
    return {
        (tier.id, each.id): (each.value, None if each.interpolated else (each.start, each.end))
        for tier in document.tiers
        for each in tier.annotations
    }


@dataclass(kw_only=True)
class _Edit:
    """At ``offset`` of the old bytes, ``removed`` gives way to ``added``."""

    offset: int
    added: str
    removed: bytes = b""


@dataclass(kw_only=True)
class _Places:
    """Byte offsets of what matters for putting something in."""

    children: list[tuple[str, int]] = field(default_factory=list)
    slots: list[tuple[int | None, int]] = field(default_factory=list)
    """Value and offset of each TIME_SLOT."""
    counter: int | None = None
    """Offset of the element with lastUsedAnnotationId."""
    slots_end: int = 0
    root_end: int = 0


def _edits(data: bytes, new: NewTiers, where: str) -> list[_Edit]:
    places = _find_places(data)
    newline = "\r\n" if b"\r\n" in data else "\n"

    def before(name: str) -> int:
        """Where the first child that the schema puts after ``name`` begins."""
        rank = _ORDER.index(name)
        later = [at for child, at in places.children if child in _ORDER[rank + 1 :]]
        return later[0] if later else places.root_end

    def block(offset: int, lines: list[str]) -> _Edit:
        """Lines before the element at ``offset``, which keeps its own indentation before and after."""
        indent = "" if offset == places.root_end else _INDENT
        first = _INDENT.removeprefix(indent)
        return _Edit(offset=offset, added=first + (newline + _INDENT).join(lines) + newline + indent)

    edits = _slot_edits(data, new, places, newline, where)
    if new.tiers:
        edits.append(block(before("TIER"), [line for tier in new.tiers for line in tier]))
    if new.types:
        edits.append(block(before("LINGUISTIC_TYPE"), new.types))
    if new.constraints:
        edits.append(block(before("CONSTRAINT"), new.constraints))
    if places.counter is not None:
        counter = re.compile(rb"<PROPERTY\b[^<>]*>\s*(\d+)\s*</PROPERTY").match(data, places.counter)
        if counter:
            edits.append(_Edit(offset=counter.start(1), removed=counter[1], added=str(new.last_annotation)))
    return edits


def _slot_edits(data: bytes, new: NewTiers, places: _Places, newline: str, where: str) -> list[_Edit]:
    """Each time slot goes before the first later one: ELAN takes the order of slots for the order of time."""
    slots = list(new.slots)
    if not slots:
        return []
    empty = re.compile(rb"<TIME_ORDER\s*/>").match(data, _child(places, "TIME_ORDER", where))
    indent = _INDENT * 2
    if empty:
        lines = "".join(f"{newline}{indent}{slot}" for _, slot in slots)
        added = f"<TIME_ORDER>{lines}{newline}{_INDENT}</TIME_ORDER>"
        return [_Edit(offset=empty.start(), removed=empty[0], added=added)]
    edits, old = [], 0
    aligned = [(value, at) for value, at in places.slots if value is not None]
    for time, slot in slots:
        while old < len(aligned) and aligned[old][0] <= time:
            old += 1
        if old < len(aligned):
            edits.append(_Edit(offset=aligned[old][1], added=f"{slot}{newline}{indent}"))
        else:
            edits.append(_Edit(offset=places.slots_end, added=f"{_INDENT}{slot}{newline}{_INDENT}"))
    return edits


def _find_places(data: bytes) -> _Places:
    """Scan the document (UTF-8, whatever its declaration says) for the places to edit."""
    places = _Places()
    parser = expat.ParserCreate("utf-8")
    path: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        at = parser.CurrentByteIndex
        if len(path) == 2:
            places.children.append((name, at))
        elif name == "TIME_SLOT":
            value = attributes.get("TIME_VALUE")
            places.slots.append((None if value is None else int(value), at))
        elif name == "PROPERTY" and attributes.get("NAME") == "lastUsedAnnotationId":
            places.counter = at

    def end(name: str) -> None:
        path.pop()
        if len(path) == 1 and name == "TIME_ORDER":
            places.slots_end = parser.CurrentByteIndex
        elif not path:
            places.root_end = parser.CurrentByteIndex

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(data, True)
    return places


def _child(places: _Places, name: str, where: str) -> int:
    for child, at in places.children:
        if child == name:
            return at
    raise InputError(f"{where} has no <{name}>, which every ELAN file has. Open and save it in ELAN.")


def _apply(data: bytes, edits: list[_Edit]) -> bytes:
    pieces, cursor = [], 0
    for edit in sorted(edits, key=lambda each: each.offset):  # stable: edits at one place keep their order
        assert data[edit.offset :].startswith(edit.removed)
        pieces += [data[cursor : edit.offset], edit.added.encode()]
        cursor = edit.offset + len(edit.removed)
    return b"".join([*pieces, data[cursor:]])


def _decoded(data: bytes, root: etree._Element, where: str) -> tuple[str, str, bytes]:
    """Text, encoding and byte-order mark such that mark + text in that encoding is ``data`` again."""
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding), encoding, mark
    encoding = root.getroottree().docinfo.encoding or "utf-8"
    try:
        text = data.decode(encoding)
        if text.encode(encoding) == data:
            return text, encoding, b""
    except (LookupError, UnicodeError):
        pass
    raise InputError(
        f"{where} is in the encoding {encoding!r}. Open and save it in ELAN, which writes UTF-8."
    )


def _highest(ids: Iterable[str], prefix: str) -> int:
    """The highest number in ids of the form prefix + number; longer ones than 15 digits cannot clash."""
    pattern = re.compile(rf"{prefix}([0-9]{{1,15}})")
    found = (pattern.fullmatch(each) for each in ids)
    return max((int(match[1]) for match in found if match), default=0)
