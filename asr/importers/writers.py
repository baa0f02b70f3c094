"""The way back: a manifest written in another toolkit's form."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from asr import audio
from asr.formats.files import keep_inputs, write_whole
from asr.frames import SAMPLE_RATE
from asr.importers.base import safe_id, unique_name
from asr.manifest import COLUMNS, Utterance
from asr.names import shown
from lm.errors import InputError

Files = dict[Path, list[str]]
"""The lines of each file that is to be written."""
_NO_NAME = re.compile(r"[|;&$`<>]|:[0-9]+$|\]$")
"""What is more than a name in wav.scp. Kaldi runs an entry that ends in ``|``, reads one that ends in ``:12`` from that
byte, and takes ``]`` for the end of a range; its scripts put paths into commands, where a shell finds the others."""


def export_corpus(
    utterances: Sequence[Utterance],
    form: str,
    out: str | Path,
    *,
    overwrite: bool = False,
    inputs: Iterable[Path] = (),
) -> list[Path]:
    """Write utterances as ``kaldi`` (a data directory per split), ``fairseq`` (files per split) or ``csv``.

    Args:
        overwrite: replace files of an earlier export.
        inputs: files that are never replaced, as the manifest that the utterances are from.
    Returns:
        the files or folders written.
    Raises:
        InputError: unknown form, something that the form cannot express, or a file exists; nothing is written then.
    """
    out = Path(out)
    by_split: dict[str, list[Utterance]] = defaultdict(list)
    for each in utterances:
        by_split[each.split or "all"].append(each)
    files: Files = {}
    if form == "kaldi":
        for split, members in by_split.items():
            files |= _kaldi(members, out / split)
    elif form == "fairseq":
        for split, members in by_split.items():
            files |= _fairseq(members, out, split)
    elif form == "csv":
        files = {out: _csv(utterances)}
    else:
        raise InputError(f"There is no export to {form!r}. Choose kaldi, fairseq or csv.")
    inputs = [*inputs, *{each.audio for each in utterances}]
    for path in files:
        check_replaceable(path, overwrite=overwrite, inputs=inputs, is_ours=_OURS[form])
    for path, lines in files.items():
        _write(path, lines)
    return [out / split for split in by_split] if form == "kaldi" else list(files)


def check_replaceable(
    path: Path, *, overwrite: bool, inputs: Iterable[Path], is_ours: Callable[[Path], bool]
) -> None:
    """Keep a file that is there, unless it may be replaced and is of the kind that is written.

    Args:
        inputs: what the command reads; never replaced.
        is_ours: whether a file is of that kind.
    Raises:
        InputError: it is kept.
    """
    if path.is_dir():
        raise InputError(f"{shown(path)} is a folder. Give the name of a file in it.")
    if not path.exists():
        return
    if not overwrite:
        raise InputError(
            f"{shown(path)} exists and is kept. Give --overwrite to replace it or another --out."
        )
    keep_inputs(path, {each.resolve() for each in inputs})
    if not is_ours(path):
        raise InputError(
            f"{shown(path)} is of another kind than what is written, and is kept in any case. "
            "Give another --out."
        )


def _begins(path: Path, fits: Callable[[str], bool]) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return fits(file.readline())
    except (OSError, UnicodeDecodeError):
        return False


_OURS: dict[str, Callable[[Path], bool]] = {
    # Kaldi's files have no mark but their names, which are Kaldi's.
    "kaldi": lambda path: _begins(path, lambda line: True),
    # A table of another's has several columns in its first line; fairseq's has the root alone.
    "fairseq": lambda path: _begins(path, lambda line: path.suffix != ".tsv" or "\t" not in line),
    "csv": lambda path: _begins(path, lambda line: line.startswith(",".join(COLUMNS))),
}
"""Of each form, whether a file that is there may be of an earlier export."""


def _kaldi(utterances: Sequence[Utterance], folder: Path) -> Files:
    """wav.scp, segments, text, utt2spk, spk2utt, spk2gender and utt2lang, each sorted as by LC_ALL=C.

    Kaldi's tools want utterances in the same order by id and by speaker. So ids begin with the speaker's
    and a hyphen, which sorts before all else that an id may have; those that do not get them put before.
    """
    tables: dict[str, dict[str, str]] = {
        name: {} for name in ("wav.scp", "segments", "text", "utt2spk", "utt2lang")
    }
    genders: dict[str, str] = {}
    spoken: dict[str, list[str]] = defaultdict(list)
    recordings = _recording_names(utterances)
    for each in utterances:
        path = os.path.abspath(each.audio)
        if any(char.isspace() for char in path):
            raise InputError(f"{path}: Kaldi's tools split paths at spaces. Rename the file or folder.")
        if found := _NO_NAME.search(path):
            raise InputError(
                f"{shown(path)}: Kaldi's tools take {found[0]!r} in a path for more than a name, and may run what "
                "stands there. Rename the file or folder."
            )
        speaker = safe_id(each.speaker) if each.speaker else safe_id(each.id)
        name = safe_id(each.id)
        name = name if name == speaker or name.startswith(f"{speaker}-") else f"{speaker}-{name}"
        if name in tables["utt2spk"]:
            raise InputError(
                f"{each.id}: its id is the same as another's in Kaldi's form. Rename one of them."
            )
        recording = recordings[each.audio]
        tables["wav.scp"][recording] = path
        end = each.offset_s + each.duration_s
        tables["segments"][name] = f"{recording} {each.offset_s:.3f} {end:.3f}"
        if each.text:
            tables["text"][name] = each.text
        tables["utt2spk"][name] = speaker
        spoken[speaker].append(name)
        if each.language:
            tables["utt2lang"][name] = each.language
        if each.gender.lower() in ("f", "m"):
            genders[speaker] = each.gender.lower()
    speakers = tables["utt2spk"]
    if 0 < len(tables["text"]) < len(speakers):
        raise InputError(
            f"{shown(folder.name)}: {len(speakers) - len(tables['text'])} of {len(speakers)} utterances have no "
            "text, and Kaldi's tools want all or none to have it. Take those rows out, or give them a split of "
            "their own."
        )
    by_id = sorted(speakers, key=str.encode)
    by_speaker = sorted(by_id, key=lambda name: speakers[name].encode())
    for name, other in zip(by_id, by_speaker, strict=True):
        if name != other:
            raise InputError(
                f"{shown(folder.name)}: the speaker {speakers[name]!r} is called as {speakers[other]!r} with a "
                "hyphen and more, so that Kaldi's tools cannot sort them. Rename one of them."
            )
    tables["spk2utt"] = {
        speaker: " ".join(sorted(names, key=str.encode)) for speaker, names in spoken.items()
    }
    tables["spk2gender"] = genders
    return {
        folder / file: [f"{key} {pairs[key]}" for key in sorted(pairs, key=str.encode)]
        for file, pairs in tables.items()
        if pairs
    }


def _recording_names(utterances: Iterable[Utterance]) -> dict[Path, str]:
    """A name for each file: its stem, with a number where several have it or are called so already."""
    stems = {path: safe_id(path.stem) for path in sorted({each.audio for each in utterances})}
    counts = Counter(stems.values())
    # A stem that one file alone has is its name, so those come first.
    paths = sorted(stems, key=lambda path: counts[stems[path]])
    taken: dict[str, int] = {}
    return {path: unique_name(stems[path], taken) for path in paths}


def _fairseq(utterances: Sequence[Utterance], folder: Path, split: str) -> Files:
    """``split``.tsv, .wrd and .ltr, line by line, and dict.ltr.txt where the split is train."""
    root = Path(os.path.commonpath([os.path.abspath(each.audio.parent) for each in utterances]))
    rows, words, letters = [str(root)], [], []
    symbols: dict[str, int] = defaultdict(int)
    for each in utterances:
        info = audio.probe(each.audio)
        length = info.header_duration_s or audio.measure(each.audio)
        if each.offset_s or abs(length - each.duration_s) > 0.1:
            raise InputError(
                f"{each.id} is a part of {each.audio}; fairseq's form has whole files only. Cut it first."
            )
        if info.sample_rate != SAMPLE_RATE or info.num_channels != 1:
            raise InputError(
                f"{each.audio} has {info.sample_rate} Hz and {info.num_channels} channel(s); fairseq reads "
                f"mono at {SAMPLE_RATE} Hz. Convert it with `ffmpeg -i OLD -ac 1 -ar {SAMPLE_RATE} NEW.flac`."
            )
        rows.append(f"{os.path.relpath(os.path.abspath(each.audio), root)}\t{round(length * SAMPLE_RATE)}")
        text = " ".join(each.text.split())
        spelt = [*text.replace(" ", "|"), "|"] if text else []
        words.append(text)
        letters.append(" ".join(spelt))
        for symbol in spelt:
            symbols[symbol] += 1
    files = {
        folder / f"{split}.tsv": rows,
        folder / f"{split}.wrd": words,
        folder / f"{split}.ltr": letters,
    }
    if split == "train":
        ranked = sorted(symbols, key=lambda symbol: (-symbols[symbol], symbol))
        files[folder / "dict.ltr.txt"] = [f"{symbol} {symbols[symbol]}" for symbol in ranked]
    return files


def _csv(utterances: Sequence[Utterance]) -> list[str]:
    """A table with the manifest's columns, quoted as spreadsheets do; audio paths are absolute."""
    extra = sorted({name for each in utterances for name in each.extra})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *extra])
    for each in utterances:
        known = [getattr(each, name) for name in COLUMNS if name != "audio"]
        known.insert(COLUMNS.index("audio"), os.path.abspath(each.audio))
        writer.writerow([*known, *(each.extra.get(name, "") for name in extra)])
    # Not where else a line may end: a text may have such signs.
    return text.getvalue().removesuffix("\n").split("\n")


def _write(path: Path, lines: Iterable[str]) -> None:
    write_whole(path, ((line + "\n").encode() for line in lines), overwrite=True)
