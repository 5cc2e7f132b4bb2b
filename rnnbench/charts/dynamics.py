"""Pictures of what goes on inside networks.

Plain numbers in (see `measure.measured`), a Matplotlib figure out. No torch.

`probes` maps a label (a cell, or a cell and a setting) to what probe.json holds; one label looks
the same in every picture.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.cluster.hierarchy import leaves_list, linkage

from rnnbench.charts.canvas import answer, canvas, numbers, sequence
from rnnbench.charts.plots import image, save
from rnnbench.charts.probes import TIMES
from rnnbench.charts.scales import DOTS, whole
from rnnbench.charts.style import Style, style_of, styles

__all__ = [
    "gate_map",
    "gradient_norms",
    "image",
    "save",
    "sensitivity",
    "singular_values",
    "styles",
]

Plain = Mapping[str, Any]
WHOLE = "all states"
CIRCLES = 40  # steps up to which Graves' picture has a circle for each
FLOOR = 1e-3  # below which a norm is drawn as nothing, relative to the largest
# whose shades the legend has
SHARES = ((1, "largest of the row"), (0.1, "1/10"), (0.01, "1/100"), (FLOOR, "1/1000 or less"))
CROWD = 4  # lines in a panel above which their bands are drawn fainter
# as lectures call them
NAMES = {
    "i": "input gate i",
    "f": "forget gate f",
    "o": "output gate o",
    "z": "update gate z",
    "r": "reset gate r",
}


def gradient_norms(
    probes: Mapping[str, Plain],
    state: str = WHOLE,
    known: Mapping[str, Style] | None = None,
    title: str = "",
) -> Figure:
    """Norm of ∂L_T/∂s_{T-k} against the lag k: medians, and the middle half of the sequences as
    bands; log scale.

    Relative to lag 1, so that losses of different size can be compared, and so that the dashed
    lines are where horizons are read. One panel at the start, one after training. state: of the
    lowest layer; where a cell lacks it, its first.
    """
    look, times = known or styles(probes), _times(probes)
    labels = sorted(probes)
    rows = math.ceil(len(labels) / _columns(labels))
    figure, axes = canvas(1, len(times), 3.6 + 0.2 * rows, sharey=True)
    smallest = 1.0
    for time, one in zip(times, axes[0], strict=True):
        for label in labels:
            if found := probes[label].get(time):
                band = 0.15 if len(labels) <= CROWD else 0.07
                smallest = min(
                    smallest,
                    _gradient(one, found["layers"][0]["gradient"], state, look[label], label, band),
                )
    axes[0, 0].set_ylim(bottom=max(smallest / 3, 1e-16))
    for time, one in zip(times, axes[0], strict=True):
        for level, name in _levels_above(smallest / 3):
            one.axhline(level, color="0.55", linestyle=(0, (4, 3)), linewidth=0.8, zorder=0)
            if one is axes[0, -1]:
                one.annotate(
                    name,
                    (1, level),
                    xycoords=("axes fraction", "data"),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
        one.set(yscale="log", xlabel="lag k: steps before the last")
        one.set_title(TIMES[time], fontsize=10)
        whole(one.xaxis)
    axes[0, 0].set_ylabel(
        "gradient norm " r"$\|\partial L_T / \partial s_{T-k}\|$" "\nrelative to k = 1", fontsize=9
    )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=_columns(labels),
        frameon=False,
        fontsize=9,
    )
    figure.suptitle(title, fontsize=11)
    return figure


def _gradient(
    axes: Axes, gradient: Plain, state: str, style: Style, label: str, band: float
) -> float:
    """Draw one cell; returns its smallest positive median."""
    found = gradient.get(state) or next(iter(gradient.values()))
    low, median, high = (numbers(found[name])[1:] for name in ("low", "median", "high"))
    if not len(median) or not median[0] > 0:
        axes.plot([], [], color=style.colour, linestyle=style.dash, label=f"{label} (no gradient)")
        return 1.0
    lags = np.arange(1, len(median) + 1)
    low, median, high = (
        np.where(values > 0, values, np.nan) / median[0] for values in (low, median, high)
    )
    axes.fill_between(lags, low, high, color=style.colour, alpha=band, linewidth=0)
    axes.plot(
        lags,
        median,
        color=style.colour,
        linestyle=style.dash,
        linewidth=1.5,
        marker=style.marker,
        markersize=4,
        markevery=DOTS,
        label=label,
    )
    return float(np.nanmin(median))


def _levels_above(bottom: float) -> list[tuple[float, str]]:
    """What horizons are read at, as far as it is in the picture."""
    return [
        (level, name) for level, name in ((math.exp(-1), "1/e"), (0.01, "1/100")) if level > bottom
    ]


def _columns(labels: Sequence[str]) -> int:
    """Of a legend as wide as the page."""
    return max(1, min(len(labels), 80 // (max(map(len, labels), default=1) + 6)))


def gate_map(measured: Plain, title: str = "") -> Figure:
    """Every gate of every layer on one sequence (units down, time across; dark is open) above the
    sequence itself, and what to answer.

    Units of a layer are in the same order in all of its gates: those that act alike stand together.
    ValueError for a cell without gates.
    """
    shown = measured["shown"]
    gates = {name: np.array(values, float) for name, values in shown["gates"].items()}
    if not gates:
        raise ValueError("this cell has no gates to draw")
    count = len(gates)
    below = [sequence, *([answer] if shown.get("wanted") else [])]
    heights = [*[1.45] * count, *[0.5] * len(below)]
    figure, axes = canvas(len(heights), 1, 0.6 + sum(heights), sharex=True, height_ratios=heights)
    layers: dict[str, list[np.ndarray]] = {}
    for name, values in gates.items():
        layers.setdefault(name.split(".")[0], []).append(values)
    order = {layer: _alike(members) for layer, members in layers.items()}
    end = shown["steps"][-1] + 0.5
    figure.get_layout_engine().set(h_pad=0.02)  # type: ignore[union-attr, call-arg]
    units = shown["units"]
    many = (
        f"{len(units)} units"
        if units and units[-1] == len(units) - 1
        else f"{len(units)} of {units[-1] + 1} units"
        if units
        else ""
    )
    for one, (name, values) in zip(axes[:, 0], gates.items(), strict=False):
        layer, _, gate = name.partition(".")
        drawn = one.imshow(
            values[order[layer]],
            aspect="auto",
            cmap="Blues",
            vmin=0,
            vmax=1,
            extent=(-0.5, end, 0, len(values)),
            interpolation="none",
        )
        one.set_ylabel(
            NAMES.get(gate, gate) + (f"\nlayer {layer}" if len(order) > 1 else f"\n{many}"),
            fontsize=9,
        )
        one.set(yticks=[])
        one.tick_params(length=0)
        one.spines[:].set_visible(False)
    bar = figure.colorbar(
        drawn, ax=axes[:count, 0].tolist(), ticks=[0, 0.5, 1], pad=0.01, aspect=10 * count
    )
    bar.ax.set_yticklabels(["closed", "½", "open"], fontsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]
    for draw, one in zip(below, axes[count:, 0], strict=True):
        draw(one, shown)
    axes[-1, 0].set_xlabel("step")
    whole(axes[-1, 0].xaxis)
    figure.suptitle(title, fontsize=11)
    return figure


def sensitivity(probes: Mapping[str, Plain]) -> Figure:
    """How much each step of one sequence matters to the loss at its end: darker is more, on a
    logarithmic scale of each row.

    After Graves (2012), Supervised sequence labelling with recurrent neural networks, figures 4.1
    and 4.4, whose nodes fade with their sensitivity to the first input; here it is the loss that is
    sensitive. Upper row of a cell: to the states after each step (∂L_T/∂s_t, last layer), lower
    row: to the inputs (∂L_T/∂x_t). White: three decades below the row's largest.
    """
    rows = [(label, time) for label, probe in probes.items() for time in _times({label: probe})]
    steps = max(len(probes[label][time]["shown"]["steps"]) for label, time in rows)
    figure, axes = canvas(
        len(rows) + 1,
        1,
        0.75 + 0.62 * len(rows) + 0.3,
        sharex=True,
        height_ratios=[*[0.62] * len(rows), 0.4],
    )
    both = any(time == "trained" for _, time in rows) and any(time == "initial" for _, time in rows)
    for one, (label, time) in zip(axes[:, 0], rows, strict=False):
        shown = probes[label][time]["shown"]
        for height, values in ((1, shown["memory"]), (0, shown["influence"])):
            _strip(one, np.array(shown["steps"]), shades(values), height, steps)
        one.set(yticks=[0, 1], ylim=(-0.55, 1.55))
        one.set_yticklabels(["inputs", "states"], fontsize=8)
        one.set_ylabel(
            label + (f"\n{TIMES[time]}" if both else ""),
            rotation=0,
            ha="right",
            va="center",
            fontsize=9,
        )
        one.spines[:].set_visible(False)
        one.tick_params(length=0)
    first = probes[rows[0][0]][rows[0][1]]["shown"]
    sequence(axes[-1, 0], first)
    axes[-1, 0].set(xlabel="step", xlim=(-0.8, first["steps"][-1] + 0.8))
    whole(axes[-1, 0].xaxis)
    figure.legend(
        handles=[_dot(share, name) for share, name in SHARES],
        loc="outside lower center",
        ncols=len(SHARES),
        frameon=False,
        fontsize=8,
    )
    return figure


def _dot(share: float, name: str) -> Line2D:
    (shade,) = shades([share], 1.0)
    look: Any = {"markerfacecolor": str(1 - shade), "markeredgecolor": "0.6", "markersize": 8}
    return Line2D([], [], marker="o", linestyle="", label=name, **look)


def shades(values: Sequence[float | None], largest: float | None = None) -> np.ndarray:
    """0 (nothing) to 1 (the most), by decades below `largest`, which is that of the values unless
    given.
    """
    found = np.nan_to_num(numbers(values), nan=0.0)
    most = found.max(initial=0) if largest is None else largest
    if not most > 0:
        return np.zeros(len(found))
    shade: np.ndarray = 1 + np.log10(np.maximum(found / most, FLOOR)) / -np.log10(FLOOR)
    return shade


def _strip(axes: Axes, steps: np.ndarray, shade: np.ndarray, height: float, many: int) -> None:
    colours = [str(1 - s) for s in shade]
    if many <= CIRCLES:
        axes.scatter(
            steps,
            np.full(len(steps), height),
            s=min(90, 3200 / many),
            c=colours,
            edgecolors="0.6",
            linewidths=0.6,
        )
    else:
        axes.bar(
            steps,
            0.8,
            np.gradient(steps) if len(steps) > 1 else 1,
            height - 0.4,
            color=colours,
            linewidth=0,
        )


def singular_values(probe: Plain, title: str = "", part: str = "all", label: str = "") -> Figure:
    """Singular values of every step's Jacobian along one sequence: the median, the middle half, 90
    % and all of them as bands, and the spectral radius. A row per layer. part: all states, or
    output alone. label: whose colour it has.
    """
    colour = style_of(label).colour
    times = _times({title: probe})
    layers = len(probe[times[0]]["layers"])
    figure, axes = canvas(layers, len(times), 0.9 + 2.1 * layers, sharex=True, sharey=True)
    for column, time in enumerate(times):
        for index, layer in enumerate(probe[time]["layers"]):
            one, jacobian = axes[index, column], layer["jacobian"]
            values = jacobian.get(part) or jacobian["all"]
            steps = jacobian["steps"]
            levels = np.maximum(np.array([numbers(level) for level in values["levels"]]), 1e-8).T
            for k, strength in enumerate((0.12, 0.2, 0.35)):
                one.fill_between(
                    steps,
                    levels[k],
                    levels[-1 - k],
                    color=colour,
                    alpha=strength,
                    linewidth=0,
                    label=_band(k),
                )
            one.plot(steps, levels[3], color=colour, linewidth=1.3, label="median")
            one.plot(
                steps,
                np.maximum(numbers(values["radius"]), 1e-8),
                color="0.35",
                linewidth=1.3,
                linestyle=(0, (5, 1.5)),
                label="spectral radius",
            )
            one.axhline(1, color="0.4", linewidth=0.8, zorder=0)
            one.set(yscale="log")
            if index == 0:
                one.set_title(TIMES[time], fontsize=10)
            if column == 0:
                one.set_ylabel("singular values" + (f"\nlayer {index}" if layers > 1 else ""))
            if index == layers - 1:
                one.set_xlabel("step")
                whole(one.xaxis)
    axes[0, 0].set_ylim(bottom=1e-4)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def _band(k: int) -> str:
    return ("all", "90 %", "middle half")[k]


def _times(probes: Mapping[str, Plain]) -> list[str]:
    return [time for time in TIMES if any(probe.get(time) for probe in probes.values())]


def _alike(gates: Sequence[np.ndarray]) -> np.ndarray:
    """An order of units in which those that act alike are near: the leaves of a tree of clusters,
    turned so that neighbours fit.
    """
    activity = np.concatenate(gates, 1)
    if len(activity) < 3 or not np.isfinite(activity).all():
        return np.arange(len(activity))
    order: np.ndarray = leaves_list(linkage(activity, "average", optimal_ordering=True))
    return order
