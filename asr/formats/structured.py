"""JSON: the one format that keeps everything a transcript holds, and reads back equal.

An object with these members; times are seconds, confidences are probabilities:

    format          "loquela-transcript"
    format_version  1; a later version may add members, never change these
    recording, audio, duration, language, translation_language
    details         {name: text}
    segments        [{start, end, text, translation, confidence, speaker, alternatives: [text],
                      words: [{text, start, end, confidence}]}]
    gaps            [{start, end, reason}]

Files from before there were translations lack both members; they read as "" then.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from asr.formats.files import read_text
from asr.names import shown
from asr.transcript import Gap, Transcript, TranscriptSegment, Word
from lm.errors import InputError

FORMAT = "loquela-transcript"
FORMAT_VERSION = 1


def write_json(transcript: Transcript) -> Iterator[str]:
    """The whole transcript as JSON, in letters as they are, indented."""
    members = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "recording": transcript.recording,
        "audio": str(transcript.audio),
        "duration": transcript.duration,
        "language": transcript.language,
        "translation_language": transcript.translation_language,
        "details": transcript.details,
    }
    yield _dumped(members, "").removesuffix("\n}")
    yield ',\n "segments": '
    yield from _list(
        {
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
            "translation": segment.translation,
            "confidence": segment.confidence,
            "speaker": segment.speaker,
            "alternatives": list(segment.alternatives),
            "words": [
                {"text": word.text, "start": word.start, "end": word.end, "confidence": word.confidence}
                for word in segment.words
            ],
        }
        for segment in transcript.segments
    )
    yield ',\n "gaps": '
    yield from _list({"start": gap.start, "end": gap.end, "reason": gap.reason} for gap in transcript.gaps)
    yield "\n}\n"


def _list(rows: Iterable[dict[str, object]]) -> Iterator[str]:
    """A list that is a member of the outermost object, row by row."""
    opening = "["
    for row in rows:
        yield f"{opening}\n  {_dumped(row, '  ')}"
        opening = ","
    yield "[]" if opening == "[" else "\n ]"


def _dumped(value: object, indent: str) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False).replace("\n", "\n" + indent)
    # A file name that is not UTF-8 reaches us with lone surrogates; escaped they survive the file.
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def read_json(path: Path) -> Transcript:
    """The transcript that ``write_json`` wrote, equal in every field.

    Raises:
        InputError: unreadable, not JSON, not this form, or of a later version.
    """
    try:
        members = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown(path)} is not JSON: {error}. Give a file written by loquela.") from error
    if not isinstance(members, dict) or members.get("format") != FORMAT:
        raise InputError(f'{shown(path)} has no "format": "{FORMAT}". Give a file written by loquela.')
    if members.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{shown(path)} is of format_version {members.get('format_version')!r}; "
            f"this loquela reads {FORMAT_VERSION}. Update loquela."
        )
    top = _Members(members, shown(path))
    return Transcript(
        recording=top.text("recording"),
        audio=Path(top.text("audio")),
        duration=top.number("duration"),
        language=top.text("language"),
        translation_language=top.text_if_there("translation_language"),
        details=top.texts("details"),
        segments=tuple(_segment(each) for each in top.objects("segments")),
        gaps=tuple(
            Gap(start=each.number("start"), end=each.number("end"), reason=each.text("reason"))
            for each in top.objects("gaps")
        ),
    )


def _segment(members: _Members) -> TranscriptSegment:
    return TranscriptSegment(
        start=members.number("start"),
        end=members.number("end"),
        text=members.text("text"),
        translation=members.text_if_there("translation"),
        confidence=members.number("confidence"),
        speaker=members.text("speaker"),
        alternatives=members.list_of_texts("alternatives"),
        words=tuple(
            Word(
                text=each.text("text"),
                start=each.number("start"),
                end=each.number("end"),
                confidence=each.number("confidence"),
            )
            for each in members.objects("words")
        ),
    )


class _Members:
    """The members of one JSON object, each asked for by name and type."""

    def __init__(self, members: dict[str, object], where: str) -> None:
        self._members = members
        self._where = where

    def text(self, name: str) -> str:
        value = self._members.get(name)
        return value if isinstance(value, str) else self._refuse(name, "a text")

    def text_if_there(self, name: str) -> str:
        """The text, or "" where a file of an earlier writer lacks the member."""
        return self.text(name) if name in self._members else ""

    def number(self, name: str) -> float:
        value = self._members.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
            self._refuse(name, "a number")
        try:
            return float(value)
        except OverflowError:  # an integer of hundreds of digits
            self._refuse(name, "a number")

    def texts(self, name: str) -> dict[str, str]:
        value = self._members.get(name)
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            self._refuse(name, "an object of texts")
        return value

    def list_of_texts(self, name: str) -> tuple[str, ...]:
        value = self._members.get(name)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self._refuse(name, "a list of texts")
        return tuple(value)

    def objects(self, name: str) -> list[_Members]:
        value = self._members.get(name)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self._refuse(name, "a list of objects")
        return [_Members(each, f"{self._where}, {name}[{index}]") for index, each in enumerate(value)]

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise InputError(
            f"{self._where}: {name!r} is not {wanted}. The file was cut or changed; write it again."
        )
