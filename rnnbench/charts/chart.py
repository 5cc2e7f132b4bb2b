"""A chart: data and marks, described once in Vega-Lite (by Altair). The page draws it with hover,
zoom and a legend that switches cells; the same description makes its SVG, PNG and PDF, without a
browser or a network (vl-convert).

A module in `charts/kinds` says of one kind of chart which data it shows of a task and with which
marks; `ChartKind` is what it holds. From outside, an entry point of the group
`rnnbench.charts.kinds`.
"""

import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from altair.utils.schemapi import debug_mode
from markupsafe import escape
from PIL import Image

from rnnbench.charts.scales import Span
from rnnbench.charts.style import Style, styles
from rnnbench.stats.selection import Result, Sample, Variant

SHOWN = 12  # cells that are drawn until one asks for more
WIDTH, HEIGHT, ROW = 450, 270, 19  # of a plot, and of a row where cells stand one below another
LETTERS = 90  # of a legend, to a line
DIGITS = 5  # of numbers in a description
GREY, PALE = "#595959", "#d9d9d9"
ON = "indexof(shown, datum.cell) >= 0"  # whether a row's cell is switched on
SCALE, COLOURS = 1.5, 64  # of a PNG: pixels to a point, and its palette
SHAPES = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z",
}
CLIP = re.compile(r"\bclip\d+\b")
# What a picture does without: words on each mark, which the page's own chart has, paths that draw
# nothing, what is so anyway; and decimals of places beyond the second, of a pixel.
SPARE = re.compile(
    r'<path[^>]* (?:d="(?:M0,0h0v0h0Z)?"|fill-opacity="0")[^>]*/>'
    r'| (?:aria-[a-z]+|role|class|pointer-events)="[^"]*"'
    r'| (?:stroke-width|opacity)="1"| transform="translate\(0,0\)"'
)
EXACT, DECIMALS = re.compile(r' (?:d|transform)="[^"]*"'), re.compile(r"(\.\d\d)\d+")
# A picture is measured with the letters of Arial; where a reader's are wider, labels still have
# room at the left and between the columns of a legend.
CONFIG: dict[str, Any] = {
    "background": "white",
    "padding": {"left": 26, "right": 5, "top": 5, "bottom": 5},
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {"gridColor": "#ececec", "titleFontWeight": "normal", "labelLimit": 260},
    "axisY": {"labelOverlap": True},
    "legend": {"labelLimit": 320, "symbolSize": 110, "orient": "bottom", "columnPadding": 36},
    "header": {"labelFontWeight": "bold", "labelLimit": 260},
    "title": {"anchor": "start", "fontSize": 13, "fontWeight": "normal"},
}


Cells = Mapping[Variant, Style]  # what each looks like, the best first


@dataclass(frozen=True)
class Picture:
    """What a report shows. alt: what a reader who cannot see it is told; caption: under it."""

    name: str
    caption: str
    alt: str
    svg: bytes
    png: bytes
    pdf: bytes


@dataclass(frozen=True)
class Chart:
    """The same, described: spec in Vega-Lite; cells: those that can be switched, the best first,
    of which the first SHOWN are on.
    """

    name: str
    caption: str
    alt: str
    spec: Mapping[str, Any] = field(repr=False)
    cells: Cells = field(default_factory=dict)

    @cached_property
    def svg(self) -> bytes:
        drawn = SPARE.sub("", vl_convert.vegalite_to_svg(dict(self.spec)))
        drawn = EXACT.sub(lambda found: DECIMALS.sub(r"\1", found[0]), drawn)
        named = f'<svg role="img" aria-label="{escape(self.alt)}"'
        drawn = drawn.replace("<svg", named, 1)
        names = dict.fromkeys(CLIP.findall(drawn))
        order = {name: f"clip{k}" for k, name in enumerate(names)}  # Vega counts on and on
        return CLIP.sub(lambda found: order[found[0]], drawn).encode()

    @cached_property
    def png(self) -> bytes:
        drawn = Image.open(io.BytesIO(vl_convert.svg_to_png(self.svg.decode(), scale=SCALE)))
        method, dither = Image.Quantize.FASTOCTREE, Image.Dither.NONE
        small = drawn.convert("RGB").quantize(COLOURS, method, dither=dither)
        buffer = io.BytesIO()
        small.save(buffer, "PNG")
        return buffer.getvalue()

    @cached_property
    def pdf(self) -> bytes:
        return vl_convert.svg_to_pdf(self.svg.decode())

    @property
    def text(self) -> str:
        """The description as JSON, safe inside a page."""
        return json.dumps(self.spec, separators=(",", ":")).replace("<", "\\u003c")


