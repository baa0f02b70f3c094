"""What recordings are called: their endings, and their names in what we print."""

from __future__ import annotations

import os

AUDIO_ENDINGS = (
    ".wav", ".flac", ".ogg", ".opus", ".oga", ".mp3", ".m4a", ".mp4", ".webm", ".aac", ".aif", ".aiff",
    ".mka", ".mkv", ".mov", ".au", ".caf", ".amr", ".wma", ".sph", ".3gp",
)  # fmt: skip
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
