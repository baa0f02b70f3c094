"""The best path of labels through emissions (Viterbi), compiled: what is done for every frame and label.

`asr.align` places the lines of a transcript with it, `asr.decode.times` the words of a hypothesis: no lines, then.

Places. Between N labels lie N + 1 rests, numbered as the label after them: rest i, label i, rest i + 1. A rest is
a blank inside a line; where two lines meet it is a gap, which is also what the transcript leaves out. A path
takes one place at each frame. It stays, or goes from a rest to its label, from a label to the next rest, or from a
label to the next label where the two differ. From the gap before a line it may go to the gap after it within the
frame: the line is passed over, at a cost. Only lines at the very beginning and end are passed over without a frame
in the gap.

A window of W labels, with W + 1 rests, is looked at. Its labels stand one to the right, behind a place that is
never reached, so that every label has one before it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asr.arrays import FloatArray, IntArray

Columns = NDArray[np.uint32]
"""Without a sign, so that none is looked for when they are followed."""
Codes = NDArray[np.uint8]

STAY, ONE_BACK, TWO_BACK, PASSED_OVER = 0, 1, 2, 3
"""Where a path came from: the same place, the place before, the label before a rest, the gap before a line."""


@njit(nogil=True, cache=True)
def advance(
    emissions: FloatArray,
    columns: Columns,
    blank: int,
    gap: int,
    direct: FloatArray,
    bounds: IntArray,
    costs: FloatArray,
    at_rest: FloatArray,
    at_label: FloatArray,
    from_rest: Codes | None,
    from_label: Codes | None,
) -> None:
    """Take the scores of the best paths to each place over some frames, in place.

    Without the codes it is compiled without them, to vector instructions, and several times as fast.

    Args:
        emissions: log-probabilities, (T, K).
        columns: column of each label of the window, (W,).
        blank: column of a rest.
        gap: column of one where a line begins or ends.
        direct: 0 where a label may follow the one before it at once, else minus infinity, (W,).
        bounds: rests where a line begins or ends that lies in the window, in order, (M + 1,).
        costs: of passing over each of these lines, (M,).
        at_rest: scores, (W + 1,).
        at_label: scores, (W + 1,), the first of no label.
        from_rest: written, where each frame's best path to each rest came from, (T, W + 1); or None.
        from_label: written, the same of each label, (T, W); None with the other.
    """
    width = len(columns)
    next_rest = np.empty_like(at_rest)
    next_label = np.empty_like(at_label)
    next_label[0] = at_label[0]
    heard = np.empty(width, np.float32)
    old_rest, old_label = at_rest, at_label
    for t in range(len(emissions)):
        row = emissions[t]
        for i in range(width):
            heard[i] = row[columns[i]]
        for i in range(width):
            stayed, rested, jumped = old_label[i + 1], old_rest[i], old_label[i] + direct[i]
            best = max(stayed, rested)
            if from_label is not None:
                from_label[t, i] = TWO_BACK if jumped > best else (ONE_BACK if rested > stayed else STAY)
            next_label[i + 1] = max(best, jumped) + heard[i]
        for i in range(1, width + 1):
            stayed, left = old_rest[i], old_label[i]
            if from_rest is not None:
                from_rest[t, i] = ONE_BACK if left > stayed else STAY
            next_rest[i] = max(stayed, left) + row[blank]
        next_rest[0] = old_rest[0] + row[blank]
        if from_rest is not None:
            from_rest[t, 0] = STAY
        for i in bounds:
            next_rest[i] = (max(old_rest[i], old_label[i]) if i else old_rest[i]) + row[gap]
        if from_rest is None:
            pass_over(next_rest, bounds, costs, None)
        else:
            pass_over(next_rest, bounds, costs, from_rest[t])
        old_rest, next_rest = next_rest, old_rest
        old_label, next_label = next_label, old_label
    if len(emissions) % 2:
        at_rest[:] = old_rest
        at_label[:] = old_label


@njit(nogil=True, cache=True)
def pass_over(at_rest: FloatArray, bounds: IntArray, costs: FloatArray, from_rest: Codes | None) -> None:
    """Let the paths in the gap before a line be in the gap after it, in place; ``from_rest``, (W + 1,), as above."""
    for line in range(len(costs)):
        passed = at_rest[bounds[line]] - costs[line]
        if passed > at_rest[bounds[line + 1]]:
            at_rest[bounds[line + 1]] = passed
            if from_rest is not None:
                from_rest[bounds[line + 1]] = PASSED_OVER


@njit(nogil=True, cache=True)
def trace(
    from_rest: Codes,
    from_label: Codes,
    bounds: IntArray,
    first_label: int,
    first_frame: int,
    place: int,
    is_label: bool,
    frames: NDArray[np.int64],
) -> tuple[int, bool]:
    """Follow the best path back through the frames that `advance` saw.

    Args:
        bounds: as there.
        first_label: of the window, in the whole chain.
        first_frame: of these, in the recording.
        place: rest or label, in the window, that the path has at the last frame.
        frames: first frame and one past the last of every label of the chain, written, (N, 2).
    Returns:
        the place, in the window, before the first frame.
    """
    line = len(bounds) - 1
    for t in range(len(from_rest) - 1, -1, -1):
        while not is_label and from_rest[t, place] == PASSED_OVER:
            while bounds[line] != place:
                line -= 1
            place = bounds[line - 1]
        if is_label:
            label = first_label + place
            frames[label, 0] = first_frame + t
            if frames[label, 1] == 0:
                frames[label, 1] = first_frame + t + 1
            code = from_label[t, place]
            if code == ONE_BACK:
                is_label = False
            elif code == TWO_BACK:
                place -= 1
        elif from_rest[t, place] == ONE_BACK:
            place -= 1
            is_label = True
    return place, is_label
