"""A cell of the user's own stands beside ours, and nothing stands under a name that is not its."""

import pytest
from synthetic import invent, leave

import rnnbench
from rnnbench import compose
from rnnbench.errors import UserError
from rnnbench.runs.records import run_id
from rnnbench.stats.selection import identified
from rnnbench.sweep import launch

MINE = """
from torch import tanh

def mine(W, R, b, x, h):
    return tanh(W.h @ x + R.h @ h + b.h)

def lstm(W, R, b, x, h):
    return tanh(W.h @ x + R.h @ h + b.h)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a cell of one's own, where commands are typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.fixture
def sweep(monkeypatch):
    """sweep("cell=lstm,gru") → the jobs that `train -m` would launch."""
    made = []
    monkeypatch.setattr(launch, "launch", lambda jobs, options, command: made.extend(jobs))

    def run(line):
        made.clear()
        compose.run(["-m", *line.split()], pytest.fail, pytest.fail)
        return list(made)

    return run


@pytest.mark.parametrize(
    "typed", ["mine.py:mine", "./mine.py:mine", "choice(lstm,gru,mine.py:mine)", "'mine.py:mine'"]
)
def test_one_sweep_holds_ours_and_a_file(sweep, typed):
    listed = typed if "(" in typed else f"lstm,gru,{typed}"
    jobs = sweep(f"cell={listed} seed=0,1 debug=tiny")
    assert [job.settings.cell.name for job in jobs] == ["lstm"] * 2 + ["gru"] * 2 + ["mine"] * 2
    own = jobs[-1].settings.cell
    assert own.step.endswith("mine.py:mine") and own.digest and own.forget is None
    for job in jobs:  # alone they are the same runs
        assert run_id(compose.compose(list(job.overrides))) == run_id(job.settings)


def test_one_run_of_a_file(sweep):
    settings = compose.compose(["cell=mine.py:mine", "cell.init=glorot"])
    assert settings == compose.compose(["cell.step=mine.py:mine", "cell.init=glorot"])
    assert (
        sweep("cell=mine.py:mine seed=3")[0].settings.cell
        == compose.compose(["cell=own", "cell.step=mine.py:mine"]).cell
    )


@pytest.mark.parametrize("line", ["cell=lstm,gru,own", "cell=own,lstm", "cell=lstm"])
def test_equations_are_not_recorded_under_another_cells_name(sweep, line):
    with pytest.raises(UserError) as refused:
        sweep(f"{line} cell.step=mine.py:mine")
    said = str(refused.value)
    assert "cell.step=mine.py:mine" in said and "cell=lstm" in said
    assert "rnnbench.cells.lstm.lstm" in said and "write cell=mine.py:mine" in said


def test_a_file_cannot_take_a_name_of_ours(sweep):
    jobs = sweep("cell=lstm,mine.py:lstm")
    assert [job.settings.cell.name for job in jobs] == ["lstm", "mine-lstm"]
    ours = compose.compose(["cell=own", "cell.step=rnnbench.cells.rnn.tanh"])
    assert ours.cell.name == "tanh"  # these are its equations


def test_two_files_do_not_share_a_name(sweep, place):
    (place / "other.py").write_text(MINE.replace("tanh(", "2 * tanh("))
    with pytest.raises(UserError, match=r"mine\.py:mine and other\.py:mine are both called 'mine'"):
        sweep("cell=mine.py:mine,other.py:mine")
    (place / "copy.py").write_text(MINE)
    assert len(sweep("cell=mine.py:mine,copy.py:mine")) == 2  # one cell, wherever its file lies


def test_a_file_twice_named_is_refused(sweep):
    with pytest.raises(UserError, match="says already"):
        sweep("cell=lstm,mine.py:mine cell.step=mine.py:mine")


def test_an_edited_file_is_a_row_of_its_own(place):
    """Two versions of a file are two cells, wherever the file lay."""
    import numpy as np

    rng = np.random.default_rng(0)
    for times, text in enumerate((MINE, MINE, MINE.replace("tanh(", "2 * tanh("))):
        (place / f"{times}.py").write_text(text)
        for seed in range(2):
            run = compose.compose(
                [f"cell={times}.py:mine", f"seed={seed + 2 * times}", "task=adding"]
            )
            leave(place / "runs" / "default", *invent(run, 0.8, rng))
    names = identified(rnnbench.load(place / "runs"))["cell"].map(str)
    assert sorted(names.value_counts()) == [2, 4]
    assert all(name.startswith("mine digest=") for name in names)
