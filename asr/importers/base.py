"""What every importer promises, and what they share."""

from __future__ import annotations

import hashlib
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from asr.names import AUDIO_ENDINGS, composed, find_file, recordings_in, shown
from lm.errors import InputError

Document = TypeVar("Document")

MAX_ID_BYTES, TAIL_BYTES = 200, 60
"""Of an id, for file systems allow 255, an ending included; and of its end where its middle is cut out. Times and
numbers stand at the end of names."""


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """What the user says about a corpus that its files do not say. Not every form reads every field."""

    audio: Path | None = None
    """Folder (or, for one annotation file, the file) where the audio lies, when not where the files say."""

    columns: dict[str, str] = field(default_factory=dict)
    """For tables: the table's column for each of ours, as in ``{"audio": "file", "text": "sentence"}``."""

    tiers: tuple[str, ...] = ()
    """For ELAN and Praat: names or shell patterns of the tiers that hold the transcript."""

    translation_tiers: tuple[str, ...] = ()
    """For ELAN and Praat: names or shell patterns of the tiers that hold the translation."""

    language: str = ""
    """Language of every utterance; wins over what the files say."""

    translation_language: str = ""
    """Language of every translation; wins over what the files say."""

    speaker: str = ""
    """Speaker of every utterance; wins over what the files say."""

    speaker_pattern: str = ""
    """Regular expression searched in the audio's path below the source; its first group is the speaker."""

    out: Path | None = None
    """The manifest that is to be written, which is not the source, though it lies in the source's folder."""

    trust_header: bool = False
    """Take durations from headers instead of decoding the files: quick, and wrong where a header is."""

    jobs: int = 0
    """Files measured at once; 0 is one per core, at most 8."""


OPTIONS = {
    "audio": "--audio",
    "columns": "--columns",
    "tiers": "--tier",
    "translation_tiers": "--translation-tier",
}
"""Fields of `ImportConfig` that some forms have no use for, and what they are on the command line."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An utterance as the source states it, before its audio was measured."""

    name: str
    """The source's own name; the id is made from it."""
    audio: Path
    start: float = 0.0
    """Seconds into the file."""
    end: float | None = None
    """Seconds into the file; None means its end."""
    to_end: bool = False
    """``end`` is meant to be the end of the file, if the two are not far apart."""
    text: str = ""
    translation: str = ""
    language: str = ""
    translation_language: str = ""
    speaker: str = ""
    gender: str = ""
    split: str = ""
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What an importer found, in the order that ids are given."""

    drafts: list[Draft]
    problems: list[str] = field(default_factory=list)
    """What was left out: the file, the reason and the remedy, a line each. The rest is in ``drafts``."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing of what is in ``drafts``."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """One form that a corpus can come in."""

    form: str
    """Its name on the command line."""
    recognises: Callable[[Path], bool]
    """Whether a file or folder looks like this form; reads little, never fails."""
    read: Callable[[Path, ImportConfig], Reading]
    """Read it. Raises InputError when nothing at all can be read."""
    options: frozenset[str] = frozenset()
    """Fields of `ImportConfig` of the kind of `OPTIONS` that it reads."""
    file_of: Callable[[Path], Path | None] = lambda source: source if source.is_file() else None
    """The one file that it reads, where it is one: of a folder, the table or manifest in it."""
    certain: bool = False
    """The form has a mark of its own: when it is recognised, looser forms are not considered."""


