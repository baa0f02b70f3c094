"""Praat TextGrids: any read, long or short, whatever the encoding; transcripts written in the long form."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from asr.formats.clean import decimal_seconds, milliseconds
from asr.formats.files import read_bytes
from asr.formats.layout import Box, Utterances, is_translated, lay_out
from asr.formats.tiernames import (
    CONFIDENCE,
    TRANSLATION,
    UTTERANCE,
    WORD,
    confidence_from,
    speaker_of,
    tier_name,
)
from asr.names import shown, tell_once
from asr.transcript import Transcript, TranscriptSegment, Word
from lm.errors import InputError

_TOKEN = re.compile(
    r"""  "([^"]*(?:""[^"]*)*)"                                    # a text; quotes in it are doubled
        | <(exists|absent)>
        | (?<![^\s=])([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)   # a number that stands free
        | ![^\n]*                                                # a comment
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A stretch of a tier and its label; seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """A moment of a point tier and its mark; seconds."""

    time: float
    text: str


@dataclass(frozen=True, kw_only=True)
class TextGridTier:
    """An interval tier (``intervals``) or a point tier (``points``); the other is empty."""

    name: str
    start: float
    end: float
    intervals: tuple[Interval, ...] = ()
    points: tuple[Point, ...] = ()
    is_point_tier: bool = False


@dataclass(frozen=True, kw_only=True)
class TextGridDocument:
    """A TextGrid: its extent in seconds and its tiers, in order."""

    start: float
    end: float
    tiers: tuple[TextGridTier, ...]


def read_textgrid(path: str | Path) -> TextGridDocument:
    """Read a TextGrid text file, long or short, in UTF-8, UTF-16, Latin-1 or Windows-1252.

    Raises:
        InputError: unreadable, not such a file, or cut off.
    """
    path = Path(path)
    text = _decoded(read_bytes(path), path)
    if not text.startswith('File type = "ooTextFile'):
        raise InputError(
            f"{shown(path)} is not a TextGrid text file. Save it in Praat with `Save as text file`."
        )
    tokens = _Tokens(text, shown(path))
    tokens.text()  # ooTextFile
    if (kind := tokens.text()) != "TextGrid":
        raise InputError(f"{shown(path)} holds a Praat {kind[:40]!r}, not a TextGrid. Give a TextGrid.")
    start, end = tokens.number(), tokens.number()
    tiers = tuple(_tier(tokens) for _ in range(tokens.count())) if tokens.flag() == "exists" else ()
    return TextGridDocument(start=start, end=end, tiers=tiers)


def write_textgrid(transcript: Transcript) -> Iterator[str]:
    """Utterance and word tiers, each with a tier of confidences, per speaker.

    Where some utterance has a translation, a tier of them with the same boundaries follows each
    utterance tier.

    Intervals tile [0, xmax]: both sides of a boundary are printed from the same integer.
    """
    layout = lay_out(transcript)
    translated = is_translated(layout)
    tiers: list[_Labels] = []
    for lane, utterances in layout.items():
        for kind in (UTTERANCE, WORD):
            tiers.append(_Labels(tier_name(kind, lane), utterances, kind, lambda box: box.text))
            if kind == UTTERANCE and translated:
                name = tier_name(TRANSLATION, lane)
                tiers.append(_Labels(name, utterances, kind, lambda box: box.translation))
            name = tier_name(kind + CONFIDENCE, lane)
            tiers.append(_Labels(name, utterances, kind, lambda box: f"{box.confidence:.3f}"))
    ends = [utterances.end for utterances in layout.values()]
    last = max(1, milliseconds(transcript.duration), *ends)
    yield 'File type = "ooTextFile"\n'
    yield 'Object class = "TextGrid"\n\n'
    yield "xmin = 0 \n"
    yield f"xmax = {decimal_seconds(last)} \n"
    yield "tiers? <exists> \n"
    yield f"size = {len(tiers)} \n"
    yield "item []: \n"
    for number, tier in enumerate(tiers, start=1):
        yield f"    item [{number}]:\n"
        for line in _tier_lines(tier, last):
            yield f"        {line}\n"


def transcript_from_textgrid(path: Path) -> Transcript:
    """The transcript in a TextGrid that ``write_textgrid`` wrote.

    Utterances with neither text nor translation are not in it. A translation belongs to the
    interval of the utterance tier that holds its middle, so boundaries may have been moved a little.

    Raises:
        InputError: unreadable, or it has no tier of ours.
    """
    document = read_textgrid(path)
    tiers = {tier.name: tier.intervals for tier in document.tiers}
    speakers = speakers_in(document)
    if not speakers:
        raise InputError(
            f"{shown(path)} has no tier {tier_name(UTTERANCE)!r} (its tiers: {', '.join(tiers)}). "
            "Import the tiers of others with `loquela corpus import`, or time their lines with `loquela align`."
        )
    segments = []
    for name, speaker in speakers.items():
        lane = speaker_of(name) or ""
        words = [
            Word(text=label.text, start=label.start, end=label.end, confidence=confidence)
            for label, confidence in _labels(tiers, WORD, lane)
            if label.text
        ]
        starts, ends = [word.start for word in words], [word.end for word in words]
        translations = _translations(tiers, lane)
        for label, confidence in _labels(tiers, UTTERANCE, lane):
            translation = translations.get(label.start, "")
            if not label.text and not translation:
                continue
            segments.append(
                TranscriptSegment(
                    start=label.start,
                    end=label.end,
                    text=label.text,
                    words=tuple(words[bisect_left(starts, label.start) : bisect_right(ends, label.end)]),
                    confidence=confidence,
                    speaker=speaker,
                    translation=translation,
                )
            )
    segments.sort(key=lambda segment: segment.start)
    return Transcript(
        recording=path.stem, audio=Path(path.stem), duration=document.end, segments=tuple(segments)
    )


def speakers_in(document: TextGridDocument) -> dict[str, str]:
    """The speaker of each of our utterance tiers, by the tier's name.

    A speaker's further lane is named as one more speaker, "Ana 2" (see `lay_out`). It is taken for a lane where each
    of its utterances overlaps one of Ana's: for nothing else is a lane made.
    """
    tiers = {tier.name: tier.intervals for tier in document.tiers}
    found: dict[str, str] = {}
    for name, intervals in tiers.items():
        speaker = speaker_of(name)
        if speaker is None:
            continue
        match = re.fullmatch(r"(?:(.+) )?\d+", speaker, re.DOTALL)
        first = tiers.get(tier_name(UTTERANCE, match[1] or ""), ()) if match else ()
        found[name] = (match[1] or "") if match and _all_overlap(intervals, first) else speaker
    return found


def _all_overlap(intervals: Iterable[Interval], others: Iterable[Interval]) -> bool:
    """Whether there are intervals with a label, and each overlaps one of the others that has one."""
    spans = [(each.start, each.end) for each in others if each.text]
    labelled = [each for each in intervals if each.text]
    before = [bisect_left(spans, (each.end,)) - 1 for each in labelled]
    return bool(labelled) and all(
        place >= 0 and spans[place][1] > each.start for each, place in zip(labelled, before, strict=True)
    )


def _labels(
    tiers: Mapping[str, tuple[Interval, ...]], kind: str, speaker: str
) -> Iterator[tuple[Interval, float]]:
    """The intervals of one of our tiers, each with its confidence from the tier beside it."""
    beside = tiers.get(tier_name(kind + CONFIDENCE, speaker), ())
    confidences = {interval.start: interval.text for interval in beside}
    for interval in tiers.get(tier_name(kind, speaker), ()):
        yield interval, confidence_from(confidences.get(interval.start))


def _translations(tiers: Mapping[str, tuple[Interval, ...]], speaker: str) -> dict[float, str]:
    """The translations of a speaker's utterances, by the start of the utterance's interval."""
    starts = [interval.start for interval in tiers.get(tier_name(UTTERANCE, speaker), ())]
    found: dict[float, str] = {}
    for interval in tiers.get(tier_name(TRANSLATION, speaker), ()):
        if interval.text and starts:
            start = starts[max(0, bisect_right(starts, (interval.start + interval.end) / 2) - 1)]
            found[start] = f"{found[start]} {interval.text}" if start in found else interval.text
    return found


@dataclass(frozen=True)
class _Labels:
    """A tier to be written."""

    name: str
    utterances: Utterances
    kind: str
    """Of utterances, or of words."""
    label: Callable[[Box], str]

    def intervals(self, last: int) -> Iterator[tuple[int, int, str]]:
        """Start, end and label, and between them the stretches without one, up to ``last``."""
        cursor = 0
        boxes: Iterable[Box] = self.utterances if self.kind == UTTERANCE else self.utterances.words()
        for box in boxes:
            if box.start > cursor:
                yield cursor, box.start, ""
            yield box.start, box.end, self.label(box)
            cursor = box.end
        if cursor < last:
            yield cursor, last, ""


def _tier_lines(tier: _Labels, last: int) -> Iterator[str]:
    yield 'class = "IntervalTier" '
    yield f"name = {_quoted(tier.name)} "
    yield "xmin = 0 "
    yield f"xmax = {decimal_seconds(last)} "
    yield f"intervals: size = {sum(1 for _ in tier.intervals(last))} "
    for number, (start, end, text) in enumerate(tier.intervals(last), start=1):
        yield f"intervals [{number}]:"
        yield f"    xmin = {decimal_seconds(start) if start else 0} "
        yield f"    xmax = {decimal_seconds(end)} "
        yield f"    text = {_quoted(text)} "


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _decoded(data: bytes, path: Path) -> str:
    """Praat saves ASCII, UTF-8 or (with a mark) UTF-16; old versions saved what their system had for letters.

    Bytes from 0x80 to 0x9f are none in Latin-1: it is Windows-1252, or else Mac Roman, in which they are the accented
    letters. That is told on stderr, for nothing in the file tells one from the other.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if data[1:2] == b"\0" or data[:1] == b"\0":
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        beyond = re.search(rb'[^\s"]*[\x80-\x9f][^\s"]*', data)
    if beyond is None:
        return data.decode("latin-1")
    try:
        text, example = data.decode("cp1252"), beyond[0].decode("cp1252")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown(path)} is neither UTF-8 nor Windows-1252. Open it in Praat and save it as UTF-8."
        ) from error
    tell_once(
        f"{shown(path)} is not UTF-8 and is read as Windows-1252, as in {example!r}. If letters are wrong, open it in "
        "Praat and save it as UTF-8."
    )
    return text


class _Tokens:
    """The texts, numbers and flags of a Praat text file; all else in it is for human readers.

    That is Praat's own rule, and makes the long and the short form the same sequence.
    """

    def __init__(self, text: str, where: str) -> None:
        self._found = (match for match in _TOKEN.finditer(text) if match.lastindex)
        self.where = where

    def text(self) -> str:
        return self._next(1, "a text").replace('""', '"')

    def flag(self) -> str:
        return self._next(2, "<exists>")

    def number(self) -> float:
        number = float(self._next(3, "a number"))
        if not math.isfinite(number):
            raise InputError(f"{self.where}: a number beyond all bounds. Mend the file.")
        return number

    def count(self) -> int:
        number = self.number()
        if number < 0 or number != int(number):
            raise InputError(f"{self.where}: {number} where a count belongs. Mend the file.")
        return int(number)

    def _next(self, group: int, wanted: str) -> str:
        match = next(self._found, None)
        if match is None:
            raise InputError(f"{self.where} ends where {wanted} is expected. It was cut off; save it again.")
        if match.lastindex != group:
            raise InputError(
                f"{self.where}, character {match.start()}: {match[0][:40]!r} where {wanted} is expected. "
                "Mend the file."
            )
        return match[group]


def _tier(tokens: _Tokens) -> TextGridTier:
    kind, name = tokens.text(), tokens.text()
    start, end = tokens.number(), tokens.number()
    if kind == "IntervalTier":
        intervals = tuple(
            Interval(start=tokens.number(), end=tokens.number(), text=tokens.text())
            for _ in range(tokens.count())
        )
        return TextGridTier(name=name, start=start, end=end, intervals=intervals)
    if kind == "TextTier":
        points = tuple(Point(time=tokens.number(), text=tokens.text()) for _ in range(tokens.count()))
        return TextGridTier(name=name, start=start, end=end, points=points, is_point_tier=True)
    raise InputError(f"{tokens.where}: a tier of class {kind[:40]!r}. Only IntervalTier and TextTier exist.")
