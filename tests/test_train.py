"""Training does what it says: the recorded numbers, the gradients of truncated sequences, the
selection of the best, the limits.
"""

import json
import os
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from rnnbench.draw import Draw
from rnnbench.engine import loop
from rnnbench.engine.network import Network, stacked
from rnnbench.engine.pack import flops
from rnnbench.errors import UserError
from rnnbench.layers import layer_of
from rnnbench.runs.records import Folder, canonical, run_id
from rnnbench.training.loop import Training
from rnnbench.training.run import load_task

GOLDEN = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "golden_losses.py"))
ADDING = (
    "cell=gru",
    "task=adding",
    "task.length=8",
    "model.hidden=6",
    "model.dtype=float64",
    "train.batch=5",
)
SHORT = ("train.eval_batch=20", "task.valid_size=40", "task.test_size=40")


# Golden losses


def golden():
    """name → losses, from the committed text."""
    found = {}
    for line in GOLDEN["GOLDEN"].read_text("utf-8").splitlines():
        if line.startswith("#"):
            name, _, overrides = line[2:].partition(": ")
            found[name] = []
            assert GOLDEN["RUNS"][name] == overrides
        else:
            step, loss = line.split()
            found[name].append(float(loss))
            assert int(step) == len(found[name])
    return found


@pytest.mark.parametrize("name", GOLDEN["RUNS"])
def test_losses_are_the_recorded_ones(name):
    """Within 1e-9 of each: another CPU or library sums in another order, which in float64 and 20
    steps of training grows from 1e-16 to about 1e-13; a changed formula, draw or default moves
    losses by far more than 1e-9.
    """
    assert GOLDEN["losses"](GOLDEN["RUNS"][name]) == pytest.approx(golden()[name], rel=1e-9, abs=0)


# It learns


def test_adding_over_ten_steps_is_solved(settings_for, trained):
    run = settings_for(
        "cell=gru",
        "task=adding",
        "task.length=10",
        "model.hidden=24",
        "optim.lr=0.02",
        "train.steps=800",
        "train.eval_every=50",
    )
    run = replace(
        run,
        train=replace(run.train, stop_at_target=True),
        task=run.task | {"valid_size": 200, "test_size": 500},
    )
    (record,) = trained(run)
    curve = [row["loss"] for row in Folder.of(run).curve() if row["split"] == "train"]
    assert record["status"] == "stopped" and record["solved_at"] == record["steps"] < 800
    assert record["best"]["test"]["mse"] < 0.02 < record["baseline"]["mse"]
    assert curve[-1] < curve[0] / 5


# Truncated sequences


@pytest.fixture
def text(settings_for, tmp_path):
    """text(window, …) → settings of a character model on a text of 16 different lines."""
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{k * k} bottles hang on wall {chr(97 + k)};\n" for k in range(16)))
    common = (
        "cell=tanh",
        "task=charlm",
        f"task.corpus={path}",
        "model.hidden=5",
        "model.dtype=float64",
        "train.batch=3",
        "cell.init=scaled:1",
    )
    return lambda window, *more: settings_for(
        *common, f"task.window={window}", "optim.clip_norm=null", *more
    )


def test_carried_windows_are_one_long_sequence(text, pack_of):
    """With a rate of 0, three windows of 6 have the losses of one of 18."""
    parts, whole = (
        Training(pack_of(text(6, "optim.lr=1e-30"))),
        Training(pack_of(text(18, "optim.lr=1e-30"))),
    )
    losses = torch.stack([parts.update() for _ in range(3)])
    assert losses.mean().item() == pytest.approx(whole.update().item(), rel=1e-13)
    torch.testing.assert_close(parts.states, whole.states, rtol=1e-13, atol=1e-15)
    assert (
        losses[1] - Training(pack_of(text(6, "optim.lr=1e-30", "seed=0"))).update()
    ).abs() > 1e-3


