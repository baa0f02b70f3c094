"""Plain text (.txt) and whisper's table of segments (.tsv)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from asr.formats.clean import one_line, span_ms
from asr.formats.files import read_text
from asr.names import shown
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

_TSV_HEADER = "start\tend\ttext"
_TRANSLATED_HEADER = _TSV_HEADER + "\ttranslation"


def write_txt(transcript: Transcript) -> Iterator[str]:
    """One segment per line; segments with neither text nor translation are left out.

    Where some segment has a text and some a translation, each line is text, tab, translation.
    """
    pairs = [(one_line(segment.text), one_line(segment.translation)) for segment in transcript.segments]
    spoken = any(text.strip() for text, _ in pairs)
    translated = any(translation.strip() for _, translation in pairs)
    for text, translation in pairs:
        if text.strip() or translation.strip():
            yield (
                f"{text}\t{translation}\n"
                if spoken and translated
                else f"{text if spoken else translation}\n"
            )


def read_txt(path: Path, *, keep_empty: bool = False) -> Transcript:
    """Each line with text as a segment. The form carries no times, so all are zero.

    What follows the only tab of a line is its translation. Translations without any transcript
    cannot be told from one and are read as text.

    Args:
        keep_empty: lines without text are segments, too, for a caller that counts lines.
    """
    segments = []
    for line in read_text(path).split("\n"):
        text, translation = line, ""
        if line.count("\t") == 1:  # more tabs are another's: they are spaces in the text
            text, _, translation = line.partition("\t")
        text, translation = one_line(text), one_line(translation)
        if keep_empty or text.strip() or translation.strip():
            segments.append(TranscriptSegment(start=0.0, end=0.0, text=text, translation=translation))
    return Transcript(recording=path.stem, audio=Path(path.stem), duration=0.0, segments=tuple(segments))


def write_tsv(transcript: Transcript) -> Iterator[str]:
    """A header, then start and end in whole milliseconds and the text of every segment, tab-separated.

    Where some segment has a translation, a fourth column holds it. Where the text is empty, the
    translation is also the text, so that programs that know whisper's three columns show something.
    """
    translated = any(one_line(segment.translation) for segment in transcript.segments)
    yield f"{_TRANSLATED_HEADER if translated else _TSV_HEADER}\n"
    for segment in transcript.segments:
        start, end = span_ms(segment.start, segment.end)
        text, translation = one_line(segment.text), one_line(segment.translation)
        row = f"{start}\t{end}\t{text or translation}"
        yield f"{row}\t{translation}\n" if translated else f"{row}\n"


def read_tsv(path: Path) -> Transcript:
    """The segments of a whisper-style table, with or without a fourth column of translations.

    Raises:
        InputError: unreadable, another header, or a row that is not two integers and the texts.
    """
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    if lines[0] not in (_TSV_HEADER, _TRANSLATED_HEADER):
        raise InputError(
            f"{shown(path)}: the first line is {lines[0][:60]!r}, not `start end text` (and perhaps "
            "`translation`) with tabs between."
        )
    columns = lines[0].split("\t")
    segments = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        cells = line.split("\t")
        if len(cells) != len(columns) or not all(
            cell.isascii() and cell.isdigit() and len(cell) < 13 for cell in cells[:2]
        ):
            raise InputError(
                f"{shown(path)}, line {number}: {line[:60]!r} is not start and end in ms and "
                f"{' and '.join(columns[2:])}."
            )
        segments.append(
            TranscriptSegment(
                start=int(cells[0]) / 1000,
                end=int(cells[1]) / 1000,
                text=cells[2],
                translation="".join(cells[3:]),
            )
        )
    duration = max((segment.end for segment in segments), default=0.0)
    return Transcript(recording=path.stem, audio=Path(path.stem), duration=duration, segments=tuple(segments))
