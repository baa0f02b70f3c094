"""fairseq's wav2vec manifests: a root and its files in .tsv, their texts line by line in .ltr or .wrd."""

from __future__ import annotations

from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.importers.base import Draft, ImportConfig, Importer, Reading, find_audio, stem_below
from lm.errors import InputError


def recognises(source: Path) -> bool:
    """A .tsv with .ltr or .wrd beside it, or a folder with such a pair."""
    return bool(_tables(source))


def read(source: Path, config: ImportConfig) -> Reading:
    """Read the named split, or every split of a folder; the file's name is the split.

    The words are those of .wrd, or of .ltr joined. The lines of the files belong together by
    their position alone, so a split whose files differ in length is refused.
    """
    tables = _tables(source)
    if not tables:
        raise InputError(
            f"{source} has no .tsv with an .ltr or .wrd beside it. Give a folder in fairseq's form."
        )
    drafts: list[Draft] = []
    problems: list[str] = []
    for table in tables:
        root, *rows = _lines(table)
        texts = _texts(table)
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
    return Reading(drafts, problems)


def _texts(table: Path) -> list[str]:
    words, letters = table.with_suffix(".wrd"), table.with_suffix(".ltr")
    if words.is_file():
        return _lines(words)
    return [line.replace(" ", "").replace("|", " ").strip() for line in _lines(letters)]


def _lines(path: Path) -> list[str]:
    """Lines of a file; an empty one inside is an empty text and keeps its place."""
    return [line.rstrip("\r") for line in read_text(path).removesuffix("\n").split("\n")]


def _tables(source: Path) -> list[Path]:
    tables = [source] if source.is_file() and source.suffix == ".tsv" else sorted(source.glob("*.tsv"))
    return [path for path in tables if any(path.with_suffix(ending).is_file() for ending in (".ltr", ".wrd"))]


IMPORTER = Importer(
    form="fairseq",
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
    certain=True,
)
