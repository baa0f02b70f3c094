"""A manifest of our own form: copied, its durations measured."""

from __future__ import annotations

from pathlib import Path

from asr.importers.base import Draft, ImportConfig, Importer, Reading
from asr.manifest import is_manifest, read_manifest


def recognises(source: Path) -> bool:
    """A .tsv file with our columns, or a folder with ``manifest.tsv``."""
    return is_manifest(_manifest_of(source))


def read(source: Path, config: ImportConfig) -> Reading:
    """Rows as they are, but a row that has a whole file to itself gets the file's measured length."""
    manifest = _manifest_of(source)
    utterances = read_manifest(manifest, corpus=config.audio or "")
    rows_of: dict[Path, int] = {}
    for utterance in utterances:
        rows_of[utterance.audio] = rows_of.get(utterance.audio, 0) + 1
    drafts, problems = [], []
    for each in utterances:
        if not each.audio.is_file():
            problems.append(
                f"{each.audio}: no such file, for {each.id}. Say where the audio lies with --audio FOLDER."
            )
            continue
        # the only row of a file, from its beginning: if it comes near the end, its length is ours to measure
        whole = each.offset_s == 0 and rows_of[each.audio] == 1
        drafts.append(
            Draft(
                name=each.id,
                audio=each.audio,
                start=each.offset_s,
                end=each.offset_s + each.duration_s,
                to_end=whole,
                text=each.text,
                translation=each.translation,
                language=each.language,
                translation_language=each.translation_language,
                speaker=each.speaker,
                gender=each.gender,
                split=each.split,
                extra=each.extra,
            )
        )
    return Reading(drafts, problems)


def _manifest_of(source: Path) -> Path:
    return source / "manifest.tsv" if source.is_dir() else source


IMPORTER = Importer(
    form="manifest",
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
    file_of=_manifest_of,
    certain=True,
)
