"""The one form of a corpus: a table of utterances, in tab-separated text."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr.formats.files import write_whole
from asr.names import composed, find_file, given_path
from asr.text import WRITTEN, TextPolicy
from lm.errors import InputError

COLUMNS = (
    "id",
    "audio",
    "offset_s",
    "duration_s",
    "text",
    "translation",
    "language",
    "translation_language",
    "speaker",
    "gender",
    "split",
)
"""The columns every written manifest has, in this order; unknown columns follow them."""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One row: a stretch of a recording and what is known of it.

    An empty ``text`` or ``translation`` means "not available", never "silence".
    """

    id: str
    audio: Path
    """Absolute path, or relative to the working folder; relative to the manifest on disk."""
    offset_s: float = 0.0
    duration_s: float
    """Seconds; must be positive. Importers measure it by decoding, not from the header."""
    text: str = ""
    translation: str = ""
    language: str = ""
    translation_language: str = ""
    speaker: str = ""
    gender: str = ""
    split: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    """Columns the toolkit does not know, kept as they came."""


NEEDED = ("id", "audio", "duration_s")
"""The columns without which a table is no manifest."""

MAX_OVERSHOOT_S = 0.5
"""A span may end this far beyond its file and is then cut there; as in Kaldi's extract-segments."""

_PLACE = re.compile(r"(?P<recording>.+)@(?P<start>\d+(?:\.\d+)?)-\d+(?:\.\d+)?")


def is_manifest(path: Path) -> bool:
    """Whether a file begins as a manifest does; False where there is none."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return set(NEEDED) <= set(file.readline().rstrip("\r\n").split("\t"))
    except (OSError, UnicodeDecodeError):
        return False


def read_manifest(path: str | Path, *, split: str = "", corpus: str | Path = "") -> list[Utterance]:
    """Read a manifest.

    Args:
        path: the TSV file: UTF-8, a header, no quoting.
        split: keep only the rows of this split; empty keeps all.
        corpus: folder that relative audio paths start from; the manifest's own when empty.
    Raises:
        InputError: the file is missing, is not such a table, has a bad number, a repeated id or column,
            or no row of ``split``.
    """
    path = Path(path)
    root = given_path(corpus) if corpus else path.parent
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"manifest {path}: {error.strerror}. Give the path of a .tsv manifest.") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"manifest {path} is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from error
    header = lines[0].rstrip("\r").split("\t")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise InputError(
            f"manifest {path} has no column {', '.join(missing)}; its header is {header[:12]}. "
            "Make one with `loquela corpus import`."
        )
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice:
        raise InputError(f"manifest {path}: its header has the column {twice!r} twice. Rename or remove one.")
    utterances: list[Utterance] = []
    seen: set[str] = set()
    splits: set[str] = set()
    for number, line in enumerate(lines[1:], start=2):
        line = line.rstrip("\r")
        if not line.strip("\t "):  # spreadsheets keep the tabs of rows that were emptied
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            raise InputError(
                f"manifest {path}, line {number}: {len(cells)} cells for {len(header)} columns. "
                "Cells are separated by one tab and never quoted."
            )
        row = dict(zip(header, cells, strict=True))
        row["id"] = composed(row["id"])  # however it was typed: tables of scores are matched by it
        splits.add(row.get("split", ""))
        if row["id"] in seen:
            raise InputError(
                f"manifest {path}, line {number}: the id {row['id']!r} occurs twice. Make ids unique."
            )
        seen.add(row["id"])
        if split and row.get("split", "") != split:
            continue
        utterances.append(_utterance(row, root, f"manifest {path}, line {number}"))
    if split and not utterances:
        raise InputError(f"manifest {path} has no row with split {split!r}; it has {sorted(splits)}.")
    return utterances


def write_manifest(utterances: Iterable[Utterance], path: str | Path) -> None:
    """Write a manifest whole or not at all; audio paths become relative to it where they can.

    Raises:
        InputError: a cell, or the name of an extra column, holds a tab or a line break, which the form cannot carry,
            or what is no UTF-8, an extra column has the name of one of `COLUMNS`, an id occurs twice, or the file
            cannot be written.
    """
    path = Path(path)
    utterances = list(utterances)
    extra = sorted({name for utterance in utterances for name in utterance.extra})
    ours = [name for name in extra if name in COLUMNS]
    if ours:
        raise InputError(
            f"manifest {path}: an extra column is called {ours[0]!r}, as one of ours. Rename it."
        )
    broken = next(filter(_breaks_table, extra), None)
    if broken is not None:
        raise InputError(
            f"manifest {path}: the extra column {broken!r} holds a tab or line break. Rename it."
        )
    ids = Counter(utterance.id for utterance in utterances)
    if twice := [name for name, count in ids.items() if count > 1]:
        raise InputError(f"manifest {path}: the id {twice[0]!r} occurs twice. Make ids unique.")
    lines = ["\t".join([*COLUMNS, *extra])]
    for utterance in utterances:
        cells = _cells(utterance, path.parent.resolve()) + [utterance.extra.get(name, "") for name in extra]
        cell = next(filter(_breaks_table, cells), None)
        if cell is not None:
            raise InputError(f"utterance {utterance.id!r}: {cell!r} holds a tab or line break. Remove it.")
        lines.append("\t".join(cells))
    try:
        data = ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"manifest {path}: {error.object[max(0, error.start - 40) : error.end]!r} is no UTF-8. Rename the file."
        ) from error
    write_whole(path, [data], overwrite=True)


def recording_place(utterance: Utterance) -> tuple[str, float]:
    """The recording an utterance belongs to, and where in it it begins, in seconds.

    A column ``recording`` may name the recording, or the recording and the place in it
    (``ch19@3.100-6.450``) where each utterance was cut into a file of its own; without one it
    is the path of the audio file.
    """
    named = utterance.extra.get("recording", "")
    if place := _PLACE.fullmatch(named):
        return place["recording"], float(place["start"])
    return named or str(utterance.audio), utterance.offset_s


def total_hours(utterances: Sequence[Utterance]) -> float:
    """Hours of audio that the rows cover."""
    return sum(utterance.duration_s for utterance in utterances) / 3600


def with_text(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Those that have a transcript."""
    return [utterance for utterance in utterances if utterance.text.strip()]


