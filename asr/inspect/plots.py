"""Pictures of what was found: the only module that knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.calibration import Reliability
from lm.errors import InputError


def open_pyplot() -> Any:
    """matplotlib's drawing, on no screen.

    Raises:
        InputError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise InputError(
            "plots need matplotlib. Install it: pip install 'loquela[plots]', or leave the plots out."
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise InputError(f"plot {path}: no picture ends so. Give a name that ends in .png, .svg or .pdf.")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    pyplot.close(figure)


def heatmap(
    values: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    label: str,
    path: Path,
) -> None:
    """A matrix, with its numbers where they fit."""
    pyplot = open_pyplot()
    figure, axes = pyplot.subplots(figsize=(2 + 0.6 * len(columns), 1.5 + 0.4 * len(rows)))
    image = axes.imshow(values, aspect="auto", cmap="viridis")
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title(title)
    if values.size <= 400:
        middle = (values.max() + values.min()) / 2
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(image, ax=axes, label=label)
    _save(pyplot, figure, path)


def curves(lines: Mapping[str, Sequence[float]], title: str, xlabel: str, ylabel: str, path: Path) -> None:
    """A line for each name over 1, 2, 3 ..."""
    pyplot = open_pyplot()
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name, values in lines.items():
        axes.plot(range(1, len(values) + 1), values, marker="o", label=name)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(pyplot, figure, path)


def reliability_diagram(found: Reliability, title: str, path: Path) -> None:
    """Share of right words over their confidence, a dot for each bin as large as its words are many."""
    pyplot = open_pyplot()
    figure, axes = pyplot.subplots(figsize=(4.5, 4.5))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    axes.plot([each.confidence for each in found.bins], [each.right for each in found.bins], color="C0")
    axes.scatter(
        [each.confidence for each in found.bins],
        [each.right for each in found.bins],
        s=[4 + 400 * each.words / found.words for each in found.bins],
        color="C0",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence of a word", ylabel="share of right words")
    axes.set_title(
        f"{title}\n{found.words} words, expected calibration error {100 * found.ece:.1f} %", fontsize=9
    )
    axes.grid(alpha=0.3)
    _save(pyplot, figure, path)