def unrolled(params, batch, h):
    """The loss of a tanh network on one batch of symbols from state h, and the last state: the
    textbook's loop.
    """
    W, R, b, V, c = (params[name][0] for name in ("0.W", "0.R0", "0.b", "readout.W", "readout.b"))
    terms = []
    for x, y in zip(torch.from_numpy(batch.x), torch.from_numpy(batch.y), strict=True):
        h = torch.tanh(F.one_hot(x, len(W)).double() @ W + h @ R + b)
        terms.append(F.cross_entropy(h @ V + c, y))
    return torch.stack(terms).mean(), h


def by_hand(pack, steps, stop_gradients=True):
    """Plain gradient descent on the same batches with torch.autograd; returns the parameters."""
    params = {
        name: view.detach().clone().requires_grad_() for name, view in pack.network.params.items()
    }
    h = torch.zeros(3, 5, dtype=torch.float64)
    before = None
    for step in range(steps):
        batch = pack.task.batch(Draw(0), step, 3)
        if not batch.carry:
            h = torch.zeros_like(h)
        elif stop_gradients:
            h = h.detach()
        else:
            _, h = unrolled(params, before, torch.zeros_like(h))
        loss, h = unrolled(params, batch, h)
        gradients = torch.autograd.grad(loss, list(params.values()))
        params = {
            name: (p - 0.5 * g).detach().requires_grad_()
            for (name, p), g in zip(params.items(), gradients, strict=True)
        }
        before = batch
    return params


def test_gradients_stop_at_the_border_of_a_window(text, pack_of):
    """Through a whole pass and into the next, where the state starts anew."""
    pack = pack_of(text(11, "optim=sgd", "optim.lr=0.5"))
    expected = by_hand(pack, 15)
    windows = [pack.task.batch(Draw(0), step, 3).carry for step in range(15)]
    # 434 characters · 9/10 // 3 // 11 = 11 windows
    assert windows == [False, *[True] * 10, False, True, True, True]
    training = Training(pack)
    for _ in range(15):
        training.update()
    for name, view in pack.network.params.items():
        torch.testing.assert_close(view, expected[name], rtol=1e-11, atol=1e-13)


def test_the_border_can_be_seen(text, pack_of):
    """Were gradients to cross it, the second step would differ: the test above can fail."""
    pack = pack_of(text(11, "optim=sgd", "optim.lr=0.5"))
    stopped, crossing = by_hand(pack, 2), by_hand(pack, 2, stop_gradients=False)
    assert (stopped["0.R0"] - crossing["0.R0"]).abs().max() > 1e-4


# Width for a number of parameters


def network_count(run, hidden):
    """The numbers in the tensors of a network of this width."""
    task = load_task(run, print)
    made = Network(
        stacked(layer_of(run.cell, run.model), run.model.layers, task.horizon, task.symbols),
        1,
        task.inputs,
        hidden,
        task.outputs,
        task.symbols,
        torch.float32,
        "cpu",
    )
    return sum(p.numel() for p in made.params.values())


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "fgr", "gru", "mut1", "indrnn", "mingru", "slstm"])
def test_match_finds_the_closest_width(cell, layers, settings_for, pack_of):
    run = settings_for(
        f"cell={cell}",
        "task=copy",
        "task.length=10",
        f"model.layers={layers}",
        "model.match=params:3000",
    )
    pack = pack_of(run)
    counts = {
        hidden: network_count(run, hidden)
        for hidden in (pack.hidden - 1, pack.hidden, pack.hidden + 1)
    }
    assert min(counts, key=lambda hidden: abs(counts[hidden] - 3000)) == pack.hidden
    assert pack.network.count == pack.network.flat.shape[1] == counts[pack.hidden]


@pytest.mark.parametrize("cell", ["lstm", "mut1", "lru", "tcn", "transformer"])
def test_match_by_arithmetic_finds_the_closest_width(cell, settings_for, pack_of):
    """What a record calls `flops`."""

    def of(*words):
        pack = pack_of(settings_for(f"cell={cell}", "task=copy", "task.length=10", *words))
        return pack.hidden, flops(pack.stack, pack.task, pack.hidden), pack.stack[0].multiple

    hidden, found, step = of("model.match=flops:20000")
    near = [of(f"model.hidden={hidden + side}")[1] for side in (-step, step)]
    assert abs(found - 20_000) < min(abs(other - 20_000) for other in near)


