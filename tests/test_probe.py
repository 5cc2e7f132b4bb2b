"""Looking inside is measured right: against autograd done the slow way, and against closed forms;
and a probe says what it found.
"""

import csv
import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from rnnbench.catalogue import cells
from rnnbench.charts import dynamics
from rnnbench.charts.probes import pooled
from rnnbench.dynamics.divergence import first_not_finite, values_of
from rnnbench.dynamics.gates import gates, largest
from rnnbench.dynamics.gradients import HUNDRED, WHOLE, E, by_lag, curve, gradients, horizon
from rnnbench.dynamics.jacobians import (
    jacobian_at,
    lyapunov,
    pushed,
    singular_values,
    spectral_radius,
)
from rnnbench.dynamics.measure import measured, quartiles, spaced
from rnnbench.dynamics.recording import doubled, record
from rnnbench.engine import loop
from rnnbench.engine.batches import Stacked
from rnnbench.engine.loop import input_product
from rnnbench.engine.network import Network, stacked
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError
from rnnbench.layers.recurrent import Recurrent
from rnnbench.runs.records import Folder, run_id
from rnnbench.tasks.contract import pointwise_loss
from rnnbench.tools.opening import open_run
from rnnbench.tools.probe import Probe, distinct, probe, starts
from rnnbench.tools.replay import replay
from rnnbench.training.run import run_pack

CELLS = cells()
SMALL = (
    "task=copy",
    "task.length=4",
    "task.items=2",
    "task.valid_size=20",
    "task.test_size=20",
    "model.hidden=5",
    "train.batch=3",
)


def linear(W, R, x, h):
    """A linear recurrence."""
    return R.h @ h + W.h @ x


def made(function, hidden=4, steps=12, sequences=3, replicas=1, layers=1, last=True, seed=0):
    """A network of `function` with random parameters in float64, and a random batch of real
    numbers.
    """
    draw = torch.Generator().manual_seed(seed)
    stack = stacked(Recurrent(plan(function)), layers, None, False)
    network = Network(stack, replicas, 2, hidden, 3, False, torch.float64, "cpu")
    network.flat.copy_(0.5 * torch.randn(network.flat.shape, generator=draw, dtype=torch.float64))
    x = torch.randn(replicas, steps, sequences, 2, generator=draw, dtype=torch.float64)
    y = torch.randint(
        3, (replicas, sequences) if last else (replicas, steps, sequences), generator=draw
    )
    return network, Stacked(x, y, None, last, False)


def slowly(network, batch, kind, layer, at, which):
    """∂L_T/∂(one state of one layer after step `at`), (K, B, H): the network run again with
    something added to it there.
    """
    x = (
        batch.x
        if batch.x.is_floating_point()
        else torch.nn.functional.one_hot(batch.x, network.layer(0)["W"].shape[1]).double()
    )
    added = torch.zeros(
        network.replicas, x.shape[2], network.hidden, dtype=torch.float64, requires_grad=True
    )
    for index in range(network.layers):
        params, state, outputs = network.layer(index), network.zero_state(x.shape[2])[index], []
        for t in range(x.shape[1]):
            _, state = loop.unroll(network.plan, params, x[:, t : t + 1], state)
            if (index, t) == (layer, at):
                state = tuple(s + added if k == which else s for k, s in enumerate(state))
            outputs.append(state[0])
        x = torch.stack(outputs, 1)
    prediction = (
        x @ network.params["readout.W"].unsqueeze(1) + network.params["readout.b"][:, None, None]
    )
    y = batch.y[:, None].expand(-1, x.shape[1], -1) if batch.last else batch.y
    (found,) = torch.autograd.grad(
        pointwise_loss(kind, prediction, y)[:, -1].sum() + 0 * added.sum(), added
    )
    return found


@pytest.fixture
def of(settings_for, pack_of):
    """of("gru", …) → (the network in float64, a batch of validation data, its loss)."""

    def ready(cell, *more, seeds=1):
        pack = pack_of(
            *(settings_for(f"cell={cell}", *SMALL, *more, f"seed={seed}") for seed in range(seeds))
        )
        return doubled(pack.network), next(pack.feeder.evaluation("valid", 3, 1)), pack.task.loss

    return ready


# Gradients


