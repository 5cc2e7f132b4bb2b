"""`rnnbench.train`, `sweep` and `report` do from Python what one types on the command line."""

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rnnbench
from rnnbench import api
from rnnbench.cells.gru import gru
from rnnbench.compose import compose
from rnnbench.errors import UserError
from rnnbench.nn import Predictor
from rnnbench.runs.records import Folder, run_id
from rnnbench.tasks.adding import Adding
from rnnbench.tasks.contract import Batch, Generated
from rnnbench.tools.opening import open_run

QUICK = {
    "train": {"steps": 4, "eval_every": 2, "batch": 5},
    "task.valid_size": 10,
    "task.test_size": 10,
    "model": {"hidden": 4},
    "engine": "loop",
}


@pytest.fixture
def quick(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return QUICK | {"paths.results": str(tmp_path / "runs")}


def test_a_run_is_that_of_the_command_line(quick):
    run = rnnbench.train(cell="gru", task="adding", **{"optim.lr": 0.01}, **quick)
    typed = [
        "cell=gru",
        "task=adding",
        "optim.lr=0.01",
        "train.steps=4",
        "train.eval_every=2",
        "train.batch=5",
        "task.valid_size=10",
        "task.test_size=10",
        "model.hidden=4",
    ]
    assert run.record["id"] == run_id(compose(typed))
    assert Folder(run.folder).record() == run.record
    assert (run.folder / "overrides.yaml").is_file()
    assert isinstance(run.curve, pd.DataFrame)
    assert run.curve["step"].tolist() == [2, 2, 4, 4]
    again = rnnbench.train(cell="gru", task="adding", optim={"lr": 1e-2}, **quick)
    assert again.record == run.record  # not repeated
    assert repr(run).startswith("gru on adding, seed 0: finished, mse ")


@pytest.mark.parametrize(
    ("cell", "task", "layers"), [("lstm", "adding", 2), ("mut1", "memorize", 1)]
)
def test_the_network_predicts_what_the_run_did(quick, cell, task, layers):
    settings = quick | {"model": {"hidden": 4, "layers": layers}}
    run = rnnbench.train(cell=cell, task=task, **settings)
    assert isinstance(run.network, Predictor)
    opened = open_run(run.folder)
    batch = next(opened.feeder.evaluation("test", 10, None))
    expected, _ = opened.network(
        opened.unroll, batch.x, opened.network.zero_state(batch.x.shape[2]), last=False
    )
    torch.testing.assert_close(run.network(batch.x[0])[0], expected[0])


def test_a_notebook_shows_scores_and_a_picture(quick):
    run = rnnbench.train(cell="gru", task="adding", **quick)
    shown = run._repr_html_()
    assert "<td>mse</td>" in shown
    assert "<svg" in shown
    report = rnnbench.report(run)
    assert report.path == run.folder / "report" / "index.html"
    assert "<iframe" in report._repr_html_()


def test_a_notebooks_progress_is_drawn_in_its_place(quick, monkeypatch):
    drawn = []

    class Handle:
        def update(self, thing):
            drawn.append(thing._repr_html_())

    monkeypatch.setattr(api, "_screen", lambda: api.Notebook(lambda thing, display_id: Handle()))
    rnnbench.train(cell="gru", task="adding", **quick)
    assert 'value="4" max="4"' in drawn[-1]
    assert "valid mse" in drawn[-1]


def test_a_sweep_is_a_table(quick):
    table = rnnbench.sweep(
        cell=["tanh", "gru"], task="adding", seed=range(2), study="mine", workers=1, **quick
    )
    assert sorted(zip(table["cell"], table["seed"], strict=True)) == [
        ("gru", 0),
        ("gru", 1),
        ("tanh", 0),
        ("tanh", 1),
    ]
    assert (table["study"] == "mine").all()
    assert rnnbench.sweep.launch.launch  # still a package, too
    assert not callable(getattr(rnnbench.sweep, "nothing", None))


def test_another_thread_may_train(quick):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(rnnbench.train(cell="tanh", task="adding", **quick))
    )
    thread.start()
    thread.join()
    assert found[0].record["status"] == "finished"


