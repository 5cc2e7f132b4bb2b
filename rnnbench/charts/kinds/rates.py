"""Test score against learning rate: every run a point, a line of medians for each cell."""

import altair as alt
import numpy as np
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import ChartKind, Picked
from rnnbench.charts.scales import Span, kind
from rnnbench.stats.statistics import Floats

RATES = 12  # learning rates, up to which each has its own median; more are binned, BINS to a decade
BINS = 3


def filled(runs: pd.DataFrame, goal: str) -> Floats:
    """Test scores (n) in which a run that diverged or has no finite score scores what the
    memoryless baseline does, or as the worst run does. Leaving such runs out would flatter what
    diverges often.
    """
    sign = 1.0 if goal == "min" else -1.0
    found = runs["value"].where(~runs["diverged"]).astype(float)
    cost = (sign * found).where(np.isfinite(found))
    memoryless = (sign * runs["baseline"].astype(float)).fillna(cost.max())
    return np.asarray(sign * cost.fillna(memoryless).fillna(0.0).to_numpy(float))


def data(picked: Picked) -> pd.DataFrame | None:
    """cell, rate, score, diverged: a row for each run; None where one rate was tried."""
    runs = picked.runs[picked.runs["optim.lr"].astype(float) > 0]
    if runs["optim.lr"].nunique() < 2:
        return None
    lost = runs["diverged"].astype(bool) | ~np.isfinite(runs["value"])
    return pd.DataFrame(
        {
            "cell": [cell.label for cell in runs["cell"]],
            "rate": runs["optim.lr"].astype(float).to_numpy(),
            "score": filled(runs, picked.goal),
            "run": np.where(lost, "diverged", "finished"),
        }
    )


def pooled(data: pd.DataFrame) -> pd.DataFrame:
    """cell, rate, median, n. Many rates, as random search draws them, are pooled in thirds of a
    decade: the geometric mean of each.
    """
    many = data["rate"].nunique() > RATES
    place = np.floor(np.log10(data["rate"]) * BINS) if many else data["rate"]
    grouped = data.assign(rate=np.log(data["rate"])).groupby(["cell", place.rename("place")])
    found = grouped.agg(rate=("rate", "mean"), median=("score", "median"), n=("score", "size"))
    return found.assign(rate=np.exp(found["rate"])).reset_index()


def marks(data: pd.DataFrame, picked: Picked) -> alt.TopLevelMixin:
    scale = kind([*data["score"], *picked.levels.values()], picked.goal)
    y = {"scale": chart.scaled(Span(scale)), "axis": chart.numbers(scale)}
    rates = alt.Scale(type="log", nice=False, padding=14)
    x = alt.X("rate:Q", title="learning rate", scale=rates, axis=chart.numbers("log"))
    score = alt.Y("score:Q", title=f"test {picked.metric}", **y)
    colour = chart.colour(picked.cells, line=True)
    runs = alt.Chart(chart.rows(data)).transform_filter(chart.ON)
    middles = pooled(data)[["cell", "rate", "median", "n"]]
    middle = alt.Chart(chart.rows(middles)).transform_filter(chart.ON)
    lost = alt.Shape(
        "run:N",
        scale=alt.Scale(domain=["finished", "diverged"], range=["circle", chart.SHAPES["X"]]),
        legend=None,
    )
    return chart.layered(
        runs.mark_point(size=28, opacity=1, fillOpacity=0.4, filled=True, clip=True).encode(
            x=x,
            y=score,
            color=colour,
            shape=lost,
            tooltip=chart.told("cell:N", "rate:Q", "score:Q", "run:N"),
        ),
        middle.mark_line(strokeWidth=1.8, clip=True).encode(
            x=x, y=alt.Y("median:Q", **y), color=colour, strokeDash=chart.dash(picked.cells)
        ),
        middle.mark_point(size=55, filled=True, opacity=1, clip=True).encode(
            x=x,
            y=alt.Y("median:Q", **y),
            color=colour,
            tooltip=chart.told("cell:N", "rate:Q", "median:Q", "n:Q"),
        ),
        *chart.marked(picked.levels),
        title=picked.task.label,
    )


def caption(data: pd.DataFrame, picked: Picked) -> str:
    return (
        "test score against learning rate, every run a point, a line of medians for each cell. "
        "Crosses: diverged, at what the memoryless baseline scores."
    )


CHART = ChartKind(30, data, marks, caption)