def find_files(folder: Path, *endings: str) -> list[Path]:
    """Files below ``folder`` with one of the endings (any case), sorted; hidden ones and hidden folders left out.

    Links to folders are followed, each real folder once: by its own name where it has one below ``folder``. A link to
    a file that is not there is among them, and its reader says so: of what was not fetched nothing is passed over.
    """
    found: list[Path] = []
    seen: set[str] = set()
    tops = [str(folder)]
    for top in tops:  # it grows by the links that are met
        if os.path.realpath(top) in seen:
            continue
        for place, inside, names in os.walk(top):
            seen.add(os.path.realpath(place))
            # What was thrown away (.Trash-1000) or is an older version (.stversions) is no second recording.
            inside[:] = [name for name in inside if not name.startswith(".")]
            tops += sorted(path for name in inside if os.path.islink(path := os.path.join(place, name)))
            inside[:] = sorted(n for n in inside if os.path.realpath(os.path.join(place, n)) not in seen)
            found += [Path(place, name) for name in names]
    return sorted(
        path
        for path in found
        if path.suffix.lower() in endings and not path.name.startswith(".")
        if path.is_file() or (path.is_symlink() and not path.exists())
    )


def find_audio(name: str, folders: Iterable[Path], *, endings: Sequence[str] = ("",)) -> Path | None:
    """The first file called ``name`` (a path may be relative to any folder) that exists.

    When no path fits as it is written, its last part alone is tried in each folder: tables often
    carry the paths of the machine that made them.
    """
    folders = list(folders)
    for part in dict.fromkeys((name, re.split(r"[/\\]", name)[-1])):
        for folder in folders:
            for ending in endings:
                if part and (path := find_file(folder / (part + ending))) is not None:
                    return path
    return None


def audio_folders(path: Path, source: Path, config: ImportConfig) -> list[Path]:
    """Where in ``config.audio``, a folder or None, the recording of an annotation file may lie.

    Args:
        source: the folder that is imported, whose sub-folders ``config.audio`` may have, too; or ``path``.
    """
    if config.audio is None:
        return []
    below = path.parent.relative_to(source) if source.is_dir() else Path()
    return [config.audio / below, config.audio]


def find_beside(path: Path, source: Path, config: ImportConfig) -> Path | None:
    """The recording of an annotation file that names none: of its name, beside it or in ``config.audio``.

    The name may have the ending of the recording before its own: ``talk.wav.srt`` is of talk.wav, or else of talk.mp3.

    Args:
        source: what is imported, as in `audio_folders`.
    """
    if config.audio is not None and config.audio.is_file():
        return config.audio
    folders = audio_folders(path, source, config) or [path.parent]
    named = Path(path.stem)
    for folder in folders:
        if found := recordings_in(folder).get(composed(path.stem)):
            return found
        if named.suffix.lower() in AUDIO_ENDINGS and (
            found := find_file(folder / named) or recordings_in(folder).get(composed(named.stem))
        ):
            return found
    return None


def first_of(paths: Collection[Path]) -> str:
    """The first of some files and how many others there are: what a folder of them shares is told once."""
    others = f" and {len(paths) - 1} other file(s)" if len(paths) > 1 else ""
    return f"{shown(next(iter(paths)))}{others}"


def name_recordings(reading: Reading) -> None:
    """Name the recording of all that lies in one audio file as its first utterance does, and note where names met.

    A recording may have several annotation files, a later version or one per speaker. Were each a recording
    of its own, a split by recording would put the same sound in train and in test.
    """
    real: dict[Path, Path] = {}
    names: dict[Path, dict[str, None]] = {}
    for draft in reading.drafts:
        if draft.audio not in real:
            real[draft.audio] = draft.audio.resolve()
        known = names.setdefault(real[draft.audio], {})
        known[draft.extra["recording"]] = None
        draft.extra["recording"] = next(iter(known))
    several = {audio: list(known) for audio, known in names.items() if len(known) > 1}
    if several:
        audio, found = next(iter(several.items()))
        reading.notes.append(
            f"{len(several)} recording(s) have several annotation files, as {shown(audio)}: {', '.join(found)}. "
            "All their utterances are imported, as of one recording. Remove a file that is an older copy."
        )


def plain_gender(value: str) -> str:
    """``F`` or ``M`` for the usual spellings; any other word as it is.

    >>> plain_gender("male_masculine"), plain_gender("female"), plain_gender("other")
    ('M', 'F', 'other')
    """
    word = value.strip().lower()
    if word in ("f", "female", "woman", "feminine", "female_feminine"):
        return "F"
    return "M" if word in ("m", "male", "man", "masculine", "male_masculine") else value.strip()


