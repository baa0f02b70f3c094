"""How well a line fits the sound it was given, and from which score on that is believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from asr.align.search import BLANK, forced_path
from asr.align.texts import Columns, Line
from asr.arrays import FloatArray
from asr.edits import error_counts

WORST_LABELS = 10
"""Labels that the worst stretch of a line has: two words."""
LEAST_THRESHOLD = -5.5
"""Of few decoys, the best of which say little: those of one line have -10, those of a killkan chapter -5 to -6."""
UNLIKE = 0.5
"""A line with a smaller share of edits than this is not another line, but a variant."""


def line_score(emissions: FloatArray, columns: NDArray[np.int32], frames: NDArray[np.int64]) -> float:
    """Log-probability of a label, on average over the worst `WORST_LABELS` neighbours of a line.

    A label counts with all of its path up to the next one. As the score of ctc-segmentation, the worst mean over
    30 frames, it finds lines of which a part is wrong; but it does not depend on how many frames a second there are
    and how many of them are blank. On killkan's dev chapter, where 1 % of other lines are accepted, it refuses 0.7 %
    of the true ones (ctc-segmentation's 2 %), and 97.5 % of lines whose second half is another's (99.3 %).

    Args:
        emissions: of the line's frames, (T, K).
        columns: of its labels, (L,).
        frames: of each label, the first from 0, (L, 2).
    """
    path = emissions[:, BLANK].astype(np.float64)
    for (first, last), column in zip(frames, columns, strict=True):
        path[first:last] = emissions[first:last, column]
    sums = np.concatenate([[0.0], np.cumsum(path)])[np.append(frames[:, 0], len(path))]
    width = min(WORST_LABELS, len(columns))
    return float((sums[width:] - sums[:-width]).min() / width)


class Decoys:
    """Lines that are not said where they are looked for, so that one sees what scores these get.

    For each line of a transcript a few that are most alike in length: other lines of its own or of other
    transcripts. Where there are too few, the line's own letters in other orders.
    """

    def __init__(self, lines: Sequence[Line], count: int) -> None:
        """
        Args:
            lines: to take from.
            count: for each line.
        """
        self._pool = sorted((line for line in lines if line.findable), key=lambda line: len(line.labels))
        self._lengths = [len(line.labels) for line in self._pool]
        self._count = count

    def scores(self, line: Line, emissions: FloatArray, columns: Columns) -> list[float]:
        """Scores of decoys in the frames of a line, (T, K); those that do not fit into them are left out."""
        found: list[float] = []
        for labels in self._like(line):
            chosen = columns.of(labels)
            frames = forced_path(emissions, chosen)
            if frames is not None:
                first, last = frames[0, 0], frames[-1, 1]
                found.append(line_score(emissions[first:last], chosen, frames - first))
            if len(found) == self._count:
                break
        return found

    def _like(self, line: Line) -> Iterator[tuple[int, ...]]:
        length = len(line.labels)
        middle = int(np.searchsorted(self._lengths, length))
        near = self._pool[max(0, middle - 4 * self._count) : middle + 4 * self._count]
        near = sorted(near, key=lambda each: abs(len(each.labels) - length))
        yield from (labels for each in near if _rate(line.labels, labels := each.labels) >= UNLIKE)
        yield from scrambled(line, 2 * self._count)


def scrambled(line: Line, count: int) -> Iterator[tuple[int, ...]]:
    """The letters of a line in other orders, at most so many, the same at every call; where words end stays."""
    places = [place for _, first, last in line.words for place in range(first, last)]
    draw = np.random.default_rng(line.number)
    for _ in range(count):
        labels = np.array(line.labels)
        labels[places] = draw.permutation(labels[places])
        if _rate(line.labels, found := tuple(labels.tolist())) >= UNLIKE:
            yield found


def choose_threshold(decoys: Sequence[float], rate: float) -> float:
    """The score that a line must exceed so that at most a share of decoys would be accepted.

    Args:
        rate: that share; where there are too few decoys to tell, none is, and the threshold is at least
            `LEAST_THRESHOLD`.

    >>> choose_threshold([-5.0, -4.0, -3.0, -9.0], 0.25)
    -4.0
    """
    least = LEAST_THRESHOLD if rate * len(decoys) < 1 else -np.inf
    return max([least, *sorted(decoys, reverse=True)[int(rate * len(decoys)) :][:1]])


QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def table_of_scores(groups: dict[str, Sequence[float]]) -> str:
    """The distributions of scores, a row each."""
    names = ["min", *(f"{100 * each:g} %" for each in QUANTILES[1:-1]), "max"]
    lines = [f"{'scores':<12}{'count':>7}" + "".join(f"{name:>8}" for name in names)]
    for name, scores in groups.items():
        cells = [f"{value:8.2f}" for value in np.quantile(scores, QUANTILES)] if scores else []
        lines.append(f"{name:<12}{len(scores):>7}" + "".join(cells))
    return "\n".join(lines)


def _rate(one: Sequence[int], other: Sequence[int]) -> float:
    return error_counts([str(label) for label in one], [str(label) for label in other]).rate
