"""The figure of a benchmark: how many times as long as the native engine everything else takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rnnbench.bench.tables import name_of
from rnnbench.charts.style import MARKERS, PALETTE

WIDTH = 7.5  # inches
LAYERS = "time divided by that of native: median, quartiles (threads: gain of native)"
STEPS = "time of a run's training step divided by ours: median, quartiles"
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RatioMark:
    """A ratio with its quartiles. line: where it stands in its panel. way: its colour and mark."""

    panel: str
    line: str
    way: str
    ratio: float
    quartiles: Sequence[float]


def of_layers(rows: Rows) -> Figure:
    """A panel a shape, a line a cell."""
    points = []
    for row in rows:
        if "ratio" in row and not row["task"]:
            batch, steps, inputs, units = row["shape"]
            panel = f"batch {batch}, {steps} steps, {inputs} inputs, {units} units"
            way = name_of(row)
            points.append(RatioMark(panel, row["cell"], way, row["ratio"], row["ratio_quartiles"]))
    return drawn(points, LAYERS)


def of_steps(rows: Rows) -> Figure:
    """A panel a cell, a line a shape; a mark a peer and our number of runs."""
    points = []
    for row in rows:
        for name, (ratio, quartiles) in row.get("against", {}).items():
            if name != "alone":
                batch, _, _, units = row["shape"]
                runs = "1 run" if row["replicas"] == 1 else f"{row['replicas']} runs"
                line = f"{row['task']} {batch} × {units}"
                points.append(
                    RatioMark(row["cell"], line, f"{name}, {runs} of ours", ratio, quartiles)
                )
    return drawn(points, STEPS)


def appearance(k: int) -> tuple[str, str]:
    """Colour and mark of the k-th way: where the colours begin again the marks are one further."""
    again, colour = divmod(k, len(PALETTE))
    return PALETTE[colour], MARKERS[(colour + again) % len(MARKERS)]


def drawn(points: Sequence[RatioMark], axis: str) -> Figure:
    """Ratios of medians, with quartiles over the turns, on a logarithmic axis."""
    panels = list(dict.fromkeys(point.panel for point in points))
    lines = list(dict.fromkeys(point.line for point in points))
    ways = list(dict.fromkeys(point.way for point in points))
    ends = [end for point in points for end in (*point.quartiles, point.ratio)]
    ticks = (1, 2, 5) if max(ends, default=1) < 50 * min(ends, default=1) else (1,)
    look = {way: appearance(k) for k, way in enumerate(ways)}
    across = max(1, min(2, len(panels)))
    down = max(1, -(-len(panels) // across))
    figure = Figure(figsize=(WIDTH, down * (0.9 + 0.28 * len(lines)) + 0.9), layout="constrained")
    shown = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes, panel in zip(shown.flat, panels, strict=False):
        _panel(axes, [point for point in points if point.panel == panel], lines, look)
        axes.xaxis.set_major_locator(LogLocator(subs=ticks))
        axes.set_title(panel, fontsize=9)
    for axes in shown.flat[len(panels) :]:
        axes.set_visible(False)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=way)
        for way, (colour, marker) in look.items()
    ]
    figure.supxlabel(axis, fontsize=9)
    columns = min(max(len(handles), 1), 4)
    figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=8
    )
    return figure


def _panel(
    axes: Any,
    points: Sequence[RatioMark],
    lines: Sequence[str],
    look: Mapping[str, tuple[str, str]],
) -> None:
    order = {way: k for k, way in enumerate(look)}
    axes.axvline(1, color="0.6", linewidth=0.8, zorder=0)
    for point in points:
        colour, marker = look[point.way]
        height = lines.index(point.line) + 0.6 * ((order[point.way] + 0.5) / len(order) - 0.5)
        axes.plot(point.quartiles, [height, height], color=colour, linewidth=1.2)
        axes.plot(point.ratio, height, color=colour, marker=marker, markersize=4, linestyle="")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(lines)), lines)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
