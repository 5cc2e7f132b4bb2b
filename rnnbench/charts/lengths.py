"""Figures of tasks that ran at several lengths: how often each cell solves them, and how soon.

As in `report.figures`.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
    ScalarFormatter,
)

from rnnbench.charts.drawing import PALE, dressed, legend, name_axes, panels
from rnnbench.charts.style import Style
from rnnbench.formatting import count
from rnnbench.stats.selection import Sample, Study
from rnnbench.stats.survival import share, time_to_target

Lines = Mapping[str, Mapping[float, Sample]]  # cell → length → its runs


def by_length(study: Study) -> dict[str, Lines]:
    """Task without its length → cells → lengths, of tasks that have a target; cells that ran at one
    length only are left out.
    """
    found: dict[str, dict[str, dict[float, Sample]]] = {}
    for (task, cell), sample in study.samples.items():
        length = sample.runs["task.length"].iloc[0] if "task.length" in sample.runs else None
        if (
            isinstance(length, (int, float, np.number))
            and np.isfinite(length)
            and sample.best["solved"].notna().all()
        ):
            name = " ".join(re.sub(r"(?<= )length=\S+", "", task).split())
            found.setdefault(name, {}).setdefault(cell, {})[float(length)] = sample
    several = {
        task: {cell: of for cell, of in lines.items() if len(of) > 1}
        for task, lines in found.items()
    }
    return {task: lines for task, lines in several.items() if lines}


def solved_by_length(task: str, lines: Lines, known: Mapping[str, Style] | None = None) -> Figure:
    """The share of each cell's runs that reached the target, against the length, with its 95 %
    interval.
    """
    points = {}
    for cell, samples in lines.items():
        found = {
            length: share(sample.best["solved"].astype(bool))
            for length, sample in sorted(samples.items())
        }
        points[cell] = pd.DataFrame(
            {length: (one.share, one.low, one.high) for length, one in found.items()},
            index=["y", "low", "high"],
        ).T
    figure, spots = _drawn(points, known)
    for axes, _ in spots:
        axes.set_ylim(-0.04, 1.04)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    name_axes(
        figure,
        spots,
        f"{task}: runs that reached the target, 95 % interval",
        "length",
        "share solved",
    )
    legend(figure)
    return figure


def times_by_length(
    task: str, lines: Lines, known: Mapping[str, Style] | None = None
) -> Figure | None:
    """The median step at which each cell reaches the target, against the length (Kaplan and Meier),
    with its 95 % interval.

    An arrow on top stands where fewer than half of the runs got there, whose median is beyond the
    budget. None without any median.
    """
    points = {}
    for cell, samples in lines.items():
        rows = {}
        for length, sample in sorted(samples.items()):
            budget = sample.best["train.steps"].astype(float)
            found = time_to_target(sample.best["solved_at"], budget)
            rows[length] = (found.median, found.low, min(found.high, budget.max()))
        points[cell] = pd.DataFrame(rows, index=["y", "low", "high"]).T
    if not any(table["y"].notna().any() for table in points.values()):
        return None
    figure, spots = _drawn(points, known)
    look = dressed(list(lines), known)
    for axes, members in spots:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda steps, _: count(steps)))
        for k, cell in enumerate(members):
            beyond = points[cell].index[points[cell]["y"].isna()]
            places = [_place(length, k, len(members)) for length in beyond]
            arrow: dict[str, Any] = {
                "color": look[cell].colour,
                "marker": r"$\uparrow$",
                "markersize": 9,
                "linestyle": "none",
            }
            axes.plot(places, [0.95] * len(places), transform=axes.get_xaxis_transform(), **arrow)
    name_axes(
        figure,
        spots,
        f"{task}: median steps to the target, 95 % interval (↑: half never did)",
        "length",
        "steps",
    )
    legend(figure)
    return figure


def _drawn(
    points: Mapping[str, pd.DataFrame], known: Mapping[str, Style] | None
) -> tuple[Figure, list[tuple[Axes, list[str]]]]:
    """A line with intervals per cell; tables: length → y, low, high."""
    figure, spots = panels(list(points))
    look, lengths = (
        dressed(list(points), known),
        sorted({length for table in points.values() for length in table.index}),
    )
    room = (lengths[-1] / lengths[0]) ** 0.08
    for axes, members in spots:
        axes.set(xscale="log", xlim=(lengths[0] / room, lengths[-1] * room))
        for cell in [c for c in points if c not in members]:
            axes.plot(points[cell].index, points[cell]["y"], color=PALE, linewidth=0.8, zorder=1)
        for k, cell in enumerate(members):
            style, table = look[cell], points[cell].dropna(subset="y")
            x = [_place(length, k, len(members)) for length in table.index]
            reach = [
                table["y"] - table["low"].fillna(table["y"]),
                table["high"].fillna(table["y"]) - table["y"],
            ]
            axes.errorbar(
                x,
                table["y"],
                yerr=np.clip(reach, 0, None),
                fmt="none",
                ecolor=style.colour,
                elinewidth=1.2,
                capsize=2,
            )
            label = cell if len(spots) == 1 else None
            axes.plot(
                x,
                table["y"],
                style.marker,
                color=style.colour,
                linestyle=style.dash,
                linewidth=1.6,
                markersize=5,
                label=label,
            )
        axes.xaxis.set_major_locator(FixedLocator(lengths))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    return figure, spots


def _place(length: float, k: int, many: int) -> float:
    """Beside one another where cells share a length: intervals do not cover each other."""
    return length * float(1.02 ** (k - (many - 1) / 2))
