"""Alignment: the best path by its definition and by others' programs, in bounded memory; what scores tell."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies
from numpy.typing import NDArray

from asr.align.scores import Decoys, choose_threshold, line_score, scrambled
from asr.align.search import BLANK, GAP, InMemory, SearchConfig, best_path, forced_path
from asr.align.spool import Spool
from asr.align.texts import FIRST_LABEL, Columns, lines_of, unknown_characters
from asr.arrays import FloatArray, IntArray
from asr.decode.times import align_labels
from asr.text import TextPolicy
from asr.tokenizer import UNKNOWN, Tokenizer, character_tokenizer, piece_tokenizer
from asr.transcript import Transcript, TranscriptSegment

LABELS = 12


def transcript(*texts: str) -> Transcript:
    """Lines without times."""
    segments = tuple(TranscriptSegment(start=0, end=0, text=text) for text in texts)
    return Transcript(recording="talk", audio=Path("talk.wav"), duration=0, segments=segments)


# --- the path -----------------------------------------------------------------------------------


def every_path(num_frames: int, lines: Sequence[IntArray]) -> Iterator[tuple[list[int], frozenset[int]]]:
    """Columns of the frames of each possible path, and the lines it passes over, by the definition.

    A path is a row of labels, with a blank between any two of a line and a gap between any two lines, of which any may
    be left out but between equal labels, and where a line is passed over between two others; each repeated at will.
    """
    for mask in range(2 ** len(lines)):
        kept = [number for number in range(len(lines)) if mask >> number & 1]
        passed = frozenset(range(len(lines))) - set(kept)
        places: list[tuple[int, bool]] = [(GAP, True)]  # column, whether it may be left out
        before = -1
        for place, number in enumerate(kept):
            for at, label in enumerate(lines[number].tolist()):
                if at:
                    places.append((BLANK, label != before))
                elif place:
                    places.append((GAP, label != before and number == kept[place - 1] + 1))
                places.append((label, False))
                before = label
        if kept:
            places.append((GAP, True))
        for path in _laid(places, num_frames):
            yield path, passed


def _laid(places: Sequence[tuple[int, bool]], num_frames: int) -> Iterator[list[int]]:
    if not places:
        if num_frames == 0:
            yield []
        return
    column, optional = places[0]
    for count in range(0 if optional else 1, num_frames + 1):
        for rest in _laid(places[1:], num_frames - count):
            yield [column] * count + rest


def score_of(
    emissions: FloatArray, lines: Sequence[IntArray], frames: Sequence[NDArray[np.int64] | None], cost: float
) -> float:
    """What the path through these frames sums to."""
    columns = np.full(len(emissions), GAP)
    paid = 0.0
    for line, found in zip(lines, frames, strict=True):
        if found is None:
            paid += cost * len(line)
            continue
        columns[found[0, 0] : found[-1, 1]] = BLANK
        for (first, last), label in zip(found, line, strict=True):
            columns[first:last] = label
    return float(emissions[np.arange(len(emissions)), columns].sum()) - paid


@pytest.mark.parametrize("seed", range(60))
def test_the_path_is_the_best_of_all_paths(seed: int) -> None:
    draw = np.random.default_rng(seed)
    emissions = draw.normal(0, 3, (int(draw.integers(1, 7)), 5)).astype(np.float32)
    lines = [draw.integers(2, 5, draw.integers(1, 4)).astype(np.int32) for _ in range(draw.integers(1, 4))]
    config = SearchConfig(pass_cost=float(draw.uniform(0, 4)), block_frames=int(draw.integers(1, 8)))
    found = best_path(InMemory(emissions), lines, config)
    by_definition = max(
        float(emissions[np.arange(len(emissions)), path].sum())
        - config.pass_cost * sum(len(lines[number]) for number in passed)
        for path, passed in every_path(len(emissions), lines)
    )
    assert found.score == pytest.approx(by_definition, abs=1e-4)
    assert score_of(emissions, lines, found.frames, config.pass_cost) == pytest.approx(
        by_definition, abs=1e-4
    )


@pytest.mark.parametrize("seed", range(5))
def test_one_line_lies_where_forced_alignment_puts_it(seed: int) -> None:
    draw = np.random.default_rng(seed)
    emissions = draw.normal(0, 3, (40, FIRST_LABEL + 4)).astype(np.float32)
    emissions[:, GAP] = emissions[:, BLANK]
    labels = draw.integers(FIRST_LABEL, FIRST_LABEL + 4, 15).astype(np.int32)
    found = forced_path(emissions, labels)
    assert found is not None
    assert found.tolist() == align_labels(emissions, labels.tolist(), BLANK).tolist()


def test_a_line_without_enough_frames_has_no_place() -> None:
    emissions = np.zeros((3, FIRST_LABEL + 1), dtype=np.float32)
    twice = np.array([FIRST_LABEL, FIRST_LABEL], dtype=np.int32)
    assert forced_path(emissions, twice) is not None
    assert forced_path(emissions[:2], twice) is None


def recording(
    num_lines: int, seed: int, *, omitted: float = 0.1, foreign: float = 0.1
) -> tuple[FloatArray, list[IntArray], list[int]]:
    """Emissions (T, K) of lines, one in ten labels misheard; the transcript's lines, and the frame where each begins.

    Some lines are not in the transcript, and some of its lines are said nowhere (-1).
    """
    draw = np.random.default_rng(seed)
    rows, lines, begins = [], [], []
    length = 0
    for _ in range(num_lines):
        labels = draw.integers(FIRST_LABEL, FIRST_LABEL + LABELS, 20).astype(np.int32)
        said = np.where(draw.random(20) < 0.9, labels, draw.integers(FIRST_LABEL, FIRST_LABEL + LABELS, 20))
        frames = draw.normal(-9, 1, (3 * 20 + int(draw.integers(0, 30)), FIRST_LABEL + LABELS))
        frames[:, BLANK] = -0.05
        frames[np.arange(0, 60, 3), BLANK] = -5
        frames[np.arange(0, 60, 3), said] = -0.2
        frames[:, GAP] = np.maximum(frames[:, BLANK], frames.max(axis=1) - 1)
        if draw.random() >= omitted:
            lines.append(labels)
            begins.append(length)
        if draw.random() < foreign:
            lines.append(draw.integers(FIRST_LABEL, FIRST_LABEL + LABELS, 20).astype(np.int32))
            begins.append(-1)
        rows.append(frames.astype(np.float32))
        length += len(frames)
    return np.concatenate(rows), lines, begins


def errors(begins: Sequence[int], frames: Sequence[NDArray[np.int64] | None]) -> list[int]:
    """Frames by which each line is off; a line in the wrong place, or in none, is off by many."""
    return [
        abs(int(found[0, 0]) - begin)
        if found is not None and begin >= 0
        else 1000 * (begin >= 0 or found is not None)
        for begin, found in zip(begins, frames, strict=True)
    ]


def test_lines_are_found_among_omitted_and_foreign_ones() -> None:
    emissions, lines, begins = recording(200, 0)
    assert begins.count(-1) > 10
    assert len(begins) - begins.count(-1) < 190
    found = best_path(InMemory(emissions), lines, SearchConfig())
    assert max(errors(begins, found.frames)) <= 6


def test_a_window_that_moves_finds_what_the_whole_does() -> None:
    emissions, lines, _ = recording(300, 1)
    whole = best_path(InMemory(emissions), lines, SearchConfig())
    moving = best_path(
        InMemory(emissions), lines, SearchConfig(window_labels=800, whole_cells=0, block_frames=256)
    )
    assert moving.score == pytest.approx(whole.score, abs=0.05)
    assert str(moving.frames) == str(whole.frames)


def test_the_window_waits_where_the_transcript_leaves_much_out() -> None:
    emissions, lines, begins = recording(300, 2, omitted=0, foreign=0)
    kept = [*range(40), *range(200, 300)]
    config = SearchConfig(window_labels=800, whole_cells=0, block_frames=256)
    found = best_path(InMemory(emissions), [lines[place] for place in kept], config)
    assert max(errors([begins[place] for place in kept], found.frames)) <= 6


@pytest.mark.parametrize("place", [0, 40])
@pytest.mark.parametrize("cells", [0, SearchConfig.whole_cells])
def test_lines_behind_many_that_nobody_says_are_found(place: int, cells: int) -> None:
    emissions, lines, begins = recording(100, 4, omitted=0, foreign=0)
    unsaid = recording(60, 5, omitted=0, foreign=0)[1]  # half as many labels again as the window
    config = SearchConfig(window_labels=800, whole_cells=cells, block_frames=256)
    found = best_path(InMemory(emissions), [*lines[:place], *unsaid, *lines[place:]], config)
    expected = [*begins[:place], *[-1] * len(unsaid), *begins[place:]]
    assert max(errors(expected, found.frames)) <= 6


def test_lines_that_nobody_says_here_and_there_do_not_make_a_second_search() -> None:
    rows = 0

    class Counted(InMemory):
        def read(self, first: int, last: int) -> FloatArray:
            nonlocal rows
            rows += last - first
            return super().read(first, last)

    emissions, lines, begins = recording(400, 1)
    unsaid = sum(len(line) for line, begin in zip(lines, begins, strict=True) if begin < 0)
    config = SearchConfig(window_labels=800, whole_cells=0, block_frames=256)
    assert unsaid > config.window_labels / 2
    best_path(Counted(emissions), lines, config)
    assert rows < 2.5 * len(emissions)  # forwards, and once more to trace back


def test_memory_does_not_grow_with_the_recording() -> None:
    config = SearchConfig(window_labels=400, whole_cells=0, block_frames=256)
    peaks = []
    for copies in (1, 4):
        emissions, lines, _ = recording(200, 3)
        with Spool(emissions.shape[1]) as spool:
            for _ in range(copies):
                spool.append(emissions)
            del emissions
            tracemalloc.start()
            found = best_path(spool, lines * copies, config)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert sum(frames is not None for frames in found.frames) > 150 * copies
    # What grows is the text and where its labels lie: some 30 bytes for each of them.
    assert peaks[1] - peaks[0] < 100 * 600 * 20


def test_it_agrees_with_ctc_segmentation_where_all_is_said() -> None:
    peer = pytest.importorskip("ctc_segmentation")
    emissions, lines, _ = recording(30, 4, omitted=0, foreign=0)
    ours = best_path(InMemory(emissions), lines, SearchConfig())
    config = peer.CtcSegmentationParameters(index_duration=1.0, char_list=list(range(emissions.shape[1])))
    truth, begins = peer.prepare_token_list(config, lines)
    timings, _, _ = peer.ctc_segmentation(config, emissions, truth)
    # The first label of a line stands right after its beginning; both know no place within a blank.
    theirs = [round(float(timings[begin + 1])) for begin in begins[:-1]]
    found = [int(frames[0, 0]) for frames in ours.frames if frames is not None]
    assert len(found) == len(theirs)
    assert max(abs(one - other) for one, other in zip(found, theirs, strict=True)) <= 3


# --- the text -----------------------------------------------------------------------------------


def test_what_the_model_cannot_write_is_one_star_and_is_counted() -> None:
    tokenizer = character_tokenizer(["abc d"], TextPolicy())
    (line,) = lines_of(transcript("Ab 2024, — dX!"), tokenizer)
    a, b, space, d = (tokenizer.surfaces.index(each) for each in "ab d")
    assert line.labels == (a, b, space, UNKNOWN, space, d, UNKNOWN)
    assert [(word, line.labels[first:last]) for word, first, last in line.words] == [
        ("Ab", (a, b)),
        ("2024,", (UNKNOWN,)),
        ("dX!", (d, UNKNOWN)),
    ]
    columns = Columns(tokenizer, [line], 1.0)
    assert columns.of(line.labels)[3] == GAP
    assert columns.surfaces == ("", "", " ", "a", "b", "d")


def test_a_model_of_capitals_without_spaces_or_punctuation_spells_what_it_can() -> None:
    tokenizer = Tokenizer(surfaces=("", "A", "B", "É"), policy=TextPolicy(case="keep", punctuation="keep"))
    (line,) = lines_of(transcript("Ab, — é1!"), tokenizer)
    assert line.labels == (1, 2, 3, UNKNOWN)
    assert [word for word, _, _ in line.words] == ["Ab,", "é1!"]
    assert unknown_characters([line], tokenizer) == {"1": 1}


def test_pieces_have_a_star_for_a_run_of_unknown_characters() -> None:
    texts = ["kayman shamuy wawki", "wawki shamun kayman", "mana kayman"]
    tokenizer = piece_tokenizer(texts, TextPolicy(), num_pieces=16)
    (line,) = lines_of(transcript("Wawki жук shamuy"), tokenizer)
    assert line.labels.count(UNKNOWN) == 1
    assert tokenizer.decode(label for label in line.labels if label != UNKNOWN) in (
        "wawki shamuy",
        "wawki  shamuy",  # the space before the star is a piece of its own
    )
    assert [word for word, _, _ in line.words] == ["Wawki", "жук", "shamuy"]
    assert line.labels[0] == tokenizer.encode("wawki")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ab [risa larga] ba.", ["Ab", "ba."]),
        ("ab  [risa larga]. a la a", ["ab", "a la", "a"]),
        ("(a b) a b ba", ["a", "b", "ba"]),
        ("ab\u200bba", ["ab\u200bba"]),
    ],
)
def test_rules_of_several_words_are_applied_as_in_training(text: str, words: list[str]) -> None:
    policy = TextPolicy(replace={"[risa larga]": "", "a la": "ala", "(a b)": ""})
    tokenizer = character_tokenizer(["ab la risa larga"], policy)
    (line,) = lines_of(transcript(text), tokenizer)
    assert [word for word, _, _ in line.words] == words
    assert list(line.labels) == tokenizer.encode(text)


@pytest.mark.parametrize("pieces", [False, True])
def test_of_numbers_alone_there_is_nothing_to_find(pieces: bool) -> None:
    texts = ["kayman shamuy wawki", "wawki shamun kayman", "mana kayman"]
    make = (
        (lambda: piece_tokenizer(texts, TextPolicy(), num_pieces=16))
        if pieces
        else (lambda: character_tokenizer(texts, TextPolicy()))
    )
    given = [
        line.findable for text in ("1990 2000", "1990 mana") for line in lines_of(transcript(text), make())
    ]
    assert given == [False, True]


def test_the_gap_is_a_pause_or_anything_at_a_cost() -> None:
    tokenizer = character_tokenizer(["abc"], TextPolicy())
    columns = Columns(tokenizer, lines_of(transcript("ab"), tokenizer), 1.0)
    emissions = np.log(np.array([[0.9, 0.05, 0.03, 0.01, 0.01], [0.01, 0.01, 0.01, 0.01, 0.96]], np.float32))
    taken = columns.take(emissions)
    assert taken.shape == (2, 4)
    assert taken[:, GAP] == pytest.approx([np.log(0.9), np.log(0.96) - 1])
    assert taken[:, FIRST_LABEL:] == pytest.approx(emissions[:, 2:4])


# --- the scores ---------------------------------------------------------------------------------


def test_a_line_that_is_half_wrong_scores_like_a_wrong_one() -> None:
    emissions, lines, begins = recording(40, 5, omitted=0, foreign=0)
    scores: dict[str, list[float]] = {"right": [], "half": [], "wrong": []}
    for place, begin in enumerate(begins[:-1]):
        own, other = lines[place], lines[place + 1]
        stretch = emissions[begin : begins[place + 1]]
        for name, labels in (
            ("right", own),
            ("half", np.concatenate([own[:10], other[10:]])),
            ("wrong", other),
        ):
            frames = forced_path(stretch, labels)
            assert frames is not None
            first, last = frames[0, 0], frames[-1, 1]
            scores[name].append(line_score(stretch[first:last], labels, frames - first))
    assert max(scores["half"]) < min(scores["right"])
    assert np.median(scores["wrong"]) <= np.median(scores["half"]) < np.median(scores["right"]) - 2


def test_decoys_are_other_lines_of_like_length() -> None:
    tokenizer = character_tokenizer(["abcdefgh "], TextPolicy())
    texts = ("abcd efgh", "abcd efg", "hgfe dcba", "dd", "gggg gggg aaaa bbbb")
    lines = lines_of(transcript(*texts), tokenizer)
    columns = Columns(tokenizer, lines, 1.0)
    quiet = np.log(np.full((60, len(columns)), 0.1, dtype=np.float32))
    assert len(Decoys(lines, 2).scores(lines[0], quiet, columns)) == 2
    # A variant of a line is none; where nothing else is left, its letters in other orders are.
    assert len(Decoys(lines[:2], 7).scores(lines[0], quiet, columns)) == 7
    orders = list(scrambled(lines[0], 9))
    assert orders == list(scrambled(lines[0], 9))
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(lines[0].labels))}
    assert {order[4] for order in orders} == {lines[0].labels[4]}  # between two words


@given(strategies.lists(strategies.floats(-20, 0), min_size=1), strategies.floats(0, 0.99))
def test_no_more_decoys_pass_than_was_asked_for(decoys: list[float], rate: float) -> None:
    threshold = choose_threshold(decoys, rate)
    assert sum(score > threshold for score in decoys) <= rate * len(decoys)
