"""A cell with two names is ranked once; one that starts otherwise is a cell of its own."""

import pandas as pd
import pytest
from synthetic import make_study
from test_report import quick  # noqa: F401
from test_verdicts import claim
from test_verdicts import study as known

from rnnbench.claims.judging import judge
from rnnbench.report import render
from rnnbench.report.results import Results
from rnnbench.runs.frame import load
from rnnbench.stats import selection, twins

CELLS = ("lstm", "np", "lstm_b", "relu", "irnn")


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    place = tmp_path_factory.mktemp("twins") / "s"
    return load(str(make_study(place, CELLS, ("adding",), range(3), (5e-3,))))


def labels(cells):
    return [cell.label for cell in cells]


def test_the_same_equations_with_the_same_start_are_one_cell(frame):
    made = twins.once(selection.study(frame, "lstm"))
    assert labels(made.cells) == ["lstm", "irnn", "lstm_b", "relu"]
    assert {result.cell.label for result in made.samples} == {"lstm", "irnn", "lstm_b", "relu"}
    assert len(made.frame) == len(frame)
    text = twins.said(made)
    assert "Counted once, for the same equations and the same start: np is lstm." in text
    assert "another start: lstm and lstm_b; irnn and relu." in text
    other = twins.once(selection.study(frame, "np"))
    assert labels(other.cells) == ["np", "irnn", "lstm_b", "relu"]


def test_a_second_name_counts_where_the_first_has_no_result(frame):
    apart = frame.assign(task=frame["task"].mask(frame["cell"] == "np", "elsewhere"))
    assert "np" in labels(twins.once(selection.study(apart, "lstm")).cells)


def test_another_start_makes_two_cells_of_them(frame):
    """`init=paper` is another start for either name; what it would mean is none where it is not
    asked for.
    """
    init = frame["cell.init"].mask(frame["cell"] == "np", "paper")
    made = twins.once(selection.study(frame.assign(**{"cell.init": init}), "lstm"))
    assert "np" in labels(made.cells)


def test_no_comparison_is_of_a_cell_with_itself(frame, quick):  # noqa: F811
    """Families, wins, ranks, claims."""
    tasks = [frame.assign(task=f"t{k}", id=frame["id"] + str(k)) for k in range(5)]
    made = selection.study(pd.concat(tasks, ignore_index=True), "lstm")
    results = Results(twins.once(made))
    compared = [*results.against_baseline, *results.against_best.values()]
    assert "np" not in {one.label for found in compared for one in (found.x.cell, found.y.cell)}
    assert len(results.ranks.average) == 4 and not results.ranks.why
    text = b"".join(render.rendered(results)[name] for name in ("index.html", "report.md"))
    assert b"np is lstm" in text and b'data-cell="np"' not in text
    one, other = (frame[frame["cell"] == name] for name in ("np", "lstm"))
    assert twins.same(one, other) and not twins.same(one, one)
    asked = known(claim("equal", x={"cell": "np"}, y={"cell": "lstm"}))
    (judged,) = judge(frame, asked)
    assert "one function under two names" in judged.sentence


def test_no_code_of_a_stranger_is_read(frame):
    own = frame.assign(**{"cell.step": "somewhere/evil.py:lstm", "cell.digest": "abc"})
    assert twins.equations(own) == "somewhere/evil.py:lstm abc ()"
    gone = frame.assign(**{"cell.step": "rnnbench.cells.gone.lstm"})
    assert twins.equations(gone).startswith("rnnbench.cells.gone.lstm")
