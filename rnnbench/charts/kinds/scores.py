"""What each cell scored: the median of its runs with its interval, and every run as a tick."""

import math

import altair as alt
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import ChartKind, Picked
from rnnbench.charts.scales import Span, finite, fit
from rnnbench.stats.statistics import median


def data(picked: Picked) -> pd.DataFrame | None:
    """A row for each run that counts, with the median and the interval of its cell."""
    rows = []
    for sample in picked.samples:
        found = median(sample.scores, sample.goal)
        summary = {"cell": sample.cell.label, "median": found.value, "n": found.n}
        summary |= {"low": found.low, "high": found.high, "diverged": found.excluded}
        rows += [summary | {"score": score} for score in sample.scores]
    table = pd.DataFrame(rows)
    return table if finite(table["score"]).size else None


def marks(
    data: pd.DataFrame, picked: Picked, width: int = chart.WIDTH, zoom: str = "x"
) -> alt.TopLevelMixin:
    span = axis(data, picked)
    cells = data.drop_duplicates("cell")
    x = alt.X(
        "score:Q",
        title=f"test {picked.metric}",
        scale=chart.scaled(span),
        axis=chart.numbers(span.kind),
    )
    y = chart.row_of(picked.cells)
    colour = chart.colour(picked.cells, shown=False)
    said = chart.told("cell:N", "median:Q", "low:Q", "high:Q", "n:Q", "diverged:Q")
    every = alt.Chart(chart.rows(data[["cell", "score"]])).transform_filter(chart.ON)
    middle = alt.Chart(chart.rows(cells.drop(columns="score"))).transform_filter(chart.ON)
    return chart.layered(
        every.mark_tick(opacity=1, fillOpacity=0.45, thickness=1.5, size=11, clip=True).encode(
            x=x, y=y, color=colour, tooltip=chart.told("cell:N", "score:Q")
        ),
        middle.mark_rule(strokeWidth=1.8, clip=True).encode(
            x="low:Q", x2="high:Q", y=y, color=colour, tooltip=said
        ),
        middle.mark_point(size=75, filled=True, opacity=1, clip=True).encode(
            x="median:Q",
            y=y,
            color=colour,
            shape=chart.shape(picked.cells, shown=False),
            tooltip=said,
        ),
        *chart.marked(picked.levels, "x"),
        title=picked.task.label,
        height=alt.Step(chart.ROW),
        width=width,
        zoom=zoom,
    )


def axis(data: pd.DataFrame, picked: Picked) -> Span:
    lines = {str(cell): rows["score"] for cell, rows in data.groupby("cell")}
    levels = list(picked.levels.values())
    return fit(lines, levels, [picked.levels.get("baseline", math.nan)], picked.goal)


def caption(data: pd.DataFrame, picked: Picked) -> str:
    return (
        f"median test score of each cell with its 95 % interval, every run as a tick. Dashed: "
        f"without memory; dotted: the target. {axis(data, picked).note}"
    )


CHART = ChartKind(10, data, marks, caption)
