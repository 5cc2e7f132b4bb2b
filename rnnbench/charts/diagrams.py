"""Figures of what was computed from runs: importance, marginals, average ranks, probabilities.

Tables in, a figure out.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnbench.charts.drawing import GREY, WIDTH, canvas, dressed, legend
from rnnbench.charts.scales import log_ticks, rescale
from rnnbench.charts.style import Style

ACROSS = 3  # panels side by side


def importance(table: pd.DataFrame, known: Mapping[str, Style] | None = None) -> Figure:
    """Shares of the variance by parameter, a panel per cell; error bars are the standard deviation
    over refits of the forest.

    table: cell, parameter, mean, std, n, r2 (`importance.Importance.table` of one task, of as many
        cells as there are).
    """
    _not_empty(table)
    cells = list(dict.fromkeys(table["cell"]))
    parameters = list(table.groupby("parameter")["mean"].mean().sort_values(ascending=False).index)
    look, across = dressed(cells, known), min(len(cells), ACROSS)
    rows = -(-len(cells) // across)
    figure, grid = canvas(
        rows, across, height=0.7 + rows * (0.75 + 0.24 * len(parameters)), sharex=True, sharey=True
    )
    for axes, cell in zip(grid.flat, cells, strict=False):
        own = table[table["cell"] == cell].set_index("parameter").reindex(parameters)
        known_here = own["mean"].notna().to_numpy()
        places = np.arange(len(parameters))[known_here]
        bars = {
            "color": look[cell].colour,
            "alpha": 0.85,
            "ecolor": "black",
            "capsize": 2.5,
            "error_kw": {"elinewidth": 1},
        }
        axes.barh(places, own["mean"][known_here], xerr=own["std"][known_here], height=0.65, **bars)
        for k, mean, std in zip(
            places, own["mean"][known_here], own["std"][known_here], strict=True
        ):
            inside = mean > 0.7  # where there is no room behind the bar
            at, side, ink = (
                (mean - std - 0.03, "right", "white")
                if inside
                else (mean + std + 0.03, "left", "black")
            )
            axes.text(at, k, f"{mean:.2f}", ha=side, va="center", fontsize=8, color=ink)
        first = own[known_here].iloc[0]
        axes.set_title(f"{cell}\nn = {first['n']:.0f}, R² = {first['r2']:.2f}", fontsize=9)
        axes.set_yticks(range(len(parameters)), parameters)
        axes.set_ylim(len(parameters) - 0.4, -0.6)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    _finish(grid, len(cells))
    grid[0, 0].set_xlim(0, max(1.0, float((table["mean"] + table["std"]).max()) * 1.02))
    figure.supxlabel("share of the variance of the score", fontsize=10)
    return figure


def marginals(
    table: pd.DataFrame, score: str = "score", known: Mapping[str, Style] | None = None
) -> Figure:
    """Predicted score along one parameter, the others averaged out, a panel per parameter and a
    line per cell.

    Bands are the standard deviation over the trees of the forest. table: cell, parameter, scale, x,
    mean, std (`importance.Importance.marginals` of one task); score: what to call the axis.
    """
    _not_empty(table)
    parameters, cells = list(dict.fromkeys(table["parameter"])), list(dict.fromkeys(table["cell"]))
    look, across = dressed(cells, known), min(len(parameters), ACROSS)
    rows = -(-len(parameters) // across)
    figure, grid = canvas(rows, across, height=1.0 + 2.1 * rows, sharey=True)
    for axes, parameter in zip(grid.flat, parameters, strict=False):
        own = table[table["parameter"] == parameter]
        words = _words(own)
        for cell, curve in own.groupby("cell", sort=False):
            style = look[str(cell)]
            x = curve["x"].map(str).map(words.index) if words else curve["x"].astype(float)
            mark = style.marker if curve["scale"].iloc[0] == "levels" else None
            axes.plot(
                x,
                curve["mean"],
                color=style.colour,
                linestyle=style.dash,
                marker=mark,
                markersize=4,
                linewidth=1.8,
                label=cell,
            )
            if len(cells) <= ACROSS:  # more bands than these would hide the lines
                axes.fill_between(
                    x,
                    curve["mean"] - curve["std"],
                    curve["mean"] + curve["std"],
                    color=style.colour,
                    alpha=0.15,
                    linewidth=0,
                )
        if words:
            axes.set_xticks(range(len(words)), words)
        elif (own["scale"] == "log").any():
            axes.set_xscale("log")
            log_ticks(axes, "x")
        elif (own["scale"] == "levels").all():
            rescale([axes], own["x"].astype(float), "x")
        axes.set_xlabel(parameter, fontsize=9)
    _finish(grid, len(parameters))
    figure.supylabel(f"predicted {score}", fontsize=10)
    legend(figure)
    return figure


def _not_empty(table: pd.DataFrame) -> None:
    if table.empty:
        raise ValueError("nothing to draw: the importance of no cell could be told")


def _words(own: pd.DataFrame) -> list[str]:
    """The levels of a parameter whose values are not all numbers; else nothing."""
    plain = all(
        isinstance(x, (int, float, np.number)) and not isinstance(x, bool) and math.isfinite(x)
        for x in own["x"]
    )
    return [] if plain else list(dict.fromkeys(own["x"].map(str)))


def _finish(grid: np.ndarray, used: int) -> None:
    """Panels that nothing was drawn into disappear; the ones above them get their tick
    labels back.
    """
    across = grid.shape[1]
    for k, axes in enumerate(grid.flat):
        if k >= used:
            axes.set_axis_off()
        elif k + across >= used:
            axes.tick_params(labelbottom=True)


def critical_difference(ranks: Mapping[str, float], cd: float) -> Figure:
    """Demšar's (2006) diagram: average ranks on a line, 1 is best; cells joined by a bar differ by
    less than the critical difference.
    """
    order = sorted(ranks, key=lambda cell: (ranks[cell], cell))
    left = order[: (len(order) + 1) // 2]
    right = order[len(left) :][::-1]
    bars = cliques(ranks, cd)
    low, high = 1, math.ceil(max(ranks.values()))
    high = max(high, low + 1)
    step, first = 0.42, 0.45 + 0.22 * len(bars)
    depth = first + step * len(left)
    figure, grid = canvas(height=0.9 + 0.6 * depth)
    axes: Axes = grid[0, 0]
    axes.set_axis_off()
    margin = 0.42 * (high - low)
    axes.set(xlim=(low - margin, high + margin), ylim=(-depth, 1.3))
    axes.plot([low, high], [0, 0], color="black", linewidth=1.2)
    for rank in range(low, high + 1):
        axes.plot([rank, rank], [0, 0.12], color="black", linewidth=1.2)
        if (
            high <= 16 or rank % 5 == 0 or rank == low
        ):  # beyond that numbers would stand on one another
            axes.text(rank, 0.18, str(rank), ha="center", va="bottom", fontsize=9)
    if math.isfinite(cd):
        end = min(low + cd, high + margin)
        axes.plot(
            [low, low, low, end, end, end],
            [0.78, 0.98, 0.88, 0.88, 0.98, 0.78],
            color="black",
            linewidth=1.2,
        )
        axes.text(
            (low + end) / 2,
            0.98,
            f"critical difference {cd:.2f}",
            ha="center",
            va="bottom",
            fontsize=9,
        )
    for side, cells in (("right", left), ("left", right)):
        for k, cell in enumerate(cells):
            y, edge = (
                -first - step * k,
                low - 0.06 * margin if side == "right" else high + 0.06 * margin,
            )
            axes.plot([ranks[cell], ranks[cell], edge], [0, y, y], color=GREY, linewidth=0.9)
            axes.plot([ranks[cell]], [0], marker="o", markersize=4, color="black", zorder=3)
            name = f"{cell}  {ranks[cell]:.2f}" if side == "right" else f"{ranks[cell]:.2f}  {cell}"
            axes.text(
                edge - 0.03 * margin if side == "right" else edge + 0.03 * margin,
                y,
                name,
                ha=side,
                va="center",
                fontsize=9,
            )
    for k, (best, worst) in enumerate(bars):
        y = -0.25 - 0.22 * k
        axes.plot(
            [best - 0.02 * margin, worst + 0.02 * margin],
            [y, y],
            color="black",
            linewidth=3.5,
            solid_capstyle="round",
            gid=f"clique {k}",
        )
    return figure


def cliques(ranks: Mapping[str, float], cd: float) -> list[tuple[float, float]]:
    """Lowest and highest rank of each largest group of two or more cells that lie within the
    critical difference.
    """
    values = sorted(ranks.values())
    found: list[tuple[int, int]] = []
    for i, value in enumerate(values):
        last = max(j for j, other in enumerate(values) if other - value < cd or j == i)
        if last > i and (not found or last > found[-1][1]):
            found.append((i, last))
    return [(values[i], values[j]) for i, j in found]


def improvement_matrix(table: pd.DataFrame) -> Figure:
    """The probability that a run of the cell in a row is better than one of the cell in a column;
    table: cells × cells.

    Blue: the row is better, red: the column is; the strength is the distance from one half.
    """
    rows, columns = list(map(str, table.index)), list(map(str, table.columns))
    size = min(WIDTH, 1.6 + 0.55 * len(columns)) if len(columns) <= 9 else 1.6 + 0.55 * len(columns)
    room = max(0.08 * max(map(len, rows)) - 0.8, 0)  # for names longer than ten letters
    figure, grid = canvas(height=0.9 + 0.42 * len(rows) + 0.64 * room, width=max(size, 3.6) + room)
    axes: Axes = grid[0, 0]
    values = table.to_numpy(float)
    same = np.array(rows)[:, None] == np.array(columns)
    axes.imshow(
        np.where(same, np.nan, values),
        cmap="RdBu",
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="none",
    )
    for i, j in np.ndindex(*values.shape):
        if not same[i, j] and math.isfinite(values[i, j]):
            dark = abs(values[i, j] - 0.5) > 0.33
            axes.text(
                j,
                i,
                f"{values[i, j]:.2f}",
                ha="center",
                va="center",
                fontsize=8.5,
                color="white" if dark else "black",
            )
    slanted: dict[str, Any] = (
        {"rotation": 40, "ha": "left", "rotation_mode": "anchor"}
        if max(map(len, columns)) > 5
        else {}
    )
    axes.set_xticks(range(len(columns)), columns, **slanted)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("P(row better than column)", fontsize=9)
    return figure
