"""fairseq's manifests, where lines belong together by position."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asr.importers import ImportConfig, import_corpus

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
