"""Optimisers over replicas: each row is its own torch.optim run; who is frozen, clipped or packed
together changes nothing else.
"""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from rnnbench import catalogue
from rnnbench.engine import rows
from rnnbench.engine.optimizers import Optimizer, Schedule
from rnnbench.errors import UserError
from rnnbench.settings import SCHEDULES, Optim, typed

CONFIGS = Path(__file__).parents[1] / "configs" / "optim"
OPTIMIZERS = {name: rule.numbers for name, rule in catalogue.kinds("optim").items()}
PLAIN = {"clip_norm": None, "clip_value": None, "schedule": "constant"}
NUMBERS = {  # kind → four replicas, each with numbers of its own
    "sgd": [{"lr": 0.02, "momentum": m} for m in (0.0, 0.5, 0.9, 0.99)],
    "nesterov": [
        {"lr": lr, "momentum": m}
        for lr, m in ((0.02, 0.0), (0.01, 0.5), (0.03, 0.9), (0.001, 0.99))
    ],
    "rmsprop": [
        {"lr": 0.01 / i, "momentum": m, "decay": d, "eps": 10.0**-i}
        for i, m, d in ((8, 0.0, 0.9), (3, 0.9, 0.99), (4, 0.0, 0.5), (5, 0.5, 0.0))
    ],
    "adam": [  # rates at which a start moved by 1e-15 ends 1e-14 away: chaos would hide an error
        {"lr": 0.04, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        {"lr": 0.01, "beta1": 0.0, "beta2": 0.9, "eps": 1e-2},
        {"lr": 0.003, "beta1": 0.5, "beta2": 0.99, "eps": 1e-6},
        {"lr": 0.002, "beta1": 0.9, "beta2": 0.5, "eps": 1e-4},
    ],
}
CLIPS = [{}, {"clip_norm": 0.5}, {"clip_value": 0.1}, {"clip_norm": 1.0, "clip_value": 0.2}]
WIDTH, STEPS = 37, 50


def optim(name, **numbers):
    dampen = {"dampen": False} if "dampen" in OPTIMIZERS[name] else {}
    return Optim(**(PLAIN | {"name": name} | dampen | numbers))


def mixed(name):
    """Four replicas that differ in every number, clipping included."""
    return [
        optim(name, **numbers, **clip) for numbers, clip in zip(NUMBERS[name], CLIPS, strict=True)
    ]


def start(replicas, dtype=torch.float64):
    return torch.randn(replicas, WIDTH, dtype=dtype, generator=torch.Generator().manual_seed(0))


def gradient(parameters):
    """Of a nonlinear function with its own valley per row: sum of cos(i·p) + p⁴/4 + a coupling of
    neighbours.
    """
    frequency = torch.arange(1, WIDTH + 1, dtype=parameters.dtype).sqrt()
    return (
        -frequency * torch.sin(frequency * parameters)
        + parameters**3
        + 0.3 * parameters.roll(1, -1)
    )


def ours(optims, parameters, steps=STEPS, alive=None, poison=None, optimizer=None):
    """The parameters after some steps, in place, and the optimiser.

    poison: a row whose gradient is NaN.
    """
    optimizer = optimizer or Optimizer(optims, parameters)
    rate = torch.tensor([o.lr for o in optims], dtype=torch.float64)
    for _ in range(steps):
        gradients = gradient(parameters)
        if poison is not None:
            gradients[poison] = math.nan
        optimizer.clip(gradients)
        optimizer.update(parameters, gradients, rate, alive)
    return parameters, optimizer


def compiled(optims, parameters, steps=STEPS, optimizer=None, loss=None):
    """As `ours`, by native code: gradients come in parts, parameters in rows that are aligned."""
    parameters = rows.taken(parameters, range(len(parameters)))
    optimizer = optimizer or Optimizer(optims, parameters, compiled=True)
    rate = torch.tensor([o.lr for o in optims], dtype=torch.float64)
    loss = torch.zeros(len(optims), dtype=parameters.dtype) if loss is None else loss
    for _ in range(steps):
        parts = gradient(optimizer.parameters).split([20, 1, WIDTH - 21], 1)
        norm_K = optimizer.step(parts, rate, loss)
    return optimizer.parameters, optimizer, norm_K


def theirs(o, row):
    """The same with torch.optim and torch.nn.utils, one replica."""
    p = torch.nn.Parameter(row.clone())
    made = {
        "sgd": lambda: torch.optim.SGD([p], lr=o.lr, momentum=o.momentum),
        "nesterov": lambda: torch.optim.SGD(
            [p], lr=o.lr, momentum=o.momentum, nesterov=o.momentum > 0
        ),
        "rmsprop": lambda: torch.optim.RMSprop(
            [p], lr=o.lr, alpha=o.decay, eps=o.eps, momentum=o.momentum
        ),
        "adam": lambda: torch.optim.Adam([p], lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps),
    }[o.name]()
    for _ in range(STEPS):
        p.grad = gradient(p.detach())
        if o.clip_norm:
            torch.nn.utils.clip_grad_norm_([p], o.clip_norm)
        if o.clip_value:
            torch.nn.utils.clip_grad_value_([p], o.clip_value)
        made.step()
    return p.detach()


def close(a, b, dtype=torch.float64):
    return torch.testing.assert_close(
        a,
        b,
        rtol=1e-12 if dtype == torch.float64 else 1e-4,
        atol=1e-13 if dtype == torch.float64 else 1e-5,
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("index", range(4))
def test_one_replica_is_torch(name, index):
    one = optim(name, **NUMBERS[name][index])
    close(ours([one], start(1))[0][0], theirs(one, start(1)[0]))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_replica_of_a_pack_is_its_own_torch_run(name, dtype):
    optims = mixed(name)
    for row, began, one in zip(
        ours(optims, start(4, dtype))[0], start(4, dtype), optims, strict=True
    ):
        close(row, theirs(one, began), dtype)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_compiled_every_replica_is_its_own_torch_run(name, dtype):
    optims = mixed(name)
    made, optimizer, _ = compiled(optims, start(4, dtype))
    expected, reference = ours(optims, start(4, dtype))
    for row, began, one in zip(made, start(4, dtype), optims, strict=True):
        close(row, theirs(one, began), dtype)
    close(made, expected, dtype)
    if dtype == torch.float32:
        return  # the buffers' last digits are chaos there
    has_momentum = torch.tensor([bool(o.momentum) for o in optims])
    for key, tensor in optimizer.state.items():
        used = has_momentum if key == "velocity" else slice(None)  # else it is never read
        close(tensor[used], reference.state[key][used], dtype)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_compiled_a_replica_alone_has_the_same_bits(name):
    optims, began = mixed(name), start(4, torch.float32)
    together, _, norms = compiled(optims, began)
    for k in range(4):
        alone, _, norm = compiled(optims[k : k + 1], began[k : k + 1])
        assert torch.equal(alone[0], together[k]) and torch.equal(norm[0], norms[k])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("by_code", [True, False])
def test_what_is_not_finite_keeps_every_bit_and_the_others_do_not_notice(name, by_code):
    """Replica 1 has no finite loss, replica 2 no finite gradient."""
    optims, began = mixed(name), start(4)
    expected, reference, _ = compiled(optims, began, steps=20)
    loss = torch.tensor([0.0, math.inf, 0.0, 0.0], dtype=torch.float64)
    parameters = rows.taken(began, range(4))
    optimizer = Optimizer(optims, parameters, by_code)
    rate = torch.tensor([o.lr for o in optims], dtype=torch.float64)
    for _ in range(20):
        gradients = gradient(parameters)
        gradients[2, 5] = math.nan
        norm_K = optimizer.step([gradients], rate, loss)
    assert norm_K.isfinite().tolist() == [True, True, False, True]
    assert torch.equal(parameters[[1, 2]], began[[1, 2]])
    close(parameters[[0, 3]], expected[[0, 3]])
    for key, tensor in optimizer.state.items():
        assert not tensor[[1, 2]].any(), key
        if key != "velocity":
            close(tensor[[0, 3]], reference.state[key][[0, 3]])


@pytest.mark.parametrize("by_code", [True, False])
def test_clipping_within_a_step_is_torch(by_code):
    """Plain gradient descent with a rate of 1 moves by the clipped gradient."""
    raw = start(5) * torch.tensor([[1e-3], [1.0], [10.0], [1e3], [5.0]])
    limits = [{"clip_norm": 1.0}, {"clip_norm": 0.7}, {"clip_value": 0.5}, {}]
    limits.append({"clip_norm": 2.0, "clip_value": 0.3})
    optims = [optim("sgd", lr=1.0, momentum=0.0, **limit) for limit in limits]
    parameters = rows.zeros(5, WIDTH, torch.float64, "cpu")
    none = torch.zeros(5, dtype=torch.float64)
    norm_K = Optimizer(optims, parameters, by_code).step([raw], none + 1, none)
    clipped = raw.clone()
    close(norm_K, Optimizer(optims, raw).clip(clipped))
    close(parameters, -clipped)


def test_adam_counts_exactly_in_single_precision():
    """1 - beta2 at the first step loses four digits in float32 unless taken with care; the first
    step is sign(g)·lr.
    """
    one = optim("adam", lr=1.0, beta1=0.9, beta2=0.99999, eps=0.0)
    for by_code in (False, True):
        p = rows.zeros(1, 3, torch.float32, "cpu")
        gradients = [torch.tensor([[2.0, -3.0, 1e-3]])]
        Optimizer([one], p, by_code).step(gradients, torch.ones(1), torch.zeros(1))
        torch.testing.assert_close(p, torch.tensor([[-1.0, 1.0, -1.0]]), rtol=3e-7, atol=0)


def test_clip_is_torch():
    raw = start(5) * torch.tensor([[1e-3], [1.0], [10.0], [1e3], [5.0]])
    limits = [
        {"clip_norm": 1.0},
        {"clip_norm": 0.7},
        {"clip_value": 0.5},
        {},
        {"clip_norm": 2.0, "clip_value": 0.3},
    ]
    clipped = raw.clone()
    norm_K = Optimizer([optim("sgd", lr=1.0, momentum=0.0, **limit) for limit in limits], raw).clip(
        clipped
    )
    for row, kept, norm, limit in zip(raw, clipped, norm_K, limits, strict=True):
        p = torch.nn.Parameter(torch.zeros(WIDTH, dtype=torch.float64))
        p.grad = row.clone()
        before = torch.nn.utils.clip_grad_norm_([p], limit.get("clip_norm", math.inf))
        if "clip_value" in limit:
            torch.nn.utils.clip_grad_value_([p], limit["clip_value"])
        close(norm, before)
        close(kept, p.grad)
    assert torch.equal(clipped[3], raw[3]), "no clipping touches no bit"


def test_clip_leaves_a_replica_without_limits_alone_even_if_its_norm_overflows():
    huge = torch.full((2, 4), 1e30)
    norm_K = Optimizer(
        [optim("sgd", lr=1.0, momentum=0.0), optim("sgd", lr=1.0, momentum=0.0, clip_norm=1.0)],
        huge,
    ).clip(huge)
    assert norm_K.isinf().all() and torch.equal(huge[0], torch.full((4,), 1e30))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_replicas_keep_every_bit_and_the_living_do_not_notice(name):
    optims, alive = mixed(name), torch.tensor([True, False, True, False])
    reference, expected = ours(optims, start(4))
    together = start(4)
    _, optimizer = ours(optims, together, steps=20)
    kept, kept_state = together.clone(), {key: t.clone() for key, t in optimizer.state.items()}
    ours(optims, together, steps=STEPS - 20, alive=alive, poison=~alive, optimizer=optimizer)
    assert torch.equal(together[~alive], kept[~alive]) and torch.equal(
        together[alive], reference[alive]
    )
    for key, tensor in optimizer.state.items():
        assert torch.equal(tensor[~alive], kept_state[key][~alive]), key
        assert torch.equal(tensor[alive], expected.state[key][alive]), key
    assert together.isfinite().all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_living_replica_of_nans_harms_nobody(name):
    optims = mixed(name)
    reference, _ = ours(optims, start(4))
    poisoned, _ = ours(optims, start(4), poison=1)
    others = [0, 2, 3]
    assert torch.equal(poisoned[others], reference[others]) and poisoned[1].isnan().all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_saved_and_loaded_goes_on_bit_for_bit_even_row_by_row(name):
    optims = mixed(name)
    whole, _ = ours(optims, start(4))
    half, optimizer = ours(optims, start(4), steps=20)
    # one checkpoint per run
    saved = [{key: t[k].clone() for key, t in optimizer.state.items()} for k in range(4)]
    taken = optimizer.taken([1, 3], half[[1, 3]])
    going_on, _ = ours([optims[1], optims[3]], half[[1, 3]], STEPS - 20, optimizer=taken)
    assert torch.equal(going_on, whole[[1, 3]])
    order = [2, 0, 3, 1]
    again = Optimizer([optims[k] for k in order], half)
    again.load({key: torch.stack([saved[k][key] for k in order]) for key in saved[0]})
    resumed, _ = ours([optims[k] for k in order], half[order], steps=STEPS - 20, optimizer=again)
    assert torch.equal(resumed, whole[order])


def test_state_names_depend_on_the_kind_alone():
    without = Optimizer([optim("sgd", lr=0.1, momentum=0.0)], start(1))
    assert without.state.keys() == Optimizer(mixed("sgd"), start(4)).state.keys()
    with pytest.raises(AssertionError, match="velocity"):
        without.load({})


def scheduled(schedule, **numbers):
    return optim("sgd", lr=0.3, momentum=0.0, schedule=schedule, **numbers)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_cosine_and_step_are_torch():
    kinds = [
        scheduled("constant"),
        scheduled("cosine"),
        scheduled("step", factor=0.5, every=7),
        scheduled("step", factor=0.9, every=1),
    ]
    schedule, total = Schedule(kinds, 30), 30
    sgd = [torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3) for _ in kinds]
    reference = [
        torch.optim.lr_scheduler.ConstantLR(sgd[0], factor=1.0),
        torch.optim.lr_scheduler.CosineAnnealingLR(sgd[1], T_max=total),
        torch.optim.lr_scheduler.StepLR(sgd[2], step_size=7, gamma=0.5),
        torch.optim.lr_scheduler.StepLR(sgd[3], step_size=1, gamma=0.9),
    ]
    for step in range(total + 1):
        close(
            schedule.rate(step),
            torch.tensor([r.get_last_lr()[0] for r in reference], dtype=torch.float64),
        )
        for r in reference:
            r.step()
    assert schedule.rate(total)[1] == 0


def test_plateau_follows_the_rule_and_survives_a_checkpoint():
    waits, factor = (0, 1, 3), 0.5
    optims = [scheduled("plateau", factor=factor, wait=w) for w in waits] + [scheduled("constant")]
    scores = [5, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 2]
    schedule = Schedule(optims, len(scores))
    rates, best, last = [0.3] * 3, math.inf, 0
    for now, score in enumerate(scores):
        better = score < best
        if better:
            best, last = score, now
        for k, wait in enumerate(waits):
            if now - last > wait:
                rates[k] *= factor
        schedule.observe(torch.full((4,), better))
        if now == 5:
            saved, schedule = schedule.state, Schedule(optims, len(scores))
            schedule.load(saved)
        close(schedule.rate(now), torch.tensor([*rates, 0.3], dtype=torch.float64))
    assert rates == [0.3 * 0.5**11, 0.3 * 0.5**9, 0.3 * 0.5**5]


def test_dampened_is_greffs_rate():
    """Greff et al. (2017): the learning rate is scaled by 1 - momentum."""
    by_name = [
        optim("nesterov", lr=0.2, momentum=m, dampen=d)
        for m, d in ((0.0, True), (0.9, True), (0.9, False))
    ]
    close(Schedule(by_name, 10).rate(3), torch.tensor([0.2, 0.02, 0.2], dtype=torch.float64))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_yaml_is_complete_and_refuses_what_has_no_effect(name):
    values = OmegaConf.load(CONFIGS / f"{name}.yaml")
    assert (CONFIGS / f"{name}.yaml").read_text().startswith("# rnnbench train ")
    made = typed(Optim, values, "optim")
    assert made.name == name and made.clip_norm == 1.0 and made.clip_value is None
    general = {"name", "lr", "clip_norm", "clip_value", "schedule"} | {
        key for keys in SCHEDULES.values() for key in keys
    }
    assert set(values) == general | set(OPTIMIZERS[name])
    for key in {f.name for f in dataclasses.fields(Optim)} - set(values) - {"constants", "digest"}:
        with pytest.raises(UserError, match=rf"optim\.{key} has no effect with optim={name}"):
            typed(Optim, OmegaConf.merge(values, {key: True if key == "dampen" else 0.5}), "optim")
    for key in ("factor", "every", "wait"):
        with pytest.raises(
            UserError, match=rf"optim\.{key} has no effect with optim\.schedule=constant"
        ):
            typed(Optim, OmegaConf.merge(values, {key: 1}), "optim")
    with pytest.raises(UserError, match="lrr"):
        typed(Optim, OmegaConf.merge(values, {"lrr": 1}), "optim")


def test_every_kind_has_a_yaml():
    assert {f.stem for f in CONFIGS.glob("*.yaml")} == {*OPTIMIZERS, "own"}
