"""A folder is whole or not there."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from asr.checkpoint import is_whole, put_back, save_checkpoint, whole_checkpoints, write_folder
from lm.errors import InputError


def test_a_crash_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    with write_folder(tmp_path / "model") as partial:
        (partial / "a").write_text("old")

    def crash() -> None:
        with write_folder(tmp_path / "model") as partial:
            (partial / "a").write_text("new")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        crash()
    assert (tmp_path / "model" / "a").read_text() == "old"
    with write_folder(tmp_path / "model") as partial:
        (partial / "b").write_text("newer")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_crash_left_aside_is_put_back_before_anything_is_removed(tmp_path: Path) -> None:
    """It is the only whole folder, and the next write fails, too."""
    (tmp_path / "model.old").mkdir()
    (tmp_path / "model.old" / "a").write_text("old")
    with pytest.raises(RuntimeError, match="full disk"), write_folder(tmp_path / "model"):
        raise RuntimeError("full disk")
    assert (tmp_path / "model" / "a").read_text() == "old"


@pytest.mark.parametrize("move", ["model", "model.partial"])
def test_a_crash_before_either_move_keeps_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
    with write_folder(tmp_path / "model") as partial:
        (partial / "a").write_text("old")

    def rename(source: Path, target: Path, real: Callable[[Path, Path], None] = os.rename) -> None:
        if source.name == move:
            raise KeyboardInterrupt
        real(source, target)

    def write() -> None:
        with write_folder(tmp_path / "model") as partial:
            (partial / "a").write_text("new")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            write()
    put_back(tmp_path / "model")
    assert (tmp_path / "model" / "a").read_text() == "old"


def test_a_full_disk_is_told_and_given_back(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match=r"weights\.safetensors cannot be written .*Make room"):
            save_checkpoint(tmp_path / "update_1", {"weights": {"w": torch.zeros(999)}}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_files_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_checkpoint(tmp_path / "update_1", {"weights": {"w": torch.zeros(9)}}, {})
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "update_1").iterdir()]
    assert modes == [0o644] * 3


def test_an_altered_or_cut_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for update in (1, 2, 3):
        save_checkpoint(
            tmp_path / f"update_{update:07d}",
            {"weights": {"w": torch.full((9,), update)}},
            {"update": update},
        )
    assert len(whole_checkpoints(tmp_path)) == 3
    newest = tmp_path / "update_0000003" / "weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:-4])
    (tmp_path / "update_0000002" / "state.json").unlink()
    assert [path.name for path in whole_checkpoints(tmp_path)] == ["update_0000001"]
    assert not is_whole(tmp_path / "none")


def test_kill_at_any_moment_leaves_whole_checkpoints(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from asr.checkpoint import save_checkpoint\n"
        "for update in range(10**6):\n"
        "    tensors = {'weights': {'w': torch.full((20000,), update)}}\n"
        "    save_checkpoint(Path(sys.argv[1]) / f'update_{update % 3:07d}', tensors, {'update': update})\n"
        "    print(update, flush=True)\n"
    )
    for wait in (0.0, 0.013, 0.031):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        while int(process.stdout.readline()) < 4:
            pass
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        found = [path for path in tmp_path.glob("update_*") if path.suffix == ""]
        assert len(found) >= 2
        assert whole_checkpoints(tmp_path) == sorted(found)
