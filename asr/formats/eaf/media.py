"""The recording that belongs to an ELAN file: naming it and finding it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from asr.formats.clean import one_line
from asr.formats.eaf.document import EafDocument, EafMedia
from asr.names import MEDIA_TYPES, composed, find_file, recordings_in


def find_media(document: EafDocument, eaf_path: str | Path, *folders: Path) -> Path | None:
    """The recording of an ELAN file, or None.

    Tried in turn, films last: RELATIVE_MEDIA_URL; a file named like the media (MEDIA_URL is a path on
    another person's machine, its last part is all that is of use); the media's, then the ELAN
    file's name with the ending of any recording. Names may be composed or not.

    Args:
        folders: where to look before the ELAN file's own folder.
    """
    eaf_path = Path(eaf_path)
    folders = (*folders, eaf_path.parent)
    media = sound_first(document.media)
    relative = [each.relative_url for each in media if each.relative_url]
    names = [_last_part(url) for each in media for url in (each.relative_url, each.url) if url]
    candidates = [base / path for base in folders for url in relative for path in _as_paths(url)]
    candidates += [base / path for base in folders for name in names for path in _as_paths(name)]
    for candidate in candidates:
        if (found_file := _recording(candidate)) is not None:
            return found_file
    stems = [*dict.fromkeys(Path(path).stem for name in names for path in _as_paths(name)), eaf_path.stem]
    for base in folders:
        found = recordings_in(base)
        for stem in stems:
            if composed(stem) in found:
                return found[composed(stem)]
    return None


def sound_first(media: Iterable[EafMedia]) -> list[EafMedia]:
    """The media in their order, films last: a film beside a recording of its sound is often silent."""
    return sorted(media, key=lambda each: _kind(each.relative_url or each.url).startswith("video/"))


def origin_of(document: EafDocument, audio: str | Path) -> float:
    """Where in a recording the time 0 of an ELAN file lies, in seconds: what its times are short of.

    ELAN keeps an offset with each recording that it shows (TIME_ORIGIN), so that several fit together.
    It is that of the media with this name, of the name without ending, or else of the first.
    """
    name = composed(Path(audio).name)
    named = [(composed(_last_part(path)), each) for each in document.media
             for url in (each.relative_url, each.url) if url for path in _as_paths(url)]  # fmt: skip
    same = [each for other, each in named if other == name]
    same += [each for other, each in named if Path(other).stem == Path(name).stem]
    return next((each.origin_s for each in (*same, *document.media)), 0.0)


def media_urls(audio: Path, folder: Path | None) -> tuple[str, str]:
    """MEDIA_URL and RELATIVE_MEDIA_URL of a recording for an ELAN file in ``folder`` (None: beside it).

    ELAN strips ``file:`` and opens what is left as it stands, without decoding ``%20``; so
    spaces and letters are written as they are, which is how ELAN writes them.
    """
    absolute = os.path.abspath(audio).replace(os.sep, "/")
    try:
        relative = os.path.relpath(absolute, folder if folder is not None else os.path.dirname(absolute))
    except ValueError:  # another drive
        relative = os.path.basename(absolute)
    relative = relative.replace(os.sep, "/")
    if not relative.startswith("../"):
        relative = "./" + relative
    return one_line("file:///" + absolute.lstrip("/")), one_line(relative)


def mime_type(audio: Path) -> str:
    """The MIME type by the file's ending; "unknown", ELAN's own word, for others."""
    return _kind(audio.name)


def _kind(url: str) -> str:
    return MEDIA_TYPES.get(PurePosixPath(url).suffix.lower(), "unknown")


def _as_paths(url: str) -> list[str]:
    """The path as ELAN writes it, and decoded as a URL ought to be."""
    path = url.removeprefix("file:").replace("\\", "/")
    return list(dict.fromkeys([path, unquote(path)]))


def _last_part(url: str) -> str:
    return PurePosixPath(url.replace("\\", "/")).name


def _recording(path: Path) -> Path | None:
    return find_file(path) if path.suffix.lower() in MEDIA_TYPES else None
