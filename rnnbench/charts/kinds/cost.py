"""Score against what it cost, in arithmetic: wall time would be that of packs and of other work on
the machine.
"""

import altair as alt
import numpy as np
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import ChartKind, Picked
from rnnbench.charts.kinds.rates import filled
from rnnbench.charts.scales import Span, kind
from rnnbench.stats.statistics import usable

SPREAD = 1.2  # largest over smallest cost, below which cells cost the same


def data(picked: Picked) -> pd.DataFrame | None:
    """cell, cost, score, low, high, front; None where cells cost the same. cost: multiplications
    by parameters for each position of a sequence, in the steps that were made.
    """
    rows = []
    for sample in picked.samples:
        runs = sample.best[~sample.best["diverged"]]
        cost = usable(runs["params"] * runs["train.batch"] * runs["steps"])
        scores = usable(filled(sample.best, sample.goal))
        if cost.size and scores.size:
            low, middle, high = np.percentile(scores, (25, 50, 75))
            of = {"cost": float(np.median(cost)), "score": middle, "low": low, "high": high}
            rows.append({"cell": sample.cell.label, **of})
    table = pd.DataFrame(rows)
    if table.empty or table["cost"].max() < SPREAD * table["cost"].min():
        return None
    points = dict(zip(table["cell"], zip(table["cost"], table["score"], strict=True), strict=True))
    return table.assign(front=table["cell"].isin(undominated(points, picked.goal)))


def undominated(points: dict[str, tuple[float, float]], goal: str) -> list[str]:
    """Cells, the cheapest first, that no cheaper cell equals or beats: (cost, score) of each → the
    Pareto front.
    """
    sign = 1 if goal == "min" else -1
    front: list[str] = []
    for cell in sorted(points, key=lambda name: (points[name][0], sign * points[name][1])):
        if not front or sign * points[cell][1] < sign * points[front[-1]][1]:
            front.append(cell)
    return front


def marks(data: pd.DataFrame, picked: Picked) -> alt.TopLevelMixin:
    scale = kind([*data["score"], *picked.levels.values()], picked.goal)
    y = {"scale": chart.scaled(Span(scale)), "axis": chart.numbers(scale)}
    costs = kind(data["cost"])
    x = alt.X(
        "cost:Q",
        title="multiplications in training, for each position of a sequence",
        scale=chart.scaled(Span(costs), padding=14),
        axis=alt.Axis(format="~s", tickCount=5),
    )
    base = alt.Chart(chart.rows(data))
    shown = base.transform_filter(chart.ON)
    colour = chart.colour(picked.cells)
    score = alt.Y("score:Q", title=f"test {picked.metric}", **y)
    return chart.layered(
        base.transform_filter("datum.front")
        .mark_line(color=chart.PALE, strokeWidth=3, interpolate="step-after", clip=True)
        .encode(x=x, y=score),
        shown.mark_rule(clip=True).encode(
            x=x, y=alt.Y("low:Q", **y), y2="high:Q", color=chart.colour(picked.cells, shown=False)
        ),
        shown.mark_point(size=75, filled=True, opacity=1, clip=True).encode(
            x=x,
            y=score,
            color=colour,
            shape=chart.shape(picked.cells),
            tooltip=chart.told("cell:N", "cost:Q", "score:Q", "low:Q", "high:Q"),
        ),
        *chart.marked(picked.levels),
        title=picked.task.label,
    )


def caption(data: pd.DataFrame, picked: Picked) -> str:
    return (
        "test score against arithmetic, medians and quartiles of the runs that the numbers rest "
        "on. Grey: cells that no cheaper cell equals or beats."
    )


CHART = ChartKind(50, data, marks, caption)