# Values, as Hydra reads them


@pytest.mark.parametrize("study", ["plain", "2026_11_26", "1e5", "true", "null"])
def test_texts_stay_texts(quick, study):
    words = api._typed({"cell": "gru", "task": "adding", "study": study} | quick)
    assert compose(words).study == study


@pytest.mark.parametrize("text", ["a b", "it's", "a,b", "x=y", "[1]", "back\\slash", "end\\", "é"])
def test_any_text_arrives(text):
    assert (
        compose(api._typed({"cell": "gru", "task": "adding", "paths.data": text})).paths.data
        == text
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cell": "lsmt", "task": "adding"}, "did you mean 'lstm'"),
        ({"cell": "gru", "task": "adding", "optim": {"lrr": 1}}, "did you mean 'optim.lr'"),
        ({"cell": "gru", "task": "adding", "optim.lr": "fast"}, "must be a number"),
        ({"cell": lambda W, x, h: h, "task": "adding"}, "a name of its own"),
    ],
)
def test_what_cannot_work_is_refused(quick, settings, said):
    with pytest.raises(UserError, match=said):
        rnnbench.train(**(quick | settings))


# Functions and classes of the session

RATE = 0.5
x, z = np.zeros(3), object()  # of the session, and no business of an argument or a local below


def squash(x):
    return torch.tanh(RATE * x)


def leaky(W, R, b, x, h):
    z = torch.sigmoid(W.z @ x + R.z @ h + b.z)
    return z * h + (1 - z) * squash(W.n @ x + R.n @ h + b.n)


@dataclass(frozen=True)
class Sign(Generated):
    """Whether the first number was positive."""

    length: int = 4
    loss, metric, goal, inputs, outputs = "cross_entropy", "accuracy", "max", 1, 2

    @property
    def baseline(self):
        return {"accuracy": 0.5, "nats": 0.693}

    def sample(self, rng, size):
        x = rng.normal(size=(self.length, size, 1)).astype(np.float32)
        return Batch(x, (x[0, :, 0] > 0).astype(np.int64), last=True)


def test_a_cell_and_a_task_of_the_session(quick):
    run = rnnbench.train(cell=leaky, task=Sign, **{"task.length": 3}, **quick)
    assert (run.record["cell"], run.record["task"]) == ("leaky", "Sign")
    kept = {path.name.rpartition("_")[0] for path in (run.folder / "source").iterdir()}
    assert kept == {"leaky", "Sign"}
    for path in (Path(quick["paths.results"]) / ".source").iterdir():
        path.unlink()
    opened = open_run(run.folder)  # the folder is complete
    assert opened.task.length == 3
    x = torch.randn(5, 2, 1)
    layer = run.network.layers

    def blocks(name):
        parts = getattr(layer, f"{name}_l0").detach().chunk(2, -1)
        return dict(zip(layer.columns[name], parts, strict=True))

    W, R, b = blocks("W"), blocks("R0"), blocks("b")
    h = torch.zeros(2, 4)
    for step in x:
        z = torch.sigmoid(step @ W["z"] + h @ R["z"] + b["z"])
        h = z * h + (1 - z) * torch.tanh(0.5 * (step @ W["n"] + h @ R["n"] + b["n"]))
    torch.testing.assert_close(run.network.layers(x)[0][-1], h)
    ours = rnnbench.train(cell=gru, task=Adding, **quick)
    assert (ours.record["cell"], ours.record["task"]) == ("gru", "adding")


# Imports


def test_import_is_instant():
    script = "import sys, rnnbench; rnnbench.sweep; rnnbench.report; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "numpy", "pandas", "hydra", "omegaconf", "rich", "matplotlib"}
    assert heavy.isdisjoint(done.stdout.split())
