"""The report's part about a study: its question, its claims, the figures over lengths; and nothing
of it for runs of no study.
"""

import csv
import io

import numpy as np
import pytest
from synthetic import make_study
from test_report import checked, report_of
from test_verdicts import SPREAD, claim, runs
from test_verdicts import study as known

from rnnbench.charts import figures, lengths
from rnnbench.charts.drawing import WORDS
from rnnbench.claims.judging import counted, judge
from rnnbench.report import studied
from rnnbench.report.forest import ROWS, forests
from rnnbench.runs.frame import load
from rnnbench.stats.selection import study

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


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(studied, "of_label", {"s": known(*CLAIMS)}.get)
    monkeypatch.setattr(
        figures, "image", lambda figure, kind: b'<svg viewBox="0 0 9 9"><g id="a"/></svg>'
    )


def test_runs_of_a_study_come_with_its_claims(frame, told):
    files = report_of(frame)
    checked(files["index.html"])
    text = files["report.md"]
    assert (
        text.index("Which?")
        < text.index("## 2. Claims and verdicts")
        < text.index("## 3. Leaderboard")
    )
    assert {
        "tables/claims.csv",
        "tables/claims.tex",
        "tables/cases.csv",
        "figures/claims.svg",
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
    first = judged[0].cases[0]
    assert float(cases[0]["effect"]) == pytest.approx(first.answer.effect) and float(
        cases[0]["p"]
    ) == pytest.approx(first.p, rel=1e-6)
    assert (
        float(cases[0]["effect_low"]) < float(cases[0]["effect"]) < float(cases[0]["effect_high"])
    )


def test_runs_of_no_study_have_no_claims(frame, told):
    files = report_of(frame.assign(study="other"))
    assert "Claims and verdicts" not in files["report.md"] and "tables/claims.csv" not in files
    assert report_of(frame)["report.md"] == report_of(frame)["report.md"]


def test_variants_do_not_hide_runs_from_filters(frame, told):
    """A report gives variants of a task names of their own; claims still mean the task."""
    two = frame.copy()
    two.loc[two["seed"] > 2, "task.length"] = 70
    solves = claim("share", where={"task": "copy"}, metric="solved", all=True)
    parts = studied.claims(study(two, None), [known(solves)])
    (part,) = [p for p in parts if getattr(p, "name", "") == "cases" and hasattr(p, "groups")]
    assert part.groups[0].rows[0][5].text == "6 / 6"


def test_a_figure_of_claims_shows_every_case_with_its_verdict():
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
    (figure,) = forests(made)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["B gru", "B mgu"]
    markers = [line.get_marker() for line in axes.get_lines() if line.get_marker() != "None"]
    assert markers == ["o", "X"]
    many = judge(frame, known(*[claim("better", id=f"B{k}") for k in range(ROWS + 1)]))
    assert [len(figure.axes[0].get_yticklabels()) for figure in forests(many)] == [ROWS, 1]
    assert forests(judge(frame, known(claim("equal", x={"cell": "none"})))) == []


def by_length(frame):
    return lengths.by_length(study(frame, None))


def test_shares_and_times_over_lengths(frame):
    assert by_length(frame) == {}
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
    ((task, lines),) = by_length(own).items()
    assert task == "copy" and {cell: list(of) for cell, of in lines.items()} == {
        "gru": [20.0, 50.0],
        "lstm": [20.0, 50.0],
    }
    solved = {
        line.get_label(): line
        for line in figures.solved_by_length(task, lines).axes[0].get_lines()
        if not line.get_label().startswith("_")
    }
    assert list(solved["gru"].get_ydata()) == [1, 1] and list(solved["lstm"].get_ydata()) == [
        1,
        0.2,
    ]
    times = [
        line
        for line in figures.times_by_length(task, lines).axes[0].get_lines()
        if line.get_marker() == r"$\uparrow$"
    ]
    assert [len(line.get_xdata()) for line in times] == [0, 1]
    assert figures.times_by_length(task, {"lstm": {50.0: lines["lstm"][50.0]}}) is None


def test_many_cells_have_a_panel_each():
    names = [f"lstm init=orthogonal forget_bias={k}" for k in range(9)]
    own = runs(
        *[
            ({"cell": name, "task.length": length}, 0.5 + SPREAD[:5])
            for name in names
            for length in (20, 50)
        ],
        solved=True,
        solved_at=60.0,
    )
    ((task, lines),) = by_length(own).items()
    titles = [axes.get_title() for axes in figures.solved_by_length(task, lines).axes]
    assert [title.replace("\n", " ") for title in titles] == names
    assert max(len(line) for title in titles for line in title.split("\n")) <= WORDS
