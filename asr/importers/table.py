"""A CSV or TSV table with one utterance per row and columns of any name."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.importers.base import (
    Draft,
    ImportConfig,
    Importer,
    Reading,
    find_audio,
    finite,
    plain_gender,
    span_name,
)
from asr.manifest import is_manifest
from asr.names import AUDIO_ENDINGS, composed
from lm.errors import InputError

GUESSES: dict[str, tuple[str, ...]] = {
    name: tuple(guesses.split())
    for name, guesses in {
        "audio": "audio audio_path audio_file audio_filepath file file_name filename path wav clip recording",
        "text": "text sentence transcription transcript transcripts normalized_text orthography",
        "id": "id utt_id utterance_id utterance uttid sentence_id",
        "start": "start offset_s start_s start_time begin begin_s begin_time onset onset_s onset_time segment_onset "
        "tmin xmin offset",
        "end": "end end_s end_time offset_time segment_offset tmax xmax",
        "duration": "duration_s duration",
        "translation": "translation tgt_text target_text",
        "language": "language lang locale language_code",
        "translation_language": "translation_language tgt_lang target_language",
        "speaker": "speaker speaker_id spk spk_id client_id participant",
        "gender": "gender sex",
        "split": "split set subset partition",
    }.items()
}
"""Columns we look for, the usual names first; case, spaces and hyphens do not matter."""

_NEEDED = ("audio", "text")


def recognises(source: Path) -> bool:
    """A .csv or .tsv file, or a folder whose only table is one, with columns for audio and text."""
    try:
        header, _ = _header_and_rows(_table_of(source))  # what is wrong with a row is for `read` to tell
        found = _map_columns(header, {}, source)
    except InputError:
        return False
    return all(name in found for name in _NEEDED)


def read(source: Path, config: ImportConfig) -> Reading:
    """Read each row; times are seconds, paths relative to the table or to ``config.audio``.

    Tables ending in .tsv are read without quoting, .csv with it (the delimiter is the one of
    ``, ; tab`` that the header has most of). Columns that are not ours are kept.
    """
    table = _table_of(source)
    header, rows = _header_and_rows(table)
    columns = _map_columns(header, config.columns, table)
    if "end" in columns and "start" not in columns:
        raise InputError(
            f"{table}: no column is known to hold the start, though {header[columns['end']]!r} holds the end. "
            f"Say which with --columns start=NAME; it has {', '.join(header)}."
        )
    folders = [config.audio] if config.audio else []
    folders += [table.parent, table.parent / "audio", table.parent / "clips", table.parent / "wav"]
    drafts, problems = [], []
    for line, cells in rows:
        where = f"{table}, line {line}"
        if len(cells) != len(header):
            problems.append(
                f"{where}: {len(cells)} cells for {len(header)} columns. Mend the row's separators."
            )
            continue
        values = {name: one_line(cells[index]) for name, index in columns.items()}
        audio = find_audio(values["audio"], folders, endings=("", *AUDIO_ENDINGS))
        if audio is None:
            problems.append(
                f"{where}: no audio file {values['audio']!r}. Say where it lies with --audio FOLDER."
            )
            continue
        try:
            start, end = _times(values)
        except ValueError:
            problems.append(
                f"{where}: start, end or duration is not a number of seconds. Write it as in 3.25."
            )
            continue
        extra = {
            header[i]: one_line(cells[i])
            for i in range(len(header))
            if i not in columns.values() and header[i]
        }
        name = values.get("id") or (audio.stem if end is None else span_name(audio.stem, start, end))
        drafts.append(
            Draft(
                name=name,
                audio=audio,
                start=start,
                end=end,
                text=values.get("text", ""),
                translation=values.get("translation", ""),
                language=values.get("language", ""),
                translation_language=values.get("translation_language", ""),
                speaker=values.get("speaker", ""),
                gender=plain_gender(values.get("gender", "")),
                split=values.get("split", ""),
                extra=extra,
            )
        )
    return Reading(drafts, problems, _notes(drafts, header, table))


def _notes(drafts: list[Draft], header: list[str], table: Path) -> list[str]:
    """A note where rows share a file whose end all of them reach: their times may stand in columns not recognised."""
    whole = Counter(draft.audio for draft in drafts if draft.end is None)
    shared = sum(count for count in whole.values() if count > 1)
    if not shared:
        return []
    return [
        f"{table}: {shared} rows share their audio file with other rows and have no end, so each reaches to the "
        "file's. If columns have their times in seconds, name them with --columns start=NAME,end=NAME; it has "
        f"{', '.join(header)}."
    ]


def _table_of(source: Path) -> Path:
    if source.is_file():
        return source
    tables = sorted(path for path in source.glob("*") if path.suffix.lower() in (".csv", ".tsv"))
    if len(tables) > 1:  # a manifest is what an import of the other one wrote
        tables = [path for path in tables if not is_manifest(path)]
    if len(tables) != 1:
        raise InputError(
            f"{source} holds {len(tables)} .csv and .tsv files. Give the path of the one to read."
        )
    return tables[0]


def _file_of(source: Path) -> Path | None:
    try:
        return _table_of(source)
    except InputError:
        return None


def _header_and_rows(table: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Header, and the rows with their line numbers, each read when its turn comes.

    Raises:
        InputError: unreadable or empty, or the next row is not CSV.
    """
    rows = _rows(table)
    header = next(rows, None)
    if header is None:
        raise InputError(f"{table} is empty. Give a table with a header and a row per utterance.")
    return [one_line(name.strip()) for name in header[1]], rows


