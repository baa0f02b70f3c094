"""Praat TextGrids beside their recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asr.importers import ImportConfig, import_corpus
from lm.errors import InputError

Make = Callable[..., Path]


def _write(path: Path, tiers: dict[str, list[tuple[float, float, str]]]) -> None:
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "0",
        "4",
        "<exists>",
        str(len(tiers)),
    ]
    for name, intervals in tiers.items():
        lines += ['"IntervalTier"', f'"{name}"', "0", "4", str(len(intervals))]
        lines += [f'{start}\n{end}\n"{text}"' for start, end, text in intervals]
    path.write_text("\n".join(lines) + "\n", encoding="utf-16")


def test_intervals_with_text_of_the_chosen_tier_are_utterances(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    _write(
        tmp_path / "talk.TextGrid",
        {
            "ipa": [(0, 1, ""), (1, 2.5, 'ɲuka ""wasi""'), (2.5, 4, "")],
            "en": [(0, 1, ""), (1, 2.5, "my house"), (2.5, 4, "")],
        },
    )
    with pytest.raises(InputError, match=r"'ipa' \(1\), 'en' \(1\)"):
        import_corpus(tmp_path)
    (only,) = import_corpus(
        tmp_path, config=ImportConfig(tiers=("ipa",), translation_tiers=("en",))
    ).utterances
    assert (only.text, only.translation, only.offset_s, only.duration_s) == (
        'ɲuka "wasi"',
        "my house",
        1.0,
        1.5,
    )
    (alone,) = import_corpus(tmp_path, config=ImportConfig(translation_tiers=("en",))).utterances
    assert alone.text == only.text


def test_a_translation_is_not_another_speakers(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    tiers = {
        "Ana": [(0.5, 3.5, "largo relato")],
        "Ana-es": [(0.5, 3.5, "long story")],
        "Bo": [(1.0, 1.5, "aja"), (2.0, 2.5, "que paso")],
        "Bo-es": [(1.0, 1.5, "uh-huh")],
    }
    _write(tmp_path / "talk.TextGrid", tiers)
    config = ImportConfig(tiers=("Ana", "Bo"), translation_tiers=("*-es",))
    assert [(each.text, each.translation) for each in import_corpus(tmp_path, config=config).utterances] == [
        ("largo relato", "long story"), ("aja", "uh-huh"), ("que paso", ""),
    ]  # fmt: skip


def test_a_textgrid_without_recording_is_reported(tmp_path: Path) -> None:
    _write(tmp_path / "talk.TextGrid", {"a": [(0, 4, "hola")]})
    imported = import_corpus(tmp_path)
    assert imported.utterances == []
    assert "--audio" in imported.problems[0]


def test_a_textgrid_without_the_tier_is_told(tmp_path: Path, make_audio: Make) -> None:
    for name, tier in (("a", "text"), ("b", "transcription")):
        make_audio(tmp_path / f"{name}.wav", 4.0)
        _write(tmp_path / f"{name}.TextGrid", {tier: [(0, 4, "hola")]})
    imported = import_corpus(tmp_path, config=ImportConfig(tiers=("text",)))
    assert [each.audio.name for each in imported.utterances] == ["a.wav"]
    (problem,) = imported.problems
    assert "b.TextGrid has no tier 'text' (it has 'transcription')" in problem


def test_a_recording_is_found_whether_its_letters_are_composed_or_not(
    tmp_path: Path, make_audio: Make
) -> None:
    make_audio(tmp_path / "can\u0303a.wav", 4.0)
    _write(tmp_path / "ca\u00f1a.TextGrid", {"text": [(0, 4, "hola")]})
    assert len(import_corpus(tmp_path).utterances) == 1
