"""Scores of translations as a person reads them, and as a program does: a table, or JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from asr.bootstrap import BOOTSTRAP, Bootstrap
from asr.score_report import (
    aligned,
    better,
    compared_figures,
    comparison,
    drawn_by,
    gap_figures,
    gaps,
    score_figures,
    shown,
    shown_range,
    two_named,
)
from st.score import TranslationScore, one_line


def translation_report(
    score: TranslationScore,
    *,
    groups: Mapping[str, Mapping[str, Collection[str]]] | None = None,
    compare: Collection[str] = (),
    against: TranslationScore | None = None,
    names: tuple[str, str] = ("A", "B"),
    how: Bootstrap = BOOTSTRAP,
) -> dict[str, Any]:
    """Everything worth saying of a score, as JSON values; every metric from 0 to 100, TER above too.

    Args:
        score: the system's.
        groups: kind -> name of a group -> ids: each group is scored too.
        compare: kinds of groups of which, where there are two, it is said how far they lie apart.
        against: a second system on the same references, for a paired bootstrap.
        names: of the two systems.
        how: the intervals are made.
    """
    report: dict[str, Any] = {"all": _figures(score, how), "by": {}, "gaps": {}}
    for kind, members in (groups or {}).items():
        selected = {name: score.select(set(ids)) for name, ids in members.items()}
        report["by"][kind] = {name: _figures(each, how) for name, each in selected.items()}
        if kind in compare and (pair := two_named(selected)):
            first, second = map(selected.__getitem__, pair)
            report["gaps"][kind] = {"groups": list(pair)}
            for key, metric in score.metrics.items():
                scores = [each.score(key) for each in (first, second, score)]
                found = first.gap(second, key, how)
                report["gaps"][kind][key] = gap_figures(scores, found, errors=metric.errors)
    if against is not None:
        report["against"] = {"names": list(names)}
        for key, metric in score.metrics.items():
            found = score.compare(against, key, how)
            report["against"][key] = compared_figures(against.score(key), found, better(found, metric.errors))
    hypothesis_tokens, reference_tokens = score.metrics["bleu"].statistics[:, :2].sum(axis=0)
    return report | {
        "names": {key: metric.name for key, metric in score.metrics.items()},
        "length_ratio": round(hypothesis_tokens / max(1, reference_tokens), 4),
        "signature": {key: metric.signature for key, metric in score.metrics.items()},
        "bootstrap": {"resamples": how.resamples, "seed": how.seed, "drawn": how.drawn},
        "no_reference": len(score.no_reference),
        "missing": len(score.missing),
        "empty": len(score.empty),
        "unknown": len(score.unknown),
    }


def length_groups(score: TranslationScore) -> dict[str, list[str]]:
    """Three groups of ids with a third of the utterances each, by the length of the reference in BLEU's tokens.

    Utterances of one length stay together, so that groups differ in size, and there may be fewer.
    """
    lengths = score.metrics["bleu"].statistics[:, 1].astype(int)
    short, medium = np.quantile(lengths, [1 / 3, 2 / 3], method="inverted_cdf")
    groups: dict[str, list[str]] = {}
    for inside in (lengths <= short, (lengths > short) & (lengths <= medium), lengths > medium):
        if inside.any():
            name = f"{lengths[inside].min()}-{lengths[inside].max()} tokens"
            groups[name] = [score.ids[place] for place in np.flatnonzero(inside)]
    return groups


def training_groups(score: TranslationScore, training: Collection[str]) -> dict[str, list[str]]:
    """Ids whose reference occurs verbatim among the ``training`` translations, and the others.

    A corpus of questionnaires or drills has the same sentences in training and test: what a
    system has learned by heart says little of what it translates. `verbatim` gives ``training``.
    """
    groups: dict[str, list[str]] = {"seen in training": [], "unseen": []}
    for name, reference in zip(score.ids, score.references, strict=True):
        groups["seen in training" if reference in training else "unseen"].append(name)
    return groups


def verbatim(texts: Collection[str]) -> set[str]:
    """The texts in the form that `training_groups` looks for, which is `one_line`'s."""
    return {one_line(text) for text in texts if text.strip()}


def format_translation_report(report: Mapping[str, Any]) -> str:
    """The table of `translation_report`, then the comparison, what was drawn, and the signatures."""
    rows = [["", "utterances"]]
    for name in report["names"].values():
        rows[0] += [name, "95 % interval"]
    groups = {"all": report["all"]}
    for kind, figures in report["by"].items():
        # The names of these groups say enough.
        title = "" if kind == "training" else f"{kind} "
        groups |= {f"{title}{name or '(none)'}": values for name, values in figures.items()}
    for name, values in groups.items():
        cells = [name, str(values["utterances"])]
        for key in report["names"]:
            cells += [shown(values[key]["score"]), shown_range(values[key]["interval"])]
        rows.append(cells)
    lines = aligned(rows)
    lines += gaps(report["gaps"], report["names"])
    if "against" in report:
        lines += ["", *comparison(report["against"], report["names"])]
    lines += ["", drawn_by(report["bootstrap"])]
    lines += [f"length     the hypotheses have {report['length_ratio']:.3f} of the references' tokens"]
    if "resegmented" in report:
        lines += [f"cuts       of the reference, found by minimum word error rate: {report['resegmented']}"]
    lines += [f"signature  {signature}" for signature in report["signature"].values()]
    return "\n".join(lines)


def _figures(score: TranslationScore, how: Bootstrap) -> dict[str, Any]:
    figures: dict[str, Any] = {"utterances": len(score.ids)}
    for key in score.metrics:
        figures[key] = score_figures(score.score(key), score.interval(key, how))
    return figures
