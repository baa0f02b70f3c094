"""`loquela lm tune` from its command line, with a model whose emissions say what they are given."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

import asr.emissions
import asr.opened
import asr.tune
from asr.cli import main
from asr.decode import EmissionArray
from asr.manifest import Utterance, write_manifest
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer, piece_tokenizer
from lm.build import build_language_model
from lm.errors import InputError
from lm.folder import LanguageModel
from tests.asr.decode.toy import peaky_emissions

PUBLISHED = Tokenizer(
    surfaces=("", " ", *"ABÑ\N{COMBINING TILDE}"), policy=TextPolicy(case="keep", punctuation="keep")
)
"""As a published model's: no policy of its own, and no labels for small letters and punctuation."""
TEXTS = ("Ab, ba.", "Ba ab ba!", "Ab ab.")


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A language model, dev and a model that hears it without an error."""

    def say(
        model: SimpleNamespace, utterances: Sequence[Utterance]
    ) -> Iterator[tuple[Utterance, EmissionArray]]:
        for each in utterances:
            spoken = "".join(char for char in each.text.upper() if char in "AB ")
            labels = [(2 * at + 1, PUBLISHED.surfaces.index(char)) for at, char in enumerate(spoken)]
            yield each, peaky_emissions(labels, 2 * len(labels) + 2, len(PUBLISHED))

    opened = SimpleNamespace(model=SimpleNamespace(tokenizer=PUBLISHED))
    monkeypatch.setattr(asr.opened, "open_model", lambda *_: opened)
    monkeypatch.setattr(asr.emissions, "utterance_emissions", say)
    build_language_model(
        ["ab ba", "ba ab", "ab", "ñab"], tmp_path / "lm", word_order=2, character_order=0, policy={}
    )
    write_manifest(
        [
            Utterance(id=f"u{n}", audio=tmp_path / "none.wav", duration_s=1, text=text, split="dev")
            for n, text in enumerate(TEXTS)
        ],
        tmp_path / "dev.tsv",
    )
    given = [
        "lm",
        "tune",
        "--model",
        "m",
        "--lm",
        str(tmp_path / "lm"),
        "--manifest",
        str(tmp_path / "dev.tsv"),
    ]
    for weight in ("lm_weight=0.1", "word_bonus=0", "unknown_offset=-3", "spelling_weight=0.5"):
        given += ["--grid", weight]
    return given


def test_references_are_what_the_model_can_write(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["wer"], found["cer"]) == (0.0, 0.0)


def test_one_utterance_gives_no_interval(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_language_model(["ab ba", "ba ab"], tmp_path / "both", word_order=2, character_order=2, policy={})
    write_manifest(
        [Utterance(id="u", audio=tmp_path / "none.wav", duration_s=1, text=TEXTS[0], split="dev")],
        tmp_path / "one.tsv",
    )
    given = arguments[: arguments.index("--grid")]
    given[given.index("--lm") + 1] = str(tmp_path / "both")
    given[given.index("--manifest") + 1] = str(tmp_path / "one.tsv")
    assert main(given) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out, parse_constant=pytest.fail)
    assert {(each["low"], each["high"]) for each in found["against"].values()} == {(None, None)}
    assert "points of WER (not shown: one utterance gives no interval)" in captured.err


def test_when_no_recording_can_be_read_that_is_said(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(model: object, rows: Sequence[Utterance]) -> Iterator[tuple[Utterance, InputError]]:
        yield from ((row, InputError("none.wav is broken.")) for row in rows)

    monkeypatch.setattr(asr.emissions, "utterance_emissions", fail)
    assert main(arguments) == 1
    assert "none of its recordings for tuning could be read" in capsys.readouterr().err


def test_dev_sentences_of_the_training_text_are_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert "warning: 1 of 3 sentences are in the training text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--grid", "word_bonu=0,2"], "word_bonu has no effect here"),
        (["--grid", "lm_weight=-1,0.5"], "lm_weight must not be negative; got -1.0"),
        (["--grid", "word_bonus=0,inf"], "word_bonus must be a finite number; got inf"),
        (["--beam", "0"], "beam_width must be at least 1; got 0"),
    ],
)
def test_a_wrong_setting_is_told_before_dev_is_encoded(
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr(asr.emissions, "utterance_emissions", refuse)
    assert main([*arguments, *options]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("named", ["dev.tsv", "words.txt"])
def test_the_table_never_replaces_an_input(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named: str,
) -> None:
    (tmp_path / "words.txt").write_text("ab\n")
    before = (tmp_path / named).read_bytes()
    monkeypatch.setattr(asr.opened, "open_model", None)  # told before it is loaded
    given = [*arguments, "--hotwords", str(tmp_path / "words.txt"), "--table", str(tmp_path / named)]
    assert main(given) == 1
    assert "one of the inputs, and is kept in any case. Give another --table" in capsys.readouterr().err
    assert (tmp_path / named).read_bytes() == before


def test_what_cannot_be_saved_is_printed(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lm" / "lm.json.partial").mkdir()
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["decoding"]["lm_weight"] == 0.1
    assert "lm.json cannot be written" in printed.err


def test_words_pieces_and_both_are_compared(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pieces = piece_tokenizer(["AB BA", "BA AB AB"] * 3, PUBLISHED.policy, num_pieces=8)
    opened = SimpleNamespace(model=SimpleNamespace(tokenizer=pieces))

    def say(
        model: SimpleNamespace, utterances: Sequence[Utterance]
    ) -> Iterator[tuple[Utterance, EmissionArray]]:
        for each in utterances:
            labels = [(2 * at + 1, label) for at, label in enumerate(pieces.spell(each.text))]
            yield each, peaky_emissions(labels, 2 * len(labels) + 2, len(pieces))

    monkeypatch.setattr(asr.emissions, "utterance_emissions", say)
    with_pieces = {"word_order": 2, "character_order": 0, "piece_order": 2, "overwrite": True}
    build_language_model(["AB BA", "BA AB"], tmp_path / "lm", splitter=pieces.splitter(), **with_pieces)
    assert main(arguments) == 1
    assert "but the acoustic model writes letters" in capsys.readouterr().err

    monkeypatch.setattr(asr.opened, "open_model", lambda *_: opened)
    assert main([*arguments, "--grid", "piece_weight=0,0.2"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert set(found["arms"]) == {"both", "word", "piece"}
    assert found["arms"]["piece"]["wer"] == 0.0
    assert "words and pieces" in printed.err
    assert "pieces alone" in printed.err
    assert LanguageModel.load(tmp_path / "lm").decoding == found["decoding"]

    assert main([*arguments[:-2], "--units", "word"]) == 0
    assert json.loads(capsys.readouterr().out)["units"] == "word"


@pytest.mark.parametrize(
    ("hotword", "grid", "weight", "lines"),
    [
        ("ab", [], 4.0, ["3 of 3 utterances have any"]),
        ("bbbb", [], 4.0, ["0 of 3 utterances have any", "their weight is not tuned and stays 4"]),
        ("bbbb", ["0,2"], 4.0, ["0 of 3 utterances have any"]),
        (
            "ba ab",
            ["0,1000"],
            0.0,
            ["1 of 3 utterances have any", "hotword_weight 0, which makes the fewest"],
        ),
    ],
)
def test_a_weight_that_silences_hotwords_is_saved_only_where_dev_wants_it_and_said(
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    hotword: str,
    grid: list[str],
    weight: float,
    lines: list[str],
) -> None:
    (tmp_path / "hotwords.txt").write_text(hotword.upper())
    given = [*arguments, "--hotwords", str(tmp_path / "hotwords.txt")]
    for values in grid:
        given += ["--grid", f"hotword_weight={values}"]
    assert main(given) == 0
    said = capsys.readouterr().err
    saved = LanguageModel.load(tmp_path / "lm").decoding or {}
    assert saved["hotword_weight"] == weight
    assert all(line in said for line in lines)
    assert ("hotword_weight 0" in said.splitlines()[-1]) == (weight == 0)


def test_hotwords_are_tuned_in_the_form_of_the_labels(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hotwords.txt").write_text(unicodedata.normalize("NFD", "Ñ"), encoding="utf-8")
    seen: dict[str, object] = {}

    def look(*_: object, **named: object) -> None:
        seen.update(named)
        raise InputError("seen")

    monkeypatch.setattr(asr.tune, "tune", look)
    assert main([*arguments, "--hotwords", str(tmp_path / "hotwords.txt")]) == 1
    assert seen["hotwords"] == {"Ñ": None}
