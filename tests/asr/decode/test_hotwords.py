"""Hotwords: their file, their automaton, and their part of the score."""

from __future__ import annotations

import argparse
import math
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from asr.cli import transcribe
from asr.decode import BeamDecoder, BeamSearchConfig, Hypothesis, build_decoder
from asr.decode.alphabet import written_hotwords
from asr.decode.engine import SPACE, Hotwords
from asr.decode.hotwords import (
    HOTWORD_WEIGHT,
    make_hotwords,
    occurrences,
    read_hotwords,
    steepest,
    weighed,
)
from asr.opened import tuned_search
from lm.build import build_language_model
from lm.errors import InputError
from lm.folder import LanguageModel
from tests.asr.decode.toy import (
    EVERYTHING,
    LETTERS,
    PIECES,
    WITH_SPECIAL,
    ToyModel,
    ToyNgram,
    best_texts,
    hotword_score,
    peaky_emissions,
    random_emissions,
    toy_model,
)

NUMBERS = {" ": 0, "a": 1, "b": 2}
# Overlapping, one within another, of words that no model knows, and one to be avoided.
HOTWORDS = {"a": 0.7, "a b": 2.0, "b a": 1.5, "bb": 3.0, "a b a": 1.0, "ab": -1.2}
EXACT = replace(EVERYTHING, hotwords=HOTWORDS)
PHRASES = strategies.lists(strategies.text("ab", min_size=1, max_size=3), min_size=1, max_size=3).map(
    " ".join
)


def follow(automaton: Hotwords, node: int, char: int) -> int:
    return int(automaton.next[node, automaton.column[char]])


def said(text: str, surfaces: tuple[str, ...] = LETTERS, peak: float = 0.95) -> np.ndarray:
    """Emissions that say ``text``."""
    labels = [(2 * place + 1, surfaces.index(char)) for place, char in enumerate(text)]
    return peaky_emissions(labels, 2 * len(text) + 2, len(surfaces), peak)


def assert_parts_sum(hypothesis: Hypothesis) -> None:
    parts = (hypothesis.ctc_score, hypothesis.lm_score, hypothesis.word_score, hypothesis.hotword_score)
    assert sum(parts) == pytest.approx(hypothesis.score, abs=1e-5)


@pytest.mark.parametrize("kind", ["none", "word", "character", "both"])
@pytest.mark.parametrize(
    ("surfaces", "blank", "num_frames"), [(LETTERS, 0, 6), (PIECES, 0, 4), (WITH_SPECIAL, 1, 5)]
)
def test_without_pruning_every_text_and_every_part_of_its_score_are_those_of_the_definition(
    surfaces: tuple[str, ...], blank: int, num_frames: int, kind: str
) -> None:
    emissions = random_emissions(num_frames, len(surfaces), seed=num_frames)
    model = None if kind == "none" else toy_model(kind)
    config = EXACT if "b" in surfaces else replace(EXACT, hotwords={"a": 0.7, "a a": 1.1, "aaa": 2.0})
    expected = best_texts(emissions, surfaces, blank, model, config)

    found = BeamDecoder(surfaces, blank, model, config).decode(emissions)

    assert [hypothesis.text for hypothesis in found] == [parts.text for parts in expected]
    for hypothesis, parts in zip(found, expected, strict=True):
        for name in ("score", "ctc_score", "lm_score", "word_score", "hotword_score"):
            assert getattr(hypothesis, name) == pytest.approx(getattr(parts, name), abs=1e-5), name
        assert_parts_sum(hypothesis)


