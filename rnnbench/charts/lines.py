"""Scores of single runs as lines: learning curves, and scores away from where a run was trained."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from rnnbench.charts import chart
from rnnbench.charts.chart import Cells, Chart
from rnnbench.charts.scales import Span, fit
from rnnbench.errors import UserError
from rnnbench.runs.form import ENDED
from rnnbench.runs.frame import dotted
from rnnbench.runs.records import CurveRow, Folder
from rnnbench.stats.selection import VARIANTS, Variant, said, varied

Found = Sequence[tuple[Folder, dict[str, Any]]]
SIDE = 380  # of a panel
FAR = 20  # times the smallest place, from which on places are on a logarithmic axis


@dataclass(frozen=True)
class Curve:
    """A run's primary score against one setting. trained: the setting in training.

    goal: max or min, where better scores are. baseline: without memory, at each point.
    """

    cell: str
    task: str
    key: str
    metric: str
    goal: str
    trained: Any
    target: float | None
    at: list[float]
    scores: list[float]
    baseline: list[float | None]


def learning(found: Found) -> Chart:
    """Validation score against step, a panel for each task, a line for each run; runs of one cell
    with other settings have another colour. Runs that failed have no curve, and one warning names
    the others that have none; UserError if no curve is left.
    """
    ended = [one for one in found if one[1]["status"] in ENDED]
    if not ended:
        raise UserError("there is no curve to draw: every run failed; rnnbench status says why")
    known = list(_readable(ended))
    named = names([record for record, _ in known])
    cells = chart.dressed(sorted(set(named)))
    tasks = sorted({record["task"] for record, _ in known})
    every = [(name, *one) for name, one in zip(named, known, strict=True)]
    panels = [
        _learned(task, [one for one in every if one[1]["task"] == task], cells) for task in tasks
    ]
    marks = alt.hconcat(*panels).resolve_scale(color="shared", strokeDash="shared")
    return chart.make("curves", "Validation score against step, a line for each run.", marks)


def _readable(ended: Found) -> Iterator[tuple[dict[str, Any], list[CurveRow]]]:
    """The records and curves of the runs whose curve can be read."""
    lost = []
    for folder, record in ended:
        try:
            rows = folder.curve()
        except (OSError, ValueError):
            lost.append(str(folder.curve_path))
        else:
            yield record, rows
    if len(lost) == len(ended):
        raise UserError(f"there is no curve to draw: {lost[0]} cannot be read; train the run anew")
    if lost:
        warnings.warn(f"no curve to read: {', '.join(lost)}", stacklevel=3)


def names(records: Sequence[Mapping[str, Any]]) -> list[Variant]:
    """The cell of each run, with the settings that tell it from the others of its task and cell:
    not the seed, and none that a search draws from a range.
    """
    table = pd.DataFrame(
        [dotted(r["settings"]) | {"cell": r["cell"], "task": r["task"]} for r in records]
    )
    found = {index: Variant(str(cell)) for index, cell in table["cell"].items()}
    for (_, cell), members in table.groupby(["task", "cell"], sort=False):
        keys = [k for k in varied(members) if members[k].map(repr).nunique() <= VARIANTS]
        for index, values in zip(members.index, members[keys].itertuples(index=False), strict=True):
            told = [(key.partition(".")[2], value) for key, value in zip(keys, values, strict=True)]
            settings = tuple((key, value) for key, value in told if said(value) != "null")
            found[index] = Variant(str(cell), settings)
    return list(found.values())


def _learned(
    task: str,
    members: Sequence[tuple[Variant, dict[str, Any], list[CurveRow]]],
    cells: Cells,
) -> alt.LayerChart:
    first = members[0][1]
    metric, goal = first["primary"]["name"], first["primary"]["goal"]
    rows = [
        {"cell": name.label, "run": record["id"], "at": row["step"], "score": row[metric]}
        for name, record, curve in members
        for row in curve
        if row["split"] == "valid" and metric in row
    ]
    known = {"without memory": first["baseline"].get(metric), "target": first["target"]}
    levels = {name: level for name, level in known.items() if level is not None}
    memoryless = [record["baseline"].get(metric) for _, record, _ in members]
    data = pd.DataFrame(rows, columns=["cell", "run", "at", "score"])
    span = _span(data, [*levels.values()], memoryless, goal)
    x = alt.X("at:Q", title="step", axis=chart.whole_steps())
    layers = [*_lines(data, cells, x, span, f"validation {metric}"), *chart.marked(levels)]
    return _panel(task, layers, span, levels)


def generalisation(curves: Sequence[Curve]) -> Chart:
    """A panel for each task and setting, a line for each run; where it was trained is grey."""
    cells = _cells(curve.cell for curve in curves)
    kinds = dict.fromkeys((curve.task, curve.key, curve.metric) for curve in curves)
    panels = [
        _away([one for one in curves if (one.task, one.key, one.metric) == kind], cells)
        for kind in kinds
    ]
    marks = alt.hconcat(*panels).resolve_scale(color="shared", strokeDash="shared")
    caption = "Test scores away from where runs were trained, a line for each run."
    return chart.make("generalisation", caption, marks)


def _away(members: Sequence[Curve], cells: Cells) -> alt.LayerChart:
    longest = max(members, key=lambda curve: len(curve.at))
    rows = [
        {"cell": curve.cell, "run": str(number), "at": at, "score": score}
        for number, curve in enumerate(members)
        for at, score in zip(curve.at, curve.scores, strict=True)
    ]
    data = pd.DataFrame(rows)
    memoryless = [value for curve in members for value in curve.baseline]
    levels = {} if longest.target is None else {"target": longest.target}
    span = _span(data, [*levels.values(), *memoryless], memoryless, longest.goal)
    places = [*longest.at, *(curve.trained for curve in members)]
    far = min(places) > 0 and max(places) >= FAR * min(places)
    scale = alt.Scale(type="log" if far else "linear", zero=False, nice=False, padding=10)
    whole = all(float(place).is_integer() for place in places)
    x = alt.X(
        "at:Q",
        title=longest.key,
        scale=scale,
        axis=alt.Axis(values=longest.at if far else alt.Undefined, format=",d" if whole else "~g"),
    )
    trained = pd.DataFrame({"at": sorted({curve.trained for curve in members})})
    there = alt.Chart(chart.rows(trained)).mark_rule(color=chart.PALE, strokeWidth=6).encode(x=x)
    layers = [there, *_lines(data, cells, x, span, f"test {longest.metric}")]
    if None not in longest.baseline:
        floor = pd.DataFrame({"at": longest.at, "score": longest.baseline})
        dashed = alt.Chart(chart.rows(floor)).mark_line(color=chart.GREY, strokeDash=[6, 3])
        layers.append(dashed.encode(x=x, y=alt.Y("score:Q", scale=chart.scaled(span))))
        levels["without memory"] = 0.0
    return _panel(longest.task, [*layers, *_target(levels)], span, levels, "grey: trained there")


def _target(levels: Mapping[str, float]) -> list[alt.Chart]:
    return chart.marked({name: level for name, level in levels.items() if name == "target"})


def _cells(names: Iterator[str]) -> Cells:
    return chart.dressed(Variant(name) for name in sorted(set(names)))


def _span(data: pd.DataFrame, levels: Sequence[Any], memoryless: Sequence[Any], goal: str) -> Span:
    scores = {str(cell): rows["score"].tolist() for cell, rows in data.groupby("cell")}
    return fit(scores, levels, memoryless, goal)


def _lines(data: pd.DataFrame, cells: Cells, x: alt.X, span: Span, title: str) -> list[alt.Chart]:
    """data: cell, run, at, score."""
    base = alt.Chart(chart.rows(data))
    y = alt.Y("score:Q", title=title, scale=chart.scaled(span), axis=chart.numbers(span.kind))
    colour, dash = chart.colour(cells, line=True), chart.dash(cells)
    colour.legend = dash.legend = chart.legend(cells, line=True, most=len(cells))
    tip = chart.told("cell:N", "run:N", "at:Q", "score:Q")
    line = base.mark_line(strokeWidth=1.6, clip=True)
    point = base.mark_point(size=14, filled=True, opacity=1, clip=True)
    return [
        line.encode(x=x, y=y, color=colour, strokeDash=dash, detail="run:N"),
        point.encode(x=x, y=y, color=colour, tooltip=tip),
    ]


def _panel(
    title: str, layers: Sequence[alt.Chart], span: Span, levels: Mapping[str, float], more: str = ""
) -> alt.LayerChart:
    """With what its lines mean below the title, and what its axis leaves out."""
    drawn = {"without memory": "dashed: without memory", "target": "dotted: target"}
    means = [text for name, text in drawn.items() if name in levels] + ([more] if more else [])
    notes = [", ".join(means), span.note]
    head = alt.TitleParams(
        title, subtitle=[note for note in notes if note], subtitleColor=chart.GREY
    )
    return alt.layer(*layers).properties(width=SIDE, height=chart.HEIGHT, title=head)
