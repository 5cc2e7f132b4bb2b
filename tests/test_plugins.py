"""A section of the report, a kind of chart and a kind of claim from a package that is not ours: a
file each, found by an entry point.
"""

import sys

import pytest
from synthetic import make_study
from test_report import quick, report_of  # noqa: F401

from rnnbench import plugins
from rnnbench.claims.design import read
from rnnbench.claims.judging import judge
from rnnbench.errors import UserError
from rnnbench.runs.frame import load

SECTION = """
from rnnbench.report.section import Section
from rnnbench.report.table import COUNT, TEXT, Column, Table


def parts(results, task):
    columns = [
        Column("cell", lambda sample: sample.cell, TEXT),
        Column("layers", lambda sample: int(sample.best["model.layers"].iloc[0]), COUNT),
    ]
    rows = results.ordered(task)
    yield Table(f"depth-{task.slug}", "How deep", columns, rows, cell=lambda sample: sample.cell)


DEPTH = Section("Depth", "task", 15, parts)
"""
CHART = """
import altair as alt
import pandas as pd

from rnnbench.charts import chart


def data(picked):
    seconds = [sample.best["seconds_train"].median() for sample in picked.samples]
    return pd.DataFrame({"cell": [cell.label for cell in picked.cells], "seconds": seconds})


def marks(data, picked):
    base = alt.Chart(chart.rows(data)).transform_filter(chart.ON)
    return base.mark_bar().encode(x="seconds:Q", y=chart.row_of(picked.cells))


def caption(data, picked):
    return "seconds of training"


SECONDS = chart.Kind(99, data, marks, caption)
"""
CLAIM = '''
from rnnbench.claims.answer import Answer, Words
from rnnbench.claims.kind import Kind
from rnnbench.claims.selection import side


def smaller(frame, claim, case):
    """Parameters are counted, not estimated: p is 0 or 1."""
    sides = [side(frame, claim.where, case, one) for one in (claim.x, claim.y)]
    x, y = (one.runs["params"].median() for one in sides)
    few = x * claim.options["factor"] < y
    return Answer(
        measure="parameters",
        test="count",
        effect=x - y,
        n=(1, 1),
        p=0.0 if few else 1.0,
        against=1.0,
        facts=f"{x:.0f} beside {y:.0f}",
        words=Words("fewer parameters", "", "", "not fewer"),
    )


SMALLER = Kind(smaller, ("x", "y", "factor"), learns=False)
'''
STUDY = """
question: 'Which is smaller?'
parts:
  all: {sweep: [task=adding]}
scales: {smoke: {}, small: {}, paper: {}}
claims:
  S1: {kind: smaller, says: GRU is smaller, source: us, x: {cell: tanh}, y: {cell: lstm}, factor: 2}
"""
POINTS = """
[rnnbench.report.sections]
depth = theirs_section:DEPTH

[rnnbench.charts.kinds]
seconds = theirs_chart:SECONDS

[rnnbench.claims.kinds]
smaller = theirs_claim:SMALLER
"""


def installed(place, monkeypatch, points):
    """A package that pip would have put there."""
    for name, text in (("section", SECTION), ("chart", CHART), ("claim", CLAIM)):
        (place / f"theirs_{name}.py").write_text(text)
    info = place / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(place))
    plugins.found.cache_clear()


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    place = tmp_path / "site"
    place.mkdir()
    installed(place, monkeypatch, POINTS)
    yield
    plugins.found.cache_clear()
    for name in ("theirs_section", "theirs_chart", "theirs_claim"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    place = tmp_path_factory.mktemp("plugins") / "s"
    return load(make_study(place, ("lstm", "tanh"), ("adding",), range(5), (0.005,)))


def test_a_section_and_a_chart_from_outside_are_in_the_report(theirs, frame, quick):  # noqa: F811
    files = report_of(frame)
    assert "| lstm | 1 |" in files["report.md"] and "### Depth" in files["report.md"]
    assert files["tables/depth-adding.csv"].splitlines()[0] == "cell,layers"
    assert "figures/seconds-adding.svg" in files
    page = files["task-adding.html"]
    assert page.index("How deep") < page.index("figure-scores-adding")
    assert page.index("figure-wins-adding") < page.index("figure-seconds-adding")


def test_a_kind_of_claim_from_outside_is_judged(theirs, frame, tmp_path):
    (tmp_path / "mine.yaml").write_text(STUDY)
    asked = read(str(tmp_path / "mine.yaml"), "small")
    (found,) = judge(frame.assign(study="mine"), asked)
    assert found.verdict == "reproduced" and "fewer parameters" in found.sentence
    (tmp_path / "mine.yaml").write_text(STUDY.replace(", factor: 2", ""))
    with pytest.raises(UserError, match="factor is missing"):
        read(str(tmp_path / "mine.yaml"), "small")


def test_without_it_the_report_is_ours(frame, quick):  # noqa: F811
    assert "### Depth" not in report_of(frame)["report.md"]


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ("depth = theirs_section:parts", "must be a rnnbench.report.section.Section"),
        ("depth = nowhere:X", "cannot be loaded"),
    ],
)
def test_what_cannot_be_used_is_named(point, told, tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch, f"[rnnbench.report.sections]\n{point}\n")
    with pytest.raises(UserError, match=told):
        plugins.found("rnnbench.report.sections", "SECTION")
    plugins.found.cache_clear()
