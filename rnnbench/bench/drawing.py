"""The figure of a benchmark: how many times as long as the native engine everything else takes, a
panel per shape.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rnnbench.charts.style import MARKERS, PALETTE

WIDTH = 7.5  # inches
AXIS = "time divided by that of native: median, quartiles (threads: gain of native)"
Rows = Sequence[Mapping[str, Any]]


def drawn(rows: Rows, name_of: Callable[[Mapping[str, Any]], str]) -> Figure:
    """Ratios of medians, with quartiles over the turns, on a logarithmic axis; a line a cell, a
    mark and a colour a way.
    """
    layers = [row for row in rows if not row["task"]]
    cells, shapes = (
        list(dict.fromkeys(row[key] if key == "cell" else tuple(row[key]) for row in layers))
        for key in ("cell", "shape")
    )
    shown = [row for row in layers if "ratio" in row]
    ends = [end for row in shown for end in (*row["ratio_quartiles"], row["ratio"])]
    ticks = (1, 2, 5) if max(ends, default=1) < 50 * min(ends, default=1) else (1,)
    ways = list(dict.fromkeys(map(name_of, shown)))
    look = {
        way: (PALETTE[k % len(PALETTE)], MARKERS[k % len(MARKERS)]) for k, way in enumerate(ways)
    }
    across = min(2, len(shapes))
    down = -(-len(shapes) // across)
    figure = Figure(figsize=(WIDTH, down * (0.9 + 0.28 * len(cells)) + 0.9), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes, shape in zip(panels.flat, shapes, strict=False):
        _panel(axes, [row for row in shown if tuple(row["shape"]) == shape], cells, look, name_of)
        axes.xaxis.set_major_locator(LogLocator(subs=ticks))
        batch, steps, inputs, units = shape
        axes.set_title(f"batch {batch}, {steps} steps, {inputs} inputs, {units} units", fontsize=9)
    for axes in panels.flat[len(shapes) :]:
        axes.set_visible(False)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=way)
        for way, (colour, marker) in look.items()
    ]
    figure.supxlabel(AXIS, fontsize=9)
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=min(len(handles), 5),
        frameon=False,
        fontsize=8,
    )
    return figure


def _panel(
    axes: Any,
    rows: Rows,
    cells: Sequence[Any],
    look: Mapping[str, tuple[str, str]],
    name_of: Callable[[Mapping[str, Any]], str],
) -> None:
    order = {way: k for k, way in enumerate(look)}
    axes.axvline(1, color="0.6", linewidth=0.8, zorder=0)
    for row in rows:
        way = name_of(row)
        (colour, marker), (low, high) = look[way], row["ratio_quartiles"]
        height = cells.index(row["cell"]) + 0.6 * ((order[way] + 0.5) / len(order) - 0.5)
        axes.plot([low, high], [height, height], color=colour, linewidth=1.2)
        axes.plot(row["ratio"], height, color=colour, marker=marker, markersize=4, linestyle="")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(cells)), cells)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