def safe_id(name: str) -> str:
    """A name that can be a file name and a Kaldi key: letters, marks and digits of any script, ``._-``.

    Of one that is too long the middle is cut out. A digest of all before its end stands for it, so that names that
    differ stay different, and those of one recording's stretches begin alike and sort by time.

    >>> safe_id("Capítulo 1/../clip?.wav")
    'Capítulo_1_.._clip_.wav'
    """
    kept = "".join(c if c in "._-" or unicodedata.category(c)[0] in "LMN" else "_" for c in composed(name))
    kept = kept.strip("._-") or "utterance"
    data = kept.encode()
    if len(data) <= MAX_ID_BYTES:
        return kept
    tail = data[-TAIL_BYTES:].decode(errors="ignore")
    while tail and unicodedata.category(tail[0])[0] == "M":  # a mark goes with its letter
        tail = tail[1:]
    before = kept[: len(kept) - len(tail)]
    digest = _digest(before)
    head = data[: MAX_ID_BYTES - TAIL_BYTES - len(digest) - 2].decode(errors="ignore")
    while head and unicodedata.category(before[len(head)])[0] == "M":
        head = head[:-1]
    return "_".join(part for part in (head.strip("._-"), digest, tail.strip("._-")) if part)


def unique_name(name: str, taken: dict[str, int]) -> str:
    """The name, with a number where it is taken; some systems take names that differ in case for one file.

    Args:
        taken: the names given so far, each with the number that was last put behind it; the new one is added.
    """
    number = taken.get(name.casefold(), 0) + 1
    candidate = name if number == 1 else f"{name}-{number}"
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken[name.casefold()] = number
    taken.setdefault(candidate.casefold(), 1)
    return candidate


def recording_names(files: Sequence[str], root: Path) -> dict[str, str]:
    """An id for each file by its place below ``root``; where several would have one they are told apart by a digest."""
    ids = {file: safe_id(stem_below(root / file, root)) for file in files}
    shared = {name for name, count in Counter(ids.values()).items() if count > 1}
    return {file: f"{name}_{_digest(file)}" if name in shared else name for file, name in ids.items()}


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=4).hexdigest()


def finite(word: str) -> float:
    """The number of seconds that a word says.

    Raises:
        ValueError: it is none, as ``nan`` and ``inf`` are none.
    """
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word!r} is no number of seconds.")
    return number


def place_below(path: Path, root: Path) -> Path:
    """What a recording and its text have in common: the place below their folders, without ending, composed."""
    return Path(composed(str(path.relative_to(root).with_suffix(""))))


def stem_below(path: Path, root: Path) -> str:
    """Name of a file from its place below ``root``: folders and stem, as its transcript lies in a folder of them.

    In ids `safe_id` makes a ``_`` of each slash.

    >>> stem_below(Path("/c/day1/a.wav"), Path("/c"))
    'day1/a'
    """
    relative = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    return relative.with_suffix("").as_posix()


def span_name(recording: str, start: float, end: float) -> str:
    """Name of a stretch of a recording that stays the same when other stretches are added.

    >>> span_name("ch17", 3.1, 6.45)
    'ch17_0000003100-0000006450'
    """
    return f"{recording}_{round(start * 1000):010d}-{round(end * 1000):010d}"


def read_each(
    paths: Iterable[Path], read: Callable[[Path], Document]
) -> tuple[dict[Path, Document], list[str]]:
    """The documents that can be read, and what is wrong with the others.

    Raises:
        InputError: none can be read.
    """
    documents: dict[Path, Document] = {}
    problems: list[str] = []
    for path in paths:
        try:
            documents[path] = read(path)
        except InputError as error:
            problems.append(str(error))
    if not documents:
        raise InputError(problems[0])
    return documents, problems
