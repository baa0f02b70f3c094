"""Manifests written in other forms and read back."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asr.importers import import_corpus
from asr.importers.writers import export_corpus
from asr.manifest import Utterance
from lm.errors import InputError

Make = Callable[..., Path]


def test_kaldi_directories_read_back_and_are_sorted_by_bytes(tmp_path: Path, make_audio: Make) -> None:
    talk = make_audio(tmp_path / "talk.wav", 3.0)
    utterances = [
        Utterance(
            id=f"u{i}", audio=talk, offset_s=i / 2, duration_s=0.5, text=f"ñuka {i}",
            speaker=speaker, gender="F", split="train", language="qu",
        )
        for i, speaker in enumerate(("é", "b", "B"))
    ]  # fmt: skip
    (folder,) = export_corpus(utterances, "kaldi", tmp_path / "out")
    names = [line.split()[0] for line in (folder / "utt2spk").read_text(encoding="utf-8").splitlines()]
    assert names == ["B-u2", "b-u1", "é-u0"]
    assert (folder / "spk2utt").read_text(encoding="utf-8") == "B B-u2\nb b-u1\né é-u0\n"
    back = {each.id: each for each in import_corpus(tmp_path / "out").utterances}
    assert set(back) == set(names)
    for each in utterances:
        (same,) = [other for other in back.values() if other.text == each.text]
        assert (same.offset_s, same.speaker, same.gender, same.language, same.split) == (
            each.offset_s, each.speaker, "F", "qu", "train",
        )  # fmt: skip
        assert same.duration_s == pytest.approx(each.duration_s)


def test_kaldis_ids_are_in_the_order_of_their_speakers(tmp_path: Path, make_audio: Make) -> None:
    talk = make_audio(tmp_path / "talk.wav")
    pairs = [("spk1_a", "spk1"), ("spk10_a", "spk10"), ("spk1-b", "spk1"), ("x", "x"), ("x-2", "x-2")]
    utterances = [Utterance(id=name, audio=talk, duration_s=1.0, speaker=speaker) for name, speaker in pairs]
    (folder,) = export_corpus(utterances, "kaldi", tmp_path / "out")
    rows = [tuple(line.split()) for line in (folder / "utt2spk").read_text().splitlines()]
    assert rows == [
        ("spk1-b", "spk1"), ("spk1-spk1_a", "spk1"), ("spk10-spk10_a", "spk10"), ("x", "x"), ("x-2", "x-2"),
    ]  # fmt: skip
    assert rows == sorted(rows) == sorted(rows, key=lambda row: row[1])
    other = replace(utterances[0], id="a", speaker="spk1-c")
    with pytest.raises(InputError, match=r"^all: the speaker 'spk1-c' is called as 'spk1' with a hyphen"):
        export_corpus([*utterances, other], "kaldi", tmp_path / "other")


@pytest.mark.parametrize(
    "name", ["x;touch${IFS}PWNED|", "y:12", "a$(b).wav", "a`b`.wav", "a&b.wav", "a>b.wav", "a.wav[0:5]"]
)
def test_no_path_is_a_command_or_a_part_in_kaldis_form(tmp_path: Path, name: str) -> None:
    rows = [Utterance(id=each, audio=tmp_path / each, duration_s=1.0) for each in ("x:1-y.wav", name)]
    export_corpus(rows[:1], "kaldi", tmp_path / "fine")
    with pytest.raises(InputError, match=r"for more than a name.*Rename"):
        export_corpus(rows, "kaldi", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_kaldis_splits_have_text_for_all_or_for_none(tmp_path: Path, make_audio: Make) -> None:
    talk = make_audio(tmp_path / "talk.wav")
    texts = {"a": ("dev", "hola"), "b": ("test", ""), "c": ("dev", "")}
    utterances = [
        Utterance(id=name, audio=talk, duration_s=1.0, split=split, text=text)
        for name, (split, text) in texts.items()
    ]
    export_corpus(utterances[:2], "kaldi", tmp_path / "out")
    assert (tmp_path / "out/dev/text").exists()
    assert not (tmp_path / "out/test/text").exists()
    with pytest.raises(InputError, match=r"^dev: 1 of 2 utterances have no text.* a split of their own"):
        export_corpus(utterances, "kaldi", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_no_two_recordings_have_one_name_in_kaldis_form(tmp_path: Path, make_audio: Make) -> None:
    names = ("x/session.wav", "y/session.wav", "y/session-2.wav", "z/session-2.wav", "z/session-1.wav")
    utterances = [
        Utterance(id=f"u{i}", audio=make_audio(tmp_path / name), duration_s=1.0, split="train")
        for i, name in enumerate(names)
    ]
    (folder,) = export_corpus(utterances, "kaldi", tmp_path / "out")
    paths = dict(line.split() for line in (folder / "wav.scp").read_text().splitlines())
    assert set(paths.values()) == {str(tmp_path / name) for name in names}
    assert paths["session-1"] == str(tmp_path / "z/session-1.wav")
    back = {each.id: each.audio for each in import_corpus(tmp_path / "out").utterances}
    assert back == {each.id: each.audio for each in utterances}


def test_fairseq_files_read_back(tmp_path: Path, make_audio: Make) -> None:
    paths = [make_audio(tmp_path / "wav" / name, 1.25) for name in ("x/a.wav", "b.wav")]
    utterances = [
        Utterance(id=path.stem, audio=path, duration_s=1.25, text=text, split="train")
        for path, text in zip(paths, ("ñuka wasi", ""), strict=True)
    ]
    export_corpus(utterances, "fairseq", tmp_path / "out")
    rows = (tmp_path / "out" / "train.tsv").read_text(encoding="utf-8").splitlines()
    assert rows == [str(tmp_path / "wav"), "x/a.wav\t20000", "b.wav\t20000"]
    assert (tmp_path / "out" / "train.ltr").read_text(encoding="utf-8") == "ñ u k a | w a s i |\n\n"
    assert "a 2\n" in (tmp_path / "out" / "dict.ltr.txt").read_text(encoding="utf-8")
    back = import_corpus(tmp_path / "out").utterances
    assert [(each.audio.name, each.text, each.split) for each in back] == [
        ("a.wav", "ñuka wasi", "train"),
        ("b.wav", "", "train"),
    ]


def test_fairseq_has_no_parts_of_files(tmp_path: Path, make_audio: Make) -> None:
    talk = make_audio(tmp_path / "talk.wav", 3.0)
    with pytest.raises(InputError, match="whole files only"):
        export_corpus(
            [Utterance(id="a", audio=talk, offset_s=1.0, duration_s=1.0)], "fairseq", tmp_path / "out"
        )


def test_csv_is_quoted_for_spreadsheets(tmp_path: Path, make_audio: Make) -> None:
    talk = make_audio(tmp_path / "talk.wav")
    each = Utterance(id="a", audio=talk, duration_s=1.0, text='he said, "no"', extra={"notes": "n"})
    export_corpus([each], "csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["text"], row["notes"]) == ('he said, "no"', "n")
    (back,) = import_corpus(tmp_path / "out.csv").utterances
    assert (back.id, back.text) == ("a", 'he said, "no"')


@pytest.mark.parametrize(("form", "name"), [("kaldi", "out"), ("fairseq", "out"), ("csv", "out.csv")])
def test_an_export_is_replaced_only_when_it_may_be(
    tmp_path: Path, make_audio: Make, form: str, name: str
) -> None:
    each = Utterance(id="a", audio=make_audio(tmp_path / "a.wav"), duration_s=1.0, text="hola", split="dev")
    export_corpus([each], form, tmp_path / name)
    with pytest.raises(InputError, match="exists and is kept"):
        export_corpus([each], form, tmp_path / name)
    (first, *_) = export_corpus([replace(each, text="sí")], form, tmp_path / name, overwrite=True)
    if form != "kaldi":
        with pytest.raises(InputError, match="one of the inputs"):
            export_corpus([each], form, tmp_path / name, overwrite=True, inputs=[first])
        first.write_text("a\tb\n")
        with pytest.raises(InputError, match="of another kind"):
            export_corpus([each], form, tmp_path / name, overwrite=True)
        assert first.read_text() == "a\tb\n"


def test_a_text_in_csv_may_have_what_ends_lines_elsewhere(tmp_path: Path, make_audio: Make) -> None:
    each = Utterance(id="a", audio=make_audio(tmp_path / "a.wav"), duration_s=1.0, text="a\u2028b\x85c\x0bd")
    export_corpus([each], "csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["text"] == each.text
