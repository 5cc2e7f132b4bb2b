"""Companions do not matter: a run in a pack makes the numbers that it makes alone, whatever happens
to the others.
"""

from dataclasses import replace

import pytest
import torch

from rnnbench.engine.network import ReadOut
from rnnbench.training.loop import Training

STEPS = 100

# Every run of a pack differs in seed, rate, clipping and initialisation; a pack has one cell, task
# and kind of optimiser.
PACKS = {
    "adding, adam": (
        ("cell=gru", "task=adding", "task.length=8", "optim=adam", "optim.lr=0.01"),
        (
            "seed=1",
            "optim.lr=0.003",
            "optim.clip_norm=null",
            "cell.init=glorot",
            "cell.forget_bias=2",
        ),
        ("seed=2", "optim.lr=0.001", "optim.clip_value=0.01", "cell.init=scaled:0.7"),
        ("optim.lr=0.02", "optim.schedule=cosine", "optim.beta2=0.99", "cell.init=chrono"),
    ),
    "masked symbols, nesterov": (
        (
            "cell=lstm_vanilla",
            "task=memorize",
            "task.items=3",
            "task.alphabet=5",
            "optim=nesterov",
            "optim.lr=0.1",
        ),
        ("seed=1", "optim.momentum=0", "cell.init=paper"),
        ("seed=2", "optim.clip_norm=0.01", "optim.momentum=0.5", "cell.forget_bias=1"),
    ),
    "texts of other lengths, rmsprop": (
        ("cell=mut1", "task=arithmetic", "task.digits=1", "optim=rmsprop", "optim.lr=0.003"),
        ("seed=1", "optim.decay=0.99", "optim.momentum=0.5", "cell.init=paper"),
        ("seed=2", "optim.clip_norm=null", "cell.forget_bias=3"),
    ),
    "two layers, dropout, input noise": (
        (
            "cell=lstm",
            "task=adding",
            "task.length=8",
            "model.layers=2",
            "model.dropout=0.3",
            "train.input_noise=0.1",
            "train.weight_noise=0.075",
        ),
        ("seed=1", "train.input_noise=0", "optim.lr=0.01"),
        (
            "seed=2",
            "train.input_noise=0.5",
            "optim.schedule=step",
            "optim.factor=0.5",
            "optim.every=7",
        ),
    ),
}
SMALL = ("model.hidden=6", "train.batch=5", "train.steps=100")


def advanced(pack, steps=STEPS):
    """The training after so many steps, and every step's losses (steps, K)."""
    training = Training(pack)
    return training, torch.stack([training.update() for _ in range(steps)])


def adding(settings_for, *more, dtype="float32"):
    return settings_for(
        "cell=gru", "task=adding", "task.length=8", f"model.dtype={dtype}", *SMALL, *more
    )


def assert_close(ours, theirs, tolerance):
    """Relative to the largest number; losses and parameters are of one magnitude."""
    assert ours.shape == theirs.shape and theirs.isfinite().all()
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max(), (
        f"off by {(ours - theirs).abs().max():.3g} of {theirs.abs().max():.3g}"
    )


def assert_same_bits(ours, theirs):
    """Of two checkpoints: parameters and what the optimiser holds; NaN is NaN."""
    for part in ("parameters", "optimizer"):
        assert ours[part].keys() == theirs[part].keys()
        for name, tensor in ours[part].items():
            assert torch.equal(tensor.nan_to_num(7), theirs[part][name].nan_to_num(7)), name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", PACKS)
def test_packed_is_alone(case, dtype, settings_for, pack_of):
    shared, *differing = PACKS[case]
    steps = STEPS if dtype == "float64" else 30
    runs = [
        settings_for(*shared, *more, *SMALL, f"model.dtype={dtype}") for more in ((), *differing)
    ]
    tolerance = {"float64": 1e-10, "float32": 1e-4}[dtype]
    packed, losses = advanced(pack_of(*runs), steps)
    for k, run in enumerate(runs):
        alone, loss = advanced(pack_of(run), steps)
        assert ((losses[:, k] - loss[:, 0]).abs() <= tolerance * loss[:, 0].abs()).all()
        assert_close(packed.pack.network.flat[k], alone.pack.network.flat[0], tolerance)
        for ours, theirs in zip(
            packed.evaluate("valid")[k].items(), alone.evaluate("valid")[0].items(), strict=True
        ):
            assert ours[0] == theirs[0] and ours[1] == pytest.approx(theirs[1], rel=tolerance)
    finals = packed.pack.network.flat
    # they are different runs indeed
    assert all((finals[k] - finals[0]).abs().max() > 1e-3 for k in range(1, len(runs)))


