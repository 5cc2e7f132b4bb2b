"""Figure 3 of Greff et al. (2017): test scores of all trials of each cell, and of the best by
validation.
"""

import altair as alt
import numpy as np
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import ChartKind, Picked
from rnnbench.charts.scales import fit
from rnnbench.stats.trials import ALL, BEST, spreads


def data(picked: Picked) -> pd.DataFrame | None:
    """What `trials.spreads` says, cells by their labels, and whether the table tells them apart;
    None where nothing was searched.
    """
    table = spreads(picked.searched)
    if table.empty:
        return None
    apart = [cell in picked.apart for cell in table["cell"]]
    labels = [cell.label for cell in table["cell"]]
    return table.drop(columns="task").assign(cell=labels, apart=apart)


def marks(data: pd.DataFrame, picked: Picked) -> alt.TopLevelMixin:
    names = ["low", "q25", "median", "q75", "high"]
    lines = {str(cell): rows[names].to_numpy().ravel() for cell, rows in data.groupby("cell")}
    span = fit(lines, [], [picked.levels.get("baseline", np.nan)], picked.goal)
    scale, axis = chart.scaled(span), chart.numbers(span.kind)
    y = chart.row_of(picked.cells)
    colour = chart.colour(picked.cells, shown=False)
    numbers = (f"{name}:Q" for name in (*names, "mean", "n", "diverged", "params"))
    said = chart.told("cell:N", *numbers)
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
            x="q25:Q",
            x2="q75:Q",
            y=y,
            color=colour,
            stroke=colour,
            fillOpacity=filled,
            tooltip=said,
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
        f"test scores of all trials on the left, of the best tenth by validation on the right. "
        f"Boxes: quartiles, lines: full range, bar: median, dot: mean; a trial that diverged "
        f"scores as the memoryless baseline. Filled: told apart from {picked.baseline.label} in "
        f"the table."
    )


CHART = ChartKind(40, data, marks, caption)
