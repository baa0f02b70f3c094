"""Files of segments: MuST-C's yaml, tables, RTTM, and the tiers of ELAN and Praat."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from asr.formats import read_transcript, write_transcript
from asr.formats.annotations import read_annotations
from asr.formats.clean import one_line
from asr.formats.files import read_text, write_whole
from asr.formats.segment_yaml import NO_SPEAKER, read_entries
from asr.formats.tiernames import TIER_ENDINGS
from asr.frames import seconds_to_samples
from asr.names import shown
from asr.segment.own import OwnSegment, OwnSegments, recording_key
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError


class Row(NamedTuple):
    """A span of a file."""

    where: str
    """Its place there."""
    start: str
    """As it is written; so is the end."""
    end: str
    recording: str = ""
    speaker: str = ""


HEADER = "start\tend"
TOO_SHORT_S = 0.1
"""No utterance is so short: a table in milliseconds that has no longer one is in seconds."""
ANY_SPEAKER = "speech"
"""What `NO_SPEAKER` is in MuST-C's yaml in RTTM, as detectors of speech write it."""
FORMATS = ("yaml", "tsv", "eaf", "TextGrid", "rttm")
"""What segments are written in; the name of a format is also the file's ending."""


def read_segments(path: Path, tier: str = "") -> OwnSegments:
    """Read MuST-C's yaml, a table of ``start end`` in seconds, RTTM, an ELAN file, a TextGrid or a transcript.

    Args:
        path: its ending names the form.
        tier: of ELAN and Praat, the tier that holds the segments; not needed where there is one.
    Raises:
        InputError: unreadable, in none of these forms, or with a span that has no length.
    """
    ending = path.suffix.lower().removeprefix(".")
    is_whispers = ending == "tsv" and read_text(path).startswith(HEADER + "\ttext")
    if is_whispers:  # in milliseconds
        ending = "transcript"
    if ending not in _READERS:
        known = [name for name in _READERS if name != "transcript"]
        raise InputError(f"{shown(path)}: no form of segments. Give one of .{', .'.join(known)}.")
    if tier and f".{ending}" not in TIER_ENDINGS:
        raise InputError(f"{shown(path)} has no tiers; --tier is for ELAN and Praat. Leave it out.")
    found: dict[str, set[tuple[float, float, str]]] = {}
    wheres: dict[str, str] = {}
    for row in _READERS[ending](path, tier):
        start, end = _seconds(row.start), _seconds(row.end)
        # NaN passes no comparison. A span must hold a sample, or there is nothing to recognise.
        if not 0 <= start < end < math.inf or seconds_to_samples(start) >= seconds_to_samples(end):
            raise InputError(
                f"{shown(path)}, {row.where}: a segment from {row.start[:20]!r} to {row.end[:20]!r} s. "
                "Give a start from 0 and an end after it."
            )
        key = recording_key(row.recording, whole=ending == "rttm")
        wheres.setdefault(key, row.where)
        found.setdefault(key, set()).add((start, end, one_line(row.speaker)))
    if not found:
        raise InputError(f"{shown(path)} holds no segment. Give one that does.")
    if "" in found and len(found) > 1:
        raise InputError(
            f"{shown(path)}, {wheres['']}: it names no recording, and others do. Name the recording of each."
        )
    longest_s = max(end - start for spans in found.values() for start, end, _ in spans)
    if is_whispers and longest_s < TOO_SHORT_S:
        raise InputError(
            f"{shown(path)}: its longest segment lasts {1000 * longest_s:.0f} ms. A table with a column text is "
            "whisper's, in milliseconds; if these are seconds, leave the column out."
        )
    recordings = {name: [OwnSegment(*span) for span in sorted(spans)] for name, spans in found.items()}
    if ending == "rttm":
        # Its names have no ending: a.mp4 is a.mp4.wav. But some write one: where no other is a, a.mp4 is a.wav, too.
        for name in found:
            recordings.setdefault(recording_key(name), recordings[name])
    return OwnSegments(path=path, recordings=recordings)


def write_segments(transcript: Transcript, path: Path, *, overwrite: bool = False) -> Path:
    """Write the segments of a transcript, whole or not at all, in the form that the ending names.

    In a TextGrid each bears its number: an interval without text is a pause there.

    Raises:
        InputError: unwritable folder, or the file exists and ``overwrite`` is false.
    """
    ending = path.suffix.removeprefix(".")
    if ending == "TextGrid":
        numbered = tuple(
            replace(each, text=str(number)) for number, each in enumerate(transcript.segments, 1)
        )
        return write_transcript(replace(transcript, segments=numbered), path, overwrite=overwrite)
    if ending == "eaf":
        return write_transcript(transcript, path, overwrite=overwrite)
    return write_whole(path, (line.encode() for line in _WRITERS[ending](transcript)), overwrite=overwrite)


