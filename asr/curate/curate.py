"""A folder of recordings, file by file, into a manifest of speech to pretrain on.

What was found in each file is written to a journal at once, so that a run that was stopped or
killed goes on with the files that are left. The audio itself is not copied: a row of the manifest
is a stretch of the original.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asr.audio import stream
from asr.config import to_mapping
from asr.curate.music import low_energy_share
from asr.curate.snr import wada_snr
from asr.frames import samples_to_seconds
from asr.importers.base import find_files, recording_names, span_name
from asr.importers.splits import MAX_OVERFILL
from asr.journal import append_entry, read_journal, stamp
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.names import AUDIO_ENDINGS, misnamed, shown
from asr.segment import VadConfig, split_speech
from lm.errors import InputError

JOURNAL = "journal.jsonl"
MANIFEST = "manifest.tsv"
REPORT = "report.tsv"


@dataclass(frozen=True, kw_only=True)
class CurateConfig:
    """What is kept; the defaults are IndicWav2Vec's."""

    vad: VadConfig = field(default_factory=lambda: VadConfig(start_ratio=0.9, keep_s=0.1))
    """webrtcvad: mode 2, 30 ms, 300 ms; nothing longer than its ``max_segment_s`` (20 s)."""
    min_s: float = 1.0
    """Shorter stretches are left out."""
    min_snr_db: float = 15.0
    """Stretches with a lower WADA-SNR are left out."""
    min_low_energy: float = 0.1
    """Stretches whose energy moves less than speech's are left out as music or noise; 0 keeps them."""
    language: str = ""
    """Language of every file; else the first folder below the source names it."""
    dev_share: float = 0.03
    """Share of each language's speech, in seconds, that goes to dev: of whole files, chosen by their names, or where
    none is short enough the last stretches of one; 0 gives no dev."""

    def __post_init__(self) -> None:
        for name in ("min_s", "min_snr_db", "min_low_energy"):
            if not math.isfinite(getattr(self, name)):  # NaN passes every comparison
                raise InputError(f"{name} is {getattr(self, name)}. Give a finite number.")
        if not 0 <= self.dev_share < 1:
            raise InputError(f"dev_share is {self.dev_share}. Give a share from 0 to below 1.")


def curate(
    source: Path,
    out: Path,
    config: CurateConfig,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Utterance], list[str]]:
    """Cut and sift every recording below ``source``; a second run does only what is new, changed or was unreadable.

    Writes into ``out``: ``manifest.tsv``, ``report.tsv`` (hours kept and left out, by language and
    reason) and ``journal.jsonl``.

    Returns:
        the utterances kept, and a line for each file that could not be read.
    Raises:
        InputError: there is no audio, or ``out`` was made with other settings or of another folder.
    """
    files = find_files(source, *AUDIO_ENDINGS) if source.is_dir() else [source]
    if not files or not source.exists():
        raise InputError(
            f"{source}: no audio in it ({', '.join(sorted(AUDIO_ENDINGS))}). Give a folder of recordings."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}. Give another --out.") from error
    wrong = {path: why for path in files if (why := misnamed(path) or _absent(path))}
    files = [path for path in files if path not in wrong]
    entries = _entries(out / JOURNAL, config)
    _check_source(source, files, out, entries)
    waiting = [path for path in files if not _is_done(entries.get(_key(path, source), {}), path)]
    done = len(files) - len(waiting)
    with (out / JOURNAL).open("a", encoding="utf-8") as journal:
        if not journal.tell():
            append_entry(journal, {"config": _plain(config)})
        with closing(_sift_all(waiting, source, config, jobs)) as sifted:
            for path, entry in sifted:
                entries[_key(path, source)] = entry
                append_entry(journal, entry)
                done += 1
                if progress:
                    progress(done, len(files))
    found = [entries[_key(path, source)] for path in files]
    utterances, problems = _finish(found, source, out, config)
    return utterances, [*wrong.values(), *problems]


