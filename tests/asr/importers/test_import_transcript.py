"""Subtitles and transcripts of our own formats beside their recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asr.formats import write_transcript
from asr.importers import ImportConfig, detect_form, import_corpus
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

Make = Callable[..., Path]

TALK = Transcript(
    recording="talk",
    audio=Path("talk.wav"),
    duration=4.0,
    segments=(
        TranscriptSegment(start=0.5, end=1.5, text="uno", translation="one"),
        TranscriptSegment(start=2.0, end=3.0, text="dos"),
    ),
)


@pytest.mark.parametrize("ending", ["srt", "vtt", "json", "tsv", "stm"])
def test_segments_of_every_format_are_utterances(tmp_path: Path, make_audio: Make, ending: str) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    path = write_transcript(TALK, tmp_path / f"talk.{ending}")
    for source in (tmp_path, path):
        assert detect_form(source) == "transcript"
        first, second = import_corpus(source).utterances
        assert (first.offset_s, first.duration_s, second.text) == (0.5, 1.0, "dos")
        assert first.id == "talk_0000000500-0000001500"
        assert first.text.startswith("uno")


def test_a_subtitle_may_be_named_with_its_language(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "talk.v2.wav", 4.0)
    write_transcript(TALK, tmp_path / "talk.v2.pt-BR.srt")
    first, _ = import_corpus(tmp_path).utterances
    assert (first.id, first.language) == ("talk.v2_0000000500-0000001500", "pt-BR")
    assert import_corpus(tmp_path, config=ImportConfig(language="por")).utterances[0].language == "por"
    write_transcript(TALK, tmp_path / "talk.v2.es.vtt")
    imported = import_corpus(tmp_path)
    assert imported.utterances == []
    assert all("talk.v2.wav has other transcripts, too" in problem for problem in imported.problems)
    assert len(imported.problems) == 2
    assert [each.language for each in import_corpus(tmp_path / "talk.v2.es.vtt").utterances] == ["es", "es"]
    write_transcript(TALK, tmp_path / "talk.v2.srt")
    assert [each.language for each in import_corpus(tmp_path).utterances] == ["", ""]


def test_of_several_the_fullest_counts_and_another_form_wins(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "sound" / "talk.wav", 4.0)
    texts = tmp_path / "texts"
    for ending in ("srt", "json"):
        write_transcript(TALK, texts / f"talk.{ending}")
    (texts / "settings.json").write_text("{}")
    config = ImportConfig(audio=tmp_path / "sound")
    imported = import_corpus(texts, "transcript", config)
    assert [each.translation for each in imported.utterances] == ["one", ""]
    assert imported.problems == []
    make_audio(texts / "talk.wav", 4.0)
    assert detect_form(texts) == "transcript"
    (texts / "talk.txt").write_text("uno")
    assert detect_form(texts) == "folder"


@pytest.mark.parametrize("ending", ["srt", "vtt"])
def test_a_subtitle_that_is_not_utf_8_is_told(tmp_path: Path, make_audio: Make, ending: str) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    path = write_transcript(TALK, tmp_path / f"talk.{ending}")
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    for source in (tmp_path, path):
        with pytest.raises(InputError, match="is not UTF-8"):
            import_corpus(source)


@pytest.mark.parametrize(
    ("recordings", "name", "found"),
    [
        (["talk.wav"], "talk.wav.srt", "talk.wav"),
        (["talk.wav"], "talk.mp4.srt", "talk.wav"),
        (["talk.wav", "talk.flac"], "talk.flac.json", "talk.flac"),
        (["talk.wav", "talk.wav.wav"], "talk.wav.json", "talk.wav.wav"),
    ],
)
def test_a_name_may_keep_the_ending_of_its_recording(
    tmp_path: Path, make_audio: Make, recordings: list[str], name: str, found: str
) -> None:
    for recording in recordings:
        make_audio(tmp_path / recording, 4.0)
    write_transcript(TALK, tmp_path / name)
    imported = import_corpus(tmp_path)
    assert [(each.audio.name, each.language) for each in imported.utterances] == [(found, "")] * 2
    assert not imported.problems


def test_without_its_recording_an_ending_is_no_language(tmp_path: Path) -> None:
    path = write_transcript(TALK, tmp_path / "talk.wav.srt")
    assert "no recording talk.wav.* beside it" in import_corpus(path).problems[0]