def test_carried_states_belong_to_their_run(settings_for, pack_of, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 20)
    shared = (
        "cell=lstm",
        "task=charlm",
        f"task.corpus={text}",
        "task.window=7",
        "model.dtype=float64",
        *SMALL,
    )
    runs = [settings_for(*shared, f"seed={seed}") for seed in range(3)]
    packed, losses = advanced(pack_of(*runs), 30)  # more than one pass: 810 // 5 // 7 = 23 windows
    for k, run in enumerate(runs):
        alone, loss = advanced(pack_of(run), 30)
        assert_close(losses[:, k], loss[:, 0], 1e-10)
        assert_close(packed.pack.network.flat[k], alone.pack.network.flat[0], 1e-10)
        assert_close(packed.states[0][1][k], alone.states[0][1][0], 1e-10)


def test_same_pack_twice_is_bitwise_equal(settings_for, pack_of):
    runs = [adding(settings_for, f"seed={seed}") for seed in range(3)]
    (first, losses), (second, again) = advanced(pack_of(*runs), 40), advanced(pack_of(*runs), 40)
    assert torch.equal(losses, again) and torch.equal(
        first.pack.network.flat, second.pack.network.flat
    )


def test_order_does_not_matter(settings_for, pack_of):
    """To rounding: where a matrix lies in memory may decide how a library sums."""
    order, rates = [2, 0, 1], (0.01, 0.003, 0.02)
    runs = [
        adding(settings_for, f"seed={seed}", f"optim.lr={rate}", dtype="float64")
        for seed, rate in enumerate(rates)
    ]
    (first, losses), (second, again) = (
        advanced(pack_of(*runs), 40),
        advanced(pack_of(*(runs[k] for k in order)), 40),
    )
    assert_close(again, losses[:, order], 1e-12)
    assert_close(second.pack.network.flat, first.pack.network.flat[order], 1e-12)


@pytest.mark.parametrize(("K", "C"), [(1, 1), (2, 1), (1, 3), (3, 4)])
def test_the_read_out_is_linear_with_its_own_gradient(K, C):
    """Against finite differences, and against the same written out."""
    torch.manual_seed(0)
    x, W, b = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((K, 5, 6), (K, 6, C), (K, C))
    )
    assert_close(
        ReadOut.apply(x, W, b).detach(),
        (torch.einsum("knh,khc->knc", x, W) + b[:, None]).detach(),
        1e-12,
    )
    assert torch.autograd.gradcheck(ReadOut.apply, (x, W, b))


@pytest.mark.parametrize(("N", "C"), [(20, 1), (20, 10), (1000, 9), (400, 65)])
def test_the_read_out_of_several_is_that_of_each_to_the_bit(N, C):
    torch.manual_seed(0)
    x, W, b = torch.randn(4, N, 37), torch.randn(4, 37, C), torch.randn(4, C)
    slope = torch.randn(4, N, C)

    def parts(k):
        own = [t[k].clone().requires_grad_() for t in (x, W, b)]
        y = ReadOut.apply(*own)
        return y.detach(), *torch.autograd.grad(y, own, slope[k].clone())

    several = parts(slice(None))
    for k in range(4):
        for ours, alone in zip(several, parts(slice(k, k + 1)), strict=True):
            assert torch.equal(ours[k], alone[0])


# Divergence


def poked(training, k):
    """NaN in one weight of run k."""
    training.pack.network.flat[k, 3] = torch.nan


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "nesterov", "rmsprop"])
def test_a_poisoned_run_leaves_the_others_bitwise_unchanged(optimizer, settings_for, pack_of):
    runs = [adding(settings_for, f"optim={optimizer}", f"seed={seed}") for seed in range(3)]
    healthy, _ = advanced(pack_of(*runs), 5)
    poisoned, _ = advanced(pack_of(*runs), 5)
    poked(poisoned, 1)
    before = poisoned.checkpoint(1)
    for step in range(20):
        losses, clean = poisoned.update(), healthy.update()
        assert torch.equal(losses[[0, 2]], clean[[0, 2]]), f"step {step + 6}"
    for k in (0, 2):
        assert_same_bits(poisoned.checkpoint(k), healthy.checkpoint(k))
    assert_same_bits(poisoned.checkpoint(1), before)
    assert [p.status for p in poisoned.progress] == ["running", "diverged", "running"]
    assert [p.steps for p in poisoned.progress] == [25, 5, 25]
    assert poisoned.progress[1].reason.startswith("loss not finite at step 6; ")
    rows, clean = poisoned.validate(), healthy.validate()
    assert rows[1] == [] and all(rows[k][1] == clean[k][1] for k in (0, 2))
    assert [row["loss"] for row in (rows[0][0], rows[2][0])] == [
        row["loss"] for row in (clean[0][0], clean[2][0])
    ]


