"""`bench --steps` measures what it says: the peers make the same training step, the work in it and
its parts are counted rightly.
"""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from rnnbench.bench import command, rates, rounds, steps
from rnnbench.bench.contender import Contender, settings_for, task_of
from rnnbench.bench.drawing import appearance
from rnnbench.bench.ratios import of_steps
from rnnbench.bench.rounds import training_steps
from rnnbench.bench.tables import table
from rnnbench.engine.native import build
from rnnbench.layers import layer_of
from rnnbench.training.loop import Training

ADDING, CHORALE = (4, 10, 2, 6), (3, 7, 88, 6)  # batch, steps, inputs, units
CASES = [
    ("lstm", "torch.nn", ADDING),
    ("lstm", "torch.nn", CHORALE),
    ("gru_reset_after", "torch.nn", CHORALE),
    ("tanh", "torch.nn", ADDING),
    ("lstm_vanilla", "by hand", CHORALE),
    ("gru", "by hand", ADDING),
    ("lstm", "lax.scan", ADDING),
    ("lstm_vanilla", "lax.scan", CHORALE),
]


def contender(cell, way, shape, replicas=1):
    return Contender(cell, way, shape, 1, replicas, task_of(shape))


def learning(pack):
    """The pack with clipping that acts, and rates at which a difference in the optimiser shows."""
    optims = [replace(run.optim, lr=0.02, clip_norm=0.1) for run in pack.runs]
    runs = [replace(run, optim=optim) for run, optim in zip(pack.runs, optims, strict=True)]
    return steps.Pack(runs, layer_of(runs[0].cell, runs[0].model), pack.task)


def learn_one_bias_a_gate(module, pack):
    """As ours: torch.nn learns two, so that their sum moves twice as far."""
    keep = torch.zeros_like(module.rnn.bias_hh_l0)
    if "m" in pack.plan.blocks["b"]:  # which nn.GRU has inside its reset
        keep[-pack.hidden :] = 1
    module.rnn.bias_hh_l0.register_hook(lambda gradient: gradient * keep)


@pytest.mark.parametrize(("cell", "way", "shape"), CASES)
def test_peers_make_the_same_step(cell, way, shape):
    """The same losses over some updates, from the same weights on the same batches."""
    replicas = 1
    if way == "lax.scan":
        pytest.importorskip("jax")
        replicas = 2
    pack = learning(steps.pack_of(contender(cell, way, shape, replicas), "loop"))
    peer = steps.Jitted(pack) if way == "lax.scan" else steps.Plain(pack, way)
    if way == "torch.nn":
        learn_one_bias_a_gate(peer.model, pack)
    training = Training(pack)
    for step in range(4):
        batch = pack.feeder.training(step, shape[0])
        if way == "lax.scan":
            found = np.asarray(peer.update(batch.x.numpy(), batch.y.numpy()))
        else:
            found = peer.update(batch.x[0], batch.y[0]).numpy()[None]
        np.testing.assert_allclose(found, training.update().numpy(), rtol=1e-4)


@pytest.mark.parametrize("shape", [ADDING, CHORALE])
def test_a_peers_batches_are_like_ours(shape):
    pack = steps.pack_of(contender("lstm", "native", shape), "loop")
    ours = pack.feeder.training(0, shape[0])
    drawn = list(islice(steps.batches(pack.task, shape[0], seed=0), 40))
    for x, y in drawn:
        assert (x.shape, y.shape) == (ours.x.shape[1:], ours.y.shape[1:])
        assert x.dtype == y.dtype == np.float32
        if shape == CHORALE:
            np.testing.assert_array_equal(x[1:], y[:-1])
        else:
            np.testing.assert_allclose((x[..., :1] * x[..., 1:]).sum(0), y, rtol=1e-6)
    assert len({x.tobytes() for x, _ in drawn}) == 40
    if shape == CHORALE:
        assert ours.mask.all()  # all as long: peers need no mask
        assert np.mean([x.sum(-1).mean() for x, _ in drawn]) == pytest.approx(4, abs=0.3)


@pytest.mark.parametrize("cell", ["lstm", "gru", "tanh"])
@pytest.mark.parametrize("shape", [(4, 60, 2, 16), (3, 60, 88, 16)])
def test_operations_are_those_that_pytorch_counts(cell, shape):
    pack = steps.pack_of(contender(cell, "by hand", shape), "loop")
    plain = steps.Plain(pack, "by hand")
    x, y = (torch.from_numpy(a) for a in next(plain.batches))
    with FlopCounterMode(display=False) as counter:
        plain.update(x, y)
    counted = rates.step_gflop(pack.plan, shape, pack.task.outputs, plain.last)
    # of the first step of a sequence it needs no gradient of the state
    assert counted == pytest.approx(1e-9 * counter.get_total_flops(), rel=0.01)


