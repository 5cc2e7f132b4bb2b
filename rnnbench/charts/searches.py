"""Which settings mattered in a search: shares of variance, and the score along each setting."""

import math

import altair as alt
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import Cells, Chart
from rnnbench.stats.selection import Variant, said

ACROSS = 3  # panels side by side
SIDE = 125  # of a panel


def importance(task: Variant, table: pd.DataFrame, cells: Cells) -> Chart:
    """Shares of the variance by setting, a panel for each cell; error bars are the standard
    deviation over refits of the forest. table: cell, parameter, mean, std, n, r2.
    """
    order = list(table.groupby("parameter")["mean"].mean().sort_values(ascending=False).index)
    table = table.assign(
        low=(table["mean"] - table["std"]).clip(lower=0),
        high=table["mean"] + table["std"],
    )
    keys = ["cell", "parameter", "mean", "low", "high", "n", "r2"]
    base = alt.Chart().transform_filter(chart.ON)
    y = alt.Y("parameter:N", sort=order, title=None)
    x = alt.X("mean:Q", title="share of variance", scale=alt.Scale(domain=[0, 1]))
    kinds = ("N" if key in ("cell", "parameter") else "Q" for key in keys)
    tip = chart.told(*map(":".join, zip(keys, kinds, strict=True)))
    panel = alt.layer(
        base.mark_bar(clip=True).encode(
            x=x, y=y, color=chart.colour(cells, shown=False), tooltip=tip
        ),
        base.mark_rule(clip=True).encode(x="low:Q", x2="high:Q", y=y),
        base.mark_text(align="left", dx=4, fontSize=10).encode(
            x="high:Q", y=y, text=alt.Text("mean:Q", format=".2f")
        ),
        data=chart.rows(table[keys]),
    ).properties(width=SIDE, height=alt.Step(chart.ROW))
    first = [cell.label for cell in cells]
    marks = panel.facet(alt.Facet("cell:N", title=None, sort=first), columns=ACROSS)
    caption = (
        f"{task.label}: share of the variance of test scores that each setting explains by itself "
        f"(functional ANOVA over a regression forest). Error bars: refits of the forest. Where R² "
        f"on runs it has not seen is low, the shares mean little. Diverged runs count as the "
        f"memoryless baseline."
    )
    return chart.make(f"importance-{task.slug}", caption, marks, cells)


def marginals(name: str, task: Variant, table: pd.DataFrame, what: str, cells: Cells) -> Chart:
    """What is predicted along one setting, the others averaged out, a panel for each setting.

    table: cell, parameter, scale, x, mean, std. what: a score, or training time.
    """
    panels = [_marginal(str(key), own, what, cells) for key, own in table.groupby("parameter")]
    marks = alt.concat(*panels, columns=ACROSS).resolve_scale(color="shared", strokeDash="shared")
    caption = (
        f"{task.label}: predicted {what} along each setting, the others averaged out by the forest."
    )
    return chart.make(f"{name}-{task.slug}", caption, marks, cells)


def _marginal(name: str, own: pd.DataFrame, what: str, cells: Cells) -> alt.TopLevelMixin:
    words = not all(_number(x) for x in own["x"])
    logarithmic = bool((own["scale"] == "log").any())
    own = own.assign(x=own["x"].map(said if words else float))
    scale = alt.Scale(type="log", nice=False) if logarithmic else alt.Scale(zero=False)
    small = not words and float(own["x"].min()) < 1e-5
    axis = alt.Axis(format="~e" if small else "~r", tickCount=4, labelOverlap=True)
    x = alt.X("x:N", title=name) if words else alt.X("x:Q", title=name, scale=scale, axis=axis)
    base = alt.Chart(chart.rows(own[["cell", "x", "mean", "std"]])).transform_filter(chart.ON)
    return (
        base.mark_line(strokeWidth=1.8, point=words)
        .encode(
            x=x,
            y=alt.Y("mean:Q", title=f"predicted {what}", scale=alt.Scale(zero=False)),
            color=chart.colour(cells, line=True),
            strokeDash=chart.dash(cells),
            tooltip=chart.told("cell:N", "x:N", "mean:Q", "std:Q"),
        )
        .properties(width=SIDE, height=SIDE)
    )


def _number(x: object) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
