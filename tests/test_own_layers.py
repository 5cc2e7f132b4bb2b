"""A layer of another kind than a cell comes from outside the package and trains beside cells."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from rnnbench.api import Run
from rnnbench.compose import compose
from rnnbench.dynamics.divergence import first_not_finite
from rnnbench.engine.gradient import mean_loss
from rnnbench.errors import Interrupted, UserError
from rnnbench.runs.records import Folder
from rnnbench.tools.eval import run_eval
from rnnbench.tools.export import export
from rnnbench.tools.opening import open_run
from rnnbench.tools.probe import probe
from rnnbench.tools.sample import run_sample
from rnnbench.training.loop import Training

CONVOLUTION = '''
from torch import tanh
from torch.nn import functional as F

from rnnbench.engine.layer import Layer
from rnnbench.engine.loop import product


class Convolution(Layer):
    """A causal convolution.

    Source: a test.
    """

    def __init__(self, width=4):
        self.taps = int(width)

    def shapes(self, inputs, hidden):
        return {"W": (self.taps, inputs, hidden), "b": (hidden,)}

    def __call__(self, params, x, state):
        W, b = params["W"], params["b"]
        total = b[:, None, None]
        for lag in range(min(self.taps, x.shape[1])):
            late = product(x[:, : x.shape[1] - lag], W[:, lag])
            total = total + F.pad(late, (0, 0, 0, 0, lag, 0))
        return tanh(total), state
'''
SMALL = "model.hidden=6 train.steps=6 train.batch=3 train.eval_every=3 train.eval_limit=2"
COPY = ("task=copy", "task.length=4", "task.items=2")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a layer of one's own, where commands are typed."""
    monkeypatch.chdir(tmp_path)
    Path("conv.py").write_text(CONVOLUTION)


@pytest.fixture
def settings(tmp_path):
    def made(*overrides, cell="conv.py:Convolution", task=COPY):
        here = f"cell={cell} {SMALL} paths.results={tmp_path}/runs"
        return compose([*here.split(), *task, *overrides])

    return made


def test_it_is_the_convolution_that_torch_has(settings, pack_of):
    pack = pack_of(settings(task=["task=adding", "task.length=9"]))
    x = torch.randn(1, 9, 3, 2)
    params = {name: torch.randn_like(t) for name, t in pack.network.layer(0).items()}
    got, _ = pack.stack[0](params, x, ())
    kernel = params["W"][0].flip(0).permute(2, 1, 0)  # (out, in, taps): the last tap is now
    padded = torch.nn.functional.pad(x[0].permute(1, 2, 0), (3, 0))
    expected = torch.nn.functional.conv1d(padded, kernel, params["b"][0]).tanh()
    torch.testing.assert_close(got[0], expected.permute(2, 0, 1))


def test_three_seeds_train_as_one_pack_and_each_as_alone(settings, trained):
    runs = [settings(f"seed={seed}") for seed in range(3)]
    records = trained(*runs)
    assert [r["status"] for r in records] == ["finished"] * 3
    assert {r["replicas"] for r in records} == {3} and {r["engine"] for r in records} == {"torch"}
    count = 4 * 10 * 6 + 6 + 6 * 9 + 9  # taps, inputs and units; biases; read-out
    assert [r["params"] for r in records] == [count] * 3
    alone = settings("seed=1", "study=alone")
    (again,) = trained(alone)
    assert again["final"]["test"]["loss"] == pytest.approx(records[1]["final"]["test"]["loss"])


def test_it_learns(settings, pack_of):
    """Three steps back is within four taps, five is not."""
    reached = {}
    for taps in (2, 12):
        run = settings(
            "task.items=1", f"cell.constants.width={taps}", "optim.lr=0.02", "train.batch=16"
        )
        training = Training(pack_of(run))
        losses = [training.update().item() for _ in range(150)]
        reached[taps] = losses[-1]
    assert reached[12] < 0.02 < 0.1 < reached[2]


