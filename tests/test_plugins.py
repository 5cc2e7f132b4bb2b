"""One of each that anybody can add, a file each, from outside the package: a cell, a task, an
optimiser and an engine in one run; a section of the report, a kind of chart and a kind of claim.
"""

import shlex
import sys
from dataclasses import replace

import pytest
import torch
from omegaconf import OmegaConf
from synthetic import make_study
from test_report import quick, report_of  # noqa: F401

from rnnbench import cli, plugins
from rnnbench.claims.design import read
from rnnbench.claims.judging import judge
from rnnbench.compose import compose, run
from rnnbench.engine.optimizers import Optimizer
from rnnbench.errors import UserError
from rnnbench.runs.command import command
from rnnbench.runs.frame import load
from rnnbench.runs.records import Folder, run_id
from rnnbench.sweep import launch
from rnnbench.tools.opening import open_run, trusting

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


SECONDS = chart.ChartKind(99, data, marks, caption)
"""
CLAIM = '''
from rnnbench.claims.answer import Answer, Words
from rnnbench.claims.kind import ClaimKind
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


SMALLER = ClaimKind(smaller, ("x", "y", "factor"), learns=False)
'''
STUDY = """
question: 'Which is smaller?'
parts:
  all: {sweep: [task=adding]}
scales: {smoke: {}, small: {}, paper: {}}
claims:
  S1: {kind: smaller, says: GRU is smaller, source: us, x: {cell: tanh}, y: {cell: lstm}, factor: 2}
"""
OPTIMISER = """
from rnnbench.engine.rule import Rule


def update(parameters, gradient, rate, state, given):
    mean = state["mean"].lerp_(gradient, given["fresh"])
    parameters.addcmul_(mean.sign(), -rate)


def derive(numbers):
    return {"fresh": [1 - beta for beta in numbers["beta"]]}


SIGNS = Rule(update, constants={"beta": 0.9}, buffers=("mean",), derive=derive)
"""
WRONG = """from rnnbench.engine.rule import Rule


def update(parameters, gradient, rate, state, given):
    parameters -= given["speed"] * gradient


WRONG = Rule(update)
"""
ENGINE = """
from rnnbench.engine import loop
from rnnbench.engine.unroller import Unroller

CALLS = []


def unroll(plan, params, x, state):
    CALLS.append(len(x))
    return loop.unroll(plan, params, x, state)


def why_not(plan, dtype, device):
    return "it adds vectors, no matrices" if plan.program.function.__name__ == "gru" else None


SLOW = Unroller(unroll, why_not)
"""
MODEL = """
from dataclasses import dataclass

import numpy as np
from torch import tanh

from rnnbench.tasks.contract import Batch, Generated


def mine(W, R, b, x, h):
    return tanh(W.h @ x + R.h @ h + b.h)


@dataclass(frozen=True)
class Sums(Generated):
    \"\"\"Add five numbers.\"\"\"

    loss = "mse"
    metric = "mse"
    goal = "min"
    inputs = 1
    outputs = 1
    baseline = {"mse": 5.0}

    def sample(self, rng, size):
        x = rng.standard_normal((5, size, 1)).astype(np.float32)
        return Batch(x, x.sum(0), last=True)
"""
FILES = {
    "section": SECTION,
    "chart": CHART,
    "claim": CLAIM,
    "optimiser": OPTIMISER,
    "engine": ENGINE,
}
POINTS = """
[rnnbench.engine.rules]
signs = theirs_optimiser:SIGNS

[rnnbench.engine.unrollers]
slow = theirs_engine:SLOW

[rnnbench.report.sections]
depth = theirs_section:DEPTH

[rnnbench.charts.kinds]
seconds = theirs_chart:SECONDS