def test_a_rate_beyond_all_measure_diverges_alone(settings_for, trained):
    rates = (0.01, 1e30, 0.003)
    shared = (
        "train.steps=20",
        "train.eval_every=5",
        "train.eval_limit=1",
        "train.eval_batch=20",
        "optim.clip_norm=null",
    )
    runs = [adding(settings_for, f"optim.lr={rate}", *shared) for rate in rates]
    calm = [runs[0], replace(runs[1], optim=replace(runs[1].optim, lr=0.02)), runs[2]]
    wild, quiet = trained(*runs), trained(*calm)
    for k in (0, 2):
        assert {key: wild[k][key] for key in ("best", "final", "steps", "status", "primary")} == {
            key: quiet[k][key] for key in ("best", "final", "steps", "status", "primary")
        }
    record = wild[1]
    assert record["status"] == "diverged" and record["steps"] == 1
    assert record["reason"].startswith(
        "loss not finite at step 2; learning rate 1e+30, gradient norm one step before "
    )
    assert float(record["reason"].rpartition(" ")[2]) > 0
    assert record["best"] is None and record["solved_at"] is None


def test_the_first_quantity_that_is_not_finite_is_named(settings_for, pack_of):
    """A loss of about 1e12 whose gradient overflows in the read-out, where err · h = 1e6 · 1e36."""
    run = adding(settings_for, "cell=relu", "task.length=10", "optim.clip_norm=null")
    training = Training(pack_of(run, replace(run, seed=1)))
    params = {
        name: view[0]
        for name, view in training.pack.network.views(training.pack.network.flat).items()
    }
    params["0.W"].fill_(1)
    params["0.R0"].copy_(1e4 * torch.eye(6))
    params["readout.W"].fill_(1e-30)
    assert training.update()[0].isfinite()
    assert [p.status for p in training.progress] == ["diverged", "running"]
    assert training.progress[0].reason.startswith("gradient of readout.W not finite at step 1; ")


def test_a_pack_ends_when_all_have_diverged(settings_for, trained, silent):
    watch = silent()
    runs = [
        adding(settings_for, "optim.lr=1e30", "optim.clip_norm=null", f"seed={seed}")
        for seed in range(2)
    ]
    records = trained(*runs, watch=watch)
    assert [r["status"] for r in records] == ["diverged"] * 2
    assert watch.step == 2


# Early stopping


def test_a_run_that_stops_improving_is_frozen_and_the_others_go_on(settings_for, pack_of, trained):
    shared = (
        "train.steps=40",
        "train.eval_every=4",
        "train.eval_batch=50",
        "task.valid_size=50",
        "task.test_size=50",
    )
    free = [adding(settings_for, f"optim.lr={rate}", *shared) for rate in (0.001, 1e-30)]
    patient = [replace(run, train=replace(run.train, patience=3)) for run in free]
    (going, _), (learnt, stopped) = trained(*free), trained(*patient)
    assert learnt["status"] == "finished" and learnt["steps"] == 40
    assert (learnt["best"], learnt["final"]) == (going["best"], going["final"])
    assert (
        stopped["status"] == "stopped"
        and stopped["reason"] == "no better validation in 3 evaluations"
    )
    # the first of equals is the best
    assert stopped["steps"] == 16 and stopped["best"]["step"] == 4
    pack = pack_of(*patient)
    training = Training(pack)
    for step in range(1, 25):
        training.update()
        if step % 4 == 0:
            training.validate()
        if step == 16:
            frozen = training.checkpoint(1)
    later = training.checkpoint(1)
    assert (
        torch.equal(frozen["optimizer"]["mean"], later["optimizer"]["mean"])
        and frozen["progress"] == later["progress"]
    )
    assert frozen["progress"]["rows"][-1]["step"] == 16


# Leaving


LEAVING = {  # what is trained; every run with another seed and rate
    "adam": ("cell=gru", "task=adding", "task.length=8", "optim=adam"),
    "nesterov, masked symbols": ("cell=lstm", "task=memorize", "task.items=3", "optim=nesterov"),
    "rmsprop, two layers, dropout, noise": (
        *("cell=lstm", "task=adding", "task.length=8", "optim=rmsprop", "optim.momentum=0.5"),
        *("model.layers=2", "model.dropout=0.3", "train.input_noise=0.1"),
        "train.weight_noise=0.05",
    ),
    "carried state": ("cell=mut1", "task=charlm", "task.window=7", "optim=sgd"),
}


