"""N-grams of sentence pieces: scores against kenlm's, and language models that are of other pieces."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.decode import BeamDecoder, BeamSearchConfig, EmissionArray, build_decoder, reconcile
from asr.decode.fusion import components
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer, character_tokenizer, piece_tokenizer
from lm.build import build_language_model
from lm.corpus import piece_of
from lm.errors import InputError
from lm.folder import LanguageModel
from tests.asr.decode.test_reconcile import arpa
from tests.asr.decode.toy import random_emissions, toy_model

TEXTS = ["mama mia", "ama mama", "mia ama mama", "ma mima", "mimama mia ama"] * 4


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return piece_tokenizer(TEXTS, TextPolicy(), num_pieces=14)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("pieces") / "lm"
    build_language_model(
        TEXTS, folder, word_order=2, character_order=3, piece_order=3, splitter=tokenizer.splitter()
    )
    return LanguageModel.load(folder)


def saying(labels: list[int], num_labels: int) -> EmissionArray:
    """Emissions with one path: the labels, a blank after each."""
    with np.errstate(divide="ignore"):
        emissions = np.log(np.zeros((2 * len(labels), num_labels), dtype=np.float32))
    emissions[1::2, 0] = 0.0
    emissions[np.arange(0, len(emissions), 2), labels] = 0.0
    return emissions


@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_the_score_of_the_only_row_of_labels_is_kenlms(
    tokenizer: Tokenizer, model: LanguageModel, engine: str
) -> None:
    labels = tokenizer.encode("mama mima")
    rows = [labels, [tokenizer.surfaces.index(" "), *labels], [*labels, tokenizer.surfaces.index(" ")]]
    assert model.piece is not None
    for units in ("piece", "both"):
        config = BeamSearchConfig(piece_weight=0.7, engine=engine)
        chosen = model.only(units)  # type: ignore[arg-type]
        for row in rows:
            best = build_decoder(tokenizer.surfaces, 0, chosen, config).decode(saying(row, len(tokenizer)))[0]
            assert best.text == "mama mima"
            assert best.written == tuple(tokenizer.surfaces[label] for label in row)
            by_kenlm = 0.7 * sum(model.piece.log_probs(piece_of(surface) for surface in best.written))
            others = components(replace(chosen, piece=None), best.text).total(config) - 2 * config.word_bonus
            assert best.lm_score == pytest.approx(by_kenlm + others, abs=1e-5)
            assert (best.ctc_score, best.word_score) == pytest.approx((0.0, 2 * config.word_bonus))
            whole = components(chosen, best.text, best.written).total(config)
            assert best.score == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_rows_that_write_one_text_are_summed_each_with_its_own_score(
    tokenizer: Tokenizer, model: LanguageModel, engine: str
) -> None:
    assert model.piece is not None
    surfaces = tokenizer.surfaces
    one, other = (surfaces.index(piece) for piece in (" ma", " "))
    m, a = surfaces.index("m"), surfaces.index("a")
    emissions = np.full((6, len(surfaces)), -math.inf, dtype=np.float32)
    emissions[1:, 0] = math.log(0.5)
    emissions[0, [one, other]] = math.log(0.7), math.log(0.3)
    emissions[2, m], emissions[4, a] = math.log(0.5), math.log(0.5)
    config = BeamSearchConfig(piece_weight=0.7, num_hypotheses=64, engine=engine)
    decoder = build_decoder(surfaces, 0, model.only("piece"), config)
    found = next(each for each in decoder.decode(emissions) if each.text == "ma")
    ctc = [math.log(0.7 * 0.5**5), math.log(0.3 * 0.5**5)]
    ngrams = [sum(model.piece.log_probs(row)) for row in (["▁ma"], ["▁", "m", "a"])]
    assert found.ctc_score == pytest.approx(np.logaddexp(*ctc), abs=1e-5)
    together = np.logaddexp(ctc[0] + 0.7 * ngrams[0], ctc[1] + 0.7 * ngrams[1])
    assert found.ctc_score + found.lm_score == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_labels_of_languages_do_not_divide_the_beam(engine: str) -> None:
    surfaces = ("", "a", " a", "ab", " ", "b", "", "", "", "")
    config = BeamSearchConfig(beam_width=16, num_hypotheses=16, word_bonus=0.0, engine=engine)
    decoder = BeamDecoder(surfaces, 0, toy_model("piece"), config)
    for seed in range(4):
        speech = random_emissions(30, len(surfaces), seed, sharpness=2.0)
        speech[:, 6:] = speech[0] = -math.inf
        speech[0, 2] = 0.0  # " a", whatever the language
        one, four = (np.full((1, len(surfaces)), -math.inf, dtype=np.float32) for _ in range(2))
        one[0, 6], four[0, 6:] = 0.0, math.log(0.25)
        expected, found = (decoder.decode(np.concatenate([first, speech])) for first in (one, four))
        assert [each.text for each in found] == [each.text for each in expected]
        assert [each.score for each in found] == pytest.approx([each.score for each in expected], abs=1e-5)


def test_without_weight_the_pieces_change_nothing(tokenizer: Tokenizer, model: LanguageModel) -> None:
    emissions = random_emissions(30, len(tokenizer), seed=1, sharpness=3.0)
    config = BeamSearchConfig(piece_weight=0.0, num_hypotheses=8)
    found = build_decoder(tokenizer.surfaces, 0, model, config).decode(emissions)
    assert found == build_decoder(tokenizer.surfaces, 0, replace(model, piece=None), config).decode(emissions)


def test_what_leaves_a_word_unseen_is_spelled_as_ever(tokenizer: Tokenizer, model: LanguageModel) -> None:
    labels = tokenizer.encode("iimm")
    assert model.word is not None
    assert "iimm" not in model.word
    words_and_pieces = replace(model, character=None)
    config = BeamSearchConfig()
    best = build_decoder(tokenizer.surfaces, 0, words_and_pieces, config).decode(
        saying(labels, len(tokenizer))
    )
    found = components(words_and_pieces, "iimm", best[0].written)
    assert found.spelling < 0
    assert best[0].score == pytest.approx(found.total(config), abs=1e-5)


def test_pieces_of_another_tokenizer_are_refused(tokenizer: Tokenizer, model: LanguageModel) -> None:
    other = piece_tokenizer(TEXTS, TextPolicy(), num_pieces=10)
    for surfaces in (other.surfaces, (*tokenizer.surfaces, " mam")):
        with pytest.raises(
            InputError, match=r"another tokenizer's sentence pieces: .*Build it with --policy"
        ):
            build_decoder(surfaces, 0, model)
    letters = character_tokenizer(TEXTS, TextPolicy()).surfaces
    with pytest.raises(
        InputError, match=r"the acoustic model writes letters.* or use its words and characters alone"
    ):
        build_decoder(letters, 0, model)
    with pytest.raises(
        InputError, match=r"writes letters\. Build it with --character-order instead of --piece-order\.$"
    ):
        build_decoder(letters, 0, model.only("piece"))
    assert build_decoder(letters, 0, model.only("word"))


def test_pieces_without_weight_may_be_of_any_tokenizer(tokenizer: Tokenizer, model: LanguageModel) -> None:
    letters = character_tokenizer(TEXTS, TextPolicy()).surfaces
    emissions = random_emissions(30, len(letters), seed=1, sharpness=3.0)
    config = BeamSearchConfig(piece_weight=0.0)
    found = build_decoder(letters, 0, model, config).decode(emissions)
    assert found == build_decoder(letters, 0, replace(model, piece=None, pieces=()), config).decode(emissions)


def test_a_bare_file_of_pieces_is_known_by_its_tokens(
    tokenizer: Tokenizer, model: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = LanguageModel.load(model.path / "piece.arpa")
    assert "its tokens begin with ▁, as sentence pieces do" in capsys.readouterr().err
    assert (bare.word, bare.character, bare.pieces) == (None, None, ())
    emissions = random_emissions(30, len(tokenizer), seed=1, sharpness=3.0)
    config = BeamSearchConfig(num_hypotheses=8)
    found = build_decoder(tokenizer.surfaces, 0, bare, config).decode(emissions)
    assert found == build_decoder(tokenizer.surfaces, 0, model.only("piece"), config).decode(emissions)
    fewer = tuple(surface for surface in tokenizer.surfaces if surface != " ma")
    with pytest.raises(InputError, match=r"1 of its \d+ are none of the acoustic model's .*\(▁ma\)"):
        build_decoder(fewer, 0, bare)


def test_a_bare_file_may_hold_few_letters_that_no_piece_writes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """What spm_encode makes of a letter without a piece stands among the pieces as it is."""
    path, lines = tmp_path / "pieces.arpa", list[str]()
    bare = arpa(path, {"▁ma": -0.3, "m": -0.3, "z": -4.0})
    found = reconcile(tokenizer.surfaces, bare, lines.append)
    assert lines[0] == "language model: 0.01% of its pieces are none of the acoustic model's: z"
    lines.clear()
    assert reconcile(tokenizer.surfaces, found, lines.append) is found
    assert not lines
    assert build_decoder(tokenizer.surfaces, 0, bare)
    bare = arpa(path, {"▁ma": -0.3, "m": -0.3, "z": -2.0})
    with pytest.raises(InputError, match=r"1 of its 3 are none of the acoustic model's .*\(z\)"):
        reconcile(tokenizer.surfaces, bare)
    with pytest.raises(InputError, match=r"1 of its 2 are none of the acoustic model's .*\(▁\)"):
        reconcile(("", " ma", "m"), arpa(path, {"▁ma": -0.3, "▁": -0.3}))


def test_words_are_reconciled_and_pieces_stay(tokenizer: Tokenizer, tmp_path: Path) -> None:
    shouted = [text.upper() for text in TEXTS]
    build_language_model(
        shouted, tmp_path / "lm", word_order=2, character_order=0, piece_order=2,
        splitter=replace(tokenizer.splitter(), split=lambda text: tokenizer.splitter().split(text.lower())),
    )  # fmt: skip
    model = LanguageModel.load(tmp_path / "lm")
    found = reconcile(tokenizer.surfaces, model, lambda line: None)
    assert found.vocabulary == tuple(sorted({word for text in TEXTS for word in text.split()}))
    assert (found.piece, found.pieces) == (model.piece, model.pieces)
    assert reconcile(tokenizer.surfaces, found) is found
