"""The manifest, there and back."""

from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as strategies

from asr.manifest import (
    Utterance,
    languages_of,
    languages_of_all,
    read_manifest,
    recording_place,
    total_hours,
    with_text,
    write_manifest,
)
from lm.errors import InputError

CELL = strategies.text(
    strategies.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), max_size=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=CELL,
    translation=CELL,
    note=CELL,
    offset=strategies.integers(0, 10**6),
    duration=strategies.integers(1, 10**6),
)
def test_rows_survive(
    tmp_path: Path, text: str, translation: str, note: str, offset: int, duration: int
) -> None:
    row = Utterance(
        id="a", audio=tmp_path / "a b.wav", offset_s=offset / 1000, duration_s=duration / 1000,
        text=text, translation=translation, extra={"note": note},
    )  # fmt: skip
    write_manifest([row], tmp_path / "m.tsv")
    assert read_manifest(tmp_path / "m.tsv") == [row]


def test_quotes_are_letters(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text('id\taudio\tduration_s\ttext\na\ta.wav\t1\t"so', encoding="utf-8")
    assert read_manifest(tmp_path / "m.tsv")[0].text == '"so'


def test_rows_that_a_spreadsheet_emptied_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("id\taudio\tduration_s\na\ta.wav\t1\n\t\t\n", encoding="utf-8")
    assert [row.id for row in read_manifest(tmp_path / "m.tsv")] == ["a"]


def test_a_recording_is_found_however_its_name_is_composed(tmp_path: Path) -> None:
    (there := tmp_path / unicodedata.normalize("NFD", "ni\u00f1o.wav")).touch()
    row = Utterance(id="a", audio=tmp_path / "ni\u00f1o.wav", duration_s=1)
    write_manifest([row], tmp_path / "m.tsv")
    assert [row.audio for row in read_manifest(tmp_path / "m.tsv")] == [there]


def test_an_id_is_never_written_twice(tmp_path: Path) -> None:
    row = Utterance(id="a", audio=tmp_path / "a.wav", duration_s=1)
    with pytest.raises(InputError, match="the id 'a' occurs twice"):
        write_manifest([row, row], tmp_path / "m.tsv")


def test_splits_hours_and_texts(tmp_path: Path) -> None:
    rows = [
        Utterance(id=f"u{n}", audio=tmp_path / "a.wav", duration_s=1800, split=split, text=text)
        for n, (split, text) in enumerate([("train", "a"), ("dev", ""), ("train", " ")])
    ]
    write_manifest(rows, tmp_path / "m.tsv")
    train = read_manifest(tmp_path / "m.tsv", split="train")
    assert total_hours(train) == 1.0
    assert [row.id for row in with_text(train)] == ["u0"]
    with pytest.raises(InputError, match="no row with split 'test'"):
        read_manifest(tmp_path / "m.tsv", split="test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id\taudio\na\tb\n", "no column duration_s"),
        ("id\taudio\tduration_s\na\tb\n", "line 2: 2 cells for 3 columns"),
        ("id\taudio\tduration_s\na\tb\tlong\n", "duration_s is 'long'"),
        ("id\taudio\tduration_s\na\tb\t-1\n", "Give a positive span"),
        ("id\taudio\tduration_s\na\tb\tnan\n", "Give a positive span"),
        ("id\taudio\tduration_s\na\tb\t1\na\tb\t1\n", "occurs twice"),
        ("id\taudio\tduration_s\ttext\ttext\na\tb\t1\tx\ty\n", "the column 'text' twice"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    (tmp_path / "m.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path / "m.tsv")


def test_columns_without_a_name_may_be_several(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("id\taudio\tduration_s\t\t\na\tb\t1\t\t\n", encoding="utf-8")
    assert len(read_manifest(tmp_path / "m.tsv")) == 1


def test_an_extra_column_cannot_be_called_as_one_of_ours(tmp_path: Path) -> None:
    row = Utterance(id="a", audio=Path("a"), duration_s=1, text="x", extra={"text": "y"})
    with pytest.raises(InputError, match="an extra column is called 'text'"):
        write_manifest([row], tmp_path / "m.tsv")
    assert not list(tmp_path.iterdir())


def test_the_name_of_an_extra_column_cannot_break_the_table(tmp_path: Path) -> None:
    row = Utterance(id="a", audio=Path("a"), duration_s=1, extra={"Speaker\nage": "y"})
    with pytest.raises(InputError, match=r"the extra column 'Speaker\\nage' holds a tab or line break"):
        write_manifest([row], tmp_path / "m.tsv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("extra", "place"),
    [
        ({}, ("day@1-2/u.wav", 2.5)),
        ({"recording": ""}, ("day@1-2/u.wav", 2.5)),
        ({"recording": "talk"}, ("talk", 2.5)),
        ({"recording": "ch19@3.100-6.450"}, ("ch19", 3.1)),
        ({"recording": "ana@home"}, ("ana@home", 2.5)),
    ],
)
def test_the_recording_of_a_row_is_its_column_or_its_file(
    extra: dict[str, str], place: tuple[str, float]
) -> None:
    row = Utterance(id="u", audio=Path("day@1-2/u.wav"), offset_s=2.5, duration_s=1, extra=extra)
    assert recording_place(row) == place


def test_a_cell_that_would_break_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tab or line break"):
        write_manifest([Utterance(id="a", audio=Path("a"), duration_s=1, text="x\ty")], tmp_path / "m.tsv")
    assert not list(tmp_path.iterdir())


def test_utterances_of_which_one_names_no_language_may_be_of_any() -> None:
    rows = [
        Utterance(id=code, audio=Path("a.wav"), duration_s=1.0, language=code) for code in ("spa", "quy", "")
    ]
    assert languages_of(rows) == languages_of_all(rows[:2]) == ("quy", "spa")
    assert languages_of_all(rows) == ()


def test_a_manifest_that_a_full_disk_cut_off_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"m\.tsv cannot be written: No space left.*Make room on the disk"):
        write_manifest([Utterance(id="a", audio=tmp_path / "a.wav", duration_s=1)], tmp_path / "m.tsv")
    assert list(tmp_path.iterdir()) == []