@given(
    hotwords=strategies.dictionaries(PHRASES, strategies.floats(-5, 5), min_size=1, max_size=6),
    text=strategies.lists(strategies.text("ab", min_size=1, max_size=3), max_size=8).map(" ".join),
)
@settings(max_examples=60, deadline=None)
def test_the_automaton_counts_occurrences_and_promises_shares_by_definition(
    hotwords: dict[str, float], text: str
) -> None:
    automaton = make_hotwords(hotwords, NUMBERS)
    node, gain = automaton.start, 0.0
    for place, char in enumerate(text):
        node = follow(automaton, node, NUMBERS[char])
        gain += automaton.gain[node]
        written = " " + text[: place + 1]
        promise = 0.0
        for phrase, weight in hotwords.items():
            for length in range(1, len(phrase) + 2):
                if written.endswith(f" {phrase} "[:length]):
                    promise = max(promise, weight * (length - 1) / (len(phrase) + 1))
        assert automaton.promise[node] == pytest.approx(promise)
    if text:
        assert automaton.closing[node] == automaton.gain[follow(automaton, node, SPACE)]
        gain += automaton.closing[node]
    assert gain == pytest.approx(hotword_score(text, hotwords), abs=1e-9)


THAI = ("", " ", "a", "ก", "ข")
THAI_HOTWORDS = {"ก": 0.7, "กข": 2.0, "ข ก": 1.0, "a": 0.5, "กa": 1.5, "ขข": -1.2}


@pytest.mark.parametrize("open_vocabulary", [True, False])
@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_phrases_of_writings_without_spaces_count_inside_words(engine: str, open_vocabulary: bool) -> None:
    emissions = random_emissions(4, len(THAI), seed=5)
    config = replace(EXACT, hotwords=THAI_HOTWORDS, open_vocabulary=open_vocabulary)
    config = replace(config, engine=engine, beam_width=900, max_labels=10, num_hypotheses=900)
    expected = best_texts(emissions, THAI, 0, None, config)
    found = BeamDecoder(THAI, 0, None, config).decode(emissions)
    assert [each.text for each in found] == [each.text for each in expected]
    for hypothesis, parts in zip(found, expected, strict=True):
        assert hypothesis.hotword_score == pytest.approx(parts.hotword_score, abs=1e-5)
        assert hypothesis.score == pytest.approx(parts.score, abs=1e-5)
        counted = sum(
            weight * occurrences(phrase, hypothesis.text) for phrase, weight in THAI_HOTWORDS.items()
        )
        assert counted == pytest.approx(parts.hotword_score)


def test_a_phrase_without_boundaries_promises_a_share_for_each_letter() -> None:
    automaton = make_hotwords({"กขก": 3.0}, {" ": 0, "ก": 1, "ข": 2})
    nodes = [automaton.start]
    for char in (2, 1, 2, 1, 2):
        nodes.append(follow(automaton, nodes[-1], char))
    assert [automaton.promise[node] for node in nodes] == pytest.approx([0, 0, 1, 2, 1, 2])
    assert [automaton.gain[node] for node in nodes] == [0, 0, 0, 0, 3, 0]
    assert not automaton.closing.any()


def test_a_phrase_that_ends_another_is_not_pruned_before_both_have_their_weight() -> None:
    surfaces = ("", *"北京大学国民日本")
    draw = np.random.default_rng(1146)
    probabilities = draw.dirichlet(np.full(9, 0.4), 9)
    for frame, label in ((1, 1), (3, 2), (5, 3), (7, 4)):
        probabilities[frame, label] = max(probabilities[frame, label], draw.uniform(0.002, 0.05))
    emissions = np.log(probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)
    config = BeamSearchConfig(beam_width=16, hotwords={"大学": 4.0, "北京大学": 4.0})
    for engine in ("cpu", "torch"):
        (found,) = build_decoder(surfaces, 0, None, replace(config, engine=engine), "cpu").decode(emissions)
        assert found.text == "大学京民北京大学"
        assert found.score == pytest.approx(-3.843, abs=1e-3)


