"""SubRip (.srt) and WebVTT (.vtt): cues with times, for players.

Translated transcripts give bilingual cues: a line of the transcript and one of the translation.
Which line is which is not written, so reading joins them: text and translation in one text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.cues import make_cues
from asr.formats.files import read_text
from asr.names import shown
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

ENDINGS = (".srt", ".vtt")

_STAMP = r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]\d)[.,](\d{3})"
_TIMING = re.compile(rf"\s*{_STAMP}[ \t]+-->[ \t]+{_STAMP}(?:[ \t].*)?$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]*)>")
_TAG = re.compile(r"<[^>]*>")
_SRT_MARKUP = re.compile(r"</?(?:[ibus]|font)(?:\s[^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE)
"""What players take for markup in SubRip, which has no escapes: these tags, and places like ``{\\an8}``."""


def write_srt(transcript: Transcript) -> Iterator[str]:
    """SubRip: numbered cues. It has no escapes, so text and translation stand as they are, on a line each."""
    for number, cue in enumerate(make_cues(transcript), start=1):
        text = "\n".join(cue.lines)
        between = "\n" if number > 1 else ""
        yield f"{between}{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{text}\n"


def write_vtt(transcript: Transcript) -> Iterator[str]:
    """WebVTT: ``&``, ``<`` and ``>`` escaped (so no text can hold ``-->``), speakers as voice spans."""
    yield "WEBVTT\n"
    for cue in make_cues(transcript):
        voice = f"<v {html.escape(cue.speaker, quote=False)}>" if cue.speaker.strip() else ""
        text = html.escape("\n".join(cue.lines), quote=False)
        yield f"\n{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{voice}{text}\n"


def read_srt(path: Path) -> Transcript:
    """The cues of a SubRip file as segments; lines of one cue, a translation too, are joined by a space.

    What players take for markup is dropped.

    Raises:
        InputError: unreadable, or a block has no line of times.
    """
    segments = []
    for number, lines in _blocks(read_text(path)):
        timing = _timing_line(lines[:2])
        if timing is None:
            raise InputError(
                f"{shown(path)}, line {number}: no times as in `00:00:01,000 --> 00:00:02,500`. "
                "Mend or remove the cue."
            )
        text = " ".join(lines[timing + 1 :])
        segments.append(_segment(lines[timing], _SRT_MARKUP.sub("", text)))
    return _transcript(path, segments)


def read_vtt(path: Path) -> Transcript:
    """The cues of a WebVTT file as segments with their speakers; notes, styles and other tags are dropped.

    Lines of one cue, a translation too, are joined by a space.

    Raises:
        InputError: unreadable, no ``WEBVTT`` at the beginning, or a block has no line of times.
    """
    blocks = list(_blocks(read_text(path)))
    if not blocks or not re.match(r"WEBVTT(?:[ \t]|$)", blocks[0][1][0]):
        raise InputError(f"{shown(path)} does not begin with WEBVTT. Give a WebVTT file.")
    (number, header), *cues = blocks
    first = _timing_line(header)
    if first is not None:  # a cue may follow the header without a blank line
        cues.insert(0, (number + first, header[first:]))
    segments = []
    for number, lines in cues:
        if re.match(r"(?:NOTE|STYLE|REGION)(?:[ \t]|$)", lines[0]):
            continue
        timing = _timing_line(lines[:2])
        if timing is None:
            raise InputError(
                f"{shown(path)}, line {number}: no times as in `00:01.000 --> 00:02.500`. "
                "Mend or remove the cue."
            )
        text = " ".join(lines[timing + 1 :])
        voice = _VOICE.search(text)
        segments.append(
            _segment(
                lines[timing],
                html.unescape(_TAG.sub("", text)),
                speaker=html.unescape(voice[1]) if voice else "",
            )
        )
    return _transcript(path, segments)


def most_lines(path: Path) -> int:
    """Lines of text of the cue that has most of them; two where a translation stands below its text."""
    timings = ((lines, _timing_line(lines[:2])) for _, lines in _blocks(read_text(path)))
    return max((len(lines) - place - 1 for lines, place in timings if place is not None), default=0)


def _clock(ms: int, mark: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{mark}{ms:03d}"


def _blocks(text: str) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not blank, each with the number of its first line."""
    lines: list[str] = []
    for number, line in enumerate([*re.split(r"\r\n|\n|\r", text), ""], start=1):
        if line.strip(" \t"):
            lines.append(line)
        elif lines:
            yield number - len(lines), lines
            lines = []


def _timing_line(lines: list[str]) -> int | None:
    return next((index for index, line in enumerate(lines) if _TIMING.match(line)), None)


def _segment(timing: str, text: str, speaker: str = "") -> TranscriptSegment:
    match = _TIMING.match(timing)
    assert match is not None
    numbers = [int(group or 0) for group in match.groups()]
    start, end = (
        (3_600_000 * hours + 60_000 * minutes + 1000 * seconds + ms) / 1000
        for hours, minutes, seconds, ms in (numbers[:4], numbers[4:])
    )
    return TranscriptSegment(start=start, end=end, text=one_line(text), speaker=one_line(speaker))


def _transcript(path: Path, segments: list[TranscriptSegment]) -> Transcript:
    duration = max((segment.end for segment in segments), default=0.0)
    return Transcript(recording=path.stem, audio=Path(path.stem), duration=duration, segments=tuple(segments))
