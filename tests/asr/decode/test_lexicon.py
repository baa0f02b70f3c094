"""Known words as a tree, and an open word's estimate."""

from __future__ import annotations

import math

import pytest

from asr.decode.config import BeamSearchConfig
from asr.decode.engine import _step
from asr.decode.lexicon import Models, make_lexicon
from tests.asr.decode.toy import ToyModel, ToyNgram

NUMBERS = {" ": 0, "a": 1, "b": 2}


def test_words_are_found_by_their_letters_and_no_others() -> None:
    lexicon = make_lexicon([("a", 3), ("ab", 4), ("bb", 5), ("ax", 6)], [0, 0, 0, -1, -2, -3, -4], NUMBERS)
    place = 0
    for char, word, best in ((1, 3, -1.0), (2, 4, -2.0)):
        place = _step(lexicon, place, char)
        assert lexicon.word[place] == word
        assert lexicon.best[place] == best
    assert _step(lexicon, place, 1) == -1
    assert _step(lexicon, -1, 1) == -1
    assert lexicon.word[_step(lexicon, 0, 2)] == -1
    assert len(lexicon.word) == 5  # "ax" has a letter that no label writes


def test_an_open_word_is_estimated_by_the_best_word_it_can_become() -> None:
    words = ToyNgram(("a", "ab", "b"), seed=1, unknown=-30.0)
    models = Models(("", "a", "b", " "), 0, ToyModel(word=words), BeamSearchConfig())
    unigrams = {word: words.log_probs(["unseen", word])[1] for word in ("a", "ab", "b")}
    place = _step(models.lexicon, 0, models.numbers["a"])
    assert models.lexicon.best[place] == pytest.approx(max(unigrams["a"], unigrams["ab"]), abs=1e-5)
    place = _step(models.lexicon, place, models.numbers["b"])
    assert models.lexicon.best[place] == pytest.approx(unigrams["ab"], abs=1e-5)
    assert models.settings.unknown == pytest.approx(-30.0, abs=1e-5)
    assert models.settings.uniform == pytest.approx(-math.log(3))
