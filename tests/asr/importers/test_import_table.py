"""CSV and TSV tables with columns of any name."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from asr.importers import ImportConfig, import_corpus
from asr.manifest import read_manifest, write_manifest
from lm.errors import InputError

Make = Callable[..., Path]


def test_usual_column_names_are_guessed_and_others_kept(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "audio" / "a.wav")
    (tmp_path / "data.csv").write_text(
        'File,Sentence,Sex,mood\na.wav,"one, two ""three""",female,calm\n', encoding="utf-8"
    )
    (only,) = import_corpus(tmp_path).utterances
    assert (only.text, only.gender, only.extra) == ('one, two "three"', "F", {"mood": "calm"})


def test_quotes_in_a_tsv_are_literal(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    make_audio(tmp_path / "b.wav")
    (tmp_path / "data.tsv").write_text('path\ttext\na.wav\t"he said\nb.wav\tshe said"\n', encoding="utf-8")
    texts = [each.text for each in import_corpus(tmp_path / "data.tsv").utterances]
    assert texts == ['"he said', 'she said"']


@pytest.mark.parametrize(
    ("row", "told"), [('a.wav,"hola', "unexpected end"), ('a.wav,"si" dijo', "',' expected")]
)
def test_an_unbalanced_quote_is_told_and_swallows_no_rows(
    tmp_path: Path, make_audio: Make, row: str, told: str
) -> None:
    make_audio(tmp_path / "a.wav")
    (tmp_path / "data.csv").write_text(f'file,text\na.wav,"5"" de\nlargo"\n{row}\na.wav,dos\n')
    with pytest.raises(InputError, match=f"begins in line 4: {told}"):
        import_corpus(tmp_path)


def test_a_table_that_none_can_guess_says_what_to_do(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    (tmp_path / "data.csv").write_text("grabación,frase\na.wav,si\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"hold the audio\. Say which with --columns audio=NAME"):
        import_corpus(tmp_path / "data.csv")
    columns = ImportConfig(columns={"audio": "grabación", "text": "frase"})
    (only,) = import_corpus(tmp_path / "data.csv", config=columns).utterances
    assert only.text == "si"
    (tmp_path / "data.csv").write_text("audio,text\na.wav,sí\n", encoding="latin-1")
    with pytest.raises(InputError, match="is not UTF-8"):
        import_corpus(tmp_path / "data.csv")
    with pytest.raises(InputError, match="no form we know"):
        import_corpus(tmp_path / "data.csv", config=ImportConfig(tiers=("main",)))


def test_chosen_columns_win_and_spans_are_cut_from_one_file(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "talk.wav", 3.0)
    (tmp_path / "data.csv").write_text(
        "talk;begin;end;orth;ipa\ntalk.wav;0.5;1.25;uno;u\ntalk;2;2.5;dos;d\n", encoding="utf-8"
    )
    config = ImportConfig(columns={"audio": "talk", "text": "orth"})
    first, second = import_corpus(tmp_path / "data.csv", "table", config).utterances
    assert (first.offset_s, first.duration_s, first.text) == (0.5, 0.75, "uno")
    assert second.id == "talk_0000002000-0000002500"


def test_a_column_that_was_not_chosen_does_not_win(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    (tmp_path / "data.csv").write_text("audio,text,normalized_text\na.wav,[raw],tidy\n", encoding="utf-8")
    config = ImportConfig(columns={"text": "normalized_text"})
    write_manifest(import_corpus(tmp_path / "data.csv", "table", config).utterances, tmp_path / "m.tsv")
    (only,) = read_manifest(tmp_path / "m.tsv")
    assert (only.text, only.extra) == ("tidy", {"table_text": "[raw]"})


def test_a_column_is_found_by_its_letters(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    header = unicodedata.normalize("NFD", "tệp,câu")
    (tmp_path / "data.csv").write_text(f"{header}\na.wav,xin chào\n", encoding="utf-8")
    config = ImportConfig(columns={"audio": "tệp", "text": "câu"})
    assert import_corpus(tmp_path, "table", config).utterances[0].text == "xin chào"


@pytest.mark.parametrize(
    ("header", "columns", "told"),
    [
        ("sound,words", {}, "--columns audio=NAME"),
        ("path,words", {}, "--columns text=NAME"),
        ("path,text", {"audio": "wave"}, "no column 'wave'"),
        ("path,text", {"sound": "path"}, "sound"),
    ],
)
def test_a_column_that_cannot_be_found_is_told_with_those_there(
    tmp_path: Path, header: str, columns: dict[str, str], told: str
) -> None:
    (tmp_path / "data.csv").write_text(header + "\na.wav,text\n", encoding="utf-8")
    with pytest.raises(InputError, match=told):
        import_corpus(tmp_path / "data.csv", "table", ImportConfig(columns=columns))


@pytest.mark.parametrize("name", ["", "one"])
def test_times_are_finite(tmp_path: Path, make_audio: Make, name: str) -> None:
    make_audio(tmp_path / "a.wav")
    rows = [f"{name},a.wav,{times},no" for times in ("nan,nan", "0,nan", "nan,1", "0,inf")]
    (tmp_path / "data.csv").write_text("\n".join(["id,path,start,end,text", *rows, f"{name},a.wav,,,so"]))
    imported = import_corpus(tmp_path / "data.csv", "table")
    assert [each.text for each in imported.utterances] == ["so"]
    assert len(imported.problems) == 4
    assert all("not a number of seconds" in problem for problem in imported.problems)


def test_a_header_of_several_lines_is_one(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    (tmp_path / "data.csv").write_text('audio,text,"Speaker\nage"\na.wav,hola,30\n')
    write_manifest(import_corpus(tmp_path / "data.csv").utterances, tmp_path / "m.tsv")
    assert [each.extra for each in read_manifest(tmp_path / "m.tsv")] == [{"Speaker age": "30"}]


def test_rows_that_are_wrong_are_left_out_one_by_one(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    rows = [
        "a.wav,0,0.5,good",
        "gone.wav,0,1,no file",
        "a.wav,x,1,no number",
        "a.wav,0",
        "a.wav,0,9,too long",
        "a.wav,0.5,0.5,empty",
    ]
    (tmp_path / "data.csv").write_text("\n".join(["path,start,end,text", *rows]) + "\n", encoding="utf-8")
    imported = import_corpus(tmp_path / "data.csv", "table")
    assert [each.text for each in imported.utterances] == ["good"]
    assert len(imported.problems) == 5


@pytest.mark.parametrize(
    "names",
    [
        "start,end",
        "onset,offset",
        "Onset,Offset",
        "Begin Time,End Time",
        "begin_s,end_s",
        "tmin,tmax",
        "xmin,xmax",
    ],
)
def test_times_are_found_by_their_usual_names(tmp_path: Path, make_audio: Make, names: str) -> None:
    make_audio(tmp_path / "a.wav", 4.0)
    (tmp_path / "data.csv").write_text(f"file,{names},text\na.wav,1.5,2.25,uno\na.wav,2.5,3.25,dos\n")
    imported = import_corpus(tmp_path / "data.csv")
    assert [(each.offset_s, each.duration_s) for each in imported.utterances] == [(1.5, 0.75), (2.5, 0.75)]
    assert imported.notes == []


def test_an_offset_without_an_onset_is_a_start(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav", 4.0)
    (tmp_path / "data.csv").write_text("file,offset,duration,text\na.wav,1.5,2,uno\n")
    (only,) = import_corpus(tmp_path / "data.csv").utterances
    assert (only.offset_s, only.duration_s) == (1.5, 2.0)


def test_an_end_without_a_start_is_refused(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav", 4.0)
    table = tmp_path / "data.csv"
    table.write_text("file,from,end,text\na.wav,1.5,2.25,uno\na.wav,,2.5,dos\n")
    with pytest.raises(
        InputError, match=r"hold the start, though 'end' .* --columns start=NAME; it has file, from"
    ):
        import_corpus(table)
    imported = import_corpus(table, config=ImportConfig(columns={"start": "from"}))
    assert [(each.text, each.offset_s) for each in imported.utterances] == [("uno", 1.5)]
    assert "line 3: start, end or duration is not a number" in imported.problems[0]


def test_rows_of_one_file_that_all_reach_to_its_end_are_told(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    make_audio(tmp_path / "b.wav")
    rows = ["a.wav,100,400,uno", "a.wav,500,900,dos", "b.wav,0,900,tres"]
    (tmp_path / "data.csv").write_text("\n".join(["file,start_ms,end_ms,text", *rows]))
    (note,) = import_corpus(tmp_path / "data.csv").notes
    assert "2 rows share their audio file" in note
    assert "--columns start=NAME,end=NAME; it has file, start_ms, end_ms, text" in note
