"""Transcripts with times in formats of our own, subtitles among them, each with a recording of the same name."""

from __future__ import annotations

from pathlib import Path

from asr.formats import read_transcript
from asr.formats.clean import one_line
from asr.importers.base import (
    Draft,
    ImportConfig,
    Importer,
    Reading,
    find_beside,
    find_files,
    read_each,
    span_name,
    stem_below,
)
from asr.transcript import Transcript
from lm.errors import InputError

ENDINGS = (".json", ".vtt", ".srt", ".stm", ".tsv")
"""Of several transcripts of one recording the first of these counts: JSON keeps all."""


def recognises(source: Path) -> bool:
    """A transcript with times, or a folder with one beside a recording of its name."""
    if source.is_file():
        return _is_transcript(source)
    found = find_files(source, *ENDINGS)
    return any(find_beside(path, source, ImportConfig()) and _is_transcript(path) for path in found)


def read(source: Path, config: ImportConfig) -> Reading:
    """Each segment with text is an utterance; the recording is the one of the same name or in ``config.audio``."""
    if source.is_file():
        paths = [source]
    else:
        best: dict[Path, Path] = {}
        for path in sorted(find_files(source, *ENDINGS), key=lambda each: ENDINGS.index(each.suffix.lower())):
            if path.suffix.lower() not in (".json", ".tsv") or _is_transcript(path):  # else another's table
                best.setdefault(path.with_suffix(""), path)
        paths = sorted(best.values())
    if not paths:
        raise InputError(
            f"{source} holds no transcript ({', '.join(ENDINGS)}). Give one or a folder of them."
        )
    transcripts, problems = read_each(paths, read_transcript)
    drafts: list[Draft] = []
    for path, transcript in transcripts.items():
        audio = find_beside(path, source, config)
        if audio is None:
            problems.append(f"{path}: no recording {path.stem}.* beside it. Say where with --audio FOLDER.")
            continue
        name = stem_below(path, source if source.is_dir() else path.parent)
        drafts += _drafts_of(transcript, name, audio)
    return Reading(drafts, problems)


def _drafts_of(transcript: Transcript, recording: str, audio: Path) -> list[Draft]:
    return [
        Draft(
            name=span_name(recording, each.start, each.end),
            audio=audio,
            start=each.start,
            end=each.end,
            text=one_line(each.text),
            translation=one_line(each.translation),
            language=transcript.language,
            translation_language=transcript.translation_language,
            speaker=one_line(each.speaker),
            extra={"recording": recording},
        )
        for each in transcript.segments
        if one_line(each.text) or one_line(each.translation)
    ]


def _is_transcript(path: Path) -> bool:
    if path.suffix.lower() not in ENDINGS:
        return False
    try:
        return bool(read_transcript(path).segments)
    except InputError:
        return False


IMPORTER = Importer(
    form="transcript",
    summary="subtitles and transcripts with times (.srt, .vtt, .json, .tsv, .stm) beside their recordings",
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
)
