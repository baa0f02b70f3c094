"""What recordings are called: their endings, their names on disk, their names in what we print; and what we tell."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

MEDIA_TYPES = {
    ".wav": "audio/x-wav",  # ELAN's own name for it
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".aif": "audio/x-aiff",
    ".aiff": "audio/x-aiff",
    ".au": "audio/basic",
    ".caf": "audio/x-caf",
    ".sph": "audio/x-nist",
    ".w64": "audio/x-w64",
    ".wv": "audio/x-wavpack",
    ".amr": "audio/amr",
    ".wma": "audio/x-ms-wma",
    ".mka": "audio/x-matroska",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".mts": "video/mp2t",
    ".m2ts": "video/mp2t",
    ".wmv": "video/x-ms-wmv",
    ".3gp": "video/3gpp",
}
"""Endings of recordings with their MIME types, those without video first: the order they are looked for in."""

AUDIO_ENDINGS = tuple(MEDIA_TYPES)
"""Endings of the files that a folder is searched for; a file that is named may have any."""


def shown(path: str | os.PathLike[str]) -> str:
    r"""The path as a message names it: on one line and unambiguous, whatever its characters.

    Letters of every script stay as they are; line breaks, control characters, marks that turn the
    direction of writing and undecodable bytes are escaped.

    >>> print(shown("été 1.wav"), shown("a\nb.wav"))
    été 1.wav 'a\nb.wav'
    """
    name = os.fspath(path)
    return name if name.isprintable() and name.strip() == name and name else repr(name)


@lru_cache
def tell_once(line: str) -> None:
    """Say something of a file on stderr, once: its utterances may be read one by one."""
    print(line, file=sys.stderr)


def given_path(text: str | os.PathLike[str]) -> Path:
    """The path that a user means, whose ``~`` is the home folder: a shell leaves it in ``--out=~/x`` and YAML anywhere.

    What begins with another ``~``, as files of office programs do, stays as it is.
    """
    return Path(os.path.expanduser(text))


def misnamed(path: str | os.PathLike[str]) -> str:
    r"""Why a manifest cannot hold the path, as a whole line of a report; "" where it can.

    >>> misnamed("été.wav"), misnamed("a\tb.wav")
    ('', "'a\\tb.wav': its name has a tab or line break. Rename it.")
    """
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"{os.fsencode(name)!r}: its name is not UTF-8. Rename it."
    if any(mark in name for mark in "\t\n\r"):
        return f"{shown(name)}: its name has a tab or line break. Rename it."
    return ""


def composed(name: str) -> str:
    """The name, or any text, with its letters composed (NFC): macOS and some archives take them apart (NFD).

    >>> composed("e\\u0301") == "\\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def find_file(path: Path) -> Path | None:
    """The file of that name, or else the one in its folder whose name is the same when both are composed."""
    try:
        if path.is_file():
            return path
        if path.name.isascii():
            return None
        other = _composed_names(path.parent, _state(path.parent)).get(composed(path.name))
        return path.parent / other if other and (path.parent / other).is_file() else None
    except (OSError, ValueError):  # no such folder, too long a name, a null in it
        return None


def recordings_in(folder: Path) -> Mapping[str, Path]:
    """The recordings in a folder by composed name without ending; of several, the first kind of `AUDIO_ENDINGS`."""
    try:
        return _recordings(folder, _state(folder))
    except OSError:
        return {}


def _state(folder: Path) -> int:
    """A number that stays the same while nothing is added to a folder and nothing removed, for a cache.

    A clock of files ticks in up to two seconds: a folder that was changed just now may change again without a
    new time, so that it has a number of its own each time.
    """
    now_ns, changed_ns = time.time_ns(), folder.stat().st_mtime_ns
    return changed_ns if now_ns - changed_ns > 2_000_000_000 else now_ns


@lru_cache(maxsize=64)
def _recordings(folder: Path, state: int) -> dict[str, Path]:
    """What `recordings_in` finds in a folder in this state; a corpus asks for it with each of its annotation files."""
    found = [
        path for path in folder.iterdir() if path.suffix.lower() in AUDIO_ENDINGS and os.path.isfile(path)
    ]
    found.sort(key=lambda path: (AUDIO_ENDINGS.index(path.suffix.lower()), path.name), reverse=True)
    return {composed(path.stem): path for path in found}


@lru_cache(maxsize=64)
def _composed_names(folder: Path, state: int) -> dict[str, str]:
    """The names in a folder in this state by their composed form."""
    return {composed(name): name for name in sorted(os.listdir(folder), reverse=True)}