@pytest.mark.parametrize("cell", ["tcn", "transformer", "lru", "mingru", "gru", "lstm"])
def test_a_weight_is_a_multiplication_and_an_addition_a_step(cell, settings_for, pack_of):
    """So that equal parameters are equal arithmetic, which `alternatives` says."""

    def units(match):
        words = (f"cell={cell}", "task=copy", "task.length=100", f"model.match={match}")
        return pack_of(settings_for(*words)).hidden

    assert units("flops:40000") == pytest.approx(units("params:20000"), rel=0.05)


def test_match_is_exact_where_it_can_be(settings_for, pack_of, trained):
    """A GRU of 7 units on adding: 3 · (2·7 + 49 + 7) + 7 + 1 = 218."""
    run = settings_for(
        "cell=gru",
        "task=adding",
        "task.length=8",
        "model.match=params:218",
        "train.steps=1",
        *SHORT,
    )
    (record,) = trained(run)
    assert record["hidden"] == 7 and record["params"] == 218
    assert (
        sum(t.numel() for t in torch.load(Folder.of(run).best_path, weights_only=True).values())
        == 218
    )
    for wanted, hidden in ((217, 7), (245, 7), (247, 8), (14, 1)):  # 8 units: 273, one: 14
        assert (
            pack_of(settings_for("cell=gru", "task=adding", f"model.match=params:{wanted}")).hidden
            == hidden
        )
    with pytest.raises(UserError, match="one unit alone has 14 parameters"):
        pack_of(settings_for("cell=gru", "task=adding", "model.match=params:13"))


# Epochs


@pytest.fixture
def finite(text):
    """finite(…) → settings of a character model whose text is 11 batches of 3 windows of 11."""
    return lambda *more: text(11, "train.eval_limit=1", "task.tracks=1", *more)


def test_epochs_are_their_steps(finite, trained):
    """434 training characters are 11 windows of 11 on each of 3 tracks."""
    by_epochs = finite("train.epochs=2", "train.eval_every=epoch", "optim.schedule=cosine")
    by_steps = finite("train.steps=22", "train.eval_every=11", "optim.schedule=cosine")
    (ours,), (theirs,) = trained(by_epochs), trained(by_steps)
    same = ("status", "steps", "best", "final", "solved_at", "primary", "params")
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    assert ours["steps"] == ours["settings"]["train"]["steps"] == 22
    curve = Folder.of(by_epochs).curve()
    assert [row["step"] for row in curve if row["split"] == "valid"] == [11, 22]
    assert ours["id"] == run_id(by_epochs) != theirs["id"]


def test_patience_counts_evaluations_of_epochs(finite, trained):
    run = finite("train.epochs=9", "train.eval_every=epoch", "train.patience=2", "optim.lr=1e-30")
    (record,) = trained(run)
    assert record["status"] == "stopped" and record["steps"] == 33


def test_the_budget_that_does_not_count_is_not_in_the_id(finite):
    """Of steps and epochs one is the budget; without epochs, ids are as they were before these."""
    ours = finite("train.epochs=2")
    more = replace(ours, train=replace(ours.train, steps=7))
    assert run_id(ours) == run_id(more) != run_id(finite("train.epochs=3"))
    assert "epochs" not in canonical(finite())["train"]


@pytest.mark.parametrize("asked", ["train.epochs=3", "train.eval_every=epoch"])
def test_a_task_without_end_has_no_epochs(asked, settings_for, pack_of):
    with pytest.raises(UserError, match=rf"{asked}: .* without end.*set train\.steps"):
        pack_of(settings_for(*ADDING, asked))


def test_an_epoch_of_less_than_a_batch_is_refused(text, pack_of):
    with pytest.raises(UserError, match=r"200 characters do not fit .*lower train\.batch"):
        pack_of(text(200, "train.epochs=1"))


@pytest.mark.parametrize(("task", "size", "batches"), [("chorales", 20, 11), ("smnist", 100, 550)])
def test_epochs_of_real_data(task, size, batches, mirror, settings_for):
    """229 chorales; 55,000 images. Within an epoch no image comes twice."""
    run = settings_for(f"task={task}")
    run = replace(run, paths=replace(run.paths, mirror=mirror))
    made = load_task(run, print)
    assert made.epoch(size) == batches


