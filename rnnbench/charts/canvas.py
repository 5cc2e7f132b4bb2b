"""What pictures of the inside are drawn on: panels as wide as a page, and the sequence that stands
below them. No torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnbench.charts.style import PALETTE

Plain = Mapping[str, Any]
WIDTH = 6.5  # inches, of a page's text


def canvas(
    rows: int,
    columns: int,
    height: float,
    height_ratios: Sequence[float] | None = None,
    width_ratios: Sequence[float] | None = None,
    **options: Any,
) -> tuple[Figure, Any]:
    """A figure, and its axes as rows × columns."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        height_ratios=height_ratios,
        width_ratios=width_ratios,
        **options,
    )
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8)
    return figure, axes


def numbers(values: Sequence[float | None]) -> np.ndarray:
    """With NaN for None."""
    return np.array([np.nan if value is None else value for value in values], float)


def sequence(axes: Axes, shown: Plain) -> None:
    """The input: symbols as a raster, a few values as lines, many as a picture."""
    steps, end = shown["steps"], shown["steps"][-1] + 0.5
    _bare(axes, "input")
    if shown["symbols"] is not None:
        _raster(axes, steps, shown["symbols"], "0.2")
        return
    values = np.array(shown["values"], float)
    if len(values) <= 4:
        for k, row in enumerate(values):
            axes.step(steps, row, where="mid", linewidth=1, color=PALETTE[k % len(PALETTE)])
    else:
        axes.imshow(
            values,
            aspect="auto",
            cmap="Greys",
            extent=(-0.5, end, len(values), 0),
            interpolation="none",
        )


def answer(axes: Axes, shown: Plain) -> None:
    """The classes that are to be answered, where an answer counts."""
    _bare(axes, "answer")
    due = {
        step: wanted
        for step, wanted in zip(shown["steps"], shown["wanted"], strict=True)
        if wanted is not None
    }
    _raster(axes, list(due), list(due.values()), PALETTE[1])


def _bare(axes: Axes, name: str) -> None:
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.set(yticks=[])
    axes.set_ylabel(name, fontsize=9)


def _raster(axes: Axes, steps: Sequence[int], symbols: Sequence[int], colour: str) -> None:
    axes.scatter(
        steps, symbols, s=min(30, 2400 / len(steps)), marker="s", color=colour, linewidths=0
    )
    low, high = min(symbols), max(symbols)
    axes.set_ylim(low - 1 - (high - low) / 9, high + 1 + (high - low) / 9)
