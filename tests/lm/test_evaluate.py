"""Perplexities and unknown words, against our own backoff on the ARPA files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lm.build import build_language_model
from lm.corpus import Splitter
from lm.errors import InputError
from lm.evaluate import evaluate
from lm.folder import LanguageModel
from tests.lm.plain import open_word_log_prob, read_plain

TRAIN = ["a b c", "a b d", "b a", "a b c"]
TEST = ["a b e", "b a", "e f a", "e f a"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("evaluate") / "lm"
    build_language_model(TRAIN, folder, word_order=2, character_order=3)
    return LanguageModel.load(folder)


def test_word_perplexity_is_the_geometric_mean_of_inverse_probabilities(model: LanguageModel) -> None:
    arpa = read_plain(model.path / "word.arpa")
    scores, known = [], []
    for sentence in TEST:
        tokens = ["<s>", *sentence.split(), "</s>"]
        for place, token in enumerate(tokens[1:], start=1):
            scores.append(arpa.log10_prob(tokens[:place], token))
            if (token,) in arpa.grams[0]:
                known.append(scores[-1])
    word = evaluate(model, TEST).word
    assert word is not None
    assert (len(scores), len(known)) == (15, 10)
    assert word.perplexity == pytest.approx(10 ** (-sum(scores) / 15), rel=1e-5)
    assert word.perplexity_known == pytest.approx(10 ** (-sum(known) / 10), rel=1e-5)
    assert word.order == 2


def test_character_perplexity_counts_spaces_and_the_end(model: LanguageModel) -> None:
    arpa = read_plain(model.path / "character.arpa")
    scores = []
    for sentence in TEST:
        tokens = ["<s>", *sentence.replace(" ", "▁"), "</s>"]
        scores += [arpa.log10_prob(tokens[:place], tokens[place]) for place in range(1, len(tokens))]
    character = evaluate(model, TEST).character
    assert character is not None
    assert len(scores) == 5 + 3 + 5 + 5 + 4
    assert character.perplexity == pytest.approx(10 ** (-sum(scores) / len(scores)), rel=1e-5)
    assert character.bits_per_character == pytest.approx(math.log2(character.perplexity))
    assert character.unknown_characters == {"e": 3, "f": 2}


def test_bits_of_pieces_are_per_character_as_well(tmp_path: Path) -> None:
    splitter = Splitter(("▁a", "▁b", "▁c", "▁d"), lambda text: [f"▁{word}" for word in text.split()])
    build_language_model(TRAIN, tmp_path / "lm", character_order=0, piece_order=2, splitter=splitter)
    model = LanguageModel.load(tmp_path / "lm")
    arpa = read_plain(tmp_path / "lm" / "piece.arpa")
    scores = []
    for sentence in TEST:
        tokens = ["<s>", *splitter.split(sentence), "</s>"]
        scores += [arpa.log10_prob(tokens[:place], tokens[place]) for place in range(1, len(tokens))]
    piece = evaluate(model, TEST, splitter=splitter).piece
    assert piece is not None
    assert piece.perplexity == pytest.approx(10 ** (-sum(scores) / 15), rel=1e-5)
    assert piece.bits_per_character == pytest.approx(-sum(scores) / math.log10(2) / 22, rel=1e-5)
    assert piece.unknown_pieces == {"▁e": 3, "▁f": 2}
    assert evaluate(model, TEST).piece is None
    with pytest.raises(InputError, match="another tokenizer's pieces"):
        evaluate(model, TEST, splitter=Splitter(("▁a",), splitter.split))


def test_bits_per_character_of_words_spell_the_unknown_ones(model: LanguageModel) -> None:
    assert model.word is not None
    total = 0.0
    for sentence in TEST:
        state = model.word.start()
        for token in sentence.split():
            state, log_prob = open_word_log_prob(model, state, token)
            total += log_prob
        total += model.word.end(state)
    word = evaluate(model, TEST).word
    assert word is not None
    assert word.bits_per_character == pytest.approx(-total / math.log(2) / 22)
    alone = evaluate(model.only("word"), TEST).word
    assert alone is not None
    assert alone.bits_per_character is None


def test_unknown_words_are_counted_by_token_and_type(model: LanguageModel) -> None:
    word = evaluate(model, TEST, top=1).word
    assert word is not None
    assert (word.unknown_tokens, word.unknown_types) == (5, 2)
    assert word.unknown_token_rate == pytest.approx(5 / 11)
    assert word.unknown_type_rate == pytest.approx(2 / 4)
    assert word.unknown_most_frequent == [("e", 3)]


def test_sentences_that_were_trained_on_or_repeat_are_counted(model: LanguageModel) -> None:
    result = evaluate(model, TEST)
    assert (result.sentences, result.words, result.characters) == (4, 11, 18)
    assert (result.training_sentences, result.repeated_sentences) == (1, 1)  # "b a"; "e f a"
    bare = evaluate(LanguageModel.load(model.path / "word.arpa"), TEST)
    assert bare.training_sentences is None
    assert bare.character is None
    with pytest.raises(InputError, match="no sentence"):
        evaluate(model, [])
