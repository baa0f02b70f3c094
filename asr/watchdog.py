"""Noticing that a model has collapsed: values on dev that stay where they must not, and the knob to turn."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

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

    def alarms(self, history: Sequence[Mapping[str, float]]) -> int:
        """Evaluations in a row, up to the last, that are out of bounds."""
        looked_at = reversed(history[self.grace :])
        return sum(1 for _ in takewhile(self.outside, looked_at))


def alarmed(watches: Sequence[Watch], history: Sequence[Mapping[str, float]]) -> bool:
    """Whether the last evaluation may be the beginning of a collapse."""
    return any(watch.patience and watch.alarms(history) for watch in watches)


def collapsed(watches: Sequence[Watch], history: Sequence[Mapping[str, float]]) -> bool:
    """Whether a training with these evaluations is stopped."""
    return any(0 < watch.patience <= watch.alarms(history) for watch in watches)


def look_after(watches: Sequence[Watch], history: Sequence[Mapping[str, float]], sound: int) -> None:
    """Warn of the last evaluation, or stop the training that has collapsed.

    Args:
        history: all evaluations, oldest first; being all that is looked at, a resumed run sees the same.
        sound: update of the last checkpoint that nothing was wrong with; 0 where there is none.
    Raises:
        InputError: a value has been out of bounds for its ``patience``.
    """
    for watch in watches:
        if not (bad := watch.alarms(history)):
            continue
        said = f"{watch.value} on dev is {history[-1][watch.value]:.4g}: {watch.meaning}. {watch.remedy}"
        if 0 < watch.patience <= bad:
            again = (
                f"Run again, it goes on from update {sound}, before that."
                if sound
                else "It was so from the beginning: begin anew in another exp."
            )
            raise InputError(f"training has collapsed and was stopped: for {bad} evaluations {said} {again}")
        print(f"warning: {said}", file=sys.stderr)
