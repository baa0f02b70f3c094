"""How sure a decoder is of a word."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asr.decode.hypothesis import EmissionArray

ACOUSTIC_SHARE = 0.2
"""Weight of the labels' posteriors in a word's confidence after beam search. On simulated emissions
of Kichwa texts 0.1 to 0.25 gave the best normalised cross entropy (about 0.2; -0.1 at 0, 0.1 at 0.5)."""


def acoustic_confidences(
    emissions: EmissionArray,
    labels: Sequence[int],
    frames: NDArray[np.int64],
    words: Sequence[tuple[str, int, int]],
    surfaces: Sequence[str],
) -> list[float]:
    """Geometric mean of the posteriors of each word's labels, 0 to 1.

    A label counts with the highest posterior among its frames: the others are its flanks. The
    boundaries beside the word count as its labels, for a doubtful boundary makes a doubtful word.

    Args:
        emissions: natural-log probabilities, (T, C).
        frames: from `align_labels`, (L, 2).
        words: from `words_of_labels`.
    """
    peaks = _peaks(
        np.require(emissions, np.float32, ["C", "A", "W"]), np.array(labels, np.int32), frames
    ).tolist()
    confidences = []
    for _, first, last in words:
        first -= first > 0 and surfaces[labels[first - 1]] == " "
        last += last < len(labels) and surfaces[labels[last]] == " "
        confidences.append(_probability(sum(peaks[first:last]) / (last - first)))
    return confidences


@njit(nogil=True, cache=True)
def _peaks(
    emissions: NDArray[np.float32], labels: NDArray[np.int32], frames: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Highest log-probability of each label among its frames, (L,)."""
    peaks = np.full(len(labels), -np.inf, np.float32)
    for place in range(len(labels)):
        for t in range(frames[place, 0], frames[place, 1]):
            peaks[place] = max(peaks[place], emissions[t, labels[place]])
    return peaks


def blank_confidence(emissions: EmissionArray, blank: int) -> float:
    """Geometric mean of the blank's posterior: how sure the model is that there is no word."""
    return _probability(float(emissions[:, blank].mean())) if len(emissions) else 1.0


def mean_confidence(confidences: Sequence[float]) -> float:
    """Geometric mean."""
    return math.exp(sum(math.log(max(value, 1e-30)) for value in confidences) / len(confidences))


def hypothesis_posteriors(scores: Sequence[float]) -> list[float]:
    """Share of each hypothesis in the probability of all, from natural-log scores; sums to 1."""
    best = max(scores)
    if best == -math.inf:  # nothing is possible
        return [1 / len(scores)] * len(scores)
    masses = [math.exp(score - best) for score in scores]
    total = sum(masses)
    return [mass / total for mass in masses]


def combine(posterior: float, acoustic: float) -> float:
    """Confidence of a word from its share of the beam and from its own labels, 0 to 1.

    Their weighted geometric mean. The beam knows only the rivals it kept and so is too sure of
    itself; the labels know nothing of the language model, so they only temper it.
    """
    return float(posterior ** (1 - ACOUSTIC_SHARE) * acoustic**ACOUSTIC_SHARE)


def calibrated(confidence: float, scale: float, shift: float) -> float:
    """A confidence whose log-odds are scaled and shifted, as `asr.calibration` fits them; 0 to 1."""
    if (scale, shift) == (1.0, 0.0):
        return confidence
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, scale * log_odds(confidence) + shift))))


def log_odds(probability: float) -> float:
    """ln p / (1 - p), of a probability that is kept off 0 and 1."""
    held = min(1 - 1e-6, max(1e-6, probability))
    return math.log(held / (1 - held))


def _probability(log_probability: float) -> float:
    return math.exp(min(0.0, log_probability))
