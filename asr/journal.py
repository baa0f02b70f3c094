"""What a long run found, entry by entry in a file, so that one that was stopped or killed goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TextIO


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The entries in order; a last line that a crash cut short is dropped from the file."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    whole = b"".join(line + b"\n" for line in lines[:-1])
    if lines[-1]:
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def append_entry(journal: TextIO, entry: dict[str, Any]) -> None:
    """Write an entry so that it outlives the process and the power."""
    journal.write(json.dumps(entry, ensure_ascii=False) + "\n")
    journal.flush()
    os.fsync(journal.fileno())


def stamp(path: Path) -> list[int]:
    """Size and time of a file: another one under the same name is heard again."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
