"""How figures of a report look: one style per cell, panels that fit on paper and on a phone, axes
in the scores' own scale.

Past the seven colours of the palette, figures of lines give each cell a panel of its own, the
others in grey behind it.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnbench.charts.scales import whole
from rnnbench.charts.style import PALETTE, Style, styles
from rnnbench.stats.statistics import Floats, Goal

TOGETHER = len(PALETTE)  # cells in one panel of lines
WORDS = 22  # letters of a panel's title in a line
WIDTH = 6.5  # inches, of a page's text; on a phone the text is then still read
LEVELS = ("ignorance", "target")
GREY, PALE = "0.35", "0.8"


def dressed(cells: Sequence[str], known: Mapping[str, Style] | None) -> Mapping[str, Style]:
    """The styles to use: those of the report, if it names all these cells."""
    return known if known is not None and set(cells) <= known.keys() else styles(cells)


def canvas(
    rows: int = 1, columns: int = 1, height: float = 3.6, width: float = WIDTH, **options: Any
) -> tuple[Figure, Any]:
    """A figure and its axes (rows, columns), without frames above and to the right.

    Not known to pyplot: nothing is left open.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=9)
    return figure, axes


def panels(cells: Sequence[str], across: int = 3) -> tuple[Figure, list[tuple[Axes, list[str]]]]:
    """A figure, and its axes with the cells each shows: one with all, or for many cells one for
    each, on common scales.
    """
    if len(cells) <= TOGETHER:
        figure, axes = canvas(height=3.9)
        return figure, [(axes[0, 0], list(cells))]
    rows = -(-len(cells) // across)
    figure, axes = canvas(rows, across, height=0.9 + 1.6 * rows, sharex=True, sharey=True)
    for k, one in enumerate(axes.flat):
        if k < len(cells):
            one.set_title(fill(cells[k], WORDS), fontsize=10 if len(cells[k]) <= WORDS else 8)
            if k + across >= len(cells):
                one.tick_params(labelbottom=True)
        else:
            one.set_axis_off()
    return figure, [(one, [cell]) for one, cell in zip(axes.flat, cells, strict=False)]


def name_axes(
    figure: Figure, spots: Sequence[tuple[Axes, list[str]]], title: str, x: str, y: str
) -> None:
    """Title and axis labels, once for the whole figure or under each column."""
    if len(spots) == 1:
        spots[0][0].set(title=title, xlabel=x, ylabel=y)
        return
    figure.suptitle(title, fontsize=12)
    figure.supylabel(y, fontsize=10)
    for axes, _ in spots:
        if axes.xaxis.get_scale() == "linear":
            whole(axes.xaxis, most=3)
        if axes.xaxis.get_tick_params()["labelbottom"]:
            axes.set_xlabel(x, fontsize=9)


def legend(figure: Figure, across: int = 4) -> None:
    """One legend under everything: each label once, cells in their order, then levels such as the
    target.
    """
    shown: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    if shown:
        names = sorted(shown, key=LEVELS.__contains__)
        figure.legend(
            [shown[n] for n in names],
            names,
            loc="outside lower center",
            ncols=min(len(names), across),
            frameon=False,
            fontsize=9,
        )


def mark_levels(axes: Axes, runs: pd.DataFrame, horizontal: bool = True) -> None:
    """What ignorance scores, dashed, and what counts as solved, dotted, where the runs agree about
    them.
    """
    for column, name, dash in (
        ("baseline", LEVELS[0], (0, (6, 3))),
        ("target", LEVELS[1], (0, (1, 2))),
    ):
        levels = runs[column].dropna().unique()
        if len(levels) == 1 and np.isfinite(levels[0]):
            line = axes.axhline if horizontal else axes.axvline
            line(levels[0], color=GREY, linestyle=dash, linewidth=1.1, label=name, zorder=1.5)


def levels(runs: pd.DataFrame) -> list[float]:
    """What `mark_levels` marks."""
    return [*runs["baseline"].dropna().unique(), *runs["target"].dropna().unique()]


def goal_of(runs: pd.DataFrame) -> Goal:
    return "max" if (runs["goal"] == "max").any() else "min"


def metric_of(runs: pd.DataFrame) -> str:
    """The name of the score, and which way is better."""
    names = runs["metric"].dropna()
    return (
        f"{names.iloc[0] if len(names) else 'score'} "
        f"({'higher' if goal_of(runs) == 'max' else 'lower'} is better)"
    )


def filled(runs: pd.DataFrame) -> Floats:
    """Test scores (n) in which a run that diverged or has no finite score scores what ignorance
    does, or as the worst run does.

    Leaving such runs out would flatter what diverges often.
    """
    sign = 1.0 if goal_of(runs) == "min" else -1.0
    found = runs["value"].where(~runs["diverged"]).astype(float)
    cost = (sign * found).where(np.isfinite(found))
    memoryless = (sign * runs["baseline"].astype(float)).fillna(cost.max())
    return np.asarray(sign * cost.fillna(memoryless).fillna(0.0).to_numpy(float))


def results(frame: pd.DataFrame, task: str | None = None) -> pd.DataFrame:
    """The runs that ended as results, of one task. ValueError if there is none."""
    runs = frame[frame["status"] != "failed"]
    runs = runs if task is None else runs[runs["task"] == task]
    if runs.empty:
        raise ValueError(f"no result to draw{f' of task {task}' if task else ''}")
    return runs.reset_index(drop=True)