def test_memory_is_at_least_that_of_parameters_and_their_updates():
    pack = steps.pack_of(contender("lstm", "native", ADDING), "loop")
    B, T, I, H = ADDING  # noqa: E741
    parameters = 4 * H * (I + H + 1) + H + 1
    least = 4e-9 * parameters * (3 + 1 + 3 + 2 * 2)
    found = rates.step_gigabytes(pack.plan, ADDING, 1, True, buffers=2)
    along = found - least
    assert 4e-9 * B * T * 4 * H < along < 4e-9 * B * T * 20 * H


def test_who_takes_part():
    found = training_steps("lstm", ADDING, True, [1, 8, 16])
    ways = [(c.way, c.replicas) for c in found if c.way != "lax.scan"]
    assert ways == [("native", 1), ("native", 8), ("native", 16), ("torch.nn", 1)]
    assert {c.replicas for c in found if c.way == "lax.scan"} <= {1, 8}
    assert {c.way for c in training_steps("gru", ADDING, True, [1])} - {"lax.scan"} == {
        "native",
        "by hand",
    }
    assert {c.way for c in training_steps("lstm", ADDING, False, [1])} == {"native"}


def test_runs_have_seeds_of_their_own():
    pack = steps.pack_of(contender("lstm", "native", ADDING, 3), "loop")
    assert pack.feeder.seeds == (0, 1, 2)
    optims = {settings_for(contender("lstm", "native", s), "loop").optim.name for s in (ADDING,)}
    assert optims == {"adam"}
    assert settings_for(contender("lstm", "native", CHORALE), "loop").optim.name == "nesterov"


def row(way, replicas, times):
    return {
        "cell": "lstm",
        "way": way,
        "shape": ADDING,
        "threads": 1,
        "replicas": replicas,
        "task": "adding",
        "times": times,
        "median": sorted(times)[1],
        "quartiles": [min(times), max(times)],
        "peak_bytes": 2**21,
        "gflops": 1.0,
        "share_of_product": 0.25,
        "share_of_memory": 0.125,
    }


def test_two_ways_never_look_alike():
    assert len({appearance(k) for k in range(40)}) == 40


def test_ratios_are_of_a_runs_step():
    parts = {"layer": 0.5, "read-out": 0.2, "data": 0.1, "optimiser": 0.1, "rest": 0.1}
    rows = [
        row("native", 1, [2, 2, 2]) | {"parts": parts},
        row("native", 16, [16, 16, 16]) | {"parts": parts},
        row("torch.nn", 1, [3, 4, 5]),
        row("lax.scan", 1, [6, 6, 6]),
        row("lax.scan", 8, [24, 24, 24]),
    ]
    alone, pack, *_ = of_steps(rows)
    assert alone["against"] == {"PyTorch": (2, [1.75, 2.25]), "JAX": (3, [3, 3])}
    assert {name: ratio for name, (ratio, _) in pack["against"].items()} == {
        "PyTorch": 4,
        "JAX": 3,  # with 8, since it was not measured with 16
        "alone": 2,
    }
    made = {"cpu": "a processor", "versions": {"torch": "2", "jax": "1"}, "git": None}
    record = {
        "kind": "steps",
        "rows": rows,
        "provenance": made,
        "load": {"before": [0.5], "after": [1.5]},
        "cpus": 2,
        "keeping": {},
        "product_gflops": 99.0,
        "memory_gigabytes": 11.0,
        "repeats": 3,
        "warm_up": 2,
    }
    lines = table(record).splitlines()
    assert "jax 1" in lines[0] and "99 GFLOP/s" in lines[1] and "11 GB/s" in lines[1]
    assert "1000.00 [1000.00, 1000.00]" in lines[6] and "4.00 [3.50, 4.50]" in lines[6]
    assert "| 25%      | 12%    | 50%   | 20%      | 10%  | 10%       | 10%  |" in lines[6]


@pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler on this machine")
def test_a_small_one(tmp_path, tmp_path_factory, monkeypatch, capsys):
    shared = tmp_path_factory.getbasetemp().parent / "native-cache"  # compiled once per session
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared))
    for module in (command, rounds):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    out = tmp_path / "out"
    command.run(["tanh"], ["2,4,2,8"], True, 1, [1], [2], str(out), steps=True)
    said = capsys.readouterr().out
    assert "JAX is not installed and takes no part: pip install 'rnnbench[bench]'" in said
    record = command.json.loads((out / "record.json").read_text("utf-8"))
    left = {path.name for path in out.iterdir()}
    assert {"record.json", "table.md", "figure.svg", "figure.png"} <= left
    rows = {(row["way"], row["replicas"]): row for row in record["rows"]}
    assert rows.keys() == {("native", 2), ("torch.nn", 1)}
    assert record["kind"] == "steps" and record["memory_gigabytes"] > 0
    for row in rows.values():
        assert row["median"] > 0 and row["share_of_product"] > 0 and row["share_of_memory"] > 0
    assert sum(rows["native", 2]["parts"].values()) == pytest.approx(1)


def test_what_needs_too_much_memory_is_refused_in_one_line():
    huge = training_steps("lstm", (10**6, 10**5, 2, 1000), False, [1])
    with pytest.raises(command.UserError, match=r"lstm at 1000000,.*needs .* GiB"):
        rounds.compared(huge, 1)
