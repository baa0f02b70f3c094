"""Common Voice as published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asr.importers import import_corpus

Make = Callable[..., Path]


def test_official_splits_are_read_with_literal_quotes(tmp_path: Path, make_audio: Make) -> None:
    header = "client_id\tpath\tsentence\tup_votes\tage\tgender\tlocale"
    for number, split in enumerate(("train", "dev", "test", "validated")):
        make_audio(tmp_path / "clips" / f"cv_{number}.mp3", seed=number)
        row = f'spk{number}\tcv_{number}.mp3\t"Sentence {number}\t2\t\tmale_masculine\tay'
        (tmp_path / f"{split}.tsv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    with (tmp_path / "test.tsv").open("a") as table:
        table.write("spk9\tgone.mp3\tno clip\t2\t\t\tay\n")
    imported = import_corpus(tmp_path)
    assert [(each.split, each.speaker, each.text) for each in imported.utterances] == [
        ("train", "spk0", '"Sentence 0'), ("dev", "spk1", '"Sentence 1'), ("test", "spk2", '"Sentence 2'),
    ]  # fmt: skip
    assert {each.language for each in imported.utterances} == {"ay"}
    assert {each.gender for each in imported.utterances} == {"M"}
    assert imported.utterances[0].extra["up_votes"] == "2"
    assert len(imported.problems) == 1
    assert "gone.mp3" in imported.problems[0]
    assert [each.id for each in import_corpus(tmp_path / "validated.tsv").utterances] == ["cv_3"]