# Selection


@pytest.mark.parametrize(
    ("task", "metric", "rate"), [("adding", "mse", 0.3), ("memorize", "accuracy", 0.5)]
)
def test_the_best_validation_is_selected_and_its_test_reported(
    task, metric, rate, settings_for, trained
):
    """A rate so large that validation goes up and down.

    A run that ends at the selected step must have the same numbers.
    """
    size = {"adding": ("task.length=8",), "memorize": ("task.items=2", "task.alphabet=3")}[task]
    common = (
        "cell=gru",
        f"task={task}",
        *size,
        "model.hidden=8",
        f"optim.lr={rate}",
        "train.eval_every=7",
        "train.batch=10",
        "seed=1",
    )
    run = settings_for(*common, "train.steps=60", *SHORT)
    (record,) = trained(run)
    curve = [row for row in Folder.of(run).curve() if row["split"] == "valid"]
    assert [row["step"] for row in curve] == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    sign = -1 if metric == "accuracy" else 1
    best = min(curve, key=lambda row: (sign * row[metric], row["loss"]))
    assert record["best"]["step"] == best["step"] < 60
    assert (
        record["best"]["valid"][metric] == best[metric]
        and record["final"]["valid"][metric] == curve[-1][metric]
    )
    shorter = replace(run, train=replace(run.train, steps=best["step"]))
    (there,) = trained(shorter)
    assert (
        record["best"]["valid"] == there["final"]["valid"]
        and record["best"]["test"] == there["final"]["test"]
    )
    assert record["best"]["test"] != record["final"]["test"]
    assert record["primary"]["value"] == record["best"]["test"][metric]
    selected = torch.load(Folder.of(run).best_path, weights_only=True)
    last = torch.load(Folder.of(shorter).last_path, weights_only=True)["parameters"]
    assert selected.keys() == last.keys() and all(
        torch.equal(selected[name], last[name]) for name in last
    )


def test_a_validation_that_is_not_finite_is_never_the_best(settings_for, pack_of):
    training = Training(pack_of(settings_for(*ADDING, *SHORT)))
    assert not training._judge(0, {"mse": float("nan"), "loss": float("nan")})
    assert training._judge(0, {"mse": 0.5, "loss": 0.5})
    assert not training._judge(0, {"mse": float("nan"), "loss": float("nan")})
    assert not training._judge(0, {"mse": float("inf"), "loss": 0.1})
    assert training.progress[0].best_valid == {"mse": 0.5, "loss": 0.5}


def test_gates_do_not_disturb_training(settings_for, pack_of):
    quiet, watched = (Training(pack_of(settings_for(*ADDING, *SHORT))) for _ in range(2))
    for _ in range(6):
        watched.validate()
        assert torch.equal(quiet.update(), watched.update())


# Dropout and noise


def test_dropout_masks_have_mean_one_and_two_values(settings_for, pack_of):
    run = settings_for(*ADDING, "model.layers=3", "model.dropout=0.3", "model.hidden=40")
    pack = pack_of(run, replace(run, seed=1))
    masks = pack.kept((50, 30), 4)
    # between three layers are two places
    assert len(masks) == 2 and all(mask.shape == (2, 50, 30, 40) for mask in masks)
    for mask in masks:
        assert sorted(mask.unique().tolist()) == [0, pytest.approx(1 / 0.7)]
        for k in range(
            2
        ):  # 60,000 draws: four standard errors of the mean are √(0.3 / 0.7 / 60,000) · 4 = 0.0107
            assert abs(mask[k].mean().item() - 1) < 0.0107
    different = [masks[0][0], masks[0][1], masks[1][0], pack.kept((50, 30), 5)[0][0]]
    for k, mask in enumerate(different):
        for other in different[
            :k
        ]:  # other seed, layer, step: half of the products of unrelated masks agree by chance
            # 0.7² + 0.3²
            assert abs(((mask > 0) == (other > 0)).double().mean().item() - 0.58) < 0.02
    assert all(torch.equal(a, b) for a, b in zip(masks, pack.kept((50, 30), 4), strict=True))