@pytest.mark.parametrize("cell", ["tanh", "lstm_vanilla", "gru", "fgr", "slstm", "mut2", "minlstm"])
def test_gradients_are_those_of_autograd_done_the_slow_way(cell, of):
    network, batch, kind = of(cell, "model.layers=2", seeds=2)
    found = gradients(record(network, batch, kind))
    T = batch.x.shape[1]
    for layer in (0, 1):
        for lag in (0, 1, 3, T - 1):
            slow = [
                slowly(network, batch, kind, layer, T - 1 - lag, k)
                for k in range(len(network.plan.state))
            ]
            for name, values in zip(network.plan.state, slow, strict=True):
                torch.testing.assert_close(
                    found.layers[layer][name][:, lag], values.norm(dim=-1), rtol=1e-10, atol=1e-14
                )
            torch.testing.assert_close(
                found.layers[layer][WHOLE][:, lag],
                torch.cat(slow, -1).norm(dim=-1),
                rtol=1e-10,
                atol=1e-14,
            )


def test_gradients_with_respect_to_symbols_are_those_of_their_one_hot_vectors(of):
    network, batch, kind = of("gru")
    run = record(network, batch, kind)
    found = gradients(run).inputs
    wx = input_product(network.plan, network.layer(0), batch.x).detach().requires_grad_()
    outputs, _ = loop.along(network.plan, network.layer(0), wx, network.zero_state(3)[0])
    prediction = outputs[:, -1] @ network.params["readout.W"] + network.params[
        "readout.b"
    ].unsqueeze(1)
    (slow,) = torch.autograd.grad(pointwise_loss(kind, prediction, batch.y[:, -1]).sum(), wx)
    torch.testing.assert_close(found, (slow @ network.layer(0)["W"].mT.unsqueeze(1)).norm(dim=-1))
    torch.testing.assert_close(run.loss_KB, pointwise_loss(kind, prediction, batch.y[:, -1]))


def test_of_a_linear_recurrence_the_gradient_is_a_power_of_its_matrix():
    network, batch = made(linear, replicas=2, steps=10)
    run = record(network, batch, "cross_entropy")
    found = gradients(run).layers[0]["h"]
    (g,) = torch.autograd.grad(
        pointwise_loss(
            "cross_entropy", p := run.prediction.detach().requires_grad_(), batch.y
        ).sum(),
        p,
    )
    g = (g @ network.params["readout.W"].mT).detach().numpy()
    # h' = h R: what the equations call R is its transpose
    R = network.layer(0)["R0"].detach().numpy()
    for lag in range(10):
        expected = [
            np.linalg.norm(g[k] @ np.linalg.matrix_power(R[k].T, lag), axis=-1) for k in range(2)
        ]
        np.testing.assert_allclose(found[:, lag], expected, rtol=1e-12)


def test_through_open_gates_the_gradient_of_the_cell_state_stays_exactly_what_it_is(of):
    network, batch, kind = of("lstm", "task.length=30")
    names, H = network.plan.blocks["b"], network.hidden
    with torch.no_grad():
        b = network.params["0.b"].view(1, len(names), H)
        b[:, names.index("f")], b[:, names.index("i")] = 60, -60
    norms = gradients(record(network, batch, kind)).layers[0]["c"]
    assert norms[:, 1].gt(0).all() and (norms[:, 1:] == norms[:, 1:2]).all()
    median = curve(norms[0])["median"]
    assert horizon(median, E) is horizon(median, HUNDRED) is None


@pytest.mark.parametrize(
    ("rate", "e", "hundred"), [(0.9, 10, 44), (0.5, 2, 7), (0.99, 100, None), (1.1, None, None)]
)
def test_horizons_of_a_decay(rate, e, hundred):
    # what happens from lag 0 to lag 1 does not matter
    median = [7.0] + [rate**k for k in range(200)]
    assert (horizon(median, E), horizon(median, HUNDRED)) == (e, hundred)


def test_horizons_at_the_edges():
    # forgotten for good only after the pulse
    assert horizon([1.0, 1.0, 0.1, 0.1, 0.9, 0.1], E) == 4
    assert horizon([1.0, 0.0, 0.0], E) == 0  # nothing ever passes
    assert horizon([1.0], E) is None and horizon([], E) is None
    assert horizon([1.0, 1.0, math.nan], E) is None
    assert horizon([1.0, 1.0, 0.1], E) == 1


