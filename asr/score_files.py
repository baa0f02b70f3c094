"""The files that are scored: references and hypotheses in the forms that people have them."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Literal

from asr.formats.files import read_text
from asr.formats.tiernames import TIER_ENDINGS
from asr.manifest import Utterance, read_manifest, recording_place
from asr.names import composed, shown
from asr.text import WRITTEN
from lm.errors import InputError

TRANSCRIPT_ENDINGS = (".json", ".eaf", ".textgrid", ".srt", ".vtt", ".ctm", ".stm")
"""Files that hold the transcript of one recording, whatever is in them."""

Column = Literal["text", "translation"]
"""Of a manifest, which is scored."""

_LABELS = ("language", "translation_language", "speaker", "gender", "split")
_LIKE_AN_ID = re.compile(r"[\d_]")
_TRN_LINE = re.compile(r"(?P<text>.*)\((?P<id>[^\s()]+)\)\s*")


@dataclass(frozen=True, kw_only=True)
class References:
    """What was said, and what is known of each utterance."""

    texts: dict[str, str]
    """id -> text; blank where nobody wrote it down."""
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    """Column -> id -> value."""

    def labels(self, column: str) -> dict[str, str]:
        """The value of a column for each id.

        Raises:
            InputError: the reference has no such column.
        """
        named = next((name for name in self.columns if composed(name) == composed(column)), None)
        if named is None:
            known = ", ".join(self.columns) or "none, since it is no manifest"
            raise InputError(f"the reference has no column {column!r} to score by; it has {known}.")
        return self.columns[named]


def read_references(path: str | Path, *, split: str = "") -> References:
    """Read references from a manifest, or from a text in a form that `read_table` reads.

    Args:
        path: the file.
        split: keep only these rows of a manifest.
    Raises:
        InputError: unreadable, the transcript of one recording, or a split of a file that has none.
    """
    path = Path(path)
    if path.suffix.lower() in TRANSCRIPT_ENDINGS:
        raise InputError(
            f"{shown(path)} is the transcript of one recording. Add --recording-level, or give a manifest or table."
        )
    if means_manifest(path):
        return references_of(read_manifest(path, split=split))
    if split:
        raise InputError(f"{shown(path)} is no manifest and has no split {split!r}. Leave out --split.")
    return References(texts=read_table(path))


def references_of(utterances: Sequence[Utterance], column: Column = "text") -> References:
    """The references of a manifest's rows."""
    extra = sorted({name for utterance in utterances for name in utterance.extra} - {"recording"})
    return References(
        texts={utterance.id: getattr(utterance, column) for utterance in utterances},
        columns={
            **{name: {u.id: str(getattr(u, name)) for u in utterances} for name in _LABELS},
            "recording": {
                u.id: name for u, (name, _) in zip(utterances, places_by_name(utterances), strict=True)
            },
            **{name: {u.id: u.extra.get(name, "") for u in utterances} for name in extra},
        },
    )


def read_recordings(
    path: str | Path, *, split: str = "", tiers: Sequence[str] = ()
) -> dict[str, list[tuple[str, str]]]:
    """The utterances of each recording in order of time, as (id, text).

    Args:
        path: a manifest, an ``.eaf`` or ``.TextGrid``, or another transcript of one recording.
        split: keep only these rows of a manifest.
        tiers: for ``.eaf`` and ``.TextGrid``: the tiers that hold the text, one or one a speaker;
            not needed where there is only one.
    Raises:
        InputError: unreadable, no such tier, or a split or tier of a file that has none.
    """
    path = Path(path)
    manifest, tiered = means_manifest(path), path.suffix.lower() in TIER_ENDINGS
    if tiers and not tiered:
        raise InputError(f"{shown(path)} has no tiers. Leave out --tier.")
    if split and not manifest:
        raise InputError(f"{shown(path)} is no manifest and has no split {split!r}. Leave out --split.")
    if manifest:
        return recordings_of(read_manifest(path, split=split))
    texts = _tier_texts(path, tiers) if tiered else _segment_texts(path)
    rows = [(start, f"{path.stem}_{number:04d}", text) for number, (start, text) in enumerate(texts, 1)]
    return _in_order({path.stem: rows})


def recordings_of(
    utterances: Sequence[Utterance], column: Column = "text"
) -> dict[str, list[tuple[str, str]]]:
    """The same of a manifest's rows."""
    placed: dict[str, list[tuple[float, str, str]]] = {}
    for utterance, (recording, start) in zip(utterances, places_by_name(utterances), strict=True):
        placed.setdefault(recording, []).append((start, utterance.id, getattr(utterance, column)))
    return _in_order(placed)


def _in_order(placed: dict[str, list[tuple[float, str, str]]]) -> dict[str, list[tuple[str, str]]]:
    # Sorted by the start alone: rows keep their order where a corpus gives no times.
    return {
        recording: [(name, text) for _, name, text in sorted(rows, key=lambda row: row[0])]
        for recording, rows in placed.items()
    }


