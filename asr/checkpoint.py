"""Files that are whole or not there: written aside, flushed to disk, checksummed, renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lm.errors import InputError
from lm.files import sha256

SUMS = "sha256.json"


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors; shared storage is copied.

    Raises:
        InputError: they cannot be written, as on a full disk.
    """
    path.touch()
    mode = path.stat().st_mode
    try:
        copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        save_file(copies, path, metadata)
    except SafetensorError as error:
        raise InputError(
            f"{path} cannot be written ({error}). Make room on the disk, or write to another."
        ) from error
    path.chmod(mode)  # safetensors puts in its place a file that nobody else may read, whatever the umask


def put_back(folder: Path) -> None:
    """Give a folder its name again that `write_folder` had moved aside when a crash came."""
    old = folder.with_name(folder.name + ".old")
    if old.exists() and not folder.exists():
        os.rename(old, folder)


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write into, which takes its name only when all of it is on the disk.

    What stood at ``folder`` before is moved to ``.old`` and then removed. A crash at any moment
    leaves the old folder or the new one whole; where it fell between the two moves, the old one
    lies at ``.old`` and the next write puts it back first. A failure leaves nothing of the new one:
    where the disk is full, its room is needed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(folder.name + ".partial")
    old = folder.with_name(folder.name + ".old")
    put_back(folder)
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for path in sorted(partial.rglob("*")):
            if path.is_file():
                _flush(path)
        _flush(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        os.rename(folder, old)
    os.rename(partial, folder)
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def save_checkpoint(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Write a training state: groups of tensors as safetensors, everything else as JSON."""
    with write_folder(folder) as partial:
        for group, values in tensors.items():
            write_tensors(values, partial / f"{group}.safetensors")
        (partial / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        sums = {path.name: sha256(path) for path in sorted(partial.iterdir())}
        (partial / SUMS).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")


def remove_checkpoint(folder: Path) -> None:
    """Remove what `save_checkpoint` wrote."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def is_whole(folder: Path) -> bool:
    """Whether every file of a checkpoint is there as it was written."""
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        return bool(sums) and all(sha256(folder / name) == digest for name, digest in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def checkpoint_of(folder: Path, update: int) -> Path:
    """Where the checkpoint of an update lies in a folder of them."""
    return folder / f"update_{update:07d}"


def all_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of an experiment, damaged ones among them, oldest first."""
    return sorted(path for path in folder.glob("update_*") if path.is_dir() and path.suffix == "")


def whole_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of an experiment that can be resumed from, oldest first."""
    return [path for path in all_checkpoints(folder) if is_whole(path)]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
