"""The language model's part of the score, grown letter by letter, against its definition."""

from __future__ import annotations

from itertools import product

import pytest

from asr.decode import BeamSearchConfig
from asr.decode.fusion import CachedNgram, Fusion, components
from tests.asr.decode.toy import ToyModel, ToyNgram, toy_model

CONFIG = BeamSearchConfig(
    lm_weight=0.8, char_weight=0.3, word_bonus=1.1, unknown_offset=-2.0, spelling_weight=0.4
)


@pytest.mark.parametrize("kind", ["word", "word+vocabulary", "character", "both"])
def test_a_text_grown_by_letters_scores_as_its_components_say(kind: str) -> None:
    model = toy_model(kind)
    fusion = Fusion(model, CONFIG)
    root = fusion.root()
    for length in range(6):
        for letters in product("ab ", repeat=length):
            text = " ".join("".join(letters).split())
            state = fusion.extend(root, text)
            assert state.text == text
            assert fusion.final(state) == pytest.approx(components(model, text).total(CONFIG), abs=1e-9)


def test_components_by_hand() -> None:
    words, characters = ToyNgram(("a", "ab"), seed=3), ToyNgram(("a", "b", "▁"), seed=4)
    model = ToyModel(word=words, character=characters)
    found = components(model, "ab ba")

    state, known = words.score(words.start(), "ab")
    state, unknown = words.score(state, "ba")
    assert found.word == pytest.approx(known + unknown + words.end(state))
    state, spelled = characters.start(), []
    for token in "ab▁ba":
        state, logp = characters.score(state, token)
        spelled.append(logp)
    spelled.append(characters.end(state))
    assert found.character == pytest.approx(sum(spelled))
    assert found.spelling == pytest.approx(sum(spelled[3:]))
    assert (found.num_unknown, found.num_words) == (1, 2)
    config = BeamSearchConfig(lm_weight=2, char_weight=3, word_bonus=5, unknown_offset=7, spelling_weight=11)
    by_hand = 2 * (found.word + 7 + 11 * found.spelling) + 3 * found.character + 5 * 2
    assert found.total(config) == pytest.approx(by_hand)


def test_spaces_at_the_start_or_in_a_row_change_nothing() -> None:
    fusion = Fusion(toy_model("both"), CONFIG)
    root = fusion.root()
    assert fusion.extend(root, " ") is root
    assert fusion.extend(root, " a  b") is fusion.extend(root, "a b")
    assert fusion.extend(fusion.extend(root, "a "), " b") is fusion.extend(root, "a b")


def test_an_open_word_is_estimated_by_the_best_word_it_can_become() -> None:
    words = ToyNgram(("a", "ab", "b"), seed=1, unknown=-30.0)
    model = ToyModel(word=words, vocabulary=("<unk>", "a", "ab", "b"))
    config = BeamSearchConfig(lm_weight=1.0, word_bonus=0.0, unknown_offset=0.0, spelling_weight=0.0)
    fusion = Fusion(model, config)
    context, _ = words.score(words.start(), "unseen")
    root = fusion.root()
    unigrams = {word: words.score(context, word)[1] for word in ("a", "ab", "b")}
    assert fusion.extend(root, "a").bias == pytest.approx(max(unigrams["a"], unigrams["ab"]))
    assert fusion.extend(root, "ab").bias == pytest.approx(unigrams["ab"])
    assert fusion.extend(root, "ba").bias == pytest.approx(-30.0)


def test_cached_scores_are_the_model_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ToyNgram(("a", "b"), seed=6)
    cached = CachedNgram(model)
    for _ in range(2):
        state, own = cached.start, model.start()
        for token in "abbax":
            state, logp, known = cached.score(state, token)
            own, expected = model.score(own, token)
            assert (logp, known) == (expected, token in model)
        assert cached.end(state) == model.end(own)
    monkeypatch.setattr("asr.decode.fusion.MAX_CACHED", 2)
    cached.trim()
    assert cached.score(cached.start, "a")[1] == model.score(model.start(), "a")[1]
