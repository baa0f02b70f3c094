"""Talks in MuST-C's layout, as MuST-C, mTEDx and IWSLT's low-resource sets have it: segments and parallel texts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.formats.segment_yaml import NO_SPEAKER, read_entries
from asr.importers.base import Draft, ImportConfig, Importer, Reading, find_audio, span_name
from asr.names import AUDIO_ENDINGS
from lm.errors import InputError

_OURS = ("duration", "offset", "speaker_id", "wav")
_ROLES = ("text", "translation")
_TABLE_ENDINGS = (".yaml", ".yml")
_STAMPED = "stamped.tsv"
"""IWSLT's Irish, Marathi and Bhojpuri sets: wav, offset and duration with tabs between, and no header."""
_STAMPED_LINE = re.compile(r"[^\t\n]+\t[\d.]+\t[\d.]+\r?(?:\n|$)")

_PAIR = re.compile(r"(?:[a-z]+\d[\d-]*_)?([a-z]{2,3})[-_]([a-z]{2,3})(?:[-_].+)?")
"""Folder of a language pair: ``en-de``, ``taq_fra_clean``, ``iwslt2023_ga-eng``."""

_LANGUAGE = re.compile(r"(?!txt|wav|tsv|csv|stm|vtt|srt|bak|log)[a-z]{2,3}([_-][A-Za-z]+)?")
"""Ending of a text that is taken without being asked for: ``de``, ``fra``, ``zh-CN``; not ``spa.tc``."""


def recognises(source: Path) -> bool:
    """A .yaml or stamped.tsv of segments, or a folder of a language pair or a split that has one."""
    return any(_looks_like_segments(table) for table in _tables(source))


def read(source: Path, config: ImportConfig) -> Reading:
    """Read every split of a pair's folder (``en-de``) or of its ``data``, or one split.

    The lines of the texts belong to the entries of the .yaml or stamped.tsv in the order of the file.
    The split is called as the .yaml, or as the folder of stamped.tsv. Which text is the transcript
    and which the translation is taken from ``config.columns`` (``{"text": "en", "translation": "de"}``:
    nothing else is read then), else from ``config.language`` and ``config.translation_language`` where
    a text ends so, else from the name of the pair's folder. Recordings may have another known ending
    than the entries say.

    Raises:
        InputError: no .yaml or stamped.tsv is there, a text has not as many lines as there are
            entries, or it is not clear which text is which.
    """
    unknown = sorted(set(config.columns) - set(_ROLES))
    if unknown:
        raise InputError(
            f"--columns names {', '.join(unknown)}, which this form has not. Say text=en,translation=de."
        )
    tables = _tables(source)
    if not tables:
        raise InputError(
            f"{source} has no .yaml of segments in data/SPLIT/txt, SPLIT/txt or txt, and no {_STAMPED} in data/SPLIT "
            "or SPLIT. Give the folder of one language pair (en-de), its data, or one split."
        )
    drafts: list[Draft] = []
    problems: list[str] = []
    for table in tables:
        _read_split(table, config, drafts, problems)
    return Reading(drafts, problems)


def _read_split(table: Path, config: ImportConfig, drafts: list[Draft], problems: list[str]) -> None:
    texts = _texts(table)
    pair = _pair(table, {ending.split(".")[0] for ending in texts})
    chosen = _choose(table, [ending for ending in texts if _LANGUAGE.fullmatch(ending)], pair, config)
    missing = [ending for ending in chosen if ending and ending not in texts]
    if missing or not any(chosen):
        names = ", ".join(path.name for path in texts.values()) or "none"
        problems.append(
            f"{table}: no text {_split(table)}.{' or .'.join(missing) or 'LANGUAGE'} beside it, only: {names}. "
            "Choose with --columns text=ENDING,translation=ENDING."
        )
        return
    entries = _entries(table)
    transcripts, translations = (_lines(texts.get(ending), table, len(entries)) for ending in chosen)
    source_language, target_language = (ending.split(".")[0] for ending in chosen)
    folders = _audio_folders(table, config)
    found: dict[str, Path | None] = {}
    absent: dict[str, list[int]] = {}
    for number, (entry, text, translation) in enumerate(
        zip(entries, transcripts, translations, strict=True), start=1
    ):
        try:
            name, start, duration = str(entry["wav"]), float(entry["offset"]), float(entry["duration"])
        except (KeyError, TypeError, ValueError):
            problems.append(
                f"{table}, entry {number}: {str(entry)[:80]!r} has no wav, or no number as offset and duration. "
                "Mend the entry."
            )
            continue
        # NaN passes every comparison, so the good span is asked for and not the bad one
        if not (start >= 0 and duration > 0 and math.isfinite(start + duration)):
            problems.append(
                f"{table}, entry {number}: offset {start:g}, duration {duration:g}. Give a positive span."
            )
            continue
        if name not in found:  # talks have hundreds of segments each
            found[name] = _find(name, folders)
        audio = found[name]
        if audio is None:
            absent.setdefault(name, []).append(number)
            continue
        speaker = one_line(str(entry.get("speaker_id", "")))
        drafts.append(
            Draft(
                name=span_name(audio.stem, start, start + duration),
                audio=audio,
                start=start,
                end=start + duration,
                text=one_line(text),
                translation=one_line(translation),
                language=source_language or pair[0],
                translation_language=target_language,
                speaker="" if speaker == NO_SPEAKER else speaker,
                split=_split(table),
                extra={key: one_line(str(value)) for key, value in entry.items() if key not in _OURS},
            )
        )
    problems += [
        f"{table}: no recording {name!r} in {folders[0]}, so {len(numbers)} segment(s) from entry {numbers[0]} on "
        "are left out. Say where it lies with --audio FOLDER."
        for name, numbers in absent.items()
    ]


