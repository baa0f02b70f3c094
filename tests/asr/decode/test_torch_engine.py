"""The search in tensors: against the definition, against the compiled search, and what its steps may not do."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies

from asr.decode import BeamDecoder, BeamSearchConfig, EmissionArray, GreedyDecoder, Hypothesis, decode_all
from asr.decode.lexicon import Models
from asr.decode.torch_engine import TorchSearch
from bench.common import OpCounter
from lm.build import build_language_model
from lm.corpus import Splitter, piece_of
from lm.errors import InputError
from lm.folder import LanguageModel
from lm.ngram import NgramModel
from lm.tensors import Automaton, HashedNgram, TensorNgram, ngram_tensors
from tests.asr.decode.toy import (
    EVERYTHING,
    LETTERS,
    PIECES,
    WITH_SPECIAL,
    ToyModel,
    best_texts,
    peaky_emissions,
    random_emissions,
    toy_model,
)

CPU = torch.device("cpu")
# Wide enough for every prefix of the toy cases, and no wider than tensors are.
EXACT = replace(EVERYTHING, beam_width=900, max_labels=10, num_hypotheses=900, engine="torch")
HOTWORDS = {"a": 0.7, "a b": 2.0, "b a": 1.5, "bb": 3.0, "a b a": 1.0, "ab": -1.2}
ONLY_A = {"a": 0.7, "a a": 1.1, "aaa": 2.0}
ALPHABETS = [(LETTERS, 0, 5), (PIECES, 0, 4), (WITH_SPECIAL, 1, 5)]
KINDS = ["none", "word", "character", "both", "piece", "word+piece", "all"]
PARTS = ("score", "ctc_score", "lm_score", "word_score", "hotword_score")
# It reads a number on the host, or makes a tensor whose shape depends on numbers.
LOOKS = {
    "_local_scalar_dense", "nonzero", "nonzero_numpy", "masked_select", "masked_scatter", "unique_dim",
    "_unique2", "unique_consecutive", "equal", "is_nonzero", "item", "bincount", "repeat_interleave",
}  # fmt: skip


def model_of(kind: str) -> ToyModel | None:
    return None if kind == "none" else toy_model(kind)


def assert_same(found: Sequence[Hypothesis], expected: Sequence[Hypothesis], tolerance: float = 1e-5) -> None:
    """Texts, scores in their parts and confidences; the labels that stand for a text may be others."""
    assert [each.text for each in found] == [each.text for each in expected]
    for one, other in zip(found, expected, strict=True):
        for name in PARTS:
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=tolerance), name


@pytest.mark.parametrize("score_end", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("surfaces", "blank", "num_frames"), ALPHABETS)
@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_without_pruning_every_text_and_every_part_of_its_score_are_those_of_the_definition(
    engine: str, surfaces: tuple[str, ...], blank: int, num_frames: int, kind: str, score_end: bool
) -> None:
    exact = replace(EXACT, score_end=score_end, engine=engine)
    emissions = random_emissions(num_frames, len(surfaces), seed=num_frames)
    hotwords = HOTWORDS if "b" in surfaces else ONLY_A
    for config in (
        exact,
        replace(exact, hotwords=hotwords),
        replace(exact, hotwords=hotwords, open_vocabulary=False),
    ):
        expected = best_texts(emissions, surfaces, blank, model_of(kind), config)
        found = BeamDecoder(surfaces, blank, model_of(kind), config).decode(emissions)
        assert [each.text for each in found] == [each.text for each in expected]
        for hypothesis, parts in zip(found, expected, strict=True):
            for name in PARTS:
                assert getattr(hypothesis, name) == pytest.approx(getattr(parts, name), abs=1e-5), name


CONFIGS = strategies.builds(
    BeamSearchConfig,
    lm_weight=strategies.sampled_from([0.0, 0.4, 1.2]),
    char_weight=strategies.sampled_from([0.0, 0.3]),
    piece_weight=strategies.sampled_from([0.0, 0.6]),
    word_bonus=strategies.sampled_from([0.0, 2.0]),
    unknown_offset=strategies.sampled_from([0.0, -3.0]),
    spelling_weight=strategies.sampled_from([0.0, 0.5]),
    score_end=strategies.booleans(),
    beam_width=strategies.sampled_from([1, 3, 16]),
    beam_threshold=strategies.sampled_from([2.0, 14.0]),
    label_threshold=strategies.sampled_from([1.0, 7.0]),
    max_labels=strategies.sampled_from([1, 2, 20]),
    num_hypotheses=strategies.just(16),
    hotwords=strategies.sampled_from([{}, ONLY_A]),
)


@given(
    alphabet=strategies.sampled_from(ALPHABETS),
    kind=strategies.sampled_from(KINDS),
    config=CONFIGS,
    closed=strategies.booleans(),
    seed=strategies.integers(0, 1000),
    lengths=strategies.lists(strategies.integers(0, 25), min_size=1, max_size=4),
    sharpness=strategies.sampled_from([1.0, 3.0, 6.0]),
)
@settings(max_examples=40, deadline=None)
def test_under_pruning_it_finds_what_the_compiled_search_finds_alone_and_in_a_batch(
    alphabet: tuple[tuple[str, ...], int, int], kind: str, config: BeamSearchConfig, closed: bool, seed: int,
    lengths: list[int], sharpness: float,
) -> None:  # fmt: skip
    surfaces, blank, _ = alphabet
    if closed and (config.hotwords or kind in ("word", "both", "word+piece", "all")):
        config = replace(config, open_vocabulary=False)
    emissions = [
        random_emissions(frames, len(surfaces), seed + place, sharpness)
        for place, frames in enumerate(lengths)
    ]
    for each in emissions:  # silence, in which nothing is worth a step
        each[5:8] = np.where(np.arange(len(surfaces)) == blank, 0.0, -50.0)
    compiled = BeamDecoder(surfaces, blank, model_of(kind), config)
    decoder = BeamDecoder(surfaces, blank, model_of(kind), replace(config, engine="torch"))
    for each, found in zip(emissions, decoder.decode_all(emissions), strict=True):
        assert_same(found, compiled.decode(each))
        assert_same(decoder.decode(each), found, tolerance=1e-9)


def test_words_lie_where_they_do_in_the_compiled_search() -> None:
    config = BeamSearchConfig(word_bonus=0.0, num_hypotheses=4)
    emissions = [random_emissions(frames, 4, frames, sharpness=4.0) for frames in (30, 12, 50)]
    compiled = decode_all(BeamDecoder(LETTERS, 0, toy_model("both"), config), emissions)
    decoder = BeamDecoder(LETTERS, 0, toy_model("both"), replace(config, engine="torch"))
    for found, expected in zip(decode_all(decoder, emissions), compiled, strict=True):
        assert_same(found, expected)
        for one, other in zip(found, expected, strict=True):
            spans = [(word.text, word.start_frame, word.end_frame) for word in one.words]
            assert spans == [(word.text, word.start_frame, word.end_frame) for word in other.words]
            assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


@pytest.mark.parametrize("surfaces", [LETTERS, PIECES])
@pytest.mark.parametrize("beam_width", [1, 3, 7])
def test_of_equally_likely_texts_it_keeps_those_that_the_compiled_search_keeps(
    surfaces: tuple[str, ...], beam_width: int
) -> None:
    config = BeamSearchConfig(beam_width=beam_width, num_hypotheses=beam_width, word_bonus=0.0)
    for num_frames in range(1, 8):
        even = np.full((num_frames, len(surfaces)), -math.log(len(surfaces)), dtype=np.float32)
        found = BeamDecoder(surfaces, 0, None, replace(config, engine="torch")).decode(even)
        assert_same(found, BeamDecoder(surfaces, 0, None, config).decode(even))


def test_of_equally_likely_labels_it_tries_those_that_the_compiled_search_tries() -> None:
    """More labels tie at the last place of ``max_labels`` than there is room for."""
    surfaces = ("", " ", *map(chr, range(ord("a"), ord("z") + 1)))
    for max_labels, floor in ((1, -3.0), (5, -3.0), (5, -6.0), (26, -3.0), (27, -3.0), (28, -3.0)):
        config = BeamSearchConfig(beam_width=16, num_hypotheses=16, word_bonus=0.0, max_labels=max_labels)
        emissions = [
            np.maximum(random_emissions(frames, len(surfaces), seed=frames, sharpness=4.0), floor)
            for frames in (12, 30, 7)
        ]
        decoder = BeamDecoder(surfaces, 0, None, replace(config, engine="torch"))
        for each, found in zip(emissions, decoder.decode_all(emissions), strict=True):
            assert_same(found, BeamDecoder(surfaces, 0, None, config).decode(each))


@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_a_blank_beyond_doubt_still_parts_two_equal_letters(engine: str) -> None:
    emissions = np.full((3, 4), -np.inf, dtype=np.float32)
    emissions[[0, 1, 2], [1, 0, 1]] = 0.0
    found = BeamDecoder(LETTERS, 0, None, BeamSearchConfig(word_bonus=0.0, engine=engine)).decode(emissions)
    assert [(each.text, each.score) for each in found] == [("aa", 0.0)]


@pytest.mark.parametrize("open_vocabulary", [True, False])
def test_odd_emissions_give_what_they_hold(open_vocabulary: bool) -> None:
    config = BeamSearchConfig(hotwords={"ab a": 3.0}, open_vocabulary=open_vocabulary, num_hypotheses=5)
    compiled = BeamDecoder(LETTERS, 0, toy_model("both"), config)
    decoder = BeamDecoder(LETTERS, 0, toy_model("both"), replace(config, engine="torch"))
    unheard = random_emissions(8, 4, seed=1)
    unheard[4] = -np.inf
    broken_off = random_emissions(8, 4, seed=1)
    broken_off[-1] = -np.inf
    odd = [
        np.zeros((0, 4), dtype=np.float32),
        peaky_emissions([], 50, 4),
        *(peaky_emissions([(0, label)], 1, 4, peak=0.9999) for label in range(4)),
        np.full((3, 4), -np.inf, dtype=np.float32),
        unheard,
        broken_off,
    ]
    for each, found in zip(odd, decoder.decode_all(odd), strict=True):
        assert_same(found, compiled.decode(each))
    for each in (unheard, broken_off):
        (found,) = compiled.decode(each)
        assert (found.text, found.score) == ("", -np.inf)
    assert decoder.decode_all([]) == []
    with pytest.raises(ValueError, match="NaN"):
        decoder.decode_all([odd[1], np.full((3, 4), np.nan, dtype=np.float32)])
    with pytest.raises(ValueError, match="C = 4"):
        decoder.decode_all([odd[1], np.zeros((3, 5), dtype=np.float32)])


@pytest.mark.parametrize("engine", ["cpu", "torch"])
@pytest.mark.parametrize("kind", ["none", "piece", "word+piece"])
@pytest.mark.parametrize(
    "labels",
    [
        (3, 5, 4, 1, 1),  # "ab", " ", "b", "a", "a"
        (3, 5, 2, 1, 1),  # "ab", " ", " a", "a", "a": two boundaries, the second written by nothing
        (3, 2, 0, 1, 1),
        (5, 5, 4, 1, 1),
    ],
)
def test_an_unfinished_word_is_left_out_where_nothing_can_be_finished(
    labels: tuple[int, ...], kind: str, engine: str
) -> None:
    with np.errstate(divide="ignore"):
        emissions = np.log(np.full((5, 6), 0.0)).astype(np.float32)
    for frame, label in enumerate(labels):
        emissions[frame, label] = math.log(0.6)
    emissions[0, 0] = math.log(0.4)
    hotwords = {"bab": 2.0, "aab": 2.0, "ab": 1.0}
    config = replace(EXACT, hotwords=hotwords, open_vocabulary=False, engine=engine)
    expected = best_texts(emissions, PIECES, 0, model_of(kind), config)
    found = BeamDecoder(PIECES, 0, model_of(kind), config).decode(emissions)
    assert [each.text for each in found] == [each.text for each in expected]
    assert {each.text for each in found} == {"ab", ""} if 3 in labels else {""}
    assert [each.score for each in found] == pytest.approx([each.score for each in expected], abs=1e-5)
    assert [" ".join(word.text for word in each.words) for each in found] == [each.text for each in found]


@pytest.fixture(scope="module")
def real_model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A word 3-gram, a character 4-gram and a 3-gram of `PIECES` of random sentences, in kenlm's form."""
    draw = np.random.default_rng(3)
    words = ["a", "ab", "b", "ba", "abb", "bab"]
    lines = [
        " ".join(draw.choice(words, draw.integers(1, 8), p=[0.3, 0.25, 0.2, 0.1, 0.1, 0.05]))
        for _ in range(60)
    ]
    folder = Path(tmp_path_factory.mktemp("lm"), "lm")
    splitter = Splitter(
        tuple(sorted(piece_of(piece) for piece in PIECES if piece)),
        lambda line: [piece_of(piece) for piece in re.findall(" a|ab|[ab ]", f" {line}")],
    )
    build_language_model(lines, folder, word_order=3, character_order=4, piece_order=3, splitter=splitter)
    return LanguageModel.load(folder)


