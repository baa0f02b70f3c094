"""Reading and writing whole text files, with errors that a user can act on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Set
from pathlib import Path

from asr.names import shown
from lm.errors import InputError, remedy_of


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: it is missing, a folder, or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(path)}: {error.strerror}. Give the path of a readable file.") from error


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark.

    Raises:
        InputError: unreadable, or not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown(path)} is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from error


def keep_inputs(path: Path, inputs: Set[Path], option: str = "--out") -> None:
    """Keep what a command reads from being written over.

    Args:
        inputs: resolved, as they may go by several names.
        option: which gives the path.
    Raises:
        InputError: the path is one of them.
    """
    if path.resolve() in inputs:
        raise InputError(
            f"{shown(path)} is one of the inputs, and is kept in any case. Give another {option}."
        )


def write_whole(path: Path, pieces: Iterable[bytes], *, overwrite: bool) -> Path:
    """Write a file whole or not at all, making its folder.

    Args:
        pieces: what is to be in it, one after the other; they are never held together.
    Raises:
        InputError: the file exists and may not be replaced, its folder cannot be written, or the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        if path.is_dir():
            raise InputError(f"{shown(path)} is a folder. Give the name of a file in it.")
        if path.exists() and not overwrite:
            raise InputError(
                f"{shown(path)} exists and is kept. Replace it with --overwrite (overwrite=True)."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as stream:
                stream.writelines(pieces)
            os.replace(partial, path)
        finally:  # after an error or Ctrl-C; gone already when all went well
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{shown(path)} cannot be written: {error.strerror}. "
            + remedy_of(error, "Choose a folder you may write to.")
        ) from error
    return path