def _choose(
    table: Path, endings: Sequence[str], pair: tuple[str, str], config: ImportConfig
) -> tuple[str, str]:
    """Endings of transcript and translation, each empty where there is none.

    Raises:
        InputError: a text is left over that may be the missing one.
    """
    if config.columns:
        return config.columns.get("text", ""), config.columns.get("translation", "")
    source, target = pair
    text = config.language if config.language in endings else source if source in endings else ""
    translation = config.translation_language
    if translation not in endings:
        translation = target if target in endings else ""
    if translation == text:  # mTEDx's es-es: transcripts alone
        translation = ""
    left = [ending for ending in endings if ending not in (text, translation)]
    if not any(pair) and len(left) == 1 and (text or translation):
        return text or left[0], translation or left[0]
    if left and not (text and (translation or source == target)):
        raise InputError(
            f"{table}: which of the texts {', '.join(endings)} is the transcript and which the translation is not "
            f"clear from the folder's name. Say it with --columns text={left[0]} or translation={left[0]}, or both."
        )
    return text, translation


def _pair(table: Path, languages: set[str]) -> tuple[str, str]:
    """Source and target language from the nearest folder named after a pair that has one of the texts."""
    for folder in table.absolute().parents:
        found = _PAIR.fullmatch(folder.name)
        if found and languages & set(found.groups()):
            return found[1], found[2]
    return "", ""


def _entries(table: Path) -> list[Any]:
    """Entries in the order of the file, every value as the text it is written as."""
    if table.name == _STAMPED:
        return [
            dict(zip(("wav", "offset", "duration"), line.split("\t"), strict=False)) for line in _rows(table)
        ]
    return read_entries(table)


def _lines(path: Path | None, table: Path, num_entries: int) -> list[str]:
    """Lines of a parallel text; empty ones where there is no such text."""
    if path is None:
        return [""] * num_entries
    lines = _rows(path)
    if len(lines) != num_entries:
        raise InputError(
            f"{path} has {len(lines)} lines but {table.name} has {num_entries} entries; they belong together line "
            "by line. Take both from the same release."
        )
    return lines


def _rows(path: Path) -> list[str]:
    """Lines of a file; only line feeds end one, as the talks have U+2028 and its like inside."""
    lines = read_text(path).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _split(table: Path) -> str:
    return table.absolute().parent.name if table.name == _STAMPED else table.stem


def _audio_folders(table: Path, config: ImportConfig) -> list[Path]:
    split = table.parent.parent if table.parent.name == "txt" else table.parent
    if config.audio is not None:
        below = config.audio / split.name
        return [config.audio, config.audio / "wav", below / "wav", below]
    return [split / "wav", table.parent / "wav", split, table.parent]


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    """The recording as it is named, or with another known ending; mTEDx says .wav of .flac, Tamasheq nothing."""
    stem = name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in AUDIO_ENDINGS else name
    return find_audio(name, folders) or find_audio(stem, folders, endings=AUDIO_ENDINGS)


def _texts(table: Path) -> dict[str, Path]:
    """Ending to file, of the texts beside the entries that are named after the same split.

    Those of stamped.tsv may lie in ``txt/``, and be named after the beginning of their folder's name:
    ``test-2023/txt/test.eng``.
    """
    names, folders = [_split(table)], [table.parent]
    if table.name == _STAMPED:
        folders.append(table.parent / "txt")
        names.append(re.split("[-_]", names[0])[0])
    return {
        path.name.removeprefix(f"{name}."): path
        for name in reversed(names)  # the whole name wins
        for folder in folders
        for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if path.name.startswith(f"{name}.") and path.suffix not in _TABLE_ENDINGS and path.is_file()
    }


def _tables(source: Path) -> list[Path]:
    """The .yaml or stamped.tsv of each split; of a folder, those of the first place that has any."""
    if source.is_file():
        return [source] if source.suffix in _TABLE_ENDINGS or source.name == _STAMPED else []
    for place in ("txt", "*/txt", "data/*/txt", "."):
        tables = [path for path in source.glob(f"{place}/*.y*ml") if path.suffix in _TABLE_ENDINGS]
        if tables:
            return sorted(tables)
    for place in (".", "*", "data/*"):
        if tables := sorted(source.glob(f"{place}/{_STAMPED}")):
            return tables
    return []


def _looks_like_segments(table: Path) -> bool:
    try:
        with table.open(encoding="utf-8-sig") as file:
            start = file.read(2000)
    except (OSError, UnicodeDecodeError):
        return False
    if table.name == _STAMPED:
        return bool(_STAMPED_LINE.match(start))
    return all(f"{name}:" in start for name in ("duration", "offset", "wav"))


IMPORTER = Importer(
    form="mustc",
    recognises=recognises,
    read=read,
    options=frozenset({"audio", "columns"}),
    certain=True,
)