@pytest.mark.parametrize(
    ("hotwords", "steps", "letter_steps"),
    [
        ({}, [0, 0, 0], [0, 0, 0]),
        ({"a": -1.0}, [0, 0, 0], [0, 0, 0]),
        # Phrases that neither begin nor end with others: a share for each character.
        ({"aab": 4.0, "bb a": 2.5}, [1, 2, 3], [1, 2, 3]),
        # The boundary after "a b" closes both, for a promise of 3; then comes " b ", at 2 a character.
        ({"b": 4.0, "a b": 4.0}, [5, 7, 9], [2, 2, 2]),
        # The last letter closes both, for a promise of 8 / 3; then comes "ก", at 4 a character.
        ({"ก": 4.0, "ขขก": 4.0}, [16 / 3, 28 / 3, 40 / 3], [16 / 3, 28 / 3, 40 / 3]),
    ],
)
def test_the_steepest_step_counts_all_that_a_character_gives(
    hotwords: dict[str, float], steps: list[float], letter_steps: list[float]
) -> None:
    automaton = make_hotwords(hotwords, {char: number for number, char in enumerate(" abกข")})
    assert [steepest(automaton, length) for length in (1, 2, 3)] == pytest.approx(steps)
    found = [steepest(automaton, length, within_word=True) for length in (1, 2, 3)]
    assert found == pytest.approx(letter_steps)


def test_a_thai_name_is_written_in_the_middle_of_a_phrase() -> None:
    surfaces = ("", *sorted(set("ขอบคุณกรุงเทพ")))
    emissions = said("ขอบคุณกรุงเทพ", surfaces)
    last = 2 * len("ขอบคุณกรุงเทพ") - 1
    emissions[last] = math.log(0.001)
    emissions[last, surfaces.index("พ")], emissions[last, surfaces.index("บ")] = (
        math.log(0.54),
        math.log(0.44),
    )
    plain = BeamSearchConfig(word_bonus=0.0)
    assert BeamDecoder(surfaces, 0, None, plain).decode(emissions)[0].text == "ขอบคุณกรุงเทพ"
    found = BeamDecoder(surfaces, 0, None, replace(plain, hotwords={"กรุงเทบ": 4.0})).decode(emissions)[0]
    assert (found.text, found.hotword_score) == ("ขอบคุณกรุงเทบ", 4.0)


def test_overlapping_occurrences_count_each() -> None:
    config = BeamSearchConfig(word_bonus=0.0, hotwords={"a b a": 2.0, "b": 0.5})
    found = BeamDecoder(LETTERS, 0, None, config).decode(said("a b a b a"))[0]
    assert (found.text, found.hotword_score) == ("a b a b a", pytest.approx(2 * 2.0 + 2 * 0.5))


def test_a_hotword_inside_a_longer_word_counts_nothing() -> None:
    config = BeamSearchConfig(word_bonus=0.0, hotwords={"ab": 2.0})
    for text, times in (("aab", 0), ("abb", 0), ("ab", 1), ("ab ab", 2), ("b ab b", 1)):
        found = BeamDecoder(LETTERS, 0, None, config).decode(said(text, peak=0.9999))[0]
        assert (found.text, found.hotword_score) == (text, pytest.approx(2.0 * times))


def test_a_word_that_nothing_knows_is_written_where_the_audio_leaves_it_open() -> None:
    emissions = said("ab bb")
    emissions[9] = np.log([0.01, 0.55, 0.01, 0.43])  # the last letter: a rather than b
    model = toy_model("both")
    plain = BeamSearchConfig(word_bonus=0.0, unknown_offset=0.0)
    assert build_decoder(LETTERS, 0, model, plain).decode(emissions)[0].text != "ab bb"
    boosted = replace(plain, hotwords={"ab bb": HOTWORD_WEIGHT})
    found = build_decoder(LETTERS, 0, model, boosted).decode(emissions)[0]
    assert (found.text, found.hotword_score) == ("ab bb", HOTWORD_WEIGHT)


