"""NIST's CTM (words with times) and STM (segments with times), as sclite reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from asr.formats.clean import decimal_seconds, one_line, span_ms
from asr.formats.files import read_text
from asr.formats.layout import ROUNDING_MS
from asr.names import shown, tell_once
from asr.transcript import Transcript, TranscriptSegment, Word
from lm.errors import InputError

CHANNEL = "1"
"""Of speakers whose names do not say another."""
NO_SPEAKER = "unknown"
TURN_PAUSE_S = 1.0
"""A channel's words with such a pause between them are two segments, where there are several channels."""
_CHANNEL = re.compile(r"(?:.*[ _])?channel[ _](\d+|[A-Z])", re.DOTALL)
"""A speaker that is a channel, as `--channel split` names them; STM has no spaces in names."""
_COMMAND = re.compile("_*(?:@|<ALT_BEGIN>|<ALT>|<ALT_END>)")
"""Words that sclite takes as commands, and those that our escape of them would be confused with."""


def write_ctm(transcript: Transcript) -> Iterator[str]:
    """One word per line: ``file channel begin duration word confidence``, by channel and begin time.

    The words of speakers who overlap in one channel are mixed, which is told on stderr: nothing in a line says whose
    it is. A word with spaces inside becomes several that share its time by their letters; so do the
    words of a segment that has none timed, with the segment's confidence. A word that sclite
    would take as a command gets a ``_`` in front.
    """
    rows = []
    for segment in transcript.segments:
        timed = segment.words or (
            Word(text=segment.text, start=segment.start, end=segment.end, confidence=segment.confidence),
        )
        for word in timed:
            rows += [(_channel(segment.speaker), *token) for token in _tokens(word)]
    rows.sort(key=lambda row: row[:2])
    name = _column(transcript.recording, "recording")
    if rows and _speakers_overlap(transcript):
        tell_once(
            f"{shown(transcript.recording)}: speakers overlap in one channel, and the .ctm has their words mixed, by "
            "time. To score them, write json as well and give that."
        )
    for channel, start, end, token, confidence in rows:
        begin, duration = decimal_seconds(start), decimal_seconds(end - start)
        yield f"{name} {channel} {begin} {duration} {token} {confidence:.4f}\n"


def read_ctm(path: Path) -> Transcript:
    """All words of a CTM file as one segment (the form keeps no segments); comments are skipped.

    Of several channels each is a speaker, whose segments end where they pause.

    Raises:
        InputError: unreadable, a line without the five columns or with a bad number, several recordings.
    """
    channels: dict[str, list[Word]] = {}
    names = set()
    for number, line in _lines(path):
        cells = line.split()
        times = _numbers(cells[2:4]) if len(cells) in (5, 6) else None
        confidence = _numbers(cells[5:6])
        if times is None or confidence is None or times[1] < 0:
            raise InputError(
                f"{shown(path)}, line {number}: {line[:60]!r} is not "
                "`file channel begin duration word [confidence]`. Mend or remove the line."
            )
        names.add(cells[0])
        begin, duration = times
        word = cells[4].removeprefix("_") if _COMMAND.fullmatch(cells[4]) else cells[4]
        end = round(begin + duration, 6)  # the sum of two decimals, without the tail of binary fractions
        channels.setdefault(cells[1], []).append(
            Word(
                text=word, start=begin, end=end, confidence=_probability(confidence[0] if confidence else 1.0)
            )
        )
    name = _one_name(names, path)
    if len(channels) > 1:
        segments = [
            _spoken(turn, f"channel {channel}")
            for channel, words in channels.items()
            for turn in _turns(words)
        ]
    else:
        segments = [_spoken(words) for words in channels.values()]
    return _transcript(name, segments)


def _turns(words: Sequence[Word]) -> Iterator[list[Word]]:
    turn: list[Word] = []
    for word in sorted(words, key=lambda each: each.start):
        if turn and word.start - turn[-1].end >= TURN_PAUSE_S:
            yield turn
            turn = []
        turn.append(word)
    yield turn


def _spoken(words: Sequence[Word], speaker: str = "") -> TranscriptSegment:
    return TranscriptSegment(
        start=min(word.start for word in words),
        end=max(word.end for word in words),
        text=" ".join(word.text for word in words),
        words=tuple(words),
        confidence=sum(word.confidence for word in words) / len(words),
        speaker=speaker,
    )