def test_it_goes_on_where_it_was_stopped(settings, trained, silent):
    whole = trained(*(settings("study=whole", f"seed={seed}") for seed in range(3)))
    parts = [settings("study=parts", f"seed={seed}") for seed in range(3)]
    with pytest.raises(Interrupted):
        trained(*parts, watch=silent(stop_after=4))
    resumed = trained(*parts)
    for before, after in zip(whole, resumed, strict=True):
        assert after["final"] == before["final"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("engine=native", "engine=native computes the equations of cells; Convolution is a layer"),
        ("cell.forget_bias=1", "cell.forget_bias=1.0 has no effect: Convolution is a layer"),
        ("cell.init=chrono", "cell.init=chrono has no effect"),
        ("train.probe_every=3", "train.probe_every=3 looks into the equations of cells"),
        ("+cell.constants.depth=3", "cell.constants.depth: Convolution has width"),
    ],
)
def test_what_it_cannot_do_is_refused(settings, pack_of, asked, told):
    with pytest.raises(UserError, match=told):
        pack_of(settings(asked))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("return tanh(total), state", "return tanh(total)", "returns the outputs and the states"),
        ("tanh(total), state", "total[..., :1], state", r"shape \(2, 4, 3, 1\).*\(2, 4, 3, 2\)"),
        ("tanh(total), state", "tanh(total), (total,)", "a state keeps its shape"),
        ("tanh(total), state", "total.flip(1), state", "changes with the input of a later one"),
        ("total = b[", "total = missing[", r"conv\.py:\d+: NameError: name 'missing'"),
        ("self.taps = int(width)", "self.taps = int(other)", r"conv\.py:\d+: NameError"),
        ('"b": (hidden,)}', '"c": (hidden,)}', r"conv\.py:\d+: KeyError: 'b'"),
    ],
)
def test_a_slip_in_a_layer_is_told_before_training(old, new, told, settings, trained):
    assert CONVOLUTION.count(old) == 1
    Path("conv.py").write_text(CONVOLUTION.replace(old, new))
    with pytest.raises(UserError, match=told):
        trained(settings())
    assert not list(Path().glob("runs/**/config.yaml"))


def test_matching_asks_the_layer(settings, pack_of):
    pack = pack_of(settings("model.match=params:2000"))
    widths = {h: h * (4 * 10 + 1) + 9 * (h + 1) for h in range(1, 100)}
    assert pack.network.count == min(widths.values(), key=lambda count: abs(count - 2000))


def test_verbs_work_or_say_why_not(settings, trained, capsys):
    run = settings()
    trained(run)
    folder = Folder.of(run).path
    opened = open_run(folder)
    assert opened.network.layers == 1 and opened.kind.name == "Convolution"
    run_eval([str(folder), "task.length=6"])
    assert "6" in capsys.readouterr().out
    for refused in (
        lambda: probe([str(folder)]),
        lambda: export(folder, "onnx"),
        lambda: export(folder, "module"),
        lambda: export(folder, "torch"),
    ):
        with pytest.raises(UserError, match="Convolution is a layer, not the equations of a cell"):
            refused()
    for block, other in (
        ("Convolution", settings("study=api")),
        ("gru in residual blocks", settings("model.block=residual", "study=api", cell="gru")),
    ):
        (record,) = trained(other)
        with pytest.raises(UserError, match=f"{block} is a layer, not the equations of a cell"):
            assert Run(Folder.of(other).path, record).network
    with pytest.raises(UserError, match="neither text nor music"):
        run_sample(folder)
    assert json.loads((folder / "record.json").read_text())["status"] == "finished"


def test_where_it_broke_is_named(settings, pack_of):
    pack = pack_of(settings(task=["task=adding", "task.length=9"]))
    batch = pack.feeder.training(0, 3)
    batch = replace(batch, x=torch.full_like(batch.x, 2))
    with torch.no_grad():  # 12e38 is infinite now; a step later it meets its opposite
        pack.network.params["0.W"][:, 0], pack.network.params["0.W"][:, 1] = 3e38, -3e38
    zero = pack.network.zero_state(3)
    loss = partial(mean_loss, pack.task.loss)
    found = first_not_finite(pack.network, 0, batch, pack.task.loss, loss, zero, None)
    assert found == "output of layer 0 at time step 2"
