"""Figure of claims: what was found in units of the margin that was stated beforehand, and where the
claim would hold.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rnnbench.charts.drawing import GREY, WIDTH, canvas, legend
from rnnbench.charts.style import PALETTE
from rnnbench.claims.answer import APART, CONTRADICTED, OPEN, REPRODUCED
from rnnbench.claims.judging import Case, Judged
from rnnbench.formatting import number

LOOK = {
    REPRODUCED: ("o", PALETTE[2], PALETTE[2]),
    CONTRADICTED: ("X", PALETTE[1], PALETTE[1]),
    OPEN: ("s", PALETTE[6], "white"),
    APART: ("D", PALETTE[6], PALETTE[6]),
}
TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)
FAR = 200.0  # margins, where the axis ends
ROWS = 40  # of a figure


def forests(judged: Sequence[Judged]) -> list[Figure]:
    """One figure, or several where there are more cases than fit; a claim is never split.

    Cases without an effect are left out.
    """
    pages: list[list[tuple[str, Case]]] = [[]]
    for one in judged:
        rows = [
            (f"{one.claim.id} {case.name}".strip(), case)
            for case in one.cases
            if math.isfinite(case.answer.scaled[0])
        ]
        if pages[-1] and len(pages[-1]) + len(rows) > ROWS:
            pages.append([])
        pages[-1] += rows
    return [forest(rows) for rows in pages if rows]


def forest(rows: Sequence[tuple[str, Case]]) -> Figure:
    """A row per case: the effect with its 95 % interval, in margins; blue: where the claim holds;
    the shape and the colour say the verdict.
    """
    figure, grid = canvas(height=1.3 + 0.24 * len(rows), width=WIDTH)
    axes: Axes = grid[0, 0]
    axes.set_xscale("symlog", linthresh=1, linscale=0.7)
    finite = [bound for _, case in rows for bound in case.answer.scaled if math.isfinite(bound)]
    edges = max(min([*finite, -2.0]) * 1.3, -FAR), min(max([*finite, 2.0]) * 1.3, FAR)
    for k, (_, case) in enumerate(rows):
        (value, low, high), (start, stop) = (
            np.clip(case.answer.scaled, *edges),
            np.clip(case.answer.region, *edges),
        )
        axes.fill_between([start, stop], k - 0.5, k + 0.5, color="#DCEAF5", linewidth=0, zorder=0)
        marker, edge, face = LOOK[case.verdict]
        if math.isfinite(low) and math.isfinite(high):
            axes.plot([low, high], [k, k], color=edge, linewidth=1.5, zorder=2)
        axes.plot(
            value,
            k,
            marker,
            color=edge,
            markerfacecolor=face,
            markersize=6.5,
            label=case.verdict,
            zorder=3,
            linestyle="none",
        )
        if k and rows[k - 1][0].split()[0] != rows[k][0].split()[0]:
            axes.axhline(k - 0.5, color="0.75", linewidth=0.7)
    for at, dash in ((-1, (0, (4, 3))), (0, "-"), (1, (0, (4, 3)))):
        axes.axvline(at, color=GREY, linewidth=0.9, linestyle=dash, zorder=1)
    axes.set(
        xlim=edges,
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="effect, in margins stated beforehand (→ first side better, or more)",
    )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8.5)
    axes.xaxis.set_major_locator(
        FixedLocator([tick for tick in TICKS if edges[0] <= tick <= edges[1]])
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.tick_params(axis="y", length=0)
    legend(figure)
    return figure