def sift(path: Path, config: CurateConfig, stopped: threading.Event) -> dict[str, Any]:
    """What one file holds: its stretches of speech with their measures, and the seconds of the rest.

    Raises:
        InputError: it cannot be read to its end.
        CancelledError: ``stopped`` was set meanwhile.
    """
    digest = hashlib.blake2b(digest_size=16)
    total = 0

    def heard() -> Iterator[Any]:
        nonlocal total
        for chunk in stream(path, chunk_s=30.0):
            if stopped.is_set():
                raise CancelledError
            total += len(chunk)
            digest.update((chunk * 32767).round().clip(-32768, 32767).astype("<i2").tobytes())
            yield chunk

    stretches = []
    for segment, samples in split_speech(heard(), config.vad):
        snr, low = wada_snr(samples), low_energy_share(samples)
        if segment.duration < config.min_s:
            verdict = "short"
        elif math.isnan(snr) or snr < config.min_snr_db:
            verdict = "noisy"
        elif low < config.min_low_energy:
            verdict = "music"
        else:
            verdict = "kept"
        stretches.append(
            {
                "start": round(segment.start, 3),
                "end": round(segment.end, 3),
                "snr": None if math.isnan(snr) else round(snr, 1),
                "low_energy": None if math.isnan(low) else round(low, 3),
                "verdict": verdict,
            }
        )
    return {"seconds": samples_to_seconds(total), "digest": digest.hexdigest(), "stretches": stretches}


def _sift_all(
    paths: Sequence[Path], source: Path, config: CurateConfig, jobs: int
) -> Generator[tuple[Path, dict[str, Any]], None, None]:
    """Each file's entry for the journal as soon as it is made; only a few are in the making at once.

    Closed early, as by Ctrl-C, it waits for no file's end.
    """
    stopped = threading.Event()

    def one(path: Path) -> dict[str, Any]:
        entry: dict[str, Any] = {"file": _key(path, source), "stamp": stamp(path)}
        try:
            return entry | sift(path, config, stopped)
        except InputError as error:
            return entry | {"problem": str(error)}

    pool = ThreadPoolExecutor(max_workers=jobs)  # decoders and detector work outside the lock
    pending: dict[Future[dict[str, Any]], Path] = {}
    try:
        for path in paths:
            pending[pool.submit(one, path)] = path
            if len(pending) > 2 * jobs:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    yield pending.pop(future), future.result()
        for future in as_completed(pending):
            yield pending[future], future.result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _finish(
    entries: Sequence[dict[str, Any]], source: Path, out: Path, config: CurateConfig
) -> tuple[list[Utterance], list[str]]:
    """The manifest and the report of what the journal holds."""
    utterances: list[Utterance] = []
    problems: list[str] = []
    seconds: dict[str, Counter[str]] = defaultdict(Counter)
    first_of: dict[str, str] = {}
    root = source if source.is_dir() else source.parent
    names = recording_names([entry["file"] for entry in entries], root)
    for entry in entries:
        path = root / entry["file"]
        parts = Path(entry["file"]).parts
        language = config.language or (parts[0] if len(parts) > 1 else "")
        if "problem" in entry:
            problems.append(entry["problem"])
            continue
        tally = seconds[language]
        if (original := first_of.setdefault(entry["digest"], entry["file"])) != entry["file"]:
            tally["duplicate"] += entry["seconds"]
            problems.append(f"{path} is the same audio as {original}; it is left out.")
            continue
        recording = names[entry["file"]]
        spoken = 0.0
        for stretch in entry["stretches"]:
            length = stretch["end"] - stretch["start"]
            spoken += length
            tally[stretch["verdict"]] += length
            if stretch["verdict"] == "kept":
                name = span_name(recording, stretch["start"], stretch["end"])
                utterances.append(
                    Utterance(
                        id=name, audio=path, offset_s=stretch["start"], duration_s=round(length, 3),
                        language=language, split="train",
                        extra={"snr_db": str(stretch["snr"]), "recording": recording},
                    )
                )  # fmt: skip
        tally["silence"] += max(0.0, entry["seconds"] - spoken)
    dev = dev_ids(utterances, root, config.dev_share)
    utterances = [replace(each, split="dev") if each.id in dev else each for each in utterances]
    write_manifest(utterances, out / MANIFEST)
    (out / REPORT).write_text(report(seconds), encoding="utf-8")
    return utterances, problems