[rnnbench.claims.kinds]
smaller = theirs_claim:SMALLER
"""


def installed(place, monkeypatch, points):
    """A package that pip would have put there."""
    for name, text in FILES.items():
        (place / f"theirs_{name}.py").write_text(text)
    info = place / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(place))
    forget()


def forget():
    plugins.found.cache_clear()
    plugins._points.cache_clear()


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    place = tmp_path / "site"
    place.mkdir()
    installed(place, monkeypatch, POINTS)
    yield
    forget()
    for name in FILES:
        sys.modules.pop(f"theirs_{name}", None)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    place = tmp_path_factory.mktemp("plugins") / "s"
    return load(make_study(place, ("lstm", "tanh"), ("adding",), range(5), (0.005,)))


LINE = (
    "cell=model.py:mine task=model.py:Sums model.hidden=4 train.steps=6 train.batch=3 "
    "train.eval_every=3 train.eval_limit=1 optim.lr=0.01"
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with files of one's own, where commands are typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "optimiser.py").write_text(OPTIMISER)
    (tmp_path / "wrong.py").write_text(WRONG)
    return tmp_path


def only_record(place):
    (found,) = place.glob("results/**/record.json")
    return Folder(found.parent), Folder(found.parent).record()


def test_one_run_of_a_cell_a_task_an_optimiser_and_an_engine_from_outside(theirs, here):
    typed = [*LINE.split(), "optim=signs", "engine=slow", "paths.results=results"]
    assert cli.main(["train", *typed]) == 0
    _, record = only_record(here)
    assert record["engine"] == "slow" and record["settings"]["optim"]["name"] == "signs"
    assert record["cell"] == "mine" and record["task"] == "Sums"
    assert sum(sys.modules["theirs_engine"].CALLS) >= 6  # as many steps


def test_its_update_is_the_one_that_trains(theirs):
    settings = compose(["optim=signs", "optim.lr=0.01", "optim.constants.beta=0.5"])
    other = replace(settings.optim, constants={}, clip_norm=None)
    start = torch.arange(6.0).view(2, 3)
    optimizer = Optimizer([replace(settings.optim, clip_norm=None), other], start.clone())
    mean = torch.zeros(2, 3)
    expected = start.clone()
    for step in range(3):
        gradient = torch.tensor([[1.0, -2, 0.1], [3, -1, -0.1]]) * (-2.0) ** step
        optimizer.step([gradient.clone()], torch.tensor([0.01, 0.1]), torch.zeros(2))
        mean += torch.tensor([[0.5], [1 - 0.9]]) * (gradient - mean)
        expected -= torch.tensor([[0.01], [0.1]]) * mean.sign()
    assert torch.allclose(optimizer.parameters, expected)


def test_an_optimiser_of_a_file_is_its_content_and_travels_with_the_run(here):
    typed = [*LINE.split(), "optim=optimiser.py:SIGNS"]
    assert cli.main(["train", *typed, "paths.results=results"]) == 0
    folder, record = only_record(here)
    assert record["settings"]["optim"]["digest"]
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "optimiser.py").write_text(OPTIMISER)
    moved = compose([*LINE.split(), "optim=elsewhere/optimiser.py:SIGNS"])
    again = compose(shlex.split(command(record["settings"]))[2:])
    assert run_id(again) == record["id"]
    assert run_id(moved) == record["id"]
    (here / "optimiser.py").write_text(OPTIMISER + "\nraise SystemExit('was run')\n")
    assert open_run(folder.path).settings.optim.name.startswith(str(folder.path))
    (folder.path / "source" / "optimiser.py").unlink()
    with trusting(False), pytest.raises(UserError, match="would run with your rights"):
        open_run(folder.path)


def test_a_stranger_s_optimiser_and_engine_are_not_loaded(here):
    typed = ["cell=tanh", "task=adding", *LINE.split()[2:], "paths.results=r"]
    assert cli.main(["train", *typed]) == 0
    (found,) = here.glob("r/**/config.yaml")
    (here / "evil.py").write_text("raise SystemExit('was run')")
    values = OmegaConf.load(found)
    for section in ("optim", "engine"):
        bad = OmegaConf.merge(values, {section: {"name": "evil.py:X"}})
        Folder(found.parent).write_config(OmegaConf.to_container(bad))
        found.with_name("record.json").unlink(missing_ok=True)
        with trusting(False), pytest.raises(UserError, match=rf"{section}\.name=evil.py:X"):
            open_run(found.parent)


def test_a_sweep_holds_ours_and_theirs(theirs, monkeypatch):
    jobs = []
    monkeypatch.setattr(launch, "launch", lambda made, options, command: jobs.extend(made))
    typed = "-m optim=adam,signs optim.lr=0.01 engine=loop,slow cell=tanh"
    run(typed.split(), pytest.fail, pytest.fail)
    names = [(job.settings.optim.name, job.settings.engine.name) for job in jobs]
    assert sorted(names) == [
        ("adam", "loop"),
        ("adam", "slow"),
        ("signs", "loop"),
        ("signs", "slow"),
    ]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("engine=slow cell=gru", "engine=slow: it adds vectors, no matrices"),
        ("engine=slow cell=tcn", "computes the equations of cells"),
        ("optim=signs optim.lr=1 optim.constants.gamma=1", "optim.constants.gamma has no effect"),
        ("optim=adam optim.constants.beta=1", "optim.constants.beta has no effect"),
        ("optim=signs optim.lr=1 ++optim.momentum=0.5", "optim.momentum has no effect"),
        ("optim=signs", "optim.lr has no value"),
        ("optim=own", "optim=own needs optim.name"),
        ("engine=own", "engine=own needs engine.name"),
        ("optim=sings", "unknown optim 'sings'; did you mean 'sgd'"),
        ("optim=nofile.py:X", "no file 'nofile.py'"),
        ("optim=model.py:mine optim.lr=1", "must be a rnnbench.engine.rule.Rule, got a function"),
        ("optim=wrong.py:WRONG optim.lr=1", "optim.name: wrong.py:5: KeyError: 'speed'"),
        ("engine=model.py:mine", "must be a rnnbench.engine.unroller.Unroller"),
    ],
)
def test_what_they_cannot_do_is_one_line(typed, told, theirs, here, capsys):
    assert cli.main(["train", *typed.split(), "train.steps=1"]) == 2
    assert told in capsys.readouterr().err


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
    forget()