@dataclass(frozen=True)
class Picked:
    """What a kind of chart draws from: one task, as selected. samples: the best first; runs: all
    that ended as results; curves: of the runs that count, see `frame.curves`; apart: the cells that
    the table tells apart from the baseline; searched: the trials of each cell, see
    `trials.searches`.
    """

    task: Variant
    samples: Sequence[Sample]
    runs: pd.DataFrame
    curves: pd.DataFrame
    baseline: Variant
    apart: frozenset[Variant]
    searched: Mapping[Result, pd.DataFrame]
    cells: Cells

    @property
    def goal(self) -> str:
        return self.samples[0].goal

    @property
    def metric(self) -> str:
        """The name of the score, and which way is better."""
        better = "higher" if self.goal == "max" else "lower"
        return f"{self.samples[0].metric} ({better} is better)"

    @property
    def levels(self) -> dict[str, float]:
        """What the memoryless baseline scores and what counts as solved, where the runs agree."""
        return {
            name: float(known[0])
            for column, name in (("baseline", "without memory"), ("target", "target"))
            if len(known := self.runs[column].dropna().unique()) == 1 and math.isfinite(known[0])
        }


@dataclass(frozen=True)
class ChartKind:
    """data: what is shown of a task, a row a mark; None where there is nothing to show. marks: the
    chart of these data. caption: what is seen, as a sentence.
    """

    order: int
    data: Callable[[Picked], pd.DataFrame | None]
    marks: Callable[[pd.DataFrame, Picked], alt.TopLevelMixin]
    caption: Callable[[pd.DataFrame, Picked], str]


def draw(name: str, kind: ChartKind, picked: Picked) -> Chart | None:
    """The chart of this kind; None where it has nothing to show."""
    data = kind.data(picked)
    if data is None or data.empty:
        return None
    caption = f"{picked.task.label}: {kind.caption(data, picked)}"
    shown = set(data["cell"]) if "cell" in data else set()
    cells = {cell: style for cell, style in picked.cells.items() if cell.label in shown}
    with debug_mode(False):  # every channel checked against the schema takes longer than drawing
        marks = kind.marks(data, picked)
    return make(f"{name}-{picked.task.slug}", caption, marks, cells)


def make(name: str, caption: str, marks: alt.TopLevelMixin, cells: Cells | None = None) -> Chart:
    """A chart of these marks. cells: that can be switched, the best first."""
    alternative = caption.split(". ")[0].rstrip(".")
    first = _labels(cells or ())[:SHOWN]
    spec = marks.to_dict(validate=False)
    spec["datasets"] = _named(spec)
    spec["config"] = CONFIG
    spec["description"] = alternative
    if cells:
        spec["params"] = [{"name": "shown", "value": first}, *spec.get("params", [])]
        if len(cells) > SHOWN:
            caption = (
                f"{caption.rstrip()} Drawn: {SHOWN} of {len(cells)} cells; the others are switched "
                f"on in the legend of the page."
            )
    return Chart(name, caption, alternative, spec, cells or {})


def _named(node: Any) -> dict[str, Any]:
    """Name → data, taken out of a description whose marks then name them: what several marks show
    stands there once.
    """
    found: dict[str, Any] = {}

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "values" in node.get("data", {}):
                values = node["data"]["values"]
                name = next((of for of, known in found.items() if known == values), None)
                name = name or f"rows{len(found)}"
                found[name] = values
                node["data"] = {"name": name}
            node = list(node.values())
        if isinstance(node, list):
            for one in node:
                walk(one)

    walk(node)
    return found


@cache
def script() -> bytes:
    """Vega, Vega-Lite and Vega-Embed in one file for a page without network."""
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return bundle.encode()


def rows(frame: pd.DataFrame) -> alt.Data:
    """Data in a description: numbers short, none for what is not finite."""
    records = frame.to_dict("records")
    return alt.Data(values=[{key: _short(of) for key, of in row.items()} for row in records])


