"""The best path of lines of text through the emissions of a recording, in bounded memory.

Our own, and not the ctc-segmentation package. That one wants all emissions and a table of frames by characters in
memory (gigabytes for an hour of sound), must give every line a place, even one that nobody says, has nothing that
takes what the transcript leaves out, and compiles when it is installed. Here a line may be passed over, what lies
between lines is a gap that costs little, the emissions and, from time to time, the scores lie on disk, and the way
back is computed anew, a block of frames at a time (the checkpoints of Grice et al. 1997). A test compares the two
where all is said, `bench/align.py` where it is not.

What is best. The path with the greatest sum, over frames, of

- the log-probability of the label it is at, or of the blank inside a line;
- in a gap, the greatest of: the blank's, the word boundary's, and that of the frame's most probable label less
  `SearchConfig.star_cost`. As emissions are blank nearly everywhere but at the peak of each label, that is what each
  label that is heard and not written costs. A character that the model cannot write is such a gap, too, that lasts a
  frame at least;

less `SearchConfig.pass_cost` for every label of each line that is passed over.

A text is aligned exactly as long as frames times labels are at most `SearchConfig.whole_cells`. Of longer ones a window
of labels is looked at, which moves with the best path so far, so that time grows with the recording and not with its
square. It does not get across a stretch of half its length that nobody says; where a quarter of so many labels in a row
is passed over, the search is made again with a window four times as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr.align.spool import Spool
from asr.arrays import FloatArray, IntArray
from asr.best_path import Columns, advance, pass_over, trace
from lm.errors import InputError

BLANK, GAP = 0, 1
"""Columns of the emissions that are aligned to; the labels' follow them."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What is a good path, and how much is looked at.

    The costs were chosen on killkan's dev chapter, with a tenth of its lines taken out and as many put in.
    """

    star_cost: float = 1.0
    """Of a label that is heard and that no line has, in nats: less than what a wrong label costs (5 to 10)."""
    pass_cost: float = 5.0
    """Of a label of a line that is passed over, in nats: more than the labels of a line that is said cost on average.
    With noise on the emissions, so that 67 % of the characters heard are wrong, 5 passes over none of the lines that
    are said, 3 over 15 %; foreign lines are all passed over; at 6 some are not."""
    window_labels: int = 16_384
    """Looked at at once, at least: about twenty minutes of speech."""
    whole_cells: int = 20_000_000_000
    """Frames times labels that are looked at in any case, which takes a minute: all of an hour and a half or two."""
    block_frames: int = 2_048
    """Frames after which the window may move, and whose way back is computed at once."""

    def __post_init__(self) -> None:
        if not self.star_cost >= 0:  # NaN is refused, too
            raise InputError(f"`star_cost` must be at least 0; got {self.star_cost}.")
        if not 0 < self.pass_cost < math.inf:
            raise InputError(f"`pass_cost` must be a number above 0; got {self.pass_cost}.")
        if min(self.window_labels, self.block_frames) < 1 or self.whole_cells < 0:
            raise InputError(
                "`window_labels` and `block_frames` must be at least 1, `whole_cells` at least 0; "
                f"got {self.window_labels}, {self.block_frames} and {self.whole_cells}."
            )


class Rows(Protocol):
    """Emissions of a recording: a `Spool`, or an array in memory by way of `InMemory`."""

    def __len__(self) -> int: ...

    def read(self, first: int, last: int) -> FloatArray:
        """Log-probabilities from frame ``first`` to before ``last``, (n, K): blank, gap, and those of labels."""


@dataclass(frozen=True)
class InMemory:
    """An array in the form of a `Spool`."""

    rows: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, first: int, last: int) -> FloatArray:
        """Rows from ``first`` to before ``last``."""
        return self.rows[first:last]


@dataclass(frozen=True)
class Path:
    """Where the labels of some lines lie."""

    score: float
    """Of the whole path, natural log."""
    frames: list[NDArray[np.int64] | None]
    """Of each line: first frame and one past the last of each of its labels, (L, 2); None: passed over."""


def best_path(emissions: Rows, lines: Sequence[IntArray], config: SearchConfig) -> Path:
    """The best path of all of the lines, each of which may be passed over.

    Args:
        lines: columns of the labels of each; none is empty.
    """
    lengths = np.array([len(line) for line in lines])
    costs = (config.pass_cost * lengths).astype(np.float32)
    width = max(config.window_labels, config.whole_cells // max(1, len(emissions)))
    while True:
        found = _search(emissions, lines, costs, config, width)
        if width >= lengths.sum() or _most_passed_over(lengths, found, width) < width // 4:
            return found
        width *= 4  # it may not have got beyond a stretch that nobody says


def _most_passed_over(lengths: NDArray[np.int64], found: Path, width: int) -> int:
    """Labels of lines that were passed over, of so many in a row; few of a long text's scattered ones."""
    passed = np.where([frames is None for frames in found.frames], lengths, 0)
    before, passed_before = (np.concatenate([[0], np.cumsum(each)]) for each in (lengths, passed))
    ends = np.searchsorted(before, before + width, side="right") - 1
    return int((passed_before[ends] - passed_before).max())


