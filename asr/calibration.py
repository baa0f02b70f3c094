"""Whether a word of which a decoder is 80 % sure is right eight times in ten; and how to make it so.

Measures: expected calibration error (Naeini et al. 2015; Guo et al. 2017), in bins of equal width and of equal counts;
Brier score; normalised cross entropy (Siu et al. 1997; NIST). Mending: a logistic function of the confidence's
log-odds (Platt 1999). It has two numbers, which the few hundred words of a small dev set can bear where an isotonic
curve would follow their noise, and it keeps the order, so that what is to be looked at first stays first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.decode.confidence import log_odds
from asr.edits import edit_operations
from asr.score import CorpusScore

BINS = 15
STEPS = 50
LEAST_WORDS = 50
"""With fewer words, or fewer wrong or right ones than a tenth of these, nothing is fitted."""
LEAST_SCALE = 0.05
"""Of log-odds: above 0, for a calibration keeps the order of what it is sure of."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Words of about one confidence."""

    low: float
    high: float
    words: int
    confidence: float
    """Their mean."""
    right: float
    """Share of them that is right."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How confidences and errors go together."""

    words: int
    right: float
    """Share of the words that is right."""
    confidence: float
    """Mean."""
    ece: float
    """Mean distance of confidence and share of right words, over `BINS` bins of equal width."""
    adaptive_ece: float
    """The same over bins of counts as equal as they can be without parting equal confidences."""
    brier: float
    """Mean squared distance of confidence and outcome."""
    normalised_cross_entropy: float | None
    """1 is all-knowing; 0 knows no more than the share of right words; less is misleading. None where all words are
    right, or none: then there is nothing to know."""
    bins: tuple[Bin, ...]
    """Those of equal width that hold words."""


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> Reliability:
    """Measure confidences.

    Args:
        confidences: of each word, 0 to 1.
        right: whether it is.
    Raises:
        ValueError: there is no word, or not as many of one as of the other.
    """
    if not len(confidences) or len(confidences) != len(right):
        raise ValueError(
            f"{len(confidences)} confidences for {len(right)} words. Give one for each, and a word."
        )
    sure, truth = np.clip(np.array(confidences, np.float64), 0, 1), np.array(right, np.float64)
    even = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    # Equal confidences share their middle rank, so a bin: else the order of the words would decide.
    order = np.sort(sure)
    rank = (np.searchsorted(order, sure, "left") + np.searchsorted(order, sure, "right") - 1) // 2
    ranked = rank * min(BINS, len(sure)) // len(sure)
    bins = [
        Bin(
            place / BINS,
            (place + 1) / BINS,
            int(own.sum()),
            float(sure[own].mean()),
            float(truth[own].mean()),
        )
        for place in range(BINS)
        if (own := even == place).any()
    ]
    return Reliability(
        words=len(sure),
        right=float(truth.mean()),
        confidence=float(sure.mean()),
        ece=sum(each.words * abs(each.confidence - each.right) for each in bins) / len(sure),
        adaptive_ece=sum(
            abs(float((sure[ranked == place] - truth[ranked == place]).sum()))
            for place in set(ranked.tolist())
        )
        / len(sure),
        brier=float(np.square(sure - truth).mean()),
        normalised_cross_entropy=_normalised_cross_entropy(sure, truth),
        bins=tuple(bins),
    )


def fit_calibration(confidences: Sequence[float], right: Sequence[bool]) -> tuple[float, float]:
    """Scale and shift of the log-odds that make confidences fit (see `asr.decode.confidence.calibrated`).

    Maximum likelihood under a weak normal prior around (1, 0), by Newton's method; (1, 0), which changes nothing,
    where there are too few words to tell. The scale is at least `LEAST_SCALE`, and the shift is the best beside it.
    """
    truth = np.array(right, np.float64)
    fewer = min(truth.sum(), len(truth) - truth.sum())
    if len(truth) < LEAST_WORDS or fewer < LEAST_WORDS / 10:
        return 1.0, 0.0
    odds = np.array([log_odds(each) for each in confidences])
    scale, shift = _fit(np.stack([odds, np.ones_like(odds)], axis=1), truth, np.array([1.0, 0.0]))
    if scale < LEAST_SCALE:
        (shift,) = _fit(np.ones((len(odds), 1)), truth, np.zeros(1), LEAST_SCALE * odds)
        scale = LEAST_SCALE
    return float(scale), float(shift)


def _fit(
    features: NDArray[np.float64], truth: NDArray[np.float64], prior: NDArray[np.float64],
    given: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:  # fmt: skip
    """Weights of the features (N, K) in the log-odds of the truth (N,), beside what is given of these."""
    weights = prior
    for _ in range(STEPS):
        found = 1 / (1 + np.exp(-(features @ weights + given)))
        gradient = features.T @ (found - truth) + (weights - prior)
        curvature = (features * (found * (1 - found))[:, None]).T @ features + np.eye(len(prior))
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step * min(1.0, 1 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-9:
            break
    return weights


def words_judged(reference: str, hypothesis: str) -> list[bool]:
    """Whether each word of a hypothesis is right, by an alignment with the fewest errors.

    >>> words_judged("the cat sat", "a cat sat down")
    [False, True, True, False]
    """
    return _judged(edit_operations(reference.split(), hypothesis.split()))


def judge(
    score: CorpusScore, confidences: Mapping[str, Sequence[float]], groups: Mapping[str, str] | None = None
) -> tuple[list[float], list[bool], list[str]]:
    """Confidences of a scored system's words, whether each is right, and the ids whose words do not fit.

    Args:
        confidences: of the words of each utterance, or of each recording, by its id.
        groups: the recording of each utterance, where it is recordings that were scored.
    """
    outcomes: dict[str, list[bool]] = {}
    for utterance in score.utterances:
        name = utterance.id if groups is None else groups[utterance.id]
        outcomes.setdefault(name, []).extend(_judged(utterance.word_operations))
    sure: list[float] = []
    right: list[bool] = []
    odd: list[str] = []
    for name, found in outcomes.items():
        own = confidences.get(name, ())
        if len(own) != len(found):  # the policy made other words of them
            odd.append(name)
            continue
        sure += own
        right += found
    return sure, right, odd


def _judged(operations: str) -> list[bool]:
    return [operation == "C" for operation in operations if operation != "D"]


def _normalised_cross_entropy(sure: NDArray[np.float64], truth: NDArray[np.float64]) -> float | None:
    """1 - H(confidences) / H(share of right words)."""
    share = float(truth.mean())
    if share in (0.0, 1.0):
        return None
    held = np.clip(sure, 1e-6, 1 - 1e-6)
    entropy = -float((truth * np.log(held) + (1 - truth) * np.log(1 - held)).mean())
    return 1 - entropy / -(share * math.log(share) + (1 - share) * math.log(1 - share))
