"""Charts over several tasks: how cells stand on each, their average ranks, what they do as a task
gets longer.
"""

import math
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import Cells, Chart, Picked
from rnnbench.charts.kinds import scores
from rnnbench.charts.scales import finite
from rnnbench.stats.selection import Sample, Variant
from rnnbench.stats.survival import share, time_to_target

Lines = Mapping[Variant, Mapping[float, Sample]]  # cell → length → its runs


def standings(picked: Sequence[Picked], cells: Cells) -> Chart:
    """What cells scored on a few tasks, a panel each. cells: by average rank."""
    drawn = [(one, scores.data(one)) for one in picked]
    panels = [
        scores.marks(data, one, width=chart.WIDTH // 2 - 30, zoom="")
        for one, data in drawn
        if data is not None
    ]
    caption = (
        "Median test score of each cell with its 95 % interval, every run as a tick. Dashed: "
        "without memory; dotted: the target."
    )
    marks = alt.concat(*panels, columns=2).resolve_scale(color="independent", shape="independent")
    return chart.make("answer", caption, marks, cells)


def rank_map(table: pd.DataFrame, cells: Cells) -> Chart:
    """A row a cell, a column a task, the rank in each place.

    table: cell, task (labels, in order), rank, score, n, best; cells: by average rank.
    """
    order = [cell.label for cell in cells]
    tasks = list(dict.fromkeys(table["task"]))
    worst = max(2.0, float(table["rank"].max()))
    base = (
        alt.Chart(chart.rows(table))
        .transform_filter(chart.ON)
        .encode(
            x=alt.X("task:N", sort=tasks, title=None, axis=alt.Axis(orient="top", labelAngle=-35)),
            y=alt.Y("cell:N", sort=order, title=None),
            tooltip=chart.told("cell:N", "task:N", "rank:Q", "score:N", "n:Q"),
        )
    )
    scale = alt.Scale(scheme="blues", reverse=True, domain=[1, worst])
    ink = alt.condition(f"datum.rank < {0.45 * worst}", alt.value("white"), alt.value("black"))
    layers = alt.layer(
        base.mark_rect(stroke="white").encode(color=alt.Color("rank:Q", scale=scale, legend=None)),
        base.mark_text(fontSize=11, fontWeight="normal").encode(
            text=alt.Text("rank:Q", format="~g"), color=ink
        ),
    )
    marks = layers.properties(width=alt.Step(46), height=alt.Step(chart.ROW + 2))
    caption = (
        "Rank of each cell on each task, 1 is the best median test score; dark is better. Whether "
        "a difference is more than chance is in the tables."
    )
    return chart.make("answer", caption, marks, cells)


def ranks(average: Mapping[Variant, float], cd: float, caption: str, cells: Cells) -> Chart:
    """Average ranks, 1 is best, and how far behind the best a cell has to be (Nemenyi's critical
    difference, Demšar 2006). cells: the best first.
    """
    data = pd.DataFrame([{"cell": cell.label, "rank": average[cell]} for cell in cells])
    low, top = min(average.values()), math.ceil(max(*average.values(), 2))
    x = alt.X("rank:Q", title="average rank", scale=alt.Scale(domain=[1, top], nice=False))
    band = pd.DataFrame([{"low": low, "high": min(low + cd, top)}])
    y = chart.row_of(cells)
    colour = chart.colour(cells, shown=False)
    base = alt.Chart(chart.rows(data)).transform_filter(chart.ON)
    marks = chart.layered(
        alt.Chart(chart.rows(band)).mark_rect(color="#dceaf5").encode(x="low:Q", x2="high:Q"),
        base.mark_point(size=80, filled=True, opacity=1).encode(
            x=x,
            y=y,
            color=colour,
            shape=chart.shape(cells, shown=False),
            tooltip=chart.told("cell:N", "rank:Q"),
        ),
        base.mark_text(align="left", dx=9, fontSize=11).encode(
            x=x, y=y, text=alt.Text("rank:Q", format=".2f")
        ),
        title="average rank over tasks",
        height=alt.Step(chart.ROW),
        zoom="",
    )
    return chart.make("critical-difference", caption, marks, cells)


def solved_by_length(task: Variant, lines: Lines, cells: Cells) -> Chart:
    """The share of each cell's runs that reached the target, against the length."""
    rows = []
    for cell, samples in lines.items():
        for length, sample in sorted(samples.items()):
            found = share(sample.best["solved"].astype(bool))
            of = {"value": found.share, "low": found.low, "high": found.high, "n": found.n}
            rows.append({"cell": cell.label, "length": length, **of})
    caption = (
        f"{task.label}: share of runs that reached the target against the length. Bars: 95 % "
        f"intervals (Clopper and Pearson)."
    )
    axis = alt.Axis(format="%", values=[0, 0.2, 0.4, 0.6, 0.8, 1])
    y = {"axis": axis, "scale": alt.Scale(domain=[-0.03, 1.03], nice=False)}
    marks = _along(pd.DataFrame(rows), cells, task.label, "share solved", y)
    return chart.make(f"solved-{task.slug}", caption, marks, cells)


def times_by_length(task: Variant, lines: Lines, cells: Cells) -> Chart | None:
    """The median step at which each cell reaches the target (Kaplan and Meier), against the length.
    None without any median.
    """
    rows = []
    for cell, samples in lines.items():
        for length, sample in sorted(samples.items()):
            budget = sample.best["train.steps"].astype(float)
            found = time_to_target(sample.best["solved_at"], budget)
            beyond = math.isnan(found.median)
            rows.append(
                {
                    "cell": cell.label,
                    "length": length,
                    "value": budget.max() if beyond else found.median,
                    "low": budget.max() if beyond else found.low,
                    "high": min(found.high, budget.max()),
                    "n": found.n,
                    "reached": f"{found.solved} of {found.n}",
                    "beyond": beyond,
                }
            )
    table = pd.DataFrame(rows)
    if table["beyond"].all():
        return None
    caption = (
        f"{task.label}: median number of steps until the target is reached, against the length. By "
        f"Kaplan and Meier: runs that never got there count as needing more than their budget. "
        f"Bars: 95 % intervals (Brookmeyer and Crowley), cut at the budget; arrows: half of the "
        f"runs never got there."
    )
    y = {"axis": alt.Axis(format="~s", tickCount=6), "scale": alt.Scale(type="log", nice=False)}
    y["scale"]["padding"] = 12
    marks = _along(table, cells, task.label, "steps", y)
    return chart.make(f"times-{task.slug}", caption, marks, cells)


def _along(
    data: pd.DataFrame, cells: Cells, title: str, name: str, y: Mapping[str, object]
) -> alt.TopLevelMixin:
    """A line with intervals for each cell, cells a little beside one another."""
    places = {cell.label: k - (len(cells) - 1) / 2 for k, cell in enumerate(cells)}
    nudge = 1.02 if len(cells) <= chart.SHOWN else 1.008
    data = data.assign(at=data["length"] * data["cell"].map(places).rpow(nudge))
    lengths = sorted(set(finite(data["length"])))
    scale = alt.Scale(type="log", nice=False, padding=20)
    x = alt.X("at:Q", title="length", scale=scale, axis=alt.Axis(values=lengths, format="~g"))
    said = chart.told("cell:N", "length:Q", "value:Q", "low:Q", "high:Q", "n:Q")
    base = alt.Chart(chart.rows(data)).transform_filter(chart.ON)
    sure = base.transform_filter("!datum.beyond")
    colour = chart.colour(cells)
    value = alt.Y("value:Q", title=name, **y)
    layers = [
        sure.mark_rule(strokeWidth=1.2).encode(
            x=x, y=alt.Y("low:Q", **y), y2="high:Q", color=colour
        ),
        sure.mark_line(strokeWidth=1.6).encode(
            x=x, y=value, color=colour, strokeDash=chart.dash(cells, shown=False)
        ),
        sure.mark_point(size=60, filled=True, opacity=1).encode(
            x=x, y=value, color=colour, shape=chart.shape(cells), tooltip=said
        ),
    ]
    if "beyond" in data and data["beyond"].any():
        arrows = base.transform_filter("datum.beyond").mark_text(text="↑", fontSize=15)
        layers.append(
            arrows.encode(x=x, y=value, color=colour, tooltip=chart.told("cell:N", "reached:N"))
        )
    return chart.layered(*layers, title=title)


def forest(name: str, table: pd.DataFrame, caption: str) -> Chart:
    """Cases of claims: the effect with its interval in margins, and where the claim holds.

    table: case, verdict, value, low, high, start, stop, sentence.
    """
    far = 200.0  # margins, where the axis ends
    numbers = ["value", "low", "high", "start", "stop"]
    seen = finite(table[["value", "low", "high"]].to_numpy().ravel())
    low, high = max(min(*seen, -2) * 1.3, -far), min(max(*seen, 2) * 1.3, far)
    table = table.assign(**{key: np.clip(table[key], low, high) for key in numbers})
    ticks = [t for t in (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100) if low <= t <= high]
    scale = alt.Scale(type="symlog", constant=1, domain=[low, high], nice=False)
    title = "effect, in margins stated beforehand (→ first side better, or more)"
    x = alt.X("value:Q", title=title, scale=scale, axis=alt.Axis(values=ticks, format="~g"))
    y = alt.Y("case:N", sort=None, title=None, axis=alt.Axis(ticks=False))
    verdicts = ["reproduced", "contradicted", "not resolved", "not comparable"]
    inks = alt.Scale(domain=verdicts, range=["#009E73", "#D55E00", "#000000", "#767676"])
    forms = alt.Scale(domain=verdicts, range=["circle", chart.SHAPES["X"], "square", "diamond"])
    below = alt.Legend(title=None)
    colour = alt.Color("verdict:N", scale=inks, legend=below)
    base = alt.Chart(chart.rows(table))
    edges = alt.Chart(alt.Data(values=[{"at": -1}, {"at": 1}]))
    marks = chart.layered(
        base.mark_bar(color="#dceaf5", size=chart.ROW - 3).encode(
            x=alt.X("start:Q", scale=scale, title=title), x2="stop:Q", y=y
        ),
        edges.mark_rule(color=chart.GREY, strokeDash=[4, 3]).encode(x=alt.X("at:Q", scale=scale)),
        base.mark_rule(strokeWidth=1.6).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour),
        base.mark_point(size=60, filled=True, opacity=1).encode(
            x=x,
            y=y,
            color=colour,
            shape=alt.Shape("verdict:N", scale=forms, legend=below),
            tooltip=chart.told("case:N", "verdict:N", "sentence:N"),
        ),
        title="",
        height=alt.Step(chart.ROW),
        zoom="x",
    )
    return chart.make(name, caption, marks)
