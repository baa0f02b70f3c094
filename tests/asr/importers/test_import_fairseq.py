"""fairseq's manifests, where lines belong together by position."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asr.importers import ImportConfig, detect_form, import_corpus
from lm.errors import InputError

Make = Callable[..., Path]


def test_letters_are_joined_to_words(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "wav" / "x" / "a.wav", 1.25)
    make_audio(tmp_path / "wav" / "x" / "b.wav")
    (tmp_path / "train.tsv").write_text(f"{tmp_path / 'wav'}\nx/a.wav\t20000\nx/b.wav\t16000\n")
    (tmp_path / "train.ltr").write_text("ñ u k a | w a s i |\n\n", encoding="utf-8")
    first, second = import_corpus(tmp_path).utterances
    assert (first.id, first.text, first.duration_s, first.split) == ("x_a", "ñuka wasi", 1.25, "train")
    assert second.text == ""  # an empty line keeps its place


def test_files_of_different_length_are_refused(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    for split, texts in (("train", "one\n"), ("dev", "one\ntwo\n")):
        (tmp_path / f"{split}.tsv").write_text("/another/machine\na.wav\t16000\n")
        (tmp_path / f"{split}.wrd").write_text(texts)
    imported = import_corpus(tmp_path, "fairseq", ImportConfig(audio=tmp_path))
    assert [(each.split, each.text) for each in imported.utterances] == [("train", "one")]
    assert "1 files for 2 texts" in imported.problems[0]


def test_audio_without_texts_is_known_by_its_lines(tmp_path: Path, make_audio: Make) -> None:
    table = tmp_path / "valid.tsv"
    for name in ("a", "b"):
        make_audio(tmp_path / "wav" / f"{name}.wav")
    table.write_text(f"{tmp_path / 'wav'}\na.wav\t16000\nb.wav\t16000\n")
    for source in (tmp_path, table):
        imported = import_corpus(source)
        assert [(each.id, each.text, each.split) for each in imported.utterances] == [
            ("a", "", "valid"),
            ("b", "", "valid"),
        ]
        assert not imported.problems
        assert "its 2 files have no texts" in imported.notes[0]
    # Tables of other forms.
    for content in ("path\tsamples\na.wav\t16000\n", "wav\na.wav\tiskay\n", "wav\n", ""):
        table.write_text(content)
        with pytest.raises(InputError, match="is of no form"):
            detect_form(tmp_path)
        with pytest.raises(
            InputError, match=r"valid\.tsv has no \.tsv with an \.ltr or \.wrd beside it, nor one"
        ):
            import_corpus(table, "fairseq")


@pytest.mark.parametrize("texts", [None, "one\n\n", "one\n"])
def test_empty_lines_at_the_end_are_no_files(tmp_path: Path, make_audio: Make, texts: str | None) -> None:
    make_audio(tmp_path / "a.wav")
    table = tmp_path / "train.tsv"
    table.write_text(f"{tmp_path}\na.wav\t16000\n\n\n")
    if texts is not None:
        table.with_suffix(".wrd").write_text(texts)
    imported = import_corpus(tmp_path)
    assert [(each.id, each.text) for each in imported.utterances] == [("a", "one" if texts else "")]
    assert not imported.problems
