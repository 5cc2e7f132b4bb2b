"""The report's part about a study: its question, its claims, the charts over lengths; and nothing
of it for runs of no study.
"""

import csv
import io

import numpy as np
import pytest
from synthetic import make_study
from test_report import column, quick, report_of  # noqa: F401
from test_verdicts import SPREAD, claim, runs
from test_verdicts import study as known

from rnnbench.charts import across, chart
from rnnbench.charts.chart import Chart
from rnnbench.claims.judging import counted, judge
from rnnbench.report.results import Results
from rnnbench.report.sections import claims, lengths
from rnnbench.report.table import Table
from rnnbench.runs.frame import load
from rnnbench.stats.selection import Variant, study

CLAIMS = (
    claim(
        "better",
        id="A1",
        where={"task": "adding"},
        each={"cell": ("gru", "tanh")},
        x={},
        margin="5%",
        holds="any",
        published="0.9 | 0.8",
    ),
    claim("equal", id="A2", where={"task": "copy"}, differs="<b>shorter</b>"),
    claim("share", id="A3", where={"task": "copy"}, metric="solved", all=True),
    claim("within", id="A4", where={"task": "copy"}, x={"cell": "mgu"}, range=(0.0, 1.0)),
)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    return load(
        make_study(
            tmp_path_factory.mktemp("study") / "s",
            ("lstm", "gru", "tanh"),
            ("adding", "copy"),
            range(6),
            (0.005,),
        )
    )


def test_runs_of_a_study_come_with_its_claims(frame, quick):  # noqa: F811
    files = report_of(frame, known=[known(*CLAIMS)])
    text = files["report.md"]
    assert text.index("## Answer") < text.index("Which?") < text.index("### Claims and verdicts")
    assert {
        "tables/claims.csv",
        "tables/claims.tex",
        "tables/cases.csv",
        "figures/claims.svg",
        "claims.html",
    } <= files.keys()
    judged = judge(frame, known(*CLAIMS))
    assert counted(judged) in text and counted(judged).startswith("Of 4 claims, ")
    rows = list(csv.DictReader(io.StringIO(files["tables/claims.csv"])))
    assert [(row["claim"], row["verdict"]) for row in rows] == [
        (one.claim.id, one.verdict) for one in judged
    ]
    assert "no run has task=copy and cell=mgu" in rows[3]["sentence"]
    cases = list(csv.DictReader(io.StringIO(files["tables/cases.csv"])))
    assert [row["case"] for row in cases] == ["A1 gru", "A1 tanh", "A2", "A3", "A4"]
    first, row = judged[0].cases[0], cases[0]
    assert float(row["effect"]) == pytest.approx(first.answer.effect)
    assert float(row["p"]) == pytest.approx(first.p, rel=1e-6)
    assert float(row["effect_low"]) < float(row["effect"]) < float(row["effect_high"])


def test_runs_of_no_study_have_no_claims(frame, quick):  # noqa: F811
    files = report_of(frame.assign(study="other"))
    assert "Claims and verdicts" not in files["report.md"]
    assert not {"tables/claims.csv", "claims.html"} & files.keys()
    assert "claims.html" not in files["index.html"]


def test_variants_do_not_hide_runs_from_filters(frame):
    """A report gives variants of a task names of their own; claims still mean the task."""
    two = frame.copy()
    two.loc[two["seed"] > 2, "task.length"] = 70
    solves = claim("share", where={"task": "copy"}, metric="solved", all=True)
    parts = claims.parts(Results(study(two, None), [known(solves)]))
    (part,) = [p for p in parts if isinstance(p, Table) and p.name == "cases"]
    assert column(part, "n").entry(part.rows[0]).text == "6 / 6"


def test_a_chart_of_claims_shows_every_case_with_its_verdict():
    frame = runs(
        *[
            ({"cell": cell}, 0.5 + shift + SPREAD)
            for cell, shift in (("gru", 0.2), ("lstm", 0.0), ("mgu", -0.2))
        ]
    )
    made = judge(
        frame,
        known(
            claim("better", id="B", each={"cell": ("gru", "mgu")}, x={}),
            claim("equal", id="E", x={"cell": "none"}),
        ),
    )
    (drawn,) = claims.forests("claims", "s", made)
    assert isinstance(drawn, Chart) and drawn.name == "claims"
    shown = drawn.spec["datasets"][drawn.spec["layer"][0]["data"]["name"]]
    assert [(row["case"], row["verdict"]) for row in shown] == [
        ("B gru", "reproduced"),
        ("B mgu", "contradicted"),
    ]
    assert b"B mgu" in drawn.svg
    many = judge(frame, known(*[claim("better", id=f"B{k}") for k in range(claims.ROWS + 1)]))
    pages = list(claims.forests("claims", "s", many))
    names = [page.spec["layer"][0]["data"]["name"] for page in pages]
    sizes = [len(page.spec["datasets"][name]) for page, name in zip(pages, names, strict=True)]
    assert sizes == [claims.ROWS, 1]
    none = judge(frame, known(claim("equal", x={"cell": "none"})))
    assert list(claims.forests("claims", "s", none)) == []


def test_shares_and_times_over_lengths(frame):
    assert lengths.by_length(study(frame, None)) == {}
    groups = [
        ({"cell": cell, "task.length": length}, 0.5 + SPREAD)
        for cell in ("gru", "lstm")
        for length in (20, 50)
    ]
    own = runs(
        *groups,
        solved=True,
        solved_at=60.0,
        target=0.4,
        **{"task.name": "copy", "cell.name": "gru"},
    )
    own = own.assign(**{"cell.name": own["cell"]})
    lost = (own["cell"] == "lstm") & (own["task.length"] == 50) & (own["seed"] > 1)
    own.loc[lost, ["solved", "solved_at"]] = [False, np.nan]
    ((task, lines),) = lengths.by_length(study(own, None)).items()
    assert task == Variant("copy")
    assert {cell.name: list(of) for cell, of in lines.items()} == {
        "gru": [20.0, 50.0],
        "lstm": [20.0, 50.0],
    }

    def values(drawn, cell):
        (rows,) = drawn.spec["datasets"].values()
        return {row["length"]: row["value"] for row in rows if row["cell"] == cell}

    cells = chart.dressed(lines)
    solved = across.solved_by_length(task, lines, cells)
    assert values(solved, "gru") == {20: 1, 50: 1} and values(solved, "lstm") == {20: 1, 50: 0.2}
    assert solved.name == "solved-copy" and b"<svg" in solved.svg
    times = across.times_by_length(task, lines, cells)
    (rows,) = times.spec["datasets"].values()
    beyond = [row for row in rows if row["beyond"]]
    assert [(row["cell"], row["length"], row["reached"]) for row in beyond] == [
        ("lstm", 50, "2 of 10")
    ]
    lstm = Variant("lstm")
    short = {lstm: {50.0: lines[lstm][50.0]}}
    assert across.times_by_length(task, short, chart.dressed(short)) is None