def test_lags_count_from_the_last_step_that_counts(of):
    values = torch.arange(5.0).view(1, 5, 1).expand(1, 5, 2)
    found = by_lag(values, torch.tensor([[4, 2]]))
    assert (
        found[0, :, 0].tolist() == [4, 3, 2, 1, 0]
        and found[0, :3, 1].tolist() == [2, 1, 0]
        and found[0, 3:, 1].isnan().all()
    )
    assert len(curve(found[0])["median"]) == 5  # half of the sequences go that far
    assert len(curve(torch.cat([found[0], found[0, :, 1:]], 1))["median"]) == 3
    network, batch = made(linear, last=False)
    mask = torch.ones(1, 12, 3, dtype=torch.bool)
    mask[:, 7:, 1] = False
    run = record(network, replace(batch, mask=mask), "cross_entropy")
    assert run.last_KB.tolist() == [[11, 6, 11]]
    whole = pointwise_loss("cross_entropy", run.prediction, batch.y)
    assert torch.equal(
        run.loss_KB[0], torch.stack([whole[0, 11, 0], whole[0, 6, 1], whole[0, 11, 2]])
    )
    assert gradients(run).inputs[0, 7:, 1].eq(0).all()


# Jacobians


@pytest.mark.parametrize("cell", ["tanh", "lstm_vanilla", "gru", "fgr", "slstm"])
def test_jacobians_are_those_of_autograd_one_sequence_at_a_time(cell, of):
    network, batch, kind = of(cell, "model.layers=2", seeds=2)
    run = record(network, batch, kind)
    for layer in run.layers:
        found, H = jacobian_at(layer, 4, 2), network.hidden
        for k in range(2):
            params = {name: tensor[k : k + 1].detach() for name, tensor in layer.params.items()}
            for b in range(2):
                wx = layer.wx[k : k + 1, 4:5, b : b + 1].detach()

                def step(flat, params=params, wx=wx, H=H):
                    state = tuple(s.view(1, 1, H) for s in flat.split(H))
                    return torch.cat(
                        [s.flatten() for s in loop.along(network.plan, params, wx, state)[1]]
                    )

                before = torch.cat([s[k, b].detach() for s in layer.before[4]])
                torch.testing.assert_close(
                    found[k, b], torch.autograd.functional.jacobian(step, before)
                )
        tangent = torch.randn(2, 3, len(layer.start) * H, dtype=torch.float64)
        moved = torch.cat(
            pushed(lambda s, layer=layer: layer.step(4, s), layer.before[4], tangent.split(H, -1)),
            -1,
        )
        torch.testing.assert_close(moved[:, :2], (found @ tangent[:, :2].unsqueeze(-1))[..., 0])


def test_gradients_are_products_of_jacobians(of):
    network, batch, kind = of("lstm")
    run = record(network, batch, kind)
    T, (layer,) = batch.x.shape[1], run.layers
    row = torch.cat([slowly(network, batch, kind, 0, T - 1, k) for k in (0, 1)], -1)
    norms = gradients(run).layers[0][WHOLE]
    for lag in range(T):
        torch.testing.assert_close(norms[:, lag], row.norm(dim=-1))
        row = (row.unsqueeze(-2) @ jacobian_at(layer, T - 1 - lag, 3))[..., 0, :]


def test_spectra_are_those_of_numpy(of):
    network, batch, kind = of("lstm")
    found = jacobian_at(record(network, batch, kind).layers[0], 3, 2)
    np.testing.assert_allclose(
        singular_values(found)[0],
        np.linalg.svd(found[0].numpy(), compute_uv=False),
        rtol=1e-10,
        atol=1e-14,
    )
    np.testing.assert_allclose(
        spectral_radius(found)[0], abs(np.linalg.eigvals(found[0].numpy())).max(-1), rtol=1e-10
    )
    broken = torch.where(torch.arange(2).view(1, 2, 1, 1) == 1, torch.nan, found)
    assert singular_values(broken)[0, 1].isnan().all() and spectral_radius(broken)[
        0
    ].isfinite().tolist() == [True, False]


def test_the_exponent_of_a_linear_recurrence_is_the_logarithm_of_its_spectral_radius():
    network, batch = made(linear, steps=400)
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    for radius in (0.8, 1.3):
        with torch.no_grad():
            network.params["0.R0"][0] = torch.from_numpy(
                q @ np.diag([radius, -0.5, 0.3, 0.1]) @ q.T
            )
        exponents = lyapunov(record(network, batch, "cross_entropy").layers[0])
        np.testing.assert_allclose(exponents, math.log(radius), rtol=1e-12)
    with torch.no_grad():
        network.params["0.R0"].zero_()
    assert lyapunov(record(network, batch, "cross_entropy").layers[0]).eq(-math.inf).all()


