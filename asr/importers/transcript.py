"""Transcripts with times in formats of our own, subtitles among them, each with a recording of the same name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from asr.formats import read_transcript, subtitles
from asr.formats.clean import one_line
from asr.importers.base import (
    Draft,
    ImportConfig,
    Importer,
    Reading,
    find_beside,
    find_files,
    name_recordings,
    read_each,
    span_name,
    stem_below,
)
from asr.names import AUDIO_ENDINGS
from asr.transcript import Transcript
from lm.errors import InputError

ENDINGS = (".json", ".vtt", ".srt", ".stm", ".tsv")
"""Of several transcripts of one recording the first of these counts: JSON keeps all."""

_LANGUAGE = re.compile(r"(.+)\.([a-z]{2,3}(?:[-_][A-Za-z0-9]+)*)")
"""The stem of a subtitle file with its language, as players and downloaders name them: ``talk.es``."""


def recognises(source: Path) -> bool:
    """A transcript with times, or a folder with one beside a recording of its name."""
    if source.is_file():
        return _is_transcript(source)
    found = find_files(source, *ENDINGS)
    config = ImportConfig()
    return any(
        find_beside(_as_recording(path, source, config)[0], source, config) and _is_transcript(path)
        for path in found
    )


def is_named_so(source: Path) -> bool:
    """A file with one of the endings, or a folder with a subtitle beside its recording, whatever is in them."""
    if source.is_file():
        return source.suffix.lower() in ENDINGS
    config = ImportConfig()
    return any(
        find_beside(_as_recording(path, source, config)[0], source, config)
        for path in find_files(source, *subtitles.ENDINGS)
    )


def read(source: Path, config: ImportConfig) -> Reading:
    """Each segment with text is an utterance; the recording is the one of the same name or in ``config.audio``.

    A subtitle's name may end in its language.
    """
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
    names = {path: _as_recording(path, source, config) for path in transcripts}
    recordings = {path: find_beside(name, source, config) for path, (name, _) in names.items()}
    num_transcripts = Counter(recordings.values())
    drafts: list[Draft] = []
    for path, transcript in transcripts.items():
        (name, language), audio = names[path], recordings[path]
        if audio is None:
            problems.append(f"{path}: no recording {name.stem}.* beside it. Say where with --audio FOLDER.")
        elif language and num_transcripts[audio] > 1:
            problems.append(
                f"{path}: {audio.name} has other transcripts, too. Give the file in the language spoken by its path."
            )
        else:
            recording = stem_below(name, source if source.is_dir() else path.parent)
            drafts += _drafts_of(transcript, recording, audio, transcript.language or language)
    reading = Reading(drafts, problems)
    name_recordings(reading)
    return reading


def _as_recording(path: Path, source: Path, config: ImportConfig) -> tuple[Path, str]:
    """The path under the name that its recording has, and the language that was in the name; "" for none."""
    match = _LANGUAGE.fullmatch(path.stem) if path.suffix.lower() in subtitles.ENDINGS else None
    if match is None or f".{match[2]}" in AUDIO_ENDINGS or find_beside(path, source, config):
        return path, ""
    return path.with_name(match[1] + path.suffix), match[2]


def _drafts_of(transcript: Transcript, recording: str, audio: Path, language: str) -> list[Draft]:
    return [
        Draft(
            name=span_name(recording, each.start, each.end),
            audio=audio,
            start=each.start,
            end=each.end,
            text=one_line(each.text),
            translation=one_line(each.translation),
            language=language,
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
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
)
