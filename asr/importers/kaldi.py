"""A Kaldi data directory: wav.scp, text and their companions."""

from __future__ import annotations

from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.importers.base import Draft, ImportConfig, Importer, Reading, find_audio, finite, plain_gender
from lm.errors import InputError


def recognises(source: Path) -> bool:
    """A folder with wav.scp, or with folders that have one."""
    return source.is_dir() and bool(_data_folders(source))


def read(source: Path, config: ImportConfig) -> Reading:
    """Read one data directory, or one per split (data/train, data/dev: the folder names the split).

    An entry of wav.scp that is a command is refused and never run. Paths are looked for from the
    data directory, from the working folder, and in ``config.audio``.
    """
    folders = _data_folders(source)
    if not folders:
        raise InputError(f"{source} has no wav.scp. Give a Kaldi data directory, or a folder of them.")
    drafts: list[Draft] = []
    problems: list[str] = []
    for folder in folders:
        _read_folder(folder, "" if folder == source else folder.name, config, drafts, problems)
    return Reading(drafts, problems)


def _read_folder(
    folder: Path, split: str, config: ImportConfig, drafts: list[Draft], problems: list[str]
) -> None:
    recordings = _recordings(folder, config, problems)
    commanded = _commanded(folder)
    texts = _pairs(folder / "text")
    speakers = _pairs(folder / "utt2spk")
    genders = _pairs(folder / "spk2gender")
    languages = _pairs(folder / "utt2lang")
    for name, (recording, start, end) in _spans(folder, problems).items():
        if recording not in recordings:
            if recording not in commanded:  # those were reported once, with the entry
                problems.append(
                    f"{folder}: {name} is in {recording!r}, which wav.scp lacks or has no file for."
                )
            continue
        speaker = speakers.get(name, "")
        drafts.append(
            Draft(
                name=name,
                audio=recordings[recording],
                start=start,
                end=end,
                text=one_line(texts.get(name, "")),
                language=languages.get(name, ""),
                speaker=speaker,
                gender=plain_gender(genders.get(speaker, "")),
                split=split,
                extra={"recording": recording},
            )
        )


def _recordings(folder: Path, config: ImportConfig, problems: list[str]) -> dict[str, Path]:
    """Recording to file; what is no plain file is reported."""
    bases = [config.audio] if config.audio else []
    bases += [folder, Path()]
    found: dict[str, Path] = {}
    for recording, entry in _pairs(folder / "wav.scp").items():
        where = f"{folder / 'wav.scp'}: {recording}"
        if _is_command(entry):
            problems.append(
                f"{where} is a command, which we never run: {entry[:60]!r}. "
                "Run it yourself if you trust it, and name the file it wrote."
            )
            continue
        audio = find_audio(entry, bases)
        if audio is None:
            problems.append(f"{where}: no file {entry!r}. Say where the audio lies with --audio FOLDER.")
            continue
        found[recording] = audio
    return found


def _commanded(folder: Path) -> set[str]:
    return {recording for recording, entry in _pairs(folder / "wav.scp").items() if _is_command(entry)}


def _is_command(entry: str) -> bool:
    return entry.endswith("|") or entry.startswith("|")


def _spans(folder: Path, problems: list[str]) -> dict[str, tuple[str, float, float | None]]:
    """Utterance to recording, start and end; without ``segments`` every recording is an utterance."""
    path = folder / "segments"
    if not path.is_file():
        return {recording: (recording, 0.0, None) for recording in _pairs(folder / "wav.scp")}
    spans: dict[str, tuple[str, float, float | None]] = {}
    for name, rest in _pairs(path).items():
        cells = rest.split()
        try:
            recording, start, end = cells[0], finite(cells[1]), finite(cells[2])
        except (IndexError, ValueError):
            problems.append(
                f"{path}: {name} {rest!r}. A line is `utterance recording start end`, in seconds."
            )
            continue
        spans[name] = (recording, start, None if end < 0 else end)  # -1 is Kaldi's "to the end"
    return spans


def _pairs(path: Path) -> dict[str, str]:
    """First word of each line to the rest of it; empty when there is no such file."""
    if not path.is_file():
        return {}
    pairs: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        key, _, rest = line.strip(" \t\r").replace("\t", " ").partition(" ")
        if key in pairs:
            raise InputError(
                f"{path}, line {number}: {key!r} occurs twice. Run Kaldi's utils/fix_data_dir.sh."
            )
        if key:
            pairs[key] = rest.strip()
    return pairs


def _data_folders(source: Path) -> list[Path]:
    if (source / "wav.scp").is_file():
        return [source]
    return sorted(path.parent for path in source.glob("*/wav.scp"))


IMPORTER = Importer(
    form="kaldi",
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
    certain=True,
)