@pytest.mark.parametrize("cell", ["tanh", "lstm", "gru", "ugrnn"])
def test_the_exponent_is_the_first_of_the_whole_spectrum_by_qr(cell, of):
    network, batch, kind = of(cell, "task.length=300", "model.hidden=4")
    layer = record(network, batch, kind).layers[0]
    T, D = len(layer.states), 4 * len(layer.start)
    q, sums = np.eye(D), np.zeros(D)
    for t in range(T):
        q, r = np.linalg.qr(jacobian_at(layer, t, 1)[0, 0].numpy() @ q)
        sums += np.log(np.maximum(abs(np.diag(r)), 1e-300)) * (t >= T // 4)
    assert lyapunov(layer)[0, 0].item() == pytest.approx(sums.max() / (T - T // 4), abs=2e-3)


# Gates and states


def test_gates_and_states_through_time(of):
    network, batch, kind = of("gru", seeds=2)
    with torch.no_grad():
        b, names = network.params["0.b"].view(2, 3, 5), network.plan.blocks["b"]
        b[0, names.index("z"), 0], b[0, names.index("r")] = 50, -50
    run = record(network, batch, kind)
    found = gates(run.layers[0])
    literal = network.gates(loop.unroll, batch.x, network.zero_state(3))
    for name, gate in found.items():
        values = literal[f"0.{name}"].detach().numpy()
        np.testing.assert_allclose(gate.mean, values.mean((2, 3)))
        np.testing.assert_allclose(gate.spread, values.std((2, 3)))
        np.testing.assert_allclose(gate.closed, (values < 0.1).mean((2, 3)))
        np.testing.assert_allclose(gate.open, (values > 0.9).mean((2, 3)))
    assert (
        found["r"].closed[0].eq(1).all()
        and found["z"].open[0].ge(0.2).all()
        and found["z"].open[1].lt(0.2).all()
    )
    states = np.stack([state[0].detach().numpy() for state in run.layers[0].states])
    np.testing.assert_allclose(largest(run)[0]["h"], abs(states).max((0, 2, 3)))


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_can_be_measured(cell, of):
    """And a replica is measured as it is alone."""
    small = ["cell.constants.rows=4", "cell.constants.columns=3"] if cell == "ntm" else []
    network, batch, kind = of(cell, "model.layers=2", *small, seeds=2)
    together = measured(network, batch, kind)
    assert len(together) == 2
    for layer in together[0]["layers"]:
        assert layer["gradient"].keys() == {*network.plan.state, WHOLE}
        assert layer["gates"].keys() == set(network.plan.gates)
        assert set(layer["jacobian"]) == {"steps", "all"} | (
            {"output"} if len(network.plan.state) > 1 else set()
        )
        assert (
            len(layer["jacobian"]["all"]["levels"])
            == len(layer["jacobian"]["steps"])
            == batch.x.shape[1]
        )
    alone, one, _ = of(cell, "model.layers=2", *small)
    found = measured(alone, one, kind)[0]
    assert_close(found, together[0])
    text = json.dumps(found, allow_nan=False)
    assert len(text) < 60_000


def assert_close(ours, theirs):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_close(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_close(mine, other)
    elif isinstance(ours, float) and isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-9)
    else:
        assert ours == theirs


def test_quartiles_and_places():
    assert quartiles(torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0])) == {"low": 2, "median": 3, "high": 4}
    assert quartiles(torch.tensor([1.0, -math.inf, -math.inf]))["median"] == -math.inf
    assert spaced(3, 5) == [0, 1, 2] and spaced(100, 3) == [0, 50, 99] and spaced(5, 1) == [0]


# Why a run diverged


def test_the_values_of_the_equations_by_name(of):
    network, batch, kind = of("lstm_vanilla")
    layer = record(network, batch, kind).layers[0]
    found = values_of(layer, 3)
    torch.testing.assert_close(found["c"], layer.states[3][1])
    torch.testing.assert_close(found["y"], layer.states[3][0])
    for name, gate in gates(layer).items():
        torch.testing.assert_close(found[name], gate.values[:, 3])
    assert "R.f @ y" in found and "W.f @ x" in found


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("R", "R.h @ h of layer 0 at time step 2"),
        ("parameter", "parameter 0.W"),
        ("readout", "prediction"),
        ("nowhere", ""),
    ],
)
def test_the_first_quantity_that_is_not_finite(where, told, of):
    network, batch, kind = of("relu")
    with torch.no_grad():
        if where == "R":
            network.params["0.R0"].fill_(1e308)
            network.params["0.b"].fill_(30)
        elif where == "parameter":
            network.params["0.W"][0, 1, 2] = math.nan
        elif where == "readout":
            network.params["readout.W"].fill_(1.7e308)
            network.params["0.b"].fill_(30)
    loss = lambda prediction, batch: pointwise_loss(kind, prediction, batch.y).flatten(1).mean(1)  # noqa: E731
    assert first_not_finite(network, 0, batch, kind, loss, network.zero_state(3), None) == told


