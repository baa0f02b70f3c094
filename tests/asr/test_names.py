"""What recordings are called, and how a folder of them is looked through."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asr.names import recordings_in


def test_a_folder_is_listed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []
    iterdir = Path.iterdir

    def counted(folder: Path) -> Iterator[Path]:
        listed.append(folder)
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", counted)
    (tmp_path / "a.wav").touch()
    assert list(recordings_in(tmp_path)) == ["a"]
    (tmp_path / "b.wav").touch()  # perhaps before the clock of files ticks
    assert sorted(recordings_in(tmp_path)) == ["a", "b"]
    os.utime(tmp_path, (1, 1))
    listed.clear()
    for _ in range(3):
        assert sorted(recordings_in(tmp_path)) == ["a", "b"]
    assert listed == [tmp_path]
    (tmp_path / "a.wav").unlink()
    assert list(recordings_in(tmp_path)) == ["b"]
    assert recordings_in(tmp_path / "none") == {}
