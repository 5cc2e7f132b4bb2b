"""Figure 3 of Greff et al. (2017): test scores of all trials of each cell, and of the best by
validation.
"""

import altair as alt
import numpy as np
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import Kind, Picked
from rnnbench.charts.scales import fit
from rnnbench.stats.selection import best_trials, ranked
from rnnbench.stats.statistics import judged, usable

ALL, BEST = "all trials", "the best by validation"


def data(picked: Picked) -> pd.DataFrame | None:
    """cell, of, low, q1, median, q3, high, mean, n, diverged, params; None where nothing was
    searched. Diverged trials have no score: they are left out of the boxes and counted.
    """
    if all(sample.tried == 1 for sample in picked.samples):
        return None
    rows = []
    for sample in picked.samples:
        order = ranked(sample.runs).index
        for of, runs in (
            (ALL, sample.runs),
            (BEST, sample.runs.loc[order[: best_trials(len(order))]]),
        ):
            scores = usable(judged(runs["value"], runs["diverged"]))
            box = np.percentile(scores, (0, 25, 50, 75, 100)) if scores.size else [np.nan] * 5
            low, q1, middle, q3, high = box
            rows.append(
                {
                    "cell": sample.cell.label,
                    "of": of,
                    **{"low": low, "q1": q1, "median": middle, "q3": q3, "high": high},
                    "mean": scores.mean() if scores.size else np.nan,
                    "n": len(runs),
                    "diverged": len(runs) - scores.size,
                    "parameters": runs["params"].mean(),
                    "apart": sample.cell in picked.apart,
                }
            )
    return pd.DataFrame(rows)


def marks(data: pd.DataFrame, picked: Picked) -> alt.TopLevelMixin:
    names = ["low", "q1", "median", "q3", "high"]
    lines = {str(cell): rows[names].to_numpy().ravel() for cell, rows in data.groupby("cell")}
    span = fit(lines, [], [picked.levels.get("baseline", np.nan)], picked.goal)
    scale, axis = chart.scaled(span), chart.numbers(span.kind)
    y = chart.row_of(picked.cells)
    colour = chart.colour(picked.cells, shown=False)
    said = ["cell:N", *(f"{name}:Q" for name in (*names, "mean", "n", "diverged", "parameters"))]
    filled = alt.condition("datum.apart", alt.value(0.75), alt.value(0.15))
    base = alt.Chart().transform_filter(chart.ON)
    layers = alt.layer(
        base.mark_rule(clip=True).encode(
            x=alt.X("low:Q", title=f"test {picked.metric}", scale=scale, axis=axis),
            x2="high:Q",
            y=y,
            color=colour,
        ),
        base.mark_bar(size=11, strokeWidth=1.2, clip=True).encode(
            x="q1:Q", x2="q3:Q", y=y, color=colour, stroke=colour, fillOpacity=filled, tooltip=said
        ),
        base.mark_tick(color="black", opacity=1, thickness=2, size=13, clip=True).encode(
            x="median:Q", y=y
        ),
        base.mark_point(color="black", opacity=1, filled=True, size=22, clip=True).encode(
            x="mean:Q", y=y
        ),
        data=chart.rows(data),
    ).properties(width=chart.WIDTH // 2 - 30, height=alt.Step(chart.ROW))
    column = alt.Column("of:N", title=None, sort=[ALL, BEST])
    return layers.facet(column=column).properties(title=picked.task.label)


def caption(data: pd.DataFrame, picked: Picked) -> str:
    return (
        f"test scores of all trials on the left, of the best by validation on the right. Boxes: "
        f"quartiles, lines: full range, bar: median, dot: mean of those that did not diverge; "
        f"filled: told apart from {picked.baseline.label} in the table."
    )


CHART = Kind(40, data, marks, caption)