def test_a_gradient_that_is_not_finite_is_named():
    """Forward all is well; backwards the gradient grows by 1e200 a step."""
    network, batch = made(linear, steps=6)
    with torch.no_grad():
        network.params["0.W"].zero_()
        network.params["0.R0"][0] = 1e200 * torch.eye(4, dtype=torch.float64)
    batch = replace(batch, y=torch.full((1, 3), 1))
    loss = lambda prediction, batch: pointwise_loss("cross_entropy", prediction, batch.y).mean(1)  # noqa: E731
    found = first_not_finite(network, 0, batch, "cross_entropy", loss, network.zero_state(3), None)
    assert found == "gradient of state h of layer 0 at time step 4"


def test_data_that_are_not_finite_are_named():
    network, batch = made(linear, steps=6)
    batch.x[0, 4, 2, 1] = math.inf
    found = first_not_finite(network, 0, batch, "mse", None, network.zero_state(3), None)
    assert found == "input 1 of sequence 2 in the data, at time step 5"


@pytest.mark.parametrize("task", ["copy", "charlm"])
def test_a_divergence_is_replayed_from_the_checkpoint(task, settings_for, trained, tmp_path):
    """Also in a pack whose other run goes on, and where states are carried from batch to batch."""
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{k * k} bottles hang on wall {chr(97 + k)};\n" for k in range(16)))
    more = (
        SMALL[1:]
        if task == "copy"
        else ("model.hidden=5", "train.batch=3", f"task.corpus={text}", "task.window=8")
    )
    run = settings_for(
        "cell=relu",
        f"task={task}",
        *more,
        "optim=sgd",
        "optim.clip_norm=null",
        "optim.lr=1e7",
        "train.steps=30",
        "train.eval_every=5",
    )
    calm = replace(run, optim=replace(run.optim, lr=0.01))
    (record, other) = trained(run, calm)
    assert (
        record["status"] == "diverged"
        and other["status"] == "finished"
        and 0 < record["steps"] < 30
    )
    assert "; first not finite: " in record["reason"] or record["reason"].startswith(
        ("loss", "gradient")
    )
    found = replay(open_run(Folder.of(run).path, weights="last"))
    assert found.reproduced and found.steps == 1
    assert found.reason.partition(";")[0] == record["reason"].partition(";")[0]
    assert replay(open_run(Folder.of(calm).path)) is None


# While training


def test_probing_during_training_changes_no_number(settings_for, trained):
    plain = settings_for(
        "cell=lstm", *SMALL, "model.layers=2", "train.steps=12", "train.eval_every=3"
    )
    probed = replace(plain, train=replace(plain.train, probe_every=6), study="probed")
    assert run_id(plain) == run_id(probed)
    quiet, seen = trained(plain)[0], trained(probed)[0]
    assert (quiet["best"], quiet["final"]) == (seen["best"], seen["final"])
    folder = Folder.of(probed)
    rows = [row for row in folder.curve() if row["split"] == "valid"]
    assert [row["step"] for row in rows if "0.gradient@1" in row] == [6, 12]
    last = rows[-1]
    assert {"1.gradient@5", "0.horizon@e", "1.horizon@100", "1.f.closed", "0.o.open"} <= last.keys()
    assert last["0.f.closed"] + last["0.f.open"] == pytest.approx(last["0.f.saturated"])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.board_path), size_guidance={"histograms": 0}).Reload()
    tags = events.Tags()
    assert set(tags["histograms"]) == {f"gradient/{k} by lag" for k in (0, 1)} | {
        f"gate/{k}.{gate}" for k in (0, 1) for gate in "ifo"
    }
    assert {"gradient/0@1", "horizon/1@e", "gate closed/0.f", "gate open/1.i"} <= set(
        tags["scalars"]
    )
    shown = events.Histograms("gradient/0 by lag")
    assert [e.step for e in shown] == [6, 12] and max(
        shown[0].histogram_value.bucket
    ) == pytest.approx(1)
    with (Folder.of(plain).curve_path).open() as file:
        assert not any("@" in column for column in next(csv.reader(file)))


