"""Scores as a person reads them, and as a program does: one report, shown as a table or as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asr.bootstrap import BOOTSTRAP, Bootstrap, Comparison, Interval
from asr.score import METRICS, CorpusScore

_EDITS = ("substitutions", "deletions", "insertions", "length")


def score_report(
    score: CorpusScore,
    *,
    by: Mapping[str, Mapping[str, str]] | None = None,
    against: CorpusScore | None = None,
    names: tuple[str, str] = ("A", "B"),
    how: Bootstrap = BOOTSTRAP,
) -> dict[str, Any]:
    """Everything worth saying of a score, as JSON values; rates and differences in percent.

    Args:
        score: the system's.
        by: column -> id -> group: each group is scored too.
        against: a second system on the same references, for a paired bootstrap.
        names: of the two systems.
        how: the intervals are made.
    """
    report: dict[str, Any] = {"all": _figures(score, how), "by": {}, "gaps": {}}
    for column, labels in (by or {}).items():
        groups = score.group_by(labels)
        report["by"][column] = {name: _figures(group, how) for name, group in groups.items()}
        if pair := two_named(groups):
            first, second = (groups[name] for name in pair)
            report["gaps"][column] = {"groups": list(pair)}
            for metric in METRICS:
                rates = [each.counts(metric).rate for each in (first, second, score)]
                found = first.gap(second, metric, how)
                report["gaps"][column][metric] = gap_figures(rates, found, errors=True, scale=100)
    if against is not None:
        report["against"] = {"names": list(names)}
        for metric in METRICS:
            found = score.compare(against, metric, how)
            rate = against.counts(metric).rate
            report["against"][metric] = compared_figures(rate, found, found.verdict, scale=100)
    return report | {
        "signature": {metric: score.signature(metric) for metric in METRICS},
        "bootstrap": {"resamples": how.resamples, "seed": how.seed, "drawn": how.drawn},
        "no_reference": len(score.no_reference),
        "missing": len(score.missing),
        "unknown": len(score.unknown),
    }


def format_report(report: Mapping[str, Any]) -> str:
    """The table of `score_report`, then the comparison, what was drawn, and the signatures."""
    rows = [["", "utterances", "", "%", "95 % interval", "S", "D", "I", "N"]]
    groups = {"all": report["all"]}
    for column, figures in report["by"].items():
        groups |= {f"{column} {name or '(none)'}": values for name, values in figures.items()}
    for name, figures in groups.items():
        for metric in METRICS:
            values = figures[metric]
            first = [name, str(figures["utterances"])] if metric == METRICS[0] else ["", ""]
            edits = [str(values[edit]) for edit in _EDITS]
            rows.append(
                [*first, metric.upper(), shown(values["score"]), shown_range(values["interval"]), *edits]
            )
    lines = aligned(rows)
    names: dict[str, str] = {metric: metric.upper() for metric in METRICS}
    lines += gaps(report["gaps"], names)
    if "against" in report:
        lines += ["", *comparison(report["against"], names)]
    if "calibration" in report:
        lines += ["", *_calibration(report["calibration"])]
    lines += ["", drawn_by(report["bootstrap"])]
    lines += [f"signature  {signature}" for signature in report["signature"].values()]
    return "\n".join(lines)


def _figures(score: CorpusScore, how: Bootstrap) -> dict[str, Any]:
    figures: dict[str, Any] = {"utterances": len(score.utterances)}
    for metric in METRICS:
        counts = score.counts(metric)
        figures[metric] = score_figures(counts.rate, score.interval(metric, how), scale=100)
        figures[metric] |= {edit: getattr(counts, edit) for edit in _EDITS}
    return figures


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, its first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *right]))
    return lines


def comparison(against: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """The lines that compare two systems.

    Args:
        against: of a report.
        names: key of a metric -> its name.
    """
    first, second = against["names"]
    lines = [f"A {first}", f"B {second}", "A minus B, paired bootstrap:"]
    for key, line in _differences(against, names, {"a": "A", "b": "B"}).items():
        lines.append(f"{line}  (B has {shown(against[key]['score'])})")
    return lines


def gaps(found: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """The lines that say how far the two groups of a column lie apart.

    Args:
        found: column -> what `gap_figures` gave for each metric, and the ``groups``.
        names: key of a metric -> its name.
    """
    lines: list[str] = []
    for column, values in found.items():
        first, second = values["groups"]
        lines += ["", f"{column} {first} minus {second}, each drawn by itself:"]
        for key, line in _differences(values, names, {"a": first, "b": second}).items():
            shares = values[key]["relative"]
            lines.append(
                f"{line}  (of the mean of both {shown(shares['mean'], '+')} %, of the better "
                f"{shown(shares['better'], '+')} %, of all {shown(shares['all'], '+')} %)"
            )
    return lines


def _differences(
    values: Mapping[str, Any], names: Mapping[str, str], sides: Mapping[str, str]
) -> dict[str, str]:
    """A line for each metric: a difference, its interval, and what it shows."""
    width = max(map(len, names.values()))
    lines = {}
    for key, name in names.items():
        each = values[key]
        verdict = "not shown: it covers zero"
        if each["better"]:
            verdict = f"{sides[each['better']]} is better"
        elif None in each["interval"]:
            verdict = "not shown: fewer than two to draw from"
        lines[key] = (
            f"  {name.ljust(width)}  {shown(each['difference'], '+')}  {shown_range(each['interval'], '+')}  "
            f"p {each['p']:.4f}  {verdict}"
        )
    return lines


def drawn_by(bootstrap: Mapping[str, Any]) -> str:
    """The line that says how intervals were made."""
    drawn = f"{bootstrap['resamples']} draws by {bootstrap['drawn']}, seed {bootstrap['seed']}"
    return f"interval   percentile bootstrap, {drawn}"


def _calibration(found: Mapping[str, Any]) -> list[str]:
    """The lines on how far confidences can be trusted."""
    rows = [["confidence of words", "words", "mean", "right"]]
    rows += [
        [f"{each['low']:.2f} to {each['high']:.2f}", str(each["words"])]
        + [f"{100 * each[name]:.1f} %" for name in ("confidence", "right")]
        for each in found["bins"]
    ]
    rows.append(
        ["all", str(found["words"]), f"{100 * found['confidence']:.1f} %", f"{100 * found['right']:.1f} %"]
    )
    entropy = found["normalised_cross_entropy"]
    return [
        *aligned(rows),
        f"expected calibration error {100 * found['ece']:.1f} % (bins of equal counts "
        f"{100 * found['adaptive_ece']:.1f} %), Brier {found['brier']:.3f}, "
        f"normalised cross entropy {'-' if entropy is None else f'{entropy:.3f}'}",
    ]


def score_figures(score: float, interval: Interval, scale: float = 1.0) -> dict[str, Any]:
    """A score and its interval as JSON values; rates are in percent where ``scale`` is 100."""
    return {
        "score": _rounded(scale * score),
        "interval": [_rounded(scale * interval.low), _rounded(scale * interval.high)],
    }


def two_named(groups: Iterable[str]) -> tuple[str, str] | None:
    """The names of two groups to compare; None where there are not just two that have a name."""
    named = sorted(name for name in groups if name)
    return (named[0], named[1]) if len(named) == 2 else None


def better(found: Comparison, errors: bool) -> str:
    """Which of A and B is better, "a" or "b", or "" for not shown; ``errors`` are better when fewer."""
    return found.verdict if errors else {"a": "b", "b": "a", "": ""}[found.verdict]


def gap_figures(
    scores: Sequence[float], found: Comparison, *, errors: bool, scale: float = 1.0
) -> dict[str, Any]:
    """How far a group lies above another, as JSON values, and that relative to three things, in percent.

    The relative difference of scores of two groups (Boito et al., Interspeech 2022) is used with more than one
    denominator, so each is named. Above zero the first group has the greater score, whether that is good or not.

    Args:
        scores: of the two groups, and of all utterances.
        errors: a smaller score is better.
    """
    first, second, whole = scores
    below = {
        "mean": (first + second) / 2,
        "better": min(first, second) if errors else max(first, second),
        "all": whole,
    }
    shares = {
        name: _rounded(100 * found.difference / value) if value else None for name, value in below.items()
    }
    return _difference(found, better(found, errors), scale) | {"relative": shares}


def compared_figures(score: float, found: Comparison, better: str, scale: float = 1.0) -> dict[str, Any]:
    """The score of a second system, and the first one's difference to it."""
    return {"score": _rounded(scale * score)} | _difference(found, better, scale)


def _difference(found: Comparison, better: str, scale: float) -> dict[str, Any]:
    """A comparison as JSON values."""
    return {
        "difference": _rounded(scale * found.difference),
        "interval": [_rounded(scale * found.interval.low), _rounded(scale * found.interval.high)],
        "p": round(found.p_value, 5),
        "better": better,
    }


def _rounded(value: float) -> float | None:
    """Three places; None, which JSON can say, where there is no number."""
    return round(value, 3) if math.isfinite(value) else None


def shown(value: float | None, sign: str = "") -> str:
    """A figure of a report; ``sign`` is + where it is a difference."""
    return "-" if value is None else f"{value:{sign}.2f}"


def shown_range(bounds: list[float | None], sign: str = "") -> str:
    """An interval of a report."""
    return f"[{', '.join(shown(bound, sign) for bound in bounds)}]"
