"""The estimator against its definition at toy size, the laws of probability, and stored lmplz output.

The files in ``data`` were made by lmplz of KenLM 0.3.0 (built from the source distribution on the
package index, cmake, Boost 1.74) from ``sentences.txt`` (seeded pseudo-words), as
``lmplz OPTIONS < TEXT | gzip -9n`` with the options of `STORED`; the characters are those of the
first lines, each a token, the space as ``▁``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from lm.arpa import write_arpa
from lm.corpus import characters_of, words_of
from lm.errors import InputError
from lm.kneser_ney import _index, _windows, estimate
from tests.lm.plain import PlainModel, plain, read_plain

DATA = Path(__file__).parent / "data"
SENTENCES = (DATA / "sentences.txt").read_text(encoding="utf-8").splitlines()

STORED: dict[str, tuple[int, dict[str, Any]]] = {
    # -o 4 --prune 0 0 1
    "words4_pruned": (260, {"order": 4, "prune": (0, 0, 1), "fallback": None}),
    # -o 3 --interpolate_unigrams 0
    "words3_open": (260, {"order": 3, "fallback": None, "interpolate_unigrams": False}),
    # -o 6 --discount_fallback --prune 0 0 0 1 1 2
    "characters6_pruned": (130, {"order": 6, "prune": (0, 0, 0, 1, 1, 2)}),
    # -o 5 --discount_fallback
    "words5_fallback": (30, {"order": 5}),
    # -o 2 --discount_fallback 0.4 1.1 1.6 --prune 1
    "words2_pruned": (260, {"order": 2, "prune": (1,), "fallback": (0.4, 1.1, 1.6)}),
}


@pytest.mark.parametrize("name", STORED)
def test_every_weight_agrees_with_lmplz(name: str, tmp_path: Path) -> None:
    lines, options = STORED[name]
    split = characters_of if name.startswith("characters") else words_of
    expected = read_plain(DATA / f"{name}.arpa.gz")
    write_arpa(estimate(map(split, SENTENCES[:lines]), **options), tmp_path / "ours.arpa")
    ours = read_plain(tmp_path / "ours.arpa")
    assert ours.order == expected.order
    for mine, theirs in zip(ours.grams, expected.grams, strict=True):
        assert mine.keys() == theirs.keys()
        for gram, weights in theirs.items():
            assert mine[gram] == pytest.approx(weights, abs=1e-4), gram
    assert {"<unk>", "<s>", "</s>"} <= {word for (word,) in expected.grams[0]}


def test_a_bigram_model_follows_the_formulas_by_hand() -> None:
    # "a b" and "a c": bigrams <s>a 2, ab 1, b</s> 1, ac 1, c</s> 1. Words to the left: a 1, b 1,
    # c 1, </s> 2; so unigram total 5. Fallback discounts: 0.5, 1, 1.5.
    model = plain(estimate([["a", "b"], ["a", "c"]], 2))
    freed = (3 * 0.5 + 1 * 1) / 5
    uniform = 1 / 5  # <unk>, </s>, a, b, c
    b = (1 - 0.5) / 5 + freed * uniform
    assert prob(model, "b") == pytest.approx(b)
    assert prob(model, "</s>") == pytest.approx((2 - 1) / 5 + freed * uniform)
    assert prob(model, "<unk>") == pytest.approx(freed * uniform)
    assert prob(model, "a", "b") == pytest.approx((1 - 0.5) / 2 + (2 * 0.5 / 2) * b)
    assert 10 ** model.grams[0]["a",][1] == pytest.approx(2 * 0.5 / 2)
    assert prob(model, "<s>", "a") == pytest.approx((2 - 1) / 2 + (1 / 2) * prob(model, "a"))


def test_without_interpolated_unigrams_all_freed_mass_is_the_unknown_words() -> None:
    model = plain(estimate([["a", "b"], ["a", "c"]], 2, interpolate_unigrams=False))
    assert prob(model, "<unk>") == pytest.approx((3 * 0.5 + 1 * 1) / 5)
    assert prob(model, "b") == pytest.approx((1 - 0.5) / 5)


def test_without_interpolated_unigrams_no_known_word_is_impossible() -> None:
    # "x" stands after three words and no word after four: the estimate of D3+ is 3, all that "x" has.
    sentences = [line.split() for line in ("a x", "b x", "c x", "a y", "b y")]
    model = estimate(sentences, 2, interpolate_unigrams=False)
    words = dict(zip(model.vocabulary, model.tables[0].log10_prob.tolist(), strict=True))
    assert min(prob for word, prob in words.items() if word != "<s>") > -10
    assert model.discounts == ((0.5, 1.0, 1.5), estimate(sentences, 2).discounts[1])
    # The uniform share is left to it otherwise, as by lmplz.
    assert estimate(sentences, 2, fallback=None).discounts[0][2] == 3
    with pytest.raises(InputError, match=r"discounts of 1-grams .*, 0 four\)"):
        estimate(sentences, 2, fallback=None, interpolate_unigrams=False)


def test_the_text_is_held_in_small_numbers() -> None:
    ids, vocabulary, lengths = _index([["a", "b"], ["a"]])
    rows = _windows(ids, lengths, 3)
    assert rows.dtype == np.int32
    words = [[vocabulary[word] for word in row] for row in rows]
    assert [" ".join(row) for row in words] == ["<s> <s> a", "<s> a b", "a b </s>", "<s> <s> a", "<s> a </s>"]


@settings(max_examples=60, deadline=None)
@given(
    sentences=strategies.lists(
        strategies.lists(strategies.sampled_from("abcd"), min_size=1, max_size=6), min_size=4, max_size=25
    ),
    order=strategies.integers(2, 4),
    prune=strategies.sampled_from([(0,), (0, 1), (0, 0), (1, 1)]),
    interpolate=strategies.booleans(),
)
def test_probabilities_after_any_history_sum_to_one(
    sentences: list[list[str]], order: int, prune: tuple[int, ...], interpolate: bool
) -> None:
    model = plain(estimate(sentences, order, prune=prune, interpolate_unigrams=interpolate))
    outcomes = [word for (word,) in model.grams[0] if word != "<s>"]
    for history in (["<s>"], ["a"], ["<s>", "a"], ["a", "b", "a"], ["zzz", "b"], sentences[0]):
        total = sum(10 ** model.log10_prob(history, word) for word in outcomes)
        assert total == pytest.approx(1, abs=1e-6), history


def test_pruning_leaves_out_what_was_seen_too_rarely_and_keeps_all_unigrams() -> None:
    sentences = [["a", "b", "c"], ["a", "b", "d"], ["a", "b", "c"]]
    trigrams = plain(estimate(sentences, 3, prune=(0, 0, 1))).grams
    assert ("a", "b", "c") in trigrams[2]
    assert ("a", "b", "d") not in trigrams[2]
    assert ("b", "d") in trigrams[1]
    assert ("d",) in trigrams[0]


def test_too_little_text_is_an_error_only_where_fallback_is_not_allowed() -> None:
    with pytest.raises(InputError, match=r"discounts of 1-grams .*fallback"):
        estimate([["a", "b"]], 2, fallback=None)
    assert estimate([["a", "b"]], 2).discounts == ((0.5, 1.0, 1.5), (0.5, 1.0, 1.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 1}, "order 1: kenlm reads 2 to 6"),
        ({"order": 7}, "order 7: kenlm reads 2 to 6"),
        ({"order": 3, "prune": (1, 0)}, "must not fall"),
        ({"order": 2, "prune": (0, 0, 1)}, "1 to 2 thresholds"),
        ({"order": 2, "prune": (-1,)}, "0 or more"),
        ({"order": 2, "fallback": (2.0, 1.0, 1.0)}, "fallback discounts"),
    ],
)
def test_impossible_options_say_what_to_give(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        estimate([["a"]], **options)


def test_reserved_tokens_and_empty_text_are_refused() -> None:
    with pytest.raises(InputError, match="<unk>"):
        estimate([["a", "<unk>"]], 2)
    with pytest.raises(InputError, match="no sentence"):
        estimate([[]], 2)


def prob(model: PlainModel, *gram: str) -> float:
    """Probability of the last word after the others."""
    return 10 ** model.log10_prob(gram[:-1], gram[-1])