def test_probe_every_is_a_number_of_steps(settings_for):
    with pytest.raises(UserError, match=r"train\.probe_every must be at least 1, got 0"):
        settings_for("cell=gru", "train.probe_every=0")


# The command


def test_a_probe_of_runs(settings_for, trained, tmp_path, capsys):
    runs = [
        settings_for(f"cell={cell}", *SMALL, "train.steps=6", "train.eval_every=3")
        for cell in ("tanh", "lstm")
    ]
    for run in runs:
        trained(run)
    homes = [Folder.of(run).path for run in runs]
    place = probe([str(home) for home in homes])
    assert {path.name for path in place.glob("[!.]*")} == {
        "gradients.png",
        "sensitivity.png",
        "probes.csv",
    }
    with (place / "probes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["network"], row["time"]) for row in rows] == [
        (cell, time) for cell in ("lstm", "tanh") for time in ("initial", "trained")
    ]
    assert all(
        float(row["gradient@1"]) == 1 and row["horizon_e"] and "gradient@5" in row for row in rows
    )
    for home, run in zip(homes, runs, strict=True):
        found = json.loads((home / "probe.json").read_text())
        assert found["schema"] == 1 and found["cell"] == run.cell.name and found["id"] == home.name
        assert found["checkpoint"]["file"] == "best.pt" and found["divergence"] is None
        assert found["initial"] != found["trained"]
        gates = {"gates-initial.png", "gates-trained.png"} if run.cell.name == "lstm" else set()
        assert {path.name for path in (home / "probe").glob("[!.]*")} == {"jacobian.png", *gates}
    said = capsys.readouterr().out
    assert "tanh" in said and "no gates" in said and "trained" in said and "Lyapunov" in said
    assert probe([str(homes[1])], out=tmp_path / "out") == tmp_path / "out"
    assert (tmp_path / "out" / "probe.json").exists() and (
        tmp_path / "out" / "gradients.png"
    ).exists()


def test_a_probe_of_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = probe(["cell=irnn,gru", *SMALL], many=True)
    assert (
        place.relative_to(".")
        and (place / "irnn" / "probe.json").exists()
        and (place / "gru" / "gates-initial.png").exists()
    )
    found = json.loads((place / "gru" / "probe.json").read_text())
    assert found["trained"] is None and found["checkpoint"] is None and found["sequences"] == 20
    alone = probe(["cell=gru", *SMALL], out="alone")
    assert json.loads((alone / "probe.json").read_text())["initial"] == found["initial"]
    probe(["cell=gru", *SMALL, "cell.init=orthogonal,chrono"], many=True, out="inits")
    assert (tmp_path / "inits" / "gru-init=chrono" / "probe.json").exists()
    said = capsys.readouterr().out
    assert "irnn" in said and "gru: gates start half open" in said and "RUN_DIR" in said


def test_a_probe_says_what_the_start_does(settings_for):
    """Each sentence where it is true, and only there."""

    def one(cell, *overrides, gated=True, trained=None):
        settings = asdict(settings_for(f"cell={cell}", *overrides))
        initial = {"saturated": 0.0 if gated else None}
        return Probe(cell, {"settings": settings, "initial": initial, "trained": trained}, None)

    def told(*probes):
        return "\n".join(starts(probes))

    plain = told(one("tanh", gated=False), one("lstm"), one("gru"), one("lstm_b"))
    assert "tanh: with init=orthogonal" in plain and "no gates   tanh" in plain
    assert "lstm and gru: gates start half open" in plain and "lstm_b" not in plain
    small = told(one("tanh", "cell.init=scaled:0.7", gated=False), one("lstm", "cell.init=chrono"))
    assert "orthogonal" not in small and "half open" not in small
    assert "cell.init=paper" in small and "RUN_DIR" in small
    assert "RUN_DIR" not in told(one("lstm", trained={"saturated": 0.1}))