def test_dropout_acts_between_layers_only(settings_for, pack_of):
    """Nothing comes through a mask of zeros, whatever the input; but the layers below and above
    still do their work.
    """
    pack = pack_of(settings_for(*ADDING, "model.layers=2", "model.dropout=0.3"))
    network, state = pack.network, pack.network.zero_state(5)
    first, second = (pack.feeder.training(step, 5).x for step in (0, 1))
    mask = torch.zeros(1, 8, 5, 6, dtype=torch.float64)
    (closed, states), (other, _) = (
        network(pack.unroll, x, state, True, [mask]) for x in (first, second)
    )
    assert torch.equal(closed, other)
    (still, open_states), (free, _) = (
        network(pack.unroll, x, state, True, [torch.ones_like(mask)]) for x in (first, second)
    )
    assert not torch.equal(still, free) and torch.equal(states[0][0], open_states[0][0])
    assert torch.equal(still, network(pack.unroll, first, state, True)[0])


def test_evaluation_knows_neither_dropout_nor_noise(settings_for, pack_of):
    plain = settings_for(*ADDING, *SHORT, "model.layers=2")
    noisy = settings_for(
        *ADDING, *SHORT, "model.layers=2", "model.dropout=0.5", "train.input_noise=0.5"
    )
    ours, theirs = Training(pack_of(noisy)), Training(pack_of(plain))
    assert ours.evaluate("valid") == theirs.evaluate("valid") and ours.evaluate(
        "test"
    ) == theirs.evaluate("test")
    assert ours.evaluate("valid") != ours.evaluate("test")
    assert (ours.update() - theirs.update()).abs() > 1e-3


def test_input_noise_has_the_strength_that_was_asked(settings_for, pack_of):
    run = settings_for(
        "cell=gru",
        "task=adding",
        "task.length=100",
        "train.input_noise=0.25",
        "model.dtype=float64",
    )
    pack = pack_of(
        run, replace(run, train=replace(run.train, input_noise=0.0)), replace(run, seed=1)
    )
    x = pack.feeder.training(3, 100).x
    noise = pack.noisy(x, 3) - x
    # every seed has noise of its own
    assert abs(torch.corrcoef(noise[[0, 2]].flatten(1))[0, 1].item()) < 4 / 20_000**0.5
    assert not noise[1].any()
    assert (
        abs(noise[0].std().item() / 0.25 - 1) < 4 / (2 * 20_000) ** 0.5
        and abs(noise[0].mean().item()) < 4 * 0.25 / 20_000**0.5
    )
    assert not torch.equal(pack.noisy(x, 3), pack.noisy(x, 4)) and torch.equal(
        pack.noisy(x, 3), pack.noisy(x, 3)
    )


@pytest.mark.parametrize("engine", ["loop", "native"])
def test_weight_noise_is_in_the_gradient_alone(settings_for, pack_of, engine):
    """Each step's gradient is plain autograd's at the parameters plus noise of the strength that
    was asked; the parameters that it moves are those without.
    """
    shared = (*ADDING, "model.dtype=float32", f"engine={engine}", "model.hidden=40")
    rule = ("optim=sgd", "optim.momentum=0", "optim.clip_norm=null", "optim.lr=1")
    run = settings_for(*shared, *rule, "train.weight_noise=0.075")
    training = Training(pack_of(run, replace(run, seed=1)))
    pack, before = training.pack, training.pack.network.flat.detach().clone()
    noise = pack.perturbed(0).flat.detach() - before
    count = before.shape[1]
    assert torch.equal(pack.network.flat, before)
    for row in (0, 1):
        assert abs(noise[row].std().item() / 0.075 - 1) < 4 / (2 * count) ** 0.5
        assert abs(noise[row].mean().item()) < 4 * 0.075 / count**0.5
    assert abs(torch.corrcoef(noise)[0, 1].item()) < 4 / count**0.5
    assert not torch.equal(pack.perturbed(1).flat, pack.perturbed(0).flat)

    weights = (before + noise).requires_grad_()
    network, batch = pack.network.holding(weights), pack.feeder.training(0, run.train.batch)
    start = network.zero_state(batch.x.shape[2])
    prediction, _ = network(loop.unroll, batch.x, start, batch.last)
    loss = ((prediction - batch.y) ** 2).mean((1, 2))
    (gradient,) = torch.autograd.grad(loss.sum(), weights)
    losses = training.update()
    assert torch.allclose(losses, loss, rtol=1e-5)
    moved = pack.network.flat.detach() - before
    assert torch.allclose(moved, -gradient, rtol=1e-3, atol=1e-6)


