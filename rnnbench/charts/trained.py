"""Figures of trained networks: the score against what was changed, and what a network played."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rnnbench.charts.plots import add_legend, add_notes
from rnnbench.charts.scales import scale_scores, whole
from rnnbench.charts.style import PALETTE, styles

LOWEST = 21  # the MIDI number of the first of 88 piano keys, A0
OCTAVE = 12


@dataclass(frozen=True)
class Curve:
    """A run's primary score against one setting. trained: the setting in training.

    goal: max or min, where better scores are. baseline: without memory, at each point.
    """

    cell: str
    task: str
    key: str
    metric: str
    goal: str
    trained: Any
    target: float | None
    at: list[float]
    scores: list[float]
    baseline: list[float | None]


def generalisation(curves: Sequence[Curve]) -> Figure:
    """A panel per task, a line per run; the training setting is marked, what ignorance scores is
    dashed.
    """
    panels = list(dict.fromkeys((curve.task, curve.key, curve.metric) for curve in curves))
    cells = sorted({curve.cell for curve in curves})
    look = styles(cells)
    figure, axes_of = plt.subplots(
        1, len(panels), figsize=(1.5 + 3.4 * len(panels), 3.6), squeeze=False, layout="constrained"
    )
    handles: dict[str, Any] = {}
    notes: dict[str, str] = {}
    for (task, key, metric), axes in zip(panels, axes_of[0], strict=True):
        members = [
            curve
            for curve in curves
            if (curve.task, curve.key, curve.metric) == (task, key, metric)
        ]
        for curve in members:
            style = look[curve.cell]
            line = {
                "color": style.colour,
                "linestyle": style.dash,
                "marker": style.marker,
                "markersize": 5,
                "linewidth": 1.4,
            }
            handles[curve.cell] = axes.plot(curve.at, curve.scores, label=curve.cell, **line)[0]
        for place in sorted({curve.trained for curve in members}):
            handles["training"] = axes.axvline(
                place, color="0.85", linewidth=5, zorder=0, label="training"
            )
        first = max(members, key=lambda curve: len(curve.at))
        if None not in first.baseline:
            handles["without memory"] = axes.plot(
                first.at,
                first.baseline,
                color="0.4",
                linestyle="--",
                linewidth=1,
                label="without memory",
            )[0]
        if first.target is not None:
            handles["target"] = axes.axhline(
                first.target, color="0.4", linestyle=":", linewidth=1, label="target"
            )
        places = [*first.at, *(curve.trained for curve in members)]
        if min(places) > 0 and max(places) >= 20 * min(places):
            axes.set_xscale("log")
            axes.set_xticks(first.at, [f"{place:g}" for place in first.at])
            axes.minorticks_off()
        elif all(float(place).is_integer() for place in places):
            whole(axes.xaxis)
        scores: dict[str, list[float]] = {}
        for curve in members:
            scores.setdefault(curve.cell, []).extend(curve.scores)
        baseline = [value for curve in members for value in curve.baseline]
        levels = [first.target, *baseline]
        notes[task] = scale_scores([axes], scores, levels, baseline, first.goal)
        axes.set(title=task, xlabel=key, ylabel=f"test {metric}")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Scores away from where it was trained")
    add_legend(figure, handles, cells, len(panels))
    add_notes(figure, notes)
    return figure


def piano_roll(roll: np.ndarray, given: int, title: str = "") -> Figure:
    """roll: (frames, 88) of 0 and 1; the first `given` frames were the prompt.

    Time to the right, pitch upwards.
    """
    frames = len(roll)
    sounding = np.flatnonzero(roll.any(0))
    # C3 to C6 where there is silence
    low, high = (int(sounding[0]), int(sounding[-1])) if len(sounding) else (27, 63)
    figure, axes = plt.subplots(figsize=(min(14, 3 + frames / 12), 4), layout="constrained")
    for key in range(low, high + 1):
        if (LOWEST + key) % OCTAVE in (1, 3, 6, 8, 10):
            axes.axhspan(key - 0.5, key + 0.5, color="0.95", linewidth=0, zorder=0)  # black keys
    for frame, key in np.argwhere(roll):
        # without a border, so that a held note is one bar
        axes.barh(
            key, 1, 0.8, left=frame, color=PALETTE[1] if frame < given else PALETTE[0], linewidth=0
        )
    cs = [
        key
        for key in range(low - OCTAVE, high + OCTAVE)
        if (LOWEST + key) % OCTAVE == 0 and low <= key <= high
    ]
    axes.set_yticks(cs, [f"C{(LOWEST + key) // OCTAVE - 1}" for key in cs])
    axes.grid(axis="y", color="0.8", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set(
        title=title, xlabel="frame", ylabel="pitch", xlim=(0, frames), ylim=(low - 1, high + 1)
    )
    whole(axes.xaxis)
    axes.spines[["top", "right"]].set_visible(False)
    parts = [(given > 0, PALETTE[1], "prompt"), (given < frames, PALETTE[0], "sampled")]
    legend = [Patch(color=colour, label=label) for present, colour, label in parts if present]
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False)
    return figure
