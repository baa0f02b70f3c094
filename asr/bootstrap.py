"""How sure a rate is, and whether one system is better than another, by resampling the test set.

Utterances (or speakers) are drawn with replacement, as many as there are, and the corpus rate is
taken again each time (Bisani and Ney 2004; Koehn 2004 for the paired test). Two systems are drawn
together, so that a hard utterance is hard for both; two groups of utterances, each by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
SEED = 0

_DRAWS = 4_000_000  # drawn at once: 32 MB of indices


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval; its ends are NaN where there were no tokens, or fewer than two units."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rate of A minus that of B, two systems or groups. Below zero, A makes fewer errors."""

    difference: float
    interval: Interval
    p_value: float
    """Two-sided: twice the share of the draws on the rarer side of zero, with one more that is
    counted there. Near 0.05 the 95 % interval, whose ends lie between draws, may say otherwise; the
    verdict is the interval's. Never below 2 / (resamples + 1): so many draws cannot say more."""

    @property
    def verdict(self) -> str:
        """Which of A and B is better, "a" or "b"; "" where the interval covers zero: not shown."""
        if self.interval.high < 0:
            return "a"
        return "b" if self.interval.low > 0 else ""


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How the intervals of a score are made."""

    units: Mapping[str, str] | None = None
    """id -> the unit that is drawn (a speaker, say) instead of the utterance."""
    drawn: str = "utterance"
    """What such a unit is."""
    resamples: int = RESAMPLES
    """How often as many units as there are are drawn."""
    seed: int = SEED

    @property
    def apart(self) -> Bootstrap:
        """Draws of a second group, which must not follow those of the first."""
        return replace(self, seed=self.seed + 1)


BOOTSTRAP = Bootstrap()


def rate_interval(
    errors: Sequence[int],
    lengths: Sequence[int],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    percent: int = 95,
) -> Interval:
    """Percentile bootstrap interval of ``sum(errors) / sum(lengths)``.

    Args:
        errors: edits of each unit (an utterance, or all of a speaker's), (N,).
        lengths: reference tokens of each unit, (N,).
        resamples: how often N units are drawn.
        seed: the same seed draws the same units for every metric and system.
        percent: share of the draws that the interval holds.
    """
    rates = _rates(np.array([errors]), np.array(lengths), resamples, seed)[0]
    return percentiles(rates, percent)


def paired_bootstrap(
    errors_a: Sequence[int],
    errors_b: Sequence[int],
    lengths: Sequence[int],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    percent: int = 95,
) -> Comparison:
    """Compare two systems on the same units: the rate of A minus the rate of B.

    Args:
        errors_a: edits of system A for each unit, (N,).
        errors_b: edits of system B for the same units, (N,).
        lengths: reference tokens of each unit, (N,).
    """
    rates = _rates(np.array([errors_a, errors_b]), np.array(lengths), resamples, seed)
    differences = rates[0] - rates[1]
    total = sum(lengths)
    difference = (sum(errors_a) - sum(errors_b)) / total if total else float("nan")
    return compared(difference, differences, percent)


def unpaired_bootstrap(
    first: tuple[Sequence[int], Sequence[int]], second: tuple[Sequence[int], Sequence[int]], how: Bootstrap
) -> Comparison:
    """Compare two groups of units: the rate of the first minus that of the second.

    Args:
        first: errors and reference tokens of each unit of a group, (N,).
        second: of the other, (M,).
    """
    rates = [
        _rates(np.array([errors]), np.array(lengths), how.resamples, drawn.seed)[0]
        for (errors, lengths), drawn in ((first, how), (second, how.apart))
    ]
    means = [
        sum(errors) / sum(lengths) if any(lengths) else float("nan") for errors, lengths in (first, second)
    ]
    return gap(means[0] - means[1], *rates)


def gap(difference: float, first: NDArray[np.float64], second: NDArray[np.float64]) -> Comparison:
    """The comparison of two groups from their difference, and the rate of each on its own draws, (draws,)."""
    count = min(len(first), len(second))
    return compared(difference, first[:count] - second[:count])


def compared(difference: float, differences: NDArray[np.float64], percent: int = 95) -> Comparison:
    """The comparison from a difference, and that on each draw."""
    fewer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    p_value = min(1.0, 2 * (1 + fewer) / (len(differences) + 1))
    return Comparison(difference, percentiles(differences, percent), p_value)


def _rates(
    errors: NDArray[np.int64], lengths: NDArray[np.int64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Corpus rate of each system on each draw, (systems, draws); draws without a token are left out.

    One unit gives no draw at all: it says nothing of how units differ.
    """
    if len(lengths) < 2:
        return np.empty((len(errors), 0))
    columns = [
        np.concatenate([errors[:, drawn].sum(axis=2), lengths[None, drawn].sum(axis=2)])
        for drawn in draws(len(lengths), resamples, seed)
    ]
    sums = np.concatenate(columns, axis=1)  # (systems + 1, draws)
    sums = sums[:, sums[-1] > 0]
    rates: NDArray[np.float64] = sums[:-1] / sums[-1]
    return rates


def draws(units: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of the drawn units, (some draws, units), in pieces that fit in memory."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS // max(1, units))
    for first in range(0, resamples, at_once):
        yield generator.integers(units, size=(min(at_once, resamples - first), units))


def percentiles(values: NDArray[np.float64], percent: int) -> Interval:
    """The middle ``percent`` of the draws; NaN where there are none."""
    if not len(values):
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(values, [50 - percent / 2, 50 + percent / 2])
    return Interval(float(low), float(high))
