"""The language model's part of the score, by its definition."""

from __future__ import annotations

import pytest

from asr.decode import BeamSearchConfig
from asr.decode.fusion import components
from tests.asr.decode.toy import ToyModel, ToyNgram


def test_components_by_hand() -> None:
    words, characters = ToyNgram(("a", "ab"), seed=3), ToyNgram(("a", "b", "▁"), seed=4)
    model = ToyModel(word=words, character=characters)
    found = components(model, "ab ba")

    assert found.word == pytest.approx(sum(words.log_probs(["ab", "ba"])))
    spelled = characters.log_probs("ab▁ba")
    assert found.character == pytest.approx(sum(spelled))
    assert found.spelling == pytest.approx(sum(spelled[3:]))
    assert (found.num_unknown, found.num_words) == (1, 2)
    open_end = components(model, "ab ba", score_end=False)
    assert open_end.word == pytest.approx(sum(words.log_probs(["ab", "ba"])[:-1]))
    assert (open_end.character, open_end.spelling) == pytest.approx((sum(spelled[:-1]), sum(spelled[3:-1])))
    config = BeamSearchConfig(lm_weight=2, char_weight=3, word_bonus=5, unknown_offset=7, spelling_weight=11)
    by_hand = 2 * (found.word + 7 + 11 * found.spelling) + 3 * found.character + 5 * 2
    assert found.total(config) == pytest.approx(by_hand)