def read_hypotheses(paths: Sequence[str | Path]) -> dict[str, str]:
    """Read a system's output: one text of many utterances, or transcripts named by what they transcribe.

    Args:
        paths: one file in a form that `read_table` reads; or transcripts (json, eaf, TextGrid,
            srt, vtt, ctm, stm, or several txt), each named after its recording or utterance; or
            a folder of such transcripts.
    Raises:
        InputError: unreadable, an id twice, or nothing there.
    """
    return read_table(paths[0]) if is_one_table(paths) else read_transcripts(paths)


def is_one_table(paths: Sequence[str | Path]) -> bool:
    """Whether a system's output is one text of many utterances, and no transcripts."""
    if len(paths) != 1:
        return False
    path = Path(paths[0])
    return path.suffix.lower() not in TRANSCRIPT_ENDINGS and not path.is_dir()


def _lines(path: Path) -> list[str]:
    return [text for _, text in _segment_texts(path)]


def read_transcripts(
    paths: Sequence[str | Path],
    lines: Callable[[Path], list[str]] = _lines,
    *,
    what: str = "transcript",
    recordings: Collection[str] = (),
) -> dict[str, str]:
    """The whole text of each transcript, by its file name without folder and ending.

    Args:
        paths: files, or folders of them.
        lines: reads one; a segment on each line.
        what: one of them is called.
        recordings: names of recordings as `places_by_name` has them; a transcript whose folders and name end so is
            called so.
    Raises:
        InputError: unreadable, a table of utterances, a name twice, or nothing there.
    """
    for path in map(Path, paths):
        if len(paths) > 1 and path.suffix.lower() == ".tsv" and "start" not in columns_of(path):
            raise InputError(
                f"{shown(path)} is a table of many utterances, which is read alone, and {len(paths)} files are "
                "given. Score one at a time, or compare two with --against."
            )
    texts: dict[str, str] = {}
    for name, path in _named(paths, recordings):
        if name in texts:
            raise InputError(f"{shown(path)}: a second {what} of {name!r}. Give one of each.")
        texts[name] = "\n".join(lines(path))
    return texts


def _named(paths: Sequence[str | Path], recordings: Collection[str]) -> Iterator[tuple[str, Path]]:
    """The files that are given or lie in folders, each with the longest of the names that its place ends in."""
    known = {composed(name): name for name in recordings}
    for path in [file for given in paths for file in files_in(Path(given))]:
        place = [*path.absolute().parent.parts, path.stem]
        # Manifests of earlier imports call a recording of a sub-folder day1_talk.
        ends = (composed(mark.join(place[first:])) for first in range(len(place)) for mark in "/_")
        yield next((known[end] for end in ends if end in known), composed(path.stem)), path


def read_table(path: str | Path) -> dict[str, str]:
    """Read a text of many utterances: composed id -> text.

    The form is seen from the file: a table with tabs (a header with ``id`` and ``text``, or the
    id and the text in the first two columns), sclite's trn (``text (id)`` on every line), or
    Kaldi's ``id text``.

    Raises:
        InputError: unreadable, a row without an id, an id twice, or no rows.
    """
    path = Path(path)
    lines = [
        (number, line.rstrip("\r"))
        for number, line in enumerate(read_text(path).split("\n"), start=1)
        if line.strip() and not line.startswith(";;")
    ]
    if not lines:
        raise InputError(f"{shown(path)} is empty. Give a text with one utterance on each line.")
    texts: dict[str, str] = {}
    for number, name, text in _rows(lines, path):
        name = composed(name)
        if not name:
            raise InputError(f"{shown(path)}, line {number}: no id. Begin each line with the utterance's id.")
        if name in texts:
            raise InputError(f"{shown(path)}, line {number}: the id {name!r} occurs twice. Make ids unique.")
        texts[name] = text.strip()
    return texts


def written_by(paths: Sequence[str | Path]) -> str:
    """Key of the text policy that wrote a table of `recipes.decode_ctc`; empty where not all of it says one."""
    if not is_one_table(paths) or not {"id", WRITTEN} <= set(columns_of(Path(paths[0]))):
        return ""
    keys = {key for (key,) in decoded_rows(Path(paths[0]), WRITTEN)}
    return keys.pop() if len(keys) == 1 else ""


def decoded_rows(path: Path, *names: str) -> list[tuple[str, ...]]:
    """The cells of these columns in each row of a table that `recipes.decode_ctc` wrote; a short row's are blank.

    Raises:
        InputError: unreadable, or without one of the columns.
    """
    # Not by csv, to which a long list of alternatives is an error.
    header, *rows = [
        line.rstrip("\r").split("\t") for line in read_text(path).split("\n") if line.strip()
    ] or [[]]
    if missing := [name for name in names if name not in header]:
        raise InputError(
            f"{shown(path)} has no column {missing[0]}. Give the table that recipes.decode_ctc wrote."
        )
    columns = [header.index(name) for name in names]
    return [tuple(row[column] if column < len(row) else "" for column in columns) for row in rows]


