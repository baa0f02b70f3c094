"""A transcript as an ELAN file of its own, and back."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from asr.formats.clean import decimal_seconds, milliseconds, one_line
from asr.formats.eaf.document import CHECKSUM, EafTier, checksum, read_eaf, speaker_in
from asr.formats.eaf.media import find_media, media_urls, mime_type, origin_of
from asr.formats.eaf.tiers import CONSTRAINTS, constraint, make_tiers
from asr.formats.tiernames import (
    CONFIDENCE,
    PREFIX,
    TRANSLATION,
    UTTERANCE,
    WORD,
    confidence_from,
    speaker_of,
    tier_name,
)
from asr.names import shown
from asr.transcript import Transcript, TranscriptSegment, Word
from lm.errors import InputError

_OPENING = (
    '<ANNOTATION_DOCUMENT AUTHOR="{author}" DATE="{date}" FORMAT="3.0" VERSION="3.0"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">\n'
)
_PROPERTY = f"{PREFIX}:"
"""Names of the document properties that keep the transcript's own facts begin so."""


def write_eaf(transcript: Transcript, folder: Path | None = None) -> Iterator[str]:
    """An EAF 3.0 document: tiers as ``make_tiers`` gives them, linked to the recording.

    Args:
        folder: where the file will lie, for the relative link; None: beside the recording.
    """
    language_id = _language_id(transcript.language)
    translation_id = _language_id(transcript.translation_language)
    new = make_tiers(
        transcript, language=language_id, translation_language=translation_id, stereotypes=CONSTRAINTS
    )
    url, relative = media_urls(transcript.audio, folder)
    facts = {"recording": transcript.recording, "language": transcript.language}
    facts["duration"] = decimal_seconds(milliseconds(transcript.duration))
    if transcript.translation_language:
        facts["translation_language"] = transcript.translation_language
    facts |= {f"detail:{key}": value for key, value in transcript.details.items()}
    date = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield _OPENING.format(author=PREFIX, date=date)
    yield '    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
    yield (
        f"        <MEDIA_DESCRIPTOR MEDIA_URL={quoteattr(url)}"
        f" MIME_TYPE={quoteattr(mime_type(transcript.audio))} RELATIVE_MEDIA_URL={quoteattr(relative)}/>\n"
    )
    for name, value in facts.items():
        yield _property(_PROPERTY + name, value)
    yield _property(CHECKSUM, checksum(new.contents))
    yield _property("lastUsedAnnotationId", str(new.last_annotation))
    yield "    </HEADER>\n"
    yield "    <TIME_ORDER>\n"
    for _, slot in new.slots:
        yield f"        {slot}\n"
    yield "    </TIME_ORDER>\n"
    for line in itertools.chain(*new.tiers, new.types):
        yield f"    {line}\n"
    for each in dict.fromkeys((language_id, translation_id)):  # an id may be declared once
        if each:
            yield f'    <LANGUAGE LANG_ID="{each}" LANG_LABEL="{each}"/>\n'
    for stereotype in CONSTRAINTS:
        yield f"    {constraint(stereotype)}\n"
    yield "</ANNOTATION_DOCUMENT>\n"


def transcript_from_eaf(path: Path) -> Transcript:
    """The transcript in an ELAN file that ``write_eaf`` wrote or ``add_tiers`` first added to.

    Raises:
        InputError: unreadable, or it has no tier of ours.
    """
    document = read_eaf(path)
    tiers = {tier.id: tier for tier in document.tiers}
    audio = find_media(document, path) or Path(
        document.media[0].relative_url if document.media else path.stem
    )
    origin_s = origin_of(document, audio)
    segments = []
    ours = [(tier, speaker) for tier in document.tiers if (speaker := speaker_of(tier.id)) is not None]
    if not ours:
        raise InputError(
            f"{shown(path)} has no tier {tier_name(UTTERANCE)!r} (its tiers: {', '.join(tiers)}). "
            "Import the tiers of others with `loquela corpus import`, or time their lines with `loquela align`."
        )
    for tier, speaker in ours:
        translations = _values_by_parent(tiers.get(tier_name(TRANSLATION, speaker)))
        sure, word_sure = (
            _values_by_parent(tiers.get(tier_name(kind + CONFIDENCE, speaker))) for kind in (UTTERANCE, WORD)
        )
        words: dict[str | None, list[Word]] = {}
        word_tier = tiers.get(tier_name(WORD, speaker))
        for each in word_tier.annotations if word_tier else ():
            confidence = confidence_from(word_sure.get(each.id))
            start, end = each.start + origin_s, each.end + origin_s
            word = Word(text=each.value, start=start, end=end, confidence=confidence)
            words.setdefault(each.parent, []).append(word)
        for each in tier.annotations:
            segments.append(
                TranscriptSegment(
                    start=each.start + origin_s,
                    end=each.end + origin_s,
                    text=each.value,
                    words=tuple(words.get(each.id, ())),
                    confidence=confidence_from(sure.get(each.id)),
                    speaker=speaker_in(tier),
                    translation=translations.get(each.id, ""),
                )
            )
    segments.sort(key=lambda segment: segment.start)
    facts = {
        name.removeprefix(_PROPERTY): value
        for name, value in document.properties.items()
        if name.startswith(_PROPERTY)
    }
    try:
        duration = float(facts.get("duration", ""))
    except ValueError:  # tiers added to another's file carry no such fact
        duration = max((segment.end for segment in segments), default=0.0)
    return Transcript(
        recording=facts.get("recording", path.stem),
        audio=audio,
        duration=duration,
        segments=tuple(segments),
        language=facts.get("language", ""),
        translation_language=facts.get("translation_language", ""),
        details={
            name.removeprefix("detail:"): value for name, value in facts.items() if name.startswith("detail:")
        },
    )


def _language_id(language: str) -> str:
    """The id that a LANGUAGE element gets, which must be an XML name; "" where the language is none."""
    name = one_line(language)
    return name if re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII) else ""


def _property(name: str, value: str) -> str:
    return f"        <PROPERTY NAME={quoteattr(one_line(name))}>{escape(one_line(value))}</PROPERTY>\n"


def _values_by_parent(tier: EafTier | None) -> dict[str | None, str]:
    return {each.parent: each.value for each in tier.annotations} if tier else {}
