"""What spells unknown words where a language model has words alone."""

from __future__ import annotations

import numpy as np
import pytest

from asr.decode import BeamDecoder, BeamSearchConfig
from asr.decode.fusion import components
from lm.build import build_language_model
from lm.corpus import characters_of
from lm.folder import LanguageModel
from lm.spelling import MOST_WORDS, spelling_model

WORDS = ("kallari", "kallpa", "kawsay", "killa", "kunan", "llakta", "llamkay", "pacha", "punku", "sumak")


def log_prob(word: str) -> float:
    model = spelling_model(WORDS)
    return sum(model.log_probs(characters_of(word)))


def test_words_like_the_known_ones_are_likelier() -> None:
    assert log_prob("llapa") > log_prob("xqzwv")
    # Two words cost less than both as one, which no known word is as long as.
    assert log_prob("killa punku") > log_prob("killapunku")


def test_it_is_the_same_each_time_and_does_not_need_its_file() -> None:
    first = spelling_model(WORDS)
    spelling_model.cache_clear()
    again = spelling_model(WORDS)
    assert again is not first
    assert not again.path.exists()
    assert again.vocabulary == first.vocabulary
    assert again.log_probs("kay") == first.log_probs("kay")


def test_of_many_words_some_are_drawn() -> None:
    words = tuple(f"{number:b}" for number in range(MOST_WORDS + 5_000))
    assert set(spelling_model(words).vocabulary) >= {"0", "1", "▁"}


@pytest.fixture(scope="module")
def word_only(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("lm") / "lm"
    build_language_model([" ".join(WORDS), "sumak killa"], folder, word_order=2, character_order=0)
    return LanguageModel.load(folder)


def test_a_model_of_words_alone_spells_with_their_letters(word_only: LanguageModel) -> None:
    assert word_only.character is None
    assert word_only.speller is spelling_model(word_only.vocabulary)
    found = components(word_only, "sumak llapa")
    assert found.num_unknown == 1
    assert found.spelling < 0
    assert found.character == 0.0


@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_the_search_scores_it_as_it_is_defined(word_only: LanguageModel, engine: str) -> None:
    surfaces = ("", " ", *sorted(set("".join(WORDS))))
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(12, len(surfaces)))
    for frame, char in enumerate("llapa sumak"):
        logits[frame, surfaces.index(char)] += 8.0
    emissions = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    config = BeamSearchConfig(engine=engine, num_hypotheses=5)
    found = BeamDecoder(surfaces, 0, word_only, config, "cpu").decode(emissions)
    assert found[0].text == "lapa sumak"  # no blank between the two l
    for hypothesis in found:
        total = components(word_only, hypothesis.text).total(config)
        assert hypothesis.lm_score + hypothesis.word_score == pytest.approx(total, abs=1e-5)
