"""Learning curves: validation score against step, the median of each cell's runs and a band from
quartile to quartile.
"""

import altair as alt
import numpy as np
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import ChartKind, Picked
from rnnbench.charts.scales import Span, fit
from rnnbench.stats.selection import Sample

POINTS = 80  # of a curve


def aligned(sample: Sample, curves: pd.DataFrame) -> pd.DataFrame:
    """Scores of the best runs (steps, runs), every run with a number at every step from its first
    on. A run that stopped early keeps its last score; one that diverged scores what the memoryless
    baseline does from then on (the worst score seen, where that is not known).
    """
    own = curves["id"].isin(sample.best["id"]) & (curves["column"] == sample.metric)
    rows = curves[own & (curves["split"] == "valid")]
    table = rows.pivot_table(
        index="step", columns="id", values="value", aggfunc="last", dropna=False
    )
    table = table.where(np.isfinite(table))
    if table.empty or table.isna().to_numpy().all():
        return pd.DataFrame()
    worst = table.max().max() if sample.goal == "min" else table.min().min()
    best = sample.best.set_index("id")
    for run in table:
        if best.at[run, "diverged"]:
            last = table[run].last_valid_index()
            ended = table.index > (-1 if last is None else last)
            level = best.at[run, "baseline"]
            table.loc[ended, run] = level if np.isfinite(level) else worst
    return table.ffill().bfill()


def data(picked: Picked) -> pd.DataFrame | None:
    """cell, step, median, low, high, n."""
    made = []
    for sample in picked.samples:
        table = aligned(sample, picked.curves)
        if table.empty:
            continue
        kept = np.unique(np.linspace(0, len(table) - 1, POINTS).round().astype(int))
        table = table.iloc[kept]
        middle, low, high = np.percentile(table, (50, 25, 75), axis=1)
        columns = {"step": table.index, "median": middle, "low": low, "high": high}
        made.append(pd.DataFrame({"cell": sample.cell.label, **columns, "n": table.shape[1]}))
    return pd.concat(made) if made else None


def marks(data: pd.DataFrame, picked: Picked) -> alt.TopLevelMixin:
    span = axis(data, picked)
    x = alt.X("step:Q", axis=chart.whole_steps(), scale=alt.Scale(nice=False))
    y = {"scale": chart.scaled(span), "axis": chart.numbers(span.kind)}
    title = f"validation {picked.metric}"
    look = {"color": chart.colour(picked.cells, line=True), "strokeDash": chart.dash(picked.cells)}
    base = alt.Chart(chart.rows(data)).transform_filter(chart.ON)
    said = chart.told("cell:N", "step:Q", "median:Q", "low:Q", "high:Q", "n:Q")
    return chart.layered(
        base.mark_area(opacity=1, fillOpacity=0.13, clip=True).encode(
            x=x, y=alt.Y("low:Q", title=title, **y), y2="high:Q", color=look["color"]
        ),
        base.mark_line(strokeWidth=1.8, clip=True).encode(x=x, y=alt.Y("median:Q", **y), **look),
        base.mark_point(size=60, filled=True, opacity=1, fillOpacity=0, clip=True).encode(
            x=x, y=alt.Y("median:Q", **y), color=look["color"], tooltip=said
        ),
        *chart.marked(picked.levels),
        title=picked.task.label,
    )


def axis(data: pd.DataFrame, picked: Picked) -> Span:
    names = ["median", "low", "high"]
    lines = {str(cell): rows[names].to_numpy().ravel() for cell, rows in data.groupby("cell")}
    return fit(lines, picked.levels.values(), picked.runs["baseline"], picked.goal)


def caption(data: pd.DataFrame, picked: Picked) -> str:
    low, high = data["n"].min(), data["n"].max()
    over = f"{low} to {high}" if low < high else f"{high}"
    return (
        f"validation score against step, median and quartiles of the {over} runs of each cell that "
        f"its numbers rest on. Dashed: without memory; dotted: the target. "
        f"{axis(data, picked).note}"
    )


CHART = ChartKind(20, data, marks, caption)
