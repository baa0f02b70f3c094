"""What the tables of arms share: the runs that are there, a word on those that are not, and how figures are written."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr.bootstrap import Interval
from lm.errors import InputError


def runs_found(paths: Mapping[str, Mapping[str, Path]], base: str, where: Path) -> dict[str, dict[str, Path]]:
    """The files that exist, by arm and seed; each other one is named on stderr.

    Args:
        paths: of every arm and seed that were asked for.
        base: the arm that the others are compared with.
        where: folder of the experiments.
    Raises:
        InputError: the base is not among the arms, or there is no file at all.
    """
    if base not in paths:
        raise InputError(
            f"--base is {base}, which is not among --arms {' '.join(paths)}. Add it, or give one of them."
        )
    found = {arm: {seed: path for seed, path in own.items() if path.is_file()} for arm, own in paths.items()}
    if not any(found.values()):
        example = next(path for own in paths.values() for path in own.values())
        raise InputError(
            f"{where} has nothing of the arms {' '.join(paths)} with these seeds, as {example}. Decode first, or give "
            "other --arms or --seeds."
        )
    for arm, own in paths.items():
        for seed, path in own.items():
            if seed not in found[arm]:
                print(f"left out {path.parent.relative_to(where)}: there is no {path}", file=sys.stderr)
    return found


def by_seed(values: Sequence[float]) -> str:
    """Each run's value, and their standard deviation where there are several."""
    deviation = f" ±{statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return " ".join(f"{value:.1f}" for value in values) + deviation


def difference(value: float, interval: Interval, p_value: float, *, scale: float = 1.0) -> str:
    """A difference with its interval and p-value; no difference is no negative one.

    Args:
        scale: what value and interval are multiplied by, 100 for shares.
    """
    shown = [f"{scale * each:+z.1f}" for each in (value, interval.low, interval.high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]}), p {p_value:.3f}"
