"""The three analyses together, as tables and pictures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.inspect import plots
from asr.inspect.attention import attention_spans
from asr.inspect.codes import code_usage, perplexity, similarity
from asr.inspect.probes import chance, probe_accuracy
from asr.inspect.reading import (
    Groups,
    Heard,
    frame_features,
    open_encoder,
    open_pretrained,
    open_recogniser,
    pooled_features,
)
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was measured, and what was not."""

    written: list[Path]
    """Tables and pictures, in order; whatever else lies in the folder is of an earlier run."""
    skipped: list[str]
    """A line for each analysis that does not apply, with the reason."""
    unheard: set[str]
    """Ids of the utterances whose audio gave nothing, each told on stderr."""


def inspect_model(
    source: Path, groups: Groups, out: Path, *, by: str, recogniser: Path | None, pictures: bool
) -> Inspection:
    """Measure and write.

    Args:
        source: experiment or model folder, or the name of a published encoder.
        groups: utterances by the value of a column.
        by: that column's name.
        recogniser: whose letters are the classes of the frame probe; ``source`` itself if None.
        pictures: draw plots too.
    Raises:
        InputError: the encoder or ``recogniser`` cannot be had or read, or pictures cannot be drawn.
    """
    if pictures:
        plots.open_pyplot()  # what is missing is better said before the listening than after it
    encoder = open_encoder(source)
    reader = open_recogniser(recogniser) if recogniser else None
    heard = Heard(groups=groups, grid=encoder.grid)
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    skipped: list[str] = []
    try:
        usage = code_usage(open_pretrained(source), ((group, w, n) for group, _, w, n in heard.batches()))
    except InputError as error:
        skipped.append(f"codes: {error}")
    else:
        names = sorted(usage)
        shared = np.array([[similarity(usage[one], usage[other]) for other in names] for one in names])
        rows = [[name, perplexity(usage[name]), *shared[place]] for place, name in enumerate(names)]
        written.append(write_table(out / "codes.tsv", [by, "codes in use", *names], rows))
        if pictures:
            picture = out / "codes.png"
            plots.heatmap(shared, names, names, "Codes shared", "1 - Jensen-Shannon", picture)
            written.append(picture)

    try:
        spans = attention_spans(encoder, ((w, n) for _, _, w, n in heard.batches(15.0))).cpu().numpy()
    except InputError as error:
        skipped.append(f"attention: {error}")
    else:
        heads = [f"head {head}" for head in range(1, spans.shape[1] + 1)]
        layers = [f"layer {layer}" for layer in range(1, spans.shape[0] + 1)]
        rows = [[name, *row] for name, row in zip(layers, spans, strict=True)]
        written.append(write_table(out / "attention.tsv", ["seconds", *heads], rows))
        if pictures:
            picture = out / "attention.png"
            plots.heatmap(spans, layers, heads, "Attention span", "seconds", picture)
            written.append(picture)

    lines: dict[str, list[float]] = {}
    rows = []
    for what in (by, "letters"):
        try:
            if what == by:
                features, labels, units = pooled_features(encoder, heard)
            else:
                features, labels, units = frame_features(encoder, reader or open_recogniser(source), heard)
            accuracies = [probe_accuracy(layer, labels, units) for layer in features]
        except InputError as error:
            skipped.append(f"probe of {what}: {error}")
            continue
        lines[what], lines[f"{what}, by chance"] = accuracies, [chance(labels)] * len(accuracies)
        rows += [[what, number, value, chance(labels)] for number, value in enumerate(accuracies, start=1)]
    if rows:
        written.append(write_table(out / "probes.tsv", ["probe", "layer", "accuracy", "chance"], rows))
        if pictures:
            picture = out / "probes.png"
            plots.curves(lines, "What layers know", "layer", "accuracy of a linear probe", picture)
            written.append(picture)
    return Inspection(written=written, skipped=skipped, unheard=heard.unheard)


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """Write tab-separated text, numbers with four digits; the path again."""
    lines = ["\t".join(header)]
    for row in rows:
        cells = (f"{cell:.4f}" if isinstance(cell, float | np.floating) else str(cell) for cell in row)
        lines.append("\t".join(cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