def test_a_phrase_that_begins_badly_is_kept_by_its_promise() -> None:
    surfaces = ("", " ", *"abcd")
    emissions = said("abcd", surfaces, peak=0.9)
    emissions[1] = np.log([0.01, 0.01, 0.27, 0.01, 0.69, 0.01])  # "c" rather than "a"
    narrow = BeamSearchConfig(word_bonus=0.0, beam_width=1)
    assert BeamDecoder(surfaces, 0, None, narrow).decode(emissions)[0].text == "cbcd"
    # A fifth of 6 for the first letter outweighs log(0.69 / 0.27).
    found = BeamDecoder(surfaces, 0, None, replace(narrow, hotwords={"abcd": 6.0})).decode(emissions)[0]
    assert (found.text, found.hotword_score) == ("abcd", 6.0)


def test_a_promise_that_is_not_kept_leaves_nothing_behind() -> None:
    config = BeamSearchConfig(word_bonus=0.0)
    emissions = said("abab b")
    plain = BeamDecoder(LETTERS, 0, None, config).decode(emissions)[0]
    boosted = BeamDecoder(LETTERS, 0, None, replace(config, hotwords={"ababa": 5.0})).decode(emissions)[0]
    assert boosted.text == plain.text == "abab b"
    assert boosted.hotword_score == 0.0
    assert boosted.score == pytest.approx(plain.score, abs=1e-3)  # they prune differently


def test_hotwords_without_weight_change_no_score() -> None:
    emissions = random_emissions(20, 4, seed=4)
    config = BeamSearchConfig(num_hypotheses=8)
    plain = BeamDecoder(LETTERS, 0, toy_model("both"), config).decode(emissions)
    weightless = replace(config, hotwords={"a": 0.0, "bb a": 0.0})
    assert BeamDecoder(LETTERS, 0, toy_model("both"), weightless).decode(emissions) == plain


def test_any_number_of_threads_gives_the_same() -> None:
    parts = LETTERS, 0, toy_model("both"), replace(BeamSearchConfig(), hotwords=HOTWORDS)
    decoder = BeamDecoder(*parts)
    emissions = [random_emissions(30, 4, seed, sharpness=2.0) for seed in range(12)]
    alone = [decoder.decode(each) for each in emissions]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(decoder.decode, emissions)) == alone
    for threads in (1, 2, 20):
        assert BeamDecoder(*parts, threads=threads).decode_all(emissions) == alone


@pytest.mark.parametrize("score_end", [True, False])
@pytest.mark.parametrize("kind", ["word", "both"])
@pytest.mark.parametrize(
    ("surfaces", "blank", "num_frames"), [(LETTERS, 0, 6), (PIECES, 0, 4), (WITH_SPECIAL, 1, 5)]
)
def test_a_closed_vocabulary_gives_exactly_the_texts_of_known_words(
    surfaces: tuple[str, ...], blank: int, num_frames: int, kind: str, score_end: bool
) -> None:
    emissions = random_emissions(num_frames, len(surfaces), seed=num_frames)
    hotwords = {"aa b": 1.5, "bba": 0.5} if "b" in surfaces else {"aaa": 1.0}
    for config in (
        replace(EXACT, hotwords={}, open_vocabulary=False, score_end=score_end),
        replace(EXACT, hotwords=hotwords, open_vocabulary=False, score_end=score_end),
        replace(EXACT, lm_weight=0.0, hotwords=hotwords, open_vocabulary=False, score_end=score_end),
    ):
        expected = best_texts(emissions, surfaces, blank, toy_model(kind), config)
        found = BeamDecoder(surfaces, blank, toy_model(kind), config).decode(emissions)
        assert [hypothesis.text for hypothesis in found] == [parts.text for parts in expected]
        for hypothesis, parts in zip(found, expected, strict=True):
            assert hypothesis.score == pytest.approx(parts.score, abs=1e-5)
            assert hypothesis.hotword_score == pytest.approx(parts.hotword_score, abs=1e-5)
            assert_parts_sum(hypothesis)


@dataclass(frozen=True)
class SpelledModel(ToyModel):
    """A word model, and letters for its unseen words that score nothing else."""

    letters: ToyNgram | None = None

    @property
    def speller(self) -> ToyNgram | None:
        return self.letters