def test_both_forms_of_an_ngram_give_the_scores_of_kenlm(real_model: LanguageModel) -> None:
    model = real_model.character
    assert isinstance(model, NgramModel)
    tables, tokens = model.tables
    symbols = ["a", "b", "▁", "x"]
    numbers = np.array([tokens.index(symbol) if symbol in tokens else 0 for symbol in symbols])
    forms: list[TensorNgram] = [ngram_tensors(tables, numbers, CPU), HashedNgram(tables, CPU, numbers)]
    assert isinstance(forms[0], Automaton)
    draw = np.random.default_rng(0)
    rows = draw.integers(0, len(symbols), (20, 12))
    for form in forms:
        history = form.start.repeat(len(rows), 1)
        found = torch.zeros(len(rows), dtype=torch.float64)
        for column in rows.T:
            history, log_prob = form.score(history, torch.from_numpy(column))
            found += log_prob
        unchanged, nothing = form.score(history, torch.full((len(rows),), len(symbols)))
        assert torch.equal(unchanged, history)
        assert not nothing.any()
        found += form.end(history)
        expected = [sum(model.log_probs([symbols[at] for at in row])) for row in rows]
        assert found.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("has_pieces", [True, False])
@pytest.mark.parametrize("dense", [True, False])
def test_models_too_large_to_lay_out_are_searched_all_the_same(
    dense: bool, has_pieces: bool, real_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_pieces:
        real_model = replace(real_model, piece=None)
    if not dense:
        monkeypatch.setattr("lm.tensors.DENSE_ENTRIES", 8)
        monkeypatch.setattr("asr.decode.tensors.DENSE_ENTRIES", 8)
    config = BeamSearchConfig(num_hypotheses=8, beam_width=16, hotwords={"bb a": 2.0})
    for changed in (config, replace(config, open_vocabulary=False)):
        decoder = BeamDecoder(PIECES, 0, real_model, replace(changed, engine="torch"))
        emissions = [random_emissions(40, len(PIECES), seed, sharpness=2.0) for seed in range(3)]
        for each, found in zip(emissions, decoder.decode_all(emissions), strict=True):
            assert_same(found, BeamDecoder(PIECES, 0, real_model, changed).decode(each), tolerance=1e-4)


@pytest.mark.parametrize("has_pieces", [True, False])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("open_vocabulary", [True, False])
def test_a_step_looks_at_no_number_and_does_the_same_whatever_they_are(
    open_vocabulary: bool,
    dense: bool,
    has_pieces: bool,
    real_model: LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not has_pieces:
        real_model = replace(real_model, piece=None)
    if not dense:
        monkeypatch.setattr("lm.tensors.DENSE_ENTRIES", 8)
        monkeypatch.setattr("asr.decode.tensors.DENSE_ENTRIES", 8)
    config = BeamSearchConfig(beam_width=8, hotwords={"a b": 1.0}, open_vocabulary=open_vocabulary)
    search = TorchSearch(Models(LETTERS, 0, real_model, config), "cpu")
    emissions = np.stack([random_emissions(10, 4, seed) for seed in range(2)])
    frames, _ = search.frames(torch.from_numpy(emissions), torch.tensor([10, 6]))
    batch = search.batch(frames)
    steps: list[Counter[str]] = []
    for _ in range(len(frames.labels)):
        with OpCounter() as ops:
            batch.advance()
        steps.append(ops.counts)
    assert len(steps) == 10
    assert all(step == steps[0] for step in steps)
    assert not LOOKS & steps[0].keys()


def test_the_guard_against_looks_sees_one() -> None:
    with OpCounter() as ops:
        values = torch.arange(3)
        values[values > 1].sum().item()
    assert {"nonzero", "_local_scalar_dense"} & LOOKS & ops.counts.keys()


def test_a_greedy_decoder_takes_many_utterances_one_by_one() -> None:
    emissions: list[EmissionArray] = [random_emissions(9, 4, seed) for seed in range(3)]
    decoder = GreedyDecoder(LETTERS, 0)
    assert decode_all(decoder, emissions) == [decoder.decode(each) for each in emissions]


def test_what_tensors_cannot_hold_is_refused_with_the_remedy() -> None:
    config = BeamSearchConfig(beam_width=10**6, engine="torch")
    with pytest.raises(InputError, match="give engine=cpu"):
        BeamDecoder(LETTERS, 0, None, config)
    with pytest.raises(InputError, match="engine must be cpu or torch; got 'gpu'"):
        BeamSearchConfig(engine="gpu")
