"""Kaldi data directories, and the commands in them that must not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asr.importers import import_corpus

Make = Callable[..., Path]


def test_segments_speakers_and_an_open_end(tmp_path: Path, make_audio: Make) -> None:
    folder = tmp_path / "data" / "train"
    make_audio(folder / "r1.wav", 4.0)
    (folder / "wav.scp").write_text(f"r1 {folder / 'r1.wav'}\n")
    (folder / "segments").write_text("s1-b r1 2.5 -1\ns1-a r1 0.25 1.75\n")
    (folder / "text").write_text("s1-a ñuka wasi\ns1-b sumak\n", encoding="utf-8")
    (folder / "utt2spk").write_text("s1-a s1\ns1-b s1\n")
    (folder / "spk2gender").write_text("s1 f\n")
    (folder / "utt2lang").write_text("s1-a qu\ns1-b qu\n")
    imported = import_corpus(tmp_path / "data")
    assert imported.problems == []
    by_id = {each.id: each for each in imported.utterances}
    assert by_id["s1-b"].duration_s == pytest.approx(1.5)
    first = by_id["s1-a"]
    assert (first.offset_s, first.duration_s, first.text) == (0.25, 1.5, "ñuka wasi")
    assert (first.speaker, first.gender, first.language, first.split) == ("s1", "F", "qu", "train")


def test_times_are_finite(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "r1.wav")
    (tmp_path / "wav.scp").write_text(f"r1 {tmp_path / 'r1.wav'}\n")
    (tmp_path / "segments").write_text("a r1 nan 1\nb r1 0 nan\nc r1 0 inf\nd r1 0.25 0.5\n")
    imported = import_corpus(tmp_path)
    assert [each.id for each in imported.utterances] == ["d"]
    assert len(imported.problems) == 3


def test_commands_in_wav_scp_are_refused_and_never_run(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "ok.wav")
    witness = tmp_path / "ran"
    entries = [f"bad1 touch {witness} |", f"bad2 touch {witness}|", f"bad3 | touch {witness}", "ok ok.wav"]
    (tmp_path / "wav.scp").write_text("\n".join(entries) + "\n")
    (tmp_path / "text").write_text("bad1 x\nbad2 x\nbad3 x\nok fine\n")
    imported = import_corpus(tmp_path)
    assert [each.text for each in imported.utterances] == ["fine"]
    assert len(imported.problems) == 3
    assert all("never run" in problem for problem in imported.problems)
    assert not witness.exists()