def normalised_text(utterance: Utterance, policy: TextPolicy) -> str:
    """An utterance's text under a policy, which one that a model of this policy wrote has been through already."""
    return policy.of_written(utterance.extra.get(WRITTEN, ""))(utterance.text)


def languages_of(utterances: Iterable[Utterance]) -> tuple[str, ...]:
    """The languages that are named, sorted."""
    return tuple(sorted({utterance.language for utterance in utterances} - {""}))


def languages_of_all(utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """The languages, sorted; empty where an utterance names none, which may be of any."""
    return languages_of(utterances) if all(utterance.language for utterance in utterances) else ()


def _utterance(row: dict[str, str], root: Path, where: str) -> Utterance:
    values = dict(row)
    numbers = {}
    for name, default in (("offset_s", "0"), ("duration_s", "")):
        cell = values.pop(name, "") or default
        try:
            numbers[name] = float(cell)
        except ValueError as error:
            raise InputError(f"{where}: {name} is {cell!r}. Give seconds, as in 3.25.") from error
    if not (numbers["duration_s"] > 0 and numbers["offset_s"] >= 0 and sum(numbers.values()) < float("inf")):
        raise InputError(
            f"{where}: offset_s {numbers['offset_s']}, duration_s {numbers['duration_s']}. Give a positive span."
        )
    known = {name: values.pop(name) for name in COLUMNS if name in values}
    audio, name = root / known.pop("audio"), known.pop("id")
    if not audio.name.isascii():  # a Mac's name of a file may be composed otherwise than the table's
        audio = find_file(audio) or audio
    # What is left of the known columns is text; what is left of the row is unknown columns.
    return Utterance(id=name, audio=audio, **numbers, **known, extra=values)  # type: ignore[arg-type]


def _breaks_table(cell: str) -> bool:
    """Whether a cell holds what ends one; nothing is quoted."""
    return any(mark in cell for mark in "\t\n\r")


def _cells(utterance: Utterance, folder: Path) -> list[str]:
    audio = utterance.audio.resolve()
    try:
        shown = (
            os.path.relpath(audio, folder)
            if not audio.is_relative_to(folder)
            else str(audio.relative_to(folder))
        )
    except ValueError:  # another drive
        shown = str(audio)
    return [
        utterance.id,
        shown,
        f"{utterance.offset_s:.3f}",
        f"{utterance.duration_s:.3f}",
        *(str(getattr(utterance, name)) for name in COLUMNS[4:]),
    ]