def test_a_closed_vocabulary_spells_the_hotwords_that_the_words_lack() -> None:
    model = SpelledModel(word=toy_model("word").word, letters=toy_model("character").character)
    config = replace(EXACT, hotwords={"aa b": 1.5, "bba": 0.5}, open_vocabulary=False)
    emissions = random_emissions(6, 4, seed=6)
    expected = best_texts(emissions, LETTERS, 0, model, config)
    found = BeamDecoder(LETTERS, 0, model, config).decode(emissions)
    assert [hypothesis.text for hypothesis in found] == [parts.text for parts in expected]
    assert any("bba" in hypothesis.text for hypothesis in found)
    for hypothesis, parts in zip(found, expected, strict=True):
        assert hypothesis.lm_score == pytest.approx(parts.lm_score, abs=1e-5)
        assert hypothesis.score == pytest.approx(parts.score, abs=1e-5)


def test_hotwords_alone_can_be_the_vocabulary() -> None:
    config = replace(EXACT, hotwords={"ab a": 1.0, "bb": 0.0}, open_vocabulary=False)
    emissions = random_emissions(6, 4, seed=6)
    expected = best_texts(emissions, LETTERS, 0, None, config)
    found = BeamDecoder(LETTERS, 0, None, config).decode(emissions)
    assert {word for hypothesis in found for word in hypothesis.text.split()} == {"ab", "a", "bb"}
    assert [hypothesis.text for hypothesis in found] == [parts.text for parts in expected]
    assert [each.score for each in found] == pytest.approx([each.score for each in expected], abs=1e-5)


def test_a_closed_vocabulary_without_words_is_refused(tmp_path: Path) -> None:
    build_language_model(["a b", "b a"], tmp_path, word_order=2, word_prune=[5], character_order=0)
    for model in (None, toy_model("character"), LanguageModel.load(tmp_path)):
        with pytest.raises(InputError, match="Give a language model with words, or hotwords"):
            BeamDecoder(LETTERS, 0, model, BeamSearchConfig(open_vocabulary=False))


def only(written: list[str], surfaces: tuple[str, ...]) -> np.ndarray:
    """Emissions that allow these labels, the first of which may be missing, and nothing else."""
    probabilities = np.zeros((len(written), len(surfaces)))
    for frame, surface in enumerate(written):
        probabilities[frame, surfaces.index(surface)] = 0.6
    probabilities[0, 0] = 0.4
    with np.errstate(divide="ignore"):
        return np.log(probabilities).astype(np.float32)


@pytest.mark.parametrize(
    ("surfaces", "written", "unfinished"),
    [
        (LETTERS, ["b", " ", "a", "b", "b"], "aba"),
        (PIECES, ["ab", " ", "b", "a", "a"], "bab"),
        (PIECES, ["ab", " a", "a", "b", "b"], "aabb"),
    ],
)
def test_where_nothing_can_be_finished_the_last_word_is_left_out(
    surfaces: tuple[str, ...], written: list[str], unfinished: str
) -> None:
    emissions = only(written, surfaces)
    config = replace(EXACT, hotwords={unfinished: 2.0, written[0]: 1.0}, open_vocabulary=False)
    for model in (None, ToyModel(character=toy_model("character").character)):
        expected = best_texts(emissions, surfaces, 0, model, config)
        found = BeamDecoder(surfaces, 0, model, config).decode(emissions)
        assert {each.text for each in found} == {written[0], ""}
        assert [each.text for each in found] == [each.text for each in expected]
        for hypothesis, parts in zip(found, expected, strict=True):
            assert hypothesis.score == pytest.approx(parts.score, abs=1e-5)
            assert " ".join(word.text for word in hypothesis.words) == hypothesis.text


