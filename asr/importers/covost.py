"""CoVoST 2: translations of Common Voice's sentences, joined with its clips."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.importers import commonvoice
from asr.importers.base import Draft, ImportConfig, Importer, Reading, find_audio
from lm.errors import InputError

_NAME = re.compile(r"covost_v2\.([A-Za-z-]+)_([A-Za-z-]+)(?:\.([^.]+))?\.tsv")
"""``covost_v2.fr_en.tsv`` as published; ``covost_v2.fr_en.train.tsv`` as its script cuts it."""

_SPLITS = {"train_covost": "train"}
"""CoVoST's own addition to Common Voice's train; its script get_covost_splits.py puts both into train."""

_EXAMPLES_SHOWN = 5


@dataclass(frozen=True)
class _Voices:
    """A release of Common Voice: its validated clips, and where they lie."""

    validated: Path
    folders: list[Path]
    drafts: dict[str, Draft]
    """Name of the clip without .mp3, which some releases leave out, to what Common Voice says of it."""


def recognises(source: Path) -> bool:
    """A table named ``covost_v2.*.tsv``, or a folder with one."""
    if source.is_dir():
        return any(_NAME.fullmatch(path.name) for path in source.glob("covost_v2.*.tsv"))
    return bool(_NAME.fullmatch(source.name))


def read(source: Path, config: ImportConfig) -> Reading:
    """Read the tables of a folder, or the one that is named, and join them with Common Voice.

    Common Voice's folder (validated.tsv and clips/) is ``config.audio``, or the table's own. Rows
    come in the order of the tables. Quotes are literal; a backslash stands before the character it
    protects, as CoVoST's script writes it. Where a folder has several language pairs,
    ``config.language`` and ``config.translation_language`` choose.

    Raises:
        InputError: no table is there, several pairs are, or Common Voice is not found.
    """
    drafts: list[Draft] = []
    problems: list[str] = []
    releases: dict[Path, _Voices] = {}
    for table in _tables(source, config):
        header, *rows = read_text(table).split("\n")
        validated, clips = _find_common_voice(table, config)
        if validated not in releases:  # large, and the same for all splits
            releases[validated] = _read_common_voice(validated, replace(config, audio=clips))
        _read_table(table, header, rows, releases[validated], drafts, problems)
    return Reading(drafts, problems)


def _read_table(
    table: Path, first: str, rows: list[str], voices: _Voices, drafts: list[Draft], problems: list[str]
) -> None:
    header = first.rstrip("\r").split("\t")
    missing = [name for name in ("path", "translation") if name not in header]
    if missing:
        raise InputError(
            f"{table} has no column {', '.join(missing)}; it has {', '.join(header)}. Is it CoVoST 2?"
        )
    source, target, split = _named(table)
    no_clip: list[str] = []
    no_row: list[str] = []
    for number, line in enumerate(rows, start=2):
        cells = line.rstrip("\r").split("\t")
        if cells == [""]:
            continue
        if len(cells) != len(header):
            problems.append(
                f"{table}, line {number}: {len(cells)} cells for {len(header)} columns. Mend the row."
            )
            continue
        row = dict(zip(header, cells, strict=True))
        clip = voices.drafts.get(_key(row["path"]))
        if clip is None:
            there = find_audio(row["path"], voices.folders, endings=("", ".mp3"))
            (no_row if there else no_clip).append(f"{row['path']} (line {number})")
            continue
        stated = split or row.get("split", "")
        drafts.append(
            replace(
                clip,
                translation=one_line(re.sub(r"\\(.)", r"\1", row["translation"])),
                language=clip.language or source,
                translation_language=target,
                split=_SPLITS.get(stated, stated),
            )
        )
    for names, what in (
        (no_clip, f"no clip in {voices.folders[0]}"),
        (no_row, f"a clip but no sound row in {voices.validated}"),
    ):
        if names:
            more = ", ..." if len(names) > _EXAMPLES_SHOWN else ""
            problems.append(
                f"{table}: {len(names)} row(s) have {what}: {', '.join(names[:_EXAMPLES_SHOWN])}{more}. CoVoST 2 "
                "belongs to Common Voice 4; give that release with --audio FOLDER."
            )


def _read_common_voice(validated: Path, config: ImportConfig) -> _Voices:
    """Every clip of validated.tsv that is there.

    What its importer reports is left aside: most of Common Voice may not concern CoVoST, and the
    rows that do are reported with the translation they belong to.
    """
    folders = [config.audio] if config.audio else [validated.parent / "clips", validated.parent]
    reading = commonvoice.read(validated, config)
    return _Voices(validated, folders, {_key(draft.name): draft for draft in reading.drafts})


def _find_common_voice(table: Path, config: ImportConfig) -> tuple[Path, Path | None]:
    """validated.tsv, and the folder of the clips where that is not the usual one beside it."""
    if config.audio is None:
        places: list[tuple[Path, Path | None]] = [(table.parent, None), (table.parent.parent, None)]
    else:
        places = [(config.audio, None), (config.audio / _named(table)[0], None)]
        places += [(config.audio.parent, config.audio), (table.parent, config.audio)]
    for folder, clips in places:
        if (folder / "validated.tsv").is_file():
            return folder / "validated.tsv", clips
    looked = ", ".join(dict.fromkeys(str(folder) for folder, _ in places))
    raise InputError(
        f"{table}: no validated.tsv of Common Voice in {looked}. Give the folder that holds it and clips/ "
        "with --audio FOLDER."
    )


def _tables(source: Path, config: ImportConfig) -> list[Path]:
    """The table that is named; of a folder, the whole table of the pair, or else its splits.

    The whole table comes first because the script writes the splits beside it: both would give
    every row twice.
    """
    if source.is_file():
        return [source]
    tables = sorted(path for path in source.glob("covost_v2.*.tsv") if _NAME.fullmatch(path.name))
    pairs = {_named(table)[:2] for table in tables}
    if len(pairs) > 1:
        chosen = {
            (language, translation)
            for language, translation in pairs
            if config.language in ("", language) and config.translation_language in ("", translation)
        }
        if len(chosen) != 1:
            names = ", ".join("_".join(pair) for pair in sorted(pairs))
            raise InputError(
                f"{source} has several pairs ({names}). Choose with --language and --translation-language, "
                "or give the path of one table."
            )
        pairs = chosen
    tables = [table for table in tables if _named(table)[:2] in pairs]
    if not tables:
        raise InputError(
            f"{source} has no covost_v2.SOURCE_TARGET.tsv. Unpack the .tar.gz there, or give a table by its path."
        )
    return [table for table in tables if not _named(table)[2]] or tables


def _named(table: Path) -> tuple[str, str, str]:
    """Source language, target language and split that the file's name states; empty where it does not."""
    found = _NAME.fullmatch(table.name)
    return (found[1], found[2], found[3] or "") if found else ("", "", "")


def _key(path: str) -> str:
    return path.removesuffix(".mp3")


IMPORTER = Importer(
    form="covost",
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
    certain=True,
)
