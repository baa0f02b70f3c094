"""From a trained model to a scored and packed one: tune, decode, score, pack."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from asr.cli import main as loquela
from asr.decode import BeamSearchConfig
from asr.model import load_model
from asr.opened import tuned_search
from asr.text import TextPolicy
from asr.transcribe import Transcriber
from lm.errors import InputError
from lm.folder import LanguageModel, copy_folder
from recipes import decode_ctc, pack
from tests.conftest import run_recipe


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
    assert decoding["confidence_scale"] > 0
    table = lm.with_name("tune.tsv").read_text().splitlines()
    assert table[0].endswith("wer\tcer\tdecoded")
    assert len(table) > 100
    assert {line.split("\t")[0] for line in table[1:]} == {"both", "word", "character"}
    model, config = tuned_search(LanguageModel.load(lm), {})
    assert model
    assert config == BeamSearchConfig(**{name: value for name, value in decoding.items() if name != "units"})
    kept = {"both": (True, True), "word": (True, False), "character": (False, True)}
    assert (model.word is not None, model.character is not None) == kept[decoding["units"]]


def test_tuning_compares_parts_tells_edges_and_feeds_decoding(
    trained: Path,
    lm: Path,
    tone_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "lm"
    copy_folder(lm, folder)
    words = LanguageModel.load(folder).vocabulary
    hotwords = tmp_path / "hotwords.txt"
    hotwords.write_text(words[0] + "\n", encoding="utf-8")
    tune = ["lm", "tune", "--model", str(trained), "--lm", str(folder), "--manifest", str(tone_corpus)]
    capsys.readouterr()
    assert loquela([*tune, "--beam", "4", "--hotwords", str(hotwords), "--grid", "word_bonus=-9,-8.8"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert set(found["arms"]) == {"both", "word", "character"}
    assert set(found["against"]) == set(found["arms"]) - {found["units"]}
    assert (
        found["decoding"] == found["arms"][found["units"]]["decoding"] == LanguageModel.load(folder).decoding
    )
    assert found["decoding"]["hotword_weight"] >= 0
    assert "hotwords" not in found["decoding"]
    assert err.count("  against ") == 2
    on_edge = [name for arm in found["arms"].values() for name in arm["on_edge"]]
    assert err.count("Tune again with --grid ") == len(on_edge) >= 1

    printed = tmp_path / "tune.json"
    printed.write_text(out, encoding="utf-8")
    options = ["--split", "dev", "--lm", folder, "--tuned", printed, "--out", tmp_path / "hyp.tsv"]
    for more in (
        ["--units", "character"],
        ["--units", "word", "--closed-vocabulary", "--hotwords", hotwords],
    ):
        assert run_recipe(monkeypatch, decode_ctc, trained, tone_corpus, *options, *more) == 0
    texts = [line.split("\t")[1] for line in (tmp_path / "hyp.tsv").read_text().splitlines()[1:]]
    assert set(words).issuperset(" ".join(texts).split())
    with pytest.raises(InputError, match="cannot be read"):
        run_recipe(monkeypatch, decode_ctc, trained, tone_corpus, *options, "--tuned", hotwords)


def test_a_setting_that_is_no_yaml_is_refused() -> None:
    assert decode_ctc.settings_from(["lm_weight=0.5", "hotwords={a b: 2}"]) == {
        "lm_weight": 0.5, "hotwords": {"a b": 2},
    }  # fmt: skip
    for wrong in ("lm_weight={", "foo=: :", "lm_weight"):
        with pytest.raises(InputError, match=f"--decoding '{wrong}'"):
            decode_ctc.settings_from([wrong])


@pytest.mark.parametrize("named", ["manifest", "hotwords", "tuned", "another manifest"])
def test_the_table_never_replaces_an_input_or_a_manifest(
    tmp_path: Path, tone_corpus: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    before = tone_corpus.read_bytes()
    for name in ("m.tsv", "other.tsv", "words.txt", "tuned.json"):
        (tmp_path / name).write_bytes(before if name.endswith(".tsv") else b"ab")
    monkeypatch.chdir(tmp_path)
    out = {"manifest": "m.tsv", "hotwords": "words.txt", "tuned": "tuned.json"}.get(named, "other.tsv")
    written = Path(out).read_bytes()
    words = (
        "no model",
        "m.tsv",
        "--hotwords",
        "words.txt",
        "--tuned",
        "tuned.json",
        "--out",
        Path(out).resolve(),
    )
    with pytest.raises(InputError, match="another kind" if out == "other.tsv" else "one of the inputs"):
        run_recipe(monkeypatch, decode_ctc, *words)
    assert Path(out).read_bytes() == written


def test_settings_of_one_part_bring_back_the_other_when_asked_for(lm: Path) -> None:
    model = replace(
        LanguageModel.load(lm), decoding={"units": "word", "lm_weight": 0.7, "hotword_weight": 6.0}
    )
    found, config = tuned_search(model, {"hotwords": {"a": None, "b": 1.0}})
    assert found == model.only("word")
    assert config == BeamSearchConfig(lm_weight=0.7, hotwords={"a": 6.0, "b": 1.0})
    assert tuned_search(model, {"lm_weight": 1.0, "char_weight": 0.0})[0] == model.only("word")
    assert tuned_search(model, {"char_weight": 0.5})[0] == model
    assert tuned_search(model, {"units": "character", "lm_weight": 1.0})[0] == model.only("character")
    characters = replace(model, decoding={"units": "character", "lm_weight": 0.7})
    assert tuned_search(characters, {"open_vocabulary": False}) == (
        characters,
        BeamSearchConfig(lm_weight=0.0, open_vocabulary=False),
    )
    pieces = replace(characters, piece=model.character, decoding={"units": "piece", "piece_weight": 0.9})
    assert tuned_search(pieces, {}) == (pieces.only("piece"), BeamSearchConfig(piece_weight=0.9))
    alone = BeamSearchConfig(piece_weight=0.9, lm_weight=0.0, char_weight=0.0, open_vocabulary=False)
    assert tuned_search(pieces, {"open_vocabulary": False}) == (pieces, alone)
    with_words = BeamSearchConfig(piece_weight=0.9, lm_weight=0.4, char_weight=0.0)
    assert tuned_search(pieces, {"lm_weight": 0.4}) == (pieces, with_words)
    assert tuned_search(None, {}) == (None, None)
    with pytest.raises(InputError, match="units must be one of both, word, character, piece; got 'words'"):
        tuned_search(model, {"units": "words"})


def test_a_weight_of_n_grams_that_are_not_there_is_refused(lm: Path) -> None:
    model = LanguageModel.load(lm)
    with pytest.raises(InputError, match=r"piece_weight is 0\.5, but language model .* has no such n-grams"):
        tuned_search(model, {"piece_weight": 0.5})
    for name in ("lm_weight", "word_bonus"):
        with pytest.raises(InputError, match=f"{name} is 1.0, but there is no language model"):
            tuned_search(None, {name: 1.0})
    assert tuned_search(model.only("word"), {"lm_weight": 0.5, "char_weight": 0.0})[1] is not None


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
            run_recipe(
                monkeypatch, decode_ctc, trained, tone_corpus, "--split", "dev", *options, "--out", out
            )
            == 0
        )
        rows = [line.split("\t") for line in out.read_text().splitlines()]
        assert rows[0] == ["id", "text", "confidence", "score", "word_confidences", "alternatives", "written"]
        assert {row[6] for row in rows[1:]} == {TextPolicy.read(trained).key}
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
    assert run_recipe(monkeypatch, decode_ctc, *words) == 1
    assert "gone.wav" in capsys.readouterr().err
    assert len(out.read_text().splitlines()) == 8


def test_sentences_that_the_language_model_was_trained_on_are_told(
    trained: Path,
    tone_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leaked, policy = tmp_path / "lm", trained / "tokenizer.json"
    build = ["lm", "build", "--manifest", tone_corpus, "--policy", policy, "--out", leaked]
    assert loquela([str(word) for word in build]) == 0
    capsys.readouterr()
    words = (trained, tone_corpus, "--split", "dev", "--out", tmp_path / "out.tsv")
    assert run_recipe(monkeypatch, decode_ctc, *words, "--lm", leaked) == 0
    assert f"8 of 8 sentences are in the training text of {leaked}" in capsys.readouterr().err
    assert run_recipe(monkeypatch, decode_ctc, *words) == 0
    assert "training text" not in capsys.readouterr().err


def test_a_packed_model_is_half_as_large_and_knows_its_language_model(
    trained: Path, lm: Path, tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "card.md"
    card.write_text("# tones\n")
    packed = tmp_path / "packed"
    assert run_recipe(monkeypatch, pack, trained, "--lm", lm, "--card", card, "--out", packed) == 0
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
        run_recipe(monkeypatch, pack, trained, "--out", tmp_path)
    with pytest.raises(InputError, match="Give another folder to write"):
        run_recipe(monkeypatch, pack, trained, "--out", trained)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert list((trained / "checkpoints").iterdir())
