"""Praat TextGrids beside their recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asr.formats.annotations import read_annotations
from asr.importers import ImportConfig, import_corpus
from asr.transcript import Transcript, TranscriptSegment
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


def test_our_own_textgrid_is_read_without_options(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    said = (
        ("Ana", 0.0, "hola", "hello"),
        ("Bo", 0.0, "si", "yes"),
        ("Ana", 2.0, "no", ""),
        ("Ana", 2.5, "a", "b"),
    )
    segments = tuple(
        TranscriptSegment(start=start, end=start + 1, text=text, translation=other, speaker=speaker)
        for speaker, start, text, other in said
    )
    for number in (4, 1):  # two speakers, one of whom has two lanes, then one
        talk = Transcript(
            recording="talk", audio=tmp_path / "talk.wav", duration=4.0, segments=segments[:number]
        )
        talk.save(tmp_path / "talk.TextGrid", overwrite=True)
        found = import_corpus(tmp_path / "talk.TextGrid").utterances
        told = [(each.speaker, each.offset_s, each.text, each.translation) for each in found]
        assert told == list(said[:number])


def test_several_files_of_one_recording_are_one_recording(tmp_path: Path, make_audio: Make) -> None:
    audio = make_audio(tmp_path / "talk.wav", 4.0)
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "talk.wav").symlink_to(audio)
        _write(tmp_path / day / "talk.TextGrid", {"text": [(0, 4, "hola")]})
    imported = import_corpus(tmp_path)
    assert [each.extra["recording"] for each in imported.utterances] == ["day1/talk"] * 2
    assert [each.id[:10] for each in imported.utterances] == ["day1_talk_", "day2_talk_"]
    assert "talk.wav: day1/talk, day2/talk" in imported.notes[0]


@pytest.mark.parametrize(("seconds", "start"), [(4.0, 1.0), (9.0, 6.0)])
def test_a_part_that_kept_the_times_of_the_whole_is_laid_on_its_own_recording(
    tmp_path: Path, make_audio: Make, seconds: float, start: float
) -> None:
    make_audio(tmp_path / "talk.wav", seconds)
    path = tmp_path / "talk.TextGrid"
    _write(path, {"text": [(6, 8, "hola")]})
    text = path.read_text(encoding="utf-16").replace("\n0\n4\n", "\n5\n9\n")
    path.write_text(text, encoding="utf-16")
    imported = import_corpus(path)
    (only,) = imported.utterances
    assert (only.offset_s, only.duration_s) == (start, 2.0)
    assert [note for note in imported.notes if "TextGrid: begins at 5.000 s" in note] == imported.notes
    assert len(imported.notes) == (start == 1.0)


def test_two_tiers_of_one_name_lose_nothing_unheard(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    path = tmp_path / "talk.TextGrid"
    _write(path, {"tx": [(0, 2, "uno")], "ty": [(0, 2, "dos")]})
    path.write_text(path.read_text(encoding="utf-16").replace('"ty"', '"tx"'), encoding="utf-16")
    imported = import_corpus(path)
    assert [each.text for each in imported.utterances] == ["uno", "dos"]
    assert "talk.TextGrid: 2 tiers 'tx'" in imported.notes[0]
    with pytest.raises(InputError, match=r"has 2 tiers named 'tx'\. Rename one in Praat"):
        read_annotations(path)


def test_codes_that_praat_shows_as_letters_are_told(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    _write(tmp_path / "talk.TextGrid", {"text": [(0, 2, "\\n~awi"), (2, 4, "wasi \\sw")]})
    (note,) = import_corpus(tmp_path / "talk.TextGrid").notes
    assert "codes of Praat for letters, as '\\\\n~'" in note


def test_what_many_files_share_is_told_once(tmp_path: Path, make_audio: Make) -> None:
    for name in ("a", "b", "c"):
        make_audio(tmp_path / f"{name}.wav", 4.0)
        _write(tmp_path / f"{name}.TextGrid", {"text": [(0, 2, f"\\n~awi {name}")], "en": []})
    _write(tmp_path / "c.TextGrid", {"text": [(0, 2, "wasi")], "es": [(0, 2, "house")]})
    config = ImportConfig(tiers=("text",), translation_tiers=("es",))
    lacking, coded = import_corpus(tmp_path, config=config).notes
    assert "a.TextGrid has no tier 'es' (it has 'text', 'en')" in lacking
    assert lacking.endswith("no translation, nor have those of 1 other file(s).")
    assert "a.TextGrid and 1 other file(s): labels hold codes" in coded