def _short(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def dressed(cells: Iterable[Variant]) -> Cells:
    """These cells with what they look like in pictures that are read together."""
    shown = list(cells)
    known = styles(map(str, shown))
    return {cell: known[str(cell)] for cell in shown}


def legend(cells: Cells, line: bool = False, most: int = SHOWN) -> alt.Legend:
    """Of those that are drawn. line: as lines; most: so many at first."""
    shown = _labels(cells)[:most]
    style = {"symbolType": "stroke", "symbolSize": 300, "symbolStrokeWidth": 2.2} if line else {}
    columns = max(1, LETTERS // (max(map(len, shown), default=1) + 6))
    return alt.Legend(title=None, values=shown, symbolOpacity=1, columns=columns, **style)


def colour(cells: Cells, shown: bool = True, line: bool = False) -> alt.Color:
    """The colour of a cell. shown: with a legend, of lines where cells are drawn as such."""
    scale = alt.Scale(domain=_labels(cells), range=[style.colour for style in cells.values()])
    return alt.Color("cell:N", scale=scale, legend=legend(cells, line) if shown else None)


def dash(cells: Cells, shown: bool = True) -> alt.StrokeDash:
    scale = alt.Scale(domain=_labels(cells), range=[dashes(style) for style in cells.values()])
    known = legend(cells, line=True) if shown else None
    return alt.StrokeDash("cell:N", scale=scale, legend=known)


def dashes(style: Style) -> list[float]:
    """The dashes of a line that is 1.6 pixels wide."""
    return [1, 0] if style.dash == "-" else [1.6 * part for part in style.dash[1]]


def shape(cells: Cells, shown: bool = True) -> alt.Shape:
    forms = [SHAPES[style.marker] for style in cells.values()]
    scale = alt.Scale(domain=_labels(cells), range=forms)
    return alt.Shape("cell:N", scale=scale, legend=legend(cells) if shown else None)


def _labels(cells: Iterable[Variant]) -> list[str]:
    return [cell.label for cell in cells]


def row_of(cells: Iterable[Variant]) -> alt.Y:
    """A row for each cell, the best on top."""
    return alt.Y("cell:N", sort=_labels(cells), title=None, axis=alt.Axis(grid=True, ticks=False))


def scaled(span: Span, **options: Any) -> alt.Scale:
    """An axis of scores."""
    if span.high is not None:
        options |= {"domain": [span.low, span.high], "nice": False}
    if span.kind == "linear":
        options["zero"] = False
    return alt.Scale(type=span.kind, **options)


def numbers(kind: str) -> alt.Axis:
    """Of scores: few labels on a logarithmic axis."""
    return alt.Axis(format="~g", tickCount=5) if kind == "log" else alt.Axis()


def whole_steps() -> alt.Axis:
    """No step is half one."""
    return alt.Axis(format=",d", tickMinStep=1)


def told(*columns: str) -> list[alt.Tooltip]:
    """What stands beside the pointer: columns, each with its type, `score:Q`. (Texts alone would
    be looked up in the schema for each mark, which takes longer than drawing it.)
    """
    return [alt.Tooltip(column) for column in columns]


def marked(levels: Mapping[str, float], along: str = "y") -> list[alt.Chart]:
    """The memoryless baseline, dashed, and the target, dotted, as layers. along: their axis."""
    made = []
    for name, dash_of in (("without memory", [6, 3]), ("target", [1, 2])):
        if name in levels:
            data = rows(pd.DataFrame([{"level": levels[name], "name": name}]))
            rule = alt.Chart(data).mark_rule(color=GREY, strokeDash=dash_of, clip=True)
            made.append(rule.encode(**{along: "level:Q", "tooltip": told("name:N", "level:Q")}))
    return made


def layered(
    *layers: alt.Chart, title: str, height: Any = HEIGHT, width: int = WIDTH, zoom: str = "xy"
) -> alt.LayerChart:
    """One panel. zoom: the axes along which one drags it, and zooms it by shift and wheel."""
    first, *others = layers
    if zoom:
        axes = alt.selection_interval(
            bind="scales", zoom="wheel![event.shiftKey]", name="zoom", encodings=list(zoom)
        )
        first = first.add_params(axes)
    return alt.layer(first, *others).properties(width=width, height=height, title=title)
