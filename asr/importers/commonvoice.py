"""Common Voice as it is published: one .tsv per split, and clips/."""

from __future__ import annotations

from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.importers.base import Draft, ImportConfig, Importer, Reading, find_audio, plain_gender
from lm.errors import InputError

SPLITS = ("train", "dev", "test")
"""The official splits, which share no speaker; ``validated`` holds all of them and more."""

_OURS = ("path", "sentence", "client_id", "gender", "locale")


def recognises(source: Path) -> bool:
    """A split's .tsv, or a folder with one, that has Common Voice's columns."""
    try:
        return any({"client_id", "path", "sentence"} <= set(_header(table)) for table in _tables(source))
    except InputError:
        return False


def read(source: Path, config: ImportConfig) -> Reading:
    """Read train.tsv, dev.tsv and test.tsv of a folder, or the one file that is named.

    Quotes are literal: a sentence may begin with one. Clips lie in ``clips/`` beside the table,
    or in ``config.audio``.
    """
    tables = _tables(source)
    if not tables:
        raise InputError(
            f"{source} has no {', '.join(name + '.tsv' for name in SPLITS)}. Give another .tsv by its path."
        )
    drafts: list[Draft] = []
    problems: list[str] = []
    for table in tables:
        _read_table(table, config, drafts, problems)
    return Reading(drafts, problems)


def _read_table(table: Path, config: ImportConfig, drafts: list[Draft], problems: list[str]) -> None:
    header = _header(table)
    missing = [name for name in ("path", "sentence") if name not in header]
    if missing:
        raise InputError(
            f"{table} has no column {', '.join(missing)}; it has {', '.join(header)}. Is it Common Voice?"
        )
    folders = [config.audio] if config.audio else [table.parent / "clips", table.parent]
    split = table.stem if table.stem in SPLITS else ""
    for number, line in enumerate(read_text(table).split("\n")[1:], start=2):
        cells = line.rstrip("\r").split("\t")
        if cells == [""]:
            continue
        if len(cells) != len(header):
            problems.append(
                f"{table}, line {number}: {len(cells)} cells for {len(header)} columns. Mend the row."
            )
            continue
        row = dict(zip(header, cells, strict=True))
        audio = find_audio(row["path"], folders, endings=("", ".mp3"))
        if audio is None:
            problems.append(
                f"{table}, line {number}: no clip {row['path']!r} in {folders[0]}. Give --audio FOLDER."
            )
            continue
        drafts.append(
            Draft(
                name=audio.stem,
                audio=audio,
                text=one_line(row["sentence"]),
                language=row.get("locale", ""),
                speaker=row.get("client_id", ""),
                gender=plain_gender(row.get("gender", "")),
                split=split,
                extra={name: one_line(value) for name, value in row.items() if name not in _OURS},
            )
        )


def _tables(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return [source / f"{name}.tsv" for name in SPLITS if (source / f"{name}.tsv").is_file()]


def _header(table: Path) -> list[str]:
    return read_text(table).split("\n", 1)[0].rstrip("\r").split("\t")


IMPORTER = Importer(
    form="commonvoice",
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
    certain=True,
)
