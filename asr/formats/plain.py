"""Plain text (.txt) and whisper's table of segments (.tsv)."""

from __future__ import annotations

from pathlib import Path

from asr.formats.clean import one_line, span_ms
from asr.formats.files import read_text
from asr.names import shown
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

_TSV_HEADER = "start\tend\ttext"


def write_txt(transcript: Transcript) -> str:
    """One segment per line; segments without text are left out."""
    lines = (one_line(segment.text) for segment in transcript.segments)
    return "".join(line + "\n" for line in lines if line.strip())


def read_txt(path: Path) -> Transcript:
    """Each line with text as a segment. The form carries no times, so all are zero."""
    lines = (one_line(line) for line in read_text(path).split("\n"))
    segments = tuple(TranscriptSegment(start=0.0, end=0.0, text=line) for line in lines if line.strip())
    return Transcript(recording=path.stem, audio=Path(path.stem), duration=0.0, segments=segments)


def write_tsv(transcript: Transcript) -> str:
    """A header, then start and end in whole milliseconds and the text of every segment, tab-separated."""
    lines = [_TSV_HEADER]
    for segment in transcript.segments:
        start, end = span_ms(segment.start, segment.end)
        lines.append(f"{start}\t{end}\t{one_line(segment.text)}")
    return "\n".join(lines) + "\n"


def read_tsv(path: Path) -> Transcript:
    """The segments of a whisper-style table.

    Raises:
        InputError: unreadable, another header, or a row that is not two integers and a text.
    """
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    if lines[0] != _TSV_HEADER:
        raise InputError(
            f"{shown(path)}: the first line is {lines[0][:60]!r}, not `start end text` with tabs between."
        )
    segments = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        cells = line.split("\t")
        if len(cells) != 3 or not all(
            cell.isascii() and cell.isdigit() and len(cell) < 13 for cell in cells[:2]
        ):
            raise InputError(
                f"{shown(path)}, line {number}: {line[:60]!r} is not start and end in ms and a text."
            )
        segments.append(
            TranscriptSegment(start=int(cells[0]) / 1000, end=int(cells[1]) / 1000, text=cells[2])
        )
    duration = max((segment.end for segment in segments), default=0.0)
    return Transcript(recording=path.stem, audio=Path(path.stem), duration=duration, segments=tuple(segments))
