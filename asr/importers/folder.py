"""A folder of recordings, each with its text in a file of the same name ending in .txt."""

from __future__ import annotations

from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.importers.base import Draft, ImportConfig, Importer, Reading, find_files, place_below, stem_below
from asr.names import AUDIO_ENDINGS, find_file
from lm.errors import InputError


def recognises(source: Path) -> bool:
    """A folder with a recording and a text of the same name."""
    if not source.is_dir():
        return False
    return any(find_file(path.with_suffix(".txt")) for path in find_files(source, *AUDIO_ENDINGS))


def read(source: Path, config: ImportConfig) -> Reading:
    """Pair recordings and texts by their place below the folder; report those without a partner.

    With ``config.audio`` the recordings lie in another folder, in the same sub-folders.
    """
    if not source.is_dir():
        raise InputError(f"{source} is not a folder. Give the folder that holds the recordings and texts.")
    audio_folder = config.audio or source
    texts = {place_below(path, source): path for path in find_files(source, ".txt")}
    drafts, problems = [], []
    paired: dict[Path, Path] = {}
    for audio in find_files(audio_folder, *AUDIO_ENDINGS):
        stem = place_below(audio, audio_folder)
        if stem in paired:
            problems.append(
                f"{audio}: {paired[stem].name} has the same text. Keep one of the two recordings."
            )
        elif stem not in texts:
            problems.append(
                f"{audio}: no text beside it. Write it to {stem.name}.txt, or remove the recording."
            )
        else:
            paired[stem] = audio
            try:
                text = one_line(read_text(texts[stem]))
            except InputError as error:
                problems.append(str(error))
                continue
            drafts.append(Draft(name=stem_below(audio, audio_folder), audio=audio, text=text))
    for stem in sorted(set(texts) - set(paired)):
        problems.append(
            f"{texts[stem]}: no recording of that name in {audio_folder}. Add it, or remove the text."
        )
    return Reading(drafts, problems)


IMPORTER = Importer(
    form="folder",
    recognises=recognises,
    read=read,
    options=frozenset({"audio"}),
)
