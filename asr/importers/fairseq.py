"""fairseq's wav2vec manifests: a root and its files in .tsv, their texts line by line in .ltr or .wrd.

Manifests to pretrain on have no texts: after the root each line is a path, a tab and a number of samples.
"""

from __future__ import annotations

import re
from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.importers.base import Draft, ImportConfig, Importer, Reading, find_audio, stem_below
from lm.errors import InputError

_FILE = re.compile(r"[^\t]+\t\d+\n?")
"""A line of a manifest, after the first: a path and a number of samples."""


def recognises(source: Path) -> bool:
    """A .tsv with .ltr or .wrd beside it or of files alone, or a folder with one."""
    return bool(_tables(source))


def read(source: Path, config: ImportConfig) -> Reading:
    """Read the named split, or every split of a folder; the file's name is the split.

    The words are those of .wrd, or of .ltr joined; without either, texts are empty. The lines of
    the files belong together by their position alone, so a split whose files differ in length is
    refused.
    """
    tables = _tables(source)
    if not tables:
        raise InputError(
            f"{source} has no .tsv with an .ltr or .wrd beside it, nor one of a root and then lines of a path, a tab "
            "and a number of samples. Give a folder in fairseq's form."
        )
    drafts: list[Draft] = []
    problems: list[str] = []
    notes: list[str] = []
    for table in tables:
        root, *rows = _lines(table)
        while rows and not rows[-1].strip():
            rows.pop()
        texts = _texts(table)
        if texts is None:
            notes.append(f"{table} has no .ltr or .wrd beside it: its {len(rows)} files have no texts.")
            texts = [""] * len(rows)
        while len(texts) > len(rows) and not texts[-1].strip():
            texts.pop()
        if len(texts) != len(rows):
            problems.append(
                f"{table}: {len(rows)} files for {len(texts)} texts, line by line. Make both again."
            )
            continue
        root = root.split("\t")[0]
        folders = [config.audio] if config.audio else [Path(root), table.parent / root, table.parent]
        for number, (row, text) in enumerate(zip(rows, texts, strict=True), start=2):
            name = row.split("\t")[0]
            audio = find_audio(name, folders)
            if audio is None:
                problems.append(
                    f"{table}, line {number}: no file {name!r} in {folders[0]}. Give its folder with --audio."
                )
                continue
            drafts.append(
                Draft(name=stem_below(Path(name), Path()), audio=audio, text=one_line(text), split=table.stem)
            )
    return Reading(drafts, problems, notes)


def _texts(table: Path) -> list[str] | None:
    """Of each file, in order; None where neither .wrd nor .ltr lies beside the table."""
    words, letters = table.with_suffix(".wrd"), table.with_suffix(".ltr")
    if words.is_file():
        return _lines(words)
    if not letters.is_file():
        return None
    return [line.replace(" ", "").replace("|", " ").strip() for line in _lines(letters)]


def _lines(path: Path) -> list[str]:
    """Lines of a file; an empty one inside is an empty text and keeps its place."""
    return [line.rstrip("\r") for line in read_text(path).removesuffix("\n").split("\n")]


def _tables(source: Path) -> list[Path]:
    tables = [source] if source.is_file() and source.suffix == ".tsv" else sorted(source.glob("*.tsv"))
    return [
        path
        for path in tables
        if any(path.with_suffix(ending).is_file() for ending in (".ltr", ".wrd")) or _is_of_files(path)
    ]


def _is_of_files(table: Path) -> bool:
    """Whether a table is a manifest by its lines alone: no header, of two columns or more, is a root without a tab."""
    try:
        with table.open(encoding="utf-8-sig") as lines:
            root, first = next(lines, ""), next(lines, "")
            if "\t" in root or not _FILE.fullmatch(first):
                return False
            return all(_FILE.fullmatch(line) or not line.strip() for line in lines)
    except (OSError, UnicodeDecodeError):
        return False


IMPORTER = Importer(
    form="fairseq",
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
    certain=True,
)