@pytest.mark.parametrize("engine", ["native", "loop"])
@pytest.mark.parametrize("case", LEAVING)
def test_when_others_leave_does_not_matter(case, engine, settings_for, pack_of, tmp_path):
    """Runs that end after 3, 5 and 8 steps leave the arrays; to the bit, all is as in a pack that
    nobody leaves. The loop's products are a library's: there, to rounding.
    """
    (text := tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20)
    corpus = (f"task.corpus={text}",) if "task=charlm" in LEAVING[case] else ()
    shared = (*LEAVING[case], *corpus, *SMALL, f"engine={engine}")
    dtype = {"native": "float32", "loop": "float64"}[engine]
    runs = [
        settings_for(*shared, f"seed={seed}", f"optim.lr={rate}", f"model.dtype={dtype}")
        for seed, rate in enumerate((0.01, 0.002, 0.03, 0.001))
    ]
    staying, leaving = Training(pack_of(*runs)), Training(pack_of(*runs))
    ends, ended = {3: 2, 5: 0, 8: 3}, {}
    for step in range(1, 13):
        losses, expected = leaving.update(), staying.update()
        for k in range(4):
            if k in ended:
                assert losses[k].isnan()
            else:
                assert torch.equal(losses[k], expected[k]) or engine == "loop", f"step {step}"
        if step in ends:
            k = ends[step]
            ended[k] = staying.checkpoint(k)
            leaving.progress[k].status = "stopped"
    assert leaving.present == [1] and len(leaving.pack.network.flat) == 1
    ended[1] = staying.checkpoint(1)
    for k, expected in ended.items():
        found = leaving.checkpoint(k)
        assert found["step"] == expected["step"]
        if engine == "native":
            assert_same_bits(found, expected)
        for name, tensor in expected["parameters"].items():
            assert_close(found["parameters"][name], tensor, 1e-12)


def test_a_run_that_has_left_is_in_the_results_as_it_left(settings_for, pack_of):
    """Its test score is that of its own last parameters, in the order of the runs."""
    shared = ("train.eval_batch=50", "task.valid_size=50", "task.test_size=50")
    runs = [adding(settings_for, f"seed={seed}", *shared) for seed in range(3)]
    training = Training(pack_of(*runs))
    training.update()
    scores = training.evaluate("test")
    training.progress[1].status = "stopped"
    training.update()
    training.progress[0].status = "stopped"
    scores[0] = training.evaluate("test")[0]
    training.update()
    scores[2] = training.evaluate("test")[0]
    found = [result["final"]["test"] for result in training.conclude()]
    assert found == scores


def test_a_run_that_reaches_the_target_is_frozen_and_the_others_go_on(settings_for, trained):
    shared = (
        "train.steps=60",
        "train.eval_every=6",
        "train.eval_batch=50",
        "task.valid_size=50",
        "task.test_size=50",
    )
    runs = [
        adding(settings_for, f"optim.lr={rate}", f"seed={seed}", *shared)
        for seed, rate in enumerate((0.02, 1e-5, 2e-5))
    ]
    plain = trained(*(replace(run, task=run.task | {"target": 0.0}) for run in runs))
    target = (
        plain[0]["best"]["valid"]["mse"] + plain[1]["best"]["valid"]["mse"]
    ) / 2  # the first run passes it, the others do not
    aiming = [
        replace(
            run, task=run.task | {"target": target}, train=replace(run.train, stop_at_target=True)
        )
        for run in runs
    ]
    records = trained(*aiming)
    assert [r["status"] for r in records] == ["stopped", "finished", "finished"]
    assert records[0]["solved_at"] == records[0]["steps"] == records[0]["best"]["step"] < 60
    assert records[0]["reason"] == f"target {target:g} reached at step {records[0]['steps']}"
    assert records[0]["best"]["valid"]["mse"] <= target
    for k in (1, 2):
        assert (records[k]["best"], records[k]["final"]) == (plain[k]["best"], plain[k]["final"])
        assert records[k]["solved_at"] is None


def test_a_run_is_charged_its_share_of_the_pack(settings_for, pack_of, monkeypatch):
    """Every step takes a second: of the first two each run half, of the other four one run all."""
    training = Training(pack_of(adding(settings_for), adding(settings_for, "seed=1")))
    seconds = iter(range(1000))
    monkeypatch.setattr("rnnbench.training.loop.time.perf_counter", lambda: next(seconds))
    for _ in range(2):
        training.update()
    training.progress[0].status = "stopped"
    for _ in range(4):
        training.update()
    left, stayed = (training.seconds_of(k) for k in range(2))
    assert (left["warmup"], left["train"]) == (1, 1)  # two seconds, of two runs: its own is one
    assert (stayed["warmup"], stayed["train"]) == (1, 9)
    assert sum(left.values()) / 2 + sum(stayed.values()) / 2 == sum(training.seconds.values()) == 6