def test_settings_that_cannot_act_are_refused(settings_for, pack_of):
    with pytest.raises(UserError, match="inputs are symbols"):
        pack_of(settings_for("cell=gru", "task=copy", "train.input_noise=0.1"))
    with pytest.raises(UserError, match=r"with model\.layers=1 it has no effect"):
        settings_for(*ADDING, "model.dropout=0.5")


# The limits


def test_a_run_can_diverge_at_its_first_step(settings_for, trained):
    run = settings_for(
        "cell=relu",
        "task=adding",
        "task.length=8",
        "model.dtype=float32",
        "train.steps=5",
        "cell.init=scaled:1e30",
        "optim.lr=0.001",
        *SHORT,
    )
    calm = replace(run, cell=replace(run.cell, init="orthogonal"))
    for record, other in (trained(run, calm), (*trained(replace(run, study="alone")), None)):
        assert record["status"] == "diverged" and record["steps"] == 0 and record["best"] is None
        assert record["reason"] == (
            "loss not finite at step 1; learning rate 0.001, gradient norm one step before 0; "
            "first not finite: R.h @ h of layer 0 at time step 2"
        )
        assert record["throughput"] == {"steps_per_s": None, "sequences_per_s": None}
        assert other is None or (
            other["status"] == "finished" and other["throughput"]["steps_per_s"] > 0
        )
    text = Folder.of(run).record_path.read_text()
    assert json.loads(text, parse_constant=pytest.fail)["final"]["test"]["mse"] is None


def test_eval_limit_takes_the_first_batches(settings_for, pack_of):
    sizes = ("task.valid_size=50", "task.test_size=50", "train.eval_batch=20")
    cut = Training(pack_of(settings_for(*ADDING, *sizes, "train.eval_limit=2")))
    pack = cut.pack
    batches = list(pack.feeder.evaluation("test", 20, None))
    assert [batch.x.shape[2] for batch in batches] == [20, 20, 10]
    errors = [
        pack.network(pack.unroll, b.x, pack.network.zero_state(b.x.shape[2]), True)[0] - b.y
        for b in batches
    ]
    assert cut.evaluate("test")[0]["mse"] == pytest.approx(
        torch.cat(errors[:2], 1).square().mean().item(), rel=1e-13
    )
    whole = Training(pack_of(settings_for(*ADDING, *sizes)))
    assert whole.evaluate("test")[0]["mse"] == pytest.approx(
        torch.cat(errors, 1).square().mean().item(), rel=1e-13
    )


def test_scores_do_not_depend_on_the_size_of_batches(settings_for, pack_of):
    scores = [
        Training(pack_of(settings_for(*ADDING, *SHORT, f"train.eval_batch={size}"))).evaluate(
            "valid"
        )[0]
        for size in (40, 7)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-13) and scores[0].keys() == {"mse", "loss"}


def test_threads_that_cannot_help_are_refused(settings_for, pack_of):
    processors = os.cpu_count()
    with pytest.raises(UserError, match=rf"{processors} processors; use at most {2 * processors}"):
        pack_of(settings_for(*ADDING, f"engine.threads={2 * processors + 1}"))
    with pytest.raises(UserError, match=r"model\.layers must be between 1 and 1000, got 100000"):
        settings_for(*ADDING, "model.layers=100000")


def test_a_network_that_cannot_be_in_memory_is_refused(settings_for, pack_of):
    with pytest.raises(UserError, match=r"model\.hidden=10000000.* needs .* GiB .*use fewer units"):
        pack_of(settings_for("cell=gru", "task=adding", "model.hidden=10000000"))