def read_confidences(paths: Sequence[str | Path], recordings: Collection[str] = ()) -> dict[str, list[float]]:
    """Confidences of a system's words: of a table by `recipes.decode_ctc`, or of transcripts with words in time.

    Args:
        recordings: as for `read_transcripts`.
    Raises:
        InputError: unreadable, or there are none in it.
    """
    found: dict[str, list[float]] = {}
    for called, path in _named(paths, recordings):
        if path.suffix.lower() in TRANSCRIPT_ENDINGS:
            from asr.formats import read_transcript

            segments = read_transcript(path).segments
            found[called] = [word.confidence for segment in segments for word in segment.words]
            continue
        rows = decoded_rows(path, "id", "word_confidences")
        try:
            found |= {composed(name): [float(value) for value in values.split()] for name, values in rows}
        except ValueError as error:
            raise InputError(f"{shown(path)}: {error} in word_confidences. Decode again.") from error
    if not any(found.values()):
        raise InputError(f"{shown(paths[0])} has no confidences of words. Give .json transcripts, or .ctm.")
    return found


def places_by_name(utterances: Sequence[Utterance]) -> list[tuple[str, float]]:
    """`recording_place` of each, the recording called as its transcript's file is: without folder and ending.

    Recordings of one name have the folders before it in which they differ, ``day1/talk``, and those of one folder
    their ending, as the files that `loquela transcribe` writes for them.
    """
    alike: dict[str, set[Path]] = {}
    for utterance in utterances:
        if not utterance.extra.get("recording"):
            alike.setdefault(utterance.audio.stem, set()).add(utterance.audio)
    names: dict[Path, str] = {}
    for stem, audios in alike.items():
        if len(audios) == 1:
            names[audios.pop()] = stem
            continue
        levels = zip(*(audio.parent.parts for audio in audios), strict=False)
        shared = len(list(takewhile(lambda level: len(set(level)) == 1, levels)))
        names |= {audio: "/".join([*audio.parent.parts[shared:], stem]) for audio in audios}
        counts = Counter(names[audio] for audio in audios)
        names |= {audio: names[audio] + audio.suffix for audio in audios if counts[names[audio]] > 1}
    return [
        (recording if utterance.extra.get("recording") else names[utterance.audio], start)
        for utterance in utterances
        for recording, start in [recording_place(utterance)]
    ]


def _rows(lines: list[tuple[int, str]], path: Path) -> Iterator[tuple[int, str, str]]:
    first = lines[0][1]
    if "\t" in first:
        header = first.split("\t")
        columns = (0, 1)
        if "id" in header and "text" in header:
            columns = (header.index("id"), header.index("text"))
            lines = lines[1:]
        elif header[0] in ("id", "start"):
            raise InputError(
                f"{shown(path)}: the header {header[:6]} has no columns id and text. Name them so."
            )
        for number, line in lines:
            cells = [*line.split("\t"), ""]
            if len(cells) <= max(columns):
                raise InputError(
                    f"{shown(path)}, line {number}: {line[:60]!r} has no text column. Add a tab."
                )
            yield number, cells[columns[0]].strip(), cells[columns[1]]
    elif all(matches := [_TRN_LINE.fullmatch(line) for _, line in lines]):
        for (number, _), match in zip(lines, matches, strict=True):
            assert match is not None
            yield number, match["id"], match["text"]
    else:
        rows = [(number, *line.strip().partition(" ")[::2]) for number, line in lines]
        if 2 * sum(bool(_LIKE_AN_ID.search(name)) for _, name, _ in rows) < len(rows):
            print(
                f"{shown(path)}: the first word of each line, as {rows[0][1]!r}, is taken for its id. If these are "
                f"texts alone, number them: nl -ba -w1 -s$'\\t' {shown(path)}",
                file=sys.stderr,
            )
        yield from rows


def columns_of(path: Path) -> list[str]:
    """What the first line of a table names; nothing for a transcript."""
    if path.suffix.lower() in TRANSCRIPT_ENDINGS:
        return []
    return read_text(path).partition("\n")[0].rstrip("\r").split("\t")


def means_manifest(path: Path) -> bool:
    """Whether a table is to be read as a manifest; its reader misses durations by name."""
    return {"id", "audio"} <= set(columns_of(path))


def files_in(path: Path) -> list[Path]:
    """A file itself, or the transcripts below a folder, one form of them: one that lies in it, if any does."""
    from asr.importers.base import find_files

    if not path.is_dir():
        return [path]
    endings = (*TRANSCRIPT_ENDINGS, ".txt")
    found = find_files(path, *endings)
    if not found:
        raise InputError(f"folder {shown(path)} holds no transcript. Give a folder with .json or .txt files.")
    nearest = [file for file in found if file.parent == path] or found
    ending = min((file.suffix.lower() for file in nearest), key=endings.index)
    return [file for file in found if file.suffix.lower() == ending]


def _segment_texts(path: Path) -> list[tuple[float, str]]:
    from asr.formats import read_transcript

    return [(segment.start, segment.text) for segment in read_transcript(path).segments]


def _tier_texts(path: Path, names: Sequence[str]) -> list[tuple[float, str]]:
    """Start and text of every annotation of the tiers that has text."""
    from asr.formats.annotations import read_annotations

    tiers = read_annotations(path, names).values()
    return [(each.start, each.text) for tier in tiers for each in tier if each.text.strip()]
