"""`loquela lm` from its command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from asr.cli import lm
from asr.manifest import Utterance, write_manifest
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer, character_tokenizer, piece_tokenizer
from lm import build as building
from lm.errors import InputError
from lm.folder import LanguageModel
from tests.conftest import handed_on


def run(*arguments: object) -> int:
    """The command with its own parser, as `asr.cli` would call it."""
    parser = argparse.ArgumentParser()
    lm.add_arguments(parser)
    return lm.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    texts = {
        "train": ["Ñuka rini.", "¡Kan RINKI!", "", "Ñuka, kanmi."],
        "dev": ["Ñuka rini", "pay rinmi, kan rinki"],
    }
    write_manifest(
        [
            Utterance(id=f"{split}{n}", audio=tmp_path / "none.wav", duration_s=1, text=text, split=split)
            for split, lines in texts.items()
            for n, text in enumerate(lines)
        ],
        tmp_path / "manifest.tsv",
    )
    return tmp_path / "manifest.tsv"


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--word-order 4", "word_order", 4),
        ("--character-order 5", "character_order", 5),
        ("--prune 0 1", "word_prune", [0, 1]),
        ("--character-prune 0 2", "character_prune", [0, 2]),
        ("--closed-vocabulary", "open_vocabulary", False),
        ("--no-fallback", "fallback", None),
        ("--binary", "binary", True),
        ("--overwrite", "overwrite", True),
    ],
)
def test_what_an_option_says_reaches_the_building(
    tmp_path: Path, words: str, name: str, value: object
) -> None:
    (tmp_path / "text.txt").write_text("ñuka rini\n", encoding="utf-8")
    inputs = ("--text", tmp_path / "text.txt", "--out", tmp_path / "lm")
    given = handed_on(building, "build_language_model", lambda: run("build", *inputs, *words.split()))
    assert getattr(given, name) == value


def test_build_normalises_and_saves_the_policy(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more.txt").write_text("AYLLU\n", encoding="utf-8")
    out = tmp_path / "lm"
    assert (
        run(
            "build", "--manifest", manifest, "--split", "train", "--text", tmp_path / "more.txt", "--out", out
        )
        == 0
    )
    model = LanguageModel.load(out)
    assert model.vocabulary == ("ayllu", "kan", "kanmi", "rini", "rinki", "ñuka")
    assert model.policy is not None
    assert model.policy["case"] == "lower"
    assert model.character is not None
    assert model.character.order == 6
    printed = capsys.readouterr().out
    assert "4 sentences (0 repeated), 7 words" in printed
    assert "word.arpa" in printed


def test_build_tells_what_of_other_splits_is_trained_on(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("build", "--manifest", manifest, "--out", tmp_path / "all")
    told = capsys.readouterr().err
    assert "holds sentences of other splits, 2 of split dev; figures on them will flatter the model" in told
    run("build", "--manifest", manifest, "--split", "train", "--out", tmp_path / "train")
    assert capsys.readouterr().err == ""
    run("eval", "--lm", tmp_path / "train", "--manifest", manifest)
    assert "holds sentences" not in capsys.readouterr().err


def test_build_takes_a_policy_from_a_file(manifest: Path, tmp_path: Path) -> None:
    policy = tmp_path / "tokenizer.json"
    policy.write_text(json.dumps({"labels": [], "policy": {"case": "keep"}}), encoding="utf-8")
    run(
        "build",
        "--manifest",
        manifest,
        "--split",
        "train",
        "--policy",
        policy,
        "--char-order",
        0,
        "--out",
        tmp_path / "lm",
    )
    assert "RINKI" in LanguageModel.load(tmp_path / "lm").vocabulary


def test_eval_prints_a_table_and_warns_of_training_sentences(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("build", "--manifest", manifest, "--split", "train", "--out", tmp_path / "lm")
    capsys.readouterr()
    assert run("eval", "--lm", tmp_path / "lm", "--manifest", manifest, "--split", "dev") == 0
    printed = capsys.readouterr()
    assert "33.33% of tokens (2), 33.33% of types (2)" in printed.out
    assert "pay 1, rinmi 1" in printed.out
    assert "1 of 2 sentences are in the training text" in printed.err


def test_eval_prints_one_json_line(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("build", "--manifest", manifest, "--split", "train", "--prune", 0, 0, 1, "--out", tmp_path / "lm")
    capsys.readouterr()
    run("eval", "--lm", tmp_path / "lm", "--manifest", manifest, "--split", "dev", "--json", "--top", 1)
    (line,) = capsys.readouterr().out.splitlines()
    values = json.loads(line)
    assert (values["sentences"], values["training_sentences"]) == (2, 1)
    assert values["word"]["unknown_most_frequent"] == [["pay", 1]]
    assert values["word"]["perplexity"] > 1
    assert values["character"]["bits_per_character"] > 0
    assert "case:lower" in values["policy"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    folder = tmp_path / "exp" / "model"
    folder.mkdir(parents=True)
    texts = ["ñuka rini", "kan rinki", "ñuka kanmi", "pay rinmi"]
    piece_tokenizer(texts, TextPolicy(), num_pieces=24).save(folder / "tokenizer.json")
    return folder / "tokenizer.json"


def test_pieces_are_built_and_scored_with_the_tokenizer(
    manifest: Path, tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ["--manifest", manifest, "--split", "train"]
    experiment = tokenizer.parent.parent
    run("build", *text, "--policy", experiment, "--piece-order", 3, "--out", tmp_path / "lm")
    assert "piece        1-grams" in capsys.readouterr().out
    model = LanguageModel.load(tmp_path / "lm")
    assert model.word is not None
    assert model.character is None
    assert model.piece is not None
    assert model.pieces == Tokenizer.load(tokenizer).splitter().pieces
    run(
        "build", *text, "--policy", tokenizer, "--piece-order", 2, "--character-order", 3, "--piece-prune", 0, 1,
        "--out", tmp_path / "all",
    )  # fmt: skip
    assert LanguageModel.load(tmp_path / "all").character is not None
    capsys.readouterr()

    text = ["--manifest", manifest, "--split", "dev"]
    assert run("eval", "--lm", tmp_path / "lm", *text, "--tokenizer", tokenizer) == 0
    assert "piece 3-gram           perplexity" in capsys.readouterr().out
    assert run("eval", "--lm", tmp_path / "lm", *text) == 0
    assert "n-grams of pieces are left out; give --tokenizer" in capsys.readouterr().err
    with pytest.raises(InputError, match="n-grams of pieces alone"):
        run("eval", "--lm", tmp_path / "lm" / "piece.arpa", *text)
    assert run("eval", "--lm", tmp_path / "lm" / "piece.arpa", *text, "--tokenizer", tokenizer, "--json") == 0
    assert json.loads(capsys.readouterr().out)["piece"]["bits_per_character"] > 0


def test_what_no_piece_writes_is_told(
    tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("kan rinki\nñuka rini\n")
    build = ["build", "--text", text, "--policy", tokenizer, "--word-order", 0, "--piece-order", 2]
    run(*build, "--out", tmp_path / "lm")
    assert "left out" not in capsys.readouterr().out
    text.write_text("kan rinki ЖЖ\nñuka rini\n")
    run(*build, "--out", tmp_path / "other")
    assert "11.11% of the letters, from n-grams of pieces: no piece writes them" in capsys.readouterr().out

    score = ["eval", "--lm", tmp_path / "lm", "--tokenizer", tokenizer, "--text", text, "--json"]
    run(*score)
    found = json.loads(capsys.readouterr().out)["piece"]
    text.write_text("kan rinki\nñuka rini\n")
    run(*score)
    known = json.loads(capsys.readouterr().out)["piece"]
    assert (list(found["unknown_pieces"]), known["unknown_pieces"]) == (["жж"], {})
    assert found["perplexity"] > known["perplexity"]

    text.write_text("ЖЖ\n")
    with pytest.raises(InputError, match="pieces write nothing of it"):
        run(*build, "--out", tmp_path / "none")


def test_a_bare_file_of_pieces_is_scored_under_the_tokenizers_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["Ñuka Rini", "Kan Rinki"] * 4
    policy = TextPolicy(case="keep")
    tokenizer, text = tmp_path / "tokenizer.json", tmp_path / "text.txt"
    piece_tokenizer(texts, policy, num_pieces=16).save(tokenizer)
    text.write_text("\n".join(texts))
    run("build", "--text", text, "--policy", tokenizer, "--piece-order", 2, "--out", tmp_path / "lm")
    capsys.readouterr()
    perplexities = []
    for model in (tmp_path / "lm", tmp_path / "lm" / "piece.arpa"):
        run("eval", "--lm", model, "--text", text, "--tokenizer", tokenizer, "--json")
        printed = capsys.readouterr()
        found = json.loads(printed.out)
        assert found["policy"] == policy.describe()
        perplexities.append(found["piece"]["perplexity"])
    assert "does not say its text policy; the tokenizer's is used" in printed.err
    assert perplexities[0] == perplexities[1]


def test_settings_without_effect_are_refused_or_not_looked_at(
    manifest: Path, tokenizer: Path, tmp_path: Path
) -> None:
    arguments = ["build", "--manifest", manifest, "--policy", tokenizer, "--out", tmp_path / "lm"]
    for given, message in (
        (["--piece-prune", 5], r"--piece-prune has no effect: .*--piece-order\."),
        (
            ["--piece-order", 3, "--character-prune", 0, 1],
            r"--character-prune has no effect: .*--character-order\.",
        ),
        (["--word-order", 0, "--prune", 0], r"--prune has no effect: .*--word-order\."),
    ):
        with pytest.raises(InputError, match=message):
            run(*arguments, *given)
    assert not (tmp_path / "lm").exists()
    run(*arguments, "--prune", 0, 1)
    letters = tmp_path / "letters.json"
    character_tokenizer(["a b"], TextPolicy()).save(letters)
    assert run("eval", "--lm", tmp_path / "lm", "--manifest", manifest, "--tokenizer", letters) == 0


def test_pieces_need_a_tokenizer_that_has_some(manifest: Path, tmp_path: Path) -> None:
    arguments = ["build", "--manifest", manifest, "--piece-order", 3, "--out", tmp_path / "lm"]
    with pytest.raises(InputError, match="Give --policy with its folder"):
        run(*arguments)
    letters = tmp_path / "tokenizer.json"
    character_tokenizer(["a b"], TextPolicy()).save(letters)
    with pytest.raises(InputError, match="this tokenizer's labels are letters"):
        run(*arguments, "--policy", letters)
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(TextPolicy().to_dict()))
    arguments[2] = tmp_path / "nowhere.tsv"  # the text is read last
    with pytest.raises(InputError, match=r"policy\.json is no tokenizer"):
        run(*arguments, "--policy", policy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "--out", "lm"], "no text"),
        (["build", "--text", "nowhere.txt", "--out", "lm"], r"nowhere\.txt"),
        (["build", "--text", "pyproject.toml", "--policy", "nowhere.json", "--out", "lm"], r"nowhere\.json"),
        (["eval", "--lm", "nowhere", "--text", "nowhere.txt"], "nowhere does not exist"),
    ],
)
def test_mistakes_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*arguments)


def test_a_command_is_needed() -> None:
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 2
