"""Choosing a format by name and ending, and writing files safely."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from format_cases import plain_transcript

from asr.formats import FORMAT_NAMES, READERS, WRITERS, format_named, read_transcript, write_transcript
from asr.formats.clean import one_line
from asr.transcript import TranscriptSegment, Word
from lm.errors import InputError


def test_every_format_that_is_written_is_read() -> None:
    assert tuple(READERS) == tuple(WRITERS) == FORMAT_NAMES
    assert set(FORMAT_NAMES) == {"txt", "json", "srt", "vtt", "tsv", "ctm", "stm", "TextGrid", "eaf"}


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_the_ending_picks_the_writer_and_the_words_come_back(name: str, tmp_path: Path) -> None:
    path = plain_transcript().save(tmp_path / f"talk.{name.upper()}")
    back = read_transcript(path)
    assert " ".join(back.text.split()) == "kunan puncha ari"
    assert back.recording == "talk"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_format_is_found_in_any_case_and_a_misspelt_one_is_suggested() -> None:
    assert format_named("TEXTGRID") == "TextGrid"
    with pytest.raises(InputError, match=r"'texgrid'.*Did you mean 'TextGrid'.*txt, json, srt"):
        format_named("texgrid")


@pytest.mark.parametrize("name", ["talk.docx", "talk", "talk."])
def test_an_unknown_ending_is_refused_with_the_list(name: str, tmp_path: Path) -> None:
    for attempt in (lambda path: write_transcript(plain_transcript(), path), read_transcript):
        with pytest.raises(InputError, match="txt, json, srt, vtt, tsv, ctm, stm, TextGrid, eaf"):
            attempt(tmp_path / name)


def test_an_existing_file_is_kept_unless_overwriting(tmp_path: Path) -> None:
    path = tmp_path / "talk.srt"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"exists.*--overwrite"):
        write_transcript(plain_transcript(), path)
    assert path.read_text() == "mine"
    assert write_transcript(plain_transcript(), path, overwrite=True) == path
    assert "kunan" in path.read_text()


@pytest.mark.parametrize("name", ["json", "TextGrid", "eaf"])
def test_the_file_of_a_long_recording_is_never_held_whole(name: str, tmp_path: Path) -> None:
    words = tuple(Word(text="puncha", start=s / 4, end=(s + 1) / 4, confidence=0.5) for s in range(12))
    segment = TranscriptSegment(start=0.0, end=3.0, text=" ".join(["puncha"] * 12), words=words)
    many = tuple(
        replace(
            segment,
            start=s,
            end=s + 3.0,
            words=tuple(replace(w, start=s + w.start, end=s + w.end) for w in words),
        )
        for s in range(0, 3000, 4)
    )
    transcript = replace(plain_transcript(), duration=3000.0, segments=many)
    tracemalloc.start()
    try:
        path = transcript.save(tmp_path / f"talk.{name}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 5


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    (tmp_path / "folder.srt").mkdir()
    for path in (blocked / "talk.srt", tmp_path / "folder.srt", tmp_path / ("x" * 300 + ".srt")):
        with pytest.raises(InputError) as error:
            write_transcript(plain_transcript(), path, overwrite=True)
        assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(InputError, match=r"locked.*Permission denied"):
        write_transcript(plain_transcript(), folder / "talk.srt")


def test_a_failed_write_leaves_neither_half_a_file_nor_a_partial_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_transcript(plain_transcript(), tmp_path / "talk.srt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_missing_or_binary_file_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_transcript(tmp_path / f"none.{name}")
    path = tmp_path / f"noise\n.{name}"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError) as error:
        read_transcript(path)
    assert "\n" not in str(error.value)


def test_letters_that_matter_stay_in_cleaned_text() -> None:
    kept = "a\u0301 \u0915\u094d\u200d\u0937 \u200f\u0633 \u00a0\U0001f469\u200d\U0001f33e \u02bc\u2019"
    assert one_line(kept) == kept