def forced_path(emissions: FloatArray, line: IntArray) -> NDArray[np.int64] | None:
    """Where the labels of one line lie if it is said in these frames; None if they are too few.

    Args:
        emissions: (T, K).
        line: columns of its labels, (L,).
    """
    never = np.array([np.inf], dtype=np.float32)
    return _search(InMemory(emissions), [line], never, SearchConfig(), len(line)).frames[0]


@dataclass(frozen=True)
class _Chain:
    """All lines one after the other."""

    columns: Columns
    direct: FloatArray
    bounds: IntArray
    """Rest where each line begins; and where the last one ends."""
    costs: FloatArray

    def window(self, first: int, last: int) -> _Chain:
        """The labels from ``first`` to before ``last``, with the lines that lie wholly among them."""
        begin, end = np.searchsorted(self.bounds, first), np.searchsorted(self.bounds, last, side="right")
        return _Chain(
            self.columns[first:last],
            self.direct[first:last],
            self.bounds[begin:end] - np.int32(first),
            self.costs[begin : max(begin, end - 1)],
        )

    @property
    def arrays(self) -> tuple[Columns, int, int, FloatArray, IntArray, FloatArray]:
        """What the compiled steps take."""
        return self.columns, BLANK, GAP, self.direct, self.bounds, self.costs


@dataclass(frozen=True)
class _Block:
    """Some frames, the window that was looked at in them, and the score that was set to zero after them."""

    first_frame: int
    last_frame: int
    first_label: int
    top: np.float32


def _chain(lines: Sequence[IntArray], costs: FloatArray) -> _Chain:
    columns = np.concatenate(lines).astype(np.uint32)
    bounds = np.cumsum([0, *(len(line) for line in lines)]).astype(np.int32)
    direct = np.zeros(len(columns), dtype=np.float32)
    direct[0] = -np.inf
    direct[1:][columns[1:] == columns[:-1]] = -np.inf
    return _Chain(columns, direct, bounds, costs)


