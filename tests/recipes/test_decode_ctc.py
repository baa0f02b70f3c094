"""From a trained model to a scored and packed one: tune, decode, score, pack."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from asr.cli import main as loquela
from asr.model import load_model
from asr.transcribe import Transcriber
from lm.errors import InputError
from lm.folder import LanguageModel
from recipes import decode_ctc, pack


def run(recipe: object, monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run a recipe in this process."""
    monkeypatch.setattr(sys, "argv", ["recipe", *map(str, words)])
    status: int = recipe.main()  # type: ignore[attr-defined]
    return status


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory, trained: Path, tone_corpus: Path) -> Path:
    """A language model of the training texts, tuned on dev."""
    folder = tmp_path_factory.mktemp("lm") / "lm"
    policy = str(trained / "tokenizer.json")
    build = ["lm", "build", "--manifest", str(tone_corpus), "--split", "train", "--policy", policy]
    assert loquela([*build, "--out", str(folder)]) == 0
    tune = ["lm", "tune", "--model", str(trained), "--lm", str(folder), "--manifest", str(tone_corpus)]
    assert loquela([*tune, "--beam", "8", "--table", str(folder.with_name("tune.tsv"))]) == 0
    return folder


def test_tuning_is_saved_with_the_language_model(lm: Path) -> None:
    decoding = LanguageModel.load(lm).decoding
    assert decoding is not None
    assert decoding["beam_width"] == 8
    table = lm.with_name("tune.tsv").read_text().splitlines()
    assert table[0].endswith("wer\tcer\tdecoded")
    assert len(table) > 100


def test_decoded_rows_are_in_the_manifests_order_and_can_be_scored(
    trained: Path,
    lm: Path,
    tone_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, options in {"greedy": [], "lm": ["--lm", lm, "--decoding", "num_hypotheses=3"]}.items():
        out = tmp_path / f"{name}.tsv"
        assert (
            run(decode_ctc, monkeypatch, trained, tone_corpus, "--split", "dev", *options, "--out", out) == 0
        )
        rows = [line.split("\t") for line in out.read_text().splitlines()]
        assert rows[0] == ["id", "text", "confidence", "score", "word_confidences", "alternatives"]
        assert [row[0] for row in rows[1:]] == [f"dev{number:02d}" for number in range(8)]
        assert all(len(row[4].split()) == len(row[1].split()) for row in rows[1:])
    assert any(json.loads(row[5]) for row in rows[1:])
    capsys.readouterr()
    score = [
        "score",
        "--reference",
        str(tone_corpus),
        "--split",
        "dev",
        "--hypothesis",
        str(tmp_path / "lm.tsv"),
    ]
    assert (
        loquela(
            [*score, "--against", str(tmp_path / "greedy.tsv"), "--policy", str(trained / "tokenizer.json")]
        )
        == 0
    )
    assert "CER" in capsys.readouterr().out


def test_a_row_whose_audio_is_gone_is_left_out_and_reported(
    trained: Path,
    tone_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text(tone_corpus.read_text().replace("dev03.wav", "gone.wav"))
    out = tmp_path / "out.tsv"
    words = (trained, manifest, "--corpus", tone_corpus.parent, "--split", "dev", "--out", out)
    assert run(decode_ctc, monkeypatch, *words) == 1
    assert "gone.wav" in capsys.readouterr().err
    assert len(out.read_text().splitlines()) == 8


def test_a_packed_model_is_half_as_large_and_knows_its_language_model(
    trained: Path, lm: Path, tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "card.md"
    card.write_text("# tones\n")
    packed = tmp_path / "packed"
    assert run(pack, monkeypatch, trained, "--lm", lm, "--card", card, "--out", packed) == 0
    whole, half = (folder / "model.safetensors" for folder in (trained / "model", packed))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert (packed / "README.md").read_text() == "# tones\n"
    assert load_model(packed).tokenizer == load_model(trained / "model").tokenizer
    transcript = Transcriber.load(packed).transcribe(tone_corpus.parent / "dev00.wav")
    assert transcript.details["language_model"] == str(packed / "lm")


def test_packing_never_replaces_what_is_no_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is no model folder, so it is kept"):
        run(pack, monkeypatch, trained, "--out", tmp_path)
    with pytest.raises(InputError, match="Give another folder to write"):
        run(pack, monkeypatch, trained, "--out", trained)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert list((trained / "checkpoints").iterdir())