def _rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    text = read_text(table)
    first = text.split("\n", 1)[0]
    tabs = table.suffix.lower() == ".tsv" or first.count("\t") > max(first.count(","), first.count(";"))
    lines = io.StringIO(text, newline="")
    if tabs:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        # strict: else a quote that is not closed makes one cell of all the rows below
        reader = csv.reader(lines, delimiter=max(",;", key=first.count), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{table}, the row that begins in line {line}: {error}. "
            "Mend it: a quote that opens a cell also closes it, and one inside is doubled."
        ) from error


def _map_columns(header: list[str], chosen: dict[str, str], table: Path) -> dict[str, int]:
    """Place of each of our columns in the header.

    Raises:
        InputError: a chosen column is not there, or audio or text is neither chosen nor guessed.
    """
    unknown = sorted(set(chosen) - set(GUESSES))
    if unknown:
        raise InputError(
            f"--columns names {', '.join(unknown)}, which we do not have. Ours are {', '.join(GUESSES)}."
        )
    columns: dict[str, int] = {}
    names = [composed(name) for name in header]
    for ours, theirs in chosen.items():
        if composed(theirs) not in names:
            raise InputError(f"{table} has no column {theirs!r} for {ours}. It has {', '.join(header)}.")
        columns[ours] = names.index(composed(theirs))
    plain = [name.lower().replace(" ", "_").replace("-", "_") for name in header]
    if {"onset", "onset_s"} & set(plain):  # beside an onset, the offset is where the utterance ends
        plain = ["end" if name in ("offset", "offset_s") else name for name in plain]
    for ours, guesses in GUESSES.items():
        guess = next((plain.index(name) for name in guesses if name in plain), None)
        if ours not in columns and guess is not None and guess not in columns.values():
            columns[ours] = guess
    for ours in _NEEDED:
        if ours not in columns:
            raise InputError(
                f"{table}: no column is known to hold the {ours}. Say which with --columns {ours}=NAME; "
                f"it has {', '.join(header)}."
            )
    return columns


def _times(values: dict[str, str]) -> tuple[float, float | None]:
    """Start and end in seconds; a duration alone, without a start, only repeats the file's length."""
    if values.get("end"):  # where an utterance ends, and nothing of where it begins, is no span
        return finite(values["start"]), finite(values["end"])
    start = finite(values["start"]) if values.get("start") else 0.0
    if values.get("duration") and values.get("start"):
        return start, start + finite(values["duration"])
    return start, None


IMPORTER = Importer(
    form="table",
    recognises=recognises,
    read=read,
    options=frozenset({"audio", "columns"}),
    file_of=_file_of,
)