def _write_yaml(transcript: Transcript) -> Iterator[str]:
    """MuST-C's list, an entry a line, by offset; six decimals name a sample exactly."""
    wav = json.dumps(one_line(transcript.audio.name), ensure_ascii=False)
    for each in transcript.segments:
        speaker = json.dumps(one_line(each.speaker), ensure_ascii=False) if each.speaker else NO_SPEAKER
        yield f"- {{duration: {_duration(each)}, offset: {each.start:.6f}, speaker_id: {speaker}, wav: {wav}}}\n"
    if not transcript.segments:
        yield "[]\n"


def _write_tsv(transcript: Transcript) -> Iterator[str]:
    yield f"{HEADER}\n"
    for each in transcript.segments:
        yield f"{each.start:.6f}\t{each.end:.6f}\n"


def _write_rttm(transcript: Transcript) -> Iterator[str]:
    name = "_".join(one_line(transcript.recording).split()) or "recording"
    for each in transcript.segments:
        speaker = "_".join(one_line(each.speaker).split()) or ANY_SPEAKER
        yield f"SPEAKER {name} 1 {each.start:.6f} {_duration(each)} <NA> <NA> {speaker} <NA> <NA>\n"


def _duration(segment: TranscriptSegment) -> str:
    # Of the rounded ends, so that neighbours that touch still do.
    return f"{round(segment.end, 6) - round(segment.start, 6):.6f}"


_WRITERS = {"yaml": _write_yaml, "tsv": _write_tsv, "rttm": _write_rttm}


def _read_yaml(path: Path, _: str) -> Iterator[Row]:
    for number, entry in enumerate(read_entries(path), start=1):
        if not isinstance(entry, Mapping) or not {"offset", "duration"} <= set(entry):
            raise InputError(
                f"{shown(path)}, entry {number}: {str(entry)[:60]!r} has no offset and duration. Mend it."
            )
        offset, duration = str(entry["offset"]), str(entry["duration"])
        speaker = str(entry.get("speaker_id", NO_SPEAKER))
        yield Row(
            f"entry {number}",
            offset,
            _sum(offset, duration),
            recording=str(entry.get("wav", "")),
            speaker="" if speaker == NO_SPEAKER else speaker,
        )


def _read_table(path: Path, _: str) -> Iterator[Row]:
    """Lines ``start end``, with tabs or spaces between, and anything after; a header may name a column of speakers."""
    speakers: int | None = None
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        cells = line.split()
        if not cells or line.startswith("#"):
            continue
        if number == 1 and cells[0].lower() == "start":
            header = line.lower().split("\t")
            speakers = header.index("speaker") if "speaker" in header else None
            continue
        if len(cells) < 2:
            raise InputError(f"{shown(path)}, line {number}: {line[:60]!r} is not `start end` in seconds.")
        columns = line.split("\t")
        speaker = columns[speakers] if speakers is not None and speakers < len(columns) else ""
        yield Row(f"line {number}", cells[0], cells[1], speaker=speaker)


def _read_rttm(path: Path, _: str) -> Iterator[Row]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        cells = line.split()
        if not cells or line.startswith(";;") or cells[0] != "SPEAKER":
            continue  # other kinds of line tell of words and noises
        if len(cells) < 5:
            raise InputError(
                f"{shown(path)}, line {number}: {line[:60]!r} is not `SPEAKER file channel start duration ...`. "
                "Mend or remove the line."
            )
        speaker = cells[7] if len(cells) > 7 else ""
        yield Row(
            f"line {number}",
            cells[3],
            _sum(cells[3], cells[4]),
            recording=cells[1],
            speaker="" if speaker.lower() in ("<na>", ANY_SPEAKER) else speaker,
        )


def _read_tiers(path: Path, tier: str) -> Iterator[Row]:
    for name, found in read_annotations(path, [tier] if tier else [], times_alone=True).items():
        for each in found:
            yield Row(f"tier {name!r}", repr(each.start), repr(each.end), speaker=each.speaker)


def _read_transcript(path: Path, _: str) -> Iterator[Row]:
    for number, each in enumerate(read_transcript(path).segments, start=1):
        yield Row(f"segment {number}", repr(each.start), repr(each.end), speaker=each.speaker)


_READERS: Mapping[str, Callable[[Path, str], Iterable[Row]]] = {
    "yaml": _read_yaml,
    "yml": _read_yaml,
    "tsv": _read_table,
    "txt": _read_table,
    "rttm": _read_rttm,
    "eaf": _read_tiers,
    "textgrid": _read_tiers,
    "transcript": _read_transcript,
    **dict.fromkeys(("srt", "vtt", "json", "stm"), _read_transcript),
}


def _seconds(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan


def _sum(start: str, duration: str) -> str:
    # Of two decimals, without the tail of binary fractions.
    return repr(round(_seconds(start) + _seconds(duration), 9))