def _search(
    emissions: Rows, lines: Sequence[IntArray], costs: FloatArray, config: SearchConfig, width: int
) -> Path:
    """The best path, looking at ``width`` labels at once."""
    chain = _chain(lines, costs)
    num_labels = len(chain.columns)
    width = min(width, num_labels)
    frames = np.zeros((num_labels, 2), dtype=np.int64)
    at_rest = np.full(width + 1, -np.inf, dtype=np.float32)
    at_label = at_rest.copy()  # behind a place that is never reached
    at_rest[0] = 0.0
    window = chain.window(0, width)
    pass_over(at_rest, window.bounds, window.costs, None)
    blocks: list[_Block] = []
    total, low = 0.0, 0
    with Spool(2 * (width + 1)) as scores:
        for first, last in _spans(len(emissions), config.block_frames):
            scores.append(np.concatenate([at_rest, at_label])[None])
            rows, shares = _relative(emissions, first, last)
            advance(rows, *window.arrays, at_rest, at_label, None, None)
            top = max(at_rest.max(), at_label.max())
            blocks.append(_Block(first, last, low, top))
            at_rest -= top
            at_label -= top
            total += float(top) + shares
            middle = low + _best_label(at_rest, at_label, config.pass_cost / 2)
            ahead = max(low, min(middle - width // 2, num_labels - width))
            if ahead > low:
                for row in (at_rest, at_label):
                    row[: low - ahead] = row[ahead - low :].copy()
                    row[low - ahead :] = -np.inf
                at_label[0] = -np.inf
                low = ahead
                window = chain.window(low, low + width)
        scores.append(np.concatenate([at_rest, at_label])[None])
        blocks.append(_Block(len(emissions), len(emissions), low, np.float32(0.0)))
        score, place, is_label = _end(chain, at_rest, at_label, low)
        if place >= 0:
            _trace_back(emissions, scores, chain, blocks, place, is_label, frames)
    found = [
        frames[begin:end] if frames[begin, 1] else None  # no frame ends at 0
        for begin, end in pairwise(chain.bounds)
    ]
    return Path(total + score, found)


def _spans(length: int, size: int) -> Iterator[tuple[int, int]]:
    for first in range(0, length, size):
        yield first, min(first + size, length)


def _relative(emissions: Rows, first: int, last: int) -> tuple[FloatArray, float]:
    """Frames with each one's greatest value as zero, and the sum of what was taken off.

    Which path is best does not change, and most of what a good one sums is zero: nothing is lost to float32.
    """
    rows = emissions.read(first, last)
    tops = rows.max(axis=1, keepdims=True)
    return rows - tops, float(tops.sum(dtype=np.float64))


def _best_label(at_rest: FloatArray, at_label: FloatArray, worth: float) -> int:
    """Place in the window of the path that will probably be the best.

    Until the end nobody pays for the lines that are left over: a path that waits in a gap would look better than one
    that goes on with labels that are heard badly.

    Args:
        worth: of a label that lies behind a path: half of what passing over it costs, so that neither waiting nor
            running ahead pays.
    """
    ahead = worth * np.arange(len(at_rest))
    rest, label = int((at_rest + ahead).argmax()), int((at_label + ahead).argmax())
    return rest if at_rest[rest] + ahead[rest] >= at_label[label] + ahead[label] else label - 1


def _end(chain: _Chain, at_rest: FloatArray, at_label: FloatArray, low: int) -> tuple[float, int, bool]:
    """Score of the best path that ends after a line, passing over the others; its last place in the chain.

    The place is -1 where there is no path.
    """
    after = np.concatenate([np.cumsum(chain.costs[::-1].astype(np.float64))[::-1], [0.0]])
    best, place, is_label = -np.inf, -1, False
    for bound, cost in zip(chain.bounds.tolist(), after.tolist(), strict=True):
        if not low <= bound < low + len(at_rest):
            continue
        for score, at in ((at_label[bound - low], True), (at_rest[bound - low], False)):
            if score > -np.inf and float(score) - cost > best:
                best, place, is_label = float(score) - cost, bound - at, at
    return best, place, is_label


def _trace_back(
    emissions: Rows,
    scores: Spool,
    chain: _Chain,
    blocks: Sequence[_Block],
    place: int,
    is_label: bool,
    frames: NDArray[np.int64],
) -> None:
    """Find the path that ends at a place, from the last block to the first.

    A path moves by at most a label a frame, but where lines are passed over. So few of the window's labels are
    looked at again; they are enough if they give the path's end the score that all of them gave.
    """
    half = scores.width // 2
    after = scores.read(len(blocks) - 1, len(blocks))[0]
    for number in range(len(blocks) - 2, -1, -1):
        block, following = blocks[number], blocks[number + 1]
        rows, _ = _relative(emissions, block.first_frame, block.last_frame)
        before = scores.read(number, number + 1)[0]
        shifted = place - following.first_label
        wanted = after[half + shifted + 1] if is_label else after[shifted]
        last = place + is_label
        reach = len(rows) + 1
        while True:
            first = max(block.first_label, place - reach)
            window = chain.window(first, last)
            begin, end = first - block.first_label, last - block.first_label
            at_rest = before[begin : end + 1].copy()
            at_label = before[half + begin : half + end + 1].copy()
            at_label[0] = -np.inf
            from_rest = np.zeros((len(rows), len(at_rest)), dtype=np.uint8)
            from_label = np.zeros((len(rows), len(at_rest) - 1), dtype=np.uint8)
            advance(rows, *window.arrays, at_rest, at_label, from_rest, from_label)
            found = at_label[place - first + 1] if is_label else at_rest[place - first]
            if first == block.first_label or found - block.top == wanted:
                break
            reach *= 4
        place, is_label = trace(
            from_rest, from_label, window.bounds, first, block.first_frame, place - first, is_label, frames
        )
        place += first
        after = before
