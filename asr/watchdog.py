"""Noticing that a model has collapsed: values on dev that stay where they must not, and the knob to turn."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One value of the evaluations and the bounds within which a model is alive."""

    value: str
    low: float = float("-inf")
    high: float = float("inf")
    meaning: str
    """What it means to be out of bounds: ``the model writes next to nothing``."""
    remedy: str
    grace: int = 2
    """First evaluations that are not looked at: a model may begin out of bounds."""
    patience: int = 3
    """Evaluations in a row out of bounds at which training stops; each one before is a warning. 0 never stops:
    the model may yet begin to learn."""

    def outside(self, row: Mapping[str, float]) -> bool:
        """Whether an evaluation is out of bounds."""
        return self.value in row and not self.low <= row[self.value] <= self.high


def look_after(watches: Sequence[Watch], history: Sequence[Mapping[str, float]]) -> None:
    """Warn of the last evaluation, or stop the training that has collapsed.

    Args:
        history: all evaluations, oldest first; being all that is looked at, a resumed run sees the same.
    Raises:
        InputError: a value has been out of bounds for its ``patience``.
    """
    for watch in watches:
        bad = 0
        for row in reversed(history[watch.grace :]):
            if not watch.outside(row):
                break
            bad += 1
        if not bad:
            continue
        said = f"{watch.value} on dev is {history[-1][watch.value]:.4g}: {watch.meaning}. {watch.remedy}"
        if 0 < watch.patience <= bad:
            raise InputError(f"training has collapsed and was stopped: for {bad} evaluations {said}")
        print(f"warning: {said}", file=sys.stderr)
