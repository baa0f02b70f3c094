"""SubRip (.srt) and WebVTT (.vtt): cues with times, for players.

Translated transcripts give bilingual cues: a line of the transcript and one of the translation.
Which line is which is not written, so reading joins them: text and translation in one text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.cues import make_cues
from asr.formats.files import read_text
from asr.names import shown
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

ENDINGS = (".srt", ".vtt")

Cue = tuple[str, list[str]]
"""A line of times and the lines of text below it."""

_STAMP = r"(?:(\d{1,6}):)?([0-5]?\d):([0-5]\d)[.,](\d{3})"
_TIMING = re.compile(rf"\s*{_STAMP}[ \t]+-->[ \t]+{_STAMP}(?:[ \t].*)?$")
_SETTINGS = re.compile(r"(?:[ \t]+[A-Za-z]\w*:\S+)*\s*")
"""What may follow the times of a cue that no blank line parts from the one before; other words make them text."""
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]*)>")
_TAG = re.compile(r"<[^>]*>")
_STAMP_INSIDE = re.compile(r"<(?:\d{2,}:)?[0-5]\d:[0-5]\d\.\d{3}>")
_SRT_MARKUP = re.compile(r"</?(?:[ibus]|font)(?:\s[^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE)
"""What players take for markup in SubRip, which has no escapes: these tags, and places like ``{\\an8}``."""


def write_srt(transcript: Transcript) -> Iterator[str]:
    """SubRip: numbered cues. It has no escapes, so text and translation stand as they are, on a line each.

    A text that is itself a line of times begins a cue of its own, for players and for `read_srt`.
    """
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
    segments = [_segment(timing, _SRT_MARKUP.sub("", " ".join(lines))) for timing, lines in _srt_cues(path)]
    return _transcript(path, segments)


def _srt_cues(path: Path) -> list[Cue]:
    cues: list[Cue] = []
    for number, block in _blocks(read_text(path)):
        found = _cues(block)
        if not found:
            raise InputError(
                f"{shown(path)}, line {number}: no times as in `00:00:01,000 --> 00:00:02,500`. "
                "Mend or remove the cue."
            )
        cues += found
    return cues


def read_vtt(path: Path) -> Transcript:
    """The cues of a WebVTT file as segments with their speakers; notes, styles and other tags are dropped.

    Lines of one cue, a translation too, are joined by a space; of captions that roll each line counts once. A cue in
    which several speak has no speaker.

    Raises:
        InputError: unreadable, no ``WEBVTT`` at the beginning, or a block has no line of times.
    """
    segments = []
    for timing, lines in _vtt_cues(path):
        text = " ".join(lines)
        voices = {one_line(html.unescape(name)) for name in _VOICE.findall(text)}
        segments.append(
            _segment(
                timing,
                html.unescape(_TAG.sub("", text)),
                speaker=voices.pop() if len(voices) == 1 else "",
            )
        )
    return _transcript(path, segments)


def _vtt_cues(path: Path) -> list[Cue]:
    blocks = list(_blocks(read_text(path), blank=""))  # here a line of spaces is text, and ends nothing
    if not blocks or not re.match(r"WEBVTT(?:[ \t]|$)", blocks[0][1][0]):
        raise InputError(f"{shown(path)} does not begin with WEBVTT. Give a WebVTT file.")
    (number, header), *blocks = blocks
    first = next((index for index, line in enumerate(header) if _TIMING.match(line)), None)
    if first is not None:  # a cue may follow the header without a blank line
        blocks.insert(0, (number + first, header[first:]))
    cues: list[Cue] = []
    for number, block in blocks:
        if re.match(r"(?:NOTE|STYLE|REGION)(?:[ \t]|$)", block[0]):
            continue
        found = _cues(block)
        if not found:
            raise InputError(
                f"{shown(path)}, line {number}: no times as in `00:01.000 --> 00:02.500`. "
                "Mend or remove the cue."
            )
        cues += found
    stamped = any(_STAMP_INSIDE.search(line) for _, lines in cues for line in lines)
    return _unrolled(cues) if stamped else cues


def most_lines(path: Path) -> int:
    """Lines of text of the cue that has most of them; two where a translation stands below its text.

    Raises:
        InputError: the file cannot be read, as in `read_srt` and `read_vtt`.
    """
    cues = _vtt_cues(path) if path.suffix.lower() == ".vtt" else _srt_cues(path)
    return max((sum(bool(line.strip()) for line in lines) for _, lines in cues), default=0)


def _clock(ms: int, mark: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{mark}{ms:03d}"


def _blocks(text: str, blank: str = " \t") -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not blank, each with the number of its first line.

    Args:
        blank: what a blank line may hold.
    """
    lines: list[str] = []
    for number, line in enumerate([*re.split(r"\r\n|\n|\r", text), ""], start=1):
        if line.strip(blank):
            lines.append(line)
        elif lines:
            yield number - len(lines), lines
            lines = []


def _cues(block: list[str]) -> list[Cue]:
    """The cues of a block: several where no blank line is between them, none where it has no times at its head.

    A number alone above the times of a further cue is that cue's.
    """
    timings: list[int] = []
    for index, line in enumerate(block):
        match = _TIMING.match(line)
        if match and (not timings or _SETTINGS.fullmatch(line, match.end(8))):
            timings.append(index)
    if not timings or timings[0] > 1:
        return []
    cues = []
    for timing, following in zip_longest(timings, timings[1:]):
        lines = block[timing + 1 : following]
        if following is not None and lines and lines[-1].strip().isdecimal():
            lines.pop()
        cues.append((block[timing], lines))
    return cues


def _unrolled(cues: list[Cue]) -> list[Cue]:
    """Captions that roll, without the lines that a cue still shows of the one before; cues of such alone go.

    YouTube's automatic captions do: a line comes with a stamp before each word, then as it stands in a
    cue of 10 ms, then above the next line. A line of one word has no stamps, so those do not tell.
    """
    unrolled: list[Cue] = []
    above: list[str] = []
    until = 0.0
    for timing, lines in cues:
        lines = [line for line in lines if line.strip()]
        plain = [_TAG.sub("", line).strip() for line in lines]
        stamped = (index for index, line in enumerate(lines) if _STAMP_INSIDE.search(line))
        start, end = _times(timing)
        most = min(len(above), next(stamped, len(lines))) if start <= until else 0
        again = next(n for n in range(most, -1, -1) if above[len(above) - n :] == plain[:n])
        if lines[again:]:
            unrolled.append((timing, lines[again:]))
        above, until = plain, end
    return unrolled


def _times(timing: str) -> tuple[float, float]:
    match = _TIMING.match(timing)
    assert match is not None
    numbers = [int(group or 0) for group in match.groups()]
    start, end = (
        (3_600_000 * hours + 60_000 * minutes + 1000 * seconds + ms) / 1000
        for hours, minutes, seconds, ms in (numbers[:4], numbers[4:])
    )
    return start, end


def _segment(timing: str, text: str, speaker: str = "") -> TranscriptSegment:
    start, end = _times(timing)
    return TranscriptSegment(start=start, end=end, text=one_line(text), speaker=one_line(speaker))


def _transcript(path: Path, segments: list[TranscriptSegment]) -> Transcript:
    duration = max((segment.end for segment in segments), default=0.0)
    return Transcript(recording=path.stem, audio=Path(path.stem), duration=duration, segments=tuple(segments))
