"""CoVoST 2 joined with Common Voice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli import main
from asr.importers import ImportConfig, detect_form, import_corpus
from asr.manifest import read_manifest
from lm.errors import InputError


def _tone(path: Path, *, seed: int) -> Path:
    """Half a second whose pitch comes from the seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hertz = np.random.default_rng(seed).uniform(200, 400)
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * hertz * np.arange(4_000) / 8_000), 8_000)
    return path


def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)), encoding="utf-8")
    return path


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Common Voice 4 with four clips, of which one has lost its row, and a row that has lost its clip."""
    folder = tmp_path / "cv-corpus-4" / "fr"
    for number in range(4):
        _tone(folder / "clips" / f"cv_{number}.mp3", seed=number)
    _table(
        folder / "validated.tsv",
        ["client_id", "path", "sentence", "up_votes", "gender"],
        [
            ["spk0", "cv_0.mp3", '"Bonjour', "2", "female"],
            ["spk1", "cv_1.mp3", 'Il dit "oui"', "2", ""],
            ["spk2", "cv_2.mp3", "Trois", "2", ""],
            ["spk9", "gone.mp3", "Parti", "2", ""],
            ["spk9", "never_asked_for.mp3", "Parti", "2", ""],
        ],
    )
    return folder


PUBLISHED = [
    ["cv_2.mp3", "Three", "train"],
    ["cv_0.mp3", '"Hello', "train_covost"],
    ["cv_1.mp3", 'He says "yes"', "dev"],
]


def test_a_table_is_joined_on_path_in_its_own_order_with_literal_quotes(tmp_path: Path, voices: Path) -> None:
    table = _table(tmp_path / "covost" / "covost_v2.fr_en.tsv", ["path", "translation", "split"], PUBLISHED)
    imported = import_corpus(table.parent, config=ImportConfig(audio=voices))
    assert imported.problems == []
    assert [(each.text, each.translation, each.split) for each in imported.utterances] == [
        ("Trois", "Three", "train"), ('"Bonjour', '"Hello', "train"), ('Il dit "oui"', 'He says "yes"', "dev"),
    ]  # fmt: skip
    hello = imported.utterances[1]
    assert (hello.language, hello.translation_language, hello.speaker, hello.gender) == (
        "fr",
        "en",
        "spk0",
        "F",
    )
    assert (hello.offset_s, hello.duration_s) == (0.0, pytest.approx(0.5, abs=0.1))  # mp3 pads
    assert hello.audio == voices / "clips" / "cv_0.mp3"
    assert hello.extra["up_votes"] == "2"


def test_the_scripts_split_tables_are_read_with_their_escapes(voices: Path) -> None:
    header = ["path", "sentence", "translation", "client_id"]
    _table(voices / "covost_v2.fr_en.train.tsv", header, [["cv_0.mp3", '\\"Bonjour', '\\"Hello', "spk0"]])
    _table(voices / "covost_v2.fr_en.test.tsv", header, [["cv_2.mp3", "Trois", "1\\\\3", "spk2"]])
    assert detect_form(voices) == "covost"
    utterances = import_corpus(voices).utterances
    assert [(each.split, each.text, each.translation) for each in utterances] == [
        ("test", "Trois", "1\\3"), ("train", '"Bonjour', '"Hello'),
    ]  # fmt: skip
    _table(voices / "covost_v2.fr_en.tsv", ["path", "translation", "split"], PUBLISHED)
    assert len(import_corpus(voices).utterances) == 3, "the whole table holds the splits' rows"


def test_any_name_is_read_when_the_form_is_named(tmp_path: Path, voices: Path) -> None:
    table = _table(tmp_path / "mine.tsv", ["path", "translation", "split"], PUBLISHED[:1])
    config = ImportConfig(audio=voices / "clips", language="fra", translation_language="eng")
    (utterance,) = import_corpus(table, "covost", config).utterances
    assert (utterance.text, utterance.translation, utterance.split) == ("Trois", "Three", "train")
    assert (utterance.language, utterance.translation_language) == ("fra", "eng")


def test_missing_clips_are_counted_and_named_and_the_rest_goes_on(tmp_path: Path, voices: Path) -> None:
    rows = [
        ["gone.mp3", "Left", "train"],
        ["cv_3.mp3", "No row", "train"],
        ["cv_2.mp3", "Three", "train"],
        ["unknown.mp3", "?", "train"],
        ["cv_0.mp3", "too few"],
    ]
    table = _table(tmp_path / "covost_v2.fr_en.tsv", ["path", "translation", "split"], rows)
    imported = import_corpus(table, config=ImportConfig(audio=voices))
    assert [each.translation for each in imported.utterances] == ["Three"]
    cells, no_clip, no_row = imported.problems
    assert "line 6: 2 cells for 3 columns" in cells
    assert "2 row(s) have no clip" in no_clip
    assert "gone.mp3 (line 2), unknown.mp3 (line 5)" in no_clip
    assert "1 row(s) have a clip but no sound row" in no_row
    assert "cv_3.mp3 (line 3)" in no_row


def test_of_several_pairs_one_is_chosen(voices: Path) -> None:
    for target in ("en", "zh-CN"):
        rows = [["cv_2.mp3", f"3 {target}", "test"]]
        _table(voices / f"covost_v2.fr_{target}.tsv", ["path", "translation", "split"], rows)
    with pytest.raises(InputError, match=r"several pairs \(fr_en, fr_zh-CN\).*--translation-language"):
        import_corpus(voices)
    (utterance,) = import_corpus(voices, config=ImportConfig(translation_language="zh-CN")).utterances
    assert (utterance.translation, utterance.translation_language) == ("3 zh-CN", "zh-CN")


def test_what_is_missing_is_told(tmp_path: Path, voices: Path) -> None:
    table = _table(tmp_path / "x" / "y" / "covost_v2.fr_en.tsv", ["path", "translation"], PUBLISHED[:0])
    with pytest.raises(InputError, match=r"no validated\.tsv.*--audio"):
        import_corpus(table)
    with pytest.raises(InputError, match=r"Unpack the \.tar\.gz"):
        import_corpus(tmp_path, "covost")
    _table(table, ["path", "sentence"], [])
    with pytest.raises(InputError, match=r"no column translation; it has path, sentence"):
        import_corpus(table, config=ImportConfig(audio=voices))


def test_the_command_takes_common_voices_folder(tmp_path: Path, voices: Path) -> None:
    table = _table(tmp_path / "covost_v2.fr_en.tsv", ["path", "translation", "split"], PUBLISHED)
    out = tmp_path / "manifest.tsv"
    options = ["--form", "covost", "--audio", str(voices.parent), "--out", str(out)]
    assert main(["corpus", "import", str(table), *options]) == 0
    assert [each.translation for each in read_manifest(out, split="train")] == ["Three", '"Hello']
