"""Who beats whom: the probability that a run of one cell is better than one of another."""

from itertools import combinations

import altair as alt
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import ChartKind, Picked
from rnnbench.stats.ranks import improvement


def data(picked: Picked) -> pd.DataFrame | None:
    """cell, other, wins, low, high; None where there is no pair."""
    rows = []
    for x, y in combinations(picked.samples, 2):
        found = improvement(x.scores, y.scores, x.goal)
        wins = found.value, found.low, found.high
        losses = 1 - found.value, 1 - found.high, 1 - found.low
        for (one, other), chance in (((x, y), wins), ((y, x), losses)):
            of = dict(zip(("wins", "low", "high"), chance, strict=True))
            rows.append({"cell": one.cell.label, "other": other.cell.label, **of})
    return pd.DataFrame(rows) if rows else None


def marks(data: pd.DataFrame, picked: Picked) -> alt.TopLevelMixin:
    order = [cell.label for cell in picked.cells]
    shown = f"{chart.ON} && indexof(shown, datum.other) >= 0"
    base = (
        alt.Chart(chart.rows(data))
        .transform_filter(shown)
        .encode(
            x=alt.X("other:N", sort=order, title=None, axis=alt.Axis(orient="top", labelAngle=-40)),
            y=alt.Y("cell:N", sort=order, title=None),
            tooltip=chart.told("cell:N", "other:N", "wins:Q", "low:Q", "high:Q"),
        )
    )
    scale = alt.Scale(scheme="redblue", domain=[0, 1])
    far = "abs(datum.wins - 0.5) > 0.33"
    ink = alt.condition(far, alt.value("white"), alt.value("black"))
    layers = alt.layer(
        base.mark_rect().encode(color=alt.Color("wins:Q", scale=scale, legend=None)),
        base.mark_text(fontSize=10).encode(text=alt.Text("wins:Q", format=".2f"), color=ink),
    )
    return layers.properties(width=alt.Step(40), height=alt.Step(22), title=picked.task.label)


def caption(data: pd.DataFrame, picked: Picked) -> str:
    return (
        "probability that a new run of the row beats one of the column, ties half, diverged runs "
        "last. Blue: the row is better, red: the column is. No correction is made for the number "
        "of pairs: these are descriptions, the tests are in the table."
    )


CHART = ChartKind(60, data, marks, caption)
