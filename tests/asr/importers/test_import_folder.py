"""A folder of recordings with texts beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asr.importers import ImportConfig, import_corpus

Make = Callable[..., Path]


def test_pairs_are_read_and_lone_files_are_reported(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "día 1" / "a.wav", 1.5)
    (tmp_path / "día 1" / "a.txt").write_text("\ufeffñuka\nwasi \n", encoding="utf-8")
    make_audio(tmp_path / "b.flac")
    (tmp_path / "c.txt").write_text("no recording", encoding="utf-8")
    (tmp_path / ".d.wav").write_bytes(b"hidden")
    imported = import_corpus(tmp_path)
    (only,) = imported.utterances
    assert only.id == "día_1_a"
    assert only.text == "ñuka wasi"
    assert only.duration_s == pytest.approx(1.5)
    assert ["b.flac" in imported.problems[0], "c.txt" in imported.problems[1]] == [True, True]
    assert len(imported.problems) == 2


def test_a_text_that_is_not_utf8_is_reported_and_the_rest_goes_on(tmp_path: Path, make_audio: Make) -> None:
    for name in "ab":
        make_audio(tmp_path / f"{name}.wav")
    (tmp_path / "a.txt").write_bytes("ñ".encode("latin-1"))
    (tmp_path / "b.txt").write_text("good", encoding="utf-8")
    imported = import_corpus(tmp_path, "folder")
    assert [each.text for each in imported.utterances] == ["good"]
    assert "UTF-8" in imported.problems[0]


def test_a_bad_recording_is_reported_with_its_reason(tmp_path: Path, make_audio: Make) -> None:
    whole = make_audio(tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: len(whole) // 2])
    make_audio(tmp_path / "b.flac")
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("text", encoding="utf-8")
    imported = import_corpus(tmp_path)
    assert [each.id for each in imported.utterances] == ["b"]
    assert len(imported.problems) == 1
    assert "a.flac" in imported.problems[0]


def test_speakers_come_from_the_path_by_a_pattern(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "maria" / "1.wav")
    (tmp_path / "maria" / "1.txt").write_text("text", encoding="utf-8")
    imported = import_corpus(tmp_path, config=ImportConfig(speaker_pattern=r"^(\w+)/"))
    assert imported.utterances[0].speaker == "maria"
