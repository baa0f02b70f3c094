"""Forced alignment, word spans and confidence."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from asr.decode import BeamDecoder, BeamSearchConfig, EmissionArray, GreedyDecoder, align_labels
from asr.decode.agreement import word_shares
from asr.decode.confidence import hypothesis_posteriors
from asr.decode.hypothesis import Finished
from asr.decode.lexicon import Models
from asr.decode.times import word_frames, words_of_labels
from tests.asr.decode.toy import peaky_emissions, random_emissions, toy_model

SURFACES = ("", "a", " ", "b")


def best_path_that_writes(emissions: EmissionArray, labels: list[int]) -> tuple[int, ...]:
    """The most probable of all paths that collapse to ``labels`` (blank 0)."""
    paths = []
    for path in product(range(emissions.shape[1]), repeat=len(emissions)):
        written = [label for place, label in enumerate(path) if place == 0 or label != path[place - 1]]
        if [label for label in written if label] == labels:
            paths.append(path)
    return max(paths, key=lambda path: float(emissions[range(len(path)), path].sum()))


@pytest.mark.parametrize("labels", [[1], [1, 1], [2, 1, 2], [1, 2, 2]])
@pytest.mark.parametrize("seed", range(4))
def test_alignment_is_the_most_probable_path_that_writes_the_labels(labels: list[int], seed: int) -> None:
    emissions = random_emissions(6, 3, seed)
    frames = align_labels(emissions, labels, blank=0)
    path = np.zeros(6, dtype=int)
    for label, (start, end) in zip(labels, frames, strict=True):
        path[start:end] = label
    assert tuple(path.tolist()) == best_path_that_writes(emissions, labels)


def best_score(emissions: EmissionArray, labels: list[int]) -> float:
    """Log-probability of the most probable path that writes ``labels`` (blank 0), over the whole lattice."""
    states = [0, *(state for label in labels for state in (label, 0))]
    scores = np.full(len(states), -np.inf)
    scores[:2] = emissions[0, states[:2]]
    for frame in emissions[1:]:
        before = np.concatenate([[-np.inf, -np.inf], scores])
        skips = [state != 0 and state != states[place - 2] for place, state in enumerate(states)]
        reached = np.maximum(before[2:], before[1:-1])
        scores = np.where(skips, np.maximum(reached, before[:-2]), reached) + frame[states]
    return float(scores[-2:].max())


@pytest.mark.parametrize("seed", range(20))
def test_alignment_of_many_frames_is_the_best_however_unlikely(seed: int) -> None:
    draw = np.random.default_rng(seed)
    num_frames, sharpness = int(draw.integers(50, 150)), float(draw.choice([0.3, 3.0, 20.0]))
    emissions = random_emissions(num_frames, 4, seed, sharpness=sharpness)
    labels = draw.integers(1, 4, int(draw.integers(1, num_frames // 2))).tolist()
    path = np.zeros(num_frames, dtype=int)
    for label, (start, end) in zip(labels, align_labels(emissions, labels, blank=0), strict=True):
        assert start < end
        path[start:end] = label
    found = float(emissions[np.arange(num_frames), path].astype(np.float64).sum())
    assert found == pytest.approx(best_score(emissions.astype(np.float64), labels), rel=1e-5)


def test_alignment_through_a_label_that_is_impossible_takes_the_best_of_the_rest() -> None:
    emissions = peaky_emissions([(1, 1), (4, 2), (7, 3)], num_frames=9, num_labels=4)
    expected = align_labels(emissions, [1, 2, 3], blank=0)
    emissions[:, 2] = -np.inf
    found = align_labels(emissions, [1, 2, 3], blank=0)
    assert found[0].tolist() == expected[0].tolist()
    assert found[2].tolist() == expected[2].tolist()
    assert found[0, 1] <= found[1, 0] < found[1, 1] <= found[2, 0]


def test_alignment_needs_a_blank_between_repeats() -> None:
    emissions = random_emissions(2, 3, seed=0)
    assert align_labels(emissions, [1, 2], blank=0).tolist() == [[0, 1], [1, 2]]
    with pytest.raises(ValueError, match="2 frames; 2 labels with their repeats need 3"):
        align_labels(emissions, [1, 1], blank=0)
    assert align_labels(emissions, [], blank=0).shape == (0, 2)


def test_words_come_from_spaces_and_from_pieces_that_begin_with_one() -> None:
    surfaces = ("", " ka", "y", " ", "man", "")
    assert words_of_labels([1, 2, 3, 3, 4, 5, 2, 1], surfaces) == [
        ("kay", 0, 2),
        ("many", 4, 7),
        ("ka", 7, 8),
    ]


def test_words_grow_into_gaps_by_half_and_never_far() -> None:
    words = [("a", 0, 1), ("b", 1, 2), ("c", 2, 3)]
    frames = np.array([[5, 6], [9, 10], [30, 31]])
    assert word_frames(words, frames, num_frames=32) == [(3, 8), (8, 12), (28, 32)]


@pytest.mark.parametrize("seed", range(10))
def test_word_spans_are_ordered_disjoint_and_inside(seed: int) -> None:
    emissions = random_emissions(40, 4, seed, sharpness=3.0)
    for decoder in (
        GreedyDecoder(SURFACES, 0),
        BeamDecoder(SURFACES, 0, toy_model("both"), BeamSearchConfig()),
    ):
        words = decoder.decode(emissions)[0].words
        assert words
        edges = [frame for word in words for frame in (word.start_frame, word.end_frame)]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= 40
        assert all(word.start_frame < word.end_frame for word in words)
        assert all(0 <= word.confidence <= 1 for word in words)


def test_greedy_confidence_is_the_geometric_mean_of_the_labels() -> None:
    emissions = peaky_emissions([(2, 1), (4, 3)], 8, 4)
    emissions[4] = np.log([0.1, 0.1, 0.1, 0.7])
    word = GreedyDecoder(SURFACES, 0).decode(emissions)[0].words[0]
    assert word.confidence == pytest.approx((0.95 * 0.7) ** 0.5, abs=1e-5)


def test_a_doubtful_boundary_lowers_the_confidence_of_both_words() -> None:
    emissions = peaky_emissions([(2, 1), (4, 2), (6, 3)], 9, 4)
    sure = GreedyDecoder(SURFACES, 0).decode(emissions)[0].words
    emissions[4] = np.log([0.4, 0.05, 0.5, 0.05])
    doubtful = GreedyDecoder(SURFACES, 0).decode(emissions)[0].words
    assert [word.text for word in doubtful] == ["a", "b"]
    assert all(one.confidence < other.confidence - 0.1 for one, other in zip(doubtful, sure, strict=True))


def shares(texts: list[str], posteriors: list[float], place: int = 0) -> list[float]:
    surfaces = ("", " ", "ab", *"abcdefghijklmnopqrstuvwxyz")
    rows = [[surfaces.index(char) for char in text] for text in texts]
    if place == 0:  # other labels that write the same make no difference
        rows[0] = [1, *(surfaces.index(piece) for piece in re.findall("ab|.", texts[0])), 1]
    finished = Finished(
        labels=np.array([label for row in rows for label in row], np.int32),
        at=np.cumsum([0, *map(len, rows)]),
        parts=np.zeros((len(rows), 3)),
    )
    return word_shares(finished, posteriors, place, Models(surfaces, 0, None, BeamSearchConfig()).labels)


def test_word_shares_count_the_texts_that_keep_the_word_in_its_place() -> None:
    posteriors = hypothesis_posteriors(np.log([0.5, 0.3, 0.2]).tolist())
    assert posteriors == pytest.approx([0.5, 0.3, 0.2])
    texts = ["kay wawa man", "kay man", "kay wasi man"]
    assert shares(texts, posteriors) == pytest.approx([1.0, 0.5, 1.0])
    assert shares(texts, posteriors, 1) == pytest.approx([1.0, 1.0])
    assert shares(["kay abba", "kay abba "], [0.7, 0.3]) == pytest.approx([1.0, 1.0])


def test_a_word_that_stands_elsewhere_is_not_shared() -> None:
    assert shares(["x a y", "a z w"], [0.6, 0.4]) == pytest.approx([0.6, 0.6, 0.6])
    assert shares(["", "a"], [0.6, 0.4]) == []
    assert shares(["a a", "a"], [0.6, 0.4]) == pytest.approx([1.0, 0.6])


def shared_of_fewest_edits(words: list[str], other: list[str]) -> set[frozenset[int]]:
    """Places of the words that are kept, by each of the alignments with the fewest edits."""

    def best(i: int, j: int) -> tuple[int, set[frozenset[int]]]:
        if not i or not j:
            return i + j, {frozenset()}
        (one, kept_one), (two, kept_two), (both, kept_both) = (
            best(i - 1, j),
            best(i, j - 1),
            best(i - 1, j - 1),
        )
        same = words[i - 1] == other[j - 1]
        ways = [
            (one + 1, kept_one),
            (two + 1, kept_two),
            (both + (not same), {kept | {i - 1} if same else kept for kept in kept_both}),
        ]
        fewest = min(cost for cost, _ in ways)
        return fewest, set().union(*(kept for cost, kept in ways if cost == fewest))

    return best(len(words), len(other))[1]


WORDS = strategies.lists(strategies.sampled_from(["a", "b", "ab"]), max_size=6)


@settings(max_examples=100, deadline=None)
@given(WORDS, WORDS)
def test_shared_words_are_those_of_an_alignment_with_the_fewest_edits(
    words: list[str], other: list[str]
) -> None:
    masses = shares([" ".join(words), " ".join(other)], [0.6, 0.4])
    assert frozenset(np.flatnonzero(np.array(masses) > 0.9).tolist()) in shared_of_fewest_edits(words, other)


def test_right_words_are_surer_than_wrong_ones() -> None:
    """Noisy emissions of known texts: the mean confidence of right words is clearly the higher."""
    rng = np.random.default_rng(5)
    right: dict[str, list[float]] = {"greedy": [], "beam": []}
    wrong: dict[str, list[float]] = {"greedy": [], "beam": []}
    decoders = {
        "greedy": GreedyDecoder(SURFACES, 0),
        "beam": BeamDecoder(SURFACES, 0, toy_model("both"), BeamSearchConfig(word_bonus=0.5)),
    }
    for _ in range(80):
        words = [rng.choice(["a", "ab", "b"]) for _ in range(5)]
        labels = [SURFACES.index(letter) for letter in " ".join(words)]
        emissions = peaky_emissions(
            [(3 * place + 1, label) for place, label in enumerate(labels)], 3 * len(labels) + 2, 4
        )
        for place, label in enumerate(labels):
            if label != 2 and rng.random() < 0.4:  # blur a letter into its rival
                share = rng.uniform(0.15, 0.85)
                row = np.full(4, 0.02)
                row[label], row[4 - label] = share, 1 - share
                emissions[3 * place + 1] = np.log(row / row.sum())
        for name, decoder in decoders.items():
            found = decoder.decode(emissions)[0].words
            if len(found) == len(words):
                for word, truth in zip(found, words, strict=True):
                    (right if word.text == truth else wrong)[name].append(word.confidence)
    for name in decoders:
        assert len(wrong[name]) > 20
        assert np.mean(right[name]) > np.mean(wrong[name]) + 0.1
