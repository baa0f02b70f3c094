"""Prefix beam search against the sum over all paths, and under pruning."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from asr.best_path import advance
from asr.decode import BeamDecoder, BeamSearchConfig, GreedyDecoder, build_decoder, plain_text
from asr.decode.engine import search
from asr.decode.fusion import components
from lm.errors import InputError
from tests.asr.decode.toy import (
    EVERYTHING,
    LETTERS,
    PIECES,
    WITH_SPECIAL,
    every_text,
    peaky_emissions,
    random_emissions,
    toy_model,
)

# Defaults suit real languages; a toy one, whose words are nearly free, needs no bonus for them.
TOY = BeamSearchConfig(word_bonus=0.0, unknown_offset=0.0)


@lru_cache
def truth(surfaces: tuple[str, ...], blank: int, num_frames: int) -> dict[str, float]:
    return every_text(random_emissions(num_frames, len(surfaces), seed=num_frames), surfaces, blank)


@pytest.mark.parametrize("score_end", [True, False])
@pytest.mark.parametrize("kind", ["none", "word", "word+vocabulary", "character", "both"])
@pytest.mark.parametrize(
    ("surfaces", "blank", "num_frames"), [(LETTERS, 0, 6), (PIECES, 0, 4), (WITH_SPECIAL, 1, 5)]
)
def test_without_pruning_every_text_has_the_score_of_its_definition(
    surfaces: tuple[str, ...], blank: int, num_frames: int, kind: str, score_end: bool
) -> None:
    emissions = random_emissions(num_frames, len(surfaces), seed=num_frames)
    model = None if kind == "none" else toy_model(kind)
    config = replace(EVERYTHING, score_end=score_end)
    by_definition = truth(surfaces, blank, num_frames)
    scores = {
        text: ctc
        + (components(model, text, score_end=score_end).total(config) if model else 0.9 * len(text.split()))
        for text, ctc in by_definition.items()
    }

    hypotheses = BeamDecoder(surfaces, blank, model, config).decode(emissions)

    assert [hypothesis.text for hypothesis in hypotheses] == sorted(scores, key=lambda text: -scores[text])
    for hypothesis in hypotheses:
        assert hypothesis.score == pytest.approx(scores[hypothesis.text], abs=1e-4)
        assert hypothesis.ctc_score == pytest.approx(by_definition[hypothesis.text], abs=1e-4)
        assert " ".join(word.text for word in hypothesis.words) == hypothesis.text


def test_the_probabilities_of_all_texts_sum_to_one() -> None:
    emissions = random_emissions(6, len(LETTERS), seed=9)
    hypotheses = BeamDecoder(LETTERS, 0, None, EVERYTHING).decode(emissions)
    assert sum(math.exp(hypothesis.ctc_score) for hypothesis in hypotheses) == pytest.approx(1, abs=1e-4)


def test_an_unseen_word_is_written_when_the_audio_says_so() -> None:
    emissions = peaky_emissions([(2, 1), (4, 3), (6, 3), (9, 2), (12, 3), (14, 1)], 18, 4, peak=0.9999)
    model = toy_model("both")
    assert model.word is not None
    assert "abb" not in model.word
    for kind in ("word", "word+vocabulary", "both"):
        decoder = build_decoder(LETTERS, 0, toy_model(kind), TOY)
        assert decoder.decode(emissions)[0].text == "abb ba"


def test_the_language_model_decides_between_readings_the_audio_leaves_open() -> None:
    emissions = np.log(np.array([[0.02, 0.49, 0.0, 0.49]]) + 1e-9).astype(np.float32)
    for kind in ("word", "character", "both"):
        model = toy_model(kind)
        best = max(("a", "b"), key=lambda text: components(model, text).total(BeamSearchConfig()))
        worse = "ab".replace(best, "")
        tilted = emissions.copy()
        tilted[0, LETTERS.index(worse)] += 0.01  # the audio alone would say the other
        assert BeamDecoder(LETTERS, 0, model, BeamSearchConfig()).decode(tilted)[0].text == best
        assert GreedyDecoder(LETTERS, 0).decode(tilted)[0].text == worse


@pytest.mark.parametrize("seed", range(20))
def test_beam_search_finds_a_text_at_least_as_probable_as_the_best_path(seed: int) -> None:
    emissions = random_emissions(30, 8, seed, sharpness=2.5)
    surfaces = ("", " ", *"abcdef")
    config = BeamSearchConfig(word_bonus=0.0, num_hypotheses=64)
    found = BeamDecoder(surfaces, 0, None, config).decode(emissions)
    greedy = GreedyDecoder(surfaces, 0).decode(emissions)[0]
    assert found[0].ctc_score >= greedy.score - 1e-6
    assert all(one.score >= other.score for one, other in pairwise(found))
    assert len({hypothesis.text for hypothesis in found}) == len(found)


def test_default_pruning_finds_what_a_wide_open_search_finds() -> None:
    wide = replace(TOY, beam_width=300, beam_threshold=40.0, label_threshold=math.inf)
    same = 0
    for seed in range(10):
        emissions = random_emissions(20, 4, seed, sharpness=3.0)
        texts = [
            BeamDecoder(LETTERS, 0, toy_model("both"), config).decode(emissions)[0].text
            for config in (wide, replace(TOY, beam_width=32))
        ]
        same += texts[0] == texts[1]
    assert same >= 9


def test_sharp_emissions_give_the_greedy_text_and_word_times() -> None:
    emissions = peaky_emissions([(2, 1), (4, 3), (9, 2), (12, 3)], 18, len(LETTERS))
    found = BeamDecoder(LETTERS, 0, None, BeamSearchConfig()).decode(emissions)[0]
    greedy = GreedyDecoder(LETTERS, 0).decode(emissions)[0]
    assert found.text == greedy.text == "ab b"
    assert [(word.text, word.start_frame, word.end_frame) for word in found.words] == [
        (word.text, word.start_frame, word.end_frame) for word in greedy.words
    ]


def test_no_frames_and_silence_give_one_empty_hypothesis() -> None:
    for emissions in (np.zeros((0, 4), dtype=np.float32), peaky_emissions([], 50, 4)):
        for decoder in (GreedyDecoder(LETTERS, 0), build_decoder(LETTERS, 0, toy_model("both"), TOY)):
            hypotheses = decoder.decode(emissions)
            assert [hypothesis.text for hypothesis in hypotheses] == [""]
            assert hypotheses[0].words == ()
            assert 0 <= hypotheses[0].confidence <= 1


def test_impossible_labels_do_not_break_the_search() -> None:
    emissions = np.full((5, 4), -np.inf, dtype=np.float32)
    emissions[:, 0] = 0.0
    emissions[2] = [-np.inf, 0.0, -np.inf, -np.inf]
    hypothesis = BeamDecoder(LETTERS, 0, toy_model("both"), BeamSearchConfig()).decode(emissions)[0]
    assert (hypothesis.text, hypothesis.ctc_score) == ("a", 0.0)


def test_the_word_bonus_needs_a_language_model_to_repay() -> None:
    emissions = random_emissions(20, 4, seed=1)
    one, other = (
        build_decoder(LETTERS, 0, None, BeamSearchConfig(word_bonus=bonus)).decode(emissions)
        for bonus in (0.0, 5.0)
    )
    assert one == other


@pytest.mark.parametrize("timed", [0, 1, 3])
def test_what_is_not_timed_is_the_same_text_without_words(timed: int) -> None:
    emissions, config = random_emissions(20, 4, seed=1), replace(TOY, num_hypotheses=8)
    everything = build_decoder(LETTERS, 0, toy_model("both"), config).decode(emissions)
    found = build_decoder(LETTERS, 0, toy_model("both"), config, timed=timed).decode(emissions)
    assert found[:timed] == everything[:timed]
    for one, whole in zip(found[timed:], everything[timed:], strict=True):
        assert whole.words
        assert one == replace(whole, words=(), confidence=one.confidence)
    assert sorted((each.confidence for each in found[timed:]), reverse=True) == [
        each.confidence for each in found[timed:]
    ]


def test_the_same_decoder_gives_the_same_result_again() -> None:
    decoder = BeamDecoder(LETTERS, 0, toy_model("both"), BeamSearchConfig(num_hypotheses=5))
    first = [decoder.decode(random_emissions(20, 4, seed)) for seed in range(3)]
    assert [decoder.decode(random_emissions(20, 4, seed)) for seed in range(3)] == first


def test_whole_numbers_in_a_configuration_do_not_compile_the_search_anew() -> None:
    emissions = random_emissions(4, 4, seed=1)
    models = toy_model("word")
    BeamDecoder(LETTERS, 0, models, BeamSearchConfig(word_bonus=2.0, lm_weight=1.0)).decode(emissions)
    compiled = len(search.signatures)
    BeamDecoder(LETTERS, 0, models, BeamSearchConfig(word_bonus=2, lm_weight=1)).decode(emissions)
    assert len(search.signatures) == compiled


def test_neither_do_emissions_that_are_read_only_or_transposed() -> None:
    emissions = random_emissions(12, 4, seed=1)
    decoder = BeamDecoder(LETTERS, 0, toy_model("word"), BeamSearchConfig())
    expected = decoder.decode(emissions)
    compiled = len(search.signatures), len(advance.signatures)
    fixed = emissions.copy()
    fixed.setflags(write=False)
    for same in (fixed, np.asfortranarray(emissions)):
        assert decoder.decode(same) == expected
    assert (len(search.signatures), len(advance.signatures)) == compiled


@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_a_decoder_that_was_used_can_be_pickled(engine: str) -> None:
    decoder = BeamDecoder(LETTERS, 0, toy_model("both"), BeamSearchConfig(engine=engine), "cpu")
    emissions = random_emissions(12, 4, seed=1)
    expected = decoder.decode(emissions)
    assert pickle.loads(pickle.dumps(decoder)).decode(emissions) == expected


def test_padding_is_refused_by_shape_and_nan_by_value() -> None:
    decoder = BeamDecoder(LETTERS, 0, None, BeamSearchConfig())
    with pytest.raises(ValueError, match=r"\(T, C\) with C = 4"):
        decoder.decode(np.zeros((2, 5, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="NaN"):
        decoder.decode(np.full((3, 4), np.nan, dtype=np.float32))
    with pytest.raises(TypeError, match=r"got Tensor\. Give emissions\.cpu\(\)\.numpy\(\)"):
        decoder.decode(torch.zeros(3, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value"),
    [("beam_width", 0), ("num_hypotheses", 0), ("lm_weight", -0.1), ("word_bonus", math.nan)],
)
def test_impossible_settings_are_refused_by_name(option: str, value: float) -> None:
    with pytest.raises(InputError, match=option):
        BeamSearchConfig(**{option: value})


def test_label_tables_that_spell_no_words_are_refused() -> None:
    with pytest.raises(ValueError, match="a space may only come first"):
        GreedyDecoder(("", "a b"), 0)
    with pytest.raises(ValueError, match="blank"):
        GreedyDecoder(("a", ""), 0)


def test_plain_text_keeps_single_spaces() -> None:
    assert plain_text([" ", "a", " ", " ", "b", " "]) == "a b"
