"""Tuning of the decoder's weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from asr.decode import BeamDecoder, BeamSearchConfig, Decoder, FloatArray
from asr.decode.fusion import components
from asr.edits import error_counts
from asr.tune import Pool, default_grid, tune
from lm.errors import InputError
from tests.asr.decode.toy import peaky_emissions, toy_model

SURFACES = ("", "a", " ", "b")
MODEL = toy_model("both")


def dev_set(num_utterances: int) -> tuple[list[FloatArray], list[str]]:
    """Blurred emissions of texts that the language model finds likely."""
    rng = np.random.default_rng(11)
    emissions, texts = [], []
    for _ in range(num_utterances):
        drawn = [" ".join(rng.choice(["a", "ab", "b"], size=4)) for _ in range(6)]
        text = max(drawn, key=lambda text: components(MODEL, text).word)
        labels = [SURFACES.index(letter) for letter in text]
        frames = peaky_emissions(
            [(3 * place + 1, label) for place, label in enumerate(labels)], 3 * len(labels) + 2, 4
        )
        for place in range(len(labels)):
            if rng.random() < 0.5:
                frames[3 * place + 1] = np.log(rng.dirichlet([1, 1, 1, 1]))
        emissions.append(frames)
        texts.append(text)
    return emissions, texts


def decoder(config: BeamSearchConfig) -> Decoder:
    return BeamDecoder(SURFACES, 0, MODEL, config)


def word_errors(make: Callable[[BeamSearchConfig], Decoder], config: BeamSearchConfig) -> float:
    emissions, texts = dev_set(12)
    found = [make(config).decode(frames)[0].text for frames in emissions]
    wrong = sum(error_counts(a.split(), b.split()).errors for a, b in zip(texts, found, strict=True))
    return wrong / sum(len(text.split()) for text in texts)


SMALL = {"lm_weight": (0.0, 0.5, 1.0), "char_weight": (0.0, 0.5), "word_bonus": (-1.0, 1.0)}
BAD = BeamSearchConfig(lm_weight=0.0, char_weight=0.0, word_bonus=-8.0, beam_width=16)


def test_tuning_lowers_the_error_rate_and_tells_everything_it_tried() -> None:
    emissions, texts = dev_set(12)
    lines: list[str] = []
    result = tune(emissions, texts, decoder, MODEL, start=BAD, grid=SMALL, report=lines.append)

    decoded = [trial for trial in result.trials if trial.decoded]
    assert (result.wer, result.cer) == min((trial.wer, trial.cer) for trial in decoded)
    assert result.wer < decoded[0].wer
    assert result.wer == pytest.approx(word_errors(decoder, result.config))
    assert decoded[0].wer == pytest.approx(word_errors(decoder, BAD))
    assert len(lines) == len(decoded) >= 2
    tried = [trial.weights for trial in result.trials if not trial.decoded]
    for lm_weight in SMALL["lm_weight"]:
        for char_weight in SMALL["char_weight"]:
            for bonus in SMALL["word_bonus"]:
                assert {"lm_weight": lm_weight, "char_weight": char_weight, "word_bonus": bonus} in tried
    assert result.config.beam_width == 16
    assert result.config.num_hypotheses == 1


def test_tuning_twice_gives_the_same() -> None:
    emissions, texts = dev_set(6)
    assert tune(emissions, texts, decoder, MODEL, start=BAD, grid=SMALL) == tune(
        emissions, texts, decoder, MODEL, start=BAD, grid=SMALL
    )


def test_an_optimum_on_the_edge_extends_the_grid() -> None:
    emissions, texts = dev_set(8)
    grid = {"word_bonus": (-9.0, -8.0)}
    result = tune(emissions, texts, decoder, MODEL, start=BAD, grid=grid)
    tried = {trial.weights["word_bonus"] for trial in result.trials}
    assert max(tried) > -8.0
    assert result.config.word_bonus > -8.0
    assert result.edges in ((), ("word_bonus",))


def test_ranking_the_pool_anew_agrees_with_the_search() -> None:
    emissions, texts = dev_set(5)
    config = BeamSearchConfig(lm_weight=0.6, char_weight=0.2, num_hypotheses=64)
    pool = Pool(texts, MODEL, score_end=True)
    scores = []
    for utterance, frames in enumerate(emissions):
        hypotheses = decoder(config).decode(frames)
        scores.append([hypothesis.score for hypothesis in hypotheses])
        for hypothesis in hypotheses:
            pool.add(utterance, hypothesis.text, hypothesis.ctc_score)
    parts, wrong = pool.arrays()
    ctc, word, unknown, spelling, character, words = parts
    ranked = (
        ctc
        + config.lm_weight * (word + config.unknown_offset * unknown + config.spelling_weight * spelling)
        + config.char_weight * character
        + config.word_bonus * words
    )
    for utterance, row in enumerate(scores):
        assert ranked[utterance, : len(row)] == pytest.approx(row, abs=1e-6)
        assert (ranked[utterance, len(row) :] == -np.inf).all()
    assert wrong.shape == (5, ranked.shape[1], 2)


def test_weights_without_effect_are_not_tuned() -> None:
    assert set(default_grid(toy_model("character"))) == {"char_weight", "word_bonus"}
    assert "char_weight" not in default_grid(toy_model("word"))
    assert len(default_grid(MODEL)) == 5


def test_what_cannot_be_tuned_on_is_refused() -> None:
    with pytest.raises(InputError, match="no reference text"):
        tune([np.zeros((1, 4), dtype=np.float32)], [""], decoder, MODEL)
    with pytest.raises(InputError, match="0 utterances for 1"):
        tune([], ["a"], decoder, MODEL)
