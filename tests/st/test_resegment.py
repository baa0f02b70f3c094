"""Cuts for the fewest word errors: against every cut there is, the identity, and at the size of a long talk."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import combinations_with_replacement, pairwise

import pytest

from asr.edits import error_counts
from st.resegment import minimum_error_cuts, resegment, resegment_recordings

REFERENCES = ["The cat sat on the mat.", "It slept.", "Then, at noon, a dog came in!", "Nobody moved."]


def pieces_of(words: Sequence[str], cuts: Sequence[int]) -> list[Sequence[str]]:
    return [words[first:last] for first, last in pairwise([0, *cuts])]


def cuts_by_trying_all(
    references: Sequence[Sequence[str]], words: Sequence[str], boundaries: Sequence[int]
) -> list[int]:
    """Fewest edits; then most cuts on boundaries; then the latest cuts, beginning from the last."""

    def cost(cuts: Sequence[int]) -> tuple[int, int, list[int]]:
        pairs = zip(references, pieces_of(words, cuts), strict=True)
        edits = sum(error_counts(reference, piece).errors for reference, piece in pairs)
        missed = sum(cut not in boundaries for cut in cuts[:-1])
        return edits, missed, [-cut for cut in reversed(cuts)]

    inner = combinations_with_replacement(range(len(words) + 1), len(references) - 1)
    return min(([*cuts, len(words)] for cuts in inner), key=cost)


@pytest.mark.parametrize("seed", range(300))
def test_the_cuts_are_the_best_of_all_cuts(seed: int) -> None:
    generator = random.Random(seed)
    references = [
        [generator.choice("abc") for _ in range(generator.randrange(4))]
        for _ in range(generator.randrange(1, 5))
    ]
    words = [generator.choice("abcd") for _ in range(generator.randrange(8))]
    boundaries = [place for place in range(len(words) + 1) if generator.random() < 0.3]
    expected = cuts_by_trying_all(references, words, boundaries)
    assert minimum_error_cuts(references, words, boundaries) == expected


def test_cutting_costs_no_edit_more_than_aligning_the_whole() -> None:
    generator = random.Random(1)
    references = [[generator.choice("abcdefgh") for _ in range(6)] for _ in range(40)]
    words = [word for reference in references for word in reference if generator.random() > 0.2]
    words = [generator.choice("abcdefgh") if generator.random() < 0.2 else word for word in words]
    pairs = zip(references, pieces_of(words, minimum_error_cuts(references, words)), strict=True)
    joined = [word for reference in references for word in reference]
    assert sum(error_counts(*pair).errors for pair in pairs) == error_counts(joined, words).errors


def test_a_perfect_hypothesis_gives_back_the_references_however_it_was_cut() -> None:
    words = " ".join(REFERENCES).split()
    for size in (1, 3, 5, len(words)):
        segments = [" ".join(words[first : first + size]) for first in range(0, len(words), size)]
        assert resegment(REFERENCES, segments) == REFERENCES


def test_the_reference_s_own_cuts_are_kept_where_words_were_wrong_added_or_left_out() -> None:
    segments = ["The cats sat on mat.", "It slept well.", "Then, at noon, dogs came in!", "And nobody moved."]
    assert resegment(REFERENCES, segments) == segments


def test_case_and_punctuation_at_a_cut_do_not_move_it() -> None:
    segments = ["the cat sat on the mat it", "slept, then at noon a dog came in nobody", "Moved"]
    assert resegment(REFERENCES, segments) == [
        "the cat sat on the mat",
        "it slept,",
        "then at noon a dog came in",
        "nobody Moved",
    ]


def test_an_added_word_belongs_to_the_utterance_before_it() -> None:
    assert resegment(["a b", "c d"], ["a b x c d"]) == ["a b x", "c d"]
    assert resegment(["a b", "c d"], ["a b", "x c d"]) == ["a b", "x c d"]


def test_writing_without_spaces_is_cut_between_characters() -> None:
    references = ["我喜欢红茶。", "你要 tea 吗。"]
    assert resegment(references, ["我喜欢红", "茶。你要 tea 吗。"], characters=True) == references
    # Words that are only scored by their characters keep the space of the system's own cut.
    assert resegment(["red tea", "and milk"], ["red", "tea and milk"], characters=True) == [
        "red tea",
        "and milk",
    ]


def test_an_empty_hypothesis_is_empty_for_every_reference() -> None:
    assert resegment(REFERENCES, []) == [""] * 4
    assert resegment(REFERENCES, ["", " "]) == [""] * 4


def test_recordings_are_cut_each_for_itself_and_utterances_without_text_take_nothing() -> None:
    references = {"x": [("x1", "a b"), ("x2", " "), ("x3", "c")], "y": [("y1", "a")], "z": [("z1", "")]}
    pieces = resegment_recordings(references, {"x": "a\nb c", "z": "a"})
    assert pieces == {"x1": "a b", "x3": "c"}


def test_ten_thousand_words_take_seconds() -> None:
    """About 1 s; the bound is for a busy machine."""
    generator = random.Random(0)
    words = [str(generator.randrange(2000)) for _ in range(10_000)]
    references = [words[first : first + 20] for first in range(0, 10_000, 20)]
    heard = [word if generator.random() > 0.3 else "?" for word in words]
    start = time.perf_counter()
    cuts = minimum_error_cuts(references, heard)
    assert time.perf_counter() - start < 60
    assert sum(abs(cut - 20 * number) <= 2 for number, cut in enumerate(cuts, 1)) > 490
