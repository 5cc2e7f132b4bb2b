"""A cell with two names is ranked once; one that starts otherwise is a cell of its own."""

import pandas as pd
import pytest
from synthetic import make_study

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
    made = selection.study(frame, "lstm")
    assert labels(twins.distinct(made)) == ["lstm", "irnn", "lstm_b", "relu"]
    text = twins.said(made)
    assert "Ranked once, for the same equations and the same start: np is lstm." in text
    assert "another start: lstm and lstm_b; irnn and relu." in text
    other = selection.study(frame, "np")
    assert labels(twins.distinct(other)) == ["np", "irnn", "lstm_b", "relu"]


def test_another_start_makes_two_cells_of_them(frame):
    """`init=paper` is another start for either name; what it would mean is none where it is not
    asked for.
    """
    init = frame["cell.init"].mask(frame["cell"] == "np", "paper")
    made = selection.study(frame.assign(**{"cell.init": init}), "lstm")
    assert "np" in labels(twins.distinct(made))


def test_no_code_of_a_stranger_is_read(frame):
    own = frame.assign(**{"cell.step": "somewhere/evil.py:lstm", "cell.digest": "abc"})
    assert twins.equations(own) == "somewhere/evil.py:lstm abc ()"
    gone = frame.assign(**{"cell.step": "rnnbench.cells.gone.lstm"})
    assert twins.equations(gone).startswith("rnnbench.cells.gone.lstm")


def test_ranks_are_of_distinct_cells(frame):
    tasks = [frame.assign(task=f"t{k}", id=frame["id"] + str(k)) for k in range(5)]
    results = Results(selection.study(pd.concat(tasks, ignore_index=True), "lstm"))
    assert labels(results.ranked) == ["lstm", "irnn", "lstm_b", "relu"]
    assert len(results.ranks.average) == 4 and not results.ranks.why