def dev_ids(utterances: Sequence[Utterance], root: Path, share: float) -> set[str]:
    """The utterances that go to dev, some of each language."""
    by_language: dict[str, dict[Path, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
    for each in utterances:
        by_language[each.language][each.audio].append(each)
    dev: list[Utterance] = []
    for files in by_language.values() if share else ():
        ranked = sorted(files, key=lambda path: _chance(_key(path, root)))
        wanted_s = share * sum(map(_seconds, files.values()))
        chosen: list[Utterance] = []
        filled_s = 0.0
        for path in ranked if len(ranked) > 1 else ():
            length_s = _seconds(files[path])
            if filled_s < wanted_s and filled_s + length_s <= MAX_OVERFILL * wanted_s:
                chosen += files[path]
                filled_s += length_s
        if not chosen:
            several = [path for path in ranked if len(files[path]) > 1]
            if several:
                chosen = _last(files[several[0]], wanted_s)
            elif len(ranked) > 1:
                chosen = min(files.values(), key=_seconds)
        dev += chosen
    return {each.id for each in dev}


def _last(utterances: Sequence[Utterance], wanted_s: float) -> list[Utterance]:
    """The last of a file's utterances that have those seconds: one at least, and not the first."""
    count = 1
    while count < len(utterances) - 1 and _seconds(utterances[-count:]) < wanted_s:
        count += 1
    return list(utterances[-count:])


def _seconds(utterances: Sequence[Utterance]) -> float:
    return sum(each.duration_s for each in utterances)


def report(seconds: dict[str, Counter[str]]) -> str:
    """Hours by language and verdict, tab-separated; every second of every readable file is in it once."""
    verdicts = ("kept", "short", "noisy", "music", "silence", "duplicate")
    lines = ["\t".join(["language", "hours", *verdicts])]
    for language, tally in sorted(seconds.items()):
        hours = [sum(tally.values()), *(tally[verdict] for verdict in verdicts)]
        lines.append("\t".join([language or "-", *(f"{value / 3600:.4f}" for value in hours)]))
    return "\n".join(lines) + "\n"


def _entries(path: Path, config: CurateConfig) -> dict[str, dict[str, Any]]:
    """Entries of a journal by file.

    Raises:
        InputError: it was begun with other settings.
    """
    head, *entries = read_journal(path) or [{}]
    if head and head.get("config") != _plain(config):
        raise InputError(
            f"{path.parent} was curated with other settings. Give another --out, or remove {path}."
        )
    return {entry["file"]: entry for entry in entries}


def _check_source(source: Path, files: Sequence[Path], out: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Refuse a source for which rows of ``out`` would go, other than those of files that are gone.

    A moved folder is known by the names of its files, a copy by their times, too.

    Raises:
        InputError: rows are of another folder.
    """
    if not (out / MANIFEST).exists():
        return
    rows = Counter(row.audio for row in read_manifest(out / MANIFEST))
    here, top = {path.resolve() for path in files}, source.resolve()
    keys = {_key(path, source): path for path in files}
    moved = any(key in entries for key in keys)
    copied = {key for key, path in keys.items() if entries.get(key, {}).get("stamp") == stamp(path)}

    def would_go(audio: Path) -> bool:
        place = audio.resolve()
        if place in here or place.is_relative_to(top):
            return False
        if not audio.exists():
            return not moved
        return copied.isdisjoint(Path(*place.parts[at:]).as_posix() for at in range(1, len(place.parts)))

    lost = [audio for audio in rows if would_go(audio)]
    if lost:
        raise InputError(
            f"{out} holds {rows.total()} rows, and {sum(rows[audio] for audio in lost)} of them would go: they are of "
            f"recordings that {source} has not, as {lost[0].resolve()}. "
            "Give another --out, or curate the folder that holds both."
        )


def _plain(config: CurateConfig) -> Any:
    """Settings that decide what a file's entry says, as JSON gives them back."""
    settings = to_mapping(config)
    for name in ("language", "dev_share"):
        del settings[name]
    return settings


def _is_done(entry: dict[str, Any], path: Path) -> bool:
    """Whether an entry holds what is in the file; one that could not be read may be readable by now."""
    return entry.get("stamp") == stamp(path) and "problem" not in entry


def _absent(path: Path) -> str:
    """Why a link's recording cannot be heard; "" where it is there."""
    if path.exists():
        return ""
    return f"{shown(path)}: a link to a file that is not there. Fetch it or mount its disk."


def _key(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix() if path != source else path.name


def _chance(name: str) -> float:
    """A number from 0 to 1 that follows from a name."""
    return int.from_bytes(_digest(name)) / 2**32


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=4).digest()