def test_a_default_beam_writes_known_words_only() -> None:
    hotwords = {"abba": 0.0, "bab": 0.0}
    config = BeamSearchConfig(word_bonus=0.0, hotwords=hotwords, open_vocabulary=False)
    decoder = BeamDecoder(LETTERS, 0, None, config)
    assert decoder.decode(said("abbb bab"))[0].text == "abba bab"
    assert decoder.decode(only([*"bab abb"], LETTERS))[0].text == "bab"


def test_emissions_that_allow_no_known_word_give_the_empty_text() -> None:
    emissions = np.full((3, 4), -np.inf, dtype=np.float32)
    emissions[:, 3] = 0.0  # "b" and nothing else
    config = BeamSearchConfig(hotwords={"ab": 1.0}, open_vocabulary=False)
    found = BeamDecoder(LETTERS, 0, None, config).decode(emissions)
    assert [(each.text, each.score, each.confidence) for each in found] == [("", -math.inf, 0.0)]


@pytest.mark.parametrize("open_vocabulary", [True, False])
@pytest.mark.parametrize("hotwords", [{}, {"ab a": 3.0}])
def test_odd_emissions_give_what_they_hold(hotwords: dict[str, float], open_vocabulary: bool) -> None:
    config = BeamSearchConfig(
        word_bonus=0.0, unknown_offset=0.0, hotwords=hotwords, open_vocabulary=open_vocabulary
    )
    decoder = BeamDecoder(LETTERS, 0, toy_model("both"), config)
    for emissions in (np.zeros((0, 4), dtype=np.float32), peaky_emissions([], 50, 4)):
        found = decoder.decode(emissions)
        assert [each.text for each in found] == [""]
        assert found[0].hotword_score == found[0].word_score == 0.0
        assert_parts_sum(found[0])
    for label, text in ((0, ""), (1, "a"), (2, "")):
        found = decoder.decode(peaky_emissions([(0, label)], 1, 4, peak=0.9999))
        assert found[0].text == text
        assert_parts_sum(found[0])
    with pytest.raises(ValueError, match="NaN"):
        decoder.decode(np.full((3, 4), np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match="C = 4"):
        decoder.decode(np.zeros((3, 5), dtype=np.float32))


@pytest.mark.parametrize(
    ("hotwords", "named"),
    [
        ({"": 1.0}, "'' is empty"),
        ({"  ": 1.0}, "'  ' is empty"),
        ({"\t": 1.0}, "is empty"),
        ({"a b": 1.0, " a  b ": 2.0}, "one phrase"),
        ({"\u00f1": 1.0, "n\u0303": 2.0}, "one phrase"),
        ({"a": math.nan}, "finite weight; got nan"),
        ({"a": math.inf}, "finite weight; got inf"),
        ({False: 1.0}, "quotation marks"),
    ],
)
def test_hotwords_that_are_none_are_refused(hotwords: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        BeamSearchConfig(hotwords=hotwords)


@pytest.mark.parametrize(
    ("surfaces", "phrase", "named"),
    [
        (LETTERS, "Ab", r"'Ab' .* A U\+0041 \(the model has a U\+0061\)\. Write them"),
        (LETTERS, "a x", r"x U\+0078\."),
        (("", "a"), "a a", r"space U\+0020"),
        (LETTERS, "a\u00a0b", r"no-break space U\+00A0"),
        (("", " ", "\u2019", "a"), "a'a", r"' U\+0027 \(the model has \u2019 U\+2019\)"),
    ],
)
def test_characters_that_no_label_writes_are_named(
    surfaces: tuple[str, ...], phrase: str, named: str
) -> None:
    with pytest.raises(InputError, match=named) as caught:
        build_decoder(surfaces, 0, None, BeamSearchConfig(hotwords={phrase: 1.0}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("letters", "written"),
    [
        ("n\u0303\u00f1", "\u00f1"),  # it has both, and so writes the composed letter
        ("n\u0303", "n\u0303"),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_hotwords_are_found_in_the_canonical_form_of_the_labels(
    letters: str, written: str, form: Literal["NFC", "NFD"]
) -> None:
    surfaces = ("", " ", "a", *letters)
    phrase = unicodedata.normalize(form, "a\u00f1")
    assert written_hotwords(surfaces, {phrase: None}) == {f"a{written}": None}
    for open_vocabulary in (True, False):
        config = BeamSearchConfig(word_bonus=0.0, hotwords={phrase: 2.0}, open_vocabulary=open_vocabulary)
        found = BeamDecoder(surfaces, 0, None, config).decode(said(f"a{written}", surfaces))[0]
        assert (found.text, found.hotword_score) == (f"a{written}", 2.0)


def test_spaces_around_and_between_words_do_not_matter() -> None:
    config = BeamSearchConfig(word_bonus=0.0, hotwords={" a  b ": 2.0})
    assert BeamDecoder(LETTERS, 0, None, config).decode(said("a b"))[0].hotword_score == 2.0


def test_a_file_gives_phrases_and_weights(tmp_path: Path) -> None:
    path = tmp_path / "hotwords.txt"
    path.write_bytes("\ufeffkay  pacha\r\n\r\nñan\t7.5\r\n wasi \t-1\nñan\t7.5\n".encode())
    assert read_hotwords(path) == {"kay pacha": None, "ñan": 7.5, "wasi": -1.0}
    assert weighed(read_hotwords(path)) == {"kay pacha": HOTWORD_WEIGHT, "ñan": 7.5, "wasi": -1.0}
    assert weighed(read_hotwords(path), 3.0)["kay pacha"] == 3.0
    path.write_text("n\u0303an\n\u00f1an\n", encoding="utf-8")
    assert read_hotwords(path) == {"\u00f1an": None}


@pytest.mark.parametrize("given_value", ["kay", ["kay", "pacha"]])
def test_hotwords_without_weights_are_no_setting(given_value: object) -> None:
    with pytest.raises(InputError, match=r"hotwords must be phrases and their weights; got .*kay"):
        tuned_search(None, {"hotwords": given_value})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "no phrase in it"),
        (b"\n   \n\t\n", "no phrase in it"),
        (b"a\n \t5\n", "line 2: no phrase before the tab"),
        (b"a\tmuch\n", "line 1: 'much' is no weight"),
        (b"a\tnan\n", "line 1: 'nan' is no weight"),
        (b"a\t1\t2\n", "line 1: '1\\\\t2' is no weight"),
        (b"a\nb\na \t9\n", "line 3: 'a' weighs 9, but has no weight in line 1"),
        (b"\xff\xfea\x00", "not UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused_by_line(content: bytes, named: str, tmp_path: Path) -> None:
    path = tmp_path / "hotwords.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=named):
        read_hotwords(path)


def test_the_command_line_reads_the_file_and_gives_the_default(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    transcribe.add_arguments(parser)
    path = tmp_path / "hotwords.txt"
    path.write_text("kay pacha\nwasi\t2\n", encoding="utf-8")
    given = ["talk.wav", "--model", "m", "--hotwords", str(path)]
    decoding = transcribe.decoding_of(parser.parse_args(given))
    assert tuned_search(None, decoding)[1] == BeamSearchConfig(
        hotwords={"kay pacha": HOTWORD_WEIGHT, "wasi": 2.0}
    )
    heavier = transcribe.decoding_of(
        parser.parse_args([*given, "--hotword-weight", "9", "--closed-vocabulary"])
    )
    assert tuned_search(None, heavier)[1] == BeamSearchConfig(
        hotwords={"kay pacha": 9.0, "wasi": 2.0}, open_vocabulary=False
    )
    assert f"or {HOTWORD_WEIGHT:g})" in parser.format_help()
    with pytest.raises(InputError, match="--hotword-weight is given without --hotwords"):
        transcribe.decoding_of(parser.parse_args(["talk.wav", "--model", "m", "--hotword-weight", "9"]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt: No such file"):
        read_hotwords(tmp_path / "nowhere.txt")