def _transcript(name: str, segments: Sequence[TranscriptSegment]) -> Transcript:
    in_order = tuple(sorted(segments, key=lambda each: each.start))
    duration = max((each.end for each in in_order), default=0.0)
    return Transcript(recording=name, audio=Path(name), duration=duration, segments=in_order)


def write_stm(transcript: Transcript) -> Iterator[str]:
    """One segment per line: ``file channel speaker begin end <NA> text``, in the order of the CTM.

    The label is always written: without it a text that begins with ``<`` would be taken for one.
    """
    rows = []
    for segment in transcript.segments:
        start, end = span_ms(segment.start, segment.end)
        text = " ".join(one_line(segment.text).split())
        rows.append((_channel(segment.speaker), start, end, _column(segment.speaker, NO_SPEAKER), text))
    rows.sort(key=lambda row: row[:2])
    name = _column(transcript.recording, "recording")
    for channel, start, end, speaker, text in rows:
        line = f"{name} {channel} {speaker} {decimal_seconds(start)} {decimal_seconds(end)} <NA> {text}"
        yield f"{line.rstrip()}\n"


def read_stm(path: Path) -> Transcript:
    """The segments of an STM file; comments, labels and segments marked to be ignored are skipped.

    Raises:
        InputError: unreadable, a line without the five columns or with a bad number, several recordings.
    """
    segments, names = [], set()
    for number, line in _lines(path):
        cells = line.split()
        times = _numbers(cells[3:5]) if len(cells) >= 5 else None
        if times is None:
            raise InputError(
                f"{shown(path)}, line {number}: {line[:60]!r} is not "
                "`file channel speaker begin end [<label>] text`. Mend or remove the line."
            )
        names.add(cells[0])
        words = cells[6:] if len(cells) > 5 and re.fullmatch("<.*>", cells[5]) else cells[5:]
        # published files, TED-LIUM among them, write the mark in lower case
        ignored = [word.upper() for word in words] == ["IGNORE_TIME_SEGMENT_IN_SCORING"]
        if ignored or cells[2] == "inter_segment_gap":
            continue
        speaker = "" if cells[2] == NO_SPEAKER else cells[2]
        segments.append(
            TranscriptSegment(start=times[0], end=times[1], text=" ".join(words), speaker=speaker)
        )
    return _transcript(_one_name(names, path), segments)


def _channel(speaker: str) -> str:
    match = _CHANNEL.fullmatch(speaker)
    return match[1] if match else CHANNEL


def _speakers_overlap(transcript: Transcript) -> bool:
    """Whether two speakers who have words overlap in one channel, by more than a rounding."""
    spoken = sorted(
        (_channel(each.speaker), *span_ms(each.start, each.end), each.speaker)
        for each in transcript.segments
        if each.text
    )
    return any(
        channel == other and end - start > ROUNDING_MS and before != after
        for (channel, _, end, before), (other, start, _, after) in pairwise(spoken)
    )


def _tokens(word: Word) -> Iterator[tuple[int, int, str, float]]:
    tokens = one_line(word.text).split()
    letters = sum(len(token) for token in tokens)
    confidence = _probability(word.confidence)
    done = 0
    for token in tokens:
        share = (word.end - word.start) / letters
        start, end = span_ms(word.start + done * share, word.start + (done + len(token)) * share)
        done += len(token)
        yield start, end, "_" + token if _COMMAND.fullmatch(token) else token, confidence


def _probability(number: float) -> float:
    return min(1.0, max(0.0, number))


def _column(text: str, empty: str) -> str:
    column = "_".join(one_line(text).split()) or empty
    return "_" + column if column.startswith(";;") else column  # `;;` begins a comment


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip() and not line.startswith(";;"):
            yield number, line


def _numbers(cells: list[str]) -> list[float] | None:
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def _one_name(names: set[str], path: Path) -> str:
    if len(names) > 1:
        raise InputError(
            f"{shown(path)} holds {len(names)} recordings: {', '.join(sorted(names)[:3])} ... "
            "Split it by recording."
        )
    return names.pop() if names else path.stem
