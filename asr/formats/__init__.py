"""Every form a transcript is written in and read from, by the ending of the file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path

from asr.formats.eaf import transcript_from_eaf, write_eaf
from asr.formats.files import write_whole
from asr.formats.nist import read_ctm, read_stm, write_ctm, write_stm
from asr.formats.plain import read_tsv, read_txt, write_tsv, write_txt
from asr.formats.structured import read_json, write_json
from asr.formats.subtitles import read_srt, read_vtt, write_srt, write_vtt
from asr.formats.textgrid import transcript_from_textgrid, write_textgrid
from asr.names import shown
from asr.transcript import Transcript
from lm.errors import InputError

WRITERS: dict[str, Callable[[Transcript], Iterator[str]]] = {
    "txt": write_txt,
    "json": write_json,
    "srt": write_srt,
    "vtt": write_vtt,
    "tsv": write_tsv,
    "ctm": write_ctm,
    "stm": write_stm,
    "TextGrid": write_textgrid,
    "eaf": write_eaf,
}
"""The text of a file in each format, piece by piece; the name of a format is also the file's ending."""

READERS: dict[str, Callable[[Path], Transcript]] = {
    "txt": read_txt,
    "json": read_json,
    "srt": read_srt,
    "vtt": read_vtt,
    "tsv": read_tsv,
    "ctm": read_ctm,
    "stm": read_stm,
    "TextGrid": transcript_from_textgrid,
    "eaf": transcript_from_eaf,
}
"""What each format keeps of a transcript; only JSON keeps all."""

FORMAT_NAMES = tuple(WRITERS)


def format_named(name: str) -> str:
    """The format's name as ``WRITERS`` has it, whatever the case.

    >>> format_named("textgrid")
    'TextGrid'

    Raises:
        InputError: there is no such format; the message suggests the nearest.
    """
    names = {known.lower(): known for known in FORMAT_NAMES}
    if name.lower() in names:
        return names[name.lower()]
    near = difflib.get_close_matches(name.lower(), names, n=1)
    hint = f" Did you mean {names[near[0]]!r}?" if near else ""
    raise InputError(f"no transcript format {name!r}.{hint} Choose one of {', '.join(FORMAT_NAMES)}.")


def write_transcript(transcript: Transcript, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a transcript whole or not at all, in the format that the file's ending names.

    Raises:
        InputError: unknown ending, unwritable folder, or the file exists and ``overwrite`` is false.
    """
    path = Path(path)
    name = _format_of(path)
    # only the link to the recording depends on where the file lies
    text = write_eaf(transcript, path.parent) if name == "eaf" else WRITERS[name](transcript)
    return write_whole(path, (piece.encode() for piece in text), overwrite=overwrite)


def read_transcript(path: str | Path) -> Transcript:
    """Read a transcript in the format that the file's ending names.

    Raises:
        InputError: unknown ending, unreadable, or not in that format.
    """
    path = Path(path)
    return READERS[_format_of(path)](path)


def _format_of(path: Path) -> str:
    try:
        return format_named(path.suffix.removeprefix("."))
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from error
