"""Figures of what a score costs: speed against accuracy, and how often a cell gets there at all.

As in `report.figures`.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rnnbench.charts.drawing import (
    PALE,
    canvas,
    dressed,
    filled,
    goal_of,
    legend,
    levels,
    mark_levels,
    metric_of,
    name_axes,
    results,
)
from rnnbench.charts.scales import rescale
from rnnbench.charts.style import Style
from rnnbench.stats.selection import samples
from rnnbench.stats.statistics import usable
from rnnbench.stats.survival import share


def speed_accuracy(
    frame: pd.DataFrame,
    task: str,
    known: Mapping[str, Style] | None = None,
    to_target: bool = False,
) -> Figure:
    """Test score against seconds of training (or, of runs that solved the task, seconds until
    then): medians and quartiles.

    Cells on the grey line are beaten by no cell in both. Time is of the runs that did not diverge;
    a cell without any is left out.
    """
    runs = results(frame, task)
    chosen = {cell: sample for (_, cell), sample in samples(runs).items()}
    look = dressed(list(chosen), known)
    figure, grid = canvas(height=4.2)
    axes: Axes = grid[0, 0]
    points: dict[str, tuple[float, float]] = {}
    for cell, sample in chosen.items():
        ran = sample.best[~sample.best["diverged"]]
        seconds = usable(
            ran["seconds_train"] * (ran["solved_at"] / ran["steps"] if to_target else 1.0)
        )
        scores = usable(filled(sample.best))
        if not (seconds.size and scores.size):
            continue
        (x, x0, x1), (y, y0, y1) = (
            np.percentile(seconds, (50, 25, 75)),
            np.percentile(scores, (50, 25, 75)),
        )
        points[cell] = float(x), float(y)
        style = look[cell]
        axes.errorbar(
            x,
            y,
            xerr=[[x - x0], [x1 - x]],
            yerr=[[y - y0], [y1 - y]],
            fmt="none",
            ecolor=style.colour,
            elinewidth=1.2,
            capsize=2,
        )
        face = style.colour if style.dash == "-" else "white"
        axes.plot(
            x,
            y,
            style.marker,
            color=style.colour,
            markerfacecolor=face,
            markersize=7,
            label=cell,
            zorder=3,
        )
    front = undominated(points, goal_of(runs))
    axes.step(
        *zip(*(points[cell] for cell in front), strict=True),
        where="post",
        color=PALE,
        linewidth=2.5,
        zorder=1,
    ) if front else None
    mark_levels(axes, runs)
    rescale([axes], [y for _, y in points.values()] + levels(runs), goal=goal_of(runs))
    rescale([axes], [x for x, _ in points.values()], "x")
    name_axes(
        figure,
        [(axes, [])],
        task,
        f"seconds of training{' until solved' if to_target else ''}",
        f"test {metric_of(runs)}",
    )
    legend(figure)
    return figure


def undominated(points: Mapping[str, tuple[float, float]], goal: str) -> list[str]:
    """Cells, fastest first, that no faster cell equals or beats: (seconds, score) of each → the
    Pareto front.
    """
    sign = 1 if goal == "min" else -1
    front: list[str] = []
    for cell in sorted(points, key=lambda name: (points[name][0], sign * points[name][1])):
        if not front or sign * points[cell][1] < sign * points[front[-1]][1]:
            front.append(cell)
    return front


def solved_shares(
    frame: pd.DataFrame, task: str, known: Mapping[str, Style] | None = None
) -> Figure:
    """The share of each cell's best runs that reached the target, with its 95 % interval and
    the counts.
    """
    runs = results(frame, task)
    chosen = {cell: sample for (_, cell), sample in samples(runs).items()}
    look = dressed(list(chosen), known)
    figure, grid = canvas(height=1.1 + 0.3 * len(chosen))
    axes: Axes = grid[0, 0]
    for k, (cell, sample) in enumerate(chosen.items()):
        found = share(sample.best["solved"].dropna().astype(bool))
        if found.n:
            across = [[found.share - found.low], [found.high - found.share]]
            axes.errorbar(
                found.share,
                k,
                xerr=across,
                fmt=look[cell].marker,
                color=look[cell].colour,
                markersize=7,
                capsize=3,
                elinewidth=1.6,
            )
        axes.annotate(
            f"{found.count}/{found.n}",
            (1.02, k),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(chosen)), list(chosen))
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(len(chosen) - 0.5, -0.5),
        title=task,
        xlabel="share that reached the target, 95 % interval",
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x", color="0.9")
    return figure
