"""`engine=torch` computes what the loop does, for every cell that torch.nn computes, and says why
it refuses others.
"""

import runpy
from pathlib import Path

import pytest
import torch

from rnnbench.engine import library, loop
from rnnbench.engine.engines import chosen, prepared
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError
from rnnbench.settings import Engine
from rnnbench.training.loop import Training

CELLS = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "golden_products.py"))[
    "cells"
]()
PLANS = {name: plan(function) for name, function in CELLS.items()}
TAKEN = [name for name, made in PLANS.items() if library.why_not(made) is None]
INPUTS, H = 3, 5


def quantities(made, unroll, K, T, B, symbols=False, device="cpu", dtype=torch.float64):
    """Outputs, last states and the gradients of a weighted sum of them, by name; the same problem
    for every engine.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)

    params = {
        name: normal(K, *shape).requires_grad_() for name, shape in made.shapes(INPUTS, H).items()
    }
    states = tuple((0.2 + normal(K, B, H).abs()).requires_grad_() for _ in made.state)
    x = (
        torch.randint(0, INPUTS, (K, T, B), generator=generator).to(device)
        if symbols
        else normal(K, T, B, INPUTS).requires_grad_()
    )
    outputs, last = unroll(made, params, x, states)
    total = sum((normal(*value.shape) * value).sum() for value in (outputs, *last))
    sloped = params | dict(zip(made.state, states, strict=True)) | ({} if symbols else {"x": x})
    slopes = torch.autograd.grad(total, list(sloped.values()), materialize_grads=True)
    named = {"outputs": outputs} | dict(zip([f"last {s}" for s in made.state], last, strict=True))
    return {n: v.detach().cpu() for n, v in named.items()} | {
        f"gradient of {n}": v.cpu() for n, v in zip(sloped, slopes, strict=True)
    }


def test_the_cells_that_it_takes():
    assert set(TAKEN) == {"lstm", "np", "gru_reset_after", "tanh", "relu"} & set(CELLS)


@pytest.mark.parametrize("symbols", [False, True])
@pytest.mark.parametrize(("K", "T", "B"), [(1, 4, 2), (3, 5, 1), (2, 1, 3)])
@pytest.mark.parametrize("name", TAKEN)
def test_it_computes_what_the_loop_does(name, K, T, B, symbols):
    expected = quantities(PLANS[name], loop.unroll, K, T, B, symbols)
    found = quantities(PLANS[name], library.unroll, K, T, B, symbols)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def asked(name, cell, replicas=1, device="cpu"):
    """(device, engine) that is chosen for the cell."""
    found = prepared(Engine(name, device, None))
    return found, chosen(name, PLANS[cell], found, torch.float32, replicas)[0]


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("lstm_vanilla", "nn.LSTM has no peepholes"),
        ("gru", "nn.GRU resets after the recurrent product, gru before it"),
        ("indrnn", "torch.nn does not compute indrnn"),
    ],
)
def test_a_refusal_says_why(cell, why):
    with pytest.raises(UserError, match=f"engine=torch: {why}; it computes tanh, relu, lstm"):
        asked("torch", cell)


def test_a_users_cell_with_the_name_of_ours_is_not_taken():
    def lstm(W, R, b, x, y, c):
        c = c + torch.tanh(W.z @ x + R.z @ y + b.z)
        return c, c

    assert "a cell of your own" in library.why_not(plan(lstm))


def test_who_computes(monkeypatch):
    assert asked("torch", "lstm", 3) == ("cpu", "torch")
    assert asked("auto", "lstm")[1] != "torch"  # native, or the loop where there is no compiler
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert asked("auto", "lstm", device="auto") == ("cuda", "torch")
    assert asked("auto", "lstm", 2, "cuda")[1].startswith("loop (")
    assert asked("auto", "gru", device="cuda")[1].startswith("loop (")
    assert asked("loop", "lstm", device="cuda") == ("cuda", "loop")


def losses(pack_of, settings_for, engine, *overrides):
    """Of three steps of two runs."""
    chosen = [f"engine={engine}", "cell=lstm", "task=copy", "task.length=5", "train.batch=4"]
    runs = [settings_for(*chosen, *overrides, f"seed={seed}") for seed in range(2)]
    training = Training(pack_of(*runs))
    assert training.pack.engine == engine
    return torch.stack([training.update() for _ in range(3)])


@pytest.mark.parametrize("layers", [1, 2])
def test_it_trains(pack_of, settings_for, layers):
    found, expected = (
        losses(pack_of, settings_for, engine, f"model.layers={layers}")
        for engine in ("torch", "loop")
    )
    torch.testing.assert_close(found, expected)


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("name", PLANS)
def test_every_cell_by_the_loop_on_a_gpu(name):
    expected = quantities(PLANS[name], loop.unroll, 2, 5, 3)
    found = quantities(PLANS[name], loop.unroll, 2, 5, 3, device="cuda")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("name", TAKEN)
def test_cudnn_computes_what_the_loop_does(name):
    expected = quantities(PLANS[name], loop.unroll, 2, 5, 3)
    found = quantities(PLANS[name], library.unroll, 2, 5, 3, device="cuda")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("engine", ["loop", "torch"])
def test_training_on_a_gpu(pack_of, settings_for, engine):
    found = losses(pack_of, settings_for, engine, "engine.device=cuda")
    expected = losses(pack_of, settings_for, "loop", "engine.device=cpu")
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