def test_what_the_start_of_tanh_is_said_to_do_is_so(of):
    """Its gradient lasts where the recurrent matrix keeps lengths, and vanishes with small
    weights.
    """

    def fallen(init):
        network, batch, kind = of("tanh", f"cell.init={init}", "model.hidden=40", "task.length=10")
        gradient = measured(network, batch, kind)[0]["layers"][0]["gradient"][WHOLE]
        return gradient["median"][9] / gradient["median"][1]

    assert fallen("orthogonal") > 3 * fallen("scaled:0.7")


def test_dots_of_sensitivity_have_a_legend(of):
    network, batch, kind = of("gru")
    figure = dynamics.sensitivity({"gru": {"initial": measured(network, batch, kind)[0]}})
    (legend,) = figure.legends
    shade = {
        text.get_text(): float(dot.get_markerfacecolor())
        for text, dot in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert shade["largest of the row"] == 0 and shade["1/1000 or less"] == 1
    assert shade["1/10"] == pytest.approx(1 / 3) and shade["1/100"] == pytest.approx(2 / 3)


def test_no_picture_of_gates_that_are_not_there(of):
    network, batch, kind = of("tanh")
    with pytest.raises(ValueError, match="no gates"):
        dynamics.gate_map(measured(network, batch, kind)[0])


def test_networks_of_one_cell_are_told_apart_by_what_differs(settings_for):
    def one(*overrides):
        settings = settings_for("cell=lstm", *overrides)
        return Probe(
            "lstm",
            {"task": settings.task["name"], "seed": settings.seed, "settings": asdict(settings)},
            None,
        )

    biases = [one(f"cell.forget_bias={bias}", f"seed={seed}") for bias in (0, 1) for seed in (0, 1)]
    found = distinct([*biases, one("cell.init=chrono", "seed=0"), replace(one(), label="gru")])
    assert [p.label for p in found] == [
        "lstm forget_bias=0 seed 0",
        "lstm forget_bias=0 seed 1",
        "lstm forget_bias=1 seed 0",
        "lstm forget_bias=1 seed 1",
        "lstm init=chrono",
        "gru",
    ]
    assert [p.family for p in found] == ["lstm forget_bias=0"] * 2 + ["lstm forget_bias=1"] * 2 + [
        "lstm init=chrono",
        "gru",
    ]
    assert [p.label for p in distinct([one("task=copy"), one("task=adding")])] == [
        "lstm task copy",
        "lstm task adding",
    ]
    assert [p.label for p in distinct([one(), one()])] == ["lstm (1)", "lstm (2)"]


def test_seeds_are_pooled_relative_to_their_own_first_lag():
    def one(*median):
        return {
            "layers": [
                {
                    "gradient": {
                        WHOLE: {
                            "low": [m / 2 for m in median],
                            "median": list(median),
                            "high": [2 * m for m in median],
                        }
                    }
                }
            ]
        }

    both = pooled(
        [
            {"initial": one(9, 4, 2, 1), "trained": None},
            {"initial": one(9, 1, 1, 0), "trained": one(1, 1)},
        ]
    )
    found = both["initial"]["layers"][0]["gradient"][WHOLE]
    assert found == {
        "low": [1.125, 0.5, 0.25, 0],
        "median": [5.625, 1, 0.75, 0.125],
        "high": [18, 2, 2, 0.5],
    }
    assert both["trained"]["layers"][0]["gradient"][WHOLE]["median"] == [1, 1]
    assert pooled([both]) == both


def test_what_cannot_be_probed_is_one_line(settings_for, trained, tmp_path, monkeypatch):
    cell = tmp_path / "mine.py"
    cell.write_text(
        "from torch import tanh\ndef mine(W, R, x, h):\n    return tanh(W.h @ x + R.h @ h)\n"
    )
    run = settings_for(f"cell.step={cell}:mine", *SMALL, "train.steps=2", "train.eval_every=2")
    trained(run)
    home = Folder.of(run).path
    probe([str(home)])

    def refused(*asked, **options):
        with pytest.raises(UserError) as error:
            probe(*asked, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "no run" in refused([str(tmp_path)]) and "no folder" in refused(
        [str(tmp_path / "nowhere")]
    )
    assert "not both" in refused([str(home), "cell=gru"]) and "run folders or settings" in refused(
        []
    )
    assert "without it" in refused([str(home)], many=True)
    assert "did you mean 'lstm'" in refused(["cell=lsmt", "task=copy"])
    assert "cannot read" in refused(["cell=[gru"], many=True)
    cell.write_text(cell.read_text().replace("W.h @ x", "W.h @ x + 0"))
    probe([str(home)])  # the run has kept the cell as it was
    record = json.loads((home / "record.json").read_text())
    record.pop("checksum", None)
    (home / "record.json").write_text(json.dumps(record | {"schema": 99}))
    assert "schema 99" in refused([str(home)])


def test_a_diverged_run_is_probed_where_it_stood(settings_for, trained, capsys):
    run = settings_for(
        "cell=relu", *SMALL, "optim=sgd", "optim.clip_norm=null", "optim.lr=1e7", "train.steps=30"
    )
    (record,) = trained(run)
    assert record["status"] == "diverged"
    probe([str(Folder.of(run).path)])
    found = json.loads((Folder.of(run).path / "probe.json").read_text())
    assert (
        found["checkpoint"]["file"] in ("best.pt", "last.pt") and found["divergence"]["reproduced"]
    )
    assert "replayed from last.pt" in capsys.readouterr().out


def test_pictures_of_what_is_dead_or_broken(of, tmp_path):
    network, batch, kind = of("lstm")
    fine = {"initial": measured(network, batch, kind)[0]}
    with torch.no_grad():
        network.flat.zero_()
    dead = {"initial": measured(network, batch, kind)[0], "trained": fine["initial"]}
    with torch.no_grad():
        network.flat.fill_(math.nan)
    broken = {"initial": measured(network, batch, kind)[0]}
    drawn = [
        dynamics.gradient_norms({"a": fine, "b": dead, "c": broken}),
        dynamics.sensitivity({"a": fine, "b": dead, "c": broken}),
    ]
    drawn += [dynamics.singular_values(one) for one in (fine, dead, broken)] + [
        dynamics.gate_map(one["initial"]) for one in (fine, dead, broken)
    ]
    for k, figure in enumerate(drawn):
        assert dynamics.save(figure, tmp_path / f"{k}.png").stat().st_size > 1000


def test_run_pack_takes_probes_of_a_pack(settings_for, silent):
    runs = [
        settings_for(
            "cell=gru",
            *SMALL,
            "train.steps=4",
            "train.eval_every=2",
            "train.probe_every=2",
            f"seed={seed}",
        )
        for seed in (0, 1)
    ]
    run_pack(runs, [[], []], silent(), print)
    rows = [[row for row in Folder.of(run).curve() if "0.gradient@1" in row] for run in runs]
    assert [len(r) for r in rows] == [2, 2] and rows[0][0]["0.gradient@1"] != rows[1][0][
        "0.gradient@1"
    ]


def test_the_report_shows_what_was_probed(settings_for, trained):
    from rnnbench.charts.chart import Picture
    from rnnbench.report.results import Results
    from rnnbench.report.sections.inside import parts as inside
    from rnnbench.report.table import Table
    from rnnbench.runs.frame import load
    from rnnbench.stats.selection import Variant, study

    def told(place):
        return list(inside(Results(study(load(place), None)), Variant("copy")))

    runs = [
        settings_for(f"cell={cell}", *SMALL, "train.steps=4", "train.eval_every=2", f"seed={s}")
        for cell in ("tanh", "gru")
        for s in (0, 1)
    ]
    for run in runs:
        trained(run)
    place = Folder.of(runs[0]).path.parents[2]
    assert told(place) == []  # nothing was probed
    probe([str(Folder.of(runs[k]).path) for k in (0, 3)], out=None)
    (Folder.of(runs[2]).path / "probe.json").write_text("{")  # torn
    parts = told(place)
    pictures_, (table,) = (
        [p for p in parts if isinstance(p, Picture)],
        [p for p in parts if isinstance(p, Table)],
    )
    assert "2 runs" in parts[0] and [p.name.split("-")[0] for p in pictures_] == [
        "gradients",
        "sensitivity",
        "gates",
    ]
    rows = [[column.entry(row).text for column in table.columns[:2]] for row in table.rows]
    assert rows == [[c, t] for c in ("gru", "tanh") for t in ("at the start", "after training")]
    assert {row.run for row in table.rows} == {Folder.of(runs[k]).path.name for k in (0, 3)}
